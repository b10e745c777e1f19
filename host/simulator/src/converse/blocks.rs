//! The blocks of messages and system prompts.
//!
//! Whether they may stand where they stand is not known here, nor what a model makes of them.

use std::borrow::Cow;
use std::fmt::Display;

use serde_json::Value;

use super::complaint::{absent, constraint, not_an_object, one_of};
use super::tools::check_name;
use super::wire;
use crate::attachment::{self, decode};
use crate::conversation::{Block, Media, MediaKind, Ttl, canonical_json};
use crate::error::ApiError;
use crate::tokens;

type Result<T> = std::result::Result<T, ApiError>;

/// Where a block stands, for messages; written only when something is wrong.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) message: usize,
    pub(super) block: usize,
}

impl Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "messages.{}.content.{}", self.message, self.block)
    }
}

pub(super) fn content_block<'a>(block: wire::Content<'a>, place: Place) -> Result<Block<'a>> {
    let wire::Content {
        text,
        image,
        document,
        video,
        audio,
        tool_use,
        tool_result,
        guard_content,
        cache_point,
        reasoning_content,
        citations_content,
        search_result,
        tool_addition,
        tool_removal,
    } = block;
    let mut found = [
        text.map(|t| text_block(t, place)),
        image.map(|a| media(MediaKind::Image, *a, &place)),
        document.map(|a| media(MediaKind::Document, *a, &place)),
        video.map(|a| media(MediaKind::Video, *a, &place)),
        audio.map(|a| media(MediaKind::Audio, *a, &place)),
        tool_use.map(|t| used(*t, place)),
        tool_result.map(|t| result(*t, place)),
        guard_content.map(|g| guarded(*g, &place)),
        cache_point.map(|c| cache_point_ttl(&c, &place).map(Block::CachePoint)),
        reasoning_content.map(|r| reasoning(*r, &place)),
        citations_content.map(|c| Ok(joined(c.content))),
        search_result.map(|s| searched(*s, &place)),
        tool_addition.or(tool_removal).map(|t| changed(*t, &place)),
    ]
    .into_iter()
    .flatten();
    match (found.next(), found.next()) {
        (Some(block), None) => block,
        (None, _) => Err(ApiError::validation(format!(
            "The ContentBlock object at {place} must set one of the following keys: text, image, \
             document, video, audio, toolUse, toolResult, guardContent, cachePoint, \
             reasoningContent, citationsContent, searchResult."
        ))),
        (Some(_), Some(_)) => Err(ApiError::validation(format!(
            "The ContentBlock object at {place} sets more than one key. Set exactly one."
        ))),
    }
}

fn text_block(text: wire::Str<'_>, place: Place) -> Result<Block<'_>> {
    if text.trim().is_empty() {
        return Err(ApiError::validation(format!(
            "The text field in the ContentBlock object at {place} is blank. Add text to the text \
             field, and try again."
        )));
    }
    Ok(Block::Text(text.0))
}

fn joined<'a>(texts: Option<Vec<wire::TextOnly<'a>>>) -> Block<'a> {
    let all: String = texts.unwrap_or_default().into_iter().filter_map(|t| t.text).map(|t| t.0).collect();
    Block::Text(all.into())
}

fn searched<'a>(found: wire::SearchResult<'a>, place: &dyn Display) -> Result<Block<'a>> {
    let (Some(source), Some(title), Some(content)) = (found.source, found.title, found.content) else {
        return Err(absent(&format!("{place}.searchResult")));
    };
    let parts = content.into_iter().filter_map(|t| t.text).map(|t| t.0);
    let all: Vec<Cow<'_, str>> = [title.0, source.0].into_iter().chain(parts).collect();
    Ok(Block::Text(all.join("\n").into()))
}

fn changed<'a>(change: wire::ToolChange<'a>, place: &dyn Display) -> Result<Block<'a>> {
    let name = change.tool.and_then(|tool| tool.name);
    let name = name.ok_or_else(|| absent(&format!("{place}.tool.name")))?;
    Ok(Block::ToolChange(name.0))
}

fn reasoning<'a>(said: wire::Reasoning<'a>, place: &dyn Display) -> Result<Block<'a>> {
    if let Some(text) = said.text.and_then(|r| r.text) {
        return Ok(Block::Reasoning(text.0));
    }
    let redacted = said.redacted.ok_or_else(|| absent(&format!("{place}.reasoningContent")))?;
    let bytes = decode(&redacted)?;
    let tokens = tokens::binary_document(bytes.len());
    Ok(Block::Media(Media::new(MediaKind::Redacted, tokens, &bytes)))
}

fn guarded<'a>(guard: wire::Guarded<'a>, place: &dyn Display) -> Result<Block<'a>> {
    match (guard.text.and_then(|t| t.text), guard.image) {
        (Some(text), None) => Ok(Block::Guarded(text.0)),
        (None, Some(image)) => media(MediaKind::Image, image, place),
        _ => Err(absent(&format!("{place}.guardContent"))),
    }
}

fn used<'a>(call: wire::ToolUse<'a>, place: Place) -> Result<Block<'a>> {
    let wanted = |field: &str| absent(&format!("{place}.toolUse.{field}"));
    let id = call.id.ok_or_else(|| wanted("toolUseId"))?;
    let name = call.name.ok_or_else(|| wanted("name"))?;
    check_name(&name, &|| format!("{place}.toolUse.name"))?;
    let input = call.input.ok_or_else(|| wanted("input"))?;
    if !input.is_object() {
        return Err(not_an_object(&format!("{place}.toolUse.input")));
    }
    Ok(Block::ToolUse { id: id.0, name: name.0, input })
}

