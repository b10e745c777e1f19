//! Calls of models for policies, through a gateway: whatever holds for its callers holds for these.
//!
//! What a run may spend is set aside before each call, at its worst case by this side's prices: one attempt, as
//! the gateway's default repeats only what cost nothing. A call that is answered gives back what it did not cost;
//! one whose cost is not told has cost its worst case. What is charged beyond it is booked, and then less is left.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use kairos_bedrock::connect::{Connector, ConnectorError, connector};
use kairos_dialects::Outline;
use kairos_pipeline::models::{Answering, Catalogue};
use kairos_pipeline::money::{Picodollars, dollars};
use kairos_pipeline::policy::{Failing, ModelRequest, ModelResponse, OutsideError, one_line};
use kairos_pipeline::price::{Limits, day_of, worst_case};
use kairos_pipeline::request::Secret;
use serde_json::{Value, json};

use super::{Used, failed, shortly, time_left};
use crate::assemble::unix_ms;
use crate::config::ModelSettings;

/// Bytes of an answer that are read: a model's longest is far shorter.
const MOST_ANSWER: usize = 16 * 1024 * 1024;
/// Time for a connection.
const CONNECT: Duration = Duration::from_secs(10);

/// Where models are called, and as whom.
#[derive(Clone, Debug)]
pub(crate) struct Gateway {
    /// Its address, without a path.
    pub(crate) url: String,
    /// A key of it; none: it asks for none.
    pub(crate) key: Option<Secret>,
}

/// What a run has left.
#[derive(Debug)]
struct Purse {
    /// May be below nothing: what was charged beyond its worst case.
    left: i128,
    spent: u64,
    calls: u32,
    /// Calls beyond those of a run, and those that its money did not suffice for.
    refused: [u64; 2],
}

/// Calls models through a gateway.
pub(crate) struct ModelCaller {
    client: Client<Connector, Full<Bytes>>,
    address: Uri,
    authorization: Option<HeaderValue>,
    catalogue: Arc<Catalogue>,
    run_calls: u32,
    run: Picodollars,
    purse: Mutex<Purse>,
}

impl Gateway {
    /// Reads an address: of http or https, without a path. Says what is wrong with it.
    pub(crate) fn read(url: &str, key: Option<Secret>) -> Result<Self, String> {
        let wrong = || format!("--gateway: {url:?} is no address of a gateway, as http://127.0.0.1:8000 is");
        let url = url.trim_end_matches('/');
        let uri: Uri = url.parse().map_err(|_| wrong())?;
        let plain = uri.path().is_empty() || uri.path() == "/";
        let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
        let named = uri.authority().is_some_and(|authority| !authority.as_str().contains('@'));
        if !(plain && is_http && named && uri.query().is_none()) {
            return Err(wrong());
        }
        Ok(Self { url: url.to_owned(), key })
    }
}

impl ModelCaller {
    /// A caller through this gateway, whose models cost what the catalogue says.
    pub(crate) fn new(
        gateway: &Gateway,
        settings: &ModelSettings,
        catalogue: Arc<Catalogue>,
    ) -> Result<Self, ConnectorError> {
        let bearer = |key: &Secret| {
            let mut value = HeaderValue::from_str(&format!("Bearer {}", key.expose())).ok()?;
            value.set_sensitive(true);
            Some(value)
        };
        let run = settings.run_usd.0;
        Ok(Self {
            client: Client::builder(TokioExecutor::new()).pool_max_idle_per_host(1).build(connector(CONNECT, None)?),
            // Read when it was named.
            address: format!("{}/v1/chat/completions", gateway.url).parse().unwrap_or_default(),
            authorization: gateway.key.as_ref().and_then(bearer),
            catalogue,
            run_calls: settings.run_calls,
            run,
            purse: Mutex::new(Purse { left: run.0.into(), spent: 0, calls: 0, refused: [0; 2] }),
        })
    }

