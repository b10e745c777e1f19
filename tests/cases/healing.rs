//! What follows a failed attempt: by the native healer, by others, and within bounds that none can pass.
//! Most of it on a clock of its own, against a model's side that says what it is told to say.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use kairos_dialects::{Failure, Kind};
use kairos_pipeline::HealingBounds;
use kairos_pipeline::gateway::Gateway;
use kairos_pipeline::healers::{Backoff, BackoffBounds};
use kairos_pipeline::learned::Snapshot;
use kairos_pipeline::ledger::{Ledger as _, MemoryLedger};
use kairos_pipeline::policy::{
    Action, Assigned, Fault, Guard, HealInput, Healer, Identity, Plan, Policies, PolicyError, Prompter, Remedy,
    Serving, Wait, Watcher, Went, World,
};
use kairos_pipeline::record::Record;
use kairos_pipeline::reply::{Body, Outgoing, Reply};
use kairos_pipeline::request::{Incoming, Operation, Presented, RequestId};
use kairos_pipeline::upstream::{Call, Look, Response, Upstream, Whole};
use kairos_tests::http::{Client, chat};
use kairos_tests::process::Setup;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::scripted::{Anybody, gateway};

const NOVA: &str = "amazon.nova-lite-v1:0";

/// Fails as it is told, call by call, then answers.
struct Failing {
    failures: Mutex<Vec<Failure>>,
    calls: Mutex<Vec<(Instant, Call)>>,
    renews: bool,
}

impl Upstream for Failing {
    fn look<'a>(&'a self, _: Look<'a>) -> BoxFuture<'a, Result<Bytes, Failure>> {
        unreachable!("nobody starts a job here")
    }

    fn call(&self, call: Call) -> BoxFuture<'_, Result<Response, Failure>> {
        self.calls.lock().unwrap().push((Instant::now(), call));
        let mut failures = self.failures.lock().unwrap();
        let failure = if failures.is_empty() { None } else { Some(failures.remove(0)) };
        Box::pin(async move {
            match failure {
                Some(failure) => Err(failure),
                None => {
                    let answer = json!({"output": {"message": {"role": "assistant", "content": [{"text": "at last"}]}},
                        "stopReason": "end_turn", "usage": {"inputTokens": 10, "outputTokens": 20, "totalTokens": 30}});
                    let body = answer.to_string().into();
                    Ok(Response::Whole(Whole { body, headers: Vec::new(), counts: Default::default() }))
                }
            }
        })
    }

    fn renews_credentials(&self) -> bool {
        self.renews
    }
}

/// Says what it is told to say.
struct Told(Identity, Box<Says>);

