//! What Jamba, Mistral's chat completion and DeepSeek's share: messages in, `choices` out, much as
//! OpenAI has it; read by the same reader.
//!
//! Sources: fixture `im_jamba`; AWS's "AI21 Labs Jamba models", "Mistral AI chat completion" and
//! "DeepSeek models". A stream tells its text as it comes and its tool calls, whole, with the end.

use serde_json::{Value, json};

use super::fields::{Fields, is_empty, is_zero};
use super::request::Asked;
use super::shape::{Codec, Head, Said, stop_or_length};
use crate::answer::StopReason;
use crate::invalid::Invalid;
use crate::openai;
use crate::usage::Usage;

/// How a family's choices differ.
#[derive(Clone, Copy, Debug)]
pub(super) struct Style {
    /// Where a chunk has its piece of the message.
    piece: &'static str,
    /// Where a choice says why it ended.
    reason: &'static str,
    /// Whether the body counts tokens.
    counts: bool,
}

const JAMBA: Style = Style { piece: "delta", reason: "finish_reason", counts: true };
const MISTRAL: Style = Style { piece: "message", reason: "stop_reason", counts: false };
const DEEPSEEK: Style = Style { piece: "delta", reason: "finish_reason", counts: false };

/// Output tokens where a body for Jamba sets no limit.
const JAMBA_LIMIT: u32 = 4_096;

pub(super) fn read_jamba(mut body: Fields) -> Result<Asked, Invalid> {
    body.only("documents", is_empty)?;
    for name in ["frequency_penalty", "presence_penalty"] {
        body.only(name, is_zero)?;
    }
    if !body.has("max_tokens") {
        body.set("max_tokens", json!(JAMBA_LIMIT));
    }
    read(body, JAMBA)
}

pub(super) fn read_mistral(mut body: Fields) -> Result<Asked, Invalid> {
    // Mistral's word for what OpenAI calls required.
    if body.drop_if("tool_choice", |value| value == "any") {
        body.set("tool_choice", json!("required"));
    }
    read(body, MISTRAL)
}

pub(super) fn read_deepseek(body: Fields) -> Result<Asked, Invalid> {
    read(body, DEEPSEEK)
}

fn read(mut body: Fields, style: Style) -> Result<Asked, Invalid> {
    for name in ["model", "user", "metadata", "service_tier", "stream_options"] {
        body.only(name, |_| false)?;
    }
    // Whether it streams is the operation's to say; a `top_p` of 1 cuts nothing off.
    body.drop_if("stream", |_| true);
    body.drop_if("top_p", |value| value.as_f64() == Some(1.0));
    // The reader wants a model; which one is not the body's to say.
    body.set("model", json!("ended"));
    let bytes = body.into_bytes();
    let request = openai::request::parse(&bytes, false)?;
    if request.prompt.is_some() {
        return Err(Invalid::unsupported("prompt", "templates are not for InvokeModel; use Converse"));
    }
    Ok(Asked { warnings: request.warnings, ..Asked::new(&request.canonical, Codec::Chat(style)) })
}

fn reason(stop: &StopReason) -> &'static str {
    match stop {
        StopReason::ToolUse => "tool_calls",
        stop => stop_or_length(stop),
    }
}

fn calls(said: &Said<'_>) -> Value {
    let call = |call: &super::shape::Call| {
        let arguments = if call.input.is_empty() { "{}" } else { &call.input };
        json!({"id": call.id, "type": "function", "function": {"name": call.name, "arguments": arguments}})
    };
    match said.calls.is_empty() {
        true => Value::Null,
        false => said.calls.iter().map(call).collect(),
    }
}

fn add_counts(style: Style, usage: Option<Usage>, body: &mut Value) {
    if let (true, Some(usage)) = (style.counts, usage) {
        body["usage"] = json!({
            "prompt_tokens": usage.all_input(),
            "completion_tokens": usage.output,
            "total_tokens": usage.total(),
        });
    }
}

pub(super) fn answer(style: Style, head: Head<'_>, said: &Said<'_>) -> Value {
    let message = json!({"role": "assistant", "content": said.text, "tool_calls": calls(said)});
    let mut body = json!({
        "id": head.request_id,
        "choices": [{"index": 0, "message": message, style.reason: reason(said.stop)}],
    });
    add_counts(style, said.usage, &mut body);
    body
}

pub(super) fn piece(style: Style, head: Head<'_>, text: &str) -> Value {
    let piece = json!({"role": "assistant", "content": text});
    json!({"id": head.request_id, "choices": [{"index": 0, style.piece: piece, style.reason: null}]})
}

pub(super) fn last(style: Style, head: Head<'_>, said: &Said<'_>) -> Value {
    let mut piece = json!({"role": "assistant", "content": ""});
    let calls = calls(said);
    if !calls.is_null() {
        piece["tool_calls"] = calls;
    }
    let choice = json!({"index": 0, style.piece: piece, style.reason: reason(said.stop)});
    let mut body = json!({"id": head.request_id, "choices": [choice]});
    add_counts(style, said.usage, &mut body);
    body
}
