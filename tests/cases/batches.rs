//! Batches, against a model's side that waits to be told to answer.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use kairos_dialects::{Failure, Kind};
use kairos_pipeline::batch::{self, Limits};
use kairos_pipeline::ledger::{Ledger as _, MemoryLedger};
use kairos_pipeline::policy::Plan;
use kairos_pipeline::reply::{Body, Outgoing, Reply};
use kairos_pipeline::request::{Caller, Incoming, Keys, Operation, Presented};
use kairos_pipeline::upstream::{Call, Look, Response, Upstream, Whole};
use serde_json::{Value, json};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinHandle;

use super::scripted::{Anybody, gateway};

/// Says back what it is asked, once it may; and counts.
struct Patient {
    may_answer: Semaphore,
    under_way: AtomicUsize,
    most: AtomicUsize,
    called: Mutex<Vec<String>>,
}

impl Upstream for Patient {
    fn look<'a>(&'a self, _: Look<'a>) -> BoxFuture<'a, Result<Bytes, Failure>> {
        unreachable!("nobody starts a job here")
    }

    fn call(&self, call: Call) -> BoxFuture<'_, Result<Response, Failure>> {
        self.called.lock().unwrap().push(call.invocation_id.to_string());
        let under_way = self.under_way.fetch_add(1, Ordering::Relaxed) + 1;
        self.most.fetch_max(under_way, Ordering::Relaxed);
        Box::pin(async move {
            self.may_answer.acquire().await.unwrap().forget();
            self.under_way.fetch_sub(1, Ordering::Relaxed);
            let body: Value = serde_json::from_slice(&call.body).unwrap();
            let said = body["messages"][0]["content"][0]["text"].as_str().unwrap();
            match said {
                "throttle" => Err(Failure::new(Kind::Throttled, "slow down")),
                "break" => Err(Failure::new(Kind::BrokenStream, "it broke off").maybe_billed()),
                "panic" => panic!("a fault of the model's side"),
                _ => {
                    let answer = json!({"output": {"message": {"role": "assistant", "content": [{"text": said}]}},
                        "stopReason": "end_turn", "usage": {"inputTokens": 10, "outputTokens": 20, "totalTokens": 30}});
                    let body = answer.to_string().into();
                    Ok(Response::Whole(Whole { body, headers: Vec::new(), counts: Default::default() }))
                }
            }
        })
    }
}

/// A batch under way.
struct Batch {
    upstream: Arc<Patient>,
    ledger: Arc<MemoryLedger>,
    stopping: Arc<AtomicBool>,
    answer: oneshot::Receiver<Outgoing>,
    handling: JoinHandle<()>,
}

fn begin(body: impl Into<Bytes>, concurrency: usize, keys: Arc<dyn Keys>, plan: Option<Plan>) -> Batch {
    let upstream = Arc::new(Patient {
        may_answer: Semaphore::new(0),
        under_way: AtomicUsize::new(0),
        most: AtomicUsize::new(0),
        called: Mutex::default(),
    });
    let ledger = Arc::new(MemoryLedger::default());
    let gateway = gateway(Arc::clone(&upstream) as Arc<dyn Upstream>, keys, Arc::clone(&ledger), plan);
    let incoming = Incoming {
        operation: Operation::Generate,
        path_model: None,
        presented: Presented::Nothing,
        hints: vec![("fallback".to_owned(), "any".to_owned())],
        passed_headers: Vec::new(),
        client_request_id: Some("the-batch".to_owned()),
        body: body.into(),
        held: None,
    };
    let limits = Limits { entries: 10, concurrency, patience: Duration::from_secs(1) };
    let stopping = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&stopping);
    let (reply, answer) = Reply::channel(limits.patience);
    let stop = move || told.load(Ordering::Relaxed);
    let handling = tokio::spawn(batch::handle(Arc::new(gateway), incoming, limits, stop, reply));
    Batch { upstream, ledger, stopping, answer, handling }
}

impl Batch {
    /// Lets everything run until nothing moves any more: on one thread, without clocks, that is soon.
    async fn settle(&self) {
        for _ in 0..1_000 {
            tokio::task::yield_now().await;
        }
    }

    fn called(&self) -> Vec<String> {
        self.upstream.called.lock().unwrap().clone()
    }

