//! Which generation serves: publishes, takes back.
//!
//! Invariant: every change of what serves happens under one lock, and says which generation it
//! replaces; a request reads a pointer and takes no lock.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use arc_swap::ArcSwap;
use kairos_pipeline::policy::{Fault, Identity, Plan, Policies, PolicyError, RouteInput, Router};

pub use crate::folder::{newest, strangers};
pub use crate::follow::{WatchError, Watching};
use crate::generation::Generation;
use crate::load::Loader;
use crate::purity::{self, Judge, Repeat};
use crate::refusal::{Reason, Refusal};
use crate::reports::Dropped;
use crate::status::{Counters, Status};

/// Stack of threads that run policies: unoptimised scripts need more than the usual.
pub const THREAD_STACK: usize = 8 * 1024 * 1024;
/// Quarantined files that are remembered.
const QUARANTINED: usize = 64;

/// Milliseconds that only grow.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// Keeps the policies.
pub struct PolicyHost {
    loader: Loader,
    native: Arc<dyn Router>,
    serving: ArcSwap<Served>,
    state: Mutex<State>,
    clock: Clock,
    repeats: OnceLock<SyncSender<Repeat>>,
    counters: Counters,
    this: Weak<Self>,
}

/// What a request gets.
struct Served {
    router: Arc<dyn Router>,
}

/// What is under the lock.
#[derive(Default)]
struct State {
    /// The generation that serves; none: the native default does.
    current: Option<Arc<Generation>>,
    /// Healthy generations before it, the newest last.
    previous: VecDeque<Arc<Generation>>,
    /// Digests of files that failed: not loaded again until they change.
    quarantined: VecDeque<String>,
    /// Why the last file was refused, and which it was.
    refusal: Option<(PathBuf, Refusal)>,
    /// The last file was refused or quarantined: what serves is what was before it.
    outdated: bool,
}

/// A generation as the pipeline's router.
struct GenerationRouter {
    generation: Arc<Generation>,
    host: Weak<PolicyHost>,
}

impl Router for GenerationRouter {
    fn identity(&self) -> &Identity {
        self.generation.identity()
    }

    fn route(&self, input: RouteInput<'_>) -> Result<Plan, PolicyError> {
        let host = self.host.upgrade();
        let now = host.as_ref().map_or(0, |host| (host.clock)());
        let (decided, repeat) = self.generation.route(input, now);
        let repeat = repeat && !matches!(decided, Err(PolicyError::Fault(_)));
        if let (true, Some(sender)) = (repeat, host.as_ref().and_then(|host| host.repeats.get())) {
            // When too many wait already, this one is not repeated.
            let _ = sender.try_send(Repeat::new(&self.generation, input, &decided));
        }
        decided
    }
}

impl PolicyHost {
    /// A host where the native default serves.
    pub fn new(loader: Loader, native: Arc<dyn Router>, clock: Clock) -> std::io::Result<Arc<Self>> {
        let host = Arc::new_cyclic(|this| Self {
            loader,
            serving: ArcSwap::from_pointee(Served { router: Arc::clone(&native) }),
            native,
            state: Mutex::default(),
            clock,
            repeats: OnceLock::new(),
            counters: Counters::default(),
            this: this.clone(),
        });
        let sender = purity::start(Arc::downgrade(&host))?;
        let _ = host.repeats.set(sender);
        Ok(host)
    }

    /// Numbers for metrics.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// What policies reported over their bounds.
    pub fn dropped(&self) -> &Dropped {
        &self.loader.dropped
    }

    /// Instances of components that there may be, and that there are.
    pub fn instances(&self) -> (u32, u64) {
        (self.loader.limits.instances, self.loader.wasm.instances())
    }

    /// The generation that serves, if it is not the native default.
    pub fn current(&self) -> Option<Arc<Generation>> {
        self.lock().current.clone()
    }

