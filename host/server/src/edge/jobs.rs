//! GetAsyncInvoke and ListAsyncInvokes: what a caller may know of its jobs. Bedrock's own list is of the whole
//! account, so a list is answered from what is kept; one job is asked for, and where it has ended, its row ends.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{ConnectInfo, Path, State};
use axum::response::Response;
use bytes::Bytes;
use http::request::Parts;
use http::{Request, StatusCode};
use kairos_dialects::bedrock::jobs::{self, ListQuery, PageToken};
use kairos_dialects::{Failure, Kind};
use kairos_pipeline::jobs::{Jobs, take_in};
use kairos_pipeline::request::{Caller, Dialect, RequestId};
use kairos_pipeline::upstream::Look;
use serde_json::{Value, json};

use super::pages::{self, Peer};
use super::respond;
use super::routes::App;

fn answered(answer: Result<Bytes, Failure>) -> Response {
    match answer {
        Ok(body) => pages::json(StatusCode::OK, body),
        Err(failure) => respond::failure(Dialect::Bedrock, &failure),
    }
}

fn caller(app: &App, parts: &Parts, peer: std::net::SocketAddr) -> Result<Caller, Failure> {
    let caller = pages::caller(app, parts, peer)?;
    if let Some(scope) = &caller.scope {
        scope.speaks(Dialect::Bedrock)?;
    }
    Ok(caller)
}

fn kept(app: &App) -> Result<&Jobs, Failure> {
    let none = || Failure::new(Kind::Unsupported, "this gateway keeps no jobs");
    app.gateway.jobs.as_deref().ok_or_else(none)
}

fn unread(why: &str) -> Failure {
    Failure::new(Kind::LedgerUnavailable, format!("jobs cannot be read at the moment: {why}"))
}

/// `GET /async-invoke`.
pub(super) async fn list(
    State(app): State<Arc<App>>,
    axum::Extension(ConnectInfo(peer)): Peer,
    request: Request<Body>,
) -> Response {
    let (parts, _) = request.into_parts();
    answered(listed(&app, &parts, peer).await)
}

async fn listed(app: &App, parts: &Parts, peer: std::net::SocketAddr) -> Result<Bytes, Failure> {
    let caller = caller(app, parts, peer)?;
    let query = ListQuery::read(parts.uri.query().unwrap_or_default())?;
    let whose = caller.scope.is_some().then_some(&*caller.key);
    // One more says whether there is another page.
    let wanted = ListQuery { most: query.most + 1, ..query.clone() };
    let mut found = kept(app)?.store.list(whose, &wanted).await.map_err(|why| unread(&why))?;
    let is_all = found.len() <= query.most;
    found.truncate(query.most);
    let next = found.last().filter(|_| !is_all).map(|job| PageToken { at_ms: job.at_ms, token: job.token.clone() });
    let entries = found.iter().filter_map(|job| {
        let (seen, token) = (job.seen.as_ref()?, job.asked_token.as_deref());
        Some(jobs::Entry { seen, token, output: &job.output })
    });
    Ok(jobs::list_answer(entries, next.as_ref()))
}

/// `GET /async-invoke/{arn}`.
pub(super) async fn get(
    State(app): State<Arc<App>>,
    axum::Extension(ConnectInfo(peer)): Peer,
    Path(arn): Path<String>,
    request: Request<Body>,
) -> Response {
    let (parts, _) = request.into_parts();
    answered(got(&app, &parts, peer, &arn).await)
}

async fn got(app: &App, parts: &Parts, peer: std::net::SocketAddr, arn: &str) -> Result<Bytes, Failure> {
    let caller = caller(app, parts, peer)?;
    let found = kept(app)?.store.by_arn(arn).await.map_err(|why| unread(&why))?;
    // Whether there is one of another key is nobody's to learn.
    let job = found.filter(|job| job.is_seen_by(&caller)).ok_or_else(|| {
        let message = "there is no job of this ARN that this key began, or it is no longer kept";
        Failure::new(Kind::InvalidValue, message).with_param("invocationArn")
    })?;
    let answer = app.gateway.upstream.look(Look::Job(arn)).await?;
    let own = jobs::with_own_token(&answer, job.asked_token.as_deref());
    if let Ok(seen) = jobs::seen(&answer) {
        let open = app.gateway.ledger.job(job.key());
        if let Err(why) = take_in(&app.gateway, open.as_ref(), Some(job), seen).await {
            tracing::warn!("what Bedrock says of a job is not kept, it is asked again: {why}");
        }
    }
    own.map_err(|invalid| Failure::new(Kind::BrokenStream, format!("Bedrock's answer made no sense: {invalid}")))
}

/// Adds to the record of a request what became of the job that it began.
pub(super) async fn add_to(app: &App, record: &mut Value) -> Result<(), String> {
    let id = record["request_id"].as_str().and_then(RequestId::parse);
    let (Some(jobs), Some(id)) = (&app.gateway.jobs, id) else { return Ok(()) };
    let Some(job) = jobs.store.by_request(id).await? else { return Ok(()) };
    record["job"] = json!({
        "arn": job.arn,
        "status": job.seen.as_ref().map(|seen| seen.status.name()),
        "ledger": job.ended.as_ref().map_or("reserved", |ended| &ended.state),
    });
    let Some(ended) = job.ended else { return Ok(()) };
    record["cost_usd"] = json!(ended.charged);
    record["cost_estimated"] = json!(ended.state == "estimated");
    record["job"]["cost_usd"] = json!(ended.charged);
    if let Some(low) = ended.low {
        record["job"]["cost_low_usd"] = json!(low);
    }
    Ok(())
}
