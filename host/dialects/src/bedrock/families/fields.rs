//! Reads a family's body field by field. What is left over at the end is refused by name: a field
//! that were passed over would be billed for an answer that is not the one asked for.

use serde_json::{Map, Number, Value};

use crate::bedrock::short;
use crate::invalid::{Invalid, InvalidKind};

/// An object of a body, of which fields are taken.
pub(super) struct Fields {
    /// Where it lies, with a dot at the end; empty for the body itself.
    path: String,
    map: Map<String, Value>,
}

impl Fields {
    /// The body.
    pub(super) fn body(bytes: &[u8]) -> Result<Self, Invalid> {
        match Invalid::parse(bytes)? {
            Value::Object(map) => Ok(Self { path: String::new(), map }),
            _ => Err(Invalid {
                kind: InvalidKind::Value,
                path: None,
                message: "the body is not a JSON object".to_owned(),
            }),
        }
    }

    /// An object at `path`.
    pub(super) fn object_at(path: &str, value: Value) -> Result<Self, Invalid> {
        match value {
            Value::Object(map) => Ok(Self { path: format!("{path}."), map }),
            _ => Err(Invalid::value(path, "an object is needed")),
        }
    }

    /// Where a field of it lies.
    pub(super) fn at(&self, name: &str) -> String {
        format!("{}{}", self.path, short(name))
    }

    /// Whether a field is there, other than null.
    pub(super) fn has(&self, name: &str) -> bool {
        self.map.get(name).is_some_and(|value| !value.is_null())
    }

    /// Takes a field. Null is the same as absent.
    pub(super) fn take(&mut self, name: &str) -> Option<Value> {
        self.map.shift_remove(name).filter(|value| !value.is_null())
    }

    /// Takes an object.
    pub(super) fn object(&mut self, name: &str) -> Result<Option<Self>, Invalid> {
        self.take(name).map(|value| Self::object_at(&self.at(name), value)).transpose()
    }

    /// Takes a list; an absent one is empty.
    pub(super) fn list(&mut self, name: &str) -> Result<Vec<Value>, Invalid> {
        match self.take(name) {
            None => Ok(Vec::new()),
            Some(Value::Array(list)) => Ok(list),
            Some(_) => Err(Invalid::value(self.at(name), "a list is needed")),
        }
    }

    /// Takes a text.
    pub(super) fn text(&mut self, name: &str) -> Result<Option<String>, Invalid> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(Invalid::value(self.at(name), "a text is needed")),
        }
    }

    /// Takes a text that must be there and hold something: Converse takes no blank message.
    pub(super) fn needed_text(&mut self, name: &str) -> Result<String, Invalid> {
        match self.text(name)? {
            Some(text) if !text.trim().is_empty() => Ok(text),
            _ => Err(Invalid::value(self.at(name), "a text that is not blank is needed")),
        }
    }

    /// Takes a whole number of at least 1.
    pub(super) fn count(&mut self, name: &str) -> Result<Option<u32>, Invalid> {
        let Some(value) = self.take(name) else { return Ok(None) };
        let count = value.as_u64().and_then(|count| u32::try_from(count).ok()).filter(|count| *count > 0);
        count.map(Some).ok_or_else(|| Invalid::value(self.at(name), "a whole number of at least 1 is needed"))
    }

    /// Takes a number from 0 to 1: what Converse takes.
    pub(super) fn fraction(&mut self, name: &str) -> Result<Option<Number>, Invalid> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Number(number)) if number.as_f64().is_some_and(|value| (0.0..=1.0).contains(&value)) => {
                Ok(Some(number))
            }
            Some(_) => Err(Invalid::value(self.at(name), "a number from 0 to 1 is needed")),
        }
    }

    /// Takes a list of texts.
    pub(super) fn texts(&mut self, name: &str) -> Result<Vec<String>, Invalid> {
        let path = self.at(name);
        let text = |(index, value)| match value {
            Value::String(text) if !text.is_empty() => Ok(text),
            _ => Err(Invalid::value(format!("{path}[{index}]"), "a text that is not empty is needed")),
        };
        self.list(name)?.into_iter().enumerate().map(text).collect()
    }

    /// Takes a field of which only the values that ask for nothing can be carried over.
    pub(super) fn only(&mut self, name: &str, asks_nothing: impl FnOnce(&Value) -> bool) -> Result<(), Invalid> {
        match self.take(name) {
            Some(value) if !asks_nothing(&value) => Err(not_carried(self.at(name))),
            _ => Ok(()),
        }
    }

    /// Drops a field where it `fits`. Whether it did.
    pub(super) fn drop_if(&mut self, name: &str, fits: impl FnOnce(&Value) -> bool) -> bool {
        self.map.get(name).is_some_and(fits) && self.map.shift_remove(name).is_some()
    }

    /// Sets a field, for a reader of what is left.
    pub(super) fn set(&mut self, name: &str, value: Value) {
        self.map.insert(name.to_owned(), value);
    }

    /// What is left, as JSON.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        serde_json::to_vec(&self.map).unwrap_or_default()
    }

    /// Refuses what was not taken.
    pub(super) fn finish(self) -> Result<(), Invalid> {
        match self.map.iter().find(|(_, value)| !value.is_null()) {
            Some((name, _)) => Err(not_carried(self.at(name))),
            None => Ok(()),
        }
    }
}

/// A field that the model which answers in an ended one's place cannot be given.
pub(super) fn not_carried(path: impl Into<String>) -> Invalid {
    Invalid::unsupported(
        path,
        "this is not carried over to the model that answers in place of the ended one; leave it out",
    )
}

/// Whether a number is zero.
pub(super) fn is_zero(value: &Value) -> bool {
    value.as_f64() == Some(0.0)
}

/// Whether a list is empty.
pub(super) fn is_empty(value: &Value) -> bool {
    value.as_array().is_some_and(Vec::is_empty)
}
