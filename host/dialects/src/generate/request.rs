//! Reads a request.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};

use super::parameters::{self, Parameters};
use crate::bedrock::short;
use crate::canonical::{Block, Message, Request, Role, SystemBlock};
use crate::invalid::{Invalid, InvalidKind};

/// A request, understood.
#[derive(Debug)]
pub struct Generate<'a> {
    /// The model as the caller wrote it; none where the choice is the gateway's.
    pub model: Option<Cow<'a, str>>,
    /// What to ask. Its parameters depend on the model, and are not in it.
    pub canonical: Request<'a>,
    /// The parameters.
    pub parameters: Parameters,
    /// Hints of the context: names as in the headers, without the prefix, and values as text.
    pub hints: Vec<(&'static str, String)>,
    /// The caller's own id.
    pub client_request_id: Option<String>,
    /// What was left aside, for the caller to know.
    pub warnings: Vec<String>,
}

#[derive(Deserialize)]
#[serde(expecting = "a request: an object with a prompt")]
struct Body<'a> {
    #[serde(borrow)]
    prompt: Option<Cow<'a, str>>,
    #[serde(borrow)]
    model_preference: Option<Cow<'a, str>>,
    max_tokens: Option<u32>,
    temperature: Option<f64>,
    top_p: Option<f64>,
    top_k: Option<u32>,
    stop_sequences: Option<Vec<String>>,
    #[serde(borrow)]
    context: Option<Context<'a>>,
    request_id: Option<String>,
    #[serde(borrow)]
    timestamp: Option<Cow<'a, str>>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

const FIELDS: [&str; 10] = [
    "prompt",
    "model_preference",
    "max_tokens",
    "temperature",
    "top_p",
    "top_k",
    "stop_sequences",
    "context",
    "request_id",
    "timestamp",
];

#[derive(Default, Deserialize)]
#[serde(expecting = "an object")]
struct Context<'a> {
    #[serde(borrow)]
    system: Option<Cow<'a, str>>,
    #[serde(borrow)]
    messages: Option<Vec<Turn<'a>>>,
    #[serde(borrow)]
    task: Option<Cow<'a, str>>,
    #[serde(borrow)]
    complexity: Option<Cow<'a, str>>,
    est_tokens: Option<u64>,
    max_latency_ms: Option<u64>,
    accuracy: Option<f64>,
    cost_sensitivity: Option<f64>,
    #[serde(borrow)]
    priority: Option<Cow<'a, str>>,
    #[serde(borrow)]
    fallback: Option<Cow<'a, str>>,
    tags: Option<BTreeMap<String, String>>,
    #[serde(borrow)]
    prompt: Option<Cow<'a, str>>,
    prompt_variables: Option<Map<String, Value>>,
    /// Names only: what an application keeps here is none of ours.
    #[serde(flatten)]
    rest: BTreeMap<String, IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a message: an object with a role and content")]
struct Turn<'a> {
    #[serde(borrow)]
    role: Cow<'a, str>,
    #[serde(borrow)]
    content: Cow<'a, str>,
}

/// The most that any family takes of `top_k`.
const MOST_TOP_K: u32 = 500;
/// As many as Converse takes.
const MOST_STOP_SEQUENCES: usize = 2_500;
/// Bytes of a caller's own id.
const MOST_ID_BYTES: usize = 128;
/// Names of unknown keys that a warning shows.
const MOST_NAMES: usize = 8;

/// Reads a request. `body` is the HTTP body, or an entry of a batch.
pub fn parse(body: &[u8]) -> Result<Generate<'_>, Invalid> {
    let body: Body<'_> = Invalid::parse(body)?;
    refuse_rest(&body.rest)?;
    let parameters = read_parameters(&body)?;
    let prompt = body.prompt.filter(|prompt| !prompt.is_empty());
    let prompt = prompt.ok_or_else(|| Invalid::value("prompt", "a text that is not empty is needed"))?;
    let context = body.context.unwrap_or_default();
    let mut warnings = Vec::new();
    let hints = hints(&context, &mut warnings)?;
    let mut canonical = Request { messages: turns(context.messages, prompt)?, ..Request::default() };
    canonical.system.extend(context.system.filter(|text| !text.is_empty()).map(SystemBlock::Text));
    if let Some(id) = &body.request_id
        && !((1..=MOST_ID_BYTES).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic()))
    {
        return Err(Invalid::value("request_id", "1 to 128 printable ASCII characters without spaces are needed"));
    }
    if body.timestamp.as_deref().is_some_and(|text| !is_time(text)) {
        return Err(Invalid::value("timestamp", "a time in ISO 8601 is needed, for example 2026-11-23T12:00:00Z"));
    }
    Ok(Generate {
        model: body.model_preference,
        canonical,
        parameters,
        hints,
        client_request_id: body.request_id,
        warnings,
    })
}

