//! Which generation serves in a slot: publishes, takes back.
//!
//! Invariant: every change of what serves happens under one lock, and says which generation it
//! replaces; a request reads a pointer and takes no lock.
//!
//! Acts (of the folder, of an operator, of the gateway itself) follow one another under a lock of their
//! own, as each waits for a disk: requests that find a policy at fault never wait for that one.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use kairos_pipeline::policy::{Assigned, Fault, Identity, World};

use crate::answered::Answered;
use crate::canary::{Told, Trials};
pub use crate::folder::{newest, strangers};
pub use crate::follow::{WatchError, Watching};
use crate::generation::Generation;
use crate::lineup::Lineup;
use crate::load::Loader;
use crate::purity::{self, Judge, Repeat};
use crate::refusal::Refusal;
use crate::serving::Front;
use crate::status::{Counters, Status};
use crate::versions::{Act, By, Roles, ToKeep, Versions};

/// Stack of threads that run policies: unoptimised scripts need more than the usual.
pub const THREAD_STACK: usize = 8 * 1024 * 1024;
/// Quarantined files that are remembered.
const QUARANTINED: usize = 64;
/// Quarantines that may wait to be written down.
const UNWRITTEN: usize = 64;

/// Milliseconds that only grow.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// Keeps the policies of a slot.
pub struct PolicyHost {
    pub(crate) loader: Loader,
    world: World,
    front: Arc<dyn Front>,
    state: Mutex<State>,
    /// Held by an act from its beginning to its end.
    acting: Mutex<()>,
    pub(crate) versions: Arc<dyn Versions>,
    pub(crate) clock: Clock,
    pub(crate) trials: Trials,
    helpers: Helpers,
    pub(crate) counters: Counters,
    this: Weak<Self>,
}

/// Threads that all slots share: one repeats calls, one writes quarantines down.
#[derive(Clone)]
pub(crate) struct Helpers {
    repeats: SyncSender<Repeat>,
    unwritten: SyncSender<Unwritten>,
}

/// What the thread that writes quarantines down is told.
enum Unwritten {
    Quarantine(Quarantine),
    /// All that was told before is written: say so.
    Mark(SyncSender<()>),
}

impl Helpers {
    /// Starts them. They end with the last host.
    pub(crate) fn start() -> std::io::Result<Self> {
        let (unwritten, quarantines) = sync_channel(UNWRITTEN);
        std::thread::Builder::new().name("policy-quarantine".to_owned()).spawn(move || {
            for told in quarantines {
                match told {
                    Unwritten::Quarantine(quarantine) => write_down(&quarantine),
                    Unwritten::Mark(written) => drop(written.try_send(())),
                }
            }
        })?;
        Ok(Self { repeats: purity::start()?, unwritten })
    }

    /// Waits until the quarantines so far are written down, for so long at most. Whether they are.
    pub(crate) fn settle(&self, patience: Duration) -> bool {
        let (written, is_written) = sync_channel(1);
        self.unwritten.try_send(Unwritten::Mark(written)).is_ok() && is_written.recv_timeout(patience).is_ok()
    }
}

/// A version that was taken out of service.
struct Quarantine {
    host: Weak<PolicyHost>,
    digest: String,
    why: String,
}

/// What is under the lock.
#[derive(Clone, Default)]
pub(crate) struct State {
    /// What is resident.
    pub(crate) lineup: Lineup,
    /// Digests of files that failed: not loaded again until they change.
    pub(crate) quarantined: VecDeque<String>,
    /// What the folder last said: a file, and its digest.
    pub(crate) folder: Option<(PathBuf, String)>,
    /// Why the last file was refused, and which it was.
    pub(crate) refusal: Option<(PathBuf, Refusal)>,
    /// The last file was refused or quarantined: what serves is what was before it.
    pub(crate) outdated: bool,
}

impl State {
    /// Whether this version failed while it served.
    pub(crate) fn is_quarantined(&self, digest: &str) -> bool {
        self.quarantined.iter().any(|known| known == digest)
    }

