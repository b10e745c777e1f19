//! Keys of callers: made, listed, rotated, revoked.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{ConnectInfo, Path, State};
use axum::response::Response;
use http::{Request, StatusCode};
use kairos_pipeline::budget::{OfKey, Period};
use kairos_pipeline::money::Picodollars;
use kairos_pipeline::policy::bounded;
use kairos_pipeline::request::{Dialect, MOST_TAGS, is_tag};
use kairos_pipeline::scope::{self, Fallback, Scope};
use kairos_store::policies::{Entry, StoredKey};
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::pages::{Peer, json as answer};
use super::super::routes::App;
use super::show::shown;
use super::{Answer, SMALL, Shared, Trouble, change, either, off_the_way, trouble};
use crate::admin::moment;
use crate::config::{self, check::MOST_A_MINUTE};
use crate::keys::issued::{Fresh, KeyError, SLOT, Wanted};

/// Models that a scope names at most, and bytes of such a name.
const MOST_MODELS: usize = 64;
const NAME_BYTES: usize = 256;
/// Tags of a key: some are left for its callers.
const KEY_TAGS: usize = MOST_TAGS / 2;
/// The longest that a rotated secret goes on: 90 days.
const MOST_OVERLAP_SECONDS: u64 = 90 * 86_400;

/// A key that is asked for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    name: String,
    models: Option<Vec<String>>,
    dialects: Option<Vec<String>>,
    #[serde(default)]
    fallback: Fallback,
    requests_per_minute: Option<u64>,
    tokens_per_minute: Option<u64>,
    #[serde(default)]
    tags: BTreeMap<String, String>,
    expires_in_seconds: Option<u64>,
    budget: Option<AskedBudget>,
    why: Option<String>,
    by: Option<String>,
}

/// The budget that it is to have.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AskedBudget {
    limit_usd: Picodollars,
    period: Option<Period>,
    rolling: Option<String>,
    time_zone: Option<String>,
}

