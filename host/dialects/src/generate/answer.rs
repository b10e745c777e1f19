//! Writes a response.

use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;

use super::parameters::Chosen;
use crate::answer::{Answer, AnswerBlock};
use crate::usage::Usage;

/// What a response says beside the model's answer.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// The gateway's request id.
    pub request_id: &'a str,
    /// The caller's own id.
    pub client_request_id: Option<&'a str>,
    /// The model as the caller wrote it, or the gateway's default.
    pub asked_model: &'a str,
    /// The model that answers.
    pub model: &'a str,
    /// From the request's arrival.
    pub response_time: Duration,
    /// Milliseconds since 1970.
    pub now_ms: u64,
    /// US dollars, of all attempts: a decimal number.
    pub cost_usd: &'a str,
    /// Whether a part of it is an upper bound.
    pub cost_estimated: bool,
    /// What the request is about.
    pub task: Option<&'a str>,
    /// Who decided which model answers.
    pub policy: Option<&'a str>,
    /// Calls of models.
    pub attempts: usize,
    /// What the model was sent.
    pub parameters: Option<Chosen>,
    /// What was adapted.
    pub warnings: &'a [String],
}

#[derive(Serialize)]
struct Response<'a> {
    text: String,
    model_used: &'a str,
    tokens_used: Option<u64>,
    response_time: f64,
    cost_estimate: Option<Box<RawValue>>,
    request_id: &'a str,
    timestamp: String,
    cached: bool,
    metadata: Metadata<'a>,
}

#[derive(Serialize)]
struct Metadata<'a> {
    stop_reason: &'a str,
    usage: Option<UsageOut>,
    cost_estimated: bool,
    asked_model: &'a str,
    task: Option<&'a str>,
    policy: Option<&'a str>,
    attempts: usize,
    parameters: Option<Chosen>,
    warnings: &'a [String],
    client_request_id: Option<&'a str>,
}

#[derive(Serialize)]
struct UsageOut {
    input_tokens: u64,
    output_tokens: u64,
    cache_read_tokens: u64,
    cache_write_tokens: u64,
}

impl From<Usage> for UsageOut {
    fn from(usage: Usage) -> Self {
        Self {
            input_tokens: usage.input,
            output_tokens: usage.output,
            cache_read_tokens: usage.cache_read,
            cache_write_tokens: usage.cache_write(),
        }
    }
}

/// Writes the response.
pub fn response(head: &Head<'_>, answer: &Answer<'_>) -> Bytes {
    let mut text = String::new();
    for block in &answer.blocks {
        if let AnswerBlock::Text(part) = block {
            text.push_str(part);
        }
    }
    let usage = answer.served.usage;
    let response = Response {
        text,
        model_used: head.model,
        tokens_used: usage.map(|usage| usage.total()),
        // Whole microseconds: what is beyond them is noise.
        response_time: head.response_time.as_micros() as f64 / 1e6,
        // The digits as they are: a float could lose some.
        cost_estimate: RawValue::from_string(head.cost_usd.to_owned()).ok(),
        request_id: head.request_id,
        timestamp: time(head.now_ms),
        cached: false,
        metadata: Metadata {
            stop_reason: answer.stop_reason.as_converse(),
            usage: usage.map(Into::into),
            cost_estimated: head.cost_estimated,
            asked_model: head.asked_model,
            task: head.task,
            policy: head.policy,
            attempts: head.attempts,
            parameters: head.parameters,
            warnings: head.warnings,
            client_request_id: head.client_request_id,
        },
    };
    serde_json::to_vec(&response).unwrap_or_default().into()
}

/// A time in ISO 8601 with an offset in digits: readers older than `Z` (Python before 3.11) take it.
fn time(ms: u64) -> String {
    let time = i64::try_from(ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    time.unwrap_or(jiff::Timestamp::MAX).strftime("%Y-%m-%dT%H:%M:%S.%3f+00:00").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bedrock::parse_answer;

    #[test]
    fn a_whole_response() {
        let body = r#"{"output":{"message":{"content":[{"text":"a"},{"reasoningContent":{}},{"text":"b"}]}},"stopReason":"max_tokens","usage":{"inputTokens":3,"outputTokens":2,"totalTokens":15,"cacheReadInputTokens":10},"metrics":{"latencyMs":1}}"#;
        let warnings = ["w".to_owned()];
        let head = Head {
            request_id: "r",
            client_request_id: Some("mine"),
            asked_model: "auto",
            model: "m",
            response_time: Duration::from_nanos(1_234_567_890),
            now_ms: 1_795_435_200_050,
            cost_usd: "0.000123456789",
            cost_estimated: false,
            task: Some("general"),
            policy: Some("task@0123"),
            attempts: 1,
            parameters: Some(Chosen { max_tokens: 4096, temperature: Some(0.7), top_p: None, top_k: Some(250) }),
            warnings: &warnings,
        };
        let write = |head: &Head<'_>, body: &str| {
            String::from_utf8(response(head, &parse_answer(body.as_bytes()).unwrap()).to_vec()).unwrap()
        };
        insta::assert_snapshot!(write(&head, body), @r#"{"text":"ab","model_used":"m","tokens_used":15,"response_time":1.234567,"cost_estimate":0.000123456789,"request_id":"r","timestamp":"2026-11-23T12:00:00.050+00:00","cached":false,"metadata":{"stop_reason":"max_tokens","usage":{"input_tokens":3,"output_tokens":2,"cache_read_tokens":10,"cache_write_tokens":0},"cost_estimated":false,"asked_model":"auto","task":"general","policy":"task@0123","attempts":1,"parameters":{"max_tokens":4096,"temperature":0.7,"top_k":250},"warnings":["w"],"client_request_id":"mine"}}"#);
        let unstated = r#"{"output":{"message":{"content":[]}},"stopReason":"end_turn"}"#;
        let bare = Head { client_request_id: None, parameters: None, warnings: &[], cost_usd: "0", ..head };
        insta::assert_snapshot!(write(&bare, unstated), @r#"{"text":"","model_used":"m","tokens_used":null,"response_time":1.234567,"cost_estimate":0,"request_id":"r","timestamp":"2026-11-23T12:00:00.050+00:00","cached":false,"metadata":{"stop_reason":"end_turn","usage":null,"cost_estimated":false,"asked_model":"auto","task":"general","policy":"task@0123","attempts":1,"parameters":null,"warnings":[],"client_request_id":null}}"#);
    }
}
