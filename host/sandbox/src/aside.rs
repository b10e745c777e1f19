//! A guard at work on whole texts where no request waits: on trial, and in its tests.

use std::sync::Arc;

use kairos_pipeline::guard::{Guarding, Judged, OnFailure, Passing, Stop};
use kairos_pipeline::policy::{
    Direction, Guard, Identity, InspectInput, Passage, PolicyError, Question, RequestInfo, Verdict,
};

use crate::generation::{Engine, Manner};

/// A guard that is asked aside.
struct Asked {
    engine: Arc<Engine>,
    identity: Identity,
    manner: Manner,
}

impl Guard for Asked {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn hold_back(&self) -> usize {
        self.identity.hold_back()
    }

    fn inspect(&self, input: InspectInput<'_>) -> Result<Verdict, PolicyError> {
        self.engine.ask(Question::Inspect(input), self.manner)?.verdict()
    }
}

/// What became of a text.
#[derive(Debug, PartialEq)]
pub(crate) struct Released {
    /// What passes: of a request nothing, where it is blocked.
    pub(crate) text: String,
    /// Codes of what was found, in ascending order, and how often.
    pub(crate) findings: Vec<(u32, u64)>,
    /// Why nothing more passes.
    pub(crate) blocked: Option<u32>,
    /// The guard had no opinion.
    pub(crate) declined: bool,
    /// It did not judge.
    pub(crate) failure: Option<PolicyError>,
}

/// Has a guard judge texts, each as a whole or in parts.
pub(crate) struct Judging(Guarding);

impl Judging {
    pub(crate) fn new(engine: &Arc<Engine>, identity: &Identity, manner: Manner, request: &Arc<RequestInfo>) -> Self {
        let guard = Asked { engine: Arc::clone(engine), identity: identity.clone(), manner };
        let (on_failure, request) = (OnFailure::Block, Arc::clone(request));
        Self(Guarding { guard: Arc::new(guard), native: None, on_failure, request })
    }

    /// What becomes of a text that is there as a whole.
    pub(crate) fn whole(&self, passage: Passage, text: &str) -> Released {
        let (passing, judged) = self.0.whole(passage, text);
        released(passage, passing, judged)
    }

    /// What becomes of a text that comes so many bytes at a time.
    pub(crate) fn in_parts(&self, passage: Passage, text: &str, bytes: usize) -> Released {
        let mut open = self.0.open(passage);
        let mut passed = String::new();
        for part in text.as_bytes().chunks(bytes) {
            let Passing { text, stopped } = open.push(part);
            passed.push_str(&text);
            if stopped.is_some() {
                return released(passage, Passing { text: passed, stopped }, open.break_off());
            }
        }
        let (Passing { text, stopped }, judged) = open.finish();
        released(passage, Passing { text: passed + text.as_str(), stopped }, judged)
    }
}

/// Of a request nothing passes of a text that is stopped, however much of it would have before.
fn released(passage: Passage, Passing { text, stopped }: Passing, judged: Judged) -> Released {
    let blocked = match stopped {
        Some(Stop::Blocked(code)) => Some(code),
        Some(Stop::Failed(_) | Stop::NotText) | None => None,
    };
    let Judged { findings, declined, failure, .. } = judged;
    let stops = stopped.is_some() && passage.direction == Direction::Input;
    let text = if stops { String::new() } else { text };
    Released { text, findings, blocked, declined, failure }
}
