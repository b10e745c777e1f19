//! What was learned comes back as it was; a file that cannot be used stops nobody.

use kairos_pipeline::learned::{Change, Source as _};
use tempfile::TempDir;

use super::*;

/// Nothing is gathered: what is published is written.
const AT_ONCE: Duration = Duration::ZERO;
const LONG: Duration = Duration::from_secs(60);

fn id(name: &str) -> SpaceId {
    SpaceId { name: name.into(), schema: 1 }
}

fn change(key: &str, value: Option<&str>) -> Change {
    (key.into(), value.map(|value| value.as_bytes().into()))
}

fn open(folder: &TempDir) -> LearnedStore {
    LearnedStore::open(folder.path(), AT_ONCE).unwrap()
}

/// What a space holds, as text.
fn held(store: &LearnedStore, space: &str) -> Vec<(String, String)> {
    let snapshot = store.learned().snapshot();
    let Some(space) = snapshot.space(&id(space)) else { return Vec::new() };
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    space.entries().into_iter().map(|(key, value)| (key.to_string(), text(value))).collect()
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn a_restart_finds_what_was_learned() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    let learned = store.learned();
    learned.write(Some(&id("a")), &[change("k", Some("1")), change("l", Some("2"))], 1_000);
    learned.write(Some(&id("b")), &[change("k", Some("other"))], 1_001);
    learned.publish();
    learned.write(Some(&id("a")), &[change("l", None), change("m", Some(""))], 1_002);
    learned.publish();
    assert!(store.finish(LONG) && store.failed() == 0);
    let store = open(&folder);
    assert_eq!(held(&store, "a"), pairs(&[("k", "1"), ("m", "")]));
    assert_eq!(held(&store, "b"), pairs(&[("k", "other")]));
    let snapshot = store.learned().snapshot();
    assert_eq!((snapshot.told_ms(), snapshot.space(&id("a")).unwrap().written_ms()), (1_002, 1_002));
    // What is emptied is gone, and what is written anew is all there is.
    assert!(store.learned().clear(&id("a")));
    store.learned().write(Some(&id("a")), &[change("n", Some("3"))], 900);
    assert!(store.learned().clear(&id("b")));
    assert!(store.finish(LONG));
    store.learned().publish();
    let store = open(&folder);
    assert_eq!(held(&store, "a"), pairs(&[("n", "3")]));
    assert_eq!(held(&store, "b"), []);
    assert_eq!(store.learned().snapshot().told_ms(), 1_002, "a clock that went back takes no time back");
}

#[test]
fn what_cannot_be_used_is_moved_aside() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FILE);
    let foreign = |sql: &str| {
        let store = open(&folder);
        store.learned().write(Some(&id("a")), &[change("k", Some("1"))], 1);
        store.learned().publish();
        assert!(store.finish(LONG));
        drop(store);
        Connection::open(&path).unwrap().execute_batch(sql).unwrap();
    };
    let begins_anew = |what: &str| {
        let store = open(&folder);
        assert_eq!(held(&store, "a"), [], "{what}");
        assert!(folder.path().join(format!("{FILE}.aside")).exists(), "{what}");
        store.learned().write(Some(&id("a")), &[change("k", Some("2"))], 1);
        store.learned().publish();
        assert!(store.finish(LONG));
        drop(store);
        let store = open(&folder);
        assert_eq!(held(&store, "a"), pairs(&[("k", "2")]), "{what}");
        store.finish(LONG);
    };
    foreign("UPDATE meta SET schema = 9");
    begins_anew("another version's");
    foreign("INSERT INTO learned VALUES ('a', 1, '', x'00')");
    begins_anew("a key that cannot be");
    let space = |place| format!("INSERT INTO space VALUES ('s{place}', 1, 0);");
    foreign(&(0..MOST_SPACES).map(space).collect::<String>());
    begins_anew("more spaces than there can be");
    std::fs::write(&path, "no database at all, and longer than the header of one would be").unwrap();
    begins_anew("no database");
}

#[test]
fn what_cannot_be_written_is_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let (connection, snapshot) = read(folder.path()).unwrap();
    connection.busy_timeout(Duration::ZERO).unwrap();
    let learned = Learned::new(snapshot);
    let failed = Arc::<AtomicU64>::default();
    let written = learned.snapshot();
    let mut writer = Writer { connection, written, failed: Arc::clone(&failed), failing: None };
    learned.write(Some(&id("a")), &[change("k", Some("1"))], 1);
    learned.publish();
    let other = Connection::open(folder.path().join(FILE)).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert!(!writer.round(&learned.snapshot()) && !writer.round(&learned.snapshot()));
    assert_eq!(failed.load(Ordering::Relaxed), 2);
    assert_eq!(learned.snapshot().get(&id("a"), "k").as_deref(), Some(&b"1"[..]), "who reads does not notice");
    other.execute_batch("ROLLBACK").unwrap();
    assert!(writer.round(&learned.snapshot()));
    drop(writer);
    assert_eq!(held(&open(&folder), "a"), pairs(&[("k", "1")]));
}
