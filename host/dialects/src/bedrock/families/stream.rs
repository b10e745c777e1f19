//! Writes the events of an answer as the chunks that a family's callers read: frames of Bedrock's
//! event stream, each with an event of the family in base64.
//!
//! A family's last chunk says why the model stopped, what it counted and what AWS measured, so that it
//! waits for the usage: [`ChunkWriter::finish`] writes it.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::shape::{Call, Codec, Head, Said, Shape};
use super::{chat, claude, command, deepseek, llama, mistral, nova, titan};
use crate::answer::{Event, StopReason};
use crate::eventstream;
use crate::usage::Usage;

/// How long an answer took, in milliseconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Timing {
    /// To its end.
    pub latency_ms: u64,
    /// To its first content.
    pub first_byte_ms: u64,
}

/// Numbers of blocks that are being written, in the order in which they began.
#[derive(Debug, Default)]
pub(super) struct Open {
    blocks: Vec<(u32, u32)>,
    next: u32,
}

impl Open {
    /// The number of a block, and whether it begins.
    pub(super) fn index(&mut self, block: u32) -> (u32, bool) {
        if let Some((_, index)) = self.blocks.iter().find(|(known, _)| *known == block) {
            return (*index, false);
        }
        let index = self.next;
        self.next += 1;
        self.blocks.push((block, index));
        (index, true)
    }

    /// The number of a block that ends, if it began.
    pub(super) fn close(&mut self, block: u32) -> Option<u32> {
        let place = self.blocks.iter().position(|(known, _)| *known == block)?;
        Some(self.blocks.remove(place).1)
    }
}

/// Writes one answer.
pub struct ChunkWriter {
    shape: Arc<Shape>,
    request_id: String,
    model: String,
    started: bool,
    open: Open,
    /// The text so far, for a family whose last event repeats it.
    text: String,
    calls: Vec<Call>,
    stop: Option<StopReason>,
}

impl ChunkWriter {
    /// A writer for one answer.
    pub fn new(shape: Arc<Shape>, head: Head<'_>) -> Self {
        Self {
            shape,
            request_id: head.request_id.to_owned(),
            model: head.model.to_owned(),
            started: false,
            open: Open::default(),
            text: String::new(),
            calls: Vec::new(),
            stop: None,
        }
    }

    /// Appends what an event comes to: several chunks, or none.
    pub fn event(&mut self, event: &Event<'_>, out: &mut Vec<u8>) {
        let mut chunks = Vec::new();
        match (&self.shape.codec, event) {
            (_, Event::MessageStop(reason)) => self.stop = Some(reason.clone()),
            (Codec::Claude, _) => claude::event(event, &mut self.open, &mut chunks),
            (Codec::Nova, _) => nova::event(event, &mut chunks),
            (_, Event::Text { text, .. }) => chunks.push(self.piece(text)),
            (_, Event::ToolStart { block, id, name }) => self.calls.push(Call {
                block: *block,
                id: id.to_string(),
                name: name.to_string(),
                input: String::new(),
            }),
            (_, Event::ToolInput { block, json }) => {
                if let Some(call) = self.calls.iter_mut().rev().find(|call| call.block == *block) {
                    call.input.push_str(json);
                }
            }
            _ => {}
        }
        if !chunks.is_empty() {
            self.start(out);
        }
        for chunk in &chunks {
            write(chunk, out);
        }
    }

    /// A piece of text, in a family whose chunks are all alike.
    fn piece(&mut self, text: &str) -> Value {
        let first = !std::mem::replace(&mut self.started, true);
        let head = Head { request_id: &self.request_id, model: &self.model };
        match &self.shape.codec {
            Codec::Titan => titan::piece(text),
            Codec::Llama => llama::piece(text),
            Codec::MistralText => mistral::piece(text),
            Codec::DeepseekText { thinks } if first => {
                deepseek::piece(&format!("{}{text}", deepseek::opening(*thinks)))
            }
            Codec::DeepseekText { .. } => deepseek::piece(text),
            Codec::Chat(style) => chat::piece(*style, head, text),
            Codec::Command { .. } => {
                self.text.push_str(text);
                command::piece(text)
            }
            Codec::Claude | Codec::Nova | Codec::Jurassic { .. } => Value::Null,
        }
    }

    /// The event that opens a stream, in the families that have one.
    fn start(&mut self, out: &mut Vec<u8>) {
        if std::mem::replace(&mut self.started, true) {
            return;
        }
        match &self.shape.codec {
            Codec::Claude => write(&claude::start(Head { request_id: &self.request_id, model: &self.model }), out),
            Codec::Nova => write(&nova::start(), out),
            _ => {}
        }
    }

    /// Appends the end of an answer that is whole. Without usage nothing of it is stated.
    pub fn finish(&mut self, usage: Option<Usage>, timing: Timing, out: &mut Vec<u8>) {
        let stop = self.stop.take().unwrap_or(StopReason::EndTurn);
        if matches!(&self.shape.codec, Codec::DeepseekText { .. }) && !self.started {
            // The opening belongs to the text, even to none.
            let opening = self.piece("");
            write(&opening, out);
        }
        self.start(out);
        let head = Head { request_id: &self.request_id, model: &self.model };
        let text = std::mem::take(&mut self.text);
        let said = Said { text, calls: std::mem::take(&mut self.calls), stop: &stop, usage };
        let mut chunks = match &self.shape.codec {
            Codec::Claude => claude::last(&stop, usage).to_vec(),
            Codec::Nova => nova::last(&stop, usage).to_vec(),
            Codec::Titan => vec![titan::last(&stop, usage)],
            Codec::Llama => vec![llama::last(&stop, usage)],
            Codec::MistralText => vec![mistral::last(&stop)],
            Codec::DeepseekText { .. } => vec![deepseek::last(&stop)],
            Codec::Chat(style) => vec![chat::last(*style, head, &said)],
            Codec::Command { history } => vec![command::last(head, history, &said)],
            // It has no streams: its reader refuses them.
            Codec::Jurassic { .. } => Vec::new(),
        };
        if let Some(last) = chunks.last_mut() {
            self.shape.add_guardrail(&stop, last);
            if let Some(usage) = usage {
                last["amazon-bedrock-invocationMetrics"] = metrics(usage, timing);
            }
        }
        for chunk in &chunks {
            write(chunk, out);
        }
    }
}

/// What AWS states in a stream's last chunk.
fn metrics(usage: Usage, timing: Timing) -> Value {
    let mut metrics = json!({
        "inputTokenCount": usage.input,
        "outputTokenCount": usage.output,
        "invocationLatency": timing.latency_ms,
        "firstByteLatency": timing.first_byte_ms,
    });
    if usage.cache_read > 0 || usage.cache_write() > 0 {
        metrics["cacheReadInputTokenCount"] = json!(usage.cache_read);
        metrics["cacheWriteInputTokenCount"] = json!(usage.cache_write());
    }
    metrics
}

/// A chunk as a frame.
fn write(chunk: &Value, out: &mut Vec<u8>) {
    let payload = json!({"bytes": STANDARD.encode(chunk.to_string())}).to_string();
    let headers = [(":event-type", "chunk"), (":content-type", "application/json"), (":message-type", "event")];
    out.extend_from_slice(&eventstream::encode(&headers, payload.as_bytes()));
}
