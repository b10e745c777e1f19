//! The fields of a native body, checked as AWS checks them: against the family's JSON schema, whose
//! validator names the place and what it expected there.
//!
//! Null is as good as absent, as the families' own documentation has it for most of their fields.
//! It must not know any one family's body.

use std::fmt::Display;
use std::ops::RangeInclusive;

use serde_json::{Map, Value};

use crate::error::ApiError;

pub(super) type Result<T> = std::result::Result<T, ApiError>;

/// A complaint of the validator's.
pub(super) fn malformed(what: impl Display) -> ApiError {
    ApiError::validation(format!("Malformed input request: {what}, please reformat your input and try again."))
}

/// An object of a body, and where it stands.
#[derive(Clone)]
pub(super) struct Fields<'a> {
    map: &'a Map<String, Value>,
    place: String,
}

impl<'a> Fields<'a> {
    /// A whole body, with no field that is not `known`.
    pub(super) fn of(body: &'a Value, known: &[&str]) -> Result<Self> {
        let fields = Self::at("#".into(), body)?;
        fields.only(known)?;
        Ok(fields)
    }

    fn at(place: String, value: &'a Value) -> Result<Self> {
        match value {
            Value::Object(map) => Ok(Self { map, place }),
            other => Err(malformed(format_args!("{place}: {}", expected("JSONObject", other)))),
        }
    }

    /// Refuses fields that are not `known`.
    pub(super) fn only(&self, known: &[&str]) -> Result<()> {
        match self.map.keys().find(|name| !known.contains(&name.as_str())) {
            Some(stray) => Err(malformed(format_args!("{}: extraneous key [{stray}] is not permitted", self.place))),
            None => Ok(()),
        }
    }

    /// A complaint about one field.
    pub(super) fn wrong(&self, name: &str, what: impl Display) -> ApiError {
        malformed(format_args!("{}/{name}: {what}", self.place))
    }

    pub(super) fn missing(&self, name: &str) -> ApiError {
        malformed(format_args!("{}: required key [{name}] not found", self.place))
    }

    pub(super) fn get(&self, name: &str) -> Option<&'a Value> {
        self.map.get(name).filter(|value| !value.is_null())
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    pub(super) fn text(&self, name: &str) -> Result<Option<&'a str>> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(self.wrong(name, expected("String", other))),
        }
    }

    /// A text that has to be there, with something in it.
    pub(super) fn required_text(&self, name: &str) -> Result<&'a str> {
        match self.text(name)? {
            None => Err(self.missing(name)),
            Some(text) if text.trim().is_empty() => Err(self.wrong(name, "expected minLength: 1, actual: 0")),
            Some(text) => Ok(text),
        }
    }

    /// One of a few words.
    pub(super) fn word(&self, name: &str, allowed: &[&str]) -> Result<Option<&'a str>> {
        match self.text(name)? {
            Some(word) if !allowed.contains(&word) => {
                Err(self.wrong(name, format_args!("{word} is not a valid enum value")))
            }
            word => Ok(word),
        }
    }

    /// A number within bounds, of which only that is asked.
    pub(super) fn number(&self, name: &str, range: RangeInclusive<f64>) -> Result<()> {
        let Some(value) = self.get(name) else { return Ok(()) };
        let number = value.as_f64().ok_or_else(|| self.wrong(name, expected("Number", value)))?;
        self.within(name, value, number, &range)
    }

    pub(super) fn integer(&self, name: &str, range: RangeInclusive<u32>) -> Result<Option<u32>> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let number = value.as_f64().filter(|n| n.fract() == 0.0);
        let number = number.ok_or_else(|| self.wrong(name, expected("Integer", value)))?;
        self.within(name, value, number, &(f64::from(*range.start())..=f64::from(*range.end())))?;
        // 5.0 is a whole number to a JSON schema too; within the range it is also exact.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked against a range of u32")]
        Ok(Some(number as u32))
    }

    fn within(&self, name: &str, value: &Value, number: f64, range: &RangeInclusive<f64>) -> Result<()> {
        if number < *range.start() {
            return Err(self.wrong(name, format_args!("{value} is not greater or equal to {}", range.start())));
        }
        if number > *range.end() {
            return Err(self.wrong(name, format_args!("{value} is not less or equal to {}", range.end())));
        }
        Ok(())
    }

    /// Whether a field says true.
    pub(super) fn flag(&self, name: &str) -> Result<bool> {
        match self.get(name) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(other) => Err(self.wrong(name, expected("Boolean", other))),
        }
    }

    pub(super) fn list(&self, name: &str) -> Result<&'a [Value]> {
        match self.get(name) {
            None => Ok(&[]),
            Some(Value::Array(items)) => Ok(items),
            Some(other) => Err(self.wrong(name, expected("JSONArray", other))),
        }
    }

    /// A list of texts, at most so many.
    pub(super) fn texts(&self, name: &str, most: usize) -> Result<Vec<&'a str>> {
        let items = self.list(name)?;
        if items.len() > most {
            return Err(self.wrong(name, format_args!("expected maximum item count: {most}, found: {}", items.len())));
        }
        let text = |(at, item): (usize, &'a Value)| {
            item.as_str().ok_or_else(|| self.wrong(&format!("{name}/{at}"), expected("String", item)))
        };
        items.iter().enumerate().map(text).collect()
    }

    /// A list of objects.
    pub(super) fn objects(&self, name: &str) -> Result<Vec<Self>> {
        let object = |(at, item): (usize, &'a Value)| Self::at(format!("{}/{name}/{at}", self.place), item);
        self.list(name)?.iter().enumerate().map(object).collect()
    }

    pub(super) fn object(&self, name: &str) -> Result<Option<Self>> {
        self.get(name).map(|value| Self::at(format!("{}/{name}", self.place), value)).transpose()
    }

    /// The names and values there are.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&'a str, &'a Value)> {
        self.map.iter().map(|(name, value)| (name.as_str(), value))
    }
}

fn expected(wanted: &str, found: &Value) -> String {
    let found = match found {
        Value::Null => "Null",
        Value::Bool(_) => "Boolean",
        Value::Number(number) if number.is_f64() => "Double",
        Value::Number(_) => "Integer",
        Value::String(_) => "String",
        Value::Array(_) => "JSONArray",
        Value::Object(_) => "JSONObject",
    };
    format!("expected type: {wanted}, found: {found}")
}
