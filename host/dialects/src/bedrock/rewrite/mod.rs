//! A Converse body with other texts and parameters: what a template puts in front, what a policy changes.
//! Each value that is not changed keeps its bytes.
//!
//! In this order: texts of messages are changed, by the indices that they came with; the oldest messages
//! are left out; others are put in front. A cache point with nothing before it goes.

mod fields;
mod messages;
mod system;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Number;
use serde_json::value::RawValue;

use self::fields::Fields;
use crate::canonical::Role;
use crate::invalid::Invalid;

/// What is changed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rewrite {
    /// The system prompt's own texts.
    pub system: SystemEdit,
    /// A text in front of the system prompt.
    pub system_before: Option<String>,
    /// A text behind it, cache points included: what is cached up to there is found again.
    pub system_after: Option<String>,
    /// Changes of texts of messages.
    pub texts: Vec<(Place, TextEdit)>,
    /// The least number of messages that stay: the oldest are left out, up to one of the user's that
    /// answers no call of a tool.
    pub keep_last: Option<u32>,
    /// Messages in front of all. Neighbours of one role become one message.
    pub lead: Vec<(Role, String)>,
    /// The output limit.
    pub max_tokens: Edit<u32>,
    /// The temperature.
    pub temperature: Edit<f64>,
    /// The nucleus.
    pub top_p: Edit<f64>,
    /// Texts that end the answer.
    pub stop: Edit<Vec<String>>,
}

/// What becomes of the system prompt's own texts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum SystemEdit {
    /// They stay.
    #[default]
    Keep,
    /// This is in the place of all of them.
    Replace(String),
    /// They go.
    Remove,
}

/// What becomes of a parameter.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum Edit<T> {
    /// It stays.
    #[default]
    Keep,
    /// It is this, where the body does not say.
    Default(T),
    /// The model's own default holds.
    Unset,
    /// It is this.
    Set(T),
}

/// Where a text is: a message, and a block of its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Place {
    /// The message, from 0.
    pub message: u32,
    /// The block, from 0.
    pub piece: u32,
}

/// What becomes of a text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TextEdit {
    /// This is in its place.
    Replace(String),
    /// This is in front of it.
    Before(String),
    /// This is behind it.
    After(String),
    /// It goes.
    Remove,
}

impl TextEdit {
    /// The text that comes along.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Replace(text) | Self::Before(text) | Self::After(text) => Some(text),
            Self::Remove => None,
        }
    }
}

/// The body with these changes.
pub fn rewrite(body: &[u8], change: &Rewrite) -> Result<Bytes, Invalid> {
    let mut fields: Fields<'_> = Invalid::parse(body)?;
    fields.change("system", |system| system::changed(system, change))?;
    fields.change("messages", |messages| messages::changed(messages, change))?;
    fields.change("inferenceConfig", |inference| inference_config(inference, change))?;
    Ok(fields.written().into())
}

/// The body without the variables of a template, and these.
pub fn without_prompt_variables(body: &[u8]) -> Result<(Bytes, Option<String>), Invalid> {
    let mut fields: Fields<'_> = Invalid::parse(body)?;
    let variables = fields.take("promptVariables").filter(|raw| *raw != "null");
    Ok((fields.written().into(), variables.map(Cow::into_owned)))
}

/// The inference configuration with other parameters; none: it stays.
fn inference_config(raw: Option<&str>, change: &Rewrite) -> Result<Option<String>, Invalid> {
    let Rewrite { max_tokens, temperature, top_p, stop, .. } = change;
    let float = |value: &f64| Number::from_f64(*value).map_or_else(|| "0".to_owned(), |number| number.to_string());
    let edits = [
        ("maxTokens", max_tokens.written(u32::to_string)),
        ("temperature", temperature.written(float)),
        ("topP", top_p.written(float)),
        ("stopSequences", stop.written(|texts| serde_json::to_string(texts).unwrap_or_default())),
    ];
    if edits.iter().all(|(_, edit)| *edit == Edit::Keep) {
        return Ok(None);
    }
    let mut fields = match raw.filter(|raw| *raw != "null") {
        Some(raw) => Invalid::parse(raw.as_bytes())?,
        None => Fields::default(),
    };
    for (name, edit) in edits {
        match edit {
            Edit::Keep => {}
            Edit::Default(_) if fields.has(name) => {}
            Edit::Default(value) | Edit::Set(value) => fields.set(name, value),
            Edit::Unset => drop(fields.take(name)),
        }
    }
    Ok(Some(fields.written()))
}

impl<T> Edit<T> {
    /// The same of the value as JSON.
    fn written(&self, write: impl Fn(&T) -> String) -> Edit<String> {
        match self {
            Self::Keep => Edit::Keep,
            Self::Default(value) => Edit::Default(write(value)),
            Self::Unset => Edit::Unset,
            Self::Set(value) => Edit::Set(write(value)),
        }
    }
}

/// A block of text, as JSON.
fn block(text: &str) -> String {
    format!("{{\"text\":{}}}", quoted(text))
}

fn quoted(text: &str) -> String {
    // Writing text to memory cannot fail.
    serde_json::to_string(text).unwrap_or_default()
}

/// A list of JSON values.
fn list<T: AsRef<str>>(items: &[T]) -> String {
    let items: Vec<&str> = items.iter().map(AsRef::as_ref).collect();
    format!("[{}]", items.join(","))
}

/// Blocks without those cache points that have nothing before them.
fn without_idle_cache_points(
    mut blocks: Vec<Cow<'_, str>>,
    is_cache_point: impl Fn(&str) -> bool,
) -> Vec<Cow<'_, str>> {
    let idle = blocks.iter().take_while(|block| is_cache_point(block)).count();
    blocks.drain(..idle);
    blocks
}

/// Whether a block is a cache point.
fn is_cache_point(block: &str) -> bool {
    serde_json::from_str::<Fields<'_>>(block).is_ok_and(|fields| fields.has("cachePoint"))
}

/// The values of a list.
fn values<'a>(raw: &'a str, path: &str) -> Result<Vec<&'a RawValue>, Invalid> {
    serde_json::from_str(raw).map_err(|_| Invalid::value(path, "a list is needed"))
}
