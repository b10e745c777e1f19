//! What is kept comes back as it was, and nothing that is not to be kept; what is too old or too much
//! goes; what is slow loses, counted.

use std::collections::BTreeSet;
use std::sync::mpsc::channel;

use kairos_pipeline::models::Catalogue;
use kairos_pipeline::money::Picodollars;
use kairos_pipeline::policy::{
    Candidate, Complexity, Content as Words, Family, Features, Needs, Offer, Plan, Priority, RequestInfo, Route,
    Strengths, Task, Undecided,
};
use kairos_pipeline::record::{Asked, Given, InsteadOf, Record};

use super::*;

const DAY_MS: u64 = 86_400_000;

fn settings() -> Settings {
    Settings {
        content: Content::None,
        age: Duration::from_millis(7 * DAY_MS),
        bytes: 1 << 30,
        queue: 1_000,
        queue_bytes: 64 << 20,
        key: [7; 32],
    }
}

/// A store in a folder whose clock stands still.
fn open(folder: &Path, settings: Settings, now_ms: u64) -> RecordStore {
    RecordStore::open(folder, settings, Arc::new(move || now_ms)).unwrap()
}

/// An id of a request that came then; `n` tells apart those of one moment.
fn id(at_ms: u64, n: u64) -> RequestId {
    RequestId::from_bytes(((u128::from(at_ms) << 80) | u128::from(n)).to_be_bytes())
}

fn record(id: RequestId, at_ms: u64) -> Record {
    Record {
        request_id: id.text(),
        client_request_id: None,
        received_ms: at_ms,
        operation: "converse",
        key: Some("team".into()),
        asked_model: "auto".to_owned(),
        task: Some("code"),
        complexity: Some("low"),
        prompt: None,
        decision: None,
        attempts: Vec::new(),
        status: "ok",
        http_status: Some(200),
        model: None,
        cost_usd: Picodollars(12),
        cost_estimated: false,
        warnings: Vec::new(),
        duration_ms: 3.5,
        first_byte_ms: None,
        prompted: None,
        healing: Vec::new(),
        guarded: Vec::new(),
    }
}

fn offer(price: u64, worst: u64) -> Offer {
    Offer {
        names: 1 << 63,
        family: Family::Claude,
        route: Route::InRegion,
        region: 0,
        legacy: false,
        strengths: Strengths::SPEED,
        capabilities: Needs::TOOLS,
        max_input_tokens: 200_000,
        max_output_tokens: 8_192,
        input_price: price,
        output_price: u64::MAX,
        cache_read_price: None,
        cache_write_5m_price: Some(3),
        cache_write_1h_price: None,
        worst_case_cost: worst,
        latency_ms: 900,
        successes: 60,
        failures: 4,
        cached_tokens: 17,
        cooldown_ms: 5,
        in_flight: 3,
        quota_left: Some(u64::MAX - 1),
    }
}

/// Numbers that decimal fractions of fewer digits would not give back.
fn features() -> Features {
    Features {
        task: Task::Code,
        task_hinted: true,
        complexity: Complexity::Low,
        complexity_hinted: false,
        estimated_tokens: 12,
        max_output_tokens: Some(100),
        max_latency_ms: None,
        accuracy: 0.1 + 0.2,
        cost_sensitivity: f64::from_bits(0x3fe5_5555_5555_5555),
        priority: Priority::Critical,
        needs: Needs::TOOLS,
        streaming: true,
        turns: 3,
        text_bytes: 40,
        named: None,
        budget_remaining: Some(u64::MAX),
        budget_used: f64::MIN_POSITIVE,
        budget_level: 2,
    }
}

const PROMPT: &str = "the secret of the duck-billed platypus";

