//! Edits a Converse body in place: what is not edited keeps its bytes.

use bytes::Bytes;
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

/// Where a raw value that borrows from `body` lies in it.
fn span(body: &[u8], value: &RawValue) -> (usize, usize) {
    let start = value.get().as_ptr().addr() - body.as_ptr().addr();
    (start, start + value.get().len())
}

fn splice(body: &[u8], (from, to): (usize, usize), text: &str) -> Bytes {
    [&body[..from], text.as_bytes(), &body[to..]].concat().into()
}

/// Inserts a field at the start of the object that begins at or after `from`.
fn insert_field(body: &[u8], from: usize, field: &str) -> Bytes {
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
}
