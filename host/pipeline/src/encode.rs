//! The last step: the answer, in the caller's dialect.

use kairos_dialects::answer::Answer;
use kairos_dialects::bedrock::families::{self, Shape, Timing};
use kairos_dialects::failure::{Failure, answers};
use kairos_dialects::openai::{self, answer::Head};
use kairos_dialects::{Kind, bedrock, eventstream, generate};

use crate::decode::Decoded;
use crate::exchange::Exchange;
use crate::gateway::Gateway;
use crate::models::Target;
use crate::record::Record;
use crate::reply::{Body, Outgoing, Reply};
use crate::request::Dialect;
use crate::upstream::Whole;

pub(crate) const JSON: &str = "application/json";

/// The header that says what a request cost.
pub const COST: &str = "x-kairos-cost-usd";

/// Bytes of warnings in a head: clients bound heads, and the record has them all.
const MOST_WARNING_BYTES: usize = 1_024;

/// What every head says.
pub(crate) fn headers(exchange: &Exchange) -> Vec<(&'static str, String)> {
    let id = &exchange.record.request_id;
    let mut headers = Vec::with_capacity(10);
    headers.push(("x-kairos-request-id", (**id).to_owned()));
    match exchange.dialect {
        Dialect::OpenAi => headers.push(("x-request-id", (**id).to_owned())),
        Dialect::Bedrock => headers.push(("x-amzn-requestid", (**id).to_owned())),
        Dialect::Kairos => {}
    }
    headers.push(("x-kairos-cache", "bypass".to_owned()));
    if let Some(decision) = &exchange.record.decision {
        headers.push(("x-kairos-policy", decision.policy.to_string()));
    }
    if let Some(prompt) = &exchange.record.prompt {
        headers.push(("x-kairos-prompt", format!("{}@{}", prompt.name, prompt.version)));
    }
    if !exchange.record.warnings.is_empty() {
        let mut warnings = exchange.record.warnings.join("; ");
        warnings.truncate(warnings.floor_char_boundary(MOST_WARNING_BYTES));
        headers.push(("x-kairos-warnings", warnings));
    }
    headers
}

/// What a head says once the attempts are over.
fn final_headers(exchange: &Exchange) -> Vec<(&'static str, String)> {
    let mut headers = headers(exchange);
    headers.push(("x-kairos-attempts", exchange.record.attempts.len().to_string()));
    headers.push((COST, exchange.record.cost_usd.to_string()));
    if let Some(model) = &exchange.record.model {
        headers.push(("x-kairos-model", model.to_string()));
    }
    headers
}

/// Adds the head of a whole answer.
pub(crate) fn whole(exchange: &Exchange, mut outgoing: Outgoing) -> Outgoing {
    outgoing.headers.extend(final_headers(exchange));
    outgoing
}

/// A native caller's answer: Bedrock's bytes.
pub(crate) fn native(whole: Whole) -> Outgoing {
    Outgoing { status: 200, content_type: JSON, headers: whole.headers, body: Body::Whole(whole.body) }
}

/// An OpenAI caller's answer.
pub(crate) fn openai(exchange: &Exchange, target: &Target, answer: &Answer<'_>) -> Outgoing {
    let body = openai::answer::completion(head(exchange, target), answer);
    Outgoing { status: 200, content_type: JSON, headers: Vec::new(), body: Body::Whole(body) }
}

/// The answer of a model that stands in for an ended one, in the shape of the model asked for, with
/// what InvokeModel says in headers.
pub(crate) fn family(exchange: &Exchange, target: &Target, shape: &Shape, answer: &Answer<'_>) -> Outgoing {
    let mut headers = vec![("x-amzn-bedrock-invocation-latency", timing(exchange).latency_ms.to_string())];
    if let Some(usage) = answer.served.usage {
        headers.push(("x-amzn-bedrock-input-token-count", usage.input.to_string()));
        headers.push(("x-amzn-bedrock-output-token-count", usage.output.to_string()));
        if usage.cache_read > 0 || usage.cache_write() > 0 {
            headers.push(("x-amzn-bedrock-cache-read-input-token-count", usage.cache_read.to_string()));
            headers.push(("x-amzn-bedrock-cache-write-input-token-count", usage.cache_write().to_string()));
        }
    }
    if let Some(tier) = answer.served.tier {
        headers.push(("x-amzn-bedrock-service-tier", tier.as_bedrock().to_owned()));
    }
    let body = shape.answer(family_head(exchange, target), answer);
    Outgoing { status: 200, content_type: JSON, headers, body: Body::Whole(body) }
}

/// What such an answer says of itself.
pub(crate) fn family_head<'a>(exchange: &'a Exchange, target: &'a Target) -> families::Head<'a> {
    families::Head { request_id: &exchange.record.request_id, model: &target.invocation_id }
}

/// How long it took until now.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "durations are not negative")]
pub(crate) fn timing(exchange: &Exchange) -> Timing {
    let elapsed = exchange.elapsed_ms();
    let first = exchange.record.first_byte_ms.unwrap_or(elapsed);
    Timing { latency_ms: elapsed as u64, first_byte_ms: first as u64 }
}

