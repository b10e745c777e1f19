//! What a model's side could say and the simulator never does: the pipeline against scripted answers,
//! on a clock of its own.

use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use kairos_bedrock::catalogue;
use kairos_dialects::Failure;
use kairos_dialects::eventstream::{Decoder, Frame, encode};
use kairos_pipeline::gateway::{Gateway, Load, Settings};
use kairos_pipeline::healers::{Backoff, BackoffBounds};
use kairos_pipeline::history::History;
use kairos_pipeline::learned::Snapshot;
use kairos_pipeline::ledger::{Ledger as _, MemoryLedger, Totals};
use kairos_pipeline::policy::{
    Assigned, Fault, Guard, Healer, Identity, Plan, Policies, PolicyError, Prompter, RouteInput, Router, Serving,
    Watcher, Went, World,
};
use kairos_pipeline::profile::Profiles;
use kairos_pipeline::rates::Rates;
use kairos_pipeline::record::{Observer, Record, Records};
use kairos_pipeline::reply::{Body, Piece, Reply};
use kairos_pipeline::request::{Caller, Incoming, Keys, Operation, Presented};
use kairos_pipeline::routers;
use kairos_pipeline::upstream::{Call, Frames, Look, Response, Upstream, Whole};
use serde_json::{Value, json};
use tokio::sync::mpsc;

/// What the model's side answers, call by call; and what it was called with.
#[derive(Default)]
struct Script {
    answers: Mutex<Vec<Answer>>,
    calls: Mutex<Vec<Call>>,
}

pub(super) enum Answer {
    Whole(String),
    /// Events, each after a pause.
    Stream(Vec<(Duration, &'static str, String)>),
}

struct ScriptedFrames(mpsc::Receiver<Frame>);

impl Frames for ScriptedFrames {
    fn headers(&self) -> &[(&'static str, String)] {
        &[]
    }

    fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame, Failure>>> {
        self.0.poll_recv(context).map(|frame| frame.map(Ok))
    }
}

fn frame(name: &str, payload: &str) -> Frame {
    let mut decoder = Decoder::default();
    let headers = [(":event-type", name), (":content-type", "application/json"), (":message-type", "event")];
    decoder.push(&encode(&headers, payload.as_bytes()));
    decoder.next_frame().unwrap().unwrap()
}

impl Upstream for Script {
    fn look<'a>(&'a self, _: Look<'a>) -> BoxFuture<'a, Result<Bytes, Failure>> {
        unreachable!("nobody starts a job here")
    }

    fn call(&self, call: Call) -> BoxFuture<'_, Result<Response, Failure>> {
        self.calls.lock().unwrap().push(call);
        let answer = self.answers.lock().unwrap().remove(0);
        Box::pin(async move {
            Ok(match answer {
                Answer::Whole(body) => {
                    Response::Whole(Whole { body: body.into(), headers: Vec::new(), counts: Default::default() })
                }
                Answer::Stream(events) => {
                    let (sender, receiver) = mpsc::channel(1);
                    tokio::spawn(async move {
                        for (pause, name, payload) in events {
                            tokio::time::sleep(pause).await;
                            let _ = sender.send(frame(name, &payload)).await;
                        }
                    });
                    Response::Stream(Box::new(ScriptedFrames(receiver)))
                }
            })
        })
    }
}

pub(super) struct Anybody;

impl Keys for Anybody {
    fn glance(&self, _: &Presented) -> Result<Option<Caller>, Failure> {
        Ok(None)
    }

    fn identify(&self, _: &Presented, _: &Bytes) -> Result<Caller, Failure> {
        Ok(Caller { key: Arc::from("anybody"), team: None, scope: None })
    }
}

/// Nobody is asked what a profile stands for.
struct NoProfiles;

impl Profiles for NoProfiles {
    fn resolve<'a>(&'a self, _: &'a str, arn: &'a str) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async move { panic!("{arn}") })
    }
}

struct Silent;

impl Observer for Silent {
    fn finished(&self, _: &Arc<Record>) {}
}

/// Always the same plan.
struct Fixed(Identity, Plan);

impl Router for Fixed {
    fn identity(&self) -> &Identity {
        &self.0
    }

