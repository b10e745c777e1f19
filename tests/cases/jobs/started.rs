//! Starts of jobs that go wrong on the way: whatever is lost, each job that may have begun has a reservation, and
//! is charged once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kairos_dialects::failure::Upstream as Said;
use kairos_dialects::{Failure, Kind};
use kairos_pipeline::gateway::Gateway;
use kairos_pipeline::jobs::{Jobs, Watch, WatchBounds};
use kairos_pipeline::ledger::{Ledger as _, MemoryLedger};
use kairos_pipeline::reply::{Body, Reply};
use kairos_pipeline::request::{Incoming, Operation, Presented};
use serde_json::{Value, json};

use super::super::scripted::{Anybody, gateway};
use super::recording;
use super::told::{Kept, Told};

/// Four hours of video with its sound, in picodollars.
const WORST: u128 = 12_096_000_000_000;
const HOUR_MS: u64 = 3_600_000;
const BEGIN_MS: u64 = 1_795_000_000_000;

struct Started {
    gateway: Arc<Gateway>,
    upstream: Arc<Told>,
    ledger: Arc<MemoryLedger>,
    kept: Arc<Kept>,
    now: Arc<AtomicU64>,
}

impl Started {
    fn new() -> Self {
        let (upstream, ledger, kept) =
            (Arc::<Told>::default(), Arc::new(MemoryLedger::default()), Arc::new(Kept::default()));
        let mut gateway = gateway(Arc::clone(&upstream) as _, Arc::new(Anybody), Arc::clone(&ledger), None);
        gateway.jobs = Some(Arc::new(Jobs::new(Arc::clone(&kept) as _)));
        let now = Arc::new(AtomicU64::new(BEGIN_MS));
        let told = Arc::clone(&now);
        gateway.clock = Arc::new(move || told.load(Ordering::Relaxed));
        Self { gateway: Arc::new(gateway), upstream, ledger, kept, now }
    }

    /// Starts the job, where Bedrock answers this; none: it is not asked. Gives status and body.
    async fn start(&self, body: &Value, answer: Option<Result<&str, Failure>>) -> (u16, String) {
        let (status, said, left) = self.start_with(body, answer.into_iter().collect()).await;
        assert_eq!(left, 0, "Bedrock was asked");
        (status, said)
    }

    /// The same, where it may be asked several times. Gives also how many answers are left.
    async fn start_with(&self, body: &Value, answers: Vec<Result<&str, Failure>>) -> (u16, String, usize) {
        let arn = |arn: &str| json!({ "invocationArn": arn }).to_string();
        *self.upstream.starts.lock().unwrap() = answers.into_iter().map(|answer| answer.map(arn)).collect();
        let incoming = Incoming {
            operation: Operation::StartAsync,
            path_model: None,
            presented: Presented::Nothing,
            hints: Vec::new(),
            passed_headers: Vec::new(),
            client_request_id: None,
            body: body.to_string().into(),
            held: None,
        };
        let (reply, answer) = Reply::channel(Duration::from_secs(30));
        kairos_pipeline::handle(Arc::clone(&self.gateway), incoming, reply).await;
        let outgoing = answer.await.unwrap();
        let Body::Whole(body) = outgoing.body else { panic!("a stream") };
        let left = std::mem::take(&mut *self.upstream.starts.lock().unwrap()).len();
        (outgoing.status, String::from_utf8_lossy(&body).into_owned(), left)
    }

    /// Looks for open jobs at a time, where this is answered.
    async fn look_at(&self, now_ms: u64, answers: &[String]) {
        self.now.store(now_ms, Ordering::Relaxed);
        self.upstream.answers.lock().unwrap().extend(answers.iter().cloned().map(Ok));
        let bounds = WatchBounds { first_ms: 1, longest_ms: 1, horizon_ms: 100 * HOUR_MS };
        assert_eq!(Watch::new(bounds).round(&self.gateway).await, 1);
        assert!(self.upstream.answers.lock().unwrap().is_empty(), "all was asked for");
    }

    /// What is charged, and what is open.
    fn money(&self) -> (u128, u128) {
        let totals = self.ledger.totals();
        (totals.charged, totals.open)
    }
}

fn refused(kind: Kind, status: u16) -> Failure {
    Failure { upstream: Some(Box::new(Said { status, ..Said::default() })), ..Failure::new(kind, "no") }
}

fn seen(arn: &str, submitted_ms: u64) -> String {
    let at = jiff::Timestamp::from_millisecond(i64::try_from(submitted_ms).unwrap()).unwrap();
    json!({"invocationArn": arn, "modelArn": "m", "status": "InProgress", "submitTime": at.to_string()}).to_string()
}

