//! What is written is what is read, all or nothing, and what was changed behind its back is noticed.

use rusqlite::Connection;

use super::*;

fn entry(act: &str, digest: Option<&str>) -> Entry {
    let text = |text: &str| Some(text.to_owned());
    Entry {
        at_ms: 5,
        actor: "admin".to_owned(),
        claimed: text("ada"),
        act: act.to_owned(),
        slot: "router".to_owned(),
        digest: digest.map(str::to_owned),
        why: text("because"),
        detail: None,
    }
}

fn version(digest: &str) -> Version {
    Version {
        digest: digest.to_owned(),
        name: "cheap".to_owned(),
        engine: "rhai".to_owned(),
        file: "cheap.rhai".to_owned(),
        bytes: b"fn route".to_vec(),
        tests: None,
        signature: None,
        added_ms: 7,
    }
}

fn state(roles: &[(&str, &str)]) -> SlotState {
    let roles = roles.iter().map(|(role, digest)| ((*role).to_owned(), (*digest).to_owned())).collect();
    let folder = Some(("/policies/router.rhai".to_owned(), "abcdef1".to_owned()));
    SlotState { roles, shadow: None, folder, served: None }
}

#[test]
fn what_is_kept_outlives_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let store = PolicyStore::open(folder.path()).unwrap();
    assert_eq!(store.state("router").unwrap(), SlotState::default());
    let second =
        Version { tests: Some(b"[[test]]".to_vec()), signature: Some("c2ln".to_owned()), ..version("abcdef2") };
    store
        .commit(&entry("stage", Some("abcdef1")), &state(&[("staged", "abcdef1")]), Some(&version("abcdef1")), None)
        .unwrap();
    let now = state(&[("active", "abcdef2"), ("previous", "abcdef1"), ("quarantined", "aaa")]);
    store.commit(&entry("activate", Some("abcdef2")), &now, Some(&second), None).unwrap();
    drop(store);
    let store = PolicyStore::open(folder.path()).unwrap();
    assert_eq!(store.state("router").unwrap(), now);
    assert_eq!(store.version("router", "abcdef2").unwrap(), Some(second));
    assert_eq!(store.version("guard", "abcdef2").unwrap(), None);
    let known = |beginning: &str, most| {
        let found = store.versions("router", beginning, most).unwrap();
        found.into_iter().map(|version| version.digest).collect::<Vec<_>>()
    };
    assert_eq!(known("abcdef", 8), ["abcdef2", "abcdef1"]);
    assert_eq!(
        (known("abcdef1", 8), known("", 1), known("%", 8)),
        (vec!["abcdef1".to_owned()], vec!["abcdef2".to_owned()], vec![])
    );
    let acts: Vec<_> = store.audit(8).unwrap().into_iter().map(|(seq, entry)| (seq, entry.act)).collect();
    assert_eq!(acts, [(2, "activate".to_owned()), (1, "stage".to_owned())]);
    // The same version again is the same row, with the tests and the signature that came last.
    let signature = Some("b3RoZXI=".to_owned());
    let again = Version { tests: Some(b"other".to_vec()), signature, added_ms: 9, ..version("abcdef1") };
    store.commit(&entry("stage", Some("abcdef1")), &now, Some(&again), None).unwrap();
    let kept = store.version("router", "abcdef1").unwrap().unwrap();
    assert_eq!((kept.tests.as_deref(), kept.added_ms), (Some(&b"other"[..]), 7));
    assert_eq!(kept.signature.as_deref(), Some("b3RoZXI="));
}

