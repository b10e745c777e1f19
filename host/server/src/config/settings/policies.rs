//! Settings of policies: what bounds them, and what happens where they have no say.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use kairos_pipeline::guard::OnFailure;
use kairos_pipeline::healers::BackoffBounds;
use kairos_pipeline::prompts::Bounds;
use kairos_pipeline::{HealingBounds, PromptingBounds};
use kairos_sandbox::canary::Rule;
use kairos_sandbox::capability::{Capability, Grants};
use kairos_sandbox::kv::SpaceBounds;
use kairos_sandbox::limits::Limits as SandboxLimits;
use kairos_sandbox::prompts;
use kairos_store::policies::KeptBounds;
use serde::{Deserialize, Serialize};

use super::super::values::Seconds;
use super::evolving::{HttpSettings, ModelSettings};

/// What follows a failed attempt, where no policy decides it, and what no policy can pass.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct Healing {
    /// Attempts of a request, at most, whoever decides.
    pub(crate) attempts: u32,
    /// Time after a request's arrival in which a further attempt may begin, whoever decides.
    pub(crate) patience_seconds: Seconds,
    /// Repetitions on one model.
    pub(crate) retries: u32,
    /// The wait before the first is drawn below this; before each further one, below twice as much.
    pub(crate) first_wait_seconds: Seconds,
    /// No wait is longer, unless Bedrock asks for it.
    pub(crate) longest_wait_seconds: Seconds,
}

impl Healing {
    pub(crate) fn bounds(&self) -> HealingBounds {
        HealingBounds { attempts: self.attempts, patience: self.patience_seconds.duration() }
    }

    pub(crate) fn backoff(&self) -> BackoffBounds {
        let ms = |seconds: Seconds| u32::try_from(seconds.duration().as_millis()).unwrap_or(u32::MAX).max(1);
        BackoffBounds {
            retries: self.retries,
            base_ms: ms(self.first_wait_seconds),
            cap_ms: ms(self.longest_wait_seconds),
        }
    }
}

/// What of texts may pass, both ways.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct GuardSettings {
    /// Whether personal data and secrets are replaced.
    pub(crate) personal_data: bool,
    /// What becomes of a text whose guard fails.
    pub(crate) on_failure: OnFailed,
}

/// What becomes of a text whose guard fails, and of a request whose prompter does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum OnFailed {
    /// It does not pass.
    #[default]
    Block,
    /// It passes as it is.
    Pass,
}

impl GuardSettings {
    pub(crate) fn on_failure(&self) -> OnFailure {
        match self.on_failure {
            OnFailed::Block => OnFailure::Block,
            OnFailed::Pass => OnFailure::Pass,
        }
    }
}

/// How much of templates there may be.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct PromptSettings {
    /// Templates.
    pub(crate) templates: usize,
    /// Versions of each.
    pub(crate) versions: usize,
    /// Bytes of a file.
    pub(crate) file_bytes: u64,
    /// Bytes of a value that a caller gives.
    pub(crate) value_bytes: usize,
    /// Bytes of what a template comes to.
    pub(crate) rendered_bytes: usize,
}

impl PromptSettings {
    pub(crate) fn limits(&self) -> prompts::Limits {
        let Self { templates, versions, file_bytes, value_bytes, rendered_bytes } = *self;
        prompts::Limits { templates, versions, file_bytes, bounds: Bounds { value_bytes, rendered_bytes } }
    }
}

impl Default for PromptSettings {
    fn default() -> Self {
        let prompts::Limits { templates, versions, file_bytes, bounds } = prompts::Limits::default();
        let Bounds { value_bytes, rendered_bytes } = bounds;
        Self { templates, versions, file_bytes, value_bytes, rendered_bytes }
    }
}

/// How far a prompter may go.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct PrompterSettings {
    /// What becomes of a request whose prompter fails, or cannot change it.
    pub(crate) on_failure: OnFailed,
    /// Bytes that a request may grow by.
    pub(crate) added_bytes: usize,
}

impl PrompterSettings {
    pub(crate) fn bounds(&self) -> PromptingBounds {
        PromptingBounds { blocks: self.on_failure == OnFailed::Block, added_bytes: self.added_bytes }
    }
}

impl Default for PrompterSettings {
    fn default() -> Self {
        Self { on_failure: OnFailed::Pass, added_bytes: PromptingBounds::default().added_bytes }
    }
}

/// What an observer is told of.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct ObserverSettings {
    /// Events that may wait for it.
    pub(crate) queue: usize,
    /// Requests that have ended and whose ratings it is told of.
    pub(crate) remembered: usize,
    /// CPU time of one call.
    pub(crate) deadline_ms: u64,
}

