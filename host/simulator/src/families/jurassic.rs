//! AI21 Labs Jurassic-2's own body: one prompt in, and out the prompt and its completion with every
//! token of both.
//!
//! Sources: fixtures `im_j2` and `im_j2_nohdr`, and AWS's page "AI21 Labs Jurassic-2 models". With its
//! answers AWS sends no counts in headers; the lists of tokens are as long as what is charged. It cannot
//! stream, which `capability` says before a stream is written.

use std::borrow::Cow;

use serde_json::{Value, json};

use super::fields::{Fields, Result};
use super::shared::{Answered, finish, text_of};
use super::template;
use crate::catalogue::Model;
use crate::conversation::Conversation;
use crate::reply::Stop;
use crate::script::{Frame, Frames};
use crate::tokens;

/// Output of a request that sets no limit.
const USUAL_TOKENS: u32 = 200;
const FIELDS: [&str; 11] = [
    "countPenalty",
    "frequencyPenalty",
    "maxTokens",
    "minTokens",
    "numResults",
    "presencePenalty",
    "prompt",
    "stopSequences",
    "temperature",
    "topKReturn",
    "topP",
];
/// Penalties, and the scale that each may have.
const PENALTIES: [(&str, f64); 3] = [("countPenalty", 1.0), ("presencePenalty", 5.0), ("frequencyPenalty", 500.0)];

pub(super) fn read<'a>(model: &Model, body: &'a Value) -> Result<Conversation<'a>> {
    let fields = Fields::of(body, &FIELDS)?;
    let mut conversation = template::conversation(fields.required_text("prompt")?, |_| None);
    let asked = fields.integer("maxTokens", 0..=model.max_out)?;
    conversation.max_tokens = Some(asked.unwrap_or(USUAL_TOKENS));
    fields.integer("minTokens", 0..=model.max_out)?;
    fields.integer("topKReturn", 0..=64)?;
    fields.number("temperature", 0.0..=1.0)?;
    fields.number("topP", 0.0..=1.0)?;
    if fields.integer("numResults", 1..=16)?.is_some_and(|n| n > 1) {
        return Err(fields.wrong("numResults", "the simulator gives one answer for each request"));
    }
    for (name, most) in PENALTIES {
        if let Some(penalty) = fields.object(name)? {
            penalty.number("scale", 0.0..=most)?;
        }
    }
    conversation.stop = fields.texts("stopSequences", 16)?.into_iter().map(Cow::from).collect();
    Ok(conversation)
}

pub(super) fn answer(answered: &Answered<'_>) -> Value {
    let (reply, usage) = (&answered.generation.reply, answered.generation.usage());
    let prompt: String = answered.conversation.turns.iter().map(text_of).collect();
    let text = reply.text();
    let reason = match reply.stop {
        Stop::EndTurn | Stop::ToolUse | Stop::Guardrail => json!({"reason": "endoftext"}),
        Stop::MaxTokens => json!({"reason": "length", "length": usage.output}),
        Stop::Sequence => json!({"reason": "stop", "sequence": reply.stop_sequence}),
    };
    json!({
        "id": serial(answered.request_id),
        "prompt": {"text": prompt, "tokens": listed(&prompt, usage.input)},
        "completions": [{"data": {"text": text, "tokens": listed(&text, usage.output)}, "finishReason": reason}],
    })
}

pub(super) fn events(answered: &Answered<'_>) -> Vec<Frame> {
    finish(Frames::new(answered.generation.reply.tokens), answered, answer(answered))
}

/// A number, which its ids are, made from a request's id.
fn serial(request_id: &str) -> u32 {
    u32::from_str_radix(request_id.split('-').next().unwrap_or_default(), 16).unwrap_or_default()
}

/// The tokens of a text, as many as are charged for it. What frames a conversation is charged as
/// well: tokens of no width before the text.
fn listed(text: &str, charged: u32) -> Vec<Value> {
    let token = |token: &str, start: usize| {
        // The longer, the less likely.
        let logprob = -f64::from(u32::try_from(token.len()).unwrap_or(u32::MAX)) / 10.0;
        json!({
            "generatedToken": {"token": token, "logprob": logprob, "raw_logprob": logprob},
            "topTokens": null,
            "textRange": {"start": start, "end": start + token.chars().count()},
        })
    };
    let framing = charged.saturating_sub(tokens::count(text));
    let mut all: Vec<Value> = (0..framing).map(|_| token("", 0)).collect();
    let mut at = 0;
    for (piece, _) in tokens::pieces(text, 1).take(usize::try_from(charged).unwrap_or(usize::MAX)) {
        all.push(token(piece, at));
        at += piece.chars().count();
    }
    all
}