impl AskedBudget {
    fn of_key(&self) -> Result<OfKey, Trouble> {
        let wrong = |what: &str| wrong(&format!("`budget`: {what}"));
        // What the ledger can hold.
        if self.limit_usd == Picodollars::ZERO || i64::try_from(self.limit_usd.0).is_err() {
            return Err(wrong("limit_usd: it is above 0, and below 9 million"));
        }
        let window = config::window(self.period, self.rolling.as_deref(), self.time_zone.as_deref());
        Ok(OfKey { limit_usd: self.limit_usd, window: window.map_err(|what| wrong(&what))? })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rotation {
    #[serde(default)]
    overlap_seconds: u64,
    why: Option<String>,
    by: Option<String>,
}

fn wrong(message: &str) -> Trouble {
    trouble(StatusCode::BAD_REQUEST, "invalid_key", message, Value::Null)
}

fn not_done(error: &KeyError) -> Trouble {
    let (status, code) = match error {
        KeyError::Invalid(_) => (StatusCode::BAD_REQUEST, "invalid_key"),
        KeyError::Unknown(_) => (StatusCode::NOT_FOUND, "unknown_key"),
        KeyError::Taken(_) => (StatusCode::CONFLICT, "name_taken"),
        KeyError::Revoked(_) => (StatusCode::CONFLICT, "revoked"),
        KeyError::TooMany => (StatusCode::CONFLICT, "too_many_keys"),
        KeyError::Store(_) => (StatusCode::SERVICE_UNAVAILABLE, "not_written"),
    };
    trouble(status, code, &error.to_string(), Value::Null)
}

/// What the key may do, checked: a model that is mistyped would let nothing through, or later something else.
fn scope_of(app: &App, asked: &Asked) -> Result<Scope, Trouble> {
    let catalogue = app.gateway.catalogue.load();
    if let Some(models) = &asked.models {
        if !(1..=MOST_MODELS).contains(&models.len()) || models.iter().any(|name| name.len() > NAME_BYTES) {
            return Err(wrong(&format!(
                "`models` names 1 to {MOST_MODELS} models, with {NAME_BYTES} bytes each at most"
            )));
        }
        if let Some(unknown) = models.iter().find(|name| !scope::is_model(&catalogue, name)) {
            let near = catalogue.nearest(unknown).map_or(String::new(), |near| format!("; did you mean {near:?}?"));
            return Err(wrong(&format!("no model that can be called answers for {unknown:?}{near}")));
        }
    }
    let dialect = |name: &String| {
        let names = || Dialect::ALL.map(Dialect::name).join(", ");
        let found = Dialect::ALL.into_iter().find(|dialect| dialect.name() == name);
        found.ok_or_else(|| wrong(&format!("there is no dialect {name:?}; there are {}", names())))
    };
    let dialects = asked.dialects.as_ref().map(|names| names.iter().map(dialect).collect()).transpose()?;
    let limits = [("requests_per_minute", asked.requests_per_minute), ("tokens_per_minute", asked.tokens_per_minute)];
    if let Some((name, _)) =
        limits.iter().find(|(_, most)| most.is_some_and(|most| !(1..=MOST_A_MINUTE).contains(&most)))
    {
        return Err(wrong(&format!("`{name}` may be from 1 to {MOST_A_MINUTE}")));
    }
    let fits = |(name, value): (&String, &String)| !name.is_empty() && is_tag(name) && is_tag(value);
    if asked.tags.len() > KEY_TAGS || !asked.tags.iter().all(fits) {
        let what = "names and values of at most 64 characters a–z, A–Z, 0–9 and _-.:/@";
        return Err(wrong(&format!("`tags` has at most {KEY_TAGS} tags: {what}")));
    }
    let tags = asked.tags.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
    let budget = asked.budget.as_ref().map(AskedBudget::of_key).transpose()?;
    let Asked { requests_per_minute, tokens_per_minute, .. } = *asked;
    Ok(Scope {
        models: asked.models.clone(),
        dialects,
        fallback: asked.fallback,
        requests_per_minute,
        tokens_per_minute,
        tags,
        budget,
    })
}

fn entry(app: &App, act: &str, name: &str, by: Option<String>, why: Option<String>) -> Entry {
    Entry {
        at_ms: i64::try_from(app.keys.issued.now_ms()).unwrap_or(i64::MAX),
        actor: "admin".to_owned(),
        claimed: by.map(bounded),
        act: act.to_owned(),
        slot: SLOT.to_owned(),
        digest: None,
        why: why.map(bounded),
        detail: Some(bounded(name.to_owned())),
    }
}

/// A key as it is shown: never with a secret.
fn key_json(key: &StoredKey, now_ms: u64) -> Value {
    let is_over = |at: Option<u64>| at.is_some_and(|at| at <= now_ms);
    let state = match key {
        key if key.revoked_ms.is_some() => "revoked",
        key if is_over(key.expires_ms) => "expired",
        _ => "active",
    };
    let secrets: Vec<_> = key.secrets.iter().filter(|secret| !is_over(secret.until_ms)).collect();
    json!({
        "name": key.name,
        "state": state,
        "begins": format!("kairos_{}_", key.id),
        "made": moment(key.made_ms),
        "expires": key.expires_ms.map(moment),
        "revoked": key.revoked_ms.map(moment),
        "scope": serde_json::from_str::<Value>(&key.scope).unwrap_or_default(),
        "secrets": secrets.iter().map(|secret| json!({"number": secret.version, "until": secret.until_ms.map(moment)})).collect::<Vec<_>>(),
    })
}

fn fresh_json(fresh: &Fresh, now_ms: u64) -> Value {
    json!({
        "key": fresh.bearer.expose(),
        "access_key_id": fresh.access_key_id,
        "secret_access_key": fresh.secret_access_key.expose(),
        "is": key_json(&fresh.key, now_ms),
    })
}

/// Has a key made or changed: that is on disk before it is told.
async fn aside(app: &Arc<App>, work: impl FnOnce(&App) -> Result<Value, KeyError> + Send + 'static) -> Answer {
    let keys = Arc::clone(app);
    let done = off_the_way(move || work(&keys)).await?.map_err(|error| not_done(&error))?;
    Ok(answer(StatusCode::OK, done.to_string()))
}

pub(super) async fn list(
    State(app): Shared,
    axum::Extension(ConnectInfo(peer)): Peer,
    request: Request<Body>,
) -> Response {
    shown(app, peer, request, |app| {
        let now_ms = app.keys.issued.now_ms();
        let keys: Vec<_> = app.keys.issued.all().iter().map(|key| key_json(key, now_ms)).collect();
        Ok(json!({"keys": keys}))
    })
    .await
}

pub(super) async fn create(
    State(app): Shared,
    axum::Extension(ConnectInfo(peer)): Peer,
    request: Request<Body>,
) -> Response {
    let created = async {
        let (asked, _): (Asked, _) = change(&app, peer, request, SMALL).await?;
        let scope = scope_of(&app, &asked)?;
        let Asked { name, expires_in_seconds, why, by, .. } = asked;
        aside(&app, move |app| {
            let keys = &app.keys.issued;
            let after = |seconds: u64| keys.now_ms().saturating_add(seconds.saturating_mul(1_000));
            let wanted = Wanted { expires_ms: expires_in_seconds.map(after), scope, name: name.clone() };
            let were_needed = app.keys.are_needed();
            let budget = wanted.scope.budget.as_ref().map(|budget| budget.rule(&name));
            let fresh = keys.create(wanted, &entry(app, "create", &name, by, why))?;
            // Nobody has its secret yet: nothing is spent with it before.
            if let Some(rule) = budget {
                app.ledger.add_budget(Arc::new(rule));
            }
            tracing::info!(key = name, "a key was made");
            let mut made = fresh_json(&fresh, keys.now_ms());
            made["is_first"] = json!(!were_needed);
            Ok(made)
        })
        .await
    };
    either(created.await)
}

pub(super) async fn rotate(
    State(app): Shared,
    axum::Extension(ConnectInfo(peer)): Peer,
    Path(name): Path<String>,
    request: Request<Body>,
) -> Response {
    let rotated = async {
        let (Rotation { overlap_seconds, why, by }, _) = change(&app, peer, request, SMALL).await?;
        if overlap_seconds > MOST_OVERLAP_SECONDS {
            let days = MOST_OVERLAP_SECONDS / 86_400;
            return Err(wrong(&format!(
                "both keys are good for {days} days at most (`overlap_seconds`: {MOST_OVERLAP_SECONDS})"
            )));
        }
        aside(&app, move |app| {
            let keys = &app.keys.issued;
            let fresh = keys.rotate(&name, overlap_seconds * 1_000, &entry(app, "rotate", &name, by, why))?;
            tracing::info!(key = name, overlap_seconds, "a key was rotated");
            Ok(fresh_json(&fresh, keys.now_ms()))
        })
        .await
    };
    either(rotated.await)
}

pub(super) async fn revoke(
    State(app): Shared,
    axum::Extension(ConnectInfo(peer)): Peer,
    Path(name): Path<String>,
    request: Request<Body>,
) -> Response {
    let revoked = async {
        let (super::Reasoned { why, by }, _) = change(&app, peer, request, SMALL).await?;
        aside(&app, move |app| {
            let keys = &app.keys.issued;
            let key = keys.revoke(&name, &entry(app, "revoke", &name, by, why))?;
            tracing::info!(key = name, "a key was revoked");
            Ok(key_json(&key, keys.now_ms()))
        })
        .await
    };
    either(revoked.await)
}
