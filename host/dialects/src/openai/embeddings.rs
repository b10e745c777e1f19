//! OpenAI's embeddings: reads a request, writes its answer.
//!
//! `input_type` is not OpenAI's: models that tell what is searched from what is searched for take it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use base64::Engine as _;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::request::{metadata, refuse_rest};
use crate::invalid::Invalid;

/// Inputs that a request may have, as many as OpenAI takes.
pub const MOST_INPUTS: usize = 2_048;

/// What a vector is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InputType {
    /// To be found.
    SearchDocument,
    /// To find others.
    SearchQuery,
    /// To tell kinds apart.
    Classification,
    /// To be grouped.
    Clustering,
}

/// What is wanted beside the vectors themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Numbers of each vector.
    pub dimensions: Option<u32>,
    /// What they are for.
    pub input_type: Option<InputType>,
    /// Whether each is written as base64 of its numbers, four bytes each, the lowest first.
    pub base64: bool,
}

/// A request, understood.
#[derive(Debug)]
pub struct EmbeddingsRequest<'a> {
    /// The model as the caller wrote it.
    pub model: Option<Cow<'a, str>>,
    /// What to embed.
    pub texts: Vec<String>,
    /// How.
    pub wanted: Wanted,
    /// Labels of the request: the user, where the caller says who that is.
    pub labels: BTreeMap<Cow<'a, str>, Cow<'a, str>>,
}

#[derive(Deserialize)]
#[serde(expecting = "a request for embeddings")]
struct Body<'a> {
    #[serde(borrow)]
    model: Option<Cow<'a, str>>,
    input: Option<Value>,
    dimensions: Option<u32>,
    #[serde(borrow)]
    encoding_format: Option<Cow<'a, str>>,
    #[serde(borrow)]
    user: Option<Cow<'a, str>>,
    input_type: Option<Value>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

/// Reads a request.
pub fn parse(body: &[u8]) -> Result<EmbeddingsRequest<'_>, Invalid> {
    let body: Body<'_> = Invalid::parse(body)?;
    refuse_rest("", &body.rest)?;
    let base64 = match body.encoding_format.as_deref() {
        None | Some("float") => false,
        Some("base64") => true,
        Some(_) => return Err(Invalid::value("encoding_format", "\"float\" or \"base64\" is needed")),
    };
    let input_type = match body.input_type {
        None | Some(Value::Null) => None,
        Some(value) => Some(InputType::deserialize(value).map_err(|_| {
            let message = "\"search_document\", \"search_query\", \"classification\" or \"clustering\" is needed";
            Invalid::value("input_type", message)
        })?),
    };
    let labels = metadata(body.user, None)?;
    let texts = texts(body.input)?;
    let wanted = Wanted { dimensions: body.dimensions, input_type, base64 };
    Ok(EmbeddingsRequest { model: body.model, texts, wanted, labels })
}

fn texts(input: Option<Value>) -> Result<Vec<String>, Invalid> {
    let inputs = match input {
        None | Some(Value::Null) => return Err(Invalid::value("input", "it is missing: a text, or a list of texts")),
        Some(Value::Array(inputs)) => inputs,
        Some(one) => vec![one],
    };
    if inputs.is_empty() || inputs.len() > MOST_INPUTS {
        return Err(Invalid::value("input", format!("a list of 1 to {MOST_INPUTS} texts is needed")));
    }
    let text = |(index, input): (usize, Value)| match input {
        Value::String(text) if text.is_empty() => Err(Invalid::value(format!("input[{index}]"), "it is empty")),
        Value::String(text) => Ok(text),
        Value::Number(_) | Value::Array(_) => {
            let message = "tokens are those of one tokenizer, and Bedrock's models take none: send the text";
            Err(Invalid::unsupported("input", message))
        }
        _ => Err(Invalid::value(format!("input[{index}]"), "a text is needed")),
    };
    inputs.into_iter().enumerate().map(text).collect()
}

/// The texts, as a body that all further steps read.
pub fn canonical(texts: &[String]) -> Bytes {
    #[derive(Serialize)]
    struct Texts<'a> {
        texts: &'a [String],
    }
    serde_json::to_vec(&Texts { texts }).unwrap_or_default().into()
}

/// The texts of such a body.
pub fn canonical_texts(body: &[u8]) -> Result<Vec<Cow<'_, str>>, Invalid> {
    #[derive(Deserialize)]
    struct Texts<'a> {
        #[serde(borrow)]
        texts: Vec<Cow<'a, str>>,
    }
    Ok(Invalid::parse::<Texts<'_>>(body)?.texts)
}

/// Writes an answer, vector by vector.
#[derive(Debug)]
pub struct AnswerWriter {
    base64: bool,
    body: Vec<u8>,
    count: usize,
}

impl AnswerWriter {
    /// Without a vector yet.
    pub fn new(base64: bool) -> Self {
        Self { base64, body: b"{\"object\":\"list\",\"data\":[".to_vec(), count: 0 }
    }

