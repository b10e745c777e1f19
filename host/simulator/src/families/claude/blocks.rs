//! The content blocks of a Messages body.

use std::fmt::Display;

use serde_json::{Map, Value};

use super::read::{Result, content, required, text, wrong};
use crate::attachment;
use crate::conversation::{Block, Conversation, Media, MediaKind, Role, Ttl};
use crate::error::ApiError;
use crate::tokens;

/// The mark to cache up to here, which may stand on any block.
pub(super) fn cache_point(fields: &Map<String, Value>, place: &dyn Display) -> Result<Option<Ttl>> {
    let control = match fields.get("cache_control") {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Object(control)) => control,
        Some(_) => {
            let place = format_args!("{place}.cache_control");
            return Err(wrong(place, "Input should be a valid dictionary"));
        }
    };
    if control.get("type").and_then(Value::as_str) != Some("ephemeral") {
        return Err(wrong(
            format_args!("{place}.cache_control"),
            "Input tag found using 'type' does not match any of the expected tags: 'ephemeral'",
        ));
    }
    match control.get("ttl").map(Value::as_str) {
        None | Some(Some("5m")) => Ok(Some(Ttl::FiveMinutes)),
        Some(Some("1h")) => Ok(Some(Ttl::OneHour)),
        _ => {
            let place = format_args!("{place}.cache_control.ephemeral.ttl");
            Err(wrong(place, "Input should be '5m' or '1h'"))
        }
    }
}

/// Adds a block, and its cache point if it has one.
pub(super) fn push<'a>(item: &'a Value, place: &dyn Display, into: &mut Vec<Block<'a>>) -> Result<()> {
    let Value::Object(fields) = item else {
        return Err(wrong(place, "Input should be a valid dictionary"));
    };
    into.push(block(fields, place)?);
    if let Some(ttl) = cache_point(fields, place)? {
        into.push(Block::CachePoint(ttl));
    }
    Ok(())
}

fn block<'a>(fields: &'a Map<String, Value>, place: &dyn Display) -> Result<Block<'a>> {
    Ok(match text(fields, "type", place)? {
        "text" => {
            let said = text(fields, "text", &format_args!("{place}.text"))?;
            if said.trim().is_empty() {
                return Err(ApiError::validation("messages: text content blocks must contain non-whitespace text"));
            }
            Block::Text(said.into())
        }
        "image" => source(MediaKind::Image, fields, place)?,
        "document" => source(MediaKind::Document, fields, place)?,
        "tool_use" => tool_use(fields, &format_args!("{place}.tool_use"))?,
        "tool_result" => tool_result(fields, &format_args!("{place}.tool_result"))?,
        "thinking" => Block::Reasoning(text(fields, "thinking", place)?.into()),
        "redacted_thinking" => {
            let bytes = attachment::decode(text(fields, "data", place)?)
                .map_err(|e| wrong(format_args!("{place}.data"), e.message))?;
            let tokens = tokens::binary_document(bytes.len());
            Block::Media(Media::new(MediaKind::Redacted, tokens, &bytes))
        }
        "search_result" => {
            let (title, from) = (text(fields, "title", place)?, text(fields, "source", place)?);
            let mut all = vec![title, from];
            if let Some(Value::Array(parts)) = fields.get("content") {
                all.extend(parts.iter().filter_map(|p| p.get("text").and_then(Value::as_str)));
            }
            Block::Text(all.join("\n").into())
        }
        other => {
            return Err(wrong(
                place,
                format_args!(
                    "Input tag '{other}' found using 'type' does not match any of the expected \
                     tags: 'document', 'image', 'redacted_thinking', 'search_result', 'text', \
                     'thinking', 'tool_result', 'tool_use'"
                ),
            ));
        }
    })
}

fn tool_use<'a>(fields: &'a Map<String, Value>, place: &dyn Display) -> Result<Block<'a>> {
    let input = match fields.get("input") {
        Some(input @ Value::Object(_)) => input.clone(),
        None => return Err(required(format_args!("{place}.input"))),
        Some(_) => {
            return Err(wrong(format_args!("{place}.input"), "Input should be a valid dictionary"));
        }
    };
    let (id, name) = (text(fields, "id", place)?, text(fields, "name", place)?);
    Ok(Block::ToolUse { id: id.into(), name: name.into(), input })
}

