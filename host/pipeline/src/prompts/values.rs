//! Values that callers give for variables: what they may be, and how large.

use serde_json::Value;

/// How deep lists and objects may be within one another.
pub(super) const MOST_DEEP: usize = 8;
/// Values within a value, itself included.
const MOST_VALUES: usize = 4_096;

/// What is wrong with a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unfit {
    /// It is, or holds, nothing.
    Null,
    /// It has more bytes than it may.
    TooLarge,
    /// Lists and objects are too deep within one another.
    TooDeep,
    /// It holds too many values.
    TooMany,
}

impl Unfit {
    /// In words, for the caller.
    pub(super) fn says(self, most_bytes: usize) -> String {
        match self {
            Self::Null => "is null, or holds it; leave it out".to_owned(),
            Self::TooLarge => format!("has more than {most_bytes} bytes"),
            Self::TooDeep => format!("has lists and objects more than {MOST_DEEP} deep within one another"),
            Self::TooMany => format!("holds more than {MOST_VALUES} values"),
        }
    }
}

/// What a value is, in words.
pub fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// Whether a value is one that a variable may have.
pub(super) fn check(value: &Value, most_bytes: usize) -> Result<(), Unfit> {
    let (mut bytes, mut values) = (most_bytes, MOST_VALUES);
    fits(value, MOST_DEEP, &mut bytes, &mut values)
}

fn fits(value: &Value, deep: usize, bytes: &mut usize, values: &mut usize) -> Result<(), Unfit> {
    let mut take = |more: usize| -> Result<(), Unfit> {
        *bytes = bytes.checked_sub(more).ok_or(Unfit::TooLarge)?;
        Ok(())
    };
    *values = values.checked_sub(1).ok_or(Unfit::TooMany)?;
    match value {
        Value::Null => Err(Unfit::Null),
        Value::Bool(_) | Value::Number(_) => Ok(()),
        Value::String(text) => take(text.len()),
        Value::Array(_) | Value::Object(_) if deep == 0 => Err(Unfit::TooDeep),
        Value::Array(list) => list.iter().try_for_each(|value| fits(value, deep - 1, bytes, values)),
        Value::Object(fields) => {
            fields.keys().try_for_each(|name| take(name.len()))?;
            fields.values().try_for_each(|value| fits(value, deep - 1, bytes, values))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_bounded() {
        let nested = |deep: usize| (0..deep).fold(json!("x"), |inner, _| json!([inner]));
        for (value, expected) in [
            (json!({"a": ["text", 1.5, true, {"b": -7}]}), Ok(())),
            (json!(null), Err(Unfit::Null)),
            (json!([{"a": null}]), Err(Unfit::Null)),
            (json!("x".repeat(100)), Ok(())),
            (json!("x".repeat(101)), Err(Unfit::TooLarge)),
            (json!({"x".repeat(50): "x".repeat(51)}), Err(Unfit::TooLarge)),
            (nested(8), Ok(())),
            (nested(9), Err(Unfit::TooDeep)),
            (json!(vec![0; 4_095]), Ok(())),
            (json!(vec![0; 4_096]), Err(Unfit::TooMany)),
        ] {
            assert_eq!(check(&value, 100), expected);
        }
    }
}
