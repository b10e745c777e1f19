//! Records of requests: taken out for good, where somebody asks for it.

use axum::body::Body;
use axum::extract::{ConnectInfo, State};
use axum::response::Response;
use http::{Request, StatusCode};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use kairos_pipeline::policy::bounded;
use kairos_pipeline::request::RequestId;
use kairos_store::policies::Entry;
use kairos_store::records::{Beside, Which, erase_unused, unused};
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::pages::{Peer, json as answer};
use super::{SMALL, Shared, Trouble, change, either, off_the_way, trouble};

/// What the audit log has in the place of a slot.
const SLOT: &str = "records";
/// Bytes of a key's name.
const KEY_BYTES: usize = 256;

/// Which records, and why: one of the three.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    request: Option<String>,
    key: Option<String>,
    before: Option<String>,
    why: Option<String>,
    by: Option<String>,
}

fn malformed(message: &str) -> Trouble {
    trouble(StatusCode::BAD_REQUEST, "malformed", message, Value::Null)
}

impl Asked {
    /// Which records, and how people call them.
    fn which(&self) -> Result<(Which, String), Trouble> {
        match (&self.request, &self.key, &self.before) {
            (Some(id), None, None) => {
                let id = RequestId::parse(id).ok_or_else(|| malformed("`request` is not the id of a request"))?;
                Ok((Which::Request(id), format!("request {id}")))
            }
            (None, Some(key), None) if !key.is_empty() && key.len() <= KEY_BYTES => {
                Ok((Which::Key(key.clone()), format!("key {key}")))
            }
            (None, Some(_), None) => Err(malformed("`key` is the name of a key, of 1 to 256 bytes")),
            (None, None, Some(day)) => {
                let wrong =
                    || malformed("`before` is a day, as 2026-11-23 is: from its beginning on, in UTC, all stays");
                let date: Date = day.parse().map_err(|_| wrong())?;
                let begins = date.to_zoned(TimeZone::UTC).map_err(|_| wrong())?.timestamp().as_millisecond();
                Ok((Which::Before(begins.max(0).unsigned_abs()), format!("before {date}")))
            }
            _ => Err(malformed("one of `request`, `key` and `before` says which records")),
        }
    }
}

/// `/admin/v1/records/forget`: takes records out, here and on disk. Written into the audit log first.
pub(super) async fn forget(
    State(app): Shared,
    axum::Extension(ConnectInfo(peer)): Peer,
    request: Request<Body>,
) -> Response {
    let forgotten = async {
        let (asked, _): (Asked, _) = change(&app, peer, request, SMALL).await?;
        let (which, called) = asked.which()?;
        let not_written = |why: String| trouble(StatusCode::SERVICE_UNAVAILABLE, "not_written", &why, Value::Null);
        let (data, in_use) = (app.config.data.clone(), app.records.is_some());
        let files = off_the_way(move || unused(&data, in_use)).await?;
        let files = files.map_err(|error| not_written(format!("{}: {error}", app.config.data.display())))?;
        let entry = Entry {
            at_ms: i64::try_from((app.gateway.clock)()).unwrap_or(i64::MAX),
            actor: "admin".to_owned(),
            claimed: asked.by.map(bounded),
            act: "forget".to_owned(),
            slot: SLOT.to_owned(),
            digest: None,
            why: asked.why.map(bounded),
            detail: Some(called.clone()),
        };
        let store = std::sync::Arc::clone(&app.admin.store);
        off_the_way(move || store.note(&entry)).await?.map_err(|error| not_written(error.to_string()))?;
        app.gateway.records.forget(|id, record| match &which {
            Which::Request(asked) => id == *asked,
            Which::Key(key) => record.key.as_deref() == Some(key),
            Which::Before(ms) => record.received_ms < *ms,
        });
        let mut gone = 0;
        if let Some(records) = &app.records {
            let (tell, told) = tokio::sync::oneshot::channel();
            records.erase(which.clone(), Box::new(move |gone| drop(tell.send(gone))));
            gone = told.await.unwrap_or_else(|_| Err("the gateway stops".to_owned())).map_err(not_written)?;
        }
        let jobs = app.admin.jobs.erase(which.clone()).await.map_err(not_written)?;
        let beside = off_the_way(move || erase_unused(&files, &which)).await?;
        let gone_beside = beside.iter().filter_map(|file| file.erased.as_ref().ok().copied().flatten()).sum::<u64>();
        app.records.iter().for_each(|records| records.erased_beside(gone_beside));
        gone += gone_beside;
        tracing::info!(which = called, gone, jobs, "records were taken out");
        Ok(answer(StatusCode::OK, told(&called, (gone, jobs), &beside).to_string()))
    };
    either(forgotten.await)
}

/// What was done, and which files may still hold such records.
fn told(called: &str, (gone, jobs): (u64, u64), beside: &[Beside]) -> Value {
    let path = |file: &Beside| file.path.display().to_string();
    let removed = beside.iter().filter(|file| file.erased == Ok(None)).map(path);
    let unsearched = beside.iter().filter_map(|file| {
        let why = file.erased.as_ref().err()?;
        tracing::warn!(file = %file.path.display(), "records may be left in a file that is not in use: {why}");
        Some(json!({"file": path(file), "why": why}))
    });
    json!({
        "which": called,
        "forgotten": gone,
        "jobs": jobs,
        "removed": removed.collect::<Vec<_>>(),
        "unsearched": unsearched.collect::<Vec<_>>(),
    })
}
