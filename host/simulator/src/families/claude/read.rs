//! From a Messages body to a conversation.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::blocks::{self, cache_point};
use crate::conversation::{Block, Choice, Conversation, Role, Tool, Turn};
use crate::converse::read_additional;
use crate::error::ApiError;

const VERSION: &str = "bedrock-2023-05-31";

/// What Claude knows at the top of a body; anything else it refuses.
const FIELDS: &[&str] = &[
    "anthropic_beta",
    "anthropic_version",
    "container",
    "context_management",
    "cache_control",
    "max_tokens",
    "messages",
    "metadata",
    "output_config",
    "output_format",
    "service_tier",
    "stop_sequences",
    "system",
    "temperature",
    "thinking",
    "tool_choice",
    "tools",
    "top_k",
    "top_p",
];

pub(super) type Result<T> = std::result::Result<T, ApiError>;

/// Anthropic's complaint about a place in the body.
pub(super) fn wrong(place: impl std::fmt::Display, what: impl std::fmt::Display) -> ApiError {
    ApiError::validation(format!("{place}: {what}"))
}

pub(super) fn required(place: impl std::fmt::Display) -> ApiError {
    wrong(place, "Field required")
}

/// A string that has to be there.
pub(super) fn text<'a>(fields: &'a Map<String, Value>, name: &str, place: &dyn std::fmt::Display) -> Result<&'a str> {
    match fields.get(name) {
        Some(Value::String(text)) => Ok(text),
        None | Some(Value::Null) => Err(required(format_args!("{place}.{name}"))),
        Some(_) => Err(wrong(format_args!("{place}.{name}"), "Input should be a valid string")),
    }
}

/// Reads a body that is JSON already.
pub(crate) fn read(body: &Value) -> Result<Conversation<'_>> {
    let Value::Object(fields) = body else {
        return Err(ApiError::validation(
            "Malformed input request: expected type: JSONObject, please reformat your input and try \
             again.",
        ));
    };
    if let Some(stray) = fields.keys().find(|name| !FIELDS.contains(&name.as_str())) {
        return Err(wrong(stray, "Extra inputs are not permitted"));
    }
    let present = |name: &str| fields.get(name).filter(|value| !value.is_null());
    match present("anthropic_version") {
        None => return Err(required("anthropic_version")),
        Some(version) if version == VERSION => {}
        Some(_) => {
            return Err(wrong("anthropic_version", format_args!("Input should be '{VERSION}'")));
        }
    }
    let mut conversation = Conversation { max_tokens: Some(max_tokens(fields)?), ..Default::default() };
    system(present("system"), &mut conversation)?;
    tools(present("tools"), &mut conversation)?;
    choice(present("tool_choice"), &mut conversation)?;
    messages(fields.get("messages"), &mut conversation)?;
    sampling(fields, &mut conversation)?;
    stop_sequences(present("stop_sequences"), &mut conversation)?;
    read_additional(body, &mut conversation)?;
    if conversation.cache_points().count() > 4 {
        return Err(ApiError::validation("A maximum of 4 blocks with cache_control may be provided."));
    }
    Ok(conversation)
}

fn max_tokens(fields: &Map<String, Value>) -> Result<u32> {
    let place = "max_tokens";
    let asked = fields.get(place).filter(|v| !v.is_null()).ok_or_else(|| required(place))?;
    let asked = asked.as_i64().ok_or_else(|| wrong(place, "Input should be a valid integer"))?;
    u32::try_from(asked)
        .ok()
        .filter(|n| *n > 0)
        .ok_or_else(|| wrong(place, "Input should be greater than or equal to 1"))
}

fn system<'a>(given: Option<&'a Value>, into: &mut Conversation<'a>) -> Result<()> {
    match given {
        None => {}
        Some(Value::String(text)) if text.is_empty() => {}
        Some(Value::String(text)) => into.system.push(Block::Text(text.into())),
        Some(Value::Array(items)) => {
            for (at, item) in items.iter().enumerate() {
                blocks::push(item, &format_args!("system.{at}"), &mut into.system)?;
            }
        }
        Some(_) => return Err(wrong("system", "Input should be a valid string or list")),
    }
    Ok(())
}

fn tools<'a>(given: Option<&'a Value>, into: &mut Conversation<'a>) -> Result<()> {
    let items = match given {
        None => return Ok(()),
        Some(Value::Array(items)) => items,
        Some(_) => return Err(wrong("tools", "Input should be a valid list")),
    };
    for (at, item) in items.iter().enumerate() {
        let place = format_args!("tools.{at}");
        let Value::Object(tool) = item else {
            return Err(wrong(place, "Input should be a valid dictionary"));
        };
        let name = text(tool, "name", &place)?;
        // Tools that Anthropic defines have a type and bring their own schema.
        let own = tool.get("type").is_none_or(|kind| kind == "custom" || kind.is_null());
        let schema = match tool.get("input_schema") {
            Some(schema @ Value::Object(_)) => schema.clone(),
            None if !own => serde_json::json!({"type": "object"}),
            None => return Err(required(format_args!("{place}.input_schema"))),
            Some(_) => {
                let place = format_args!("{place}.input_schema");
                return Err(wrong(place, "Input should be a valid dictionary"));
            }
        };
        if into.tool_names().any(|known| known == name) {
            return Err(wrong("tools", "Tool names must be unique."));
        }
        let description = tool.get("description").and_then(Value::as_str).unwrap_or_default();
        into.tools.push(Tool::Spec { name: name.into(), description: description.into(), schema });
        if let Some(ttl) = cache_point(tool, &place)? {
            into.tools.push(Tool::CachePoint(ttl));
        }
    }
    Ok(())
}