/// Each column of a row, each row, and the end are held by the chain.
#[test]
fn what_was_changed_is_noticed() {
    for (change, said) in [
        ("SELECT 1", None),
        ("UPDATE audit SET at_ms = 6 WHERE seq = 2", Some("row 2 is not as it was written")),
        ("UPDATE audit SET actor = 'folder' WHERE seq = 2", Some("row 2 is not as it was written")),
        ("UPDATE audit SET claimed = NULL WHERE seq = 1", Some("row 1 is not as it was written")),
        ("UPDATE audit SET act = 'retire' WHERE seq = 3", Some("row 3 is not as it was written")),
        ("UPDATE audit SET slot = 'guard' WHERE seq = 3", Some("row 3 is not as it was written")),
        ("UPDATE audit SET digest = 'abcdef9' WHERE seq = 2", Some("row 2 is not as it was written")),
        ("UPDATE audit SET why = 'no reason' WHERE seq = 2", Some("row 2 is not as it was written")),
        ("UPDATE audit SET detail = 'more' WHERE seq = 2", Some("row 2 is not as it was written")),
        ("DELETE FROM audit WHERE seq = 2", Some("row 2 is missing")),
        ("DELETE FROM audit WHERE seq = 3", Some("it ends with row 2, and 3 were written")),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let store = PolicyStore::open(folder.path()).unwrap();
        for act in ["stage", "activate", "rollback"] {
            store.commit(&entry(act, Some("abcdef1")), &state(&[]), None, None).unwrap();
        }
        drop(store);
        let path = folder.path().join(FILE);
        Connection::open(&path).unwrap().execute_batch(change).unwrap();
        let verified = Reader::open(&path).unwrap().verify();
        match said {
            None => assert_eq!(verified.unwrap(), 3),
            Some(said) => {
                assert_eq!(verified.unwrap_err().to_string(), format!("the audit log is damaged: {said}"), "{change}");
            }
        }
    }
}

fn trial(id: i64, state: &str, ended_ms: Option<i64>) -> Trial {
    let text = str::to_owned;
    Trial {
        slot: text("router"),
        id,
        digest: text("abcdef1"),
        baseline: text("native-task@0.1.0"),
        plan: text("{}"),
        state: text(state),
        began_ms: 5,
        ended_ms,
        report: text("{}"),
    }
}

#[test]
fn an_experiment_goes_on_until_it_has_ended() {
    let folder = tempfile::tempdir().unwrap();
    let store = PolicyStore::open(folder.path()).unwrap();
    let shadowed = SlotState { shadow: Some(("abcdef1".to_owned(), 0.25)), ..state(&[("active", "abcdef2")]) };
    store.commit(&entry("canary", Some("abcdef1")), &shadowed, None, Some(&trial(1, "a", None))).unwrap();
    store.keep_trial(&trial(1, "b", None)).unwrap();
    drop(store);
    let store = PolicyStore::open(folder.path()).unwrap();
    assert_eq!(store.state("router").unwrap(), shadowed);
    assert_eq!(store.trials("router", 8).unwrap(), [trial(1, "b", None)]);
    store.commit(&entry("rollback", Some("abcdef1")), &state(&[]), None, Some(&trial(1, "c", Some(9)))).unwrap();
    // What has ended is as it was.
    store.keep_trial(&trial(1, "d", None)).unwrap();
    store.keep_trial(&trial(2, "e", None)).unwrap();
    assert_eq!(store.trials("router", 8).unwrap(), [trial(2, "e", None), trial(1, "c", Some(9))]);
    assert_eq!(store.trials("router", 1).unwrap().len(), 1);
    assert_eq!((store.tries("router", "abcdef1").unwrap(), store.tries("guard", "abcdef1").unwrap()), (2, 0));
    assert_eq!(store.state("router").unwrap().shadow, None);
}

/// A file of the first version, with an act in its log, is one of this version from then on.
#[test]
fn a_file_of_an_earlier_version_is_brought_up_to_this_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FILE);
    let mut first = database::open(&path, Duration::from_secs(5)).unwrap();
    schema::make_first(&mut first).unwrap();
    let acted = first.transaction().unwrap();
    audit::append(&acted, &entry("stage", Some("abcdef1"))).unwrap();
    acted.execute("INSERT INTO role VALUES ('router', 'staged', 0, 'abcdef1')", []).unwrap();
    acted.commit().unwrap();
    assert_eq!(database::schema_of(&first).unwrap(), 1);
    assert_eq!(Reader::open(&path).unwrap().verify().unwrap(), 1);
    drop(first);
    let store = PolicyStore::open(folder.path()).unwrap();
    assert_eq!(store.state("router").unwrap().roles, [("staged".to_owned(), "abcdef1".to_owned())]);
    store.commit(&entry("canary", Some("abcdef1")), &state(&[]), None, Some(&trial(1, "a", None))).unwrap();
    drop(store);
    // Twice makes no difference, and the log is whole.
    let store = PolicyStore::open(folder.path()).unwrap();
    assert_eq!(store.trials("router", 8).unwrap().len(), 1);
    assert_eq!(Reader::open(&path).unwrap().verify().unwrap(), 2);
    drop(store);
    for other in [0, SCHEMA + 1] {
        Connection::open(&path).unwrap().execute("UPDATE meta SET schema = ?1", [other]).unwrap();
        let refused = PolicyStore::open(folder.path()).err().unwrap().to_string();
        assert!(refused.contains(&format!("has schema {other}, this version knows {SCHEMA}")), "{refused}");
        assert!(Reader::open(&path).is_err());
    }
}