fn refuse_rest(rest: &Map<String, Value>) -> Result<(), Invalid> {
    for (name, value) in rest {
        if name == "stream" {
            if matches!(value, Value::Null | Value::Bool(false)) {
                continue;
            }
            return Err(Invalid::unsupported(
                "stream",
                "this API gives whole answers; streams are at /v1/chat/completions and /model/{id}/converse-stream",
            ));
        }
        let near = FIELDS.map(|field| (strsim::jaro_winkler(field, name), field));
        let near = near.into_iter().max_by(|(a, _), (b, _)| a.total_cmp(b)).filter(|(score, _)| *score > 0.8);
        return Err(Invalid {
            kind: InvalidKind::UnknownParameter,
            path: Some(short(name).to_owned()),
            message: match near {
                Some((_, near)) => format!("there is no such field; did you mean {near}?"),
                None => format!("there is no such field; there are {}", FIELDS.join(", ")),
            },
        });
    }
    Ok(())
}

fn read_parameters(body: &Body<'_>) -> Result<Parameters, Invalid> {
    let fraction = |name: &str, value: Option<f64>, default: f64| match value {
        Some(value) if !(0.0..=1.0).contains(&value) => Err(Invalid::value(name, "a number from 0 to 1 is needed")),
        value => Ok(value.unwrap_or(default)),
    };
    if body.max_tokens == Some(0) {
        return Err(Invalid::value("max_tokens", "at least 1 is needed"));
    }
    if body.top_k.is_some_and(|k| !(1..=MOST_TOP_K).contains(&k)) {
        return Err(Invalid::value("top_k", "a whole number from 1 to 500 is needed"));
    }
    let stop_sequences = body.stop_sequences.clone().unwrap_or_default();
    if let Some(index) = stop_sequences.iter().position(String::is_empty) {
        return Err(Invalid::value(format!("stop_sequences[{index}]"), "an empty text cannot end an answer"));
    }
    if stop_sequences.len() > MOST_STOP_SEQUENCES {
        return Err(Invalid::value("stop_sequences", "at most 2,500 are allowed"));
    }
    Ok(Parameters {
        max_tokens: body.max_tokens.unwrap_or(parameters::MAX_TOKENS),
        temperature: fraction("temperature", body.temperature, parameters::TEMPERATURE)?,
        top_p: fraction("top_p", body.top_p, parameters::TOP_P)?,
        top_k: body.top_k.unwrap_or(parameters::TOP_K),
        stop_sequences,
    })
}

/// The conversation: earlier turns, those of one role in a row made one, then the prompt.
fn turns<'a>(earlier: Option<Vec<Turn<'a>>>, prompt: Cow<'a, str>) -> Result<Vec<Message<'a>>, Invalid> {
    let mut messages: Vec<Message<'a>> = Vec::new();
    let mut push = |role: Role, text: Cow<'a, str>| match messages.last_mut() {
        Some(last) if last.role == role => last.content.push(Block::Text(text)),
        _ => messages.push(Message { role, content: vec![Block::Text(text)] }),
    };
    for (index, turn) in earlier.unwrap_or_default().into_iter().enumerate() {
        let path = |field: &str| format!("context.messages[{index}].{field}");
        let role = match &*turn.role {
            "user" => Role::User,
            "assistant" if index > 0 => Role::Assistant,
            "assistant" => return Err(Invalid::value(path("role"), "a conversation starts with the user")),
            other => {
                let message = format!("{:?} is not a role; there are user and assistant", short(other));
                return Err(Invalid::value(path("role"), message));
            }
        };
        if turn.content.is_empty() {
            return Err(Invalid::value(path("content"), "a text that is not empty is needed"));
        }
        push(role, turn.content);
    }
    push(Role::User, prompt);
    Ok(messages)
}

