//! Addresses that ask no model.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::body::Body;
use axum::extract::{ConnectInfo, Path, State};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{Request, StatusCode};
use kairos_dialects::openai::models::{Model, list};
use kairos_dialects::{Failure, Kind};
use kairos_pipeline::models::ModelKind;
use kairos_pipeline::policy::World;
use kairos_pipeline::request::{Caller, Dialect, Operation, RequestId};
use serde_json::Value;

use super::routes::{App, admit, presented};
use super::{admin, jobs, respond};
use crate::{bounds, budgets};

pub(super) type Peer = axum::Extension<ConnectInfo<SocketAddr>>;

const JSON: &str = "application/json";

/// Who asks for what is not public.
pub(super) fn caller(app: &App, parts: &Parts, peer: SocketAddr) -> Result<Caller, Failure> {
    admit(app, parts, peer)?;
    app.gateway.keys.identify(&presented(app, parts), &Bytes::new())
}

/// Whether a caller may see what is the operator's: with a key of his, or the admin token.
pub(super) fn allowed(app: &App, parts: &Parts, peer: SocketAddr) -> Result<(), Failure> {
    if admin::has_token(app, parts) {
        return admit(app, parts, peer);
    }
    match caller(app, parts, peer)?.scope {
        None => Ok(()),
        Some(_) => {
            let message =
                "this key asks models; what is of all callers needs a key of the operator's, or the admin token";
            Err(Failure::new(Kind::Forbidden, message))
        }
    }
}

pub(super) fn json(status: StatusCode, body: impl Into<Body>) -> Response {
    (status, [(CONTENT_TYPE, JSON)], body.into()).into_response()
}

/// `/v1/models`: what a caller can ask for.
pub(super) async fn models(
    State(app): State<Arc<App>>,
    axum::Extension(ConnectInfo(peer)): Peer,
    request: Request<Body>,
) -> Response {
    let (parts, _) = request.into_parts();
    let caller = match caller(&app, &parts, peer) {
        Ok(caller) => caller,
        Err(failure) => return respond::failure(Dialect::OpenAi, &failure),
    };
    let catalogue = app.gateway.catalogue.load();
    let allowed = caller.scope.as_ref().and_then(|scope| scope.models_of(&catalogue));
    let may_use = |index: usize| allowed.as_ref().is_none_or(|allowed| allowed.contains(&index));
    let callable = catalogue.models.iter().enumerate().filter(|(index, model)| {
        // What OpenAI's clients can ask.
        let is_asked_so = matches!(model.kind, ModelKind::Chat | ModelKind::Embedding);
        is_asked_so && model.active && may_use(*index)
    });
    let targets =
        callable.filter_map(|(_, model)| Some((&*catalogue.targets[model.target?].invocation_id, model.family.name())));
    let models = std::iter::once(("auto", "kairos")).chain(targets).map(|(id, owner)| Model::new(id, owner));
    json(StatusCode::OK, list(&models.collect::<Vec<_>>()))
}

/// `/v1/requests/{id}`: what a request cost, and why.
pub(super) async fn request(
    State(app): State<Arc<App>>,
    axum::Extension(ConnectInfo(peer)): Peer,
    Path(id): Path<String>,
    request: Request<Body>,
) -> Response {
    let (parts, _) = request.into_parts();
    let caller = match caller(&app, &parts, peer) {
        Ok(caller) => caller,
        Err(failure) => return respond::failure(Dialect::OpenAi, &failure),
    };
    let found = match RequestId::parse(&id) {
        Some(id) => find(&app, id).await,
        None => Ok(None),
    };
    // Whose requests there are is nothing that one team learns of another.
    let is_seen = |record: &Value| caller.scope.is_none() || record["key"].as_str() == Some(&*caller.key);
    let mut found = found.map(|record| record.filter(is_seen));
    if let Ok(Some(record)) = &mut found
        && record["operation"] == Operation::StartAsync.name()
        && let Err(why) = jobs::add_to(&app, record).await
    {
        found = Err(why);
    }
    match found.map(|record| record.map(|record| format!("{record:#}"))) {
        Ok(Some(body)) => json(StatusCode::OK, body),
        Ok(None) => respond::failure(Dialect::OpenAi, &no_such_request(&app)),
        Err(why) => {
            let failure = Failure::new(Kind::Internal, format!("the record cannot be read: {why}"));
            respond::failure(Dialect::OpenAi, &failure)
        }
    }
}

/// The record of a request that has ended: from memory, else from the disk.
pub(super) async fn find(app: &App, id: RequestId) -> Result<Option<Value>, String> {
    if let Some(record) = app.gateway.records.get(id) {
        return serde_json::to_value(&*record).map(Some).map_err(|error| error.to_string());
    }
    let Some(records) = app.records.clone() else { return Ok(None) };
    let read = tokio::task::spawn_blocking(move || records.record(id)).await.map_err(|error| error.to_string())?;
    let record = read.map_err(|error| error.to_string())?;
    record.map(|record| serde_json::from_str(&record)).transpose().map_err(|error| error.to_string())
}

pub(super) fn no_such_request(app: &App) -> Failure {
    let set = &app.config.records;
    let kept = match set.enabled {
        true => format!("records are kept for {} days and {} bytes", set.days, set.bytes),
        false => format!("only the last {} are kept", app.config.limits.records),
    };
    Failure::new(Kind::NoSuchRequest, format!("no request of this id has ended; {kept}"))
}

/// `/healthz`: the process lives.
pub(super) async fn health() -> Response {
    json(StatusCode::OK, "{\"status\":\"ok\"}")
}

/// `/readyz`: requests can be served.
pub(super) async fn ready(State(app): State<Arc<App>>) -> Response {
    let stopping = app.stopping.load(Ordering::Relaxed).then(|| "the gateway is stopping".to_owned());
    let why = stopping.or_else(|| app.ledger.failing());
    let why = why.or_else(|| app.not_ready.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone());
    let status = if why.is_none() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = serde_json::json!({
        "ready": why.is_none(),
        "why_not": why,
        "policy": &*app.policies.of(World::Router).status().policy,
    });
    json(status, body.to_string())
}

/// `/metrics`, in Prometheus's text format.
pub(super) async fn metrics(
    State(app): State<Arc<App>>,
    axum::Extension(ConnectInfo(peer)): Peer,
    request: Request<Body>,
) -> Response {
    let (parts, _) = request.into_parts();
    if let Err(failure) = allowed(&app, &parts, peer) {
        return respond::failure(Dialect::OpenAi, &failure);
    }
    let Some(metrics) = &app.metrics else {
        let message = "metrics are switched off: BEDROCK_METRICS_ENABLED, or `enabled` under [metrics] in kairos.toml";
        return respond::failure(Dialect::OpenAi, &Failure::new(Kind::NoSuchRoute, message));
    };
    let mut text = metrics.render(&app.gateway, &app.policies);
    text.push_str(&bounds::render(&app));
    text.push_str(&budgets::render(&app));
    (StatusCode::OK, [(CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
}