fn asked(price: u64, setting: &str) -> Asked {
    let candidates = [(1, f64::from_bits(0x3fd5_5555_5555_5556)), (0, 1.0 / 3.0)];
    let plan = Plan {
        candidates: candidates.map(|(model, probability)| Candidate { model, probability }).to_vec(),
        max_cost: Some(u64::MAX),
        reason: 4,
        ..Plan::default()
    };
    let request = RequestInfo {
        content: Words::new(PROMPT.to_owned(), String::new()),
        tags: [("team".to_owned(), "a\"b".to_owned()), ("team".to_owned(), "twice".to_owned())].into(),
        task_label: Some("poetry".to_owned()),
        asked_model: "auto".to_owned(),
        model_ids: ["one".into(), "two".into()].into(),
        regions: vec!["us-east-1".into()],
        names: Arc::new(Catalogue::default()),
        learned: Arc::default(),
    };
    let before = InsteadOf { policy: "p@1".into(), outcome: Undecided::Declined };
    Asked {
        policy: "native-task@0".into(),
        setting: setting.into(),
        before: Some((before, "{\"config\":{\"before\":1},\"grants\":[]}".into())),
        catalogue: Arc::new(Catalogue::default()),
        request: Arc::new(request),
        features: features(),
        models: vec![offer(price, 5), offer(price + 1, 6)],
        given: Given::Plan(plan),
        draw: Some(((1u64 << 51) + 12_345) as f64 / (1u64 << 53) as f64),
    }
}

fn ended(id: RequestId, at_ms: u64, asked: Option<Asked>) -> Ended {
    Ended { id, record: Arc::new(record(id, at_ms)), asked: asked.map(Box::new), judgements: Default::default() }
}

/// What is in the files of a folder.
fn bytes(folder: &Path) -> Vec<u8> {
    std::fs::read_dir(folder).unwrap().flat_map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect()
}

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

#[test]
fn a_question_comes_back_to_the_last_bit() {
    let folder = tempfile::tempdir().unwrap();
    let now = 1_795_000_000_000;
    let kept = Settings { content: Content::Full, ..settings() };
    let store = open(folder.path(), kept, now);
    let setting = "{\"config\":{\"limit\":3},\"grants\":[\"log\"]}";
    store.keep(ended(id(now, 1), now, Some(asked(100, setting))));
    assert!(store.finish(Duration::from_secs(60)));
    let mut reader = Reader::open(&folder.path().join(FILE)).unwrap();
    let row = reader.row(id(now, 1)).unwrap().unwrap();
    assert_eq!((row.id, row.at_ms, &row.body["status"]), (id(now, 1), now, &"ok".into()));
    let (read, was) = (row.asked.unwrap().unwrap(), asked(100, setting));
    assert_eq!(read.features, was.features);
    assert_eq!(read.given, was.given);
    assert_eq!(read.draw, was.draw);
    assert_eq!((&*read.policy, &*read.setting), (&*was.policy, setting));
    let (before, loaded_with) = read.before.unwrap();
    assert_eq!((&*before.policy, before.outcome), ("p@1", Undecided::Declined));
    assert_eq!(loaded_with, "{\"config\":{\"before\":1},\"grants\":[]}");
    // The names that a policy looks for are its own, and marked anew.
    let unmarked: Vec<_> = was.models.iter().map(|offer| Offer { names: 0, ..*offer }).collect();
    assert_eq!(read.models, unmarked);
    assert_eq!(read.request.tags, was.request.tags);
    assert_eq!((&read.request.task_label, &read.request.model_ids), (&was.request.task_label, &was.request.model_ids));
    assert_eq!((read.request.content.texts(), read.withheld), ((PROMPT, ""), false));
    assert!(!read.redacted);
}