    /// Lets all be answered, and gives the answer.
    async fn end(self) -> (Outgoing, Value) {
        self.upstream.may_answer.add_permits(100);
        let outgoing = self.answer.await.unwrap();
        self.handling.await.unwrap();
        assert_eq!(self.ledger.totals().open_rows, 0);
        let Body::Whole(body) = &outgoing.body else { panic!("{outgoing:?}") };
        let json = serde_json::from_slice(body).unwrap();
        (outgoing, json)
    }
}

fn asks(prompt: &str, model: &str) -> Value {
    json!({"prompt": prompt, "model_preference": model})
}

fn requests(list: &[Value]) -> String {
    json!({"requests": list}).to_string()
}

const NOVA: &str = "amazon.nova-lite-v1:0";
const CLAUDE: &str = "us.anthropic.claude-sonnet-4-6";
const JAMBA: &str = "ai21.jamba-1-5-large-v1:0";

/// A bound on what is under way; models in turn, whatever name they are called by; order kept.
#[tokio::test]
async fn models_take_turns_within_the_bound_and_answers_keep_their_order() {
    let list = [
        asks("1", NOVA),
        asks("2", "nova-lite"),
        asks("3", NOVA),
        asks("4", NOVA),
        asks("5", NOVA),
        asks("6", CLAUDE),
        asks("7", "claude"),
        asks("8", JAMBA),
    ];
    let batch = begin(requests(&list), 3, Arc::new(Anybody), None);
    batch.settle().await;
    assert_eq!(batch.called(), [NOVA, CLAUDE, JAMBA]);
    batch.upstream.may_answer.add_permits(1);
    batch.settle().await;
    assert_eq!(batch.called().len(), 4);
    let upstream = Arc::clone(&batch.upstream);
    let (outgoing, answer) = batch.end().await;
    assert_eq!((outgoing.status, upstream.most.load(Ordering::Relaxed)), (200, 3));
    let texts: Vec<_> = answer["responses"].as_array().unwrap().iter().map(|one| one["text"].clone()).collect();
    assert_eq!(texts, ["1", "2", "3", "4", "5", "6", "7", "8"]);
    let costs = answer["responses"].as_array().unwrap().iter().map(|one| one["cost_estimate"].as_f64().unwrap());
    let stated: f64 =
        outgoing.headers.iter().find(|(name, _)| *name == "x-kairos-cost-usd").unwrap().1.parse().unwrap();
    assert!((costs.sum::<f64>() - stated).abs() < 1e-12);
    assert_eq!(answer["responses"][0]["metadata"]["client_request_id"], "the-batch");
}

/// Whatever goes wrong with one request, in reading it or in serving it, goes wrong with it alone.
#[tokio::test]
async fn one_failure_fails_one_request() {
    let mut own = asks("fine", NOVA);
    own["request_id"] = json!("mine");
    let list = [
        json!(7),
        json!({"prompt": "x", "modle_preference": NOVA}),
        asks("x", "no-such-model"),
        asks("panic", NOVA),
        asks("break", NOVA),
        own,
        json!({"prompt": "x", "context": {"task": "Not A Label"}}),
    ];
    let batch = begin(json!(list).to_string(), 2, Arc::new(Anybody), Some(Plan::in_order([0], 1)));
    let (outgoing, answer) = batch.end().await;
    assert_eq!(outgoing.status, 200);
    let responses = answer["responses"].as_array().unwrap();
    let kinds: Vec<_> = responses.iter().map(|one| one["error"]["type"].as_str().unwrap_or("ok")).collect();
    assert_eq!(
        kinds,
        [
            "invalid_value",
            "unknown_parameter",
            "model_not_found",
            "internal_error",
            "upstream_stream_broken",
            "ok",
            "invalid_value"
        ]
    );
    assert_eq!(responses[1]["error"]["param"], "modle_preference");
    assert_eq!(responses[2]["error"]["param"], "model_preference");
    assert_eq!(responses[6]["error"]["param"], "context.task");
    // What may have been billed is for a person to try again.
    assert_eq!(responses[4]["error"]["retryable"], false);
    assert!(responses[4]["error"]["request_id"].is_string());
    assert_eq!(
        (&responses[5]["text"], &responses[5]["metadata"]["client_request_id"]),
        (&json!("fine"), &json!("mine"))
    );
}