/// The context's hints as the headers have them, and a warning of keys that are not known.
fn hints(context: &Context<'_>, warnings: &mut Vec<String>) -> Result<Vec<(&'static str, String)>, Invalid> {
    // As many places as a header may have; what is out of range stays so.
    let fraction = |value: f64| format!("{value:.12}");
    let text = |value: &Cow<'_, str>| value.to_string();
    let mut hints = Vec::new();
    for (name, value) in [
        ("task", context.task.as_ref().map(text)),
        ("complexity", context.complexity.as_ref().map(text)),
        ("est-tokens", context.est_tokens.map(|number| number.to_string())),
        ("max-latency-ms", context.max_latency_ms.map(|number| number.to_string())),
        ("accuracy", context.accuracy.map(fraction)),
        ("cost-sensitivity", context.cost_sensitivity.map(fraction)),
        ("priority", context.priority.as_ref().map(text)),
        ("fallback", context.fallback.as_ref().map(text)),
        ("tags", context.tags.as_ref().map(tags).transpose()?),
        ("prompt", context.prompt.as_ref().map(text)),
        ("prompt-variables", context.prompt_variables.clone().map(|values| Value::from(values).to_string())),
    ] {
        hints.extend(value.map(|value| (name, value)));
    }
    if !context.rest.is_empty() {
        let mut names: Vec<_> = context.rest.keys().take(MOST_NAMES).map(|name| short(name)).collect();
        if context.rest.len() > MOST_NAMES {
            names.push("…");
        }
        warnings.push(format!("context: keys that the gateway does not read were left aside: {}", names.join(", ")));
    }
    Ok(hints)
}

/// Tags in a header's form, in which neither `,` nor `=` can be part of one.
fn tags(tags: &BTreeMap<String, String>) -> Result<String, Invalid> {
    let separates = |text: &str| text.contains([',', '=']);
    if let Some((name, _)) = tags.iter().find(|(name, value)| name.is_empty() || separates(name) || separates(value)) {
        let message = "a name, and no comma or = in name and value, are needed";
        return Err(Invalid::value(format!("context.tags.{}", short(name)), message));
    }
    let pairs: Vec<_> = tags.iter().map(|(name, value)| format!("{name}={value}")).collect();
    Ok(pairs.join(","))
}

