//! A template that a request names.

use serde_json::{Map, Value};

use crate::bedrock::short;
use crate::invalid::Invalid;

/// A template, and the values of its variables.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Named {
    /// Its name.
    pub name: String,
    /// The version that is asked for, as the caller wrote it.
    pub version: Option<String>,
    /// Values by the names of variables.
    pub variables: Map<String, Value>,
}

/// The variables of a Converse body: `{"name": {"text": "…"}}`, as JSON.
pub fn of_converse(variables: &str) -> Result<Map<String, Value>, Invalid> {
    const PATH: &str = "promptVariables";
    let wrong = |_| Invalid::value(PATH, "an object is needed: {\"name\": {\"text\": \"…\"}}");
    let variables: Map<String, Value> = serde_json::from_str(variables).map_err(wrong)?;
    let text = |(name, value): (String, Value)| match value {
        Value::Object(mut fields) if fields.len() == 1 => match fields.remove("text") {
            Some(text @ Value::String(_)) => Ok((name, text)),
            _ => Err(Invalid::value(format!("{PATH}.{}", short(&name)), "{\"text\": \"…\"} is needed")),
        },
        _ => Err(Invalid::value(format!("{PATH}.{}", short(&name)), "{\"text\": \"…\"} is needed")),
    };
    variables.into_iter().map(text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_of_converse_are_texts() {
        let read = of_converse(r#"{"a":{"text":"x"},"b":{"text":""}}"#).unwrap();
        assert_eq!(Value::from(read), serde_json::json!({"a": "x", "b": ""}));
        for wrong in ["[]", r#"{"a":"x"}"#, r#"{"a":{"text":1}}"#, r#"{"a":{"text":"x","more":1}}"#, r#"{"a":{}}"#] {
            assert!(of_converse(wrong).is_err(), "{wrong}");
        }
    }
}
