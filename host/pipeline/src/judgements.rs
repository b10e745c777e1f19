//! Judgements beside the route: a healer's, a prompter's, a guard's, each with all that it was given upon. With
//! it, the same policy can be asked again.
//!
//! What of it callers and models wrote is gathered only where a recorder keeps that.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::guard::{Judged, Stop};
use crate::policy::{
    Direction, Draft, Edits, FailedAttempt, FailureFacts, Features, HealInput, Identity, Offer, Passage, PolicyError,
    PromptInput, Remedy, RequestInfo, Undecided, World,
};

/// Judgements that are kept of a request, at most.
pub const MOST_JUDGEMENTS: usize = 64;
/// Bytes of the texts that they are about, at most.
pub const MOST_BYTES: usize = 256 * 1024;

/// What a policy said.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Said<T> {
    /// This.
    Gave(T),
    /// The request is refused, for this reason.
    Refused(u32),
    /// Nothing, as it did not decide.
    Nothing(Undecided),
}

impl<T: Clone> Said<T> {
    /// What came of asking.
    pub fn of(given: &Result<T, PolicyError>) -> Self {
        match given {
            Ok(given) => Self::Gave(given.clone()),
            Err(PolicyError::Refused(reason)) => Self::Refused(*reason),
            Err(error) => Self::Nothing(Undecided::of(error)),
        }
    }
}

/// What a guard made of a text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Released {
    /// What passed.
    pub text: String,
    /// Codes of what was found, in ascending order, and how often.
    pub findings: Vec<(u32, u64)>,
    /// Why nothing more passed.
    pub blocked: Option<u32>,
}

/// What was asked, and what was said.
#[derive(Clone, Debug, PartialEq)]
pub enum Asked {
    /// What follows this failure, after these attempts?
    Heal {
        /// What the host knew of the request then.
        features: Features,
        /// The models, as they were then; `names` is to be filled in for each policy.
        models: Vec<Offer>,
        /// The failure.
        failure: FailureFacts,
        /// The attempts before it.
        history: Vec<FailedAttempt>,
        /// What was to be done.
        said: Said<Remedy>,
    },
    /// How is this request put to a model?
    Render {
        /// What the host knew of the request then.
        features: Features,
        /// The models, as they were then; `names` is to be filled in for each policy.
        models: Vec<Offer>,
        /// The model that was tried first.
        first: u32,
        /// The request.
        draft: Arc<Draft>,
        /// What was to be changed.
        said: Said<Edits>,
    },
    /// What of this text may pass?
    Inspect {
        /// Which text it is.
        passage: Passage,
        /// The text.
        text: String,
        /// What became of it.
        said: Said<Released>,
    },
}

/// A judgement.
#[derive(Clone, Debug)]
pub struct Judgement {
    /// Who judged: `name@digest`.
    pub policy: Arc<str>,
    /// What it was loaded with, as JSON.
    pub setting: Arc<str>,
    /// What is not a number.
    pub request: Arc<RequestInfo>,
    /// What was asked and said.
    pub asked: Asked,
}

impl Judgement {
    fn new(policy: &Identity, request: &Arc<RequestInfo>, asked: Asked) -> Self {
        let (policy, setting) = (Arc::clone(policy.label()), Arc::clone(policy.setting()));
        Self { policy, setting, request: Arc::clone(request), asked }
    }

    pub(crate) fn of_healer(by: &Identity, input: HealInput<'_>, given: &Result<Remedy, PolicyError>) -> Self {
        let HealInput { request, features, failure, history, models } = input;
        let (failure, history) = (failure.clone(), history.to_vec());
        let (features, models, said) = (*features, models.to_vec(), Said::of(given));
        Self::new(by, request, Asked::Heal { features, models, failure, history, said })
    }

    pub(crate) fn of_prompter(by: &Identity, input: PromptInput<'_>, given: &Result<Edits, PolicyError>) -> Self {
        let PromptInput { request, features, models, first, draft } = input;
        let (features, models, said) = (*features, models.to_vec(), Said::of(given));
        Self::new(by, request, Asked::Render { features, models, first, draft: Arc::clone(draft), said })
    }

    /// The world of its policy.
    pub fn world(&self) -> World {
        match &self.asked {
            Asked::Heal { .. } => World::Healer,
            Asked::Render { .. } => World::Prompter,
            Asked::Inspect { .. } => World::Guard,
        }
    }