fn result<'a>(result: wire::ToolResult<'a>, place: Place) -> Result<Block<'a>> {
    let id = result.id.ok_or_else(|| absent(&format!("{place}.toolResult.toolUseId")))?;
    let failed = match result.status.as_deref() {
        None | Some("success") => false,
        Some("error") => true,
        Some(other) => {
            let place = format!("{place}.toolResult.status");
            return Err(one_of(other, &place, &["success", "error"]));
        }
    };
    let content = result.content.ok_or_else(|| absent(&format!("{place}.toolResult.content")))?;
    if failed && content.is_empty() {
        return Err(ApiError::validation(format!(
            "The content field at {place}.toolResult cannot be empty when status value is error."
        )));
    }
    let mut parts = Vec::with_capacity(content.len());
    for (at, part) in content.into_iter().enumerate() {
        let place = format!("{place}.toolResult.content.{at}");
        parts.push(result_part(part, &place)?);
    }
    Ok(Block::ToolResult { id: id.0, parts, failed })
}

fn result_part<'a>(part: wire::ResultPart<'a>, place: &str) -> Result<Block<'a>> {
    if let Some(json) = part.json {
        return match json {
            // To a model, JSON is the text it is written as.
            Value::Object(_) => Ok(Block::Text(canonical_json(&json).into())),
            _ => Err(not_an_object(&format!("{place}.json"))),
        };
    }
    if let Some(text) = part.text {
        return Ok(Block::Text(text.0));
    }
    if let Some(found) = part.search_result {
        return searched(found, &place);
    }
    let kinds = [(MediaKind::Image, part.image), (MediaKind::Document, part.document), (MediaKind::Video, part.video)];
    match kinds.into_iter().find_map(|(kind, attachment)| Some((kind, attachment?))) {
        Some((kind, attachment)) => media(kind, attachment, &place),
        None => Err(absent(place)),
    }
}

pub(super) fn cache_point_ttl(point: &wire::CachePoint<'_>, place: &dyn Display) -> Result<Ttl> {
    match point.kind.as_deref() {
        Some("default") => {}
        Some(other) => {
            return Err(one_of(other, &format!("{place}.cachePoint.type"), &["default"]));
        }
        None => return Err(absent(&format!("{place}.cachePoint.type"))),
    }
    match point.ttl.as_deref() {
        None | Some("5m") => Ok(Ttl::FiveMinutes),
        Some("1h") => Ok(Ttl::OneHour),
        Some(other) => Err(one_of(other, &format!("{place}.cachePoint.ttl"), &["5m", "1h"])),
    }
}

pub(super) fn system<'a>(block: wire::System<'a>, at: usize) -> Result<Block<'a>> {
    let place = format!("system.{at}");
    match (block.text, block.guard_content, block.cache_point) {
        (Some(text), None, None) if text.is_empty() => Err(constraint(
            "''",
            &format!("system.{}.member.text", at + 1),
            "Member must have length greater than or equal to 1",
        )),
        (Some(text), None, None) => Ok(Block::Text(text.0)),
        (None, Some(guard), None) => guarded(guard, &place),
        (None, None, Some(point)) => cache_point_ttl(&point, &place).map(Block::CachePoint),
        _ => Err(ApiError::validation(format!(
            "The SystemContentBlock object at {place} must set one of the following keys: text, \
             guardContent, cachePoint."
        ))),
    }
}

/// An attachment, weighed and forgotten.
fn media<'a>(kind: MediaKind, sent: wire::Attachment<'a>, place: &dyn Display) -> Result<Block<'a>> {
    let (name, formats) = formats(kind);
    match sent.format.as_deref() {
        Some(format) if !formats.contains(&format) => {
            return Err(one_of(format, &format!("{place}.{name}.format"), formats));
        }
        None if kind != MediaKind::Document => {
            return Err(absent(&format!("{place}.{name}.format")));
        }
        _ => {}
    }
    if kind == MediaKind::Document && sent.name.is_none() {
        return Err(absent(&format!("{place}.document.name")));
    }
    let source = sent.source.ok_or_else(|| absent(&format!("{place}.{name}.source")))?;
    if let Some(location) = source.s3_location {
        let uri = location.uri.ok_or_else(|| absent(&format!("{place}.{name}.source.uri")))?;
        return Ok(Block::Media(Media::new(kind, tokens::ELSEWHERE, uri.as_bytes())));
    }
    if kind == MediaKind::Document {
        let parts = source.content.unwrap_or_default().into_iter().filter_map(|t| t.text);
        let texts: String = source.text.into_iter().chain(parts).map(|t| t.0).collect();
        if !texts.is_empty() {
            return Ok(attachment::text(&texts));
        }
    }
    let bytes = decode(&source.bytes.ok_or_else(|| absent(&format!("{place}.{name}.source")))?)?;
    if bytes.is_empty() {
        let place = format!("{place}.{name}.source.bytes");
        return Err(constraint("''", &place, "Member must have length greater than or equal to 1"));
    }
    Ok(attachment::block(kind, sent.format.as_deref().unwrap_or("txt"), &bytes))
}

fn formats(kind: MediaKind) -> (&'static str, &'static [&'static str]) {
    match kind {
        MediaKind::Image | MediaKind::Redacted => ("image", &["png", "jpeg", "gif", "webp"]),
        MediaKind::Document => ("document", &["pdf", "csv", "doc", "docx", "xls", "xlsx", "html", "txt", "md"]),
        MediaKind::Video => ("video", &["mkv", "mov", "mp4", "webm", "flv", "mpeg", "mpg", "wmv", "three_gp"]),
        MediaKind::Audio => (
            "audio",
            &[
                "mp3", "opus", "wav", "aac", "flac", "mp4", "ogg", "mkv", "mka", "x-aac", "m4a", "mpeg", "mpga", "pcm",
                "webm",
            ],
        ),
    }
}
