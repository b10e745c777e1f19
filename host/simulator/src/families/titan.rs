//! Titan Text's own body.
//!
//! Sources: fixtures `im_titan` and `is_titan`, and AWS's page "Amazon Titan Text models". Only the first
//! chunk of a stream counts the prompt, and only the last what was generated.

use std::borrow::Cow;

use serde_json::{Value, json};

use super::fields::{Fields, Result};
use super::shared::{Answered, finish, push_text};
use super::template;
use crate::catalogue::Model;
use crate::conversation::Conversation;
use crate::reply::Stop;
use crate::script::{Frame, Frames};

/// Output of a request that sets no limit.
const USUAL_TOKENS: u32 = 512;

/// From a body to a conversation: one message of the user.
pub(super) fn read<'a>(model: &Model, body: &'a Value) -> Result<Conversation<'a>> {
    let fields = Fields::of(body, &["inputText", "textGenerationConfig"])?;
    let mut conversation = template::conversation(fields.required_text("inputText")?, |_| None);
    let mut asked = None;
    if let Some(config) = fields.object("textGenerationConfig")? {
        config.only(&["maxTokenCount", "stopSequences", "temperature", "topP"])?;
        asked = config.integer("maxTokenCount", 1..=model.max_out)?;
        config.number("temperature", 0.0..=1.0)?;
        config.number("topP", 0.0..=1.0)?;
        conversation.stop = config.texts("stopSequences", 16)?.into_iter().map(Cow::from).collect();
    }
    conversation.max_tokens = Some(asked.unwrap_or(USUAL_TOKENS.min(model.max_out)));
    Ok(conversation)
}

fn reason(stop: Stop) -> &'static str {
    match stop {
        Stop::EndTurn | Stop::ToolUse => "FINISH",
        Stop::MaxTokens => "LENGTH",
        Stop::Sequence => "STOP_CRITERIA_MET",
        Stop::Guardrail => "CONTENT_FILTERED",
    }
}

/// The answer, whole.
pub(super) fn answer(answered: &Answered<'_>) -> Value {
    let (reply, usage) = (&answered.generation.reply, answered.generation.usage());
    json!({
        "inputTextTokenCount": usage.input,
        "results": [{
            "tokenCount": usage.output,
            "outputText": reply.text(),
            "completionReason": reason(reply.stop),
        }],
    })
}

/// The answer, streamed.
pub(super) fn events(answered: &Answered<'_>) -> Vec<Frame> {
    let (reply, usage) = (&answered.generation.reply, answered.generation.usage());
    let mut frames = Frames::new(reply.tokens);
    let mut input = json!(usage.input);
    push_text(&mut frames, &reply.text(), |piece, _| {
        json!({
            "outputText": piece,
            "index": 0,
            "totalOutputTextTokenCount": null,
            "completionReason": null,
            "inputTextTokenCount": input.take(),
        })
    });
    let last = json!({
        "outputText": "",
        "index": 0,
        "totalOutputTextTokenCount": usage.output,
        "completionReason": reason(reply.stop),
        "inputTextTokenCount": input,
    });
    finish(frames, answered, last)
}