    /// About how many bytes of text it holds.
    fn bytes(&self) -> usize {
        match &self.asked {
            Asked::Heal { .. } => 0,
            Asked::Render { draft, said, .. } => {
                let written = match said {
                    Said::Gave(edits) => edits.written().map(str::len).sum(),
                    Said::Refused(_) | Said::Nothing(_) => 0,
                };
                draft.bytes() + written
            }
            Asked::Inspect { text, said, .. } => {
                text.len() + if let Said::Gave(released) = said { released.text.len() } else { 0 }
            }
        }
    }
}

/// Those of one request, within bounds.
#[derive(Debug, Default)]
pub struct Judgements {
    all: Vec<Judgement>,
    bytes: usize,
    more: bool,
}

impl Judgements {
    /// In the order in which they were given; those of guards last.
    pub fn all(&self) -> &[Judgement] {
        &self.all
    }

    /// Bytes of their texts.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether there were more than are here.
    pub fn more(&self) -> bool {
        self.more
    }

    pub(crate) fn push(&mut self, judgement: impl FnOnce() -> Judgement) {
        if self.all.len() >= MOST_JUDGEMENTS {
            self.more = true;
            return;
        }
        self.push_all([judgement()]);
    }

    pub(crate) fn push_all(&mut self, judgements: impl IntoIterator<Item = Judgement>) {
        for judgement in judgements {
            let bytes = self.bytes + judgement.bytes();
            if self.all.len() >= MOST_JUDGEMENTS || bytes > MOST_BYTES {
                self.more = true;
            } else {
                self.bytes = bytes;
                self.all.push(judgement);
            }
        }
    }

    pub(crate) fn append(&mut self, others: Self) {
        self.more |= others.more;
        self.push_all(others.all);
    }
}

/// What a guard hears of a passage, and what passes of it.
pub(crate) struct Heard {
    passage: Passage,
    text: String,
    passed: String,
}

impl Heard {
    pub(crate) fn new(passage: Passage) -> Self {
        Self { passage, text: String::new(), passed: String::new() }
    }

    /// More of it. Of a text that is longer than is kept, the rest is not gathered.
    pub(crate) fn hear(&mut self, text: &str, passed: &str) {
        if self.text.len() <= MOST_BYTES {
            self.text.push_str(text);
            self.passed.push_str(passed);
        }
    }

    /// The judgements that came of it: that of the guard in place, and where it had no opinion the native one's,
    /// if there is one. What is no text is judged by none.
    pub(crate) fn judgements(
        self,
        guard: &Identity,
        native: Option<&Identity>,
        request: &Arc<RequestInfo>,
        judged: &Judged,
        stopped: Option<Stop>,
    ) -> Vec<Judgement> {
        let Self { passage, text, passed } = self;
        let of =
            |by: &Identity, text: String, said| Judgement::new(by, request, Asked::Inspect { passage, text, said });
        if judged.declined && native.is_none() {
            return vec![of(guard, text, Said::Nothing(Undecided::Declined))];
        }
        match (released(passage, passed, judged, stopped), native) {
            (None, _) => Vec::new(),
            (Some(said), None) => vec![of(guard, text, said)],
            (Some(said), Some(native)) => {
                vec![of(guard, text.clone(), Said::Nothing(Undecided::Declined)), of(native, text, said)]
            }
        }
    }
}

/// What was made of a passage of which this passed: of a request nothing, where it was stopped. None: it is no
/// text.
pub fn released(passage: Passage, passed: String, judged: &Judged, stopped: Option<Stop>) -> Option<Said<Released>> {
    let stops = stopped.is_some() && passage.direction == Direction::Input;
    let text = if stops { String::new() } else { passed };
    let gave = |blocked| Said::Gave(Released { text, findings: judged.findings.clone(), blocked });
    match (stopped, &judged.failure) {
        (Some(Stop::NotText), _) => None,
        (Some(Stop::Failed(why)), _) => Some(Said::Nothing(why)),
        (_, Some(error)) => Some(Said::Nothing(Undecided::of(error))),
        (Some(Stop::Blocked(code)), None) => Some(gave(Some(code))),
        (None, None) => Some(gave(None)),
    }
}
