//! Acts: what the folder and an operator do with versions. Of two acts the last holds, whoever did it,
//! and a restart goes on where the last one left off (`restore.rs`).

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::follow::{lower_priority, on_a_thread_of_its_own};
use crate::generation::Generation;
use crate::host::{PolicyHost, State};
use crate::refusal::{Reason, Refusal};
use crate::trust;
use crate::versions::{Act, By, Known, Version};

/// The fewest characters that name a version.
pub const SHORTEST: usize = 6;
/// Versions that are named where a beginning is that of several.
const CANDIDATES: usize = 8;

/// Why an act did not happen. Nothing has changed then.
#[derive(Debug, thiserror::Error)]
pub enum ActError {
    /// The policy is not sound, or not granted what it asks for.
    #[error("{0}")]
    Refused(Refusal),
    /// Too little of a digest, or something else.
    #[error("{0:?} is not the beginning of a digest: {SHORTEST} to 64 characters of 0-9 and a-f are needed")]
    NotADigest(String),
    /// No version is named so.
    #[error(
        "no version's digest begins with {0}; `kairos policy list` shows those that there are, `kairos policy stage FILE` adds one"
    )]
    Unknown(String),
    /// Several are.
    #[error("{beginning} is the beginning of several versions: {}", .candidates.join(", "))]
    Ambiguous {
        /// What was given.
        beginning: String,
        /// Their digests.
        candidates: Vec<String>,
    },
    /// It failed while it served.
    #[error("{0} was quarantined after it failed while it served; mend it, and stage what you get")]
    Quarantined(String),
    /// There is nothing to go back to.
    #[error("no version served before what serves now: there is nothing to roll back to")]
    NothingBefore,
    /// It cannot be retired.
    #[error("{0} serves: activate another or roll back first, then retire it")]
    Serves(String),
    /// It serves everything, or a share.
    #[error("{0} serves already: there is nothing to try, or to ask beside it")]
    ServesAlready(String),
    /// Two experiments at once would measure each other.
    #[error("canary {id} ({slot} {digest}) is under way; `kairos policy rollback {slot}` ends it")]
    UnderWay {
        /// The experiment's number.
        id: u64,
        /// Its slot.
        slot: &'static str,
        /// What is tried.
        digest: String,
    },
    /// Nothing of this slot can be tried on a share of the requests, or beside what serves.
    #[error(
        "the slot `{0}` has neither canary nor shadow: an experiment is of whole requests, and its policies are asked of failures; `kairos policy activate` lets it serve"
    )]
    NoExperiments(&'static str),
    /// It serves a share.
    #[error("{0} is a canary: `kairos policy rollback` ends that, then retire it")]
    IsTried(String),
    /// It is not resident.
    #[error("{0} is neither staged nor one of those that served before: there is nothing to retire")]
    NotResident(String),
    /// It cannot be written down.
    #[error("the act cannot be written down, so it is not done: {0}")]
    Store(String),
}

impl From<Refusal> for ActError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// Who vouches for a policy, for the audit log.
fn signed_by(generation: &Generation) -> Option<String> {
    generation.signer().map(|name| format!("signed by {name}"))
}

/// What an act came to.
#[derive(Clone, Debug)]
pub struct Done {
    /// The version that it is about: `name@digest`.
    pub policy: Arc<str>,
    /// Tests of its own that it passed.
    pub tests: usize,
    /// It was so before.
    pub already: bool,
    /// The canary that was ended instead of what serves.
    pub ended: Option<Arc<str>>,
}

impl Done {
    pub(crate) fn with(generation: &Generation, already: bool) -> Self {
        let policy = Arc::clone(generation.identity().label());
        Self { policy, tests: generation.tests(), already, ended: None }
    }
}

impl PolicyHost {
    /// Loads a file of the folder and lets it serve. A refused file changes nothing.
    pub fn load(&self, path: &Path) -> Result<(), Refusal> {
        self.take_up(path, true)
    }