    fn purse(&self) -> MutexGuard<'_, Purse> {
        self.purse.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What this run's calls cost, and how many there were.
    pub(super) fn spent(&self) -> (u64, u32) {
        let purse = self.purse();
        (purse.spent, purse.calls)
    }

    /// How much of a run's bounds is used, and what was refused at them.
    pub(super) fn used(&self) -> [Used; 2] {
        let Purse { spent, calls, refused, .. } = *self.purse();
        let (limit, used) = (self.run_calls.to_string(), Some(calls.to_string()));
        let money = (self.run.to_string(), Some(dollars(spent.into())));
        [
            Used { name: "policies.model.run_calls", limit, used, refused: refused[0] },
            Used { name: "policies.model.run_usd", limit: money.0, used: money.1, refused: refused[1] },
        ]
    }

    /// Calls a model, and gives its answer. Ends by `until`.
    pub(super) async fn call(&self, request: &ModelRequest, until: Instant) -> Result<ModelResponse, OutsideError> {
        let body = body(request);
        let worst = self.worst_case(request, body.len())?;
        let patience = time_left(until, Duration::MAX)?;
        self.set_aside(worst)?;
        let answered = match tokio::time::timeout(patience, self.ask(body)).await {
            Ok(answered) => answered,
            Err(_) => Err(Asked::Sent(format!("no whole answer within {patience:?}"))),
        };
        let (status, headers, answer) = match answered {
            Ok(answered) => answered,
            Err(Asked::NotSent(why)) => {
                self.settle(worst, 0);
                return failed(Failing::Unavailable, why);
            }
            Err(Asked::Sent(why)) => {
                self.settle(worst, worst);
                return failed(Failing::Unavailable, why);
            }
        };
        // Who is not known was served nothing.
        let cost = if status == StatusCode::UNAUTHORIZED { 0 } else { charged(&headers, worst) };
        self.settle(worst, cost);
        let answer: Value = serde_json::from_slice(&answer).unwrap_or_default();
        if !status.is_success() {
            return Err(refusal(status, &answer));
        }
        response(&headers, &answer, cost)
    }

    /// The most that a call can cost.
    fn worst_case(&self, request: &ModelRequest, bytes: usize) -> Result<u64, OutsideError> {
        let name = one_line(request.model.clone(), 100);
        let Answering::Target { target, .. } = self.catalogue.answering(&request.model) else {
            let near = self
                .catalogue
                .nearest(&request.model)
                .map_or(String::new(), |near| format!("; did you mean {near:?}?"));
            return failed(Failing::Invalid, format!("the model {name:?} is not known here, nor what it costs{near}"));
        };
        let model = self.catalogue.model_of(target);
        // The gateway may call it by another route: the dearest counts.
        let routes = self.catalogue.targets.iter().filter(|route| self.catalogue.models[route.model].id == model.id);
        let outline = Outline {
            turns: u32::try_from(request.messages.len()).unwrap_or(u32::MAX),
            text_bytes: bytes as u64,
            max_output_tokens: Some(request.max_output_tokens),
            ..Outline::default()
        };
        let limits = Limits { input: model.max_input_tokens, output: model.max_output_tokens };
        let day = day_of(unix_ms());
        let costs = routes.filter_map(|route| {
            let worst = worst_case(&outline, bytes, &self.catalogue.prices(route, day), limits).ok();
            worst.map(|worst| worst.amount)
        });
        match costs.max() {
            Some(cost) => Ok(cost.0),
            None => failed(Failing::Invalid, format!("what a call of {name:?} can cost is not known")),
        }
    }

    fn set_aside(&self, worst: u64) -> Result<(), OutsideError> {
        let mut purse = self.purse();
        if purse.calls >= self.run_calls {
            purse.refused[0] += 1;
            let most = self.run_calls;
            return failed(
                Failing::OverLimit,
                format!("more than {most} calls of models in one run ([policies.model] run_calls)"),
            );
        }
        if purse.left < i128::from(worst) {
            purse.refused[1] += 1;
            let (left, worst) = (dollars(u128::try_from(purse.left).unwrap_or(0)), dollars(worst.into()));
            let what = format!(
                "the call may cost {worst} USD, and {left} of the {} of this run are left; `run_usd` under [policies.model] in kairos.toml is more to spend",
                self.run
            );
            return failed(Failing::OverLimit, what);
        }
        purse.left -= i128::from(worst);
        purse.calls += 1;
        Ok(())
    }

