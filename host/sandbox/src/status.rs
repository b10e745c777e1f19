//! What became of policies, and which serves: for metrics and for people.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use kairos_pipeline::policy::FaultKind;

use crate::generation::Generation;
use crate::host::PolicyHost;
use crate::lineup::Lineup;
use crate::refusal::Reason;
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

/// What a version is for, at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It serves.
    Active,
    /// It served before; the first is the one that a rollback goes to.
    Previous,
    /// It is ready to serve.
    Staged,
}

impl Role {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Previous => "previous",
            Self::Staged => "staged",
        }
    }
}

impl PolicyHost {
    /// The versions that are resident, with their roles: what serves, then what did, the newest first,
    /// then what is ready.
    pub fn residents(&self) -> Vec<(Role, Arc<Generation>)> {
        let Lineup { current, previous, staged } = self.lock().lineup.clone();
        let current = current.into_iter().map(|generation| (Role::Active, generation));
        let previous = previous.into_iter().rev().map(|generation| (Role::Previous, generation));
        let staged = staged.into_iter().rev().map(|generation| (Role::Staged, generation));
        current.chain(previous).chain(staged).collect()
    }

    /// What the watched folder last said: a file, and its digest.
    pub fn folder_said(&self) -> Option<(PathBuf, String)> {
        self.lock().folder.clone()
    }

    /// Versions that are kept of a slot, the newest first, so many at most.
    pub fn known(&self, slot: &'static str, most: usize) -> Result<Vec<Known>, String> {
        self.versions.known(slot, "", most)
    }

    /// A version that is kept, with its bytes and tests.
    pub fn kept(&self, slot: &'static str, digest: &str) -> Result<Option<Version>, String> {
        self.versions.version(slot, digest)
    }
}
