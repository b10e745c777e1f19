//! What became of policies, as JSON.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{ConnectInfo, Path};
use axum::response::Response;
use http::{Request, StatusCode};
use kairos_dialects::{Failure, Kind};
use kairos_sandbox::acts::ActError;
use kairos_sandbox::host::PolicyHost;
use serde_json::{Value, json};

use super::super::pages::{Peer, allowed, json as answer};
use super::super::routes::App;
use super::{Answer, Shared, Trouble, either, failed, not_done, slot_of};
use crate::admin::{act_json, moment};

/// Versions, and acts, that are listed at most.
const LISTED: usize = 100;

/// Shows something to whoever may see it. It is read where no request waits: the database may be busy.
pub(super) async fn shown(
    app: Arc<App>,
    peer: SocketAddr,
    request: Request<Body>,
    show: impl FnOnce(&App) -> Result<Value, Trouble> + Send + 'static,
) -> Response {
    let (parts, _) = request.into_parts();
    if let Err(failure) = allowed(&app, &parts, peer) {
        return *failed(&failure);
    }
    let read = tokio::task::spawn_blocking(move || show(&app)).await;
    let read: Answer =
        read.unwrap_or_else(|error| Err(unread(error))).map(|json| answer(StatusCode::OK, json.to_string()));
    either(read)
}

fn unread(error: impl std::fmt::Display) -> Trouble {
    failed(&Failure::new(Kind::Internal, format!("what is kept of policies cannot be read: {error}")))
}

/// What is so in a slot.
fn slot_json(policies: &PolicyHost) -> Value {
    let status = policies.status();
    let versions = policies.residents().into_iter().map(|(role, generation)| {
        json!({
            "role": role.name(),
            "policy": &**generation.identity().label(),
            "digest": generation.identity().digest,
            "engine": generation.engine_name(),
            "file": generation.path().display().to_string(),
            "tests": generation.tests(),
            "signed_by": generation.signer().as_deref(),
            "calls": generation.calls(),
        })
    });
    let folder = policies.folder_said().map(|(file, digest)| {
        let serves = status.policy.ends_with(&format!("@{digest}"));
        json!({"file": file.display().to_string(), "digest": digest, "serves": serves})
    });
    let shadow = policies.shadow().map(|watch| {
        json!({"policy": &**watch.generation().identity().label(), "sample": watch.sample(), "compared": watch.compared()})
    });
    json!({
        "slot": policies.slot(),
        "experiments": policies.experiments(),
        "shadow": shadow,
        "serves": &*status.policy,
        "engine": status.engine,
        "versions": versions.collect::<Vec<_>>(),
        "folder": folder,
        "quarantined": status.quarantined,
        "refusal": status.refusal,
        "outdated": status.outdated,
        "on_probation": status.on_probation,
    })
}

/// `/admin/v1/policies`: every slot.
pub(super) async fn policies(
    axum::extract::State(app): Shared,
    axum::Extension(ConnectInfo(peer)): Peer,
    request: Request<Body>,
) -> Response {
    shown(app, peer, request, |app| {
        let slots: Vec<_> = app.policies.all().map(|policies| slot_json(policies)).collect();
        let (kept, most) = (app.admin.store.kept(), &app.config.policies);
        let kept = json!({
            "versions": kept.versions,
            "most_versions": most.kept_versions,
            "bytes": kept.bytes,
            "most_bytes": most.kept_bytes,
            "dropped": kept.dropped,
        });
        Ok(json!({"slots": slots, "kept": kept}))
    })
    .await
}

/// `/admin/v1/policies/{slot}`: one, with the versions that are kept.
pub(super) async fn policy(
    axum::extract::State(app): Shared,
    axum::Extension(ConnectInfo(peer)): Peer,
    Path(slot): Path<String>,
    request: Request<Body>,
) -> Response {
    shown(app, peer, request, move |app| {
        let policies = app.policies.of(slot_of(&slot)?);
        let mut shown = slot_json(policies);
        let kept = policies.known(LISTED).map_err(unread)?.into_iter().map(|known| {
            json!({
                "digest": known.digest,
                "name": known.name,
                "engine": known.engine,
                "file": known.file,
                "added": moment(known.added_ms),
            })
        });
        shown["kept"] = kept.collect();
        Ok(shown)
    })
    .await
}

/// `/admin/v1/policies/{slot}/versions/{digest}`: one version, with its text where it has one.
pub(super) async fn version(
    axum::extract::State(app): Shared,
    axum::Extension(ConnectInfo(peer)): Peer,
    Path((slot, digest)): Path<(String, String)>,
    request: Request<Body>,
) -> Response {
    shown(app, peer, request, move |app| {
        let policies = app.policies.of(slot_of(&slot)?);
        let known = policies.resolve(&digest).map_err(|error| not_done("", &error))?;
        let kept = policies.kept(&known.digest).map_err(unread)?;
        let kept = kept.ok_or_else(|| not_done("", &ActError::Unknown(known.digest.clone())))?;
        let residents = policies.residents();
        let role = residents.iter().find(|(_, generation)| generation.identity().digest == known.digest);
        let quarantined = policies.status().quarantined.contains(&known.digest);
        let role = role.map(|(role, _)| role.name()).or(quarantined.then_some("quarantined"));
        let text = |bytes: &[u8]| std::str::from_utf8(bytes).map(str::to_owned).ok();
        Ok(json!({
            "slot": policies.slot(),
            "digest": known.digest,
            "name": known.name,
            "engine": known.engine,
            "file": known.file,
            "added": moment(known.added_ms),
            "role": role,
            "bytes": kept.bytes.len(),
            "signed_by": policies.signer(&kept).as_deref(),
            "text": (known.engine == "rhai").then(|| text(&kept.bytes)),
            "tests": kept.tests.map(|tests| text(&tests.bytes)),
        }))
    })
    .await
}

/// `/admin/v1/prices`: which prices serve, what is wrong with the operator's file, which versions are kept.
pub(super) async fn prices(
    axum::extract::State(app): Shared,
    axum::Extension(ConnectInfo(peer)): Peer,
    request: Request<Body>,
) -> Response {
    shown(app, peer, request, |app| {
        let status = app.prices.status();
        let wrong = status.wrong.map(
            |wrong| json!({"file": wrong.file.display().to_string(), "line": wrong.line, "message": wrong.message}),
        );
        let kept = app.prices.sheets().list().into_iter().map(|sheet| {
            let since = sheet.served.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
            let served = moment(u64::try_from(since.as_millis()).unwrap_or(u64::MAX));
            json!({"version": sheet.version, "bytes": sheet.bytes, "served": served})
        });
        Ok(json!({
            "version": &*status.version,
            "file": status.file.map(|file| file.display().to_string()),
            "loaded": status.loaded,
            "refused": status.refused,
            "wrong": wrong,
            "kept": kept.collect::<Vec<_>>(),
        }))
    })
    .await
}

/// `/admin/v1/audit`: the last acts, the newest first.
pub(super) async fn audit(
    axum::extract::State(app): Shared,
    axum::Extension(ConnectInfo(peer)): Peer,
    request: Request<Body>,
) -> Response {
    shown(app, peer, request, |app| {
        let acts = app.admin.store.audit(LISTED).map_err(unread)?;
        Ok(json!({"acts": acts.iter().map(|(seq, entry)| act_json(*seq, entry)).collect::<Vec<_>>()}))
    })
    .await
}
