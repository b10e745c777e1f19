//! `/admin/v1/spend`: what was spent, by whatever is asked for.

use axum::body::Body;
use axum::extract::{ConnectInfo, State};
use axum::response::Response;
use http::{Request, StatusCode};
use kairos_store::ledger::{FILE, Reader};
use percent_encoding::percent_decode_str;
use serde_json::Value;

use super::super::pages::Peer;
use super::show::shown;
use super::{Shared, Trouble, trouble};
use crate::spend::{By, Filter, Sums, SumsError};

fn wrong(error: &SumsError) -> Trouble {
    let (status, code) = match error {
        SumsError::Ledger(_) => (StatusCode::SERVICE_UNAVAILABLE, "unreadable"),
        SumsError::Many => (StatusCode::UNPROCESSABLE_ENTITY, "too_many_groups"),
        SumsError::Name(_) | SumsError::By(_) => (StatusCode::BAD_REQUEST, "malformed"),
    };
    trouble(status, code, &error.to_string(), Value::Null)
}

/// What a query asks for, in the words of `kairos ledger show`.
fn read(query: &str, now_ms: i64) -> Result<(Filter, Vec<By>), SumsError> {
    let (mut filter, mut by) = (Filter::default(), Vec::new());
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = value.replace('+', " ");
        let value = percent_decode_str(&value).decode_utf8_lossy();
        if name == "by" {
            by = By::list(&value)?;
        } else {
            filter.set(name, &value, now_ms)?;
        }
    }
    filter.check()?;
    Ok((filter, by))
}

/// Sums of the ledger's lines. It reads rows, as many as the time has: one such read at a time.
pub(super) async fn spend(
    State(app): Shared,
    axum::Extension(ConnectInfo(peer)): Peer,
    request: Request<Body>,
) -> Response {
    let now_ms = i64::try_from((app.gateway.clock)()).unwrap_or(i64::MAX);
    let asked = read(request.uri().query().unwrap_or_default(), now_ms);
    shown(app, peer, request, move |app| {
        let Ok(_alone) = app.admin.summing.try_lock() else {
            let message = "what was spent is being summed up for somebody else: ask again";
            return Err(trouble(StatusCode::TOO_MANY_REQUESTS, "busy", message, Value::Null));
        };
        let (filter, by) = asked.map_err(|error| wrong(&error))?;
        let reader = Reader::open(&app.config.data.join(FILE)).map_err(|error| wrong(&error.into()))?;
        Ok(Sums::read(&reader, &filter, by).map_err(|error| wrong(&error))?.json())
    })
    .await
}