    /// Adds all of an answer, or none of them where one is no list of numbers.
    pub fn push_all(&mut self, vectors: &[&RawValue]) -> Result<(), Invalid> {
        let before = (self.body.len(), self.count);
        vectors.iter().try_for_each(|vector| self.push(vector)).inspect_err(|_| {
            self.body.truncate(before.0);
            self.count = before.1;
        })
    }

    /// Adds one: a list of numbers, as the model wrote it.
    fn push(&mut self, vector: &RawValue) -> Result<(), Invalid> {
        let comma = if self.count == 0 { "" } else { "," };
        let head = format!("{comma}{{\"object\":\"embedding\",\"index\":{},\"embedding\":", self.count);
        self.body.extend_from_slice(head.as_bytes());
        self.count += 1;
        let numbers: Vec<f32> = Invalid::parse(vector.get().as_bytes())?;
        if self.base64 {
            let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
            self.body.push(b'"');
            self.body.extend_from_slice(base64::engine::general_purpose::STANDARD.encode(bytes).as_bytes());
            self.body.push(b'"');
        } else {
            self.body.extend_from_slice(vector.get().as_bytes());
        }
        self.body.push(b'}');
        Ok(())
    }

    /// The whole answer of a model that counted so many tokens.
    pub fn finish(mut self, model: &str, tokens: u64) -> Bytes {
        let model = serde_json::to_string(model).unwrap_or_default();
        let tail = format!("],\"model\":{model},\"usage\":{{\"prompt_tokens\":{tokens},\"total_tokens\":{tokens}}}}}");
        self.body.extend_from_slice(tail.as_bytes());
        self.body.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_are_texts() {
        let texts = |body: &str| parse(body.as_bytes()).map(|request| request.texts);
        assert_eq!(texts(r#"{"input":"one"}"#).unwrap(), ["one"]);
        assert_eq!(texts(r#"{"input":["one","two"]}"#).unwrap(), ["one", "two"]);
        let canonical = canonical(&["one \"x\"".to_owned()]);
        assert_eq!(canonical_texts(&canonical).unwrap(), ["one \"x\""]);
        let many = serde_json::json!({"input": vec!["x"; MOST_INPUTS + 1]}).to_string();
        let told = [
            "{}",
            r#"{"input":[]}"#,
            r#"{"input":["a",""]}"#,
            r#"{"input":[1,2]}"#,
            r#"{"input":[[1,2]]}"#,
            r#"{"input":[{}]}"#,
            &many,
            r#"{"input":"a","encoding_format":"hex"}"#,
            r#"{"input":"a","input_type":"image"}"#,
            r#"{"input":"a","user":"é"}"#,
            r#"{"input":"a","stream":true}"#,
        ]
        .map(|body| parse(body.as_bytes()).unwrap_err().text());
        insta::assert_snapshot!(told.join("\n"), @r#"
        input: it is missing: a text, or a list of texts
        input: a list of 1 to 2048 texts is needed
        input[1]: it is empty
        input: tokens are those of one tokenizer, and Bedrock's models take none: send the text
        input: tokens are those of one tokenizer, and Bedrock's models take none: send the text
        input[0]: a text is needed
        input: a list of 1 to 2048 texts is needed
        encoding_format: "float" or "base64" is needed
        input_type: "search_document", "search_query", "classification" or "clustering" is needed
        user: Bedrock takes at most 256 characters, letters, digits, spaces and :_@$#=/+,-.
        stream: no such parameter; leave it out
        "#);
        assert!(parse(br#"{"input":"a","dimensions":-1}"#).is_err());
    }

    #[test]
    fn a_vector_is_written_as_it_came_or_in_base64() {
        let vector: &RawValue = serde_json::from_str("[0.5, -2e0]").unwrap();
        let written = |base64| {
            let mut writer = AnswerWriter::new(base64);
            writer.push(vector).unwrap();
            writer.push(vector).unwrap();
            String::from_utf8(writer.finish("m", 7).to_vec()).unwrap()
        };
        insta::assert_snapshot!(written(false), @r#"{"object":"list","data":[{"object":"embedding","index":0,"embedding":[0.5, -2e0]},{"object":"embedding","index":1,"embedding":[0.5, -2e0]}],"model":"m","usage":{"prompt_tokens":7,"total_tokens":7}}"#);
        insta::assert_snapshot!(written(true), @r#"{"object":"list","data":[{"object":"embedding","index":0,"embedding":"AAAAPwAAAMA="},{"object":"embedding","index":1,"embedding":"AAAAPwAAAMA="}],"model":"m","usage":{"prompt_tokens":7,"total_tokens":7}}"#);
        let text: &RawValue = serde_json::from_str(r#""secret""#).unwrap();
        let mut writer = AnswerWriter::new(false);
        // One that is no vector takes those beside it along.
        assert!(writer.push_all(&[vector, text]).is_err());
        writer.push_all(&[vector]).unwrap();
        let body = String::from_utf8(writer.finish("m", 7).to_vec()).unwrap();
        assert!(body.contains(r#""data":[{"object":"embedding","index":0,"embedding":[0.5, -2e0]}],"#), "{body}");
    }
}
