//! Addresses that change policies and keys while the gateway serves, and say what became of them.
//!
//! Reading needs what `/metrics` needs, or the admin token; every change needs the token, also from
//! this machine. What takes time is done off the threads that serve requests.

mod beside;
mod budgets;
mod keys;
mod learned;
mod records;
mod show;
mod spend;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Path, State};
use axum::response::Response;
use axum::routing::{get, post, put};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::request::Parts;
use http::{Request, StatusCode};
use kairos_dialects::{Failure, Kind};
use kairos_pipeline::policy::World;
use kairos_pipeline::request::Dialect;
use kairos_sandbox::acts::{ActError, Done};
use kairos_sandbox::host::PolicyHost;
use kairos_sandbox::load::SLOTS;
use kairos_sandbox::refusal::Refusal;
use kairos_sandbox::versions::By;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::body::{Counted, read};
use super::pages::{Peer, json as answer};
use super::respond;
use super::routes::{App, admit, bearer, closing};

/// Bytes of a change that brings no policy along.
const SMALL: usize = 64 * 1024;

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/admin/v1/policies", get(show::policies))
        .route("/admin/v1/policies/{slot}", get(show::policy))
        .route("/admin/v1/policies/{slot}/versions", put(stage))
        .route("/admin/v1/policies/{slot}/versions/{digest}", get(show::version))
        .route("/admin/v1/policies/{slot}/activate", post(activate))
        .route("/admin/v1/policies/{slot}/rollback", post(rollback))
        .route("/admin/v1/policies/{slot}/retire", post(retire))
        .route("/admin/v1/policies/{slot}/shadow", post(beside::shadow))
        .route("/admin/v1/policies/{slot}/canary", post(beside::canary))
        .route("/admin/v1/keys", get(keys::list).post(keys::create))
        .route("/admin/v1/keys/{name}/rotate", post(keys::rotate))
        .route("/admin/v1/keys/{name}/revoke", post(keys::revoke))
        .route("/admin/v1/budgets", get(budgets::list))
        .route("/admin/v1/kv", get(learned::spaces))
        .route("/admin/v1/kv/{space}", get(learned::space))
        .route("/admin/v1/kv/{space}/clear", post(learned::clear))
        .route("/admin/v1/records/forget", post(records::forget))
        .route("/admin/v1/prices", get(show::prices))
        .route("/admin/v1/spend", get(spend::spend))
        .route("/admin/v1/audit", get(show::audit))
}

/// An answer that says why there is no other.
type Trouble = Box<Response>;
/// An act's answer, or why there is none.
type Answer = Result<Response, Trouble>;

/// What is wrong, as JSON.
fn trouble(status: StatusCode, code: &str, message: &str, more: Value) -> Trouble {
    let mut error = json!({"code": code, "message": message});
    if let (Some(error), Value::Object(more)) = (error.as_object_mut(), more) {
        error.extend(more.into_iter().filter(|(_, value)| !value.is_null()));
    }
    Box::new(answer(status, json!({"error": error}).to_string()))
}

fn failed(failure: &Failure) -> Trouble {
    Box::new(respond::failure(Dialect::OpenAi, failure))
}

/// The same, where the body was not read to its end.
fn failed_early(failure: &Failure) -> Trouble {
    Box::new(closing(respond::failure(Dialect::OpenAi, failure)))
}

/// Why a policy is refused, as JSON.
fn refused(file: &str, refusal: &Refusal) -> Trouble {
    let more = json!({
        "reason": refusal.reason.name(),
        "file": refusal.file(file.as_ref()).display().to_string(),
        "line": refusal.at.map(|(line, _)| line),
        "column": refusal.at.map(|(_, column)| column),
        "hint": refusal.hint,
    });
    trouble(StatusCode::UNPROCESSABLE_ENTITY, "policy_refused", &refusal.message, more)
}

