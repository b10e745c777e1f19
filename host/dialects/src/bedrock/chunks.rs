//! Chunks of a stream of InvokeModel, of whatever family, as one reads them who changes their texts.
//!
//! A chunk holds an event of the family in base64. [`Texts::of_chunk`](crate::texts::Texts::of_chunk) finds
//! its texts; here is what it says of those that go on over several chunks: which of them end with it, and
//! how more of one is written. Shapes are those that `families` writes, and that its files name the source of.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Value, json};

use crate::eventstream::Frame;
use crate::invalid::Invalid;
use crate::texts::Origin;

/// What a body or a chunk says of a guardrail's doing, wherever Bedrock's own had one.
const ACTION: &str = "amazon-bedrock-guardrailAction";

/// A chunk.
#[derive(Clone, Debug)]
pub struct Chunk {
    payload: Value,
    json: Bytes,
    event: Value,
}

/// Which texts, of those that came in pieces, have their end with a chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ends {
    /// All.
    All,
    /// Those of the blocks, or of the choices, of these numbers.
    Of(Vec<u64>),
}

impl Ends {
    /// Whether a text has its end, by its numbers: see [`Text::piece`](crate::texts::Text::piece).
    pub fn are_of(&self, piece: &[u64]) -> bool {
        match self {
            Self::All => true,
            Self::Of(numbers) => piece.last().is_some_and(|number| numbers.contains(number)),
        }
    }
}

impl Chunk {
    /// Reads the payload of a `chunk` event.
    pub fn read(payload: &[u8]) -> Result<Self, Invalid> {
        let payload: Value = Invalid::parse(payload)?;
        let bytes = payload["bytes"].as_str().unwrap_or_default();
        let json: Bytes =
            STANDARD.decode(bytes).map_err(|error| Invalid::value("bytes", format!("not base64: {error}")))?.into();
        let event = Invalid::parse(&json)?;
        Ok(Self { payload, json, event })
    }

    /// A chunk with this event of the family in it.
    pub fn of(json: Bytes) -> Result<Self, Invalid> {
        let event = Invalid::parse(&json)?;
        Ok(Self { payload: json!({}), json, event })
    }

    /// The family's event.
    pub fn json(&self) -> &Bytes {
        &self.json
    }

    /// Which texts end here, though the chunk may still bring the last piece of one.
    pub fn ends(&self) -> Ends {
        let event = &self.event;
        let states = |value: &Value| ["finish_reason", "stop_reason"].iter().any(|name| !value[*name].is_null());
        if let Some(choices) = event["choices"].as_array().or_else(|| event["outputs"].as_array())
            && !choices.is_empty()
        {
            let ended = choices.iter().zip(0..).filter(|(choice, _)| states(choice));
            return Ends::Of(ended.map(|(choice, place)| choice["index"].as_u64().unwrap_or(place)).collect());
        }
        let block = match event["type"].as_str() {
            Some("content_block_stop") => event["index"].as_u64(),
            Some("message_delta" | "message_stop") => return Ends::All,
            _ if self.is_signature() => {
                event["index"].as_u64().or_else(|| event.pointer("/contentBlockDelta/contentBlockIndex")?.as_u64())
            }
            _ => event.pointer("/contentBlockStop/contentBlockIndex").and_then(Value::as_u64),
        };
        if let Some(block) = block {
            return Ends::Of(vec![block]);
        }
        let ends = states(event)
            || event["is_finished"] == true
            || ["completionReason", "messageStop", "metadata", "amazon-bedrock-invocationMetrics"]
                .iter()
                .any(|name| !event[*name].is_null());
        if ends { Ends::All } else { Ends::Of(Vec::new()) }
    }

    /// Whether it signs the thoughts before it, which it does only as they came.
    pub fn is_signature(&self) -> bool {
        let reasoning = &self.event["contentBlockDelta"]["delta"]["reasoningContent"];
        self.event["delta"]["type"] == "signature_delta"
            || !reasoning["signature"].is_null()
            || !reasoning["reasoningText"]["signature"].is_null()
    }

    /// An event that goes on with a text of this one, named by its origin and its block, and says nothing
    /// beside it a second time. The texts in it are still those that were there.
    pub fn going_on(mut self, origin: Origin, block: u64) -> Value {
        if self.event["type"] == "content_block_start" {
            let delta = match origin {
                Origin::Reasoning => json!({"type": "thinking_delta", "thinking": ""}),
                Origin::ToolInput => json!({"type": "input_json_delta", "partial_json": ""}),
                _ => json!({"type": "text_delta", "text": ""}),
            };
            return json!({"type": "content_block_delta", "index": block, "delta": delta});
        }
        // Clients put the names of a call together, too.
        let calls = self.event["choices"].as_array_mut().into_iter().flatten();
        let calls = calls.filter_map(|choice| {
            let message = if choice["delta"].is_null() { "message" } else { "delta" };
            choice.get_mut(message)?.get_mut("tool_calls")?.as_array_mut()
        });
        for call in calls.flatten().filter_map(Value::as_object_mut) {
            call.retain(|name, _| name != "id" && name != "type");
            if let Some(function) = call.get_mut("function").and_then(Value::as_object_mut) {
                function.retain(|name, _| name != "name");
            }
        }
        if let Some(call) = self.event.get_mut("tool_call_delta").and_then(Value::as_object_mut) {
            call.retain(|name, _| name != "name");
        }
        self.event
    }

    /// The chunk with another event of the family in it.
    pub fn with(&self, event: &[u8]) -> Frame {
        let mut payload = self.payload.clone();
        payload["bytes"] = STANDARD.encode(event).into();
        Frame::event("chunk", payload.to_string().into_bytes())
    }
}

/// An event, or a whole body, of a family that says that a guard ended the answer.
pub fn intervened(json: &[u8]) -> Result<Bytes, Invalid> {
    let mut event: Value = Invalid::parse(json)?;
    if let Some(event) = event.as_object_mut() {
        event.insert(ACTION.to_owned(), "INTERVENED".into());
    }
    Ok(event.to_string().into())
}