    /// The same. Where the file was not put there just now (`anew`), and is what the folder said last,
    /// it is no new act: what was done since holds.
    pub(crate) fn take_up(&self, path: &Path, anew: bool) -> Result<(), Refusal> {
        let taken = self.loader.read(path).and_then(|version| {
            if !anew && self.is_said_before(path, &version.digest) {
                tracing::info!(file = %path.display(), "the folder's file is as it was; what was done since holds");
                return Ok(());
            }
            let generation = self.make(path, &version)?;
            self.folder_says(path, &version, &Arc::new(generation))
        });
        taken.inspect_err(|refusal| self.refuse(path, refusal))
    }

    /// Whether the folder has said this version last, and something else was let serve since. Where the
    /// version that is kept of it has no good signature, the one beside the file may be.
    fn is_said_before(&self, path: &Path, digest: &str) -> bool {
        let state = self.lock();
        let said = state.folder.as_ref().is_some_and(|(_, said)| said == digest);
        let unsigned = state.refusal.as_ref().is_some_and(|(file, refusal)| {
            file == path && matches!(refusal.reason, Reason::NotSigned | Reason::BadSignature)
        });
        said && !unsigned && !state.lineup.serves(digest) && !state.is_quarantined(digest)
    }

    /// Makes a generation of a version. What makes a parser or the compiler panic must not end the
    /// thread that loads the next.
    pub(crate) fn make(&self, path: &Path, version: &Version) -> Result<Generation, Refusal> {
        catch_unwind(AssertUnwindSafe(|| self.loader.load_version(path, version))).unwrap_or_else(|_| {
            let message = "the file brought the loader to a panic; this is also a fault of Kairos";
            Err(Refusal::new(Reason::Internal, message))
        })
    }

    /// The same on a thread that is fit for it, when requests leave it room.
    pub(crate) fn make_aside(&self, version: &Version) -> Result<Arc<Generation>, Refusal> {
        let made = on_a_thread_of_its_own(|| {
            lower_priority();
            self.make(Path::new(&version.file), version)
        });
        let lost = || Err(Refusal::new(Reason::Internal, "the policy could not be loaded; the log says why"));
        made.unwrap_or_else(lost).map(Arc::new)
    }

    fn folder_says(&self, path: &Path, version: &Version, generation: &Arc<Generation>) -> Result<(), Refusal> {
        let _acting = self.begin();
        let digest = &version.digest;
        if self.lock().is_quarantined(digest) {
            let message = "this very file was quarantined after it failed; it is not loaded until it changes";
            return Err(Refusal::new(Reason::Quarantined, message).hint("mend it, or put back a version that worked"));
        }
        let said = (path.to_owned(), digest.clone());
        let (serves, is_news) = {
            let state = self.lock();
            let signer = state.lineup.find(digest).and_then(|resident| resident.signer());
            let serves = state.lineup.serves(digest);
            let is_signed_anew = serves && signer != generation.signer();
            (serves, is_signed_anew || state.folder.as_ref() != Some(&said))
        };
        if !serves || is_news {
            let (by, signed) = (By::folder(), signed_by(generation));
            let detail = signed.as_deref();
            let act = Act { by: &by, what: "activate", slot: self.slot(), digest: Some(digest), detail };
            let kept = (version, &*generation.identity().name, generation.engine_name());
            let most = self.loader.limits.previous_generations;
            let change = |state: &mut State| {
                state.folder = Some(said.clone());
                if !state.lineup.serves(digest) && !state.is_quarantined(digest) {
                    state.lineup.serve(Some(Arc::clone(generation)), most);
                }
            };
            self.act(&act, Some(kept), change).map_err(|error| {
                let message = format!("the policy is sound and cannot be kept: {error}");
                Refusal::new(Reason::Internal, message).hint("`kairos doctor` looks at the data folder")
            })?;
            self.is_signed(generation);
        }
        let mut state = self.lock();
        state.refusal = None;
        if std::mem::take(&mut state.outdated) {
            self.counters.recovered.fetch_add(1, Ordering::Relaxed);
        }
        drop(state);
        let (policy, tests) = (&**generation.identity().label(), generation.tests());
        if serves {
            tracing::info!(policy, tests, "this very policy serves already");
            return Ok(());
        }
        self.counters.loaded.fetch_add(1, Ordering::Relaxed);
        let (engine, file) = (generation.engine_name(), path.display());
        tracing::info!(policy, engine, %file, tests, "a policy serves");
        Ok(())
    }

