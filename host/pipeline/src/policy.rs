//! What a policy sees, and what it answers: the internal types of the contract in `wit/`.
//!
//! Every world version is adapted to these. Nothing here knows how a policy is written.

mod answer;
mod evaluating;
pub(crate) mod exact;
mod guarding;
mod healing;
mod identity;
mod kinds;
mod mutating;
mod observing;
mod outside;
mod prompting;
mod question;
mod request;
mod serving;

use std::sync::Arc;

pub use kairos_dialects::Needs;

use crate::learned::Snapshot;

pub use self::answer::{CacheDirective, Candidate, Fault, FaultKind, Plan, PolicyError, Undecided, bounded, one_line};
pub(crate) use self::evaluating::said;
pub use self::evaluating::{
    Case, CaseEnding, CaseOutcome, Evaluator, MOST_METRICS, MOST_PART, MOST_REMARK, Measure, Metric, Score, ScoreInput,
    WHOLE_BELOW, part,
};
pub use self::guarding::{
    Direction, Guard, InspectInput, MOST_HELD, MOST_OPEN, MOST_REPLACED, MOST_SHOWN, MOST_STATE, Origin, Passage,
    Replacement, Verdict,
};
pub use self::healing::{
    Abilities, Action, FailedAttempt, FailureFacts, FailureKind, HealInput, Healer, MOST_HEALER_MODELS, MOST_WAIT_MS,
    Remedy, Wait,
};
pub use self::identity::Identity;
pub use self::kinds::{Complexity, Family, Priority, Route, Strengths, Task};
pub use self::mutating::{
    Evidence, MOST_NOTES, MOST_WEAKNESSES, Mutator, MutatorBounds, ProposeInput, Summary, Weakness,
};
pub use self::observing::{
    Ending, Event, EventKind, MOST_CHANGES, ObserveInput, Outcome, Rating, SeenAttempt, Stop, Watcher, Written,
};
pub use self::outside::{
    Failing, HttpMethod, HttpRequest, HttpResponse, MOST_MESSAGES, MOST_REQUEST_HEADERS, MOST_RESPONSE_HEADERS,
    ModelRequest, ModelResponse, NOWHERE, Outside, OutsideError,
};
pub use self::prompting::{
    Draft, DraftMessage, DraftParameters, Edit, Edits, MOST_EXAMPLES, MOST_TEXT_EDITS, Piece, Place, PromptInput,
    Prompter, Shown, Speaker, SystemEdit, TextEdit,
};
pub use self::question::{Answer, Question, World};
pub(crate) use self::request::NO_REQUEST;
pub use self::request::{Content, Features, Names, Offer, RequestInfo};
pub use self::serving::{Arm, Assigned, Canary, Serving, Shadow, Went};

/// All that a router is asked with.
#[derive(Clone, Copy, Debug)]
pub struct RouteInput<'a> {
    /// What is not a number.
    pub request: &'a Arc<RequestInfo>,
    /// What the host knows of the request.
    pub features: &'a Features,
    /// The models on offer: 1 to [`MAX_OFFERS`].
    pub models: &'a [Offer],
}

/// Models that a policy is shown, at most.
pub const MAX_OFFERS: usize = 16;

/// Something that decides which models answer a request.
///
/// Synchronous and bounded: an implementation answers within its deadline, whatever its policy does.
pub trait Router: Send + Sync {
    /// Who decides.
    fn identity(&self) -> &Identity;

    /// Decides. The plan is checked by the caller.
    fn route(&self, input: RouteInput<'_>) -> Result<Plan, PolicyError>;
}

/// Where the policies that serve come from.
pub trait Policies: Send + Sync {
    /// What serves now. A request asks once, and keeps what it got.
    fn serving(&self) -> Arc<Serving>;

    /// The healer that serves now. A request asks once, and keeps what it got.
    fn healer(&self) -> Arc<dyn Healer>;

    /// The guard that serves now; none: nothing is in its slot. A request asks once, and keeps what it got
    /// for its answer.
    fn guard(&self) -> Option<Arc<dyn Guard>>;

    /// The prompter that serves now; none: nothing is in its slot.
    fn prompter(&self) -> Option<Arc<dyn Prompter>>;
    /// Who is told of requests that have ended; none: nothing is in the observer's slot. A request asks once.
    fn observer(&self) -> Option<Arc<dyn Watcher>>;

    /// What was learned so far. A request asks once, and keeps what it got.
    fn learned(&self) -> Arc<Snapshot>;

    /// Says that a policy of this world failed. Whoever keeps the policies decides what follows.
    fn failed(&self, world: World, policy: &Identity, fault: &Fault);

    /// A number for a request that is given to an arm: no other of this run has it.
    fn ticket(&self) -> u64;

    /// A request was given to an arm. Told before it is decided.
    fn assigned(&self, assigned: &Assigned);

    /// Such a request has ended.
    fn ended(&self, assigned: &Assigned, went: Went);
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::models::Catalogue;

    /// A request of which nothing is known.
    pub(crate) fn request_info() -> Arc<RequestInfo> {
        Arc::new(RequestInfo {
            content: Content::default(),
            tags: Arc::default(),
            task_label: None,
            asked_model: "auto".to_owned(),
            model_ids: [].into(),
            regions: Vec::new(),
            names: Arc::new(Catalogue::default()),
            learned: Arc::default(),
        })
    }
}