fn not_done(file: &str, error: &ActError) -> Trouble {
    let message = error.to_string();
    let (status, code) = match error {
        ActError::Refused(refusal) => return refused(file, refusal),
        ActError::Ambiguous { candidates, .. } => {
            return trouble(StatusCode::CONFLICT, "ambiguous", &message, json!({"candidates": candidates}));
        }
        ActError::NotADigest(_) => (StatusCode::BAD_REQUEST, "not_a_digest"),
        ActError::Unknown(_) => (StatusCode::NOT_FOUND, "unknown_version"),
        ActError::Quarantined(_) => (StatusCode::CONFLICT, "quarantined"),
        ActError::NothingBefore => (StatusCode::CONFLICT, "nothing_before"),
        ActError::Serves(_) | ActError::ServesAlready(_) => (StatusCode::CONFLICT, "serves"),
        ActError::NoExperiments(_) => (StatusCode::CONFLICT, "no_experiments"),
        ActError::UnderWay { .. } => (StatusCode::CONFLICT, "under_way"),
        ActError::IsTried(_) => (StatusCode::CONFLICT, "is_tried"),
        ActError::NotResident(_) => (StatusCode::CONFLICT, "not_resident"),
        ActError::Store(_) => (StatusCode::SERVICE_UNAVAILABLE, "not_written"),
    };
    trouble(status, code, &message, Value::Null)
}

pub(super) fn has_token(app: &App, parts: &Parts) -> bool {
    let given = parts.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    given.and_then(bearer).is_some_and(|given| app.admin.token.is(given))
}

fn slot_of(name: &str) -> Result<World, Trouble> {
    World::from_name(name).ok_or_else(|| {
        let name: String = name.chars().take(80).collect();
        let message = format!("there is no slot {name:?}; there are {}", SLOTS.join(", "));
        trouble(StatusCode::NOT_FOUND, "unknown_slot", &message, Value::Null)
    })
}

/// Takes a change in: from whoever has the token, so many bytes at most.
async fn change<T: DeserializeOwned>(
    app: &App,
    peer: SocketAddr,
    request: Request<Body>,
    most: usize,
) -> Result<(T, Counted), Trouble> {
    let (parts, body) = request.into_parts();
    admit(app, &parts, peer).map_err(|failure| failed_early(&failure))?;
    if !has_token(app, &parts) {
        let message = "every change needs the admin token: Authorization: Bearer TOKEN. It is in the file that `kairos serve` names when it starts, or in KAIROS_ADMIN_TOKEN";
        return Err(failed_early(&Failure::new(Kind::Unauthenticated, message)));
    }
    let mut limits = app.config.limits.clone();
    limits.body_bytes = most;
    let (body, counted) = match read(&app.buffered, &parts.headers, body, &limits).await {
        Ok(read) => read,
        Err(failure) => {
            app.refusals.body(&failure);
            return Err(failed_early(&failure));
        }
    };
    let wrong = |error: serde_json::Error| {
        let message = format!("the body is not what this address takes: {error}");
        trouble(StatusCode::BAD_REQUEST, "malformed", &message, Value::Null)
    };
    let body = if body.is_empty() { Bytes::from_static(b"{}") } else { body };
    Ok((serde_json::from_slice(&body).map_err(wrong)?, counted))
}

/// Does what waits for a disk or a compiler, where no request waits.
async fn off_the_way<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Trouble> {
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        tracing::error!(%error, "an act of the admin was lost");
        failed(&Failure::new(Kind::Internal, "the act was lost; the gateway's log says why"))
    })
}

/// Has a slot's policies changed so.
async fn aside(
    app: &Arc<App>,
    slot: World,
    file: String,
    work: impl FnOnce(&PolicyHost) -> Result<Done, ActError> + Send + 'static,
) -> Answer {
    let policies = Arc::clone(app.policies.of(slot));
    let done = off_the_way(move || work(&policies)).await?.map_err(|error| not_done(&file, &error))?;
    let serves = app.policies.of(slot).status().policy;
    let digest = done.policy.rsplit_once('@').map(|(_, digest)| digest);
    Ok(answer(
        StatusCode::OK,
        json!({"policy": &*done.policy, "digest": digest, "tests": done.tests, "already": done.already, "serves": &*serves, "ended": done.ended.as_deref()}).to_string(),
    ))
}