/// The answer to a caller of Kairos's own API.
pub(crate) fn generate(
    gateway: &Gateway,
    exchange: &Exchange,
    target: &Target,
    request: &Decoded,
    answer: &Answer<'_>,
) -> Outgoing {
    let record = &exchange.record;
    let head = generate::answer::Head {
        request_id: &record.request_id,
        client_request_id: record.client_request_id.as_deref(),
        asked_model: &record.asked_model,
        model: &target.invocation_id,
        response_time: exchange.started.elapsed(),
        now_ms: (gateway.clock)(),
        cost_usd: &record.cost_usd.to_string(),
        cost_estimated: record.cost_estimated,
        task: record.task,
        policy: record.decision.as_ref().map(|decision| &*decision.policy),
        attempts: record.attempts.len(),
        parameters: request.chosen,
        warnings: &record.warnings,
    };
    let body = generate::answer::response(&head, answer);
    Outgoing { status: 200, content_type: JSON, headers: Vec::new(), body: Body::Whole(body) }
}

/// What OpenAI's answers and chunks say of themselves.
pub(crate) fn head<'a>(exchange: &'a Exchange, target: &'a Target) -> Head<'a> {
    Head {
        request_id: &exchange.record.request_id,
        created: exchange.record.received_ms / 1000,
        model: &target.invocation_id,
    }
}

/// What a stream's last comment says: what its head could not know yet.
pub(crate) fn closing_comment(exchange: &Exchange) -> String {
    let record = &exchange.record;
    format!(
        "kairos request_id={} model={} cost_usd={}{} attempts={}",
        record.request_id,
        record.model.as_deref().unwrap_or("none"),
        record.cost_usd,
        if record.cost_estimated { " cost=estimated" } else { "" },
        record.attempts.len(),
    )
}

/// The same, of a stream that ends for the caller before its cost is known.
pub(crate) fn pending_comment(exchange: &Exchange, model: &str) -> String {
    let id = &exchange.record.request_id;
    format!("kairos request_id={id} model={model} cost=pending, see /v1/requests/{id}")
}

/// Answers a request that failed, by an error answer, or within the stream that has begun.
pub(crate) async fn failure(gateway: &Gateway, exchange: &mut Exchange, failure: &Failure, mut reply: Reply) {
    let status = if reply.has_begun() { 200 } else { status(exchange.dialect, failure) };
    let told = failure.kind != Kind::ClientLeft && !reply.is_gone();
    exchange.finish(gateway, failure.kind.name(), told.then_some(status));
    if !told {
        return;
    }
    if reply.has_begun() {
        fail_stream(exchange, failure, &mut reply).await;
        return;
    }
    let mut outgoing = error_of(exchange.dialect, failure, Some(&exchange.record));
    outgoing.headers.extend(final_headers(exchange));
    let in_vain = failure.kind == Kind::BudgetExceeded;
    if exchange.dialect == Dialect::OpenAi && (exchange.record.cost_usd.0 > 0 || in_vain) {
        // What was tried may be billed: whether it is tried again is for a person to say. And a
        // limit does not give way.
        outgoing.headers.push(("x-should-retry", "false".to_owned()));
    }
    reply.whole(outgoing);
}

/// The error as a message within a stream, after which nothing comes.
pub(crate) async fn fail_stream(exchange: &Exchange, failure: &Failure, reply: &mut Reply) {
    let mut bytes = Vec::new();
    match exchange.dialect {
        Dialect::OpenAi => openai::stream::ChunkWriter::fail(failure, &closing_comment(exchange), &mut bytes),
        // Kairos's own API has no streams.
        Dialect::Bedrock | Dialect::Kairos => {
            let (code, body) = native_error(failure);
            let member = bedrock::error::stream_member(code);
            bytes.extend_from_slice(&eventstream::encode_exception(&member, &body));
        }
    }
    if reply.send(bytes.into()).await {
        reply.end().await;
    }
}

fn status(dialect: Dialect, failure: &Failure) -> u16 {
    let answers = answers(failure.kind);
    match (dialect, &failure.upstream) {
        (Dialect::OpenAi | Dialect::Kairos, _) => answers.openai.0,
        (Dialect::Bedrock, Some(upstream)) if upstream.status >= 400 && !upstream.code.is_empty() => upstream.status,
        (Dialect::Bedrock, _) => answers.bedrock.0,
    }
}

/// An error answer, for failures of the edge too.
pub fn error(dialect: Dialect, failure: &Failure) -> Outgoing {
    error_of(dialect, failure, None)
}

/// An error answer, to a request of which there is a record.
fn error_of(dialect: Dialect, failure: &Failure, record: Option<&Record>) -> Outgoing {
    let mut headers = Vec::new();
    if let Some(after) = failure.retry_after {
        // Rounded up: a second too early is in vain.
        headers.push(("retry-after", after.as_millis().div_ceil(1_000).max(1).to_string()));
    }
    let body = match dialect {
        Dialect::OpenAi => openai::error::body(failure),
        Dialect::Kairos => {
            let id = record.map(|record| &*record.request_id);
            generate::error::body(failure, id, record.is_some_and(|record| record.cost_usd.0 > 0))
        }
        Dialect::Bedrock => {
            let (code, body) = native_error(failure);
            headers.push(("x-amzn-errortype", code.to_owned()));
            body
        }
    };
    Outgoing { status: status(dialect, failure), content_type: JSON, headers, body: Body::Whole(body) }
}

/// Code and body for a native caller: Bedrock's own where it gave them.
fn native_error(failure: &Failure) -> (&str, bytes::Bytes) {
    match failure.upstream.as_deref() {
        Some(upstream) if !upstream.code.is_empty() => (&upstream.code, upstream.body.clone()),
        _ => (answers(failure.kind).bedrock.1, bedrock::error::body(&failure.message)),
    }
}