fn choice<'a>(given: Option<&'a Value>, into: &mut Conversation<'a>) -> Result<()> {
    let place = "tool_choice";
    let choice = match given {
        None => return Ok(()),
        Some(Value::Object(choice)) => choice,
        Some(_) => return Err(wrong(place, "Input should be a valid dictionary")),
    };
    into.one_tool_at_most = choice.get("disable_parallel_tool_use").and_then(Value::as_bool).unwrap_or(false);
    into.choice = match text(choice, "type", &place)? {
        "auto" => Choice::Auto,
        "any" => Choice::Any,
        "none" => Choice::Never,
        "tool" => {
            let name = text(choice, "name", &place)?;
            if !into.tool_names().any(|known| known == name) {
                return Err(wrong("tool_choice", format_args!("Tool '{name}' not found in provided tools")));
            }
            Choice::Named(name.into())
        }
        other => {
            let what = "does not match any of the expected tags: 'auto', 'any', 'tool', 'none'";
            return Err(wrong(place, format_args!("Input tag '{other}' found using 'type' {what}")));
        }
    };
    Ok(())
}

fn messages<'a>(given: Option<&'a Value>, into: &mut Conversation<'a>) -> Result<()> {
    let items = match given {
        None | Some(Value::Null) => return Err(required("messages")),
        Some(Value::Array(items)) => items,
        Some(_) => return Err(wrong("messages", "Input should be a valid list")),
    };
    for (at, item) in items.iter().enumerate() {
        let place = format_args!("messages.{at}");
        let Value::Object(message) = item else {
            return Err(wrong(place, "Input should be a valid dictionary"));
        };
        let role = match text(message, "role", &place)? {
            "user" => Role::User,
            "assistant" => Role::Assistant,
            "system" => Role::System,
            _ => {
                return Err(wrong(format_args!("{place}.role"), "Input should be 'user' or 'assistant'"));
            }
        };
        let mut said = Vec::new();
        content(message.get("content"), &place, &mut said)?;
        if said.is_empty() && !(role == Role::Assistant && at + 1 == items.len()) {
            return Err(wrong(
                place,
                "all messages must have non-empty content except for the optional final assistant \
                 message",
            ));
        }
        match into.turns.last_mut() {
            // Messages of one role in a row are one.
            Some(last) if last.role == role => last.blocks.append(&mut said),
            _ => into.turns.push(Turn { role, blocks: said }),
        }
    }
    match into.turns.iter().find(|turn| turn.role != Role::System) {
        None => Err(wrong("messages", "at least one message is required")),
        Some(first) if first.role != Role::User => Err(wrong("messages", "first message must use the \"user\" role")),
        Some(_) => blocks::pair_up(into),
    }
}

/// Text, or a list of blocks.
pub(super) fn content<'a>(
    given: Option<&'a Value>,
    place: &dyn std::fmt::Display,
    into: &mut Vec<Block<'a>>,
) -> Result<()> {
    match given {
        None | Some(Value::Null) => Err(required(format_args!("{place}.content"))),
        Some(Value::String(text)) => {
            if !text.is_empty() {
                into.push(Block::Text(Cow::Borrowed(text)));
            }
            Ok(())
        }
        Some(Value::Array(items)) => items
            .iter()
            .enumerate()
            .try_for_each(|(at, item)| blocks::push(item, &format_args!("{place}.content.{at}"), into)),
        Some(_) => Err(wrong(format_args!("{place}.content"), "Input should be a valid string or list")),
    }
}

fn sampling(fields: &Map<String, Value>, into: &mut Conversation<'_>) -> Result<()> {
    for (name, usual) in [("temperature", 1.0), ("top_p", 0.99)] {
        let Some(value) = fields.get(name).filter(|value| !value.is_null()) else {
            continue;
        };
        let value = value.as_f64().ok_or_else(|| wrong(name, "Input should be a valid number"))?;
        if value < 0.0 {
            return Err(wrong(name, "Input should be greater than or equal to 0"));
        }
        if value > 1.0 {
            return Err(wrong(name, "Input should be less than or equal to 1"));
        }
        into.sampling |= value < usual;
    }
    Ok(())
}

fn stop_sequences<'a>(given: Option<&'a Value>, into: &mut Conversation<'a>) -> Result<()> {
    let place = "stop_sequences";
    let items = match given {
        None => return Ok(()),
        Some(Value::Array(items)) => items,
        Some(_) => return Err(wrong(place, "Input should be a valid list")),
    };
    for (at, item) in items.iter().enumerate() {
        match item {
            Value::String(stop) if stop.trim().is_empty() => {
                return Err(wrong(place, "each stop sequence must contain non-whitespace"));
            }
            Value::String(stop) => into.stop.push(stop.into()),
            _ => {
                let place = format_args!("{place}.{at}");
                return Err(wrong(place, "Input should be a valid string"));
            }
        }
    }
    Ok(())
}
