//! Whom evaluators and mutators may call: services that the operator lists, and models, through a gateway.
//!
//! What one call of a policy may ask is bounded in the sandbox; here is what a whole run may, where it goes, and
//! what it may cost.

mod address;
mod hosts;
mod http;
mod model;

use std::sync::Arc;
use std::time::{Duration, Instant};

use kairos_bedrock::connect::innermost;
use kairos_pipeline::policy::{
    Failing, HttpRequest, HttpResponse, ModelRequest, ModelResponse, NOWHERE, Outside, OutsideError, one_line,
};
use tokio::runtime::{Builder, Runtime};

pub(crate) use self::hosts::{Host, MOST_HOSTS};
pub(crate) use self::http::HttpCaller;
pub(crate) use self::model::{Gateway, ModelCaller};

/// Callers of a run of a policy, on a runtime of their own: who waits is the policy's thread.
pub(crate) struct Callers {
    runtime: Runtime,
    http: HttpCaller,
    /// None: no gateway was named.
    model: Option<ModelCaller>,
}

impl std::fmt::Debug for Callers {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Callers")
    }
}

impl Callers {
    /// Callers within these bounds.
    pub(crate) fn new(http: HttpCaller, model: Option<ModelCaller>) -> std::io::Result<Self> {
        let runtime = Builder::new_multi_thread().worker_threads(1).thread_name("policy-calls").enable_all().build()?;
        Ok(Self { runtime, http, model })
    }

    /// What the models of this run cost, in picodollars, and how often they were called.
    pub(crate) fn spent(&self) -> (u64, u32) {
        self.model.as_ref().map_or((0, 0), ModelCaller::spent)
    }

    /// How much of the bounds of a run is used, and what was refused at them: of those that may be reached.
    pub(crate) fn used(&self) -> Vec<Used> {
        self.http.used().into_iter().chain(self.model.iter().flat_map(ModelCaller::used)).collect()
    }

    /// As policies are given them.
    pub(crate) fn outside(callers: Option<&Arc<Self>>) -> Arc<dyn Outside> {
        callers.map_or_else(|| Arc::clone(&NOWHERE), |callers| Arc::clone(callers) as _)
    }
}

/// How a run stands with one of its bounds, which is named as in `kairos.toml`. Amounts as they are written there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Used {
    pub(crate) name: &'static str,
    pub(crate) limit: String,
    /// None where it bounds a single call.
    pub(crate) used: Option<String>,
    /// Calls that were refused at it.
    pub(crate) refused: u64,
}

impl Outside for Callers {
    fn send(&self, request: &HttpRequest, room: &mut usize, until: Instant) -> Result<HttpResponse, OutsideError> {
        self.runtime.block_on(self.http.send(request, room, until))
    }

    fn call(&self, request: &ModelRequest, until: Instant) -> Result<ModelResponse, OutsideError> {
        match &self.model {
            Some(model) => self.runtime.block_on(model.call(request, until)),
            None => {
                let what = "no gateway was named: add --gateway URL, and its key in KAIROS_KEY or with --key";
                Err(OutsideError::new(Failing::Unavailable, what))
            }
        }
    }
}

/// A call that came to nothing.
fn failed<T>(kind: Failing, message: impl Into<String>) -> Result<T, OutsideError> {
    Err(OutsideError::new(kind, message))
}

/// The text of an error's innermost cause, on one line.
fn shortly(error: &(dyn std::error::Error + 'static)) -> String {
    one_line(innermost(error), 200)
}

/// What is left of a call's time, and no more than this. A policy may ask once more before it is stopped: then
/// nothing is sent, as an answer that is there at once would be taken.
fn time_left(until: Instant, most: Duration) -> Result<Duration, OutsideError> {
    match most.min(until.saturating_duration_since(Instant::now())) {
        Duration::ZERO => failed(Failing::Unavailable, "the time of the call is over; nothing was sent"),
        left => Ok(left),
    }
}