    /// Whether what serves is what the folder said, by this file.
    pub(crate) fn serves(&self, path: &Path) -> bool {
        self.folder.as_ref().is_some_and(|(file, digest)| file == path && self.lineup.serves(digest))
    }

    pub(crate) fn roles(&self) -> Roles {
        let folder = self.folder.as_ref().map(|(file, digest)| (file.display().to_string(), digest.clone()));
        self.lineup.roles(&self.quarantined, folder)
    }
}

impl PolicyHost {
    /// A host where the native default serves, until [`PolicyHost::restore`] or the folder says otherwise.
    pub(crate) fn new(
        loader: Loader,
        world: World,
        front: Arc<dyn Front>,
        clock: Clock,
        versions: Arc<dyn Versions>,
        helpers: Helpers,
    ) -> std::io::Result<Arc<Self>> {
        let (trials, told) = Trials::new();
        let host = Arc::new_cyclic(|this| Self {
            loader,
            world,
            front,
            state: Mutex::default(),
            acting: Mutex::default(),
            versions,
            clock,
            trials,
            helpers,
            counters: Counters::default(),
            this: this.clone(),
        });
        if host.takes_experiments() {
            crate::canary::start(Arc::downgrade(&host), told)?;
        }
        Ok(host)
    }

    /// What its policies judge.
    pub fn world(&self) -> World {
        self.world
    }