    fn settle(&self, worst: u64, cost: u64) {
        let mut purse = self.purse();
        purse.left += i128::from(worst) - i128::from(cost);
        purse.spent = purse.spent.saturating_add(cost);
    }

    async fn ask(&self, body: Bytes) -> Result<(StatusCode, HeaderMap, Bytes), Asked> {
        let mut request = Request::new(Full::new(body));
        (*request.method_mut(), *request.uri_mut()) = (http::Method::POST, self.address.clone());
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(authorization) = &self.authorization {
            request.headers_mut().insert(AUTHORIZATION, authorization.clone());
        }
        let response = self.client.request(request).await.map_err(|error| {
            let why = format!("no gateway answers at {}: {}", self.address, shortly(&error));
            if error.is_connect() { Asked::NotSent(why) } else { Asked::Sent(why) }
        })?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, MOST_ANSWER).collect().await;
        let body = body.map_err(|error| Asked::Sent(format!("the answer broke off: {}", shortly(&*error))))?;
        Ok((head.status, head.headers, body.to_bytes()))
    }
}

/// Why there is no answer: whether the gateway may have been asked.
enum Asked {
    NotSent(String),
    Sent(String),
}

fn body(request: &ModelRequest) -> Bytes {
    let said = request
        .messages
        .iter()
        .map(|(is_users, text)| json!({"role": if *is_users { "user" } else { "assistant" }, "content": text}));
    let system = request.system.iter().map(|text| json!({"role": "system", "content": text}));
    let mut body = json!({
        "model": request.model,
        "messages": system.chain(said).collect::<Vec<_>>(),
        "max_completion_tokens": request.max_output_tokens,
    });
    if let Some(temperature) = request.temperature {
        body["temperature"] = temperature.into();
    }
    body.to_string().into()
}

/// What the gateway says that it charged; where it does not say, the worst case.
fn charged(headers: &HeaderMap, worst: u64) -> u64 {
    let said = headers.get("x-kairos-cost-usd").and_then(|value| value.to_str().ok());
    said.and_then(Picodollars::parse_dollars).map_or(worst, |cost| cost.0)
}

fn refusal(status: StatusCode, answer: &Value) -> OutsideError {
    let message = answer["error"]["message"].as_str().unwrap_or("it does not say why");
    let message = one_line(format!("the gateway answers {}: {message}", status.as_u16()), 1_000);
    let kind = match status.as_u16() {
        400 | 404 | 413 | 422 => Failing::Invalid,
        401..=403 | 451 => Failing::Denied,
        _ => Failing::Unavailable,
    };
    OutsideError::new(kind, message)
}

fn response(headers: &HeaderMap, answer: &Value, cost: u64) -> Result<ModelResponse, OutsideError> {
    let choice = &answer["choices"][0];
    let reason = choice["finish_reason"].as_str();
    if reason == Some("content_filter") {
        return failed(Failing::Denied, "a guard, or the provider's filter, held the answer back");
    }
    let Some(text) = choice["message"]["content"].as_str() else {
        return failed(Failing::Unavailable, "the answer has no text");
    };
    let tokens = |name: &str| answer["usage"][name].as_u64().and_then(|count| u32::try_from(count).ok());
    let model = headers.get("x-kairos-model").and_then(|value| value.to_str().ok());
    Ok(ModelResponse {
        text: text.to_owned(),
        model: model.or_else(|| answer["model"].as_str()).unwrap_or_default().to_owned(),
        cut: reason == Some("length"),
        input_tokens: tokens("prompt_tokens"),
        output_tokens: tokens("completion_tokens"),
        cost,
    })
}
