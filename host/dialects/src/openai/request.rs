//! Reads a chat completion request into the canonical form.

mod messages;
mod prompt;
mod shape;
mod tools;

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::{Map, Number, Value};

use self::messages::Reader;
use self::shape::{Body, ResponseFormat, TextOrList};
use crate::bedrock::short;
use crate::canonical::{Inference, JsonSchema, OutputConfig, Request, Structure, TextFormat};
use crate::invalid::{Invalid, InvalidKind};
use crate::outline::ServiceTier;
use crate::prompt::Named;

/// A chat completion request, understood.
#[derive(Debug)]
pub struct ChatRequest<'a> {
    /// The model as the caller wrote it; none where the choice is left to the gateway.
    pub model: Option<Cow<'a, str>>,
    /// What to ask.
    pub canonical: Request<'a>,
    /// A template that comes before it.
    pub prompt: Option<Named>,
    /// Whether the answer is streamed.
    pub stream: bool,
    /// Whether the stream ends with a chunk of usage.
    pub include_usage: bool,
    /// What was adapted, for the caller to know.
    pub warnings: Vec<String>,
}

/// Parameters of OpenAI's API that have no counterpart in Bedrock, or that are not carried out yet.
const UNSUPPORTED: [&str; 20] = [
    "audio",
    "function_call",
    "functions",
    "logit_bias",
    "logprobs",
    "modalities",
    "moderation",
    "prediction",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "reasoning_effort",
    "safety_identifier",
    "seed",
    "store",
    "top_logprobs",
    "verbosity",
    "web_search_options",
    "frequency_penalty",
    "presence_penalty",
];

/// Reads a chat completion request. `body` is the HTTP body. Where it, or the caller elsewhere, names a
/// template, what is said need not begin as a conversation does: see [`Request::begins`].
pub fn parse(body: &[u8], is_named_elsewhere: bool) -> Result<ChatRequest<'_>, Invalid> {
    let body: Body<'_> = Invalid::parse(body)?;
    refuse_rest("", &body.rest)?;
    let prompt = body.prompt.map(prompt::named).transpose()?;
    if body.model.as_ref().is_some_and(|model| model.is_empty()) {
        return Err(Invalid::value(
            "model",
            "a model's name, or \"auto\", is needed; leave it out for the gateway's default",
        ));
    }
    if body.n.is_some_and(|n| n != 1) {
        return Err(Invalid::unsupported("n", "only 1 answer a request is carried out"));
    }
    if body.parallel_tool_calls == Some(false) {
        return Err(Invalid::unsupported(
            "parallel_tool_calls",
            "Bedrock cannot hold a model to one tool call; leave it out",
        ));
    }
    let mut reader = Reader::default();
    for (index, message) in body.messages.into_iter().flatten().enumerate() {
        reader.message(index, message)?;
    }
    reader.finish();
    let mut canonical = Request {
        inference_config: inference(
            body.temperature,
            body.top_p,
            body.max_tokens,
            body.max_completion_tokens,
            body.stop,
        )?,
        tool_config: tools::tools(body.tools, body.tool_choice, &reader.tools_used, &mut reader.warnings)?,
        request_metadata: metadata(body.user, body.metadata)?,
        service_tier: service_tier(body.service_tier.as_deref())?.map(Into::into),
        output_config: body.response_format.map(output_config).transpose()?.flatten(),
        ..Request::default()
    };
    canonical.messages = reader.messages;
    canonical.system = reader.system;
    if prompt.is_none() && !is_named_elsewhere {
        canonical.begins()?;
    }
    let options = body.stream_options;
    if let Some(options) = &options {
        refuse_rest("stream_options.", &options.rest)?;
        if body.stream != Some(true) {
            return Err(Invalid::value("stream_options", "only a streamed answer has options; set \"stream\": true"));
        }
        if options.include_obfuscation == Some(true) {
            return Err(Invalid::unsupported("stream_options.include_obfuscation", "obfuscation is not carried out"));
        }
    }
    Ok(ChatRequest {
        model: body.model,
        canonical,
        prompt,
        stream: body.stream.unwrap_or(false),
        include_usage: options.and_then(|options| options.include_usage).unwrap_or(false),
        warnings: reader.warnings,
    })
}