    /// The slot's name.
    pub fn slot(&self) -> &'static str {
        self.world.name()
    }

    /// Whether a version can be tried on a share of the requests, or asked beside what serves: an
    /// experiment is of whole requests.
    pub fn takes_experiments(&self) -> bool {
        self.world == World::Router
    }

    /// Numbers for metrics.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The generation that serves, if it is not the native default.
    pub fn current(&self) -> Option<Arc<Generation>> {
        self.lock().lineup.current.clone()
    }

    /// What serves.
    pub fn status(&self) -> Status {
        let state = self.lock();
        let refusal = state.refusal.as_ref().map(|(path, refusal)| refusal.explain(&path.display().to_string()));
        let quarantined = state.quarantined.iter().cloned().collect();
        let current = state.lineup.current.as_ref();
        let identity = current.map_or_else(|| self.front.native(), |generation| generation.identity());
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

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins an act: no other begins until it ends.
    pub(crate) fn begin(&self) -> MutexGuard<'_, ()> {
        self.acting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes an act down, then makes it so. `change` is done twice: to see what will be so, and for
    /// good, when a policy may have been taken out of service meanwhile. To be called between the
    /// beginning and the end of an act.
    pub(crate) fn act(
        &self,
        act: &Act<'_>,
        version: Option<ToKeep<'_>>,
        change: impl Fn(&mut State),
    ) -> Result<(), String> {
        let mut next = self.lock().clone();
        let served = next.lineup.current.as_ref().map(|current| current.identity().digest.clone());
        change(&mut next);
        let trial = self.trial_after(&next, act)?;
        let roles = Roles { served, ..next.roles() };
        let written = self.versions.commit(act, &roles, version, trial.as_ref());
        written.inspect_err(|_| self.trial_goes_on())?;
        let mut state = self.lock();
        change(&mut state);
        self.publish(&state);
        drop(state);
        if trial.is_some_and(|trial| trial.ended_ms.is_some()) {
            self.trial_ended();
        }
        Ok(())
    }

    /// The file that was looked at last: the one that was refused, else the one that the folder said.
    pub(crate) fn looked_at(&self) -> Option<PathBuf> {
        let state = self.lock();
        let refused = state.refusal.as_ref().map(|(path, _)| path.to_owned());
        refused.or_else(|| state.folder.as_ref().map(|(path, _)| path.clone()))
    }

    /// Whether what serves came from this file.
    pub(crate) fn serves(&self, path: &Path) -> bool {
        self.lock().serves(path)
    }

    /// Whether what serves is older than what the folder last held.
    pub(crate) fn is_outdated(&self) -> bool {
        self.lock().outdated
    }

    /// A file of the folder is refused: what serves serves on.
    pub(crate) fn refuse(&self, path: &Path, refusal: &Refusal) {
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

    /// Lets requests have what the lineup says. The lock is the caller's.
    pub(crate) fn publish(&self, state: &State) {
        if self.front.publish(&state.lineup, &self.this) {
            self.counters.generation.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Has a call repeated, unless too many wait already.
    pub(crate) fn repeat(&self, generation: &Arc<Generation>, answered: Answered) {
        let judge = Weak::clone(&self.this);
        let _ = self.helpers.repeats.try_send(Repeat::new(judge, generation, answered));
    }

    /// What serves, as `name@digest`.
    pub(crate) fn baseline(&self, state: &State) -> Arc<str> {
        let current = state.lineup.current.as_ref();
        Arc::clone(current.map_or_else(|| self.front.native(), |current| current.identity()).label())
    }

    /// What that was loaded with.
    pub(crate) fn setting(&self, state: &State) -> Arc<str> {
        let current = state.lineup.current.as_ref();
        Arc::clone(current.map_or_else(|| self.front.native(), |current| current.identity()).setting())
    }

    /// A caller has said something of the answer to a request that was part of an experiment, by a metric,
    /// within 0 and 1. To be told of each request and metric once: what is said first counts. The request's
    /// ticket does not matter.
    pub fn rated(&self, assigned: &Assigned, metric: &str, value: f64) {
        self.trials.tell(Told::Rated(*assigned, metric.to_owned(), value));
    }

    /// Waits until all that requests have told of the experiment so far is counted and written down.
    pub fn settle(&self) {
        self.trials.settle();
    }

    /// Takes a generation out of service, if it still serves: the one before it serves instead.
    fn quarantine(&self, digest: &str, why: &str) {
        let mut state = self.lock();
        if !state.is_quarantined(digest) {
            state.quarantined.push_back(digest.to_owned());
            while state.quarantined.len() > QUARANTINED {
                state.quarantined.pop_front();
            }
        }
        let failed = state.lineup.find(digest).map(|generation| Arc::clone(generation.identity().label()));
        let served_all = state.lineup.serves(digest);
        if !state.lineup.take_out(digest) {
            return;
        }
        self.counters.quarantined.fetch_add(1, Ordering::Relaxed);
        state.outdated |= served_all;
        self.publish(&state);
        let instead = self.baseline(&state);
        drop(state);
        let (host, digest, why) = (Weak::clone(&self.this), digest.to_owned(), why.to_owned());
        let quarantine = Quarantine { host, digest, why: why.clone() };
        if self.helpers.unwritten.try_send(Unwritten::Quarantine(quarantine)).is_err() {
            tracing::error!("too many quarantines wait to be written down: a restart forgets this one");
        }
        tracing::error!(
            slot = self.slot(),
            policy = failed.as_deref(),
            instead = &*instead,
            "policy quarantined until its file changes: {why}"
        );
    }

    pub(crate) fn failed_generation(&self, identity: &Identity, fault: &Fault) {
        self.counters.faults[fault.kind as usize].fetch_add(1, Ordering::Relaxed);
        let generation = self.lock().lineup.find(&identity.digest).cloned();
        let Some(generation) = generation else { return };
        tracing::warn!(policy = &**identity.label(), fault = fault.kind.name(), "policy failed: {fault}");
        if generation.count_fault(fault.kind, (self.clock)()) {
            self.quarantine(&identity.digest, &fault.to_string());
        }
    }
}

impl Judge for PolicyHost {
    fn impure(&self, generation: &Arc<Generation>, fault: &Fault) {
        self.failed_generation(generation.identity(), fault);
    }
}

/// Writes down what was taken out of service: requests that found it out do not wait for the disk.
fn write_down(quarantine: &Quarantine) {
    let Some(host) = quarantine.host.upgrade() else { return };
    let _acting = host.begin();
    let by = By::kairos(&quarantine.why);
    let (slot, digest) = (host.slot(), Some(quarantine.digest.as_str()));
    let act = Act { by: &by, what: "quarantine", slot, digest, detail: None };
    if let Err(error) = host.act(&act, None, |_| {}) {
        tracing::error!("a quarantine could not be written down, a restart forgets it: {error}");
    }
}
