//! Titan Text: `inputText` in, `results` out.
//!
//! Sources: fixtures `im_titan`, `is_titan`; AWS's "Amazon Titan Text models" for the parameters and
//! their defaults. The prompt is one turn of the user: "User: … Bot:" is a habit, not a template.

use serde_json::{Value, json};

use super::fields::Fields;
use super::request::{Asked, inference, one_turn};
use super::shape::{Codec, Said, all_input, output};
use crate::answer::StopReason;
use crate::invalid::Invalid;
use crate::usage::Usage;

/// Output tokens where the body sets no limit.
const DEFAULT_LIMIT: u32 = 512;

pub(super) fn read(mut body: Fields) -> Result<Asked, Invalid> {
    let text = body.needed_text("inputText")?;
    let (mut limit, mut temperature, mut top_p, mut stop) = (None, None, None, Vec::new());
    if let Some(mut config) = body.object("textGenerationConfig")? {
        limit = config.count("maxTokenCount")?;
        temperature = config.fraction("temperature")?;
        top_p = config.fraction("topP")?;
        stop = config.texts("stopSequences")?;
        config.finish()?;
    }
    body.finish()?;
    let inference = inference(limit.or(Some(DEFAULT_LIMIT)), temperature, top_p, stop);
    Ok(Asked::texts(one_turn(text), inference, Codec::Titan))
}

fn reason(stop: &StopReason) -> &'static str {
    match stop {
        StopReason::MaxTokens | StopReason::ModelContextWindowExceeded => "LENGTH",
        StopReason::StopSequence => "STOP_CRITERIA_MET",
        StopReason::ContentFiltered | StopReason::GuardrailIntervened => "CONTENT_FILTERED",
        _ => "FINISH",
    }
}

pub(super) fn answer(said: &Said<'_>) -> Value {
    json!({
        "inputTextTokenCount": all_input(said.usage),
        "results": [{
            "tokenCount": output(said.usage),
            "outputText": said.text,
            "completionReason": reason(said.stop),
        }],
    })
}

pub(super) fn piece(text: &str) -> Value {
    json!({
        "outputText": text,
        "index": 0,
        "totalOutputTextTokenCount": null,
        "completionReason": null,
        "inputTextTokenCount": null,
    })
}

pub(super) fn last(stop: &StopReason, usage: Option<Usage>) -> Value {
    json!({
        "outputText": "",
        "index": 0,
        "totalOutputTextTokenCount": output(usage),
        "completionReason": reason(stop),
        "inputTextTokenCount": all_input(usage),
    })
}