/// Whether a text is a time, with an offset or without.
fn is_time(text: &str) -> bool {
    text.parse::<jiff::Timestamp>().is_ok() || text.parse::<jiff::civil::DateTime>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(body: &str) -> String {
        match parse(body.as_bytes()) {
            Ok(request) => panic!("accepted as {request:?}"),
            Err(invalid) => invalid.text(),
        }
    }

    #[test]
    fn a_prompt_alone_has_the_defaults() {
        let request = parse(br#"{"prompt":"hi"}"#).unwrap();
        assert_eq!((request.model, request.parameters), (None, Parameters::default()));
        insta::assert_snapshot!(serde_json::to_string(&request.canonical).unwrap(), @r#"{"messages":[{"role":"user","content":[{"text":"hi"}]}]}"#);
        let nulls = r#"{"prompt":"hi","model_preference":null,"max_tokens":null,"temperature":null,"top_p":null,"top_k":null,
            "stop_sequences":null,"context":null,"request_id":null,"timestamp":null,"stream":false}"#;
        assert_eq!(parse(nulls.as_bytes()).unwrap().parameters, Parameters::default());
    }

    /// What `json.dumps` makes of the data class, and of a context with all that is known.
    #[test]
    fn every_field() {
        let body = r#"{"prompt":"and now?","model_preference":"nova-lite","max_tokens":100,"temperature":0.2,"top_p":1,"top_k":40,
            "stop_sequences":["END"],"request_id":"5c0b1b5e-8d4e-4f0a-9f0e-0d5f3a3a3a3a","timestamp":"2026-11-23T12:00:00.123456",
            "context":{"system":"be terse","messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"},{"role":"user","content":"c"}],
            "task":"code","complexity":"high","est_tokens":9,"max_latency_ms":500,"accuracy":0.1,"cost_sensitivity":0.3333333333333333,
            "priority":"critical","fallback":"any","tags":{"team":"search","env":"prod"},"zone":{"deep":[1]},"session":7}}"#;
        let request = parse(body.as_bytes()).unwrap();
        insta::assert_snapshot!(serde_json::to_string(&request.canonical).unwrap(), @r#"{"messages":[{"role":"user","content":[{"text":"a"}]},{"role":"assistant","content":[{"text":"b"}]},{"role":"user","content":[{"text":"c"},{"text":"and now?"}]}],"system":[{"text":"be terse"}]}"#);
        let parameters =
            Parameters { max_tokens: 100, temperature: 0.2, top_p: 1.0, top_k: 40, stop_sequences: vec!["END".into()] };
        assert_eq!(request.parameters, parameters);
        let hints: Vec<_> = request.hints.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        insta::assert_snapshot!(hints.join("; "), @"task: code; complexity: high; est-tokens: 9; max-latency-ms: 500; accuracy: 0.100000000000; cost-sensitivity: 0.333333333333; priority: critical; fallback: any; tags: env=prod,team=search");
        assert_eq!(request.client_request_id.as_deref(), Some("5c0b1b5e-8d4e-4f0a-9f0e-0d5f3a3a3a3a"));
        assert_eq!(request.warnings, ["context: keys that the gateway does not read were left aside: session, zone"]);
    }

    #[test]
    fn times() {
        for time in [
            "2026-11-23T12:00:00Z",
            "2026-11-23T12:00:00.5+01:00",
            "2026-11-23T12:00:00.123456",
            "2026-11-23 12:00:00",
            "2026-11-23",
        ] {
            assert!(is_time(time), "{time}");
        }
        for time in ["", "now", "2026-13-01T00:00:00Z", "1764000000", "12:00:00"] {
            assert!(!is_time(time), "{time}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_what_was_meant() {
        let with = |extra: &str| format!(r#"{{"prompt":"x",{extra}}}"#);
        let many = format!("\"stop_sequences\":[{}]", vec!["\"a\""; 2_501].join(","));
        for (body, expected) in [
            ("{}".to_owned(), "prompt: a text that is not empty is needed"),
            (r#"{"prompt":""}"#.to_owned(), "prompt: a text that is not empty is needed"),
            (r#"{"prompt":7}"#.to_owned(), "prompt: invalid type: integer, expected a string at line 1 column 11"),
            ("[]".to_owned(), "invalid type: sequence, expected a request: an object with a prompt"),
            (
                "{\"prompt\":\"x\"".to_owned(),
                "the body is not valid JSON: EOF while parsing an object at line 1 column 13",
            ),
            (with(r#""prompt":"y""#), "duplicate field `prompt` at line 1 column 22"),
            (with(r#""model":"nova-lite""#), "model: there is no such field; did you mean model_preference?"),
            (with(r#""max_token":5"#), "max_token: there is no such field; did you mean max_tokens?"),
            (
                with(r#""zzz":5"#),
                "zzz: there is no such field; there are prompt, model_preference, max_tokens, temperature, top_p, top_k, stop_sequences, context, request_id, timestamp",
            ),
            (
                with(r#""stream":true"#),
                "stream: this API gives whole answers; streams are at /v1/chat/completions and /model/{id}/converse-stream",
            ),
            (with(r#""max_tokens":0"#), "max_tokens: at least 1 is needed"),
            (with(r#""max_tokens":"5""#), "max_tokens: invalid type: string, expected u32 at line 1 column 30"),
            (with(r#""temperature":1.5"#), "temperature: a number from 0 to 1 is needed"),
            (with(r#""top_p":-0.1"#), "top_p: a number from 0 to 1 is needed"),
            (with(r#""top_k":0"#), "top_k: a whole number from 1 to 500 is needed"),
            (with(r#""top_k":501"#), "top_k: a whole number from 1 to 500 is needed"),
            (with(r#""stop_sequences":["a",""]"#), "stop_sequences[1]: an empty text cannot end an answer"),
            (with(&many), "stop_sequences: at most 2,500 are allowed"),
            (
                with(r#""request_id":"a b""#),
                "request_id: 1 to 128 printable ASCII characters without spaces are needed",
            ),
            (
                with(r#""timestamp":"yesterday""#),
                "timestamp: a time in ISO 8601 is needed, for example 2026-11-23T12:00:00Z",
            ),
            (with(r#""context":[]"#), "context: invalid type: sequence, expected an object"),
            (with(r#""context":{"system":1}"#), "context.system: invalid type: integer, expected a string"),
            (
                with(r#""context":{"messages":[{"role":"assistant","content":"x"}]}"#),
                "context.messages[0].role: a conversation starts with the user",
            ),
            (
                with(r#""context":{"messages":[{"role":"system","content":"x"}]}"#),
                "context.messages[0].role: \"system\" is not a role; there are user and assistant",
            ),
            (
                with(r#""context":{"messages":[{"role":"user","content":""}]}"#),
                "context.messages[0].content: a text that is not empty is needed",
            ),
            (
                with(r#""context":{"messages":[{"role":"user","content":"x","name":"y"}]}"#),
                "context.messages[0].name: unknown field `name`, expected `role` or `content`",
            ),
            (
                with(r#""context":{"tags":{"a":"b,c"}}"#),
                "context.tags.a: a name, and no comma or = in name and value, are needed",
            ),
        ] {
            let said = refusal(&body);
            assert!(said.starts_with(expected), "{body:.80}: {said}");
        }
    }
}
