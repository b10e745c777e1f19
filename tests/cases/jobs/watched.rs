//! Looks for jobs whose end nobody asks for, by a clock of the test's own.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use kairos_dialects::outline::ServiceTier;
use kairos_dialects::{Failure, Kind};
use kairos_pipeline::gateway::Gateway;
use kairos_pipeline::jobs::{Job, JobStore, Jobs, Watch, WatchBounds};
use kairos_pipeline::ledger::{AttemptKey, Ledger as _, MemoryLedger, Reservation};
use kairos_pipeline::money::Picodollars;
use kairos_pipeline::request::RequestId;
use serde_json::json;

use super::super::scripted::{Anybody, gateway};
use super::told::{Kept, Told};

const BOUNDS: WatchBounds = WatchBounds { first_ms: 10_000, longest_ms: 40_000, horizon_ms: 7_200_000 };

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
        let ended = self.kept.jobs.lock().unwrap().get("token").and_then(|job| job.ended.clone());
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
    let foreign = json!({"invocationArn": "theirs", "modelArn": "m", "status": "Paused"});
    let found =
        json!({"asyncInvokeSummaries": [foreign, serde_json::from_str::<serde_json::Value>(&seen("open")).unwrap()]});
    assert_eq!(watched.at(10_000, &[Ok("{}")]).await, ["list first"]);
    assert_eq!(
        watched.at(50_000, &[Ok(&page), Ok(&found.to_string()), Ok("open")]).await,
        ["list first", "list 2", "arn"]
    );
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

/// A request that asks again is answered while the watch looks for what it will not find.
#[tokio::test]
async fn an_arn_that_came_meanwhile_is_not_written_over() {
    let mut watched = Watched::new(None).await;
    let (kept, mut job) = (Arc::clone(&watched.kept), watched.kept.by_token("token").await.unwrap().unwrap());
    job.arn = Some("arn".to_owned());
    *watched.upstream.meanwhile.lock().unwrap() = Some(Box::new(move || kept.put(job).unwrap()));
    assert_eq!(watched.at(3_600_000, &[Ok("{}")]).await, ["list first"]);
    assert_eq!(watched.money(), (0, 100, None));
    assert_eq!(watched.at(3_700_000, &[Ok("done")]).await, ["arn"]);
    assert_eq!(watched.money().0, 100);
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
