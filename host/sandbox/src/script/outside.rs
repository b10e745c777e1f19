//! Calls of others, as scripts make them: of evaluators and mutators.

use kairos_pipeline::policy::{
    Failing, HttpMethod, HttpRequest, HttpResponse, ModelRequest, ModelResponse, OutsideError, part,
};
use rhai::{Array, Dynamic, ImmutableString, Map};

use super::api::{amount, code, option};
use super::policy::reaching;
use super::table::{Api, Fallible};
use crate::capability::Capability;

/// Registers what calls others.
pub(super) fn register(api: &mut Api<'_>) {
    api.section(
        "Calls of others",
        "Of evaluators and mutators. In a test they are what the test says, and while a policy is loaded nobody is \
         called: `unavailable`. Of a text that comes, the first 65,536 bytes are shown. What is not done gives `#{ error, message }`: `denied` (of a model `refused`), \
         `invalid`, `over-limit` or `unavailable`.",
    )
    .granted(
        Capability::Http,
        "http_send(request: map) -> map",
        "`#{ method: \"get\", url, headers: #{}, body }`, of which `url` alone is needed; gives \
         `#{ status, headers, body }`.",
        |request: Map| -> Fallible<Map> {
            let request = http_request(request)?;
            let sent = reaching(|reach| reach.send(&request)).map_err(|error| error.to_string())?;
            Ok(sent.map_or_else(|error| failure(&error, "denied"), http_response))
        },
    )
    .granted(
        Capability::Model,
        "model_call(request: map) -> map",
        "`#{ model, system, messages: [#{ role: \"user\", text }], max_output_tokens, temperature }`, or `prompt` for \
         a single message; gives `#{ text, model, cut, input_tokens, output_tokens, cost }`.",
        |request: Map| -> Fallible<Map> {
            let request = model_request(request)?;
            let called = reaching(|reach| reach.call(&request)).map_err(|error| error.to_string())?;
            Ok(called.map_or_else(|error| failure(&error, "refused"), model_response))
        },
    );
}

fn text(value: impl Into<ImmutableString>) -> Dynamic {
    Dynamic::from(value.into())
}

fn failure(error: &OutsideError, denied: &str) -> Map {
    let kind = if error.kind == Failing::Denied { denied } else { error.kind.name() };
    Map::from([("error".into(), text(kind)), ("message".into(), text(error.message.as_str()))])
}

/// What is read of a map that a script gives, key by key.
struct Given(Map);

impl Given {
    fn text(&mut self, key: &str) -> Fallible<Option<String>> {
        let Some(value) = self.0.remove(key).filter(|value| !value.is_unit()) else { return Ok(None) };
        value.into_string().map(Some).map_err(|kind| format!("{key} is {kind}; text is needed").into())
    }

    fn finish(self) -> Fallible<()> {
        match self.0.keys().next() {
            Some(unknown) => Err(format!("there is no key {unknown:?} of a request").into()),
            None => Ok(()),
        }
    }
}

fn needed<T>(value: Option<T>, key: &str) -> Fallible<T> {
    value.ok_or_else(|| format!("a request needs its `{key}`").into())
}

fn http_request(map: Map) -> Fallible<HttpRequest> {
    let mut given = Given(map);
    let method = given.text("method")?.unwrap_or_else(|| "get".to_owned());
    let known = HttpMethod::ALL.map(HttpMethod::name);
    let method = known.iter().position(|name| *name == method);
    let method = method.ok_or_else(|| format!("there is no such method; there are {}", known.join(", ")))?;
    let url = needed(given.text("url")?, "url")?;
    let body = given.text("body")?.unwrap_or_default().into_bytes();
    let mut headers = Vec::new();
    if let Some(map) = given.0.remove("headers") {
        let map = map.try_cast::<Map>().ok_or("headers are no map")?;
        for (name, value) in map {
            let value = value.into_string().map_err(|kind| format!("the header {name} is {kind}; text is needed"))?;
            headers.push((name.to_string(), value));
        }
    }
    given.finish()?;
    Ok(HttpRequest { method: HttpMethod::ALL[method], url, headers, body })
}

fn http_response(response: HttpResponse) -> Map {
    // Of a header that comes more than once, the first.
    let mut headers = Map::new();
    for (name, value) in response.headers {
        headers.entry(name.into()).or_insert_with(|| text(value));
    }
    Map::from([
        ("status".into(), Dynamic::from_int(response.status.into())),
        ("headers".into(), Dynamic::from_map(headers)),
        ("body".into(), text(part(&String::from_utf8_lossy(&response.body), 0))),
    ])
}

fn model_request(map: Map) -> Fallible<ModelRequest> {
    let mut given = Given(map);
    let model = needed(given.text("model")?, "model")?;
    let system = given.text("system")?;
    let mut messages = Vec::new();
    if let Some(prompt) = given.text("prompt")? {
        messages.push((true, prompt));
    }
    if let Some(list) = given.0.remove("messages") {
        for message in list.try_cast::<Array>().ok_or("messages are no array")? {
            let mut message = Given(message.try_cast::<Map>().ok_or("a message is no map")?);
            let is_users = match needed(message.text("role")?, "role")?.as_str() {
                "user" => true,
                "assistant" => false,
                _ => return Err("a message's role is `user` or `assistant`".into()),
            };
            messages.push((is_users, needed(message.text("text")?, "text")?));
            message.finish()?;
        }
    }
    let limit = needed(given.0.remove("max_output_tokens"), "max_output_tokens")?;
    let limit = limit.as_int().map_err(|kind| format!("max_output_tokens is {kind}; a whole number is needed"))?;
    let temperature = given.0.remove("temperature").filter(|value| !value.is_unit());
    let temperature = temperature.map(|value| {
        let whole = value.as_int().map(|whole| whole as f64);
        value.as_float().or(whole).map_err(|kind| format!("temperature is {kind}; a number is needed"))
    });
    let temperature = temperature.transpose()?;
    given.finish()?;
    Ok(ModelRequest { model, system, messages, max_output_tokens: code(limit)?, temperature })
}

fn model_response(response: ModelResponse) -> Map {
    Map::from([
        ("text".into(), text(part(&response.text, 0))),
        ("model".into(), text(response.model)),
        ("cut".into(), Dynamic::from_bool(response.cut)),
        ("input_tokens".into(), option(response.input_tokens)),
        ("output_tokens".into(), option(response.output_tokens)),
        ("cost".into(), Dynamic::from_int(amount(response.cost))),
    ])
}