/// A policy, and what goes with it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Staged {
    /// The file's name: its ending says what it is.
    file: String,
    /// Its bytes, in base64.
    bytes: Option<String>,
    /// Or its text.
    text: Option<String>,
    /// The text of its tests.
    tests: Option<String>,
    /// Its signature, in base64.
    signature: Option<String>,
    why: Option<String>,
    /// Who asks, as he says himself.
    by: Option<String>,
}

/// Which version, and why.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    digest: String,
    why: Option<String>,
    by: Option<String>,
}

/// Why.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Reasoned {
    why: Option<String>,
    by: Option<String>,
}

type Shared = State<Arc<App>>;

/// One address's answer, whatever it is.
fn either(answer: Answer) -> Response {
    answer.unwrap_or_else(|trouble| *trouble)
}

async fn stage(
    State(app): Shared,
    axum::Extension(ConnectInfo(peer)): Peer,
    Path(slot): Path<String>,
    request: Request<Body>,
) -> Response {
    let limits = app.config.policy_limits();
    // In base64, or as text with its escapes.
    let most = (limits.component_bytes / 3 * 4).max(limits.script_bytes * 2) + limits.test_bytes * 2;
    let most = usize::try_from(most).unwrap_or(usize::MAX).saturating_add(SMALL);
    let staged = async {
        let (staged, counted): (Staged, _) = change(&app, peer, request, most).await?;
        let slot = slot_of(&slot)?;
        let Staged { file, bytes, text, tests, signature, why, by } = staged;
        let malformed = |message: &str| trouble(StatusCode::BAD_REQUEST, "malformed", message, Value::Null);
        let bytes = match (bytes, text) {
            (Some(bytes), None) => {
                STANDARD.decode(bytes).map_err(|error| malformed(&format!("`bytes` is not base64: {error}")))?
            }
            (None, Some(text)) => text.into_bytes(),
            _ => return Err(malformed("a policy is sent as `bytes`, in base64, or as `text`: one of the two")),
        };
        let is_plain = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
        if file.is_empty() || file.len() > 200 || !file.chars().all(is_plain) {
            return Err(malformed("`file` is a file's name, as router.rhai is: letters, digits, `.`, `-` and `_`"));
        }
        let (tests, by) = (tests.map(String::into_bytes), By::admin(by, why));
        let alone = Arc::clone(&app.admin.staging).lock_owned().await;
        let name = file.clone();
        aside(&app, slot, file, move |policies| {
            let _held = (counted, alone);
            policies.stage(&name, bytes, tests, signature, &by)
        })
        .await
    };
    either(staged.await)
}

async fn activate(
    State(app): Shared,
    axum::Extension(ConnectInfo(peer)): Peer,
    Path(slot): Path<String>,
    request: Request<Body>,
) -> Response {
    let activated = async {
        let (Named { digest, why, by }, _) = change(&app, peer, request, SMALL).await?;
        let slot = slot_of(&slot)?;
        aside(&app, slot, digest.clone(), move |policies| policies.activate(&digest, &By::admin(by, why))).await
    };
    either(activated.await)
}

async fn rollback(
    State(app): Shared,
    axum::Extension(ConnectInfo(peer)): Peer,
    Path(slot): Path<String>,
    request: Request<Body>,
) -> Response {
    let rolled_back = async {
        let (Reasoned { why, by }, _) = change(&app, peer, request, SMALL).await?;
        let slot = slot_of(&slot)?;
        aside(&app, slot, String::new(), move |policies| policies.roll_back(&By::admin(by, why))).await
    };
    either(rolled_back.await)
}

async fn retire(
    State(app): Shared,
    axum::Extension(ConnectInfo(peer)): Peer,
    Path(slot): Path<String>,
    request: Request<Body>,
) -> Response {
    let retired = async {
        let (Named { digest, why, by }, _) = change(&app, peer, request, SMALL).await?;
        let slot = slot_of(&slot)?;
        aside(&app, slot, String::new(), move |policies| policies.retire(&digest, &By::admin(by, why))).await
    };
    either(retired.await)
}
