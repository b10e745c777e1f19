//! DeepSeek's own bodies: one prompt for R1, which thinks aloud before it answers, and chat completions
//! for V3.
//!
//! Sources: fixture `im_deepseek`, and AWS's page "DeepSeek models" for R1. The body of V3 is the chat
//! shape that open models have on Bedrock; no AWS page that could be read says more of it.

use std::borrow::Cow;

use serde_json::{Value, json};

use super::chat::{self, OPENAI};
use super::fields::{Fields, Result};
use super::shared::{Answered, chunk, finish, push_text};
use super::template;
use crate::catalogue::{Family, Model};
use crate::conversation::Conversation;
use crate::reply::Said;
use crate::script::{Frame, Frames, Part};

/// Between thoughts and answer.
const THOUGHT: &str = "</think>";

pub(super) fn read<'a>(model: &Model, body: &'a Value) -> Result<Conversation<'a>> {
    if model.family == Family::DeepSeek {
        let fields = Fields::of(body, &[chat::FIELDS, &["n"]].concat())?;
        fields.number("temperature", 0.0..=2.0)?;
        return chat::read(&fields, model.max_out);
    }
    let fields = Fields::of(body, &["max_tokens", "prompt", "stop", "temperature", "top_p"])?;
    let mut conversation = template::conversation(fields.required_text("prompt")?, template::deepseek);
    conversation.max_tokens = fields.integer("max_tokens", 1..=model.max_out)?;
    fields.number("temperature", 0.0..=1.0)?;
    fields.number("top_p", 0.0..=1.0)?;
    conversation.stop = fields.texts("stop", 10)?.into_iter().map(Cow::from).collect();
    Ok(conversation)
}

fn choice(text: &str, reason: Option<&str>) -> Value {
    json!({"choices": [{"text": text, "stop_reason": reason}]})
}

/// What is written down, piece by piece: thoughts, the mark that ends them, the answer.
fn written<'a>(answered: &'a Answered<'_>) -> impl Iterator<Item = &'a str> {
    let blocks = &answered.generation.reply.blocks;
    blocks.iter().enumerate().flat_map(move |(at, said)| match said {
        Said::Reasoning { text, .. } if at + 1 < blocks.len() => vec![text.as_str(), THOUGHT],
        Said::Reasoning { text, .. } | Said::Text(text) => vec![text.as_str()],
        Said::Tool { .. } => vec![],
    })
}

pub(super) fn answer(answered: &Answered<'_>) -> Value {
    if answered.model.family == Family::DeepSeek {
        return chat::answer(answered, OPENAI);
    }
    choice(&written(answered).collect::<String>(), Some(answered.finish_reason()))
}

pub(super) fn events(answered: &Answered<'_>) -> Vec<Frame> {
    if answered.model.family == Family::DeepSeek {
        return chat::events(answered, OPENAI);
    }
    let mut frames = Frames::new(answered.generation.reply.tokens);
    for text in written(answered) {
        if text == THOUGHT {
            frames.push(Part::Content, chunk(&choice(text, None)), 0);
        } else {
            push_text(&mut frames, text, |piece, _| choice(piece, None));
        }
    }
    finish(frames, answered, choice("", Some(answered.finish_reason())))
}
