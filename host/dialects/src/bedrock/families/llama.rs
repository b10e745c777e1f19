//! Llama: a prompt in the model's own template in, `generation` out.
//!
//! Sources: fixtures `im_llama`, `is_llama`; AWS's "Meta Llama models" for the parameters and their
//! defaults. A prompt that keeps to a template becomes turns (see `templates`), any other is one turn
//! of the user. Images are refused.

use serde_json::{Value, json};

use super::fields::{Fields, is_empty};
use super::request::{Asked, inference};
use super::shape::{Codec, Said, all_input, output, stop_or_length};
use super::templates;
use crate::answer::StopReason;
use crate::invalid::Invalid;
use crate::usage::Usage;

/// Output tokens where the body sets no limit.
const DEFAULT_LIMIT: u32 = 512;

pub(super) fn read(mut body: Fields) -> Result<Asked, Invalid> {
    let prompt = body.needed_text("prompt")?;
    let limit = body.count("max_gen_len")?.or(Some(DEFAULT_LIMIT));
    let inference = inference(limit, body.fraction("temperature")?, body.fraction("top_p")?, Vec::new());
    body.only("images", is_empty)?;
    body.finish()?;
    Ok(Asked::texts(templates::llama(&prompt), inference, Codec::Llama))
}

pub(super) fn answer(said: &Said<'_>) -> Value {
    json!({
        "generation": said.text,
        "prompt_token_count": all_input(said.usage),
        "generation_token_count": output(said.usage),
        "stop_reason": stop_or_length(said.stop),
    })
}

pub(super) fn piece(text: &str) -> Value {
    json!({"generation": text, "prompt_token_count": null, "generation_token_count": null, "stop_reason": null})
}

pub(super) fn last(stop: &StopReason, usage: Option<Usage>) -> Value {
    json!({
        "generation": "",
        "prompt_token_count": all_input(usage),
        "generation_token_count": output(usage),
        "stop_reason": stop_or_length(stop),
    })
}
