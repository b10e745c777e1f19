//! The JSON of a chat completion request, as far as it is read.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer};
use serde_json::value::RawValue;
use serde_json::{Map, Number, Value};

#[derive(Deserialize)]
#[serde(expecting = "a chat completion request")]
pub(super) struct Body<'a> {
    #[serde(borrow)]
    pub(super) model: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) messages: Option<Vec<MessageIn<'a>>>,
    pub(super) prompt: Option<PromptIn>,
    pub(super) temperature: Option<Number>,
    pub(super) top_p: Option<Number>,
    pub(super) max_tokens: Option<u32>,
    pub(super) max_completion_tokens: Option<u32>,
    #[serde(borrow)]
    pub(super) stop: Option<TextOrList<'a>>,
    pub(super) stream: Option<bool>,
    pub(super) stream_options: Option<StreamOptions>,
    #[serde(borrow)]
    pub(super) tools: Option<Vec<ToolIn<'a>>>,
    #[serde(borrow)]
    pub(super) tool_choice: Option<ToolChoiceIn<'a>>,
    pub(super) parallel_tool_calls: Option<bool>,
    pub(super) n: Option<u32>,
    #[serde(borrow)]
    pub(super) user: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) metadata: Option<BTreeMap<Cow<'a, str>, Cow<'a, str>>>,
    #[serde(borrow)]
    pub(super) service_tier: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) response_format: Option<ResponseFormat<'a>>,
    #[serde(flatten)]
    pub(super) rest: Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(expecting = "a prompt: an object with an id")]
pub(super) struct PromptIn {
    pub(super) id: String,
    pub(super) version: Option<String>,
    pub(super) variables: Option<Map<String, Value>>,
    #[serde(flatten)]
    pub(super) rest: Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(expecting = "stream options")]
pub(super) struct StreamOptions {
    pub(super) include_usage: Option<bool>,
    pub(super) include_obfuscation: Option<bool>,
    #[serde(flatten)]
    pub(super) rest: Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(expecting = "a message")]
pub(super) struct MessageIn<'a> {
    #[serde(borrow)]
    pub(super) role: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) content: Option<Content<'a>>,
    #[serde(borrow)]
    pub(super) refusal: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) tool_calls: Option<Vec<ToolCallIn<'a>>>,
    #[serde(borrow)]
    pub(super) tool_call_id: Option<Cow<'a, str>>,
    pub(super) annotations: Option<Vec<Value>>,
    #[serde(flatten)]
    pub(super) rest: Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(expecting = "a content part")]
pub(super) struct Part<'a> {
    #[serde(rename = "type", borrow)]
    pub(super) kind: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) text: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) refusal: Option<Cow<'a, str>>,
    #[serde(flatten)]
    pub(super) rest: Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(expecting = "a tool call")]
pub(super) struct ToolCallIn<'a> {
    #[serde(borrow)]
    pub(super) id: Cow<'a, str>,
    #[serde(rename = "type", borrow)]
    pub(super) kind: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) function: Option<FunctionCall<'a>>,
}

#[derive(Deserialize)]
#[serde(expecting = "a function call")]
pub(super) struct FunctionCall<'a> {
    #[serde(borrow)]
    pub(super) name: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) arguments: Cow<'a, str>,
}

#[derive(Deserialize)]
#[serde(expecting = "a tool")]
pub(super) struct ToolIn<'a> {
    #[serde(rename = "type", borrow)]
    pub(super) kind: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) function: Option<Function<'a>>,
    #[serde(flatten)]
    pub(super) rest: Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(expecting = "a function")]
pub(super) struct Function<'a> {
    #[serde(borrow)]
    pub(super) name: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) description: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) parameters: Option<&'a RawValue>,
    pub(super) strict: Option<bool>,
    #[serde(flatten)]
    pub(super) rest: Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(expecting = "a response format")]
pub(super) struct ResponseFormat<'a> {
    #[serde(rename = "type", borrow)]
    pub(super) kind: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) json_schema: Option<JsonSchemaIn<'a>>,
}

#[derive(Deserialize)]
#[serde(expecting = "a JSON schema with a name")]
pub(super) struct JsonSchemaIn<'a> {
    #[serde(borrow)]
    pub(super) name: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) description: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) schema: &'a RawValue,
    #[serde(rename = "strict")]
    _strict: Option<bool>,
}

/// A message's content: text, or parts.
pub(super) enum Content<'a> {
    Text(Cow<'a, str>),
    Parts(Vec<Part<'a>>),
}

/// One text, or several.
pub(super) enum TextOrList<'a> {
    Text(Cow<'a, str>),
    List(Vec<Cow<'a, str>>),
}

/// A mode, or a named function.
pub(super) enum ToolChoiceIn<'a> {
    Mode(Cow<'a, str>),
    Named(NamedChoice<'a>),
}

#[derive(Deserialize)]
#[serde(expecting = "a tool choice")]
pub(super) struct NamedChoice<'a> {
    #[serde(rename = "type", borrow)]
    pub(super) kind: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) function: Option<FunctionName<'a>>,
}

#[derive(Deserialize)]
#[serde(expecting = "a function's name")]
pub(super) struct FunctionName<'a> {
    #[serde(borrow)]
    pub(super) name: Cow<'a, str>,
}

/// Deserialises an enum that is a string or something else, without buffering, so that errors keep
/// their paths.
macro_rules! string_or {
    ($name:ident, $expecting:literal, $text:ident, $visit:ident, $access:ident, $body:expr) => {
        impl<'de: 'a, 'a> Deserialize<'de> for $name<'a> {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Either;
                impl<'de> Visitor<'de> for Either {
                    type Value = $name<'de>;

                    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                        formatter.write_str($expecting)
                    }

                    fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Self::Value, E> {
                        Ok($name::$text(Cow::Borrowed(text)))
                    }

                    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                        Ok($name::$text(Cow::Owned(text.to_owned())))
                    }

                    fn $visit<A: $access<'de>>(self, access: A) -> Result<Self::Value, A::Error> {
                        ($body)(access)
                    }
                }
                deserializer.deserialize_any(Either)
            }
        }
    };
}

fn collect<'de, T: Deserialize<'de>, A: SeqAccess<'de>>(mut list: A) -> Result<Vec<T>, A::Error> {
    let mut items = Vec::new();
    while let Some(item) = list.next_element()? {
        items.push(item);
    }
    Ok(items)
}

string_or!(Content, "a string or a list of content parts", Text, visit_seq, SeqAccess, |list| {
    collect(list).map(Content::Parts)
});
string_or!(TextOrList, "a string or a list of strings", Text, visit_seq, SeqAccess, |list| {
    collect(list).map(TextOrList::List)
});
string_or!(ToolChoiceIn, "a string or an object", Mode, visit_map, MapAccess, |map| {
    NamedChoice::deserialize(MapAccessDeserializer::new(map)).map(ToolChoiceIn::Named)
});
