//! DeepSeek: a prompt in the model's own template in, `choices` with text out; or messages (see
//! `chat`).
//!
//! Sources: fixture `im_deepseek`; AWS's "DeepSeek models" for the parameters. A prompt may end with
//! `<think>`: then the model's text begins within its reasoning, and callers look for `</think>`. The
//! reasoning of the model that answers is not carried over, so that its text begins with the end mark.

use serde_json::{Value, json};

use super::fields::Fields;
use super::request::{Asked, inference};
use super::shape::{Codec, Said, stop_or_length};
use super::{chat, templates};
use crate::answer::StopReason;
use crate::invalid::Invalid;

/// What closes the reasoning that the prompt opened.
const END_OF_THOUGHT: &str = "</think>\n\n";

pub(super) fn read(mut body: Fields) -> Result<Asked, Invalid> {
    if body.has("messages") {
        return chat::read_deepseek(body);
    }
    let prompt = body.needed_text("prompt")?;
    let limit = body.count("max_tokens")?;
    let (temperature, top_p) = (body.fraction("temperature")?, body.fraction("top_p")?);
    let inference = inference(limit, temperature, top_p, body.texts("stop")?);
    body.finish()?;
    let (turns, thinks) = templates::deepseek(&prompt);
    Ok(Asked::texts(turns, inference, Codec::DeepseekText { thinks }))
}

/// What stands before the answer's text.
pub(super) fn opening(thinks: bool) -> &'static str {
    if thinks { END_OF_THOUGHT } else { "" }
}

pub(super) fn answer(thinks: bool, said: &Said<'_>) -> Value {
    let text = format!("{}{}", opening(thinks), said.text);
    json!({"choices": [{"text": text, "stop_reason": stop_or_length(said.stop)}]})
}

pub(super) fn piece(text: &str) -> Value {
    json!({"choices": [{"text": text, "stop_reason": null}]})
}

pub(super) fn last(stop: &StopReason) -> Value {
    json!({"choices": [{"text": "", "stop_reason": stop_or_length(stop)}]})
}
