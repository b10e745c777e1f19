//! What became of policies, and which serves: for metrics and for people.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use kairos_pipeline::policy::FaultKind;

use crate::refusal::Reason;

/// What happened to policies, for metrics.
#[derive(Debug, Default)]
pub struct Counters {
    /// Files that were loaded.
    pub loaded: AtomicU64,
    /// Files that were refused, by reason, in the order of [`Reason::ALL`].
    pub refused: [AtomicU64; Reason::ALL.len()],
    /// Calls that failed, by kind, in the order of [`FaultKind::ALL`].
    pub faults: [AtomicU64; FaultKind::ALL.len()],
    /// Files that served after one before them was refused or quarantined.
    pub recovered: AtomicU64,
    /// Generations that were quarantined.
    pub quarantined: AtomicU64,
    /// Number of the generation that serves: one more at each change.
    pub generation: AtomicU64,
}

/// What serves, for people.
#[derive(Clone, Debug)]
pub struct Status {
    /// `name@digest`.
    pub policy: Arc<str>,
    /// `native`, `rhai` or `wasm`.
    pub engine: &'static str,
    /// The file, where there is one.
    pub file: Option<PathBuf>,
    /// Why the last file was refused.
    pub refusal: Option<String>,
    /// Digests that are quarantined.
    pub quarantined: Vec<String>,
    /// The last file was refused or quarantined: what serves is what was before it.
    pub outdated: bool,
    /// It is called one call at a time, as one was over its deadline.
    pub on_probation: bool,
}
