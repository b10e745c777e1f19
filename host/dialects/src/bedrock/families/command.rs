//! Command R and R+: `message` and `chat_history` in, `text` out.
//!
//! Sources: fixture `im_cohere_r`; AWS's "Cohere Command R and Command R+ models" for parameters and
//! stream events. The body counts no tokens. Documents, tools (whose parameters are not a JSON
//! schema) and what Cohere's service adds to a prompt are refused.

use serde_json::{Value, json};

use super::fields::{Fields, is_empty, is_zero, not_carried};
use super::request::{Asked, inference};
use super::shape::{Codec, Head, Said};
use super::templates::Turns;
use crate::answer::StopReason;
use crate::bedrock::short;
use crate::canonical::Role;
use crate::invalid::Invalid;

pub(super) fn read(mut body: Fields) -> Result<Asked, Invalid> {
    let message = body.needed_text("message")?;
    let mut turns = Turns { system: body.text("preamble")?.unwrap_or_default(), turns: Vec::new() };
    let mut history = body.list("chat_history")?;
    for (index, entry) in history.iter().enumerate() {
        read_entry(&format!("chat_history[{index}]"), entry.clone(), &mut turns)?;
    }
    push(&mut turns, Role::User, message.clone());
    if turns.turns.first().is_some_and(|(role, _)| *role == Role::Assistant) {
        return Err(Invalid::value("chat_history[0].role", "a conversation starts with the user"));
    }
    let limit = body.count("max_tokens")?;
    let (temperature, top_p) = (body.fraction("temperature")?, body.fraction("p")?);
    let inference = inference(limit, temperature, top_p, body.texts("stop_sequences")?);
    // 0 switches it off.
    let top_k = if body.has("k") { read_k(&mut body)? } else { None };
    let is_false = |value: &Value| *value == Value::Bool(false);
    for name in ["return_prompt", "raw_prompting", "search_queries_only"] {
        body.only(name, is_false)?;
    }
    for name in ["documents", "tools", "tool_results"] {
        body.only(name, is_empty)?;
    }
    for name in ["frequency_penalty", "presence_penalty"] {
        body.only(name, is_zero)?;
    }
    body.only("prompt_truncation", |value| value == "OFF")?;
    body.finish()?;
    history.push(json!({"role": "USER", "message": message}));
    Ok(Asked { top_k, ..Asked::texts(turns, inference, Codec::Command { history }) })
}

fn read_k(body: &mut Fields) -> Result<Option<(&'static str, u32)>, Invalid> {
    let path = body.at("k");
    let value = body.take("k").and_then(|value| value.as_f64()).filter(|value| *value >= 0.0 && value.fract() == 0.0);
    match value {
        Some(0.0) => Ok(None),
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole and in range")]
        Some(value) if value <= f64::from(u32::MAX) => Ok(Some(("k", value as u32))),
        _ => Err(Invalid::value(path, "a whole number that is not negative is needed")),
    }
}

fn read_entry(path: &str, entry: Value, turns: &mut Turns) -> Result<(), Invalid> {
    let mut entry = Fields::object_at(path, entry)?;
    let role = entry.needed_text("role")?;
    let text = entry.needed_text("message")?;
    entry.only("tool_calls", is_empty)?;
    entry.finish()?;
    match role.as_str() {
        "USER" => push(turns, Role::User, text),
        "CHATBOT" => push(turns, Role::Assistant, text),
        "SYSTEM" if turns.turns.is_empty() && turns.system.is_empty() => turns.system = text,
        "SYSTEM" | "TOOL" => return Err(not_carried(format!("{path}.role"))),
        other => {
            return Err(Invalid::value(
                format!("{path}.role"),
                format!("{:?} is not a role; there are USER, CHATBOT, SYSTEM and TOOL", short(other)),
            ));
        }
    }
    Ok(())
}

/// Neighbours of one role are one turn: Converse wants them to alternate.
fn push(turns: &mut Turns, role: Role, text: String) {
    match turns.turns.last_mut() {
        Some((last, said)) if *last == role => {
            said.push_str("\n\n");
            said.push_str(&text);
        }
        _ => turns.turns.push((role, text)),
    }
}

fn reason(stop: &StopReason) -> &'static str {
    match stop {
        StopReason::MaxTokens => "MAX_TOKENS",
        StopReason::ModelContextWindowExceeded => "ERROR_LIMIT",
        StopReason::ContentFiltered | StopReason::GuardrailIntervened => "ERROR_TOXIC",
        _ => "COMPLETE",
    }
}

pub(super) fn answer(head: Head<'_>, history: &[Value], said: &Said<'_>) -> Value {
    let mut chat_history = history.to_vec();
    chat_history.push(json!({"role": "CHATBOT", "message": said.text}));
    json!({
        "response_id": head.request_id,
        "text": said.text,
        "generation_id": head.request_id,
        "chat_history": chat_history,
        "finish_reason": reason(said.stop),
    })
}

pub(super) fn piece(text: &str) -> Value {
    json!({"is_finished": false, "event_type": "text-generation", "text": text})
}

/// The last event repeats the whole answer.
pub(super) fn last(head: Head<'_>, history: &[Value], said: &Said<'_>) -> Value {
    json!({
        "is_finished": true,
        "event_type": "stream-end",
        "response": answer(head, history, said),
        "finish_reason": reason(said.stop),
    })
}
