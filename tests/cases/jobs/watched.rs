//! Looks for jobs whose end nobody asks for, by a clock of the test's own.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::future::{BoxFuture, ready};
use kairos_dialects::bedrock::jobs::ListQuery;
use kairos_dialects::outline::ServiceTier;
use kairos_dialects::{Failure, Kind};
use kairos_pipeline::gateway::Gateway;
use kairos_pipeline::jobs::{Job, JobStore, Jobs, Watch, WatchBounds};
use kairos_pipeline::ledger::{AttemptKey, Ledger as _, MemoryLedger, Reservation};
use kairos_pipeline::money::Picodollars;
use kairos_pipeline::request::RequestId;
use kairos_pipeline::upstream::{Call, Look, Response, Upstream};
use serde_json::json;

use super::super::scripted::{Anybody, gateway};

const BOUNDS: WatchBounds = WatchBounds { first_ms: 10_000, longest_ms: 40_000, horizon_ms: 7_200_000 };

/// Answers as it is told to, and says what it was asked.
#[derive(Default)]
struct Told {
    answers: Mutex<VecDeque<Result<String, Failure>>>,
    asked: Mutex<Vec<String>>,
}

impl Upstream for Told {
    fn call(&self, _: Call) -> BoxFuture<'_, Result<Response, Failure>> {
        unreachable!("nothing is called")
    }

    fn look<'a>(&'a self, look: Look<'a>) -> BoxFuture<'a, Result<Bytes, Failure>> {
        let asked = match look {
            Look::Job(arn) => arn.to_owned(),
            Look::List { page, .. } => format!("list {}", page.unwrap_or("first")),
        };
        self.asked.lock().unwrap().push(asked);
        let answer = self.answers.lock().unwrap().pop_front().unwrap();
        Box::pin(ready(answer.map(Bytes::from)))
    }
}

/// Jobs in memory.
#[derive(Default)]
struct Kept(Mutex<HashMap<String, Job>>);

impl Kept {
    fn find(&self, is: impl Fn(&Job) -> bool) -> BoxFuture<'_, Result<Option<Job>, String>> {
        let found = self.0.lock().unwrap().values().find(|job| is(job)).cloned();
        Box::pin(ready(Ok(found)))
    }
}

impl JobStore for Kept {
    fn keep(&self, job: Job) -> BoxFuture<'_, Result<(), String>> {
        self.0.lock().unwrap().insert(job.token.clone(), job);
        Box::pin(ready(Ok(())))
    }

    fn forget(&self, token: &str) -> BoxFuture<'_, Result<(), String>> {
        self.0.lock().unwrap().remove(token);
        Box::pin(ready(Ok(())))
    }

    fn by_token(&self, token: &str) -> BoxFuture<'_, Result<Option<Job>, String>> {
        self.find(|job| job.token == token)
    }

    fn by_arn(&self, arn: &str) -> BoxFuture<'_, Result<Option<Job>, String>> {
        self.find(|job| job.arn.as_deref() == Some(arn))
    }

    fn by_request(&self, request: RequestId) -> BoxFuture<'_, Result<Option<Job>, String>> {
        self.find(|job| job.request() == request)
    }

    fn list(&self, _: Option<&str>, _: &ListQuery) -> BoxFuture<'_, Result<Vec<Job>, String>> {
        Box::pin(ready(Ok(Vec::new())))
    }
}

/// A gateway with one open job, of which so much is known.
struct Watched {
    gateway: Gateway,
    upstream: Arc<Told>,
    ledger: Arc<MemoryLedger>,
    kept: Arc<Kept>,
    watch: Watch,
    now: Arc<AtomicU64>,
}

impl Watched {
    async fn new(arn: Option<&str>) -> Self {
        let (upstream, ledger, kept) =
            (Arc::<Told>::default(), Arc::new(MemoryLedger::default()), Arc::new(Kept::default()));
        let mut gateway = gateway(Arc::clone(&upstream) as _, Arc::new(Anybody), Arc::clone(&ledger), None);
        gateway.jobs = Some(Arc::new(Jobs::new(Arc::clone(&kept) as _)));
        let now = Arc::new(AtomicU64::new(0));
        let told = Arc::clone(&now);
        gateway.clock = Arc::new(move || told.load(Ordering::Relaxed));
        let key = AttemptKey { request: RequestId::mint(), attempt: 1 };
        let reservation = Reservation {
            key,
            caller: "k".into(),
            team: None,
            model: "m".into(),
            target: "m".into(),
            region: "us-east-1".into(),
            tier: ServiceTier::Standard,
            tags: Arc::from([]),
            at_ms: 0,
            worst: Picodollars(100),
            price_version: "v".into(),
            policy: None,
            unpriced: false,
            job: Some("token".into()),
        };
        ledger.open(&reservation).await.unwrap();
        let mut job = Job::new(key, "token", "k", 0);
        job.arn = arn.map(str::to_owned);
        kept.keep(job).await.unwrap();
        Self { gateway, upstream, ledger, kept, watch: Watch::new(BOUNDS), now }
    }