fn bounded(folder: &Path, versions: u64, bytes: u64) -> PolicyStore {
    PolicyStore::open_bounded(folder, KeptBounds { versions, bytes, records_ms: 100 }).unwrap()
}

fn digests(store: &PolicyStore, slot: &str) -> Vec<String> {
    store.versions(slot, "", 99).unwrap().into_iter().map(|version| version.digest).collect()
}

/// An act at a time, after which these have roles, and this version is kept.
fn acted(store: &PolicyStore, at_ms: i64, roles: &[(&str, &str)], kept: Option<&str>) {
    let state = SlotState { folder: None, ..state(roles) };
    store.commit(&Entry { at_ms, ..entry("act", kept) }, &state, kept.map(version).as_ref(), None).unwrap();
}

/// First goes what never served, then what served long ago, then what records may refer to; what has a role never.
#[test]
fn versions_go_in_the_order_of_their_use() {
    let folder = tempfile::tempdir().unwrap();
    let store = bounded(folder.path(), 5, u64::MAX);
    acted(&store, 1, &[("active", "old1")], Some("old1"));
    acted(&store, 2, &[("active", "late")], Some("late"));
    acted(&store, 500, &[("active", "now1"), ("previous", "prev")], Some("now1"));
    acted(&store, 501, &[("active", "now1"), ("previous", "prev")], Some("prev"));
    acted(&store, 502, &[("active", "now1"), ("previous", "prev")], Some("idle"));
    assert_eq!((store.kept().versions, store.kept().dropped), (5, 0));
    let roles = [("active", "now1"), ("previous", "prev"), ("staged", "new1")];
    acted(&store, 550, &roles, Some("new1"));
    assert_eq!(digests(&store, "router"), ["new1", "prev", "now1", "late", "old1"]);
    let roles = [("active", "now1"), ("previous", "prev"), ("staged", "new1"), ("staged", "new2")];
    acted(&store, 560, &roles, Some("new2"));
    assert_eq!(digests(&store, "router"), ["new2", "new1", "prev", "now1", "late"]);
    // Records of 100 ms ago may refer to it: it goes, as nothing else can, and that is said.
    let roles = [("active", "now1"), ("previous", "prev"), ("staged", "new1"), ("staged", "new2"), ("shadow", "new3")];
    acted(&store, 590, &roles, Some("new3"));
    assert_eq!(digests(&store, "router"), ["new3", "new2", "new1", "prev", "now1"]);
    let told: Vec<_> = store.audit(99).unwrap().into_iter().map(|(_, entry)| entry).collect();
    let told: Vec<_> = told.iter().filter(|entry| entry.act == "drop").collect();
    let said = |place: usize| (told[place].digest.as_deref().unwrap(), told[place].detail.as_deref().unwrap());
    assert_eq!(said(2), ("idle", "8 bytes; no record refers to it"));
    assert_eq!(said(1), ("old1", "8 bytes; no record refers to it"));
    assert_eq!(said(0), ("late", "8 bytes; records may refer to it"));
    assert_eq!((store.kept(), told[0].actor.as_str()), (KeptCounts { versions: 5, bytes: 40, dropped: 3 }, "kairos"));
    // What has a role stays, whatever the bound.
    drop(store);
    let store = bounded(folder.path(), 1, 1);
    acted(&store, 600, &roles, None);
    assert_eq!((digests(&store, "router").len(), store.kept().versions), (5, 5));
    acted(&store, 610, &[("active", "now1")], None);
    assert_eq!(digests(&store, "router"), ["now1"]);
    drop(store);
    assert_eq!(Reader::open(&folder.path().join(FILE)).unwrap().verify().unwrap(), 17);
}