#[test]
fn what_was_said_is_not_in_the_file_unless_it_is_to_be_kept() {
    // In this prompt the native guard finds nothing.
    for (content, keeps) in [(Content::None, false), (Content::Redacted, true), (Content::Full, true)] {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path(), Settings { content, ..settings() }, 1_000);
        store.keep(ended(id(1_000, 1), 1_000, Some(asked(1, "{}"))));
        store.keep(ended(id(1_000, 2), 1_000, Some(asked(1, "{}"))));
        assert!(store.finish(Duration::from_secs(60)));
        assert_eq!(holds(&bytes(folder.path()), "duck-billed"), keeps);
        let mut reader = Reader::open(&folder.path().join(FILE)).unwrap();
        let question = reader.row(id(1_000, 1)).unwrap().unwrap().asked.unwrap().unwrap();
        assert_eq!((question.withheld, question.request.content.was_read()), (!keeps, false));
        let column = |n| -> String {
            let connection = rusqlite::Connection::open(folder.path().join(FILE)).unwrap();
            let found = "SELECT asked ->> '$.prompt.digest' FROM record WHERE id = ?1";
            let digest: Option<String> =
                connection.query_row(found, [id(1_000, n).as_bytes()], |row| row.get(0)).unwrap();
            digest.unwrap_or_default()
        };
        // Equal texts have equal digests, and another key gives others.
        assert_eq!((column(1).len(), column(1) == column(2)), (if keeps { 0 } else { 64 }, true));
    }
}

#[test]
fn what_is_kept_redacted_is_nowhere_in_the_file() {
    let said = "write to jo.doe@example.com, the duck";
    for (prompt, system, kept, withheld) in [
        (said, "be brief", ("write to [EMAIL], the duck", "be brief"), true),
        ("the duck", said, ("the duck", "write to [EMAIL], the duck"), true),
        ("the duck", "be brief", ("the duck", "be brief"), false),
        (said, "", ("write to [EMAIL], the duck", ""), true),
        ("", "", ("", ""), false),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path(), Settings { content: Content::Redacted, ..settings() }, 1_000);
        let mut asked = asked(1, "{}");
        Arc::get_mut(&mut asked.request).unwrap().content = Words::new(prompt.to_owned(), system.to_owned());
        store.keep(ended(id(1_000, 1), 1_000, Some(asked)));
        assert!(store.finish(Duration::from_secs(60)));
        let bytes = bytes(folder.path());
        assert!(!holds(&bytes, "jo.doe") && !holds(&bytes, "example.com"));
        let mut reader = Reader::open(&folder.path().join(FILE)).unwrap();
        let question = reader.row(id(1_000, 1)).unwrap().unwrap().asked.unwrap().unwrap();
        assert_eq!(question.request.content.texts(), kept);
        assert_eq!((question.withheld, question.redacted), (withheld, withheld));
        // Only who reads what was said is concerned.
        assert!(!question.was_withheld());
        let _ = question.request.content.prompt();
        assert_eq!(question.was_withheld(), withheld);
    }
}

#[test]
fn of_a_long_prompt_that_was_cut_the_end_is_not_kept() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), Settings { content: Content::Redacted, ..settings() }, 1_000);
    let mut asked = asked(1, "{}");
    let prompt = format!("{} 4111 1111 1111 11", "a".repeat(65_536 - 18));
    Arc::get_mut(&mut asked.request).unwrap().content = Words::new(prompt, String::new());
    store.keep(ended(id(1_000, 1), 1_000, Some(asked)));
    assert!(store.finish(Duration::from_secs(60)));
    assert!(!holds(&bytes(folder.path()), "4111"));
}

#[test]
fn what_is_common_is_written_once_and_a_snapshot_is_never_taken_for_another() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(AtomicU64::new(1_000));
    let now = Arc::clone(&clock);
    let store = RecordStore::open(folder.path(), settings(), Arc::new(move || now.load(Ordering::Relaxed))).unwrap();
    let rate = |id| {
        // Told once what was before it is committed.
        let (sender, told) = channel();
        store.rate(Feedback { id, metric: "m".into(), value: 1.0 }, Box::new(move |rated| sender.send(rated).unwrap()));
        told.recv().unwrap().unwrap();
    };
    let count = |what: &str| -> i64 {
        let connection = rusqlite::Connection::open(folder.path().join(FILE)).unwrap();
        connection.query_row(&format!("SELECT count(*) FROM {what}"), [], |row| row.get(0)).unwrap()
    };
    // One catalogue, one list of models, two settings.
    for n in 0..10 {
        store.keep(ended(id(1_000, n), 1_000, Some(asked(1, "{\"rare\":1}"))));
    }
    rate(id(1_000, 0));
    assert_eq!((count("record"), count("snapshot")), (10, 4));
    // They grow too old, and go; the same models come again, and others after them.
    clock.store(1_000 + 8 * DAY_MS, Ordering::Relaxed);
    let later = 1_000 + 8 * DAY_MS;
    store.keep(ended(id(later, 1), later, Some(asked(2, "{}"))));
    rate(id(later, 1));
    assert_eq!((count("record"), count("feedback")), (1, 1));
    for (n, price) in [(2, 1), (3, 3), (4, 2)] {
        store.keep(ended(id(later, n), later, Some(asked(price, "{}"))));
        rate(id(later, n));
    }
    assert!(store.finish(Duration::from_secs(60)));
    let mut reader = Reader::open(&folder.path().join(FILE)).unwrap();
    for (n, price) in [(1, 2), (2, 1), (3, 3), (4, 2)] {
        let question = reader.row(id(later, n)).unwrap().unwrap().asked.unwrap().unwrap();
        assert_eq!(question.models[0].input_price, price, "record {n}");
    }
}