    /// What serves.
    pub fn status(&self) -> Status {
        let state = self.lock();
        let refusal = state.refusal.as_ref().map(|(path, refusal)| refusal.explain(&path.display().to_string()));
        let quarantined = state.quarantined.iter().cloned().collect();
        let current = state.current.as_ref();
        let identity = current.map_or_else(|| self.native.identity(), |generation| generation.identity());
        Status {
            policy: Arc::clone(identity.label()),
            engine: current.map_or("native", |generation| generation.engine_name()),
            file: current.map(|generation| generation.path().to_owned()),
            refusal,
            quarantined,
            outdated: state.outdated,
            on_probation: current.is_some_and(|generation| generation.on_probation((self.clock)())),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Loads a file and lets it serve. A refused file changes nothing.
    pub fn load(&self, path: &Path) -> Result<(), Refusal> {
        // A file that makes a parser or the compiler panic must not end the thread that loads the next.
        let loaded = catch_unwind(AssertUnwindSafe(|| self.loader.load(path))).unwrap_or_else(|_| {
            let message = "the file brought the loader to a panic; this is also a fault of Kairos";
            Err(Refusal::new(Reason::Internal, message))
        });
        match loaded {
            Ok(generation) => {
                self.publish(Arc::new(generation));
                Ok(())
            }
            Err(refusal) => {
                self.refuse(path, &refusal);
                Err(refusal)
            }
        }
    }

    fn publish(&self, generation: Arc<Generation>) {
        let mut state = self.lock();
        let digest = &generation.identity().digest;
        if state.quarantined.contains(digest) {
            let path = generation.path().to_owned();
            drop(state);
            let message = "this very file was quarantined after it failed; it is not loaded until it changes";
            let refusal = Refusal::new(Reason::Quarantined, message).hint("mend it, or put back a version that worked");
            self.refuse(&path, &refusal);
            return;
        }
        state.refusal = None;
        if std::mem::take(&mut state.outdated) {
            self.counters.recovered.fetch_add(1, Ordering::Relaxed);
        }
        if state.current.as_ref().is_some_and(|current| current.identity().digest == *digest) {
            let (policy, tests) = (&**generation.identity().label(), generation.tests());
            tracing::info!(policy, tests, "this very policy serves already");
            return;
        }
        self.counters.loaded.fetch_add(1, Ordering::Relaxed);
        let label = Arc::clone(generation.identity().label());
        let (engine, file) = (generation.engine_name(), generation.path().display().to_string());
        let tests = generation.tests();
        self.retire(&mut state);
        self.let_serve(&mut state, Some(generation));
        tracing::info!(policy = &*label, engine, file, tests, "a policy serves");
    }

    /// The generation that serves becomes the newest of those before it.
    fn retire(&self, state: &mut State) -> Option<Arc<Generation>> {
        let retired = state.current.take()?;
        retired.rest();
        state.previous.push_back(Arc::clone(&retired));
        while state.previous.len() > self.loader.limits.previous_generations {
            state.previous.pop_front();
        }
        Some(retired)
    }

    /// The policy's file is gone: if it serves, the native default does from now on.
    pub(crate) fn withdraw(&self, path: &Path) {
        let mut state = self.lock();
        if state.current.as_ref().is_none_or(|current| current.path() != path) {
            return;
        }
        if let Some(gone) = self.retire(&mut state) {
            let label = gone.identity().label();
            self.let_serve(&mut state, None);
            state.outdated = false;
            tracing::info!(policy = &**label, "the policy's file was removed; the native default serves");
        }
    }

    /// The file that was looked at last: the one that was refused, else the one that serves.
    pub(crate) fn looked_at(&self) -> Option<PathBuf> {
        let state = self.lock();
        let refused = state.refusal.as_ref().map(|(path, _)| path.to_owned());
        refused.or_else(|| state.current.as_ref().map(|current| current.path().to_owned()))
    }

    /// Whether what serves came from this file.
    pub(crate) fn serves(&self, path: &Path) -> bool {
        self.lock().current.as_ref().is_some_and(|current| current.path() == path)
    }

    /// Whether what serves is older than what the folder last held.
    pub(crate) fn is_outdated(&self) -> bool {
        self.lock().outdated
    }

    fn refuse(&self, path: &Path, refusal: &Refusal) {
        self.counters.refused[refusal.reason as usize].fetch_add(1, Ordering::Relaxed);
        {
            let mut state = self.lock();
            state.refusal = Some((path.to_owned(), refusal.clone()));
            state.outdated = true;
        }
        tracing::error!(
            file = %refusal.file(path).display(),
            line = refusal.at.map(|(line, _)| line),
            column = refusal.at.map(|(_, column)| column),
            reason = refusal.reason.name(),
            hint = refusal.hint,
            "policy refused, the one before serves on: {}",
            refusal.explain(&path.display().to_string()),
        );
    }

    /// Lets a generation serve, or the native default. The lock is the caller's.
    fn let_serve(&self, state: &mut State, generation: Option<Arc<Generation>>) {
        let router: Arc<dyn Router> = match &generation {
            Some(generation) => {
                Arc::new(GenerationRouter { generation: Arc::clone(generation), host: self.this.clone() })
            }
            None => Arc::clone(&self.native),
        };
        state.current = generation;
        self.serving.store(Arc::new(Served { router }));
        self.counters.generation.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes a generation out of service, if it still serves: the one before it serves instead.
    fn quarantine(&self, digest: &str, why: &str) {
        let mut state = self.lock();
        if !state.quarantined.iter().any(|known| known == digest) {
            state.quarantined.push_back(digest.to_owned());
            while state.quarantined.len() > QUARANTINED {
                state.quarantined.pop_front();
            }
        }
        state.previous.retain(|generation| generation.identity().digest != digest);
        if state.current.as_ref().is_none_or(|current| current.identity().digest != digest) {
            return;
        }
        self.counters.quarantined.fetch_add(1, Ordering::Relaxed);
        let failed = state.current.as_ref().map(|generation| Arc::clone(generation.identity().label()));
        let next = state.previous.pop_back();
        let instead = next.as_ref().map_or_else(|| self.native.identity(), |next| next.identity());
        let instead = Arc::clone(instead.label());
        self.let_serve(&mut state, next);
        state.outdated = true;
        tracing::error!(
            policy = failed.as_deref(),
            instead = &*instead,
            "policy quarantined until its file changes: {why}"
        );
    }

    fn failed_generation(&self, identity: &Identity, fault: &Fault) {
        self.counters.faults[fault.kind as usize].fetch_add(1, Ordering::Relaxed);
        let generation = {
            let state = self.lock();
            let known = state.current.iter().chain(&state.previous);
            known.into_iter().find(|generation| generation.identity().digest == identity.digest).cloned()
        };
        let Some(generation) = generation else { return };
        tracing::warn!(policy = &**identity.label(), fault = fault.kind.name(), "policy failed: {fault}");
        if generation.count_fault(fault.kind, (self.clock)()) {
            self.quarantine(&identity.digest, &fault.to_string());
        }
    }
}

impl Policies for PolicyHost {
    fn router(&self) -> Arc<dyn Router> {
        Arc::clone(&self.serving.load().router)
    }

    fn failed(&self, router: &Arc<dyn Router>, fault: &Fault) {
        self.failed_generation(router.identity(), fault);
    }
}

impl Judge for PolicyHost {
    fn impure(&self, generation: &Arc<Generation>, fault: &Fault) {
        self.failed_generation(generation.identity(), fault);
    }
}
