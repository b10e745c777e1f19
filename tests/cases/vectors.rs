//! Requests of several calls, and answers of models that are no chats, which the simulator never gives: on a
//! clock of its own, against a model's side that says what it is told to say.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use kairos_dialects::{Failure, Kind};
use kairos_pipeline::HealingBounds;
use kairos_pipeline::ledger::MemoryLedger;
use kairos_pipeline::record::Record;
use kairos_pipeline::reply::Reply;
use kairos_pipeline::request::{Incoming, Operation, Presented, RequestId};
use kairos_pipeline::upstream::{Call, Look, Response, Upstream, Whole};
use serde_json::{Value, json};

use super::scripted::{Anybody, gateway};

/// What each call is answered, after how long.
struct Slow(Mutex<Vec<Result<&'static str, Failure>>>, Duration);

impl Upstream for Slow {
    fn look<'a>(&'a self, _: Look<'a>) -> BoxFuture<'a, Result<Bytes, Failure>> {
        unreachable!("nobody starts a job here")
    }

    fn call(&self, _: Call) -> BoxFuture<'_, Result<Response, Failure>> {
        let answer = self.0.lock().unwrap().remove(0);
        Box::pin(async move {
            tokio::time::sleep(self.1).await;
            let body = answer?.into();
            Ok(Response::Whole(Whole { body, headers: Vec::new(), counts: Default::default() }))
        })
    }
}

/// How a request is answered, and its record.
async fn ask(
    incoming: Incoming,
    answers: Vec<Result<&'static str, Failure>>,
    takes: Duration,
    healing: HealingBounds,
) -> (u16, Record) {
    let upstream = Arc::new(Slow(Mutex::new(answers), takes));
    let ledger = Arc::new(MemoryLedger::default());
    let mut gateway = gateway(upstream, Arc::new(Anybody), Arc::clone(&ledger), None);
    gateway.settings.healing = healing;
    let gateway = Arc::new(gateway);
    let (reply, answer) = Reply::channel(Duration::from_secs(3_000));
    let handling = tokio::spawn(kairos_pipeline::handle(Arc::clone(&gateway), incoming, reply));
    let outgoing = answer.await.unwrap();
    handling.await.unwrap();
    assert_eq!(ledger.totals().open_rows, 0);
    let id = outgoing.headers.iter().find(|(name, _)| *name == "x-kairos-request-id").unwrap();
    (outgoing.status, (*gateway.records.get(RequestId::parse(&id.1).unwrap()).unwrap()).clone())
}

fn incoming(operation: Operation, path_model: Option<&str>, body: &Value) -> Incoming {
    Incoming {
        operation,
        path_model: path_model.map(str::to_owned),
        presented: Presented::Nothing,
        hints: Vec::new(),
        passed_headers: Vec::new(),
        client_request_id: None,
        body: body.to_string().into(),
        held: None,
    }
}

fn embed(texts: usize) -> Incoming {
    incoming(Operation::Embeddings, None, &json!({"model": "titan-embed", "input": vec!["fish"; texts]}))
}

const VECTOR: &str = r#"{"embedding":[0.5],"inputTextTokenCount":1}"#;

fn throttled() -> Result<&'static str, Failure> {
    Err(Failure::new(Kind::Throttled, "slow down"))
}

fn went(record: &Record) -> Vec<&str> {
    record.attempts.iter().map(|attempt| attempt.status).collect()
}

/// However many calls a request makes: its failures are counted together, and what goes well is not.
#[tokio::test(start_paused = true)]
async fn failures_count_over_all_calls_of_a_request() {
    let bounds = HealingBounds { attempts: 3, ..HealingBounds::default() };
    let moment = Duration::from_millis(1);
    let well = vec![throttled(), Ok(VECTOR), Ok(VECTOR), throttled(), Ok(VECTOR), Ok(VECTOR)];
    let (status, record) = ask(embed(4), well, moment, bounds).await;
    assert_eq!((status, went(&record)), (200, vec!["throttled", "ok", "ok", "throttled", "ok", "ok"]));
    let badly = vec![throttled(), Ok(VECTOR), throttled(), Ok(VECTOR), throttled()];
    let (status, record) = ask(embed(4), badly, moment, bounds).await;
    assert_eq!((status, went(&record)), (429, vec!["throttled", "ok", "throttled", "ok", "throttled"]));
}

/// A call is not given up for the time that those before it took.
#[tokio::test(start_paused = true)]
async fn patience_begins_with_each_call() {
    let bounds = HealingBounds { patience: Duration::from_secs(60), ..HealingBounds::default() };
    let answers = vec![Ok(VECTOR), throttled(), Ok(VECTOR)];
    let (status, record) = ask(embed(2), answers, Duration::from_secs(50), bounds).await;
    assert_eq!((status, went(&record)), (200, vec!["ok", "throttled", "ok"]));
}

/// An answer without vectors is paid for, and is an attempt that failed.
#[tokio::test(start_paused = true)]
async fn vectors_that_cannot_be_read_are_no_success() {
    let unreadable = r#"{"embedding":["half"],"inputTextTokenCount":1}"#;
    let answers = vec![Ok(VECTOR), Ok(unreadable)];
    let (status, record) = ask(embed(2), answers, Duration::ZERO, HealingBounds::default()).await;
    assert_eq!((status, went(&record)), (502, vec!["ok", "upstream_stream_broken"]));
    let attempt = &record.attempts[1];
    assert_eq!((attempt.ledger, attempt.cost_usd), ("settled", record.attempts[0].cost_usd));
}

/// What a guardrail costs is not stated: the least is that of the pieces all the same.
#[tokio::test]
async fn guardrail_units_that_are_not_stated_raise_no_lower_bound() {
    let body = json!({"query": "which?", "documents": vec!["x".repeat(900); 100]});
    let mut incoming = incoming(Operation::Invoke, Some("cohere.rerank-v3-5:0"), &body);
    incoming.passed_headers = vec![("x-amzn-bedrock-guardrailidentifier", "gr-1".to_owned())];
    let (status, record) = ask(incoming, vec![Ok(r#"{"results":[]}"#)], Duration::ZERO, HealingBounds::default()).await;
    let attempt = &record.attempts[0];
    assert_eq!((status, attempt.ledger), (200, "estimated"));
    // One query for certain, two at most, at 0.002 dollars each.
    assert_eq!(attempt.cost_low_usd.map(|low| low.0), Some(2_000_000_000));
    assert!(attempt.cost_usd.0 >= 4_000_000_000, "{}", attempt.cost_usd.0);
}
