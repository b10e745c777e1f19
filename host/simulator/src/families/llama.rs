//! Meta Llama's own body: one prompt, in the markup of its generation or plain.
//!
//! Sources: fixtures `im_llama` and `is_llama`, and AWS's page "Meta Llama models". Only the first
//! chunk of a stream counts the prompt, and every chunk what was generated up to it.

use serde_json::{Value, json};

use super::fields::{Fields, Result};
use super::shared::{Answered, finish, push_text};
use super::template;
use crate::attachment;
use crate::catalogue::Model;
use crate::conversation::{Conversation, MediaKind};
use crate::script::{Frame, Frames};

/// Output of a request that sets no limit.
const USUAL_TOKENS: u32 = 512;

pub(super) fn read<'a>(model: &Model, body: &'a Value) -> Result<Conversation<'a>> {
    let fields = Fields::of(body, &["images", "max_gen_len", "prompt", "temperature", "top_p"])?;
    let mut conversation = template::conversation(fields.required_text("prompt")?, |prompt| {
        template::llama3(prompt).or_else(|| template::llama4(prompt)).or_else(|| template::instructions(prompt))
    });
    let asked = fields.integer("max_gen_len", 1..=model.max_out)?;
    conversation.max_tokens = Some(asked.unwrap_or(USUAL_TOKENS.min(model.max_out)));
    fields.number("temperature", 0.0..=1.0)?;
    fields.number("top_p", 0.0..=1.0)?;
    for image in fields.texts("images", 1)? {
        let bytes = attachment::decode(image).map_err(|error| fields.wrong("images", error.message))?;
        let image = attachment::block(MediaKind::Image, "png", &bytes);
        if let Some(last) = conversation.turns.last_mut() {
            // A picture stands before the words about it.
            last.blocks.insert(0, image);
        }
    }
    Ok(conversation)
}

pub(super) fn answer(answered: &Answered<'_>) -> Value {
    let usage = answered.generation.usage();
    json!({
        "generation": answered.generation.reply.text(),
        "prompt_token_count": usage.input,
        "generation_token_count": usage.output,
        "stop_reason": answered.finish_reason(),
    })
}

pub(super) fn events(answered: &Answered<'_>) -> Vec<Frame> {
    let (reply, usage) = (&answered.generation.reply, answered.generation.usage());
    let mut frames = Frames::new(reply.tokens);
    let mut prompt = json!(usage.input);
    push_text(&mut frames, &reply.text(), |piece, so_far| {
        json!({
            "generation": piece,
            "prompt_token_count": prompt.take(),
            "generation_token_count": so_far,
            "stop_reason": null,
        })
    });
    let last = json!({
        "generation": "",
        "prompt_token_count": prompt,
        "generation_token_count": usage.output,
        "stop_reason": answered.finish_reason(),
    });
    finish(frames, answered, last)
}
