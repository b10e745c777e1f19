//! Mistral: a prompt with `[INST]` in and `outputs` out, or messages in and `choices` out.
//!
//! Sources: fixture `im_mistral_text`; AWS's "Mistral AI text completion" for its parameters and
//! defaults, and "Mistral AI chat completion" for the other shape (see `chat`). Neither body counts
//! its tokens.

use serde_json::{Value, json};

use super::fields::Fields;
use super::request::{Asked, inference};
use super::shape::{Codec, Said, stop_or_length};
use super::{chat, templates};
use crate::answer::StopReason;
use crate::invalid::Invalid;

/// Output tokens where the body sets no limit: the least of the models' defaults.
const DEFAULT_LIMIT: u32 = 512;

pub(super) fn read(mut body: Fields) -> Result<Asked, Invalid> {
    if body.has("messages") {
        return chat::read_mistral(body);
    }
    let prompt = body.needed_text("prompt")?;
    let limit = body.count("max_tokens")?.or(Some(DEFAULT_LIMIT));
    let (temperature, top_p) = (body.fraction("temperature")?, body.fraction("top_p")?);
    let inference = inference(limit, temperature, top_p, body.texts("stop")?);
    let top_k = body.count("top_k")?.map(|top_k| ("top_k", top_k));
    body.finish()?;
    Ok(Asked { top_k, ..Asked::texts(templates::instruct(&prompt), inference, Codec::MistralText) })
}

pub(super) fn answer(said: &Said<'_>) -> Value {
    json!({"outputs": [{"text": said.text, "stop_reason": stop_or_length(said.stop)}]})
}

pub(super) fn piece(text: &str) -> Value {
    json!({"outputs": [{"text": text, "stop_reason": null}]})
}

pub(super) fn last(stop: &StopReason) -> Value {
    json!({"outputs": [{"text": "", "stop_reason": stop_or_length(stop)}]})
}
