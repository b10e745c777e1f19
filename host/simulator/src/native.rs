//! What all native bodies share: chunks of a stream, invocation metrics, the guardrail's fields.
//!
//! It must not know any one family's body.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Value, json};

use crate::catalogue::{Family, Model};
use crate::eventstream::{Message, frame};
use crate::generation::Generation;
use crate::{claude, titan};

/// A frame with a native event in it.
pub(crate) fn chunk(event: &Value) -> Bytes {
    let payload = json!({"bytes": STANDARD.encode(event.to_string())});
    frame(Message::Event("chunk"), payload.to_string().as_bytes())
}

/// What the last chunk of a stream carries.
pub(crate) fn metrics(generation: &Generation) -> Value {
    let usage = generation.usage();
    let mut metrics = json!({
        "inputTokenCount": usage.input,
        "outputTokenCount": usage.output,
        "invocationLatency": generation.latency_ms(),
        "firstByteLatency": generation.first_byte_ms(),
    });
    if usage.cache_read > 0 || usage.cache_write() > 0 {
        metrics["cacheReadInputTokenCount"] = json!(usage.cache_read);
        metrics["cacheWriteInputTokenCount"] = json!(usage.cache_write());
    }
    metrics
}

/// Adds what a guardrail adds to any native body.
pub(crate) fn add_guardrail(generation: &Generation, body: &mut Value) {
    if let Some(stepped_in) = generation.guarded {
        let action = if stepped_in { "INTERVENED" } else { "NONE" };
        body["amazon-bedrock-guardrailAction"] = json!(action);
    }
    if let Some(trace) = &generation.guard_trace {
        body["amazon-bedrock-trace"] = json!({"guardrail": trace});
    }
}

/// The answer as the model's own body has it; none for families whose body is not known here.
pub(crate) fn answer(generation: &Generation, model: &Model, request_id: &str) -> Option<Value> {
    match model.family {
        Family::Claude => Some(claude::answer(generation, model, request_id)),
        Family::Titan => Some(titan::answer(generation)),
        _ => None,
    }
}
