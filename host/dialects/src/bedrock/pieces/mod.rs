//! InvokeModel's bodies of models that are no chats: embeddings, rerank, images. They pass as they are; what is
//! read is what a request can consume, and what its answer says that it did.
//!
//! Each file names the source of its shapes. What cannot be priced is refused by its field's name.

pub mod calls;
mod embed;
mod images;
mod rerank;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::invoke::{Counts, refuse_duplicates};
use crate::answer::Served;
use crate::invalid::{Invalid, InvalidKind};
use crate::outline::Outline;
use crate::usage::{Unit, Units, Usage};

pub use rerank::PIECES_OF_A_QUERY;

/// Whose body it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Body {
    /// Amazon's Titan embeddings of text.
    TitanEmbed,
    /// Those of text and images.
    TitanImageEmbed,
    /// Amazon's Nova embeddings.
    NovaEmbed,
    /// Cohere's embeddings.
    CohereEmbed,
    /// TwelveLabs' Marengo.
    Marengo,
    /// Amazon's and Cohere's rerank.
    Rerank,
    /// Amazon's images: Nova Canvas and Titan.
    Canvas,
    /// Stability AI's images.
    Stability,
}

type Object = Map<String, Value>;

/// Reads what the gateway needs of such a body.
pub fn outline(body: Body, bytes: &[u8]) -> Result<Outline, Invalid> {
    let value: Value = Invalid::parse(bytes)?;
    let Value::Object(fields) = &value else {
        let message = "the body is not a JSON object".to_owned();
        return Err(Invalid { kind: InvalidKind::Value, path: None, message });
    };
    refuse_duplicates(bytes)?;
    let mut outline = match body {
        Body::TitanEmbed | Body::TitanImageEmbed => embed::titan(fields),
        Body::NovaEmbed => embed::nova(fields),
        Body::CohereEmbed => embed::cohere(fields),
        Body::Marengo => embed::marengo(fields),
        Body::Rerank => rerank::outline(fields),
        Body::Canvas => images::canvas(fields),
        Body::Stability => Ok(images::stability(fields)),
    }?;
    outline.texts_only = true;
    outline.max_output_tokens = Some(0);
    outline.images = outline.units.count(Unit::Image).saturating_add(outline.units.count(Unit::ImageMade));
    Ok(outline)
}

/// What such an answer says that the call consumed.
pub fn served(body: Body, outline: &Outline, headers: Counts, answer: &[u8]) -> Served {
    let answer: Value = serde_json::from_slice(answer).unwrap_or_default();
    let tokens = match body {
        // Without a text, what it was given is priced by the piece.
        Body::TitanImageEmbed | Body::NovaEmbed if outline.text_bytes == 0 && !outline.units.is_nothing() => Some(0),
        Body::TitanEmbed => headers.input.or_else(|| answer["inputTextTokenCount"].as_u64()),
        // The header could count more than the text, which is what is priced by the token.
        Body::TitanImageEmbed => answer["inputTextTokenCount"].as_u64().or(headers.input),
        Body::NovaEmbed => headers.input.or_else(|| answer["inputTokenCount"].as_u64()),
        // Cohere's body never says: laravel/ai#914, vercel/ai#15973, maximhq/bifrost#3917.
        Body::CohereEmbed => headers.input,
        // Not priced by the token.
        Body::Marengo | Body::Rerank | Body::Canvas | Body::Stability => Some(0),
    };
    let Some(input) = tokens else { return Served::default() };
    let (least, most) = match body {
        Body::Canvas | Body::Stability => match images::made(outline.units, &answer) {
            Some(bounds) => bounds,
            None => return Served::default(),
        },
        _ => (outline.least_units, outline.units),
    };
    let used = |units: Units| Usage { input, units, ..Usage::default() };
    Served { usage: Some(used(most)), at_least: (least != most).then(|| Box::new(used(least))), ..Served::default() }
}

/// Takes a text in, of which the body's tokens are.
fn add_text(outline: &mut Outline, text: &str) {
    Outline::push_text(&mut outline.prompt, &mut outline.text_bytes, text);
    outline.turns = outline.turns.saturating_add(1);
}

/// A number of pieces.
fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// A text, where it is there.
fn text<'a>(fields: &'a Object, name: &str) -> Result<Option<&'a str>, Invalid> {
    match fields.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(Invalid::value(name, "a string is needed")),
    }
}

/// A list, empty where it is absent.
fn list<'a>(fields: &'a Object, name: &str) -> Result<&'a [Value], Invalid> {
    match fields.get(name) {
        None | Some(Value::Null) => Ok(&[]),
        Some(Value::Array(list)) => Ok(list),
        Some(_) => Err(Invalid::value(name, "a list is needed")),
    }
}

/// An object, where it is there.
fn object<'a>(fields: &'a Object, name: &str) -> Result<Option<&'a Object>, Invalid> {
    match fields.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(object)) => Ok(Some(object)),
        Some(_) => Err(Invalid::value(name, "an object is needed")),
    }
}

/// A whole number, where it is there.
fn whole(fields: &Object, name: &str) -> Result<Option<u64>, Invalid> {
    match fields.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => {
            let wrong = || Invalid::value(name, "a whole number that is not negative is needed");
            value.as_u64().map(Some).ok_or_else(wrong)
        }
    }
}

fn has(fields: &Object, name: &str) -> bool {
    fields.get(name).is_some_and(|value| !value.is_null())
}

#[cfg(test)]
mod tests;
