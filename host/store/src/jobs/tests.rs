//! What is kept of jobs, and for how long.

use std::sync::atomic::{AtomicU64, Ordering};

use kairos_dialects::bedrock::jobs::{PageToken, Seen};
use kairos_pipeline::jobs::Ended;
use kairos_pipeline::ledger::AttemptKey;
use kairos_pipeline::money::Picodollars;

use super::*;

fn job(token: &str, caller: &str, at_ms: u64) -> Job {
    let key = AttemptKey { request: RequestId::mint(), attempt: 1 };
    let mut job = Job::new(key, token, caller, at_ms);
    job.arn = Some(format!("arn:{token}"));
    job
}

fn open(folder: &Path) -> SqliteJobs {
    SqliteJobs::open(folder, Keeping { age_ms: 1_000, each_key: 10 }, Arc::new(|| 10)).unwrap()
}

fn all() -> ListQuery {
    ListQuery::read("").unwrap()
}

async fn tokens(store: &SqliteJobs, caller: Option<&str>, query: &ListQuery) -> Vec<String> {
    store.list(caller, query).await.unwrap().into_iter().map(|job| job.token).collect()
}

#[tokio::test]
async fn jobs_are_found_by_what_they_are_known_by_and_listed_page_by_page() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let first = job("a", "k", 5);
    for job in [first.clone(), job("b", "k", 5), job("c", "k", 7), job("d", "other", 8)] {
        store.keep(job).await.unwrap();
    }
    let mut adrift = job("e", "k", 9);
    adrift.arn = None;
    store.keep(adrift.clone()).await.unwrap();
    drop(store);
    let store = open(folder.path());
    assert_eq!(store.by_token("a").await.unwrap().as_ref(), Some(&first));
    assert_eq!(store.by_arn("arn:a").await.unwrap().as_ref(), Some(&first));
    assert_eq!(store.by_request(first.request()).await.unwrap(), Some(first));
    assert_eq!(store.by_token("e").await.unwrap(), Some(adrift));
    assert_eq!(store.by_arn("arn:e").await.unwrap(), None);
    assert_eq!(tokens(&store, Some("k"), &all()).await, ["c", "b", "a"]);
    assert_eq!(tokens(&store, None, &all()).await, ["d", "c", "b", "a"]);
    let page = ListQuery { most: 1, page: Some(PageToken { at_ms: 5, token: "b".to_owned() }), ..all() };
    assert_eq!(tokens(&store, Some("k"), &page).await, ["a"]);
    let up = ListQuery { ascending: true, ..page };
    assert_eq!(tokens(&store, Some("k"), &up).await, ["c"]);
    let between = ListQuery { after_ms: Some(5), before_ms: Some(8), ..all() };
    assert_eq!(tokens(&store, None, &between).await, ["c"]);
    let under_way = ListQuery { status: Some(Status::InProgress), ..all() };
    assert_eq!(tokens(&store, Some("k"), &under_way).await.len(), 3);
    // Who looked before it ended, and is late, does not open it again.
    let mut ended = store.by_token("a").await.unwrap().unwrap();
    let late = ended.clone();
    ended.ended = Some(Ended { state: "settled".to_owned(), charged: Picodollars(1), low: None });
    store.keep(ended.clone()).await.unwrap();
    store.keep(late).await.unwrap();
    assert_eq!(store.by_token("a").await.unwrap(), Some(ended));
    store.forget("a").await.unwrap();
    assert_eq!(store.by_token("a").await.unwrap(), None);
}

fn ended(token: &str, caller: &str, at_ms: u64) -> Job {
    let mut job = job(token, caller, at_ms);
    job.ended = Some(Ended { state: "settled".to_owned(), charged: Picodollars(1), low: None });
    let begun = Seen::begun(&format!("arn:{token}"), "m".to_owned(), at_ms);
    job.seen = Some(Seen { status: Status::Completed, ..begun });
    job
}

