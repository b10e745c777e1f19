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
use kairos_pipeline::request::{Dialect, RequestId};

use super::respond;
use super::routes::{App, admit, presented};
use crate::bounds;

pub(super) type Peer = axum::Extension<ConnectInfo<SocketAddr>>;

const JSON: &str = "application/json";

/// Whether a caller may see what is not public.
pub(super) fn allowed(app: &App, parts: &Parts, peer: SocketAddr) -> Result<(), Failure> {
    admit(app, parts, peer)?;
    app.gateway.keys.identify(&presented(app, parts), &Bytes::new()).map(|_| ())
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
    if let Err(failure) = allowed(&app, &parts, peer) {
        return respond::failure(Dialect::OpenAi, &failure);
    }
    let catalogue = app.gateway.catalogue.load();
    let callable = catalogue.models.iter().filter(|model| model.active);
    let targets =
        callable.filter_map(|model| Some((&*catalogue.targets[model.target?].invocation_id, model.family.name())));
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
    if let Err(failure) = allowed(&app, &parts, peer) {
        return respond::failure(Dialect::OpenAi, &failure);
    }
    let record = RequestId::parse(&id).and_then(|id| app.gateway.records.get(id));
    match record.map(|record| serde_json::to_vec_pretty(&*record)) {
        Some(Ok(body)) => json(StatusCode::OK, body),
        Some(Err(error)) => {
            let failure = Failure::new(Kind::Internal, format!("the record cannot be written: {error}"));
            respond::failure(Dialect::OpenAi, &failure)
        }
        None => {
            let kept = app.config.limits.records;
            let message = format!("no request of this id has ended, or it is not among the last {kept}");
            respond::failure(Dialect::OpenAi, &Failure::new(Kind::NoSuchRequest, message))
        }
    }
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
        "policy": &*app.policies.status().policy,
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
    (StatusCode::OK, [(CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
}