#[test]
fn what_is_too_old_is_gone_from_the_file_too() {
    let folder = tempfile::tempdir().unwrap();
    let kept = Settings { content: Content::Full, ..settings() };
    let store = open(folder.path(), kept, 1_000);
    (0..50).for_each(|n| store.keep(ended(id(1_000, n), 1_000, Some(asked(1, "{}")))));
    assert!(store.finish(Duration::from_secs(60)));
    let before = open(folder.path(), kept, 1_000 + 7 * DAY_MS);
    before.keep(ended(id(5_000, 1), 1_000 + 7 * DAY_MS, None));
    assert!(before.finish(Duration::from_secs(60)));
    let reader = Reader::open(&folder.path().join(FILE)).unwrap();
    assert_eq!(reader.extent(0).unwrap(), (51, Some(1_000)));
    drop(reader);
    let after = open(folder.path(), kept, 1_001 + 7 * DAY_MS);
    after.keep(ended(id(5_000, 2), 1_000 + 7 * DAY_MS, None));
    assert!(after.finish(Duration::from_secs(60)));
    let reader = Reader::open(&folder.path().join(FILE)).unwrap();
    assert_eq!(reader.extent(0).unwrap(), (2, Some(1_000 + 7 * DAY_MS)));
    drop((reader, after, before, store));
    assert!(!holds(&bytes(folder.path()), "duck-billed"));
}

#[test]
fn the_file_stays_within_its_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let most = 2 << 20;
    let store = open(folder.path(), Settings { bytes: most, queue: 100_000, ..settings() }, 1_000);
    let (sender, told) = channel();
    let rounds: u64 = 20;
    for round in 0..rounds {
        for n in 0..400 {
            store.keep(ended(id(1_000 + round, n), 1_000 + round, Some(asked(1, "{}"))));
        }
        let sender = sender.clone();
        let feedback = Feedback { id: id(1_000 + round, 0), metric: "m".into(), value: 0.5 };
        store.rate(feedback, Box::new(move |rated| sender.send(rated).unwrap()));
        told.recv().unwrap().unwrap();
        let used = store.counts().bytes;
        assert!(used <= most + (1 << 20), "{used} after {round}");
    }
    assert!(store.finish(Duration::from_secs(60)));
    let mut reader = Reader::open(&folder.path().join(FILE)).unwrap();
    let (count, oldest) = reader.extent(0).unwrap();
    assert!(count > 400 && count < rounds * 400 && oldest > Some(1_000), "{count} from {oldest:?}");
    // The newest stay, and are read in their order.
    let mut ids = Vec::new();
    reader
        .each(1_000 + rounds - 1, |row| {
            ids.push(row.id);
            true
        })
        .unwrap();
    assert_eq!(ids, (0..400).map(|n| id(1_000 + rounds - 1, n)).collect::<Vec<_>>());
    assert_eq!(store.counts().full, 0);
}

