//! Mistral AI's own bodies: text completions for the first models, chat completions for the later
//! ones, and both for those of February 2024.
//!
//! Sources: fixture `im_mistral_text`, and AWS's pages "Mistral AI text completion" and "Mistral AI chat
//! completion". Chats of the models that take both state `stop_reason` and no usage; those of later
//! models are OpenAI's.

use std::borrow::Cow;

use serde_json::{Value, json};

use super::chat::{self, OPENAI, Shape};
use super::fields::{Fields, Result};
use super::shared::{Answered, finish, push_text};
use super::template;
use crate::catalogue::{Family, Model};
use crate::conversation::Conversation;
use crate::script::{Frame, Frames};

const EARLY: Shape = Shape { reason: "stop_reason", delta: "message", named: false, usage: false };
/// Output of a text completion that sets no limit.
const USUAL_TOKENS: u32 = 512;

pub(super) fn read<'a>(model: &Model, body: &'a Value) -> Result<Conversation<'a>> {
    let chats = match model.family {
        Family::MistralText => false,
        Family::MistralEither => body.get("prompt").is_none(),
        _ => true,
    };
    if chats {
        let own = ["frequency_penalty", "n", "parallel_tool_calls", "presence_penalty", "random_seed", "safe_prompt"];
        let fields = Fields::of(body, &[chat::FIELDS, &own].concat())?;
        fields.number("temperature", 0.0..=1.5)?;
        let mut conversation = chat::read(&fields, model.max_out)?;
        conversation.one_tool_at_most = fields.has("parallel_tool_calls") && !fields.flag("parallel_tool_calls")?;
        return Ok(conversation);
    }
    let fields = Fields::of(body, &["max_tokens", "prompt", "stop", "temperature", "top_k", "top_p"])?;
    let mut conversation = template::conversation(fields.required_text("prompt")?, template::instructions);
    let asked = fields.integer("max_tokens", 1..=model.max_out)?;
    conversation.max_tokens = Some(asked.unwrap_or(USUAL_TOKENS.min(model.max_out)));
    fields.number("temperature", 0.0..=1.0)?;
    fields.number("top_p", 0.0..=1.0)?;
    fields.number("top_k", 0.0..=200.0)?;
    conversation.stop = fields.texts("stop", 10)?.into_iter().map(Cow::from).collect();
    Ok(conversation)
}

/// None for a text completion.
fn shape(answered: &Answered<'_>) -> Option<Shape> {
    match answered.model.family {
        Family::MistralText => None,
        Family::MistralEither => (!answered.conversation.prompt).then_some(EARLY),
        _ => Some(OPENAI),
    }
}

fn output(text: &str, reason: Option<&str>) -> Value {
    json!({"outputs": [{"text": text, "stop_reason": reason}]})
}

pub(super) fn answer(answered: &Answered<'_>) -> Value {
    match shape(answered) {
        Some(shape) => chat::answer(answered, shape),
        None => output(&answered.generation.reply.text(), Some(answered.finish_reason())),
    }
}

pub(super) fn events(answered: &Answered<'_>) -> Vec<Frame> {
    if let Some(shape) = shape(answered) {
        return chat::events(answered, shape);
    }
    let mut frames = Frames::new(answered.generation.reply.tokens);
    push_text(&mut frames, &answered.generation.reply.text(), |piece, _| output(piece, None));
    finish(frames, answered, output("", Some(answered.finish_reason())))
}