    /// The policy's file is gone: if it serves, the native default does from now on.
    pub(crate) fn withdraw(&self, path: &Path) {
        let _acting = self.begin();
        let (digest, served) = {
            let state = self.lock();
            let Some((_, digest)) = state.folder.as_ref().filter(|(file, _)| file == path) else { return };
            (digest.clone(), state.serves(path))
        };
        let by = By::folder();
        let act = Act { by: &by, what: "remove", slot: self.slot(), digest: Some(&digest), detail: None };
        let most = self.loader.limits.previous_generations;
        let gone = self.act(&act, None, |state| {
            if state.serves(path) {
                state.lineup.serve(None, most);
                state.outdated = false;
            }
            state.lineup.is_lost = false;
            state.folder = None;
        });
        match gone {
            Ok(()) if served => {
                tracing::info!(digest, "the policy's file was removed; the native default serves");
            }
            Ok(()) => tracing::info!(digest, "the folder's file was removed; what was activated since serves on"),
            Err(error) => tracing::error!(digest, "the policy's file was removed, and it serves on: {error}"),
        }
    }

    /// The folder holds no policy any more.
    pub(crate) fn withdraw_all(&self) {
        let said = self.lock().folder.as_ref().map(|(path, _)| path.clone());
        if let Some(path) = said {
            self.withdraw(&path);
        }
    }

    /// The version that is resident is kept with the signature of this one from now on.
    fn is_signed(&self, generation: &Generation) {
        if let Some(resident) = self.lock().lineup.find(&generation.identity().digest) {
            resident.set_signer(generation.signer());
        }
    }

    /// Validates a version and keeps it ready, without letting it serve.
    pub fn stage(
        &self,
        file: &str,
        bytes: Vec<u8>,
        tests: Option<Vec<u8>>,
        signature: Option<String>,
        by: &By,
    ) -> Result<Done, ActError> {
        let version = self.loader.version(self.world(), file, bytes, tests);
        let signature = signature.map(trust::bounded);
        let version = version.map(|version| Version { signature, ..version });
        let made = version.and_then(|version| self.make_aside(&version).map(|generation| (version, generation)));
        let _acting = self.begin();
        let (version, generation) = match made {
            Ok(made) => made,
            Err(refusal) => {
                self.counters.refused[refusal.reason as usize].fetch_add(1, Ordering::Relaxed);
                let detail = refusal.explain(file);
                tracing::warn!(file, reason = refusal.reason.name(), "policy not staged: {detail}");
                let act = Act { by, what: "refuse", slot: self.slot(), digest: None, detail: Some(&detail) };
                self.act(&act, None, |_| {}).map_err(ActError::Store)?;
                return Err(refusal.into());
            }
        };
        let digest = &version.digest;
        if self.lock().is_quarantined(digest) {
            return Err(ActError::Quarantined(digest.clone()));
        }
        let already = self.lock().lineup.find(digest).is_some();
        let kept = (&version, &*generation.identity().name, generation.engine_name());
        let signed = signed_by(&generation);
        let act = Act { by, what: "stage", slot: self.slot(), digest: Some(digest), detail: signed.as_deref() };
        let ready = |state: &mut State| {
            if state.lineup.find(digest).is_none() && !state.is_quarantined(digest) {
                state.lineup.stage(Arc::clone(&generation));
            }
        };
        self.act(&act, Some(kept), ready).map_err(ActError::Store)?;
        self.is_signed(&generation);
        tracing::info!(policy = &**generation.identity().label(), tests = generation.tests(), "a policy is staged");
        Ok(Done::with(&generation, already))
    }