#[test]
fn who_is_slow_loses_records_and_counts_them() {
    let shared = Shared::new(Settings { queue: 10, ..settings() }, Arc::new(|| 0));
    let woken: Vec<_> = (0..12).filter(|n| shared.queue_up(ended(id(1, *n), 1, None))).collect();
    // The first begins the gathering, the one past the half ends it.
    assert_eq!((woken, shared.full.load(Ordering::Relaxed)), (vec![0, 5], 2));
    // Or as many as are enough for a transaction.
    let shared = Shared::new(settings(), Arc::new(|| 0));
    let woken: Vec<_> = (0..300).filter(|n| shared.queue_up(ended(id(1, *n), 1, None))).collect();
    assert_eq!(woken, [0, ENOUGH as u64]);
    let shared = Shared::new(Settings { queue_bytes: 3 * APART_FROM_WORDS, ..settings() }, Arc::new(|| 0));
    for n in 0..4 {
        shared.queue_up(ended(id(1, n), 1, Some(asked(1, "{}"))));
    }
    assert_eq!((shared.lock().waiting.len(), shared.full.load(Ordering::Relaxed)), (2, 2));
}

#[test]
fn the_first_of_a_metric_stays_known_and_metrics_are_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), settings(), 1_000);
    let rate = |metric: &str, value| {
        let (sender, told) = channel();
        let feedback = Feedback { id: id(1_000, 1), metric: metric.to_owned(), value };
        store.rate(feedback, Box::new(move |rated| sender.send(rated).unwrap()));
        told.recv().unwrap().unwrap()
    };
    assert_eq!(rate("good", 0.5), Rated::First);
    assert_eq!(rate("good", 0.5), Rated::Same);
    assert_eq!(rate("good", 0.25), Rated::Changed);
    for n in 1..MOST_METRICS {
        assert_eq!(rate(&format!("metric_{n}"), 1.0), Rated::First);
    }
    assert_eq!(rate("one_more", 1.0), Rated::TooMany);
    assert_eq!(rate("good", 1.0), Rated::Changed);
    let ratings = Reader::open(&folder.path().join(FILE)).unwrap().ratings(id(1_000, 1)).unwrap();
    assert_eq!(ratings.len(), MOST_METRICS);
    assert_eq!(ratings[0], Rating { metric: "good".to_owned(), value: 1.0, first: 0.5 });
}

#[test]
fn a_file_that_is_no_database_is_told_and_can_be_set_aside() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(FILE), "not a database, but long enough to be taken for one".repeat(100))
        .unwrap();
    let error = RecordStore::open(folder.path(), settings(), Arc::new(|| 0)).err().unwrap();
    assert!(error.to_string().contains("file is not a database"), "{error}");
    let aside = set_aside(folder.path()).unwrap();
    assert!(std::fs::read_to_string(aside).unwrap().starts_with("not a database"));
    assert!(open(folder.path(), settings(), 0).finish(Duration::from_secs(60)));
}

#[test]
fn ids_are_found_by_how_they_begin() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), settings(), 1_000);
    let ids = [id(0x0193_f3a1_7c5e, 1), id(0x0193_f3a1_7c5e, 2), id(0x0193_f3a2_0000, 3)];
    ids.into_iter().for_each(|id| store.keep(ended(id, 1_000, None)));
    assert!(store.finish(Duration::from_secs(60)));
    let reader = Reader::open(&folder.path().join(FILE)).unwrap();
    assert_eq!(reader.beginning("0193f3a1", 9).unwrap(), ids[..2]);
    assert_eq!(reader.beginning("0193F3A1", 1).unwrap(), ids[..1]);
    assert_eq!(reader.beginning("0193f3a2", 9).unwrap(), ids[2..]);
    assert!(reader.beginning("0194", 9).unwrap().is_empty());
}

/// Takes records out, and waits until they are gone.
fn erase(store: &RecordStore, which: Which) -> Result<u64, String> {
    let (tell, told) = channel();
    store.erase(which, Box::new(move |gone| tell.send(gone).unwrap()));
    told.recv().unwrap()
}