/// Policies and their bounds.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct PolicySettings {
    /// The watched folder.
    pub(crate) folder: Option<PathBuf>,
    /// What policies may use.
    pub(crate) grants: Vec<String>,
    /// Whether a policy serves only with a signature by one of `keys`.
    pub(crate) require_signature: bool,
    /// Public keys whose signatures count, by name: in base64, or the path of a PEM file.
    pub(crate) keys: BTreeMap<String, String>,
    /// Configuration for policies, by slot.
    pub(crate) config: BTreeMap<String, toml::Table>,
    /// CPU time of one call.
    pub(crate) deadline_ms: u64,
    /// CPU time of making an instance ready.
    pub(crate) init_deadline_ms: u64,
    /// Memory of a compiled guest.
    pub(crate) memory_bytes: usize,
    /// Memory of a guest that brings an interpreter along.
    pub(crate) interpreter_memory_bytes: usize,
    /// Stack of a guest.
    pub(crate) stack_bytes: usize,
    /// What a guest may hand to the host in one call.
    pub(crate) handover_bytes: usize,
    /// Handles that a guest may hold.
    pub(crate) handles: usize,
    /// Instances at once, over all generations; none: three for each processor, and at least 64.
    pub(crate) instances: Option<u32>,
    /// Calls after which an instance is replaced.
    pub(crate) calls_per_instance: u32,
    /// Size of a component's file.
    pub(crate) component_bytes: u64,
    /// Size of a script's file.
    pub(crate) script_bytes: u64,
    /// Size of a policy's file of tests.
    pub(crate) test_bytes: u64,
    /// Tests of one policy.
    pub(crate) tests: usize,
    /// CPU time of all tests of a policy.
    pub(crate) test_seconds: Seconds,
    /// Operations of a script in one call.
    pub(crate) script_operations: u64,
    /// Faults within `fault_window_seconds` after which a policy is quarantined.
    pub(crate) faults: usize,
    pub(crate) fault_window_seconds: Seconds,
    /// One call in so many is repeated, to find policies that are not pure.
    pub(crate) purity_sample: u64,
    /// Generations that stay resident behind the one that serves.
    pub(crate) previous_generations: usize,
    /// Versions that are kept on disk, over all slots.
    pub(crate) kept_versions: u64,
    /// Bytes of them.
    pub(crate) kept_bytes: u64,
    pub(crate) kv: KvSettings,
    pub(crate) http: HttpSettings,
    pub(crate) model: ModelSettings,
    pub(crate) canary: CanarySettings,
}

/// What a space of what was learned may hold.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct KvSettings {
    /// Keys.
    pub(crate) keys: usize,
    /// Bytes of all keys and values.
    pub(crate) bytes: usize,
}

impl Default for KvSettings {
    fn default() -> Self {
        let SpaceBounds { keys, bytes } = SpaceBounds::default();
        Self { keys, bytes }
    }
}

/// What canaries are decided by. One under way keeps what it began with.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct CanarySettings {
    /// The share of requests where none is named.
    pub(crate) share: f64,
    /// How many more requests may fail, of 1.
    pub(crate) errors: f64,
    /// How much slower it may be, of the baseline's mean.
    pub(crate) latency: f64,
    /// How much dearer it may be, likewise.
    pub(crate) cost: f64,
    /// How much worse it may be rated, of 1.
    pub(crate) quality: f64,
    /// The chance that is allowed of a wrong decision.
    pub(crate) alpha: f64,
    /// Requests of the baseline from which it is learned what is usual.
    pub(crate) learned: u64,
    /// Requests of the canary before its share grows.
    pub(crate) step: u64,
    /// Hours before which nothing is promoted.
    pub(crate) hours: f64,
}

impl CanarySettings {
    pub(crate) fn rule(&self) -> Rule {
        let Self { errors, latency, cost, quality, alpha, learned, step, hours, .. } = *self;
        Rule { errors, latency, cost, quality, alpha, learned, step, hours }
    }
}

impl Default for CanarySettings {
    fn default() -> Self {
        let Rule { errors, latency, cost, quality, alpha, learned, step, hours } = Rule::default();
        Self { share: 0.05, errors, latency, cost, quality, alpha, learned, step, hours }
    }
}

impl Default for Healing {
    fn default() -> Self {
        let (bounds, backoff) = (HealingBounds::default(), BackoffBounds::default());
        let ms = |ms: u32| Seconds::of(Duration::from_millis(ms.into()));
        Self {
            attempts: bounds.attempts,
            patience_seconds: Seconds::of(bounds.patience),
            retries: backoff.retries,
            first_wait_seconds: ms(backoff.base_ms),
            longest_wait_seconds: ms(backoff.cap_ms),
        }
    }
}

impl Default for ObserverSettings {
    fn default() -> Self {
        let limits = SandboxLimits::default();
        let deadline_ms = u64::try_from(limits.observer_deadline.as_millis()).unwrap_or(u64::MAX);
        Self { queue: limits.events, remembered: limits.remembered, deadline_ms }
    }
}

impl Default for PolicySettings {
    fn default() -> Self {
        let (limits, kept) = (SandboxLimits::default(), KeptBounds::default());
        let granted = Grants::default();
        let names = Capability::ALL.into_iter().filter(|capability| granted.has(*capability));
        let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Self {
            folder: None,
            grants: names.map(|capability| capability.name().to_owned()).collect(),
            require_signature: false,
            keys: BTreeMap::new(),
            config: BTreeMap::new(),
            deadline_ms: ms(limits.deadline),
            init_deadline_ms: ms(limits.init_deadline),
            memory_bytes: limits.memory_bytes,
            interpreter_memory_bytes: limits.interpreter_memory_bytes,
            stack_bytes: limits.stack_bytes,
            handover_bytes: limits.handover_bytes,
            handles: limits.handles,
            instances: None,
            calls_per_instance: limits.calls_per_instance,
            component_bytes: limits.component_bytes,
            script_bytes: limits.script_bytes,
            test_bytes: limits.test_bytes,
            tests: limits.tests,
            test_seconds: Seconds::of(limits.test_time),
            script_operations: limits.script_operations,
            faults: limits.faults,
            fault_window_seconds: Seconds::of(limits.fault_window),
            purity_sample: limits.purity_sample,
            previous_generations: limits.previous_generations,
            kept_versions: kept.versions,
            kept_bytes: kept.bytes,
            kv: KvSettings::default(),
            http: HttpSettings::default(),
            model: ModelSettings::default(),
            canary: CanarySettings::default(),
        }
    }
}
