//! A template that a request names, as OpenAI's API does: `prompt`.

use serde_json::{Map, Value};

use super::refuse_rest;
use super::shape::PromptIn;
use crate::bedrock::short;
use crate::invalid::Invalid;
use crate::prompt::Named;

pub(super) fn named(prompt: PromptIn) -> Result<Named, Invalid> {
    refuse_rest("prompt.", &prompt.rest)?;
    let mut variables = Map::new();
    for (name, value) in prompt.variables.unwrap_or_default() {
        let value = value_of(&name, value)?;
        variables.insert(name, value);
    }
    Ok(Named { name: prompt.id, version: prompt.version, variables })
}

/// The value of a variable. OpenAI's API wraps texts; images and files have no place in a text.
fn value_of(name: &str, value: Value) -> Result<Value, Invalid> {
    let Some(kind) = value.get("type").and_then(Value::as_str).filter(|kind| kind.starts_with("input_")) else {
        return Ok(value);
    };
    match (kind, value.get("text")) {
        ("input_text", Some(Value::String(text))) => Ok(text.clone().into()),
        ("input_text", _) => Err(Invalid::value(format!("prompt.variables.{}.text", short(name)), "text is needed")),
        _ => Err(Invalid::unsupported(
            format!("prompt.variables.{}", short(name)),
            "a variable is text, a number, true or false, or a list or an object of them; images and files are not carried out",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse;

    fn told(prompt: &str) -> String {
        let body = format!(r#"{{"prompt":{prompt}}}"#);
        match parse(body.as_bytes(), false) {
            Ok(request) => format!("{:?}", request.prompt),
            Err(invalid) => invalid.text(),
        }
    }

    #[test]
    fn prompts_are_read() {
        let whole = r#"{"id":"support","version":"2","variables":{"a":"x","b":{"type":"input_text","text":"y"},"c":[1,true],"d":{"type":"cat"}}}"#;
        insta::assert_snapshot!(told(whole), @r#"Some(Named { name: "support", version: Some("2"), variables: {"a": String("x"), "b": String("y"), "c": Array [Number(1), Bool(true)], "d": Object {"type": String("cat")}} })"#);
        insta::assert_snapshot!(told(r#"{"id":"support","version":null,"variables":null}"#), @r#"Some(Named { name: "support", version: None, variables: {} })"#);
        for (prompt, says) in [
            (r#"{"version":"2"}"#, "prompt: missing field `id`"),
            (r#""support""#, "prompt: invalid type: string, expected a prompt: an object with an id"),
            (r#"{"id":"support","version":2}"#, "prompt.version: invalid type: integer, expected a string"),
            (r#"{"id":"support","variable":{}}"#, "prompt.variable: no such parameter"),
            (
                r#"{"id":"a","variables":{"photo":{"type":"input_image","image_url":"x"}}}"#,
                "prompt.variables.photo: a variable is text",
            ),
            (r#"{"id":"a","variables":{"x":{"type":"input_text"}}}"#, "prompt.variables.x.text: text is needed"),
        ] {
            let told = told(prompt);
            assert!(told.starts_with(says), "{prompt}: {told}");
        }
    }

    #[test]
    fn a_template_may_begin_the_conversation() {
        let assistant = r#"{"messages":[{"role":"assistant","content":"x"}]}"#;
        assert!(parse(assistant.as_bytes(), false).is_err() && parse(b"{}", false).is_err());
        assert!(parse(assistant.as_bytes(), true).is_ok() && parse(br#"{"messages":[]}"#, true).is_ok());
    }
}
