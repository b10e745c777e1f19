//! `/v1/feedback`: what callers think of answers, late as it may come.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::body::Body;
use axum::extract::{ConnectInfo, State};
use axum::response::Response;
use bytes::Bytes;
use http::{Request, StatusCode};
use kairos_dialects::invalid::Invalid;
use kairos_dialects::{Failure, Kind};
use kairos_pipeline::policy::{Arm, Assigned};
use kairos_pipeline::request::{Caller, Dialect, RequestId};
use kairos_store::records::{Feedback, MOST_METRICS, Rated, RecordStore};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::time::sleep;

use super::body::read;
use super::pages::{self, Peer, json as answer};
use super::respond;
use super::routes::{App, admit, closing, presented};
use crate::config::Limits;

/// Bytes of a feedback, and of its request's id.
const MOST_BYTES: usize = 4 * 1024;
/// Characters of a metric's name.
const NAME: usize = 64;
/// Time for a request to end whose caller has had all of the answer: its usage comes last.
const PATIENCE: Duration = Duration::from_secs(3);
const BETWEEN: Duration = Duration::from_millis(25);

/// What a caller says.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    request_id: String,
    metric: String,
    value: f64,
}

pub(super) async fn feedback(
    State(app): State<Arc<App>>,
    axum::Extension(ConnectInfo(peer)): Peer,
    request: Request<Body>,
) -> Response {
    match receive(&app, peer, request).await {
        Err(failure) => closing(respond::failure(Dialect::OpenAi, &failure)),
        Ok((caller, body)) => match take(&app, &caller.key, &body).await {
            Ok(said) => answer(StatusCode::OK, said.to_string()),
            Err(failure) => respond::failure(Dialect::OpenAi, &failure),
        },
    }
}

/// Reads the feedback of whoever may call.
async fn receive(app: &App, peer: SocketAddr, request: Request<Body>) -> Result<(Caller, Bytes), Failure> {
    let (parts, body) = request.into_parts();
    admit(app, &parts, peer)?;
    let presented = presented(app, &parts).glance(&*app.gateway.keys)?;
    let limits = Limits { body_bytes: MOST_BYTES, ..app.config.limits.clone() };
    let (body, _) = read(&app.buffered, &parts.headers, body, &limits).await?;
    // A signature is over the body.
    Ok((presented.identify(&*app.gateway.keys, &body)?, body))
}

async fn take(app: &Arc<App>, key: &str, body: &[u8]) -> Result<Value, Failure> {
    let Some(records) = &app.records else {
        let message = "feedback is not kept: `enabled` under [records] in kairos.toml is false";
        return Err(Failure::new(Kind::NoSuchRoute, message));
    };
    let (feedback, said) = check(body)?;
    let record = ended(app, feedback.id).await?.filter(|record| record["key"].as_str() == Some(key));
    let Some(record) = record else { return Err(pages::no_such_request(app)) };
    let id = feedback.id;
    let status = match rate(records, feedback).await? {
        Rated::First => {
            if !record["decision"].is_null() {
                app.policies.rated_request(id, &said.metric, said.value);
            }
            if let Some(assigned) = assigned(&record["decision"]["experiment"]) {
                app.policies.rated(&assigned, &said.metric, said.value);
            }
            "recorded"
        }
        Rated::Same => "unchanged",
        Rated::Changed => "replaced",
        Rated::TooMany => {
            let message = format!("the request has {MOST_METRICS} metrics, which is as many as it can have");
            return Err(Failure::new(Kind::InvalidValue, message).with_param("metric"));
        }
    };
    Ok(json!({"request_id": said.request_id, "metric": said.metric, "value": said.value, "status": status}))
}

/// The arm that a request was in, as its record says it.
fn assigned(experiment: &Value) -> Option<Assigned> {
    let arm = [Arm::Baseline, Arm::Canary].into_iter().find(|arm| experiment["arm"] == arm.name())?;
    let unit = experiment["unit"].as_str().and_then(|unit| u64::from_str_radix(unit, 16).ok());
    let (experiment, share) = (experiment["id"].as_u64()?, experiment["share"].as_f64()?);
    Some(Assigned { experiment, ticket: 0, arm, share, unit })
}

/// Whether this is the name of a metric.
pub(super) fn is_metric(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    (1..=NAME).contains(&name.len()) && name.bytes().all(plain)
}

fn check(body: &[u8]) -> Result<(Feedback, Said), Failure> {
    let said: Said = Invalid::parse(body).map_err(Failure::from)?;
    let wrong = |param: &str, message: String| Failure::new(Kind::InvalidValue, message).with_param(param);
    let id = RequestId::parse(&said.request_id).ok_or_else(|| {
        wrong("request_id", "this is not the id of a request: the header x-kairos-request-id has it".to_owned())
    })?;
    if !is_metric(&said.metric) {
        return Err(wrong("metric", format!("a metric's name has 1 to {NAME} characters of a-z, 0-9 and _")));
    }
    if !(0.0..=1.0).contains(&said.value) {
        return Err(wrong("value", "a value is from 0, the worst, to 1, the best".to_owned()));
    }
    Ok((Feedback { id, metric: said.metric.clone(), value: said.value }, said))
}

/// The record of a request that has ended. Who has just had the last of a stream may be faster than the
/// record, which is written when the usage has come.
async fn ended(app: &Arc<App>, id: RequestId) -> Result<Option<Value>, Failure> {
    let mut left = if is_young(id) { PATIENCE } else { Duration::ZERO };
    let unreadable = |why: String| Failure::new(Kind::Internal, format!("the record cannot be read: {why}"));
    loop {
        if let Some(found) = pages::find(app, id).await.map_err(unreadable)? {
            return Ok(Some(found));
        }
        if left.is_zero() {
            return Ok(None);
        }
        let Ok(_place) = app.late_feedback.try_acquire() else { return Ok(None) };
        sleep(BETWEEN).await;
        left = left.saturating_sub(BETWEEN);
    }
}

/// Whether a request of this id may still be under way.
fn is_young(id: RequestId) -> bool {
    const YOUNG_MS: u64 = 3_600_000;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
    let began = u128::from_be_bytes(*id.as_bytes()) >> 80;
    now.abs_diff(began) < u128::from(YOUNG_MS)
}

/// Has the feedback written; answers once it is.
async fn rate(records: &RecordStore, feedback: Feedback) -> Result<Rated, Failure> {
    let (sender, told) = oneshot::channel();
    records.rate(feedback, Box::new(move |rated| drop(sender.send(rated))));
    let rated = told.await.unwrap_or_else(|_| Err("the gateway is stopping".to_owned()));
    rated.map_err(|why| Failure::new(Kind::Overloaded, format!("the feedback cannot be written: {why}")))
}