/// More than a page of records of two keys, each with words of its own, and what callers thought of them.
fn filled(folder: &Path) -> RecordStore {
    let settings = Settings { content: Content::Full, queue: 10_000, ..settings() };
    let store = open(folder, settings, 5_000);
    for n in 0..1_200 {
        let (at_ms, mut asked) = (if n < 600 { 1_000 } else { 2_000 }, asked(1, "{}"));
        Arc::get_mut(&mut asked.request).unwrap().content = Words::new(format!("word-{n:04}."), String::new());
        let key = if n % 3 == 0 { "mobile" } else { "team" };
        let record = Arc::new(Record { key: Some(key.into()), ..record(id(at_ms, n), at_ms) });
        store.keep(Ended { id: id(at_ms, n), record, asked: Some(Box::new(asked)), judgements: Default::default() });
    }
    let (tell, told) = channel();
    for n in [3, 4] {
        let tell = tell.clone();
        let feedback = Feedback { id: id(1_000, n), metric: "good".to_owned(), value: 1.0 };
        store.rate(feedback, Box::new(move |rated| tell.send(rated).unwrap()));
        assert_eq!(told.recv().unwrap(), Ok(Rated::First));
    }
    store
}

#[test]
fn what_is_erased_is_nowhere_in_the_file() {
    let word = |n: u64| format!("word-{n:04}.");
    type Goes = fn(u64) -> bool;
    let all: [(Which, Goes); 4] = [
        (Which::Key("mobile".to_owned()), |n| n % 3 == 0),
        (Which::Before(2_000), |n| n < 600),
        (Which::Request(id(1_000, 3)), |n| n == 3),
        (Which::Key("nobody".to_owned()), |_| false),
    ];
    for (which, goes) in all {
        let folder = tempfile::tempdir().unwrap();
        let store = filled(folder.path());
        let gone = (0..1_200).filter(|n| goes(*n)).count() as u64;
        assert_eq!(erase(&store, which.clone()), Ok(gone), "{which:?}");
        assert_eq!(erase(&store, which.clone()), Ok(0), "{which:?}");
        assert_eq!(store.counts().erased, gone);
        // What comes after it is written as ever.
        store.keep(ended(id(3_000, 1), 3_000, None));
        assert!(store.finish(Duration::from_secs(60)));
        let bytes = bytes(folder.path());
        let found: BTreeSet<&[u8]> = bytes.windows(word(0).len()).filter(|text| text.starts_with(b"word-")).collect();
        let left: Vec<u64> = (0..1_200).filter(|n| found.contains(word(*n).as_bytes())).collect();
        assert_eq!(left, (0..1_200).filter(|n| !goes(*n)).collect::<Vec<_>>(), "{which:?}");
        let reader = Reader::open(&folder.path().join(FILE)).unwrap();
        assert_eq!(reader.extent(0).unwrap().0, 1_201 - gone);
        assert_eq!(reader.ratings(id(1_000, 3)).unwrap().is_empty(), goes(3));
        assert_eq!(reader.ratings(id(1_000, 4)).unwrap().is_empty(), goes(4));
    }
}