fn tool_result<'a>(fields: &'a Map<String, Value>, place: &dyn Display) -> Result<Block<'a>> {
    let id = text(fields, "tool_use_id", place)?;
    let mut parts = Vec::new();
    if fields.get("content").is_some_and(|given| !given.is_null()) {
        content(fields.get("content"), place, &mut parts)?;
    }
    let failed = fields.get("is_error").and_then(Value::as_bool).unwrap_or(false);
    Ok(Block::ToolResult { id: id.into(), parts, failed })
}

/// An attachment by value or by address.
fn source<'a>(kind: MediaKind, fields: &'a Map<String, Value>, place: &dyn Display) -> Result<Block<'a>> {
    let name = if kind == MediaKind::Image { "image" } else { "document" };
    let place = format_args!("{place}.{name}.source");
    let Some(Value::Object(source)) = fields.get("source") else {
        return Err(required(place));
    };
    match text(source, "type", &place)? {
        "base64" => {
            let media_type = text(source, "media_type", &place)?;
            let format = match (kind, media_type.split_once('/')) {
                (MediaKind::Image, Some(("image", format @ ("png" | "jpeg" | "gif" | "webp")))) => format,
                (MediaKind::Document, Some(("application", "pdf"))) => "pdf",
                (MediaKind::Document, Some(("text", "plain"))) => "txt",
                _ => {
                    return Err(wrong(
                        format_args!("{place}.base64.media_type"),
                        format_args!("'{media_type}' is not supported"),
                    ));
                }
            };
            let bytes = attachment::decode(text(source, "data", &place)?)
                .map_err(|e| wrong(format_args!("{place}.base64.data"), e.message))?;
            Ok(attachment::block(kind, format, &bytes))
        }
        "text" if kind == MediaKind::Document => Ok(attachment::text(text(source, "data", &place)?)),
        "content" if kind == MediaKind::Document => {
            let parts = source.get("content").and_then(Value::as_array);
            let texts: String =
                parts.into_iter().flatten().filter_map(|part| part.get("text").and_then(Value::as_str)).collect();
            Ok(attachment::text(&texts))
        }
        "url" => {
            let url = text(source, "url", &place)?;
            Ok(Block::Media(Media::new(kind, tokens::ELSEWHERE, url.as_bytes())))
        }
        other => Err(wrong(place, format_args!("Input tag '{other}' found using 'type' is unknown"))),
    }
}

/// Checks that every call has its result in the next message, and every result its call.
pub(super) fn pair_up(conversation: &Conversation<'_>) -> Result<()> {
    let mut open: Vec<&str> = Vec::new();
    let last = conversation.turns.len().saturating_sub(1);
    for (at, turn) in conversation.turns.iter().enumerate() {
        if turn.role == Role::System {
            continue;
        }
        let mut answered = Vec::new();
        let mut calls: Vec<&str> = Vec::new();
        for block in &turn.blocks {
            match block {
                Block::ToolUse { id, .. } => calls.push(id),
                Block::ToolResult { id, .. } => {
                    if !open.contains(&&**id) {
                        return Err(wrong(
                            format_args!("messages.{at}.content"),
                            format_args!(
                                "unexpected `tool_use_id` found in `tool_result` blocks: {id}. Each \
                                 `tool_result` block must have a corresponding `tool_use` block in \
                                 the previous message."
                            ),
                        ));
                    }
                    answered.push(&**id);
                }
                _ => {}
            }
        }
        let missing: Vec<&str> = open.iter().copied().filter(|id| !answered.contains(id)).collect();
        if !missing.is_empty() {
            return Err(without_results(at.saturating_sub(1), &missing));
        }
        open = calls;
    }
    if open.is_empty() { Ok(()) } else { Err(without_results(last, &open)) }
}

fn without_results(at: usize, ids: &[&str]) -> ApiError {
    wrong(
        format_args!("messages.{at}"),
        format_args!(
            "`tool_use` ids were found without `tool_result` blocks immediately after: {}. Each \
             `tool_use` block must have a corresponding `tool_result` block in the next message.",
            ids.join(", ")
        ),
    )
}
