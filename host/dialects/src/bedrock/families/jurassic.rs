//! Jurassic-2: `prompt` in, `completions` out. The family has no streams.
//!
//! Sources: fixtures `im_j2`, `im_j2_nohdr`; AWS's "AI21 Labs Jurassic-2 models" for the parameters
//! and their defaults. The model listed its tokens with their probabilities; the model that answers
//! does not tell its own, so that `tokens` is left out: a list made up would be counted. The counts
//! are in the headers.

use serde_json::{Value, json};

use super::fields::{Fields, is_zero};
use super::request::{Asked, inference, one_turn};
use super::shape::{Codec, Head, Said};
use crate::answer::StopReason;
use crate::invalid::Invalid;

/// Output tokens where the body sets no limit.
const DEFAULT_LIMIT: u32 = 200;

pub(super) fn read(mut body: Fields, streaming: bool) -> Result<Asked, Invalid> {
    if streaming {
        return Err(Invalid {
            kind: crate::invalid::InvalidKind::Unsupported,
            path: None,
            message: "Jurassic-2 has no streams; use InvokeModel".to_owned(),
        });
    }
    let prompt = body.needed_text("prompt")?;
    let limit = body.count("maxTokens")?.or(Some(DEFAULT_LIMIT));
    let (temperature, top_p) = (body.fraction("temperature")?, body.fraction("topP")?);
    let inference = inference(limit, temperature, top_p, body.texts("stopSequences")?);
    body.only("numResults", |count| count.as_u64() == Some(1))?;
    body.only("minTokens", is_zero)?;
    body.only("topKReturn", is_zero)?;
    for penalty in ["countPenalty", "presencePenalty", "frequencyPenalty"] {
        // What it applies to matters where its scale is not 0.
        body.only(penalty, |value| value.get("scale").is_none_or(is_zero))?;
    }
    body.finish()?;
    Ok(Asked::texts(one_turn(prompt.clone()), inference, Codec::Jurassic { prompt }))
}

fn reason(stop: &StopReason) -> &'static str {
    match stop {
        StopReason::MaxTokens | StopReason::ModelContextWindowExceeded => "length",
        StopReason::StopSequence => "stop",
        _ => "endoftext",
    }
}

/// The family's ids are numbers, which typed clients keep in 32 bits: the end of the request's id.
fn id(request_id: &str) -> u32 {
    let digits = request_id.len().checked_sub(7).and_then(|from| request_id.get(from..)).unwrap_or(request_id);
    u32::from_str_radix(digits, 16).unwrap_or_default()
}

pub(super) fn answer(head: Head<'_>, prompt: &str, said: &Said<'_>) -> Value {
    json!({
        "id": id(head.request_id),
        "prompt": {"text": prompt},
        "completions": [{"data": {"text": said.text}, "finishReason": {"reason": reason(said.stop)}}],
    })
}
