//! What became of policies, and which serves: for metrics and for people.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use kairos_pipeline::policy::FaultKind;

use crate::canary::Report;
use crate::generation::Generation;
use crate::host::PolicyHost;
use crate::lineup::Lineup;
use crate::refusal::Reason;
use crate::shadow::Watch;
use crate::versions::{Known, Version};

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
    /// Canaries that were rolled back by the gateway, by why, in the order of [`ROLLED_BACK`].
    pub rolled_back: [AtomicU64; ROLLED_BACK.len()],
    /// Canaries that were promoted by the gateway.
    pub promoted: AtomicU64,
}

/// Why the gateway rolls back a canary.
pub const ROLLED_BACK: [&str; 5] = ["errors", "latency", "cost", "quality", "quarantined"];

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

/// What a version is for, at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It serves.
    Active,
    /// It served before; the first is the one that a rollback goes to.
    Previous,
    /// It is ready to serve.
    Staged,
    /// It serves a share.
    Canary,
    /// It is asked as well.
    Shadow,
}

impl Role {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Previous => "previous",
            Self::Staged => "staged",
            Self::Canary => "canary",
            Self::Shadow => "shadow",
        }
    }
}

impl PolicyHost {
    /// The versions that are resident, with their roles: what serves, what is tried and what is asked
    /// beside it, then what served, the newest first, then what is ready.
    pub fn residents(&self) -> Vec<(Role, Arc<Generation>)> {
        let Lineup { current, previous, staged, canary, shadow, is_lost: _ } = self.lock().lineup.clone();
        let canary = canary.map(|canary| (Role::Canary, canary.generation));
        let shadow = shadow.map(|watch| (Role::Shadow, Arc::clone(watch.generation())));
        let current = current.into_iter().map(|generation| (Role::Active, generation));
        let previous = previous.into_iter().rev().map(|generation| (Role::Previous, generation));
        let staged = staged.into_iter().rev().map(|generation| (Role::Staged, generation));
        current.chain(canary).chain(shadow).chain(previous).chain(staged).collect()
    }

    /// The experiment under way, then those that have ended, the newest first.
    pub fn experiments(&self) -> Vec<Report> {
        self.trials.reports()
    }

    /// What is asked as well.
    pub fn shadow(&self) -> Option<Arc<Watch>> {
        self.lock().lineup.shadow.clone()
    }

    /// Messages about requests of an experiment that were lost, as too many waited.
    pub fn lost(&self) -> u64 {
        self.trials.lost.load(Ordering::Relaxed)
    }

    /// What the watched folder last said: a file, and its digest.
    pub fn folder_said(&self) -> Option<(PathBuf, String)> {
        self.lock().folder.clone()
    }

    /// Versions that are kept of the slot, the newest first, so many at most.
    pub fn known(&self, most: usize) -> Result<Vec<Known>, String> {
        self.versions.known(self.slot(), "", most)
    }

    /// The name of the key that vouches for a version today, where one does.
    pub fn signer(&self, version: &Version) -> Option<Arc<str>> {
        self.loader.signer(version).ok().flatten()
    }

    /// A version that is kept, with its bytes and tests.
    pub fn kept(&self, digest: &str) -> Result<Option<Version>, String> {
        self.versions.version(self.slot(), digest)
    }
}