/// Refuses what is left over. A value of null asks for nothing; neither do the values by which
/// OpenAI's API says "off".
pub(super) fn refuse_rest(prefix: &str, rest: &Map<String, Value>) -> Result<(), Invalid> {
    for (name, value) in rest {
        let off = match name.as_str() {
            _ if value.is_null() => true,
            "logprobs" | "store" => *value == Value::Bool(false),
            "frequency_penalty" | "presence_penalty" | "top_logprobs" => value.as_f64() == Some(0.0),
            "logit_bias" => value.as_object().is_some_and(Map::is_empty),
            "modalities" => *value == serde_json::json!(["text"]),
            _ => false,
        };
        if off && (value.is_null() || prefix.is_empty()) {
            continue;
        }
        let path = format!("{prefix}{}", short(name));
        if prefix.is_empty() && UNSUPPORTED.contains(&name.as_str()) {
            return Err(Invalid::unsupported(path, "this parameter is not carried out; leave it out"));
        }
        return Err(Invalid {
            kind: InvalidKind::UnknownParameter,
            path: Some(path),
            message: "no such parameter; leave it out".to_owned(),
        });
    }
    Ok(())
}

fn inference<'a>(
    temperature: Option<Number>,
    top_p: Option<Number>,
    max_tokens: Option<u32>,
    max_completion_tokens: Option<u32>,
    stop: Option<TextOrList<'a>>,
) -> Result<Inference<'a>, Invalid> {
    for (name, value) in [("temperature", &temperature), ("top_p", &top_p)] {
        if value.as_ref().and_then(Number::as_f64).is_some_and(|value| !(0.0..=1.0).contains(&value)) {
            return Err(Invalid::value(name, "Bedrock takes a number from 0 to 1"));
        }
    }
    if max_tokens.is_some() && max_completion_tokens.is_some() {
        return Err(Invalid::value("max_tokens", "give this or max_completion_tokens, not both"));
    }
    let (limit_name, limit) = if max_tokens.is_some() {
        ("max_tokens", max_tokens)
    } else {
        ("max_completion_tokens", max_completion_tokens)
    };
    if limit == Some(0) {
        return Err(Invalid::value(limit_name, "at least 1 is needed"));
    }
    let stop_sequences = match stop {
        None => Vec::new(),
        Some(TextOrList::Text(text)) => vec![text],
        Some(TextOrList::List(list)) => list,
    };
    if let Some(index) = stop_sequences.iter().position(|text| text.is_empty()) {
        return Err(Invalid::value(format!("stop[{index}]"), "an empty text cannot end an answer"));
    }
    if stop_sequences.len() > 4 {
        return Err(Invalid::value("stop", "at most 4 are allowed"));
    }
    Ok(Inference { max_tokens: limit, temperature, top_p, stop_sequences })
}

/// `user` and `metadata` become labels in Bedrock's invocation logs.
pub(super) fn metadata<'a>(
    user: Option<Cow<'a, str>>,
    metadata: Option<BTreeMap<Cow<'a, str>, Cow<'a, str>>>,
) -> Result<BTreeMap<Cow<'a, str>, Cow<'a, str>>, Invalid> {
    let fits =
        |text: &str| text.len() <= 256 && text.chars().all(|c| c.is_ascii_alphanumeric() || " :_@$#=/+,-.".contains(c));
    let mut labels = metadata.unwrap_or_default();
    for (name, value) in &labels {
        if name.is_empty() || !fits(name) || !fits(value) {
            return Err(Invalid::value(
                format!("metadata.{}", short(name)),
                "Bedrock takes at most 256 characters, letters, digits, spaces and :_@$#=/+,-.",
            ));
        }
    }
    if let Some(user) = user.filter(|user| !user.is_empty()) {
        if !fits(&user) {
            return Err(Invalid::value(
                "user",
                "Bedrock takes at most 256 characters, letters, digits, spaces and :_@$#=/+,-.",
            ));
        }
        labels.insert(Cow::Borrowed("user"), user);
    }
    if labels.len() > 16 {
        return Err(Invalid::value("metadata", "Bedrock takes at most 16 labels, user included"));
    }
    Ok(labels)
}

fn service_tier(name: Option<&str>) -> Result<Option<ServiceTier>, Invalid> {
    match name {
        None | Some("auto" | "default") => Ok(None),
        Some(name @ ("flex" | "priority")) => Ok(ServiceTier::from_bedrock(name)),
        Some(other) => Err(Invalid::unsupported(
            "service_tier",
            format!("{:?} is not carried out; there are auto, default, flex and priority", short(other)),
        )),
    }
}

