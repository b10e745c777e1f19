//! How budgets stand.

use axum::body::Body;
use axum::extract::{ConnectInfo, State};
use axum::response::Response;
use http::Request;
use serde_json::json;

use super::super::pages::Peer;
use super::Shared;
use super::show::shown;
use crate::budgets::status_json;
use crate::config::MOST_BUDGETS;
use crate::keys::issued;

/// Budgets of the configuration, and one of each key.
const MOST: usize = MOST_BUDGETS + 1 + issued::MOST;

pub(super) async fn list(
    State(app): Shared,
    axum::Extension(ConnectInfo(peer)): Peer,
    request: Request<Body>,
) -> Response {
    shown(app, peer, request, |app| {
        let budgets: Vec<_> = app.ledger.budgets(MOST).iter().map(status_json).collect();
        Ok(json!({"budgets": budgets}))
    })
    .await
}
