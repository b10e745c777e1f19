//! AI21 Labs Jamba's own body: chat completions.
//!
//! Sources: fixture `im_jamba`, and AWS's page "AI21 Labs Jamba models". With its answers AWS sends no
//! counts in headers; the body has them.

use serde_json::Value;

use super::chat::{self, Shape};
use super::fields::{Fields, Result};
use super::shared::Answered;
use crate::catalogue::Model;
use crate::conversation::Conversation;
use crate::script::Frame;

const SHAPE: Shape = Shape { reason: "finish_reason", delta: "delta", named: false, usage: true };
const OWN: [&str; 5] = ["documents", "frequency_penalty", "n", "presence_penalty", "response_format"];

pub(super) fn read<'a>(model: &Model, body: &'a Value) -> Result<Conversation<'a>> {
    let fields = Fields::of(body, &[chat::FIELDS, &OWN].concat())?;
    fields.number("temperature", 0.0..=2.0)?;
    fields.number("frequency_penalty", -2.0..=2.0)?;
    fields.number("presence_penalty", -2.0..=2.0)?;
    for name in ["documents", "response_format"] {
        if fields.has(name) {
            return Err(fields.wrong(name, "the simulator does not have this field of Jamba's"));
        }
    }
    chat::read(&fields, model.max_out)
}

pub(super) fn answer(answered: &Answered<'_>) -> Value {
    chat::answer(answered, SHAPE)
}

pub(super) fn events(answered: &Answered<'_>) -> Vec<Frame> {
    chat::events(answered, SHAPE)
}
