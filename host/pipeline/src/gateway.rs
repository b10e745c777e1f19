//! What requests share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::guard::OnFailure;
use crate::heal::HealingBounds;
use crate::history::History;
use crate::jobs::Jobs;
use crate::ledger::Ledger;
use crate::models::Catalogue;
use crate::places::Places;
use crate::policy::{Guard, Healer, Policies, Router};
use crate::profile::Profiles;
use crate::prompted::PromptingBounds;
use crate::prompts::{self, Library};
use crate::rates::Rates;
use crate::record::{Observer, Recorder, Records};
use crate::request::Keys;
use crate::upstream::Upstream;

/// The gateway: what every request is served with.
pub struct Gateway {
    /// Who may call.
    pub keys: Arc<dyn Keys>,
    /// The policies that serve.
    pub policies: Arc<dyn Policies>,
    /// The router that answers when a policy cannot.
    pub native: Arc<dyn Router>,
    /// The healer that answers when a policy cannot.
    pub native_healer: Arc<dyn Healer>,
    /// The guard of all texts where nothing is in the slot, or what is there has no opinion; none: they pass
    /// as they are.
    pub native_guard: Option<Arc<dyn Guard>>,
    /// The model side.
    pub upstream: Arc<dyn Upstream>,
    /// Where money is accounted for.
    pub ledger: Arc<dyn Ledger>,
    /// Jobs; none: they are not started.
    pub jobs: Option<Arc<Jobs>>,
    /// The models. A request keeps the catalogue that it began with.
    pub catalogue: Arc<ArcSwap<Catalogue>>,
    /// Who finds out what application inference profiles stand for.
    pub profiles: Arc<dyn Profiles>,
    /// The templates that requests may name. A request keeps the one that it was given.
    pub prompts: Arc<ArcSwap<Library>>,
    /// How attempts went.
    pub history: History,
    /// What happened to requests.
    pub records: Records,
    /// Where records are kept for longer; none: nowhere.
    pub recorder: Option<Arc<dyn Recorder>>,
    /// Log and metrics.
    pub observer: Arc<dyn Observer>,
    /// What is under way.
    pub load: Load,
    /// Places on models, where their number is limited.
    pub places: Option<Places>,
    /// Requests and tokens a minute, where they are limited, or keys may be.
    pub rates: Rates,
    /// Limits and switches.
    pub settings: Settings,
    /// Milliseconds since 1970.
    pub clock: Arc<dyn Fn() -> u64 + Send + Sync>,
}

/// Limits and switches of the pipeline.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Keys the draws among candidates, so that callers cannot steer them.
    pub draw_salt: [u8; 32],
    /// The model of requests that name none: a name of the catalogue, or `auto`.
    pub default_model: String,
    /// Whether an ended model is answered for by its successor, or refused.
    pub resolve_ended_models: bool,
    /// How long a streaming caller waits without a byte before it is sent a sign of life.
    pub keep_alive: Duration,
    /// How long the usage may come after a stream's end.
    pub metadata_patience: Duration,
    /// Requests that may be under way, those whose callers have left included.
    pub most_in_flight: usize,
    /// Beginnings of the S3 URIs that jobs may read from and write to; none: all.
    pub job_places: Option<Vec<String>>,
    /// Calls that one request for embeddings may make.
    pub embedding_calls: usize,
    /// Numbers of all vectors that it may be answered.
    pub embedding_numbers: usize,
    /// How far a failed request is healed.
    pub healing: HealingBounds,
    /// What becomes of a text whose guard fails.
    pub guard_on_failure: OnFailure,
    /// How much templates may come to.
    pub prompts: prompts::Bounds,
    /// What becomes of a request whose prompter fails, and how far one may go.
    pub prompting: PromptingBounds,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            draw_salt: [0; 32],
            default_model: "auto".to_owned(),
            resolve_ended_models: true,
            keep_alive: Duration::from_secs(15),
            metadata_patience: Duration::from_secs(2),
            most_in_flight: 4_096,
            job_places: None,
            embedding_calls: 64,
            embedding_numbers: 2_000_000,
            healing: HealingBounds::default(),
            guard_on_failure: OnFailure::default(),
            prompts: prompts::Bounds::default(),
            prompting: PromptingBounds::default(),
        }
    }
}

/// What is under way.
#[derive(Debug)]
pub struct Load {
    requests: AtomicUsize,
    refused: AtomicU64,
    attempts: Vec<AtomicU32>,
}

impl Load {
    /// Nothing under way, for so many models.
    pub fn new(models: usize) -> Self {
        let attempts = (0..models).map(|_| AtomicU32::new(0)).collect();
        Self { requests: AtomicUsize::new(0), refused: AtomicU64::new(0), attempts }
    }

    /// Requests under way.
    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }

    /// Requests that were refused because as many as allowed were under way.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Attempts under way on a model.
    pub fn attempts(&self, model: usize) -> u32 {
        self.attempts[model].load(Ordering::Relaxed)
    }

    /// Counts a request until the guard is dropped; none when `most` are under way.
    pub(crate) fn enter(&self, most: usize) -> Option<RequestGuard<'_>> {
        if self.requests.fetch_add(1, Ordering::Relaxed) >= most {
            self.requests.fetch_sub(1, Ordering::Relaxed);
            self.refused.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        Some(RequestGuard(self))
    }

    /// Counts an attempt until the guard is dropped.
    pub(crate) fn attempt(&self, model: usize) -> AttemptGuard<'_> {
        let count = &self.attempts[model];
        count.fetch_add(1, Ordering::Relaxed);
        AttemptGuard(count)
    }
}

/// A request under way.
pub(crate) struct RequestGuard<'a>(&'a Load);

impl Drop for RequestGuard<'_> {
    fn drop(&mut self) {
        self.0.requests.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An attempt under way.
pub(crate) struct AttemptGuard<'a>(&'a AtomicU32);

impl Drop for AttemptGuard<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
