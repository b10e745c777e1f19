//! The frames of ConverseStream.

use serde_json::Value;

use super::answer::{additional_fields, tail, tool_use_id};
use crate::conversation::PER_TOOL_USE;
use crate::eventstream::{Message, frame};
use crate::generation::Generation;
use crate::json::{field, raw, string};
use crate::reply::Said;
use crate::script::{Frame, Frames, Part};
use crate::tokens;

/// Tokens in a piece of content.
pub(crate) const PIECE: u32 = 4;

/// All of them, in order.
pub(crate) fn events(generation: &Generation, native: Option<&Value>) -> Vec<Frame> {
    let mut frames = Frames::new(generation.reply.tokens);
    event(&mut frames, Part::Structure, "messageStart", 0, |out| {
        raw(out, format_args!(r#"{{"role":"assistant"}}"#));
    });
    for (index, said) in generation.reply.blocks.iter().enumerate() {
        block(&mut frames, index, said);
        event(&mut frames, Part::Structure, "contentBlockStop", 0, |out| {
            raw(out, format_args!(r#"{{"contentBlockIndex":{index}}}"#));
        });
    }
    event(&mut frames, Part::Structure, "messageStop", 0, |out| {
        raw(out, format_args!(r#"{{"stopReason":"{}""#, generation.reply.stop.name()));
        if let Some(fields) = additional_fields(generation, native) {
            raw(out, format_args!(r#","additionalModelResponseFields":{fields}"#));
        }
        out.push(b'}');
    });
    let mut metadata = Vec::with_capacity(256);
    tail(generation, &mut metadata);
    // What follows other fields in an answer comes first here.
    metadata[0] = b'{';
    metadata.push(b'}');
    frames.finish(frame(Message::Event("metadata"), &metadata), None)
}

fn event(frames: &mut Frames, part: Part, name: &str, tokens: u32, write: impl FnOnce(&mut Vec<u8>)) {
    let mut payload = Vec::with_capacity(128);
    write(&mut payload);
    frames.push(part, frame(Message::Event(name), &payload), tokens);
}

/// One piece of a block; `key` is where the delta has it.
fn delta(frames: &mut Frames, index: usize, (open, close): (&str, &str), text: &str, tokens: u32) {
    event(frames, Part::Content, "contentBlockDelta", tokens, |out| {
        raw(out, format_args!(r#"{{"delta":{open}"#));
        string(out, text);
        raw(out, format_args!(r#"{close},"contentBlockIndex":{index}}}"#));
    });
}

fn block(frames: &mut Frames, index: usize, said: &Said) {
    match said {
        // Text has no start event.
        Said::Text(text) => {
            for (piece, tokens) in tokens::pieces(text, PIECE) {
                delta(frames, index, (r#"{"text":"#, "}"), piece, tokens);
            }
        }
        Said::Reasoning { text, signature } => {
            for (piece, tokens) in tokens::pieces(text, PIECE) {
                delta(frames, index, (r#"{"reasoningContent":{"text":"#, "}}"), piece, tokens);
            }
            if let Some(signature) = signature {
                delta(frames, index, (r#"{"reasoningContent":{"signature":"#, "}}"), signature, 0);
            }
        }
        Said::Tool { serial, name, input } => {
            let id = tool_use_id(*serial);
            let tokens = PER_TOOL_USE.saturating_add(tokens::count(name));
            event(frames, Part::Structure, "contentBlockStart", tokens, |out| {
                raw(out, format_args!(r#"{{"start":{{"toolUse":{{"toolUseId":"{id}""#));
                field(out, "name", name);
                raw(out, format_args!(r#"}}}},"contentBlockIndex":{index}}}"#));
            });
            for (piece, tokens) in arguments(input) {
                delta(frames, index, (r#"{"toolUse":{"input":"#, "}}"), piece, tokens);
            }
        }
    }
}

/// Arguments in pieces. The first is empty, as Claude's are, and the only one where there are none.
pub(crate) fn arguments(input: &str) -> impl Iterator<Item = (&str, u32)> {
    let (all, first) = if input == "{}" { ("", tokens::count(input)) } else { (input, 0) };
    std::iter::once(("", first)).chain(tokens::pieces(all, PIECE))
}