    /// Lets a version serve. One that is not resident is loaded from what is kept.
    pub fn activate(&self, beginning: &str, by: &By) -> Result<Done, ActError> {
        let generation = self.resident(beginning)?;
        let digest = generation.identity().digest.clone();
        let _acting = self.begin();
        {
            let state = self.lock();
            if state.is_quarantined(&digest) {
                return Err(ActError::Quarantined(digest));
            }
            if state.lineup.serves(&digest) {
                return Ok(Done::with(&generation, true));
            }
        }
        let signed = signed_by(&generation);
        let act = Act { by, what: "activate", slot: self.slot(), digest: Some(&digest), detail: signed.as_deref() };
        let most = self.loader.limits.previous_generations;
        self.by_hand(&act, |state| {
            if !state.is_quarantined(&digest) {
                state.lineup.serve(Some(Arc::clone(&generation)), most);
            }
        })?;
        Ok(Done::with(&generation, false))
    }

    /// Ends the canary; where there is none, lets the version serve again that served before: it is
    /// resident, so this is the change of a pointer. What served stays ready.
    pub fn roll_back(&self, by: &By) -> Result<Done, ActError> {
        let _acting = self.begin();
        if let Some(done) = self.end_canary(by)? {
            return Ok(done);
        }
        let before = self.lock().lineup.previous.back().cloned().ok_or(ActError::NothingBefore)?;
        let digest = &before.identity().digest;
        let act = Act { by, what: "rollback", slot: self.slot(), digest: Some(digest), detail: None };
        self.by_hand(&act, |state| {
            if state.lineup.previous.back().is_some_and(|newest| newest.identity().digest == *digest) {
                state.lineup.roll_back();
            }
        })?;
        Ok(Done::with(&before, false))
    }

    /// What serves is the operator's choice from now on.
    fn by_hand(&self, act: &Act<'_>, change: impl Fn(&mut State)) -> Result<(), ActError> {
        let changed = self.act(act, None, |state| {
            change(state);
            state.refusal = None;
            state.outdated = false;
        });
        changed.map_err(ActError::Store)?;
        let (what, actor, why) = (act.what, act.by.actor, act.by.why.as_deref());
        tracing::info!(policy = &*self.status().policy, what, actor, why, "a policy serves");
        Ok(())
    }

    /// A version is not kept ready any more. Its bytes stay.
    pub fn retire(&self, beginning: &str, by: &By) -> Result<Done, ActError> {
        let digest = self.resolve(beginning)?.digest;
        let _acting = self.begin();
        let resident = self.lock().lineup.find(&digest).cloned();
        let generation = resident.ok_or_else(|| ActError::NotResident(digest.clone()))?;
        if self.lock().lineup.serves(&digest) {
            return Err(ActError::Serves(digest));
        }
        if self.lock().lineup.tries(&digest) {
            return Err(ActError::IsTried(digest));
        }
        let act = Act { by, what: "retire", slot: self.slot(), digest: Some(&digest), detail: None };
        self.act(&act, None, |state| state.lineup.forget(&digest)).map_err(ActError::Store)?;
        tracing::info!(policy = &**generation.identity().label(), "a policy is retired");
        Ok(Done::with(&generation, false))
    }

    /// The one version whose digest begins so.
    pub fn resolve(&self, beginning: &str) -> Result<Known, ActError> {
        let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if !(SHORTEST..=64).contains(&beginning.len()) || !beginning.bytes().all(is_hex) {
            return Err(ActError::NotADigest(beginning.chars().take(80).collect()));
        }
        let mut known = self.versions.known(self.slot(), beginning, CANDIDATES).map_err(ActError::Store)?;
        match known.len() {
            0 => Err(ActError::Unknown(beginning.to_owned())),
            1 => Ok(known.swap_remove(0)),
            _ => {
                let candidates = known.into_iter().map(|known| known.digest).collect();
                Err(ActError::Ambiguous { beginning: beginning.to_owned(), candidates })
            }
        }
    }
}