    fn route(&self, input: RouteInput<'_>) -> Result<Plan, PolicyError> {
        let mut plan = self.1.clone();
        plan.candidates.retain(|candidate| (candidate.model as usize) < input.models.len());
        Ok(plan)
    }
}

/// Waits that hold no test up.
const SHORT: BackoffBounds = BackoffBounds { retries: 2, base_ms: 1, cap_ms: 1 };

struct Always(Arc<dyn Router>);

impl Policies for Always {
    fn serving(&self) -> Arc<Serving> {
        Arc::new(Serving { router: Arc::clone(&self.0), canary: None, shadow: None })
    }

    fn healer(&self) -> Arc<dyn Healer> {
        Arc::new(Backoff::new(SHORT))
    }

    fn guard(&self) -> Option<Arc<dyn Guard>> {
        None
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

    fn failed(&self, _: World, _: &Identity, _: &Fault) {}

    fn ticket(&self) -> u64 {
        0
    }

    fn assigned(&self, _: &Assigned) {}

    fn ended(&self, _: &Assigned, _: Went) {}
}

/// What came of a request.
pub(super) struct Outcome {
    pub(super) status: u16,
    pub(super) body: String,
    pub(super) record: Record,
    pub(super) totals: Totals,
    pub(super) calls: Vec<Call>,
}

/// A gateway without disks or policies of its own.
pub(super) fn gateway(
    upstream: Arc<dyn Upstream>,
    keys: Arc<dyn Keys>,
    ledger: Arc<MemoryLedger>,
    plan: Option<Plan>,
) -> Gateway {
    let as_of = jiff::civil::date(2026, 11, 23);
    let view = catalogue::View::plain("us-east-1", as_of);
    let catalogue = catalogue::load(catalogue::BUILT_IN, &view).unwrap();
    let native: Arc<dyn Router> = Arc::new(routers::Task::default());
    let router = match plan {
        Some(plan) => {
            let identity = Identity::new("fixed", "0", vec![], vec![]);
            Arc::new(Fixed(identity, plan)) as Arc<dyn Router>
        }
        None => Arc::clone(&native),
    };
    let models = catalogue.models.len();
    Gateway {
        keys,
        policies: Arc::new(Always(router)),
        native,
        native_healer: Arc::new(Backoff::new(SHORT)),
        native_guard: None,
        upstream,
        ledger,
        jobs: None,
        profiles: Arc::new(NoProfiles),
        catalogue: Arc::new(Arc::new(catalogue).into()),
        prompts: Arc::default(),
        history: History::new(models),
        records: Records::new(10),
        recorder: None,
        observer: Arc::new(Silent),
        load: Load::new(models),
        places: None,
        rates: Rates::new(Default::default(), Vec::new()),
        settings: Settings::default(),
        clock: Arc::new(|| 1_795_000_000_000),
    }
}

/// Nova Lite, by its name, unless a plan says otherwise.
async fn run(operation: Operation, model: &str, body: Value, answers: Vec<Answer>, plan: Option<Plan>) -> Outcome {
    run_with(operation, model, body, answers, plan, |_| {}).await
}

/// The same, on a gateway that is changed before.
pub(super) async fn run_with(
    operation: Operation,
    model: &str,
    body: Value,
    answers: Vec<Answer>,
    plan: Option<Plan>,
    change: impl FnOnce(&mut Gateway),
) -> Outcome {
    run_hinted(operation, model, (body, &[]), answers, plan, change).await
}

/// The same, with headers `x-kairos-*`.
pub(super) async fn run_hinted(
    operation: Operation,
    model: &str,
    (body, hints): (Value, &[(&str, &str)]),
    answers: Vec<Answer>,
    plan: Option<Plan>,
    change: impl FnOnce(&mut Gateway),
) -> Outcome {
    let script = Arc::new(Script { answers: Mutex::new(answers), ..Script::default() });
    let ledger = Arc::new(MemoryLedger::default());
    let upstream = Arc::clone(&script) as Arc<dyn Upstream>;
    let mut gateway = gateway(upstream, Arc::new(Anybody), Arc::clone(&ledger), plan);
    change(&mut gateway);
    let gateway = Arc::new(gateway);
    let mut body = body;
    let path_model = match operation {
        Operation::ChatCompletions => {
            body["model"] = json!(model);
            None
        }
        Operation::Generate => {
            body["model_preference"] = json!(model);
            None
        }
        _ => Some(model.to_owned()),
    };
    let incoming = Incoming {
        operation,
        path_model,
        presented: Presented::Nothing,
        hints: hints.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        passed_headers: Vec::new(),
        client_request_id: None,
        body: body.to_string().into(),
        held: None,
    };
    let (reply, answer) = Reply::channel(Duration::from_secs(30));
    let handling = tokio::spawn(kairos_pipeline::handle(Arc::clone(&gateway), incoming, reply));
    let outgoing = answer.await.unwrap();
    let mut text = Vec::new();
    match outgoing.body {
        Body::Whole(bytes) => text.extend_from_slice(&bytes),
        Body::Stream(mut pieces) => {
            while let Some(Piece::Bytes(bytes)) = pieces.recv().await {
                text.extend_from_slice(&bytes);
            }
        }
    }
    handling.await.unwrap();
    let id = outgoing.headers.iter().find(|(name, _)| *name == "x-kairos-request-id").unwrap();
    let id = kairos_pipeline::request::RequestId::parse(&id.1).unwrap();
    let calls = std::mem::take(&mut *script.calls.lock().unwrap());
    Outcome {
        status: outgoing.status,
        body: String::from_utf8_lossy(&text).into_owned(),
        record: (*gateway.records.get(id).unwrap()).clone(),
        totals: ledger.totals(),
        calls,
    }
}

const NOVA: &str = "amazon.nova-lite-v1:0";
/// 10 tokens in and 20 out, at Nova Lite's 0.06 and 0.24 dollars a million.
const USAGE: &str = r#""usage":{"inputTokens":10,"outputTokens":20,"totalTokens":30}"#;
const COST: u128 = 10 * 60_000 + 20 * 240_000;

fn asked(stream: bool) -> Value {
    json!({"messages": [{"role": "user", "content": "hello"}], "stream": stream})
}

fn converse() -> Value {
    json!({"messages": [{"role": "user", "content": [{"text": "hello"}]}]})
}

fn text(words: &str) -> (Duration, &'static str, String) {
    (Duration::ZERO, "contentBlockDelta", format!(r#"{{"contentBlockIndex":0,"delta":{{"text":"{words}"}}}}"#))
}

fn stop() -> (Duration, &'static str, String) {
    (Duration::ZERO, "messageStop", r#"{"stopReason":"end_turn"}"#.to_owned())
}

fn usage(after: Duration) -> (Duration, &'static str, String) {
    (after, "metadata", format!("{{{USAGE}}}"))
}

fn settled(outcome: &Outcome) {
    let totals = outcome.totals;
    assert_eq!((totals.charged, totals.estimated, totals.open_rows), (COST, 0, 0), "{:?}", outcome.record.attempts);
}

/// Usage that comes late is not waited for by the caller, and not lost to the ledger.
#[tokio::test(start_paused = true)]
async fn usage_that_comes_late_is_settled_all_the_same() {
    for operation in [Operation::ChatCompletions, Operation::ConverseStream] {
        let chat = operation == Operation::ChatCompletions;
        let events = vec![text("hi"), stop(), usage(Duration::from_secs(10))];
        let body = if chat { asked(true) } else { converse() };
        let outcome = run(operation, NOVA, body, vec![Answer::Stream(events)], None).await;
        settled(&outcome);
        assert_eq!((outcome.record.status, outcome.status), ("ok", 200));
        if chat {
            assert!(
                outcome.body.ends_with("data: [DONE]\n\n") && outcome.body.contains("cost=pending"),
                "{}",
                outcome.body
            );
        } else {
            assert!(outcome.body.contains("messageStop") && !outcome.body.contains("inputTokens"));
        }
    }
}

/// Usage that never comes leaves a whole answer, and an estimate.
#[tokio::test(start_paused = true)]
async fn metadata_that_cannot_be_read_is_an_estimate_in_every_dialect() {
    for (operation, body) in [(Operation::ChatCompletions, asked(true)), (Operation::ConverseStream, converse())] {
        let events = vec![text("hi"), stop(), (Duration::ZERO, "metadata", "[]".to_owned())];
        let outcome = run(operation, NOVA, body, vec![Answer::Stream(events)], None).await;
        assert_eq!((outcome.record.status, outcome.record.cost_estimated), ("ok", true));
        assert_eq!((outcome.totals.open_rows, outcome.totals.ended_rows), (0, 1));
    }
}

/// An event that cannot be translated is told, and what was spent is still read.
#[tokio::test(start_paused = true)]
async fn an_event_that_makes_no_sense_costs_what_bedrock_says() {
    let odd = (Duration::ZERO, "contentBlockDelta", r#"{"contentBlockIndex":"zero"}"#.to_owned());
    let events = || vec![Answer::Stream(vec![text("hi"), odd.clone(), text("more"), stop(), usage(Duration::ZERO)])];
    let outcome = run(Operation::ChatCompletions, NOVA, asked(true), events(), None).await;
    settled(&outcome);
    assert_eq!(outcome.record.status, "upstream_stream_broken");
    assert!(outcome.body.contains(r#""error""#) && !outcome.body.contains("[DONE]") && !outcome.body.contains("more"));
    // Who speaks Bedrock's own language may well understand it.
    let outcome = run(Operation::ConverseStream, NOVA, converse(), events(), None).await;
    settled(&outcome);
    assert!(outcome.body.contains("zero") && outcome.body.contains("more") && outcome.body.contains("metadata"));
}

/// A whole answer that only its own dialect could read.
#[tokio::test(start_paused = true)]
async fn an_answer_that_makes_no_sense_costs_what_bedrock_says() {
    let odd = format!(r#"{{"output":{{"message":{{"role":"assistant","content":null}}}},{USAGE}}}"#);
    let outcome = run(Operation::Converse, NOVA, converse(), vec![Answer::Whole(odd.clone())], None).await;
    settled(&outcome);
    assert_eq!((outcome.status, outcome.body), (200, odd.clone()));
    let outcome = run(Operation::ChatCompletions, NOVA, asked(false), vec![Answer::Whole(odd)], None).await;
    settled(&outcome);
    assert!(outcome.status >= 500 && outcome.body.contains(r#""error""#), "{}", outcome.body);
}

/// What was served in a way that has no price is flagged, never priced as something else.
#[tokio::test(start_paused = true)]
async fn a_way_of_serving_without_a_price_is_an_estimate() {
    for served in [r#""serviceTier":{"type":"turbo"}"#, r#""performanceConfig":{"latency":"optimized"}"#] {
        let answer = format!(
            r#"{{"output":{{"message":{{"role":"assistant","content":[{{"text":"hi"}}]}}}},"stopReason":"end_turn",{USAGE},{served}}}"#
        );
        let outcome = run(Operation::Converse, NOVA, converse(), vec![Answer::Whole(answer)], None).await;
        assert!(outcome.record.cost_estimated && outcome.totals.estimated > COST, "{served}");
    }
}

/// A policy's limit lowers what a model may say; it asks no model for more than it can.
#[tokio::test(start_paused = true)]
async fn a_policys_limit_never_raises_one() {
    let answer = || {
        Answer::Whole(format!(
            r#"{{"output":{{"message":{{"role":"assistant","content":[{{"text":"hi"}}]}}}},"stopReason":"end_turn",{USAGE}}}"#
        ))
    };
    for (model, limit, sent) in [("jamba", 8_000, None), ("jamba", 100, Some(100)), (NOVA, 8_000, Some(8_000))] {
        let plan = Plan { max_output_tokens: Some(limit), ..Plan::in_order([0], 1) };
        let outcome = run(Operation::Converse, model, converse(), vec![answer()], Some(plan)).await;
        assert_eq!(outcome.status, 200, "{}", outcome.body);
        let body: Value = serde_json::from_slice(&outcome.calls[0].body).unwrap();
        assert_eq!(body["inferenceConfig"]["maxTokens"].as_u64(), sent, "{model} {limit}: {body}");
    }
}

/// A stream that says much and nothing is given up on, before it fills the memory.
#[tokio::test(start_paused = true)]
async fn a_stream_without_content_is_bounded() {
    let noise = |_| (Duration::ZERO, "holo", "x".repeat(100_000));
    let events = (0..20).map(noise).collect();
    let outcome = run(Operation::ConverseStream, NOVA, converse(), vec![Answer::Stream(events)], None).await;
    assert_eq!(outcome.record.status, "upstream_stream_broken");
    assert!(outcome.status >= 400 && outcome.totals.open_rows == 0, "{}", outcome.body);
}
