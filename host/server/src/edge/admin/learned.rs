//! What observers have learned: shown, and emptied.

use axum::body::Body;
use axum::extract::{ConnectInfo, Path, State};
use axum::response::Response;
use http::{Request, StatusCode};
use kairos_pipeline::learned::{Snapshot, Space, SpaceId};
use kairos_sandbox::acts::ActError;
use kairos_sandbox::versions::By;
use serde_json::{Value, json};

use super::super::pages::{Peer, json as answer};
use super::show::shown;
use super::{Reasoned, SMALL, Shared, Trouble, change, either, not_done, off_the_way, trouble};
use crate::admin::moment;

/// The space that is named, as `name@schema`, or by its name alone where there is one of that name.
fn find<'a>(snapshot: &'a Snapshot, named: &str) -> Result<(&'a SpaceId, &'a Space), Trouble> {
    let is_it = |id: &SpaceId| *id.name == *named || id.to_string() == named;
    let found: Vec<_> = snapshot.spaces().filter(|(id, _)| is_it(id)).collect();
    match found[..] {
        [one] => Ok(one),
        [] => {
            let named: String = named.chars().take(80).collect();
            let message = format!("nothing was learned under {named:?}; `kairos kv list` shows what there is");
            Err(trouble(StatusCode::NOT_FOUND, "unknown_space", &message, Value::Null))
        }
        _ => {
            let candidates: Vec<_> = found.iter().map(|(id, _)| id.to_string()).collect();
            let message = format!("{named} is the name of several spaces: {}", candidates.join(", "));
            Err(trouble(StatusCode::CONFLICT, "ambiguous", &message, json!({"candidates": candidates})))
        }
    }
}

fn space_json(id: &SpaceId, space: &Space) -> Value {
    json!({
        "space": id.to_string(),
        "name": &*id.name,
        "kv_schema": id.schema,
        "keys": space.keys(),
        "bytes": space.bytes(),
        "written": moment(space.written_ms()),
    })
}

/// `/admin/v1/kv`: every space.
pub(super) async fn spaces(
    State(app): Shared,
    axum::Extension(ConnectInfo(peer)): Peer,
    request: Request<Body>,
) -> Response {
    shown(app, peer, request, |app| {
        let snapshot = app.policies.learned().snapshot();
        Ok(json!({"spaces": snapshot.spaces().map(|(id, space)| space_json(id, space)).collect::<Vec<_>>()}))
    })
    .await
}

/// `/admin/v1/kv/{space}`: one, with its keys and values; those that are no text in hexadecimal.
pub(super) async fn space(
    State(app): Shared,
    axum::Extension(ConnectInfo(peer)): Peer,
    Path(named): Path<String>,
    request: Request<Body>,
) -> Response {
    shown(app, peer, request, move |app| {
        let snapshot = app.policies.learned().snapshot();
        let (id, space) = find(&snapshot, &named)?;
        let mut shown = space_json(id, space);
        let values = space.entries().into_iter().map(|(key, value)| match std::str::from_utf8(value) {
            Ok(text) => json!({"key": &**key, "value": text}),
            Err(_) => json!({"key": &**key, "hex": hex::encode(&**value)}),
        });
        shown["values"] = values.collect();
        Ok(shown)
    })
    .await
}

/// `/admin/v1/kv/{space}/clear`: empties it.
pub(super) async fn clear(
    State(app): Shared,
    axum::Extension(ConnectInfo(peer)): Peer,
    Path(named): Path<String>,
    request: Request<Body>,
) -> Response {
    let cleared = async {
        let (Reasoned { why, by }, _) = change(&app, peer, request, SMALL).await?;
        let policies = std::sync::Arc::clone(&app.policies);
        let work = move || {
            let snapshot = policies.learned().snapshot();
            let (id, space) = find(&snapshot, &named)?;
            let by = By::admin(by, why);
            policies.clear_learned(id, &by).map_err(|error: ActError| not_done("", &error))?;
            Ok(answer(StatusCode::OK, json!({"cleared": space_json(id, space)}).to_string()))
        };
        off_the_way(work).await?
    };
    either(cleared.await)
}