/// A canary that a restart ended, and what stood in for a version that could not be loaded, have served until
/// then, whatever the roles said.
#[test]
fn what_served_without_a_role_served_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let store = bounded(folder.path(), 2, u64::MAX);
    let tried = |ended_ms| Trial { digest: "cccc".to_owned(), ..trial(1, "", ended_ms) };
    let active = SlotState { folder: None, ..state(&[("active", "now1")]) };
    store.commit(&entry("activate", Some("now1")), &active, Some(&version("now1")), None).unwrap();
    let began = Entry { at_ms: 2, ..entry("canary", Some("cccc")) };
    store.commit(&began, &active, Some(&version("cccc")), Some(&tried(None))).unwrap();
    store.keep_trial(&tried(Some(500))).unwrap();
    acted(&store, 550, &[("active", "now1"), ("staged", "new1")], Some("new1"));
    // By the roles the broken one serves, and "prev" does.
    acted(&store, 560, &[("active", "lost"), ("previous", "prev")], Some("prev"));
    let stands_in = SlotState { folder: None, served: Some("prev".to_owned()), ..state(&[("active", "new2")]) };
    let activated = Entry { at_ms: 900, ..entry("activate", Some("new2")) };
    store.commit(&activated, &stands_in, Some(&version("new2")), None).unwrap();
    acted(&store, 950, &[("active", "new2"), ("staged", "new3")], Some("new3"));
    let told = store.audit(99).unwrap().into_iter().map(|(_, entry)| entry).filter(|entry| entry.act == "drop");
    let told: Vec<_> = told.map(|entry| format!("{} {}", entry.digest.unwrap(), entry.detail.unwrap())).collect();
    let at = |digest: &str| told.iter().find(|told| told.starts_with(digest)).map(String::as_str);
    assert_eq!(at("cccc"), Some("cccc 8 bytes; records may refer to it"), "{told:?}");
    assert_eq!(at("prev"), Some("prev 8 bytes; records may refer to it"), "{told:?}");
}

/// What is tried, and what the folder said, stays; bytes are counted with those of tests; slots are one.
#[test]
fn bytes_of_all_slots_are_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let store = bounded(folder.path(), 99, 40);
    acted(&store, 1, &[], Some("aaaa"));
    let tested = Version { tests: Some(vec![b'x'; 10]), ..version("bbbb") };
    let guard = Entry { slot: "guard".to_owned(), ..entry("stage", Some("bbbb")) };
    store.commit(&guard, &SlotState::default(), Some(&tested), None).unwrap();
    assert_eq!(store.kept(), KeptCounts { versions: 2, bytes: 26, dropped: 0 });
    let said = SlotState { folder: Some(("/policies/router.rhai".to_owned(), "aaaa".to_owned())), ..state(&[]) };
    store.commit(&entry("activate", Some("cccc")), &said, Some(&version("cccc")), None).unwrap();
    let tried = Trial { digest: "cccc".to_owned(), ..trial(1, "", None) };
    store.commit(&entry("canary", Some("cccc")), &said, Some(&version("dddd")), Some(&tried)).unwrap();
    assert_eq!(
        (digests(&store, "router"), digests(&store, "guard").len()),
        (vec!["dddd".into(), "cccc".into(), "aaaa".into()], 0)
    );
    store.commit(&entry("stage", Some("eeee")), &said, Some(&version("eeee")), None).unwrap();
    store.commit(&entry("stage", Some("ffff")), &said, Some(&version("ffff")), None).unwrap();
    store.commit(&entry("stage", Some("gggg")), &said, Some(&version("gggg")), None).unwrap();
    assert_eq!(digests(&store, "router"), ["gggg", "ffff", "eeee", "cccc", "aaaa"]);
    assert_eq!(store.kept(), KeptCounts { versions: 5, bytes: 40, dropped: 2 });
}

/// Versions of an earlier schema may be referred to by any record.
#[test]
fn versions_of_an_earlier_schema_are_weighed() {
    let folder = tempfile::tempdir().unwrap();
    let store = PolicyStore::open(folder.path()).unwrap();
    acted(&store, 1, &[], Some("aaaa"));
    drop(store);
    let connection = Connection::open(folder.path().join(FILE)).unwrap();
    connection.execute_batch("DROP TABLE kept; UPDATE meta SET schema = 3").unwrap();
    drop(connection);
    let store = PolicyStore::open(folder.path()).unwrap();
    assert_eq!(store.kept(), KeptCounts { versions: 1, bytes: 8, dropped: 0 });
    let served: i64 = store.lock().query_row("SELECT served_ms FROM kept", [], |row| row.get(0)).unwrap();
    assert!(served > 1_700_000_000_000, "{served}");
}