#[tokio::test]
async fn a_record_without_a_row_starts_nothing_without_a_reservation() {
    // A job that never began, and could not be forgotten.
    let started = Started::new();
    started.kept.forgets_nothing.store(true, Ordering::Relaxed);
    assert_eq!(started.start(&recording("one"), Some(Err(refused(Kind::AccessDenied, 403)))).await.0, 403);
    assert_eq!((started.money(), started.kept.jobs.lock().unwrap().len()), ((0, 0), 1));
    assert_eq!(started.start(&recording("one"), Some(Ok("arn"))).await.0, 200);
    assert_eq!(started.money(), (0, WORST));

    // One that was kept, as its disk did not say.
    let started = Started::new();
    started.kept.keeps_and_fails.store(true, Ordering::Relaxed);
    let (status, said) = started.start(&recording("one"), None).await;
    assert!(status == 503 && said.contains("jobs cannot be kept at the moment: the disk"), "{said}");
    assert_eq!((started.money(), started.kept.jobs.lock().unwrap().len()), ((0, 0), 1));
    assert_eq!(started.start(&recording("one"), Some(Ok("arn"))).await.0, 200);
    assert_eq!(started.money(), (0, WORST));
    // From then on it is the same job.
    assert_eq!(started.start(&recording("one"), None).await, (200, r#"{"invocationArn":"arn"}"#.to_owned()));
    assert_eq!((started.money(), started.upstream.calls.lock().unwrap().len()), ((0, WORST), 1));
}

#[tokio::test]
async fn a_fault_of_bedrocks_own_does_not_say_that_the_job_never_began() {
    for (kind, status, is_open) in [
        (Kind::Unavailable, 503, true),
        (Kind::Server, 500, true),
        (Kind::ModelNotReady, 429, true),
        (Kind::Rejected, 400, false),
        (Kind::AccessDenied, 403, false),
        (Kind::Throttled, 429, false),
        (Kind::Quota, 400, false),
        (Kind::ModelNotFound, 404, false),
        (Kind::Conflict, 400, false),
    ] {
        let started = Started::new();
        let answers = (0..10).map(|_| Err(refused(kind, status))).collect();
        let (_, _, left) = started.start_with(&recording("one"), answers).await;
        let open = if is_open { WORST } else { 0 };
        assert_eq!(started.money(), (0, open), "{kind:?}");
        assert_eq!(started.kept.jobs.lock().unwrap().len(), usize::from(is_open), "{kind:?}");
        // What may have begun is not begun once more without being asked for.
        assert!(!is_open || left == 9, "{kind:?}: {left}");
    }
}

#[tokio::test]
async fn a_job_that_was_given_up_and_comes_back_is_charged_once() {
    for (submitted_ms, throttled, money) in [
        // It had begun after all.
        (BEGIN_MS, false, (WORST, 0)),
        // And is still known to have, whatever became of a repetition.
        (BEGIN_MS, true, (WORST, 0)),
        // It is another: the first one may have been one as well.
        (BEGIN_MS + HOUR_MS, false, (WORST, WORST)),
    ] {
        let started = Started::new();
        let body = recording("one");
        let lost = Failure::new(Kind::Network, "the connection broke").maybe_billed();
        assert_eq!(started.start(&body, Some(Err(lost))).await.0, 503);
        assert_eq!(started.money(), (0, WORST));
        started.look_at(BEGIN_MS + HOUR_MS, &["{}".to_owned()]).await;
        assert_eq!(started.money(), (WORST, 0));
        if throttled {
            let answers = (0..10).map(|_| Err(refused(Kind::Throttled, 429))).collect();
            assert_eq!(started.start_with(&body, answers).await.0, 429);
            assert_eq!(started.money(), (WORST, 0));
        }
        // Nobody knows yet: it has a reservation of its own.
        assert_eq!(started.start(&body, Some(Ok("arn"))).await.0, 200);
        assert_eq!(started.money(), (WORST, WORST));
        started.look_at(BEGIN_MS + HOUR_MS + 1, &[seen("arn", submitted_ms)]).await;
        assert_eq!(started.money(), money);
        let kept = started.kept.jobs.lock().unwrap().values().next().cloned().unwrap();
        let charged = kept.ended.map(|ended| (ended.state, u128::from(ended.charged.0)));
        assert_eq!(charged, (money.1 == 0).then(|| ("estimated".to_owned(), WORST)));
    }
}

#[tokio::test]
async fn a_job_of_which_nothing_bounds_the_cost_is_not_started() {
    let started = Started::new();
    let mut body = recording("one");
    body["modelId"] = "arn:aws:bedrock:us-east-1:000000000000:application-inference-profile/x".into();
    let (status, said) = started.start(&body, None).await;
    let says = "a job goes to a model itself, not to an application inference profile: name the model";
    assert!(status == 400 && said.contains(says), "{status} {said}");
    assert_eq!((started.money(), started.kept.jobs.lock().unwrap().len()), ((0, 0), 0));
}
