//! What is tried beside the policy in place: a canary, a shadow.

use axum::body::Body;
use axum::extract::{ConnectInfo, Path, State};
use axum::response::Response;
use http::{Request, StatusCode};
use kairos_sandbox::canary::Plan;
use kairos_sandbox::versions::By;
use serde::Deserialize;
use serde_json::Value;

use super::super::feedback::is_metric;
use super::super::pages::Peer;
use super::{SMALL, Shared, Trouble, aside, change, either, slot_of, trouble};

/// The part of the questions that a shadow is asked, where none is named.
const SAMPLE: f64 = 0.1;
/// The metric of feedback that quality is, where none is named.
const METRIC: &str = "quality";
/// Bytes of a tag's name.
const MOST_NAME_BYTES: usize = 64;

/// Which version is asked as well, and how often.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Watched {
    digest: String,
    sample: Option<f64>,
    why: Option<String>,
    by: Option<String>,
}

/// Which version is tried, and how.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Tried {
    digest: String,
    share: Option<f64>,
    sticky: Option<String>,
    #[serde(default)]
    auto: bool,
    metric: Option<String>,
    why: Option<String>,
    by: Option<String>,
}

fn wrong(message: &str) -> Trouble {
    trouble(StatusCode::BAD_REQUEST, "malformed", message, Value::Null)
}

pub(super) async fn shadow(
    State(app): Shared,
    axum::Extension(ConnectInfo(peer)): Peer,
    Path(slot): Path<String>,
    request: Request<Body>,
) -> Response {
    let watched = async {
        let (Watched { digest, sample, why, by }, _) = change(&app, peer, request, SMALL).await?;
        let slot = slot_of(&slot)?;
        let sample = sample.unwrap_or(SAMPLE);
        if !(sample > 0.0 && sample <= 1.0) {
            return Err(wrong("`sample` is a part of the questions: above 0 and at most 1"));
        }
        let by = By::admin(by, why);
        aside(&app, slot, digest.clone(), move |policies| policies.watch_shadow(&digest, sample, &by)).await
    };
    either(watched.await)
}

pub(super) async fn canary(
    State(app): Shared,
    axum::Extension(ConnectInfo(peer)): Peer,
    Path(slot): Path<String>,
    request: Request<Body>,
) -> Response {
    let tried = async {
        let (Tried { digest, share, sticky, auto, metric, why, by }, _) = change(&app, peer, request, SMALL).await?;
        let slot = slot_of(&slot)?;
        let set = &app.config.policies.canary;
        let share = share.unwrap_or(set.share);
        if !(0.001..=0.5).contains(&share) {
            return Err(wrong("`share` is a part of the requests: from 0.001 to 0.5"));
        }
        if sticky.as_ref().is_some_and(|tag| tag.is_empty() || tag.len() > MOST_NAME_BYTES) {
            return Err(wrong("`sticky` is the name of a tag, of 1 to 64 bytes"));
        }
        let metric = metric.unwrap_or_else(|| METRIC.to_owned());
        if !is_metric(&metric) {
            return Err(wrong("`metric` is the name of a metric of feedback: 1 to 64 characters of a-z, 0-9 and _"));
        }
        let loaded_with = Default::default();
        let plan = Plan { share, sticky, auto, metric, tries_before: 0, rule: set.rule(), loaded_with };
        let by = By::admin(by, why);
        aside(&app, slot, digest.clone(), move |policies| policies.try_out(&digest, plan, &by)).await
    };
    either(tried.await)
}