#[tokio::test]
async fn what_is_no_batch_fails_whole() {
    for (body, says) in [
        ("{\"request\":[]}".to_owned(), "there is \"requests\""),
        (json!(vec![asks("x", NOVA); 11]).to_string(), "at most 10 requests"),
        ("[".to_owned(), "not valid JSON"),
    ] {
        let batch = begin(body, 3, Arc::new(Anybody), None);
        let upstream = Arc::clone(&batch.upstream);
        let (outgoing, answer) = batch.end().await;
        assert_eq!(outgoing.status, 400);
        assert!(answer["error"]["message"].as_str().unwrap().contains(says), "{answer}");
        assert!(upstream.called.lock().unwrap().is_empty());
    }
    let (outgoing, answer) = begin("[]", 3, Arc::new(Anybody), None).end().await;
    assert_eq!((outgoing.status, answer), (200, json!({"responses": []})));
}

/// A gateway that stops ends what it began, and says of the rest that it was not begun.
#[tokio::test]
async fn a_stopping_gateway_begins_no_further_request() {
    let batch = begin(requests(&[asks("1", NOVA), asks("2", NOVA), asks("3", NOVA)]), 1, Arc::new(Anybody), None);
    batch.settle().await;
    batch.stopping.store(true, Ordering::Relaxed);
    let upstream = Arc::clone(&batch.upstream);
    let (_, answer) = batch.end().await;
    assert_eq!(upstream.called.lock().unwrap().len(), 1);
    assert_eq!(answer["responses"][0]["text"], "1");
    for place in [1, 2] {
        let error = &answer["responses"][place]["error"];
        assert_eq!((&error["type"], &error["retryable"]), (&json!("overloaded"), &json!(true)), "{error}");
    }
}

/// A caller that leaves is billed for what was begun, and for nothing more: no further request, and
/// no further attempt of one.
#[tokio::test]
async fn a_caller_that_leaves_begins_nothing_more() {
    let list = [asks("throttle", NOVA), asks("2", NOVA), asks("3", NOVA)];
    for leaves in [false, true] {
        let batch = begin(requests(&list), 1, Arc::new(Anybody), Some(Plan::in_order([0, 1], 1)));
        batch.settle().await;
        assert_eq!(batch.called(), [NOVA]);
        let Batch { upstream, ledger, answer, handling, .. } = batch;
        let stays = (!leaves).then_some(answer);
        for _ in 0..1_000 {
            tokio::task::yield_now().await;
        }
        upstream.may_answer.add_permits(100);
        handling.await.unwrap();
        drop(stays);
        // The one that was throttled goes to its second candidate, and there again twice, only while
        // somebody waits.
        let expected = if leaves { 1 } else { 6 };
        assert_eq!(upstream.called.lock().unwrap().len(), expected, "leaves: {leaves}");
        assert_eq!((ledger.totals().open_rows, ledger.totals().ended_rows), (0, expected as u64));
    }
}

/// Knows who sent the whole body, as a signature does, and nobody else.
struct WholeBody(String, AtomicUsize);

impl Keys for WholeBody {
    fn glance(&self, _: &Presented) -> Result<Option<Caller>, Failure> {
        Ok(None)
    }

    fn identify(&self, _: &Presented, body: &Bytes) -> Result<Caller, Failure> {
        self.1.fetch_add(1, Ordering::Relaxed);
        match *body == self.0 {
            true => Ok(Caller { key: Arc::from("signed"), team: None, scope: None }),
            false => Err(Failure::new(Kind::BadSignature, "the signature is of another body")),
        }
    }
}

#[tokio::test]
async fn the_caller_is_identified_by_the_whole_body_and_once() {
    let body = requests(&[asks("1", NOVA), asks("2", NOVA)]);
    let keys = Arc::new(WholeBody(body.clone(), AtomicUsize::new(0)));
    let (_, answer) = begin(body, 2, Arc::clone(&keys) as _, None).end().await;
    assert_eq!((&answer["responses"][1]["text"], keys.1.load(Ordering::Relaxed)), (&json!("2"), 1));
    let batch = begin(requests(&[asks("1", NOVA)]), 2, keys, None);
    let upstream = Arc::clone(&batch.upstream);
    let (outgoing, answer) = batch.end().await;
    assert_eq!((outgoing.status, &answer["error"]["type"]), (401, &json!("invalid_signature")));
    assert!(upstream.called.lock().unwrap().is_empty());
}