    /// What is looked for at a time, where this is answered.
    async fn at(&mut self, now_ms: u64, answers: &[Result<&str, Kind>]) -> Vec<String> {
        self.now.store(now_ms, Ordering::Relaxed);
        let answers = answers.iter().map(|answer| match answer {
            Ok("open" | "done") => Ok(seen(answer.unwrap())),
            Ok(text) => Ok((*text).to_owned()),
            Err(kind) => Err(Failure::new(*kind, "no")),
        });
        self.upstream.answers.lock().unwrap().extend(answers);
        self.watch.round(&self.gateway).await;
        assert!(self.upstream.answers.lock().unwrap().is_empty(), "all was asked for");
        std::mem::take(&mut *self.upstream.asked.lock().unwrap())
    }

    /// What is charged and what is open, and how it ended.
    fn money(&self) -> (u128, u128, Option<String>) {
        let totals = self.ledger.totals();
        let ended = self.kept.0.lock().unwrap().get("token").and_then(|job| job.ended.clone());
        (totals.charged, totals.open, ended.map(|ended| ended.state))
    }
}

fn seen(status: &str) -> String {
    let status = if status == "open" { "InProgress" } else { "Completed" };
    json!({"invocationArn": "arn", "modelArn": "m", "clientRequestToken": "token", "status": status, "submitTime": "t"})
        .to_string()
}

const NONE: [&str; 0] = [];

#[tokio::test]
async fn looks_are_ever_rarer_and_the_end_is_seen_once() {
    let mut watched = Watched::new(Some("arn")).await;
    assert_eq!(watched.at(9_999, &[]).await, NONE);
    assert_eq!(watched.at(10_000, &[Ok("open")]).await, ["arn"]);
    assert_eq!(watched.at(29_999, &[]).await, NONE);
    assert_eq!(watched.at(30_000, &[Err(Kind::Throttled)]).await, ["arn"]);
    assert_eq!(watched.at(69_999, &[]).await, NONE);
    assert_eq!(watched.at(70_000, &[Ok("not JSON")]).await, ["arn"]);
    // A clock that was put back does not keep it waiting for what it showed before.
    assert_eq!(watched.at(5_000, &[]).await, NONE);
    assert_eq!(watched.at(45_000, &[Ok("open")]).await, ["arn"]);
    assert_eq!(watched.money(), (0, 100, None));
    assert_eq!(watched.at(85_000, &[Ok("done")]).await, ["arn"]);
    assert_eq!(watched.money(), (100, 0, Some("estimated".to_owned())));
    assert_eq!(watched.at(500_000, &[]).await, NONE);
}

#[tokio::test]
async fn a_job_without_an_answer_is_found_by_its_token_or_given_up_after_an_hour() {
    let mut watched = Watched::new(None).await;
    let page = json!({"nextToken": "2", "asyncInvokeSummaries": []}).to_string();
    let found = json!({"asyncInvokeSummaries": [serde_json::from_str::<serde_json::Value>(&seen("open")).unwrap()]});
    assert_eq!(watched.at(10_000, &[Ok("{}")]).await, ["list first"]);
    assert_eq!(watched.at(50_000, &[Ok(&page), Ok(&found.to_string())]).await, ["list first", "list 2"]);
    assert_eq!(watched.at(100_000, &[Ok("done")]).await, ["arn"]);
    assert_eq!(watched.money().0, 100);

    let mut watched = Watched::new(None).await;
    for now_ms in (1..90).map(|look| look * 40_000) {
        assert_eq!(watched.at(now_ms, &[Ok("{}")]).await, ["list first"]);
        assert_eq!(watched.money(), (0, 100, None));
    }
    watched.at(3_600_000, &[Ok("{}")]).await;
    assert_eq!(watched.money(), (100, 0, Some("estimated".to_owned())));
}

#[tokio::test]
async fn what_bedrock_no_longer_knows_or_does_not_end_is_charged_at_its_worst() {
    let mut watched = Watched::new(Some("arn")).await;
    for look in 1..5 {
        watched.at(look * 40_000, &[Err(Kind::Rejected)]).await;
        assert_eq!(watched.money().1, 100);
    }
    watched.at(200_000, &[Err(Kind::Rejected)]).await;
    assert_eq!(watched.money(), (100, 0, Some("estimated".to_owned())));

    for answer in [Ok("open"), Err(Kind::AccessDenied)] {
        let mut watched = Watched::new(Some("arn")).await;
        watched.at(7_199_999, &[answer]).await;
        assert_eq!(watched.money().1, 100, "{answer:?}");
        watched.at(7_300_000, &[answer]).await;
        assert_eq!(watched.money(), (100, 0, Some("estimated".to_owned())), "{answer:?}");
    }
}
