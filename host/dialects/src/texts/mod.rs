//! The texts of a body: where each is, and what it is; and the same body with other texts in their place.
//!
//! All strings of a body are texts but those that are known to be none (roles, kinds, ids, media, what is
//! signed or sealed): a place that is not known here hides nothing. Where JSON is free (arguments of tools,
//! their results) its keys are texts, too, and numbers of arguments and results. What is not replaced keeps
//! its bytes.

mod places;
#[cfg(test)]
mod tests;
mod walk;

use std::borrow::Cow;
use std::ops::Range;

use base64::Engine as _;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use self::places::{Place, Rule};
use crate::invalid::Invalid;

/// Texts that a body may have.
pub const MOST_TEXTS: usize = 1 << 18;

/// A text of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text<'a> {
    /// What it is.
    pub origin: Origin,
    /// The text, decoded.
    pub text: Cow<'a, str>,
    /// Its bytes in the body, or in the text that it is within; quotes not included.
    at: Range<usize>,
    form: Form,
    piece: Option<Piece>,
}

/// Which text of a stream one goes on with: pieces of one origin for which this is equal are one text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The field, where several texts of an answer are beside one another.
    field: &'static str,
    /// The numbers of the call, and of the block or the choice, that it is in: from within.
    numbers: Vec<u64>,
}

impl Piece {
    /// The number of the block, or of the choice, where there is one.
    pub fn block(&self) -> Option<u64> {
        self.numbers.last().copied()
    }
}

impl Text<'_> {
    /// Whether it is a piece of a text of this origin.
    pub fn is_of(&self, origin: Origin, piece: &Piece) -> bool {
        self.origin == origin && self.piece.as_ref() == Some(piece)
    }

    /// What it is a piece of, where it is one.
    pub fn piece(&self) -> Option<&Piece> {
        self.piece.as_ref()
    }
}

/// How a text is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// As a string, or a key, of JSON.
    String,
    /// As a number.
    Number,
    /// As a string of base64.
    Base64,
    /// Within a string that holds JSON of its own: the number of that string.
    Within(usize),
    /// As a number within such a string.
    NumberWithin(usize),
}

/// A string that holds JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Holder {
    at: Range<usize>,
    json: String,
}

/// The texts of a body, in its order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Texts<'a> {
    body: &'a [u8],
    texts: Vec<Text<'a>>,
    holders: Vec<Holder>,
    /// What says the same once more in parts.
    again: Vec<Range<usize>>,
}

impl<'a> Texts<'a> {
    /// Of a Converse request.
    pub fn of_converse(body: &'a [u8]) -> Result<Self, Invalid> {
        walk::texts(body, Rule::Node(Place::Converse, Some(Origin::Other)))
    }

    /// Of a Converse answer.
    pub fn of_converse_answer(body: &'a [u8]) -> Result<Self, Invalid> {
        walk::texts(body, Rule::Node(Place::ConverseAnswer, Some(Origin::Other)))
    }

    /// Of a request of InvokeModel, whatever the family.
    pub fn of_invoke(body: &'a [u8]) -> Result<Self, Invalid> {
        walk::texts(body, Rule::Node(Place::Invoke, Some(Origin::Other)))
    }

    /// Of the `modelInput` of a job, whatever the family.
    pub fn of_job(input: &'a [u8]) -> Result<Self, Invalid> {
        walk::texts(input, Rule::Node(Place::Job, Some(Origin::Other)))
    }

    /// Of an answer of InvokeModel, whatever the family.
    pub fn of_invoke_answer(body: &'a [u8]) -> Result<Self, Invalid> {
        walk::texts(body, Rule::Node(Place::InvokeAnswer, Some(Origin::Other)))
    }

    /// Of a chunk of a stream of InvokeModel, whatever the family.
    pub fn of_chunk(chunk: &'a [u8]) -> Result<Self, Invalid> {
        walk::texts(chunk, Rule::Node(Place::Chunk, Some(Origin::Other)))
    }

    /// All of them.
    pub fn all(&self) -> &[Text<'a>] {
        &self.texts
    }

    /// Whether the body holds what nobody can judge, as it says the texts once more in parts (the
    /// probability of each token): [`Self::replaced`] leaves it out.
    pub fn say_it_again(&self) -> bool {
        !self.again.is_empty()
    }

    /// The body with other texts in the place of some, by their numbers, in ascending order. A number that
    /// is replaced becomes a string.
    pub fn replaced(&self, with: &[(usize, String)]) -> Bytes {
        let mut edits: Vec<(Range<usize>, String)> = Vec::with_capacity(with.len());
        let mut within: Vec<Vec<(Range<usize>, String)>> = vec![Vec::new(); self.holders.len()];
        for (number, text) in with {
            let Some(Text { at, form, .. }) = self.texts.get(*number) else { continue };
            let at = at.clone();
            match form {
                Form::String => edits.push((at, escaped(text))),
                Form::Number => edits.push((at, format!("\"{}\"", escaped(text)))),
                Form::Base64 => edits.push((at, base64::engine::general_purpose::STANDARD.encode(text))),
                Form::Within(holder) => within[*holder].push((at, escaped(text))),
                Form::NumberWithin(holder) => within[*holder].push((at, format!("\"{}\"", escaped(text)))),
            }
        }
        for (holder, inner) in self.holders.iter().zip(within) {
            if !inner.is_empty() {
                let json = edited(holder.json.as_bytes(), &inner);
                edits.push((holder.at.clone(), escaped(&String::from_utf8_lossy(&json))));
            }
        }
        edits.extend(self.again.iter().map(|at| (at.clone(), "null".to_owned())));
        edits.sort_by_key(|(at, _)| at.start);
        edited(self.body, &edits).into()
    }
}

/// The text as it stands between the quotes of JSON.
fn escaped(text: &str) -> String {
    let mut quoted = serde_json::to_string(text).unwrap_or_default();
    quoted.pop();
    quoted.split_off(1.min(quoted.len()))
}

fn edited(body: &[u8], edits: &[(Range<usize>, String)]) -> Vec<u8> {
    let (mut edited, mut from) = (Vec::with_capacity(body.len()), 0);
    for (at, text) in edits {
        edited.extend_from_slice(&body[from..at.start]);
        edited.extend_from_slice(text.as_bytes());
        from = at.end;
    }
    edited.extend_from_slice(&body[from..]);
    edited
}

/// What a text is. See `origin` in the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum Origin {
    /// A system prompt.
    System,
    /// What the user wrote.
    User,
    /// What the model wrote.
    Assistant,
    /// What the model thought.
    Reasoning,
    /// Arguments of a tool that the model calls.
    ToolInput,
    /// What a tool gave.
    ToolResult,
    /// What a tool is.
    ToolDefinition,
    /// A document, or what is said of one.
    Document,
    /// What a citation quotes, and of what.
    Citation,
    /// Any other text.
    Other,
}

impl Origin {
    /// All, in the contract's order.
    pub const ALL: [Self; 10] = [
        Self::System,
        Self::User,
        Self::Assistant,
        Self::Reasoning,
        Self::ToolInput,
        Self::ToolResult,
        Self::ToolDefinition,
        Self::Document,
        Self::Citation,
        Self::Other,
    ];

    /// The contract's name.
    pub fn name(self) -> &'static str {
        [
            "system",
            "user",
            "assistant",
            "reasoning",
            "tool-input",
            "tool-result",
            "tool-definition",
            "document",
            "citation",
            "other",
        ][self as usize]
    }
}
