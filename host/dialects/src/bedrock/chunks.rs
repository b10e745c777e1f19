//! Chunks of a stream of InvokeModel, of whatever family, as one reads them who changes their texts.
//!
//! A chunk holds an event of the family in base64. [`Texts::of_chunk`](crate::texts::Texts::of_chunk) finds
//! its texts; here is what it says of those that go on over several chunks: which of them end with it, and
//! how more of one is written. Shapes are those that `families` writes, and that its files name the source of.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::eventstream::Frame;
use crate::invalid::Invalid;
use crate::texts::{Origin, Piece, Texts};

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
    /// Whether a text has its end.
    pub fn are_of(&self, piece: &Piece) -> bool {
        match self {
            Self::All => true,
            Self::Of(numbers) => piece.block().is_some_and(|number| numbers.contains(&number)),
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
        // Nothing comes after AWS's own counts.
        if !event["amazon-bedrock-invocationMetrics"].is_null() {
            return Ends::All;
        }
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
            // Of several answers, each has its end.
            _ if event["is_finished"] == true => event["index"].as_u64(),
            _ => event.pointer("/contentBlockStop/contentBlockIndex").and_then(Value::as_u64),
        };
        if let Some(block) = block {
            return Ends::Of(vec![block]);
        }
        let ends = states(event)
            || event["is_finished"] == true
            || ["completionReason", "messageStop", "metadata"].iter().any(|name| !event[*name].is_null());
        if ends { Ends::All } else { Ends::Of(Vec::new()) }
    }

    /// Whether it signs the thoughts before it, which it does only as they came.
    pub fn is_signature(&self) -> bool {
        let reasoning = &self.event["contentBlockDelta"]["delta"]["reasoningContent"];
        self.event["delta"]["type"] == "signature_delta"
            || !reasoning["signature"].is_null()
            || !reasoning["reasoningText"]["signature"].is_null()
    }

    /// A chunk that goes on with a text of this one, and says nothing beside it a second time. None: there
    /// is no such text.
    pub fn going_on(&self, origin: Origin, piece: &Piece, text: &str) -> Result<Option<Frame>, Invalid> {
        if self.event["type"] == "content_block_start" {
            let delta = match origin {
                Origin::Reasoning => json!({"type": "thinking_delta", "thinking": text}),
                Origin::ToolInput => json!({"type": "input_json_delta", "partial_json": text}),
                _ => json!({"type": "text_delta", "text": text}),
            };
            let event = json!({"type": "content_block_delta", "index": piece.block(), "delta": delta});
            return Ok(Some(self.with(event.to_string().as_bytes())));
        }
        let texts = Texts::of_chunk(&self.json)?;
        let Some(place) = texts.all().iter().rposition(|text| text.is_of(origin, piece)) else { return Ok(None) };
        let marked: Value = Invalid::parse(&texts.replaced(&[(place, MARK.to_owned())]))?;
        Ok(only(&marked, 0, text).map(|event| self.with(event.to_string().as_bytes())))
    }

    /// The chunk with another event of the family in it.
    pub fn with(&self, event: &[u8]) -> Frame {
        let mut payload = self.payload.clone();
        payload["bytes"] = STANDARD.encode(event).into();
        Frame::event("chunk", payload.to_string().into_bytes())
    }
}

/// Stands for a text while the event around it is cut down.
const MARK: &str = "\u{fdd0}kairos\u{fdd1}";

/// Of an event only what leads to the marked text, with the text in its place, and the words that say what
/// kind of piece it is. Ids and names are said once: clients put those of several pieces together, too.
fn only(value: &Value, depth: usize, text: &str) -> Option<Value> {
    match value {
        Value::String(marked) => (marked == MARK).then(|| text.into()),
        Value::Array(items) => items.iter().find_map(|item| only(item, depth + 1, text)).map(|item| json!([item])),
        Value::Object(fields) => {
            let (name, inner) = fields.iter().find_map(|(name, value)| Some((name, only(value, depth + 1, text)?)))?;
            let is_call = fields.contains_key("function");
            let stays = |name: &str, value: &Value| match name {
                "type" | "event_type" => !is_call,
                "id" | "object" | "model" | "created" => depth == 0,
                _ => value.is_null() || name == "index" || name == "contentBlockIndex" || name == "is_finished",
            };
            let mut kept = Map::new();
            for (other, value) in fields {
                if other == name {
                    kept.insert(name.clone(), inner.clone());
                } else if stays(other, value) {
                    kept.insert(other.clone(), value.clone());
                }
            }
            Some(Value::Object(kept))
        }
        _ => None,
    }
}

/// An event, or a whole body, of a family after a guard has stopped the answer: no call of a tool is left to be
/// made. It says so where it is to be `marked`.
pub fn stopped(json: &Bytes, marked: bool) -> Result<Bytes, Invalid> {
    let mut event: Value = Invalid::parse(json)?;
    let mut is_changed = unask(&mut event);
    if let Some(event) = event.as_object_mut().filter(|_| marked) {
        event.insert(ACTION.to_owned(), "INTERVENED".into());
        is_changed = true;
    }
    Ok(if is_changed { event.to_string().into() } else { json.clone() })
}

/// What says that tools are to be called says that the answer has ended.
fn unask(value: &mut Value) -> bool {
    match value {
        Value::Array(items) => items.iter_mut().fold(false, |changed, item| unask(item) | changed),
        Value::Object(fields) => fields.iter_mut().fold(false, |changed, (name, value)| {
            let ended = match (name.as_str(), value.as_str()) {
                ("stop_reason" | "stopReason", Some("tool_use")) => "end_turn",
                ("finish_reason" | "stop_reason", Some("tool_calls" | "function_call")) => "stop",
                _ => return unask(value) | changed,
            };
            *value = ended.into();
            true
        }),
        _ => false,
    }
}
