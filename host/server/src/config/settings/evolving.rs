//! Settings of evaluators and mutators, and of whom they may call.

use std::time::Duration;

use kairos_pipeline::money::Picodollars;
use kairos_pipeline::policy::MutatorBounds;
use kairos_sandbox::limits::Limits as SandboxLimits;
use kairos_sandbox::reach::ReachBounds;
use serde::{Deserialize, Serialize};

use super::super::values::{Dollars, Seconds};

/// What an evaluator may use.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct EvaluatorSettings {
    /// CPU time of one call.
    pub(crate) deadline_ms: u64,
    /// Time on the clock of one call, calls of others included.
    pub(crate) seconds: Seconds,
    /// Bytes of a case: a line of a data set.
    pub(crate) case_bytes: usize,
    /// Cases of a data set.
    pub(crate) cases: usize,
}

/// What a mutator may use, and propose.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct MutatorSettings {
    /// CPU time of one call.
    pub(crate) deadline_ms: u64,
    /// Time on the clock of one call, calls of others included.
    pub(crate) seconds: Seconds,
    /// Proposals of one call.
    pub(crate) proposals: usize,
    /// Bytes of a slot's text.
    pub(crate) text_bytes: usize,
}

/// Which services evaluators and mutators may call.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct HttpSettings {
    /// By https, at public addresses: `api.example.com`, or `http://…` where it is to be in the clear.
    pub(crate) hosts: Vec<String>,
    /// Likewise, at addresses of this machine or of a private network too.
    pub(crate) local_hosts: Vec<String>,
    /// Requests of one call of a policy.
    pub(crate) calls: u32,
    /// Bytes that it may send, and get.
    pub(crate) bytes: usize,
    /// Time of one request.
    pub(crate) seconds: Seconds,
    /// Requests of a run.
    pub(crate) run_calls: u32,
}

/// How evaluators and mutators may call models.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct ModelSettings {
    /// Calls of one call of a policy.
    pub(crate) calls: u32,
    /// Bytes of all texts of a call.
    pub(crate) bytes: usize,
    /// Calls of a run.
    pub(crate) run_calls: u32,
    /// What a run may spend.
    pub(crate) run_usd: Dollars,
}

impl HttpSettings {
    /// What one call of a policy may ask of others.
    pub(crate) fn reach(&self, model: &ModelSettings) -> ReachBounds {
        ReachBounds {
            http_calls: self.calls,
            http_bytes: self.bytes,
            model_calls: model.calls,
            model_bytes: model.bytes,
        }
    }
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl Default for EvaluatorSettings {
    fn default() -> Self {
        let (cpu, wall) = SandboxLimits::default().evaluator;
        Self { deadline_ms: ms(cpu), seconds: Seconds::of(wall), case_bytes: 1 << 20, cases: 100_000 }
    }
}

impl Default for MutatorSettings {
    fn default() -> Self {
        let (cpu, wall) = SandboxLimits::default().mutator;
        let MutatorBounds { proposals, text_bytes } = MutatorBounds::default();
        Self { deadline_ms: ms(cpu), seconds: Seconds::of(wall), proposals, text_bytes }
    }
}

impl Default for HttpSettings {
    fn default() -> Self {
        let ReachBounds { http_calls, http_bytes, .. } = ReachBounds::default();
        Self {
            hosts: Vec::new(),
            local_hosts: Vec::new(),
            calls: http_calls,
            bytes: http_bytes,
            seconds: Seconds::new(10.0),
            run_calls: 10_000,
        }
    }
}

impl Default for ModelSettings {
    fn default() -> Self {
        let ReachBounds { model_calls, model_bytes, .. } = ReachBounds::default();
        let run_usd = Dollars(Picodollars(Picodollars::PER_DOLLAR));
        Self { calls: model_calls, bytes: model_bytes, run_calls: 1_000, run_usd }
    }
}
