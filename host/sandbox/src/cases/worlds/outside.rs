//! What a test says of calls of others. A call of which it says nothing fails the test, as does one that it
//! speaks of and that is not made.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use kairos_pipeline::policy::{
    Failing, HttpMethod, HttpRequest, HttpResponse, ModelRequest, ModelResponse, Outside, OutsideError, one_line,
};

use super::super::offers::MOST;
use super::super::table::{Read, Table, Value, wrong};

/// Calls that a test may speak of.
const CALLS: usize = 64;
/// Bytes of a call that are shown.
const SHOWN: usize = 200;

/// What a test says of calls, not yet read.
pub(super) struct Beside<'a> {
    http: Option<Value<'a>>,
    model: Option<Value<'a>>,
}

/// A request to a service that a test speaks of, and what comes of it.
#[derive(Debug)]
struct Sent {
    method: HttpMethod,
    url: String,
    body: Option<String>,
    reply: Result<HttpResponse, OutsideError>,
}

/// The same of a call of a model.
#[derive(Debug)]
struct Called {
    model: String,
    /// The last message.
    prompt: Option<String>,
    reply: Result<ModelResponse, OutsideError>,
}

/// Calls that are still to be made, in the order of the test.
#[derive(Debug, Default)]
pub(super) struct Scripted {
    http: Mutex<Vec<Sent>>,
    model: Mutex<Vec<Called>>,
}

impl<'a> Beside<'a> {
    pub(super) fn take(test: &mut Table<'a>) -> Self {
        Self { http: test.take("http"), model: test.take("model") }
    }

    pub(super) fn read(self) -> Read<Scripted> {
        let http = self.http.map(|list| all(list, sent)).transpose()?.unwrap_or_default();
        let model = self.model.map(|list| all(list, called)).transpose()?.unwrap_or_default();
        Ok(Scripted { http: Mutex::new(http), model: Mutex::new(model) })
    }
}

fn all<T>(list: Value<'_>, read: fn(Table<'_>) -> Read<T>) -> Read<Vec<T>> {
    let mut calls = Vec::new();
    for one in list.list()? {
        if calls.len() == CALLS {
            return one.wrong(format_args!("more than {CALLS} calls"));
        }
        calls.push(read(one.table()?)?);
    }
    Ok(calls)
}

/// What comes of a call: `error` with its `message`, or what a reply is made of.
fn error(table: &mut Table<'_>, denied: &'static str) -> Read<Option<OutsideError>> {
    const KINDS: [Failing; 4] = [Failing::Denied, Failing::Invalid, Failing::OverLimit, Failing::Unavailable];
    let names = KINDS.map(|kind| if kind == Failing::Denied { denied } else { kind.name() });
    let kind = table.read("error", |value| Ok(KINDS[value.one_of(&names)?]))?;
    let message = table.read("message", Value::into_text)?;
    Ok(kind.map(|kind| OutsideError::new(kind, message.unwrap_or_else(|| "a test says so".to_owned()))))
}

fn sent(mut table: Table<'_>) -> Read<Sent> {
    let at = table.at;
    let names = HttpMethod::ALL.map(HttpMethod::name);
    let method = table.read("method", |value| Ok(HttpMethod::ALL[value.one_of(&names)?]))?;
    let (url, body) = (table.read("url", Value::into_text)?, table.read("body", Value::into_text)?);
    let status = table.read("status", |value| value.whole(599))?.and_then(|status| u16::try_from(status).ok());
    let headers = table.read("headers", |value| {
        let entries = value.table()?.entries();
        entries.map(|(name, value)| Ok((name.to_ascii_lowercase(), value.into_text()?))).collect::<Read<Vec<_>>>()
    })?;
    let reply = table.read("reply", Value::into_text)?;
    let failure = error(&mut table, "denied")?;
    table.finish()?;
    let Some(url) = url else { return wrong(at, "a request needs its `url`") };
    let reply = match (status, failure, headers.is_some() || reply.is_some()) {
        (Some(status), None, _) => {
            let (headers, body) = (headers.unwrap_or_default(), reply.unwrap_or_default().into_bytes());
            Ok(HttpResponse { status, headers, body })
        }
        (None, Some(failure), false) => Err(failure),
        _ => return wrong(at, "a request needs what comes of it: a `status`, with headers and a reply, or an `error`"),
    };
    Ok(Sent { method: method.unwrap_or(HttpMethod::Get), url, body, reply })
}

fn called(mut table: Table<'_>) -> Read<Called> {
    let at = table.at;
    let (model, prompt) = (table.read("model", Value::into_text)?, table.read("prompt", Value::into_text)?);
    let (reply, by) = (table.read("text", Value::into_text)?, table.read("by", Value::into_text)?);
    let cut = table.read("cut", |value| value.flag())?.unwrap_or_default();
    let input_tokens = table.read("input_tokens", |value| value.short())?;
    let output_tokens = table.read("output_tokens", |value| value.short())?;
    let cost = table.read("cost", |value| value.whole(MOST))?.unwrap_or_default();
    let failure = error(&mut table, "refused")?;
    table.finish()?;
    let Some(model) = model else { return wrong(at, "a call of a model needs its `model`") };
    let reply = match (reply, failure) {
        (Some(text), None) => {
            let by = by.unwrap_or_else(|| model.clone());
            Ok(ModelResponse { text, model: by, cut, input_tokens, output_tokens, cost })
        }
        (None, Some(failure)) => Err(failure),
        _ => return wrong(at, "a call of a model needs what comes of it: a `text`, or an `error`"),
    };
    Ok(Called { model, prompt, reply })
}

/// Takes the first that fits.
fn first<T>(calls: &Mutex<Vec<T>>, fits: impl Fn(&T) -> bool, what: &str) -> Result<T, OutsideError> {
    let mut calls = calls.lock().unwrap_or_else(PoisonError::into_inner);
    match calls.iter().position(fits) {
        Some(place) => Ok(calls.remove(place)),
        None => {
            let said = one_line(format!("the test says nothing of {what}"), SHOWN);
            Err(OutsideError::new(Failing::Unscripted, said))
        }
    }
}

impl Outside for Scripted {
    fn send(&self, request: &HttpRequest, _: &mut usize, _: Instant) -> Result<HttpResponse, OutsideError> {
        let HttpRequest { method, url, body, .. } = request;
        let fits = |sent: &Sent| {
            let same_body = sent.body.as_ref().is_none_or(|expected| expected.as_bytes() == body);
            sent.method == *method && sent.url == *url && same_body
        };
        first(&self.http, fits, &format!("the request `{} {url}`", method.name()))?.reply
    }

    fn call(&self, request: &ModelRequest, _: Instant) -> Result<ModelResponse, OutsideError> {
        let last = request.messages.last().map_or("", |(_, text)| text.as_str());
        let fits = |called: &Called| {
            called.model == request.model && called.prompt.as_ref().is_none_or(|prompt| prompt == last)
        };
        first(&self.model, fits, &format!("a call of {:?} with {last:?}", request.model))?.reply
    }

    fn left_over(&self) -> Vec<String> {
        let (http, model) = (self.http.lock(), self.model.lock());
        let (http, model) =
            (http.unwrap_or_else(PoisonError::into_inner), model.unwrap_or_else(PoisonError::into_inner));
        let sent = http.iter().map(|sent| format!("http: `{} {}` was not sent", sent.method.name(), sent.url));
        let called = model.iter().map(|called| format!("model: {:?} was not called", called.model));
        sent.chain(called).map(|what| one_line(what, SHOWN)).collect()
    }
}
