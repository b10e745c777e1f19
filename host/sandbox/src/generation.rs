//! A policy that was loaded: one version of one file.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kairos_pipeline::policy::{Answer, Fault, FaultKind, Identity, PolicyError, Question, World};

use crate::limits::Limits;
use crate::reports::Reports;
use crate::script::ScriptPolicy;
use crate::wasm::WasmPolicy;

/// What a policy runs in.
pub enum Engine {
    /// A script.
    Script(Box<ScriptPolicy>),
    /// A component.
    Wasm(Box<WasmPolicy>),
}

/// How a call is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// A request waits for it.
    Served,
    /// No request waits.
    Trial,
    /// Nor does one here, and nothing is reported.
    Test,
    /// As if it were the first, with time enough; nothing is reported.
    Afresh,
}

impl Manner {
    /// Whether the call reports nothing: it is one that happened once already, or happens to nobody.
    pub(crate) fn is_silent(self) -> bool {
        matches!(self, Self::Test | Self::Afresh)
    }
}

impl Engine {
    pub(crate) fn ask(&self, question: Question<'_>, manner: Manner) -> Result<Answer, PolicyError> {
        guarded(|| match self {
            Self::Script(policy) => policy.ask(question, manner),
            Self::Wasm(policy) => policy.ask(question, manner),
        })
    }

    /// Gives back what it keeps ready.
    fn rest(&self) {
        if let Self::Wasm(policy) = self {
            policy.rest();
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Script(_) => "rhai",
            Self::Wasm(_) => "wasm",
        }
    }

    fn reports(&self) -> &Reports {
        match self {
            Self::Script(policy) => policy.reports(),
            Self::Wasm(policy) => policy.reports(),
        }
    }
}

/// Makes a fault of a panic: an engine that a policy brought to one fails that policy's call, not the
/// thread.
fn guarded(call: impl FnOnce() -> Result<Answer, PolicyError>) -> Result<Answer, PolicyError> {
    // An instance is dropped with the call; what scripts share does not change.
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|_| {
        let message = "the policy brought its engine to a panic; this is also a fault of Kairos";
        Err(PolicyError::Fault(Fault::new(FaultKind::Panic, message)))
    })
}

/// One version of a policy.
pub struct Generation {
    engine: Arc<Engine>,
    world: World,
    identity: Identity,
    path: PathBuf,
    tests: usize,
    signer: Mutex<Option<Arc<str>>>,
    calls: AtomicU64,
    purity_sample: u64,
    faults: Faults,
    /// A call has been over its deadline: calls are made one at a time until this time passes.
    probation_until_ms: AtomicU64,
    trial: AtomicBool,
}

/// Faults of a generation within the time in which they are counted.
struct Faults {
    recent: Mutex<VecDeque<u64>>,
    most: usize,
    window: Duration,
}

impl Generation {
    /// A generation of a policy that was loaded from a file, and has passed so many tests.
    pub(crate) fn new(
        engine: Arc<Engine>,
        world: World,
        identity: Identity,
        path: PathBuf,
        tests: usize,
        limits: &Limits,
    ) -> Self {
        Self {
            engine,
            world,
            identity,
            path,
            tests,
            signer: Mutex::default(),
            calls: AtomicU64::new(0),
            purity_sample: limits.purity_sample.max(1),
            faults: Faults { recent: Mutex::default(), most: limits.faults.max(1), window: limits.fault_window },
            probation_until_ms: AtomicU64::new(0),
            trial: AtomicBool::new(false),
        }
    }

    /// Who it is.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The name of the key that vouches for it, where one does.
    pub fn signer(&self) -> Option<Arc<str>> {
        self.signer.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The same file may be signed later, while it is resident.
    pub(crate) fn set_signer(&self, signer: Option<Arc<str>>) {
        *self.signer.lock().unwrap_or_else(PoisonError::into_inner) = signer;
    }

    /// What it judges.
    pub fn world(&self) -> World {
        self.world
    }

    /// The file that it came from.
    pub fn path(&self) -> &std::path::Path {
        &self.path
    }

    /// The tests of its own that it passed when it was loaded.
    pub fn tests(&self) -> usize {
        self.tests
    }

    /// What it runs in: `rhai` or `wasm`.
    pub fn engine_name(&self) -> &'static str {
        self.engine.name()
    }

    /// Calls so far.
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    /// What the policy reports of itself.
    pub fn reports(&self) -> &Reports {
        self.engine.reports()
    }

    /// Decides. The second value says whether this call should be repeated, to see that it is pure.
    pub fn ask(&self, question: Question<'_>, now_ms: u64) -> (Result<Answer, PolicyError>, bool) {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        // The first calls more often: one that serves a small share would hardly be repeated else.
        let first = call < self.purity_sample.min(512) && (call + 1).is_power_of_two();
        let sample = first || call % self.purity_sample == self.purity_sample - 1;
        if !self.on_probation(now_ms) {
            return (self.engine.ask(question, Manner::Served), sample);
        }
        // A policy that may hang holds one thread at a time, so that the others serve.
        if self.trial.swap(true, Ordering::Acquire) {
            let why = "another call of it is tried out, after one was over its deadline";
            return (Err(PolicyError::NotRun(why.to_owned())), false);
        }
        let decided = self.engine.ask(question, Manner::Served);
        self.trial.store(false, Ordering::Release);
        (decided, sample)
    }

    /// Decides where no request waits: that the machine is busy with those is no fault.
    pub(crate) fn ask_aside(&self, question: Question<'_>) -> Result<Answer, PolicyError> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.engine.ask(question, Manner::Trial)
    }

    /// Whether calls are made one at a time, as one was over its deadline.
    pub fn on_probation(&self, now_ms: u64) -> bool {
        now_ms < self.probation_until_ms.load(Ordering::Relaxed)
    }

    /// Decides as if for the first time, silently.
    pub fn ask_afresh(&self, question: Question<'_>) -> Result<Answer, PolicyError> {
        self.engine.ask(question, Manner::Afresh)
    }

    /// Decides on an instance that is ready, silently, where no request waits: to be measured.
    pub fn ask_silently(&self, question: Question<'_>) -> Result<Answer, PolicyError> {
        self.engine.ask(question, Manner::Test)
    }

    /// It does not serve any more: what it keeps ready is given back.
    pub(crate) fn rest(&self) {
        self.engine.rest();
    }

    /// Counts a fault. Whether it is one too many.
    pub(crate) fn count_fault(&self, kind: FaultKind, now_ms: u64) -> bool {
        let window = u64::try_from(self.faults.window.as_millis()).unwrap_or(u64::MAX);
        if kind == FaultKind::Deadline {
            self.probation_until_ms.store(now_ms.saturating_add(window), Ordering::Relaxed);
        }
        let mut recent = self.faults.recent.lock().unwrap_or_else(PoisonError::into_inner);
        while recent.front().is_some_and(|at| now_ms.saturating_sub(*at) > window) {
            recent.pop_front();
        }
        recent.push_back(now_ms);
        kind == FaultKind::Impure || recent.len() >= self.faults.most
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_a_fault() {
        let fault = guarded(|| panic!("within an engine"));
        assert!(matches!(fault, Err(PolicyError::Fault(Fault { kind: FaultKind::Panic, .. }))));
    }
}