#[tokio::test]
async fn those_that_ended_are_kept_for_their_time_and_so_many_of_each_key() {
    let folder = tempfile::tempdir().unwrap();
    let now = Arc::new(AtomicU64::new(100));
    let told = Arc::clone(&now);
    let keeping = Keeping { age_ms: 100, each_key: 3 };
    let store = SqliteJobs::open(folder.path(), keeping, Arc::new(move || told.load(Ordering::Relaxed))).unwrap();
    store.keep(job("open", "k", 1)).await.unwrap();
    store.keep(ended("theirs", "other", 1)).await.unwrap();
    for at_ms in 2..=5 {
        store.keep(ended(&at_ms.to_string(), "k", at_ms)).await.unwrap();
    }
    // One key's take no place of another's.
    assert_eq!(tokens(&store, None, &all()).await, ["5", "4", "3", "theirs", "open"]);
    now.store(104, Ordering::Relaxed);
    store.keep(ended("new", "other", 104)).await.unwrap();
    assert_eq!(tokens(&store, None, &all()).await, ["new", "5", "4", "open"]);
    let completed = ListQuery { status: Some(Status::Completed), ..all() };
    assert_eq!(tokens(&store, None, &completed).await, ["new", "5", "4"]);
}

#[tokio::test]
async fn who_knows_less_takes_nothing_away() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let mut stale = job("a", "k", 5);
    stale.arn = None;
    let mut begun = stale.clone();
    begun.arn = Some("arn:a".to_owned());
    store.keep(begun.clone()).await.unwrap();
    let over = Ended { state: "estimated".to_owned(), charged: Picodollars(1), low: None };
    stale.ended = Some(over.clone());
    store.keep(stale).await.unwrap();
    // And one that is told its name late is told nothing else.
    store.keep(begun.clone()).await.unwrap();
    begun.ended = Some(over);
    assert_eq!(store.by_arn("arn:a").await.unwrap(), Some(begun));
    let why = store.keep(job("a", "k", 9)).await.unwrap_err();
    assert!(why.contains("the job's token belongs to"), "{why}");
}

#[tokio::test]
async fn whatever_is_listed_an_index_gives_it_in_order() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path()));
    let connection = database::open_to_read(&folder.path().join(FILE)).unwrap();
    let page = Some(PageToken { at_ms: 5, token: "b".to_owned() });
    for asked in 0..64 {
        let has = |bit: u8| asked & (1 << bit) != 0;
        let query = ListQuery {
            after_ms: has(0).then_some(1),
            before_ms: has(1).then_some(9),
            status: has(2).then_some(Status::Failed),
            page: page.clone().filter(|_| has(3)),
            ascending: has(4),
            most: 10,
        };
        let (text, values) = listing(has(5).then(|| "k".to_owned()), &query);
        let mut plan = connection.prepare(&format!("EXPLAIN QUERY PLAN {text}")).unwrap();
        let steps = plan.query_map(params_from_iter(values), |row| row.get::<_, String>("detail")).unwrap();
        let steps: Vec<_> = steps.map(Result::unwrap).collect();
        assert_eq!(steps.len(), 1, "{text}: {steps:?}");
        assert!(steps[0].contains("USING INDEX job_"), "{text}: {steps:?}");
    }
}

#[tokio::test]
async fn those_that_ended_can_be_taken_out_for_good() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let one = ended("one", "k", 5);
    for job in [one.clone(), ended("two", "k", 6), ended("three", "other", 7), job("four", "other", 7)] {
        store.keep(job).await.unwrap();
    }
    assert_eq!(store.erase(Which::Request(one.request())).await, Ok(1));
    assert_eq!(tokens(&store, None, &all()).await, ["three", "four", "two"]);
    assert_eq!(store.erase(Which::Key("k".to_owned())).await, Ok(1));
    // Whose money is still reserved is still known.
    assert_eq!(store.erase(Which::Before(8)).await, Ok(1));
    assert_eq!(tokens(&store, None, &all()).await, ["four"]);
    drop(store);
    let file = std::fs::read(folder.path().join(FILE)).unwrap();
    assert!(!file.windows(9).any(|part| part == b"arn:three"));
}

#[tokio::test]
async fn a_file_of_the_first_schema_is_brought_up() {
    let folder = tempfile::tempdir().unwrap();
    let mut first = database::open(&folder.path().join(FILE), PATIENCE).unwrap();
    let describe = "INSERT INTO meta (one, schema, node) VALUES (1, 1, ?1)";
    database::prepare(&mut first, TABLES, |transaction, node| transaction.execute(describe, [node])).unwrap();
    let text = "INSERT INTO job VALUES ('a', 'arn:a', x'00', 'k', 5, NULL, 0, ?1)";
    first.execute(text, [serde_json::to_string(&job("a", "k", 5)).unwrap()]).unwrap();
    drop(first);
    let under_way = ListQuery { status: Some(Status::InProgress), ..all() };
    assert_eq!(tokens(&open(folder.path()), Some("k"), &under_way).await, ["a"]);
}