fn output_config(format: ResponseFormat<'_>) -> Result<Option<OutputConfig<'_>>, Invalid> {
    match (&*format.kind, format.json_schema) {
        ("text", _) => Ok(None),
        ("json_schema", Some(schema)) => Ok(Some(OutputConfig {
            text_format: TextFormat {
                kind: "json_schema",
                structure: Structure {
                    json_schema: JsonSchema {
                        schema: Cow::Borrowed(schema.schema.get()),
                        name: Some(schema.name),
                        description: schema.description,
                    },
                },
            },
        })),
        ("json_schema", None) => Err(Invalid::value("response_format.json_schema", "the schema is needed")),
        ("json_object", _) => Err(Invalid::unsupported(
            "response_format.type",
            "Bedrock has no \"json_object\"; use \"json_schema\" with a schema",
        )),
        (other, _) => Err(Invalid::value(
            "response_format.type",
            format!("{:?} is not a format; there are text and json_schema", short(other)),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn converse(body: &str) -> String {
        serde_json::to_string(&parse(body.as_bytes(), false).unwrap().canonical).unwrap()
    }

    fn refusal(body: &str) -> (InvalidKind, String) {
        match parse(body.as_bytes(), false) {
            Ok(request) => panic!("accepted as {request:?}"),
            Err(invalid) => (invalid.kind, invalid.text()),
        }
    }

    #[test]
    fn a_plain_conversation() {
        let body = r#"{"model":"auto","messages":[{"role":"system","content":"be terse"},{"role":"developer","content":[{"type":"text","text":"be kind"}]},
            {"role":"user","content":"hi"},{"role":"user","content":[{"type":"text","text":"again"}]},
            {"role":"assistant","content":"hello","refusal":null,"annotations":[],"audio":null,"function_call":null,"tool_calls":null},{"role":"user","content":"tell me"}],
            "temperature":0.7,"top_p":1,"max_completion_tokens":64,"stop":["END"],"user":"u-1","metadata":{"team":"a b"},"service_tier":"flex",
            "n":1,"logprobs":false,"seed":null,"frequency_penalty":0,"store":false}"#;
        insta::assert_snapshot!(converse(body), @r#"{"messages":[{"role":"user","content":[{"text":"hi"},{"text":"again"}]},{"role":"assistant","content":[{"text":"hello"}]},{"role":"user","content":[{"text":"tell me"}]}],"system":[{"text":"be terse"},{"text":"be kind"}],"inferenceConfig":{"maxTokens":64,"temperature":0.7,"topP":1,"stopSequences":["END"]},"requestMetadata":{"team":"a b","user":"u-1"},"serviceTier":{"type":"flex"}}"#);
    }

    #[test]
    fn tools_both_ways() {
        let body = r#"{"model":"m","messages":[{"role":"user","content":"weather?"},
            {"role":"assistant","content":null,"tool_calls":[{"id":"c1","type":"function","function":{"name":"get_weather","arguments":"{\"city\": \"Oslo\", \"n\": 1.50}"}},{"id":"c2","type":"function","function":{"name":"now","arguments":""}}]},
            {"role":"tool","tool_call_id":"c1","content":"cold"},{"role":"tool","tool_call_id":"c2","content":""},{"role":"user","content":"and?"}],
            "tools":[{"type":"function","function":{"name":"get_weather","description":"d","parameters":{"type":"object","properties":{"city":{"type":"string"}}},"strict":true}},{"type":"function","function":{"name":"now"}}],
            "tool_choice":{"type":"function","function":{"name":"get_weather"}},"parallel_tool_calls":true}"#;
        insta::assert_snapshot!(converse(body), @r#"{"messages":[{"role":"user","content":[{"text":"weather?"}]},{"role":"assistant","content":[{"toolUse":{"toolUseId":"c1","name":"get_weather","input":{"city": "Oslo", "n": 1.50}}},{"toolUse":{"toolUseId":"c2","name":"now","input":{}}}]},{"role":"user","content":[{"toolResult":{"toolUseId":"c1","content":[{"text":"cold"}]}},{"toolResult":{"toolUseId":"c2","content":[{"text":""}]}},{"text":"and?"}]}],"toolConfig":{"tools":[{"toolSpec":{"name":"get_weather","description":"d","inputSchema":{"json":{"type":"object","properties":{"city":{"type":"string"}}}},"strict":true}},{"toolSpec":{"name":"now","inputSchema":{"json":{"type":"object","properties":{}}}}}],"toolChoice":{"tool":{"name":"get_weather"}}}}"#);
        for (choice, expected) in
            [("\"auto\"", r#""toolChoice":{"auto":{}}"#), ("\"required\"", r#""toolChoice":{"any":{}}"#)]
        {
            let body = format!(
                r#"{{"model":"m","messages":[{{"role":"user","content":"x"}}],"tools":[{{"type":"function","function":{{"name":"f"}}}}],"tool_choice":{choice}}}"#
            );
            assert!(converse(&body).contains(expected), "{choice}");
        }
        let none = r#"{"model":"m","messages":[{"role":"user","content":"x"}],"tools":[{"type":"function","function":{"name":"f"}}],"tool_choice":"none"}"#;
        assert!(!converse(none).contains("toolConfig"));
    }

    #[test]
    fn a_history_of_tools_brings_its_tools_along() {
        let body = r#"{"model":"m","messages":[{"role":"user","content":"x"},{"role":"assistant","tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":"{}"}}]},{"role":"tool","tool_call_id":"c","content":"y"}]}"#;
        let request = parse(body.as_bytes(), false).unwrap();
        assert_eq!(request.warnings, ["tools: the tools that the conversation called were added, as Bedrock requires"]);
        assert!(converse(body).contains(r#""toolConfig":{"tools":[{"toolSpec":{"name":"f","inputSchema""#));
    }

    #[test]
    fn a_json_schema_reaches_the_model() {
        let body = r#"{"model":"m","messages":[{"role":"user","content":"x"}],"response_format":{"type":"json_schema","json_schema":{"name":"o","schema":{"type":"object"},"strict":true}}}"#;
        assert!(converse(body).contains(r#""outputConfig":{"textFormat":{"type":"json_schema","structure":{"jsonSchema":{"schema":"{\"type\":\"object\"}","name":"o"}}}}"#));
    }

    #[test]
    fn what_is_not_carried_out_is_refused_by_name() {
        let with = |extra: &str| format!(r#"{{"model":"m","messages":[{{"role":"user","content":"x"}}],{extra}}}"#);
        let cases: &[(String, InvalidKind, &str)] = &[
            (with(r#""seed":7"#), InvalidKind::Unsupported, "seed: this parameter is not carried out; leave it out"),
            (with(r#""frequency_penalty":0.5"#), InvalidKind::Unsupported, "frequency_penalty: this parameter is not carried out; leave it out"),
            (with(r#""logprobs":true"#), InvalidKind::Unsupported, "logprobs: this parameter is not carried out; leave it out"),
            (with(r#""n":2"#), InvalidKind::Unsupported, "n: only 1 answer a request is carried out"),
            (with(r#""reasoning_effort":"high""#), InvalidKind::Unsupported, "reasoning_effort: this parameter is not carried out; leave it out"),
            (with(r#""foo":1"#), InvalidKind::UnknownParameter, "foo: no such parameter; leave it out"),
            (with(r#""response_format":{"type":"json_object"}"#), InvalidKind::Unsupported, "response_format.type: Bedrock has no \"json_object\"; use \"json_schema\" with a schema"),
            (with(r#""parallel_tool_calls":false"#), InvalidKind::Unsupported, "parallel_tool_calls: Bedrock cannot hold a model to one tool call; leave it out"),
            (with(r#""temperature":1.5"#), InvalidKind::Value, "temperature: Bedrock takes a number from 0 to 1"),
            (with(r#""max_tokens":0"#), InvalidKind::Value, "max_tokens: at least 1 is needed"),
            (with(r#""max_tokens":"5""#), InvalidKind::Value, "max_tokens: invalid type: string, expected u32 at line 1 column 72"),
            (with(r#""stream_options":{"include_usage":true}"#), InvalidKind::Value, "stream_options: only a streamed answer has options; set \"stream\": true"),
            (with(r#""tool_choice":"required""#), InvalidKind::Value, "tool_choice: \"required\" needs tools"),
            (with(r#""tools":[{"type":"function","function":{"name":"a b"}}]"#), InvalidKind::Value, "tools[0].function.name: 1 to 64 characters a–z, A–Z, 0–9, _ or - are needed"),
            (r#"{"model":"m","messages":[]}"#.into(), InvalidKind::Value, "messages: at least one message of the user is needed"),
            (r#"{"model":"m","messages":[{"role":"user","content":""}]}"#.into(), InvalidKind::Value, "messages[0].content: text is needed"),
            (r#"{"model":"m","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"x"}}]}]}"#.into(), InvalidKind::Unsupported, "messages[0].content[0].type: parts of type \"image_url\" are not carried out; text is"),
            (r#"{"model":"m","messages":[{"role":"user","content":"x","name":"bob"}]}"#.into(), InvalidKind::UnknownParameter, "messages[0].name: no such parameter; leave it out"),
            (r#"{"model":"m","messages":[{"role":"assistant","content":"x"}]}"#.into(), InvalidKind::Value, "messages[0].role: a conversation starts with the user"),
            (r#"{"model":"m","messages":[{"role":"robot","content":"x"}]}"#.into(), InvalidKind::Value, "messages[0].role: \"robot\" is not a role; there are system, developer, user, assistant and tool"),
            (r#"{"model":"","messages":[{"role":"user","content":"x"}]}"#.into(), InvalidKind::Value, "model: a model's name, or \"auto\", is needed; leave it out for the gateway's default"),
            (r#"{"model":"m","messages":{"a":1}}"#.into(), InvalidKind::Value, "messages: invalid type: map, expected a sequence at line 1 column 24"),
        ];
        for (body, kind, expected) in cases {
            assert_eq!(refusal(body), (*kind, (*expected).to_owned()), "{body}");
        }
    }
}