/// What was set aside is searched, too; what cannot be is named and left, or removed where all of it is to go.
#[test]
fn what_was_set_aside_is_erased_or_named() {
    let folder = tempfile::tempdir().unwrap();
    assert!(filled(folder.path()).finish(Duration::from_secs(60)));
    // Of the schema before, behind a log of its own.
    let aside = set_aside(folder.path()).unwrap();
    let first = rusqlite::Connection::open(&aside).unwrap();
    first.execute_batch("DROP TABLE judgement; UPDATE meta SET schema = 1").unwrap();
    let broken = folder.path().join(format!("{FILE}.aside.old"));
    std::fs::write(&broken, "not a database, and word-0001.".repeat(100)).unwrap();
    std::fs::write(folder.path().join(format!("{FILE}.aside.old-wal")), "word-0002.").unwrap();
    assert_eq!(unused(folder.path(), true).unwrap(), [aside.clone(), broken.clone()]);
    let erase = |which: Which| erase_unused(&unused(folder.path(), true).unwrap(), &which);
    let found = erase(Which::Key("mobile".to_owned()));
    assert_eq!((&found[0].path, &found[0].erased), (&aside, &Ok(Some(400))));
    let why = found[1].erased.clone().unwrap_err();
    assert!(why.contains("not a database") && broken.exists(), "{why}");
    let text = std::fs::read(&aside).unwrap();
    let holds = |word: &[u8]| text.windows(word.len()).any(|part| part == word);
    assert!(!holds(b"word-0003.") && holds(b"word-0004."));
    // A file of a later version hides what it likes.
    first.execute("UPDATE meta SET schema = 99", []).unwrap();
    let why = erase(Which::Request(id(1_000, 4))).swap_remove(0).erased.unwrap_err();
    assert!(why.contains("it has schema 99, this version knows"), "{why}");
    first.execute("UPDATE meta SET schema = 1", []).unwrap();
    drop(first);
    // Written today: not before that day.
    assert!(erase(Which::Before(2_000)).swap_remove(1).erased.is_err());
    let removed = erase(Which::Before(u64::MAX >> 20));
    assert_eq!((&removed[0].erased, &removed[1].erased), (&Ok(Some(400)), &Ok(None)));
    assert_eq!(unused(folder.path(), true).unwrap(), [aside]);
    assert!(!folder.path().join(format!("{FILE}.aside.old-wal")).exists());
    // Where no records are kept, those from before are such a file.
    std::fs::write(folder.path().join(FILE), "").unwrap();
    assert_eq!(unused(folder.path(), false).unwrap().len(), 2);
}

/// As a crash leaves it, with a log beside it: opening it makes files anew, which makes it no younger.
#[test]
fn what_was_set_aside_is_as_old_as_it_was_before_the_search() {
    let folder = tempfile::tempdir().unwrap();
    assert!(filled(folder.path()).finish(Duration::from_secs(60)));
    let aside = set_aside(folder.path()).unwrap();
    let open = rusqlite::Connection::open(&aside).unwrap();
    open.execute("UPDATE meta SET schema = 99", []).unwrap();
    let left = folder.path().join(format!("{FILE}.aside.left"));
    for ending in ["", "-wal"] {
        let [from, to] = [&aside, &left].map(|path| PathBuf::from(format!("{}{ending}", path.display())));
        std::fs::copy(from, &to).unwrap();
        let at = std::time::UNIX_EPOCH + Duration::from_secs(1_000);
        std::fs::File::options().write(true).open(to).unwrap().set_modified(at).unwrap();
    }
    let found = erase_unused(std::slice::from_ref(&left), &Which::Before(2_000_000));
    assert_eq!((&found[0].erased, left.exists()), (&Ok(None), false));
}

#[test]
fn an_erasure_ends_with_its_store() {
    let folder = tempfile::tempdir().unwrap();
    let store = filled(folder.path());
    assert!(store.finish(Duration::from_secs(60)));
    assert_eq!(erase(&store, Which::Before(9_000)), Err("too much waits to be written; try again shortly".to_owned()));
}

/// Records of an earlier schema are read as they are, and kept when it becomes this one.
#[test]
fn an_earlier_schema_becomes_this_one() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), settings(), 1_000);
    store.keep(ended(id(1_000, 1), 1_000, Some(asked(1, "{}"))));
    assert!(store.finish(Duration::from_secs(60)));
    let path = folder.path().join(FILE);
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection.execute_batch("DROP TABLE judgement; UPDATE meta SET schema = 1").unwrap();
    drop(connection);
    let judged = || {
        let mut reader = Reader::open(&path).unwrap();
        let question = reader.row(id(1_000, 1)).unwrap().unwrap().asked.unwrap().unwrap();
        reader.judgements(id(1_000, 1), &question).unwrap().len()
    };
    assert_eq!(judged(), 0);
    let store = open(folder.path(), settings(), 1_000);
    store.keep(ended(id(1_000, 2), 1_000, None));
    assert!(store.finish(Duration::from_secs(60)));
    assert_eq!(judged(), 0);
    assert_eq!(Reader::open(&path).unwrap().extent(0).unwrap().0, 2);
}
