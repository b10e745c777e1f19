//! How budgets stand.

use axum::body::Body;
use axum::extract::{ConnectInfo, State};
use axum::response::Response;
use http::Request;
use serde_json::json;

use super::super::pages::Peer;
use super::Shared;
use super::show::shown;
use crate::budgets::{MOST, status_json};

pub(super) async fn list(
    State(app): Shared,
    axum::Extension(ConnectInfo(peer)): Peer,
    request: Request<Body>,
) -> Response {
    shown(app, peer, request, |app| {
        let budgets: Vec<_> = app.ledger.budgets(MOST, |_| true).iter().map(status_json).collect();
        Ok(json!({"budgets": budgets}))
    })
    .await
}