type Says = dyn Fn(HealInput<'_>) -> Result<Remedy, PolicyError> + Send + Sync;

impl Healer for Told {
    fn identity(&self) -> &Identity {
        &self.0
    }

    fn heal(&self, input: HealInput<'_>) -> Result<Remedy, PolicyError> {
        self.1(input)
    }
}

fn told(
    says: impl Fn(HealInput<'_>) -> Result<Remedy, PolicyError> + Send + Sync + 'static,
) -> Option<Arc<dyn Healer>> {
    let reasons = vec![(7, "because".into())];
    Some(Arc::new(Told(Identity::new("told", "0", reasons, vec![]), Box::new(says))))
}

/// The same policies with another healer; counts its faults.
struct Healed(Arc<dyn Policies>, Arc<dyn Healer>, Arc<AtomicUsize>);

impl Policies for Healed {
    fn serving(&self) -> Arc<Serving> {
        self.0.serving()
    }

    fn healer(&self) -> Arc<dyn Healer> {
        Arc::clone(&self.1)
    }

    fn guard(&self) -> Option<Arc<dyn Guard>> {
        self.0.guard()
    }

    fn prompter(&self) -> Option<Arc<dyn Prompter>> {
        None
    }

    fn observer(&self) -> Option<Arc<dyn Watcher>> {
        None
    }

    fn learned(&self) -> Arc<Snapshot> {
        Arc::default()
    }

    fn failed(&self, world: World, _: &Identity, _: &Fault) {
        assert_eq!(world, World::Healer);
        self.2.fetch_add(1, Ordering::Relaxed);
    }

    fn ticket(&self) -> u64 {
        0
    }

    fn assigned(&self, _: &Assigned) {}

    fn ended(&self, _: &Assigned, _: Went) {}
}

/// A request under way.
struct Asked {
    gateway: Arc<Gateway>,
    upstream: Arc<Failing>,
    ledger: Arc<MemoryLedger>,
    answer: oneshot::Receiver<Outgoing>,
    handling: JoinHandle<()>,
    faults: Arc<AtomicUsize>,
}

/// What came of it.
struct Outcome {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Value,
    record: Record,
    calls: Vec<(Instant, Call)>,
    faults: usize,
}

/// How a request meets its failures.
#[derive(Default)]
struct Case {
    failures: Vec<Failure>,
    healer: Option<Arc<dyn Healer>>,
    plan: Option<Plan>,
    renews: bool,
    bounds: HealingBounds,
    /// Of Converse, in place of a short one.
    body: Option<Value>,
}

impl Case {
    fn ask(self) -> Asked {
        let upstream =
            Arc::new(Failing { failures: Mutex::new(self.failures), calls: Mutex::default(), renews: self.renews });
        let ledger = Arc::new(MemoryLedger::default());
        let model = if self.plan.is_some() { "auto" } else { NOVA };
        let mut gateway =
            gateway(Arc::clone(&upstream) as Arc<dyn Upstream>, Arc::new(Anybody), Arc::clone(&ledger), self.plan);
        let faults = Arc::<AtomicUsize>::default();
        let healer = self.healer.unwrap_or_else(|| Arc::new(Backoff::new(BackoffBounds::default())));
        gateway.policies = Arc::new(Healed(gateway.policies, healer, Arc::clone(&faults)));
        gateway.settings.healing = self.bounds;
        let body = self.body.unwrap_or_else(|| json!({"messages": [{"role": "user", "content": [{"text": "hello"}]}]}));
        let incoming = Incoming {
            operation: Operation::Converse,
            path_model: Some(model.to_owned()),
            presented: Presented::Nothing,
            hints: Vec::new(),
            passed_headers: Vec::new(),
            client_request_id: None,
            body: body.to_string().into(),
            held: None,
        };
        let (reply, answer) = Reply::channel(Duration::from_secs(30));
        let gateway = Arc::new(gateway);
        let handling = tokio::spawn(kairos_pipeline::handle(Arc::clone(&gateway), incoming, reply));
        Asked { gateway, upstream, ledger, answer, handling, faults }
    }

    async fn run(self) -> Outcome {
        let asked = self.ask();
        let outgoing = asked.answer.await.unwrap();
        asked.handling.await.unwrap();
        let Body::Whole(body) = outgoing.body else { panic!("a stream") };
        let id = outgoing.headers.iter().find(|(name, _)| *name == "x-kairos-request-id").unwrap();
        let record = (*asked.gateway.records.get(RequestId::parse(&id.1).unwrap()).unwrap()).clone();
        // However it was healed: each attempt has a row of its own, and none is open.
        assert_eq!(asked.ledger.totals().open_rows, 0);
        let calls = std::mem::take(&mut *asked.upstream.calls.lock().unwrap());
        assert_eq!((record.attempts.len(), asked.ledger.totals().ended_rows), (calls.len(), calls.len() as u64));
        Outcome {
            status: outgoing.status,
            headers: outgoing.headers,
            body: serde_json::from_slice(&body).unwrap(),
            record,
            calls,
            faults: asked.faults.load(Ordering::Relaxed),
        }
    }
}

impl Outcome {
    /// Actions, in order.
    fn actions(&self) -> Vec<&str> {
        self.record.healing.iter().map(|healing| healing.action).collect()
    }

    /// Waits between calls.
    fn gaps(&self) -> Vec<Duration> {
        self.calls.windows(2).map(|pair| pair[1].0 - pair[0].0).collect()
    }

    fn sent(&self, call: usize) -> Value {
        serde_json::from_slice(&self.calls[call].1.body).unwrap()
    }
}

fn throttled() -> Failure {
    Failure::new(Kind::Throttled, "slow down")
}

fn wait(least: u32) -> Remedy {
    Remedy { wait: Some(Wait { least, base: 0, cap: 0 }), ..Remedy::new(Action::Retry, 7) }
}

#[tokio::test(start_paused = true)]
async fn what_passes_and_cost_nothing_is_tried_again_after_a_while() {
    for kind in [Kind::Throttled, Kind::Unavailable, Kind::ModelNotReady, Kind::Network] {
        let failures = vec![Failure::new(kind, "not now"), Failure::new(kind, "not now")];
        let outcome = Case { failures, ..Case::default() }.run().await;
        assert_eq!((outcome.status, outcome.actions()), (200, vec!["retry", "retry"]), "{}", outcome.body);
        assert_eq!(outcome.body["output"]["message"]["content"][0]["text"], "at last");
        let reasons: Vec<_> = outcome.record.healing.iter().map(|one| one.reason_name.as_deref().unwrap()).collect();
        assert_eq!(reasons, ["again", "again"]);
        let told: Vec<_> = outcome.record.healing.iter().map(|one| one.wait_ms.unwrap()).collect();
        for ((gap, told), most) in outcome.gaps().into_iter().zip(told).zip([500, 1_000]) {
            assert!(gap <= Duration::from_millis(most + 1), "{gap:?} of {most}");
            // Tokio's timer counts whole milliseconds.
            assert!(gap.as_millis().abs_diff(told.into()) <= 1, "{gap:?}, {told} ms told");
        }
        // A third time is one too many.
        let failures = (0..3).map(|_| Failure::new(kind, "not now")).collect();
        let outcome = Case { failures, ..Case::default() }.run().await;
        assert_eq!((outcome.calls.len(), outcome.actions()), (3, vec!["retry", "retry", "give-up"]));
        assert!(outcome.status >= 429, "{}", outcome.status);
    }
}

/// Full jitter: those that were turned away together do not come back together.
#[tokio::test(start_paused = true)]
async fn waits_are_drawn_evenly() {
    let mut waits = Vec::new();
    for _ in 0..400 {
        let outcome = Case { failures: vec![throttled()], ..Case::default() }.run().await;
        waits.push(f64::from(outcome.record.healing[0].wait_ms.unwrap()));
    }
    let mean = waits.iter().sum::<f64>() / 400.0;
    // Four standard deviations of the mean of 400 even draws below 500.
    assert!((mean - 250.0).abs() < 4.0 * 500.0 / (12.0f64 * 400.0).sqrt(), "{mean}");
    let (least, most) = waits.iter().fold((f64::MAX, 0.0f64), |(least, most), &one| (least.min(one), most.max(one)));
    assert!(least < 30.0 && (470.0..500.0).contains(&most), "{least} to {most}");
}

#[tokio::test(start_paused = true)]
async fn a_time_that_bedrock_names_is_waited_for_or_passed_on() {
    let asks = |seconds| Failure { retry_after: Some(Duration::from_secs(seconds)), ..throttled() };
    let outcome = Case { failures: vec![asks(7)], ..Case::default() }.run().await;
    assert_eq!(outcome.status, 200);
    assert!(outcome.gaps()[0] >= Duration::from_secs(7), "{:?}", outcome.gaps());
    let outcome = Case { failures: vec![asks(9)], ..Case::default() }.run().await;
    assert_eq!((outcome.status, outcome.calls.len(), outcome.actions()), (429, 1, vec!["give-up"]));
    assert!(outcome.headers.contains(&("retry-after", "9".to_owned())), "{:?}", outcome.headers);
}

/// What may have been billed, and what would fail alike, is not sent twice; another model may try.
#[tokio::test(start_paused = true)]
async fn nothing_is_paid_for_twice_on_one_model() {
    for kind in [Kind::Server, Kind::Timeout, Kind::ModelError, Kind::Rejected, Kind::Conflict, Kind::UpstreamAuth] {
        let failures = vec![Failure::new(kind, "no").maybe_billed()];
        let outcome = Case { failures: failures.clone(), ..Case::default() }.run().await;
        assert_eq!((outcome.calls.len(), outcome.actions()), (1, vec!["give-up"]), "{kind:?}");
        let plan = Some(Plan::in_order([0, 1], 1));
        let outcome = Case { failures, plan, ..Case::default() }.run().await;
        let elsewhere = matches!(kind, Kind::Server | Kind::Timeout | Kind::ModelError);
        assert_eq!(outcome.status == 200, elsewhere, "{kind:?}");
        assert_eq!(outcome.gaps(), vec![Duration::ZERO; usize::from(elsewhere)]);
    }
}

#[tokio::test(start_paused = true)]
async fn refused_credentials_are_fetched_anew_once() {
    let refused = || Failure::new(Kind::UpstreamAuth, "expired");
    let outcome = Case { failures: vec![refused()], renews: true, ..Case::default() }.run().await;
    assert_eq!((outcome.status, outcome.actions()), (200, vec!["refresh-credentials"]));
    let outcome = Case { failures: vec![refused(), refused()], renews: true, ..Case::default() }.run().await;
    assert_eq!((outcome.status, outcome.actions()), (403, vec!["refresh-credentials", "give-up"]));
}

#[tokio::test(start_paused = true)]
async fn no_healer_passes_the_bounds() {
    let many = || (0..100).map(|_| throttled()).collect::<Vec<_>>();
    let outcome = Case { failures: many(), healer: told(|_| Ok(wait(0))), ..Case::default() }.run().await;
    assert_eq!((outcome.status, outcome.calls.len()), (429, 8));
    let bounds = HealingBounds { attempts: 3, ..HealingBounds::default() };
    let outcome = Case { failures: many(), healer: told(|_| Ok(wait(0))), bounds, ..Case::default() }.run().await;
    assert_eq!(outcome.calls.len(), 3);
    // 60 s: two waits of 25 fit, a third would not, and is not begun.
    let began = Instant::now();
    let outcome = Case { failures: many(), healer: told(|_| Ok(wait(25_000))), ..Case::default() }.run().await;
    assert_eq!((outcome.calls.len(), began.elapsed().as_secs()), (3, 50));
}

#[tokio::test(start_paused = true)]
async fn who_leaves_while_it_waits_is_not_called_for_again() {
    let healer = told(|_| Ok(wait(20_000)));
    let asked = Case { failures: vec![throttled()], healer, ..Case::default() }.ask();
    while asked.upstream.calls.lock().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    let began = Instant::now();
    drop(asked.answer);
    asked.handling.await.unwrap();
    assert_eq!((asked.upstream.calls.lock().unwrap().len(), began.elapsed()), (1, Duration::ZERO));
    assert_eq!((asked.ledger.totals().open_rows, asked.ledger.totals().ended_rows), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_healer_turns_to_other_models_and_lowers_the_limit() {
    let healer = told(|input| {
        assert_eq!((input.failure.attempt.model, &input.failure.left[..]), (0, &[1][..]));
        assert!(input.models.len() > 2 && input.request.model_ids.len() == input.models.len());
        Ok(Remedy { max_output_tokens: Some(9), ..Remedy::new(Action::Switch(2), 7) })
    });
    let plan = || Some(Plan::in_order([0, 1], 1));
    let outcome = Case { failures: vec![throttled()], healer, plan: plan(), ..Case::default() }.run().await;
    let offered = &outcome.record.decision.as_ref().unwrap().offered;
    assert_eq!((outcome.status, &*outcome.record.attempts[1].model), (200, &*offered[2]));
    assert_eq!(outcome.sent(1)["inferenceConfig"]["maxTokens"], 9);
    // It can fail with what failed first.
    let healer = told(|input| {
        let first = input.history.is_empty();
        Ok(Remedy::new(if first { Action::Next } else { Action::GiveUp(Some(0)) }, 7))
    });
    let failures = vec![throttled(), Failure::new(Kind::AccessDenied, "not yours")];
    let outcome = Case { failures, healer, plan: plan(), ..Case::default() }.run().await;
    assert_eq!((outcome.status, outcome.actions()), (429, vec!["next", "give-up"]));
    let outcome =
        Case { failures: vec![throttled()], healer: told(|_| Err(PolicyError::Refused(7))), ..Case::default() };
    let outcome = outcome.run().await;
    assert_eq!((outcome.status, outcome.actions()), (403, vec!["refuse"]));
    assert!(outcome.body["message"].as_str().unwrap().contains("reason 7 (because)"), "{}", outcome.body);
}

#[tokio::test(start_paused = true)]
async fn a_prompt_is_shortened_for_the_model_that_did_not_take_it() {
    let turn = |role: &str, text: String| json!({"role": role, "content": [{"text": text}]});
    let body = json!({"messages": [turn("user", "a".repeat(4_000)), turn("assistant", "b".repeat(4_000)), turn("user", "now".into())]});
    let rejected = || Failure::new(Kind::Rejected, "too long");
    let healer = || {
        told(|input| {
            Ok(Remedy::new(
                if input.history.is_empty() {
                    Action::ShortenPrompt(input.failure.attempt.text_tokens / 2)
                } else {
                    Action::Next
                },
                7,
            ))
        })
    };
    let failures = vec![rejected()];
    let outcome = Case { failures, healer: healer(), body: Some(body.clone()), ..Case::default() }.run().await;
    assert_eq!((outcome.status, outcome.actions()), (200, vec!["shorten-prompt"]));
    assert_eq!(outcome.sent(1)["messages"], json!([turn("user", "now".into())]));
    assert!(outcome.record.warnings[0].contains("the oldest turns"), "{:?}", outcome.record.warnings);
    // Another model gets all of it.
    let (failures, plan) = (vec![rejected(), rejected()], Some(Plan::in_order([0, 1], 1)));
    let outcome = Case { failures, healer: healer(), body: Some(body.clone()), plan, ..Case::default() }.run().await;
    assert_eq!((outcome.status, &outcome.sent(2)["messages"]), (200, &body["messages"]));
}

/// A remedy that is not valid, or none: the native default decides, and the record says instead of whom.
#[tokio::test(start_paused = true)]
async fn the_native_healer_stands_in() {
    type Fixed = fn(HealInput<'_>) -> Result<Remedy, PolicyError>;
    let cases: [(Fixed, usize, &str); 4] = [
        (|_| Ok(Remedy::new(Action::Switch(99), 7)), 1, "\"fault\":\"invalid_answer\""),
        (|_| Ok(Remedy::new(Action::AnswerLocally, 7)), 1, "\"fault\":\"invalid_answer\""),
        (|_| Err(PolicyError::Declined), 0, "declined"),
        (|_| Err(PolicyError::NotRun("no place".to_owned())), 0, "not_run"),
    ];
    for (says, faults, why) in cases {
        let outcome = Case { failures: vec![throttled()], healer: told(says), ..Case::default() }.run().await;
        let healing = serde_json::to_string(&outcome.record.healing).unwrap();
        assert_eq!((outcome.status, outcome.faults, outcome.actions()), (200, faults, vec!["retry"]), "{healing}");
        assert!(
            healing.contains("native-backoff@") && healing.contains("told@0") && healing.contains(why),
            "{healing}"
        );
    }
}

/// Against the simulator, as a caller meets it.
#[tokio::test]
async fn a_caller_does_not_notice_a_throttle_that_passes() {
    let config = "[healing]\nfirst_wait_seconds = 0.001\n";
    let pair = Setup { config, ..Setup::default() }.start();
    let client = Client::default();
    let faults = format!("{}/sim/v1/faults", pair.simulator.url);
    let url = format!("{}/v1/chat/completions", pair.gateway.url);
    for stream in [false, true] {
        let twice = json!([{"model": NOVA, "fault": "ThrottlingException", "times": 2}]);
        client.send("PUT", &faults, &[], twice.to_string()).await;
        let mut body = chat(NOVA, "hello");
        body["stream"] = json!(stream);
        let answer = client.post(&url, &[], &body).await;
        assert_eq!((answer.status.as_u16(), answer.header("x-kairos-attempts")), (200, "3"), "{}", answer.text());
        let id = answer.header("x-kairos-request-id");
        let record = client.get(&format!("{}/v1/requests/{id}", pair.gateway.url)).await.json();
        assert_eq!(record["healing"][1]["reason_name"], "again", "{record}");
        assert_eq!(record["attempts"][2]["ledger"], "settled", "{record}");
    }
    let bill = client.get(&format!("{}/sim/v1/bill", pair.simulator.url)).await.json();
    assert_eq!(bill["totals"]["rows"], 2, "{bill}");
}
