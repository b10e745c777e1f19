//! Edits a Converse body in place: what is not edited keeps its bytes.

use std::borrow::Cow;

use bytes::Bytes;
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::invalid::Invalid;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Outer<'a> {
    #[serde(default, borrow, deserialize_with = "present")]
    inference_config: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Inner<'a> {
    #[serde(default, borrow, deserialize_with = "present")]
    max_tokens: Option<&'a RawValue>,
}

/// A field that is there, `null` too: inserting a second one beside a `null` would make the body ambiguous.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// Sets `inferenceConfig.maxTokens`.
pub fn lower_output_limit(body: &Bytes, limit: u32) -> Result<Bytes, Invalid> {
    let outer: Outer<'_> = Invalid::parse(body)?;
    let Some(config) = outer.inference_config else {
        return Ok(insert_field(body, 0, &format!("\"inferenceConfig\":{{\"maxTokens\":{limit}}}")));
    };
    if config.get() == "null" {
        return Ok(splice(body, span(body, config), &format!("{{\"maxTokens\":{limit}}}")));
    }
    let inner: Inner<'_> = Invalid::parse(config.get().as_bytes())?;
    Ok(match inner.max_tokens {
        Some(value) => splice(body, span(body, value), &limit.to_string()),
        None => insert_field(body, span(body, config).0, &format!("\"maxTokens\":{limit}")),
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stopped<'a> {
    #[serde(borrow)]
    stop_reason: &'a RawValue,
}

/// An answer of Converse that says that a guard ended it.
pub fn stopped_by_guard(body: &Bytes) -> Result<Bytes, Invalid> {
    let Stopped { stop_reason } = Invalid::parse(body)?;
    Ok(splice(body, span(body, stop_reason), "\"guardrail_intervened\""))
}

#[derive(Deserialize)]
struct Conversation<'a> {
    #[serde(borrow)]
    messages: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    role: Cow<'a, str>,
    #[serde(default)]
    content: Vec<Block>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Block {
    tool_result: Option<IgnoredAny>,
}

/// Bytes that a token stands for, roughly: as where a request's tokens are estimated.
const BYTES_PER_TOKEN: usize = 4;

/// Leaves out the oldest messages, as few as bring the body down to about so many tokens; else all that
/// can go. What is left begins with a message of the user that is no tool's result, as Converse asks for,
/// so that no result is without its call. None: nothing can be left out.
pub fn shorten(body: &Bytes, tokens: u32) -> Result<Option<Bytes>, Invalid> {
    let Conversation { messages } = Invalid::parse(body)?;
    let most = (tokens as usize).saturating_mul(BYTES_PER_TOKEN);
    let mut cut = None;
    for begins in beginnings(&messages) {
        let start = span(body, messages[begins?]).0;
        let first = messages.first().map_or(start, |first| span(body, first).0);
        cut = Some((first, start));
        if body.len() - (start - first) <= most {
            break;
        }
    }
    Ok(cut.map(|cut| splice(body, cut, "")))
}

/// Messages, but for the first, that a conversation can begin with: of the user, and no tool's result, so
/// that no result is without its call.
pub(super) fn beginnings(messages: &[&RawValue]) -> impl Iterator<Item = Result<usize, Invalid>> {
    messages.iter().enumerate().skip(1).filter_map(|(index, message)| {
        match Invalid::parse::<Message<'_>>(message.get().as_bytes()) {
            Err(invalid) => Some(Err(invalid)),
            Ok(message) => {
                let begins = message.role == "user" && message.content.iter().all(|block| block.tool_result.is_none());
                begins.then_some(Ok(index))
            }
        }
    })
}

/// Where a raw value that borrows from `body` lies in it.
pub(super) fn span(body: &[u8], value: &RawValue) -> (usize, usize) {
    let start = value.get().as_ptr().addr() - body.as_ptr().addr();
    (start, start + value.get().len())
}

pub(super) fn splice(body: &[u8], (from, to): (usize, usize), text: &str) -> Bytes {
    [&body[..from], text.as_bytes(), &body[to..]].concat().into()
}

/// Inserts a field at the start of the object that begins at or after `from`.
pub(super) fn insert_field(body: &[u8], from: usize, field: &str) -> Bytes {
    let open = body[from..].iter().position(|&byte| byte == b'{').map_or(from, |at| from + at + 1);
    let empty = body[open..].iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'}');
    let field = if empty { field.to_owned() } else { format!("{field},") };
    splice(body, (open, open), &field)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_limit_changes() {
        for (body, expected) in [
            (r#"{"a":1.50}"#, r#"{"inferenceConfig":{"maxTokens":7},"a":1.50}"#),
            (r#"{ }"#, r#"{"inferenceConfig":{"maxTokens":7} }"#),
            (r#"{"inferenceConfig": null}"#, r#"{"inferenceConfig": {"maxTokens":7}}"#),
            (r#"{"inferenceConfig": {} }"#, r#"{"inferenceConfig": {"maxTokens":7} }"#),
            (r#"{"inferenceConfig": {"maxTokens":null}}"#, r#"{"inferenceConfig": {"maxTokens":7}}"#),
            (
                r#"{"x":{"maxTokens":1},"inferenceConfig": {"topP":1} }"#,
                r#"{"x":{"maxTokens":1},"inferenceConfig": {"maxTokens":7,"topP":1} }"#,
            ),
            (
                r#"{"inferenceConfig":{"maxTokens" : 900 , "topP":1e0}}"#,
                r#"{"inferenceConfig":{"maxTokens" : 7 , "topP":1e0}}"#,
            ),
        ] {
            let edited = lower_output_limit(&Bytes::copy_from_slice(body.as_bytes()), 7).unwrap();
            assert_eq!(edited, expected);
        }
    }

    #[test]
    fn only_the_stop_reason_changes() {
        let body = Bytes::from_static(br#"{"output":{"stopReason":"x"}, "stopReason" : "end_turn","usage":{}}"#);
        let edited = stopped_by_guard(&body).unwrap();
        assert_eq!(edited, r#"{"output":{"stopReason":"x"}, "stopReason" : "guardrail_intervened","usage":{}}"#);
    }

    #[test]
    fn the_oldest_turns_go_first_and_no_tool_result_is_left_without_its_call() {
        let turn = |role: &str, content: &str| format!(r#"{{"role":"{role}","content":[{content}]}}"#);
        let text = |text: &str| format!(r#"{{"text":"{text}"}}"#);
        let turns = [
            turn("user", &text("first")),
            turn("assistant", r#"{"toolUse":{"toolUseId":"1","name":"f","input":{}}}"#),
            turn("user", r#"{"toolResult":{"toolUseId":"1","content":[]}}"#),
            turn("assistant", &text("second")),
            turn("user", &text("third")),
            turn("assistant", &text("fourth")),
            turn("user", &text("fifth")),
        ];
        let body = |turns: &[String]| Bytes::from(format!(r#"{{"a":1.50, "messages": [{}] }}"#, turns.join(" , ")));
        let whole = body(&turns);
        let tokens_of = |left: &Bytes| u32::try_from(left.len().div_ceil(4)).unwrap();
        let third = body(&turns[4..]);
        assert_eq!(shorten(&whole, tokens_of(&third)).unwrap(), Some(third.clone()));
        // One token fewer: one turn more.
        assert_eq!(shorten(&whole, tokens_of(&third) - 1).unwrap(), Some(body(&turns[6..])));
        // What was just said stays, however long it is.
        assert_eq!(shorten(&whole, 1).unwrap(), Some(body(&turns[6..])));
        assert_eq!(shorten(&body(&turns[..4]), 1).unwrap(), None);
        assert_eq!(shorten(&body(&turns[..1]), 1).unwrap(), None);
        assert!(shorten(&Bytes::from_static(b"{}"), 1).is_err());
    }
}
