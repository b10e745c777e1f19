//! A question that is kept: to be asked later, or again, of the same policy or of another.

use std::sync::Arc;

use kairos_pipeline::genome::Genome;
use kairos_pipeline::learned::Reads;
use kairos_pipeline::policy::{
    Case, CaseOutcome, Draft, Event, Evidence, FailedAttempt, FailureFacts, Features, HealInput, InspectInput,
    MutatorBounds, ObserveInput, Offer, Outside, Passage, PromptInput, ProposeInput, Question, RequestInfo, RouteInput,
    ScoreInput,
};

use crate::golden;

/// A question of any world, owned.
#[derive(Clone, Debug)]
pub(crate) struct OwnedQuestion {
    /// What of the request is not a number.
    pub(crate) request: Arc<RequestInfo>,
    /// What the host knows of it; of a plain question where nobody is shown it.
    pub(crate) features: Features,
    /// The models.
    pub(crate) models: Vec<Offer>,
    /// What is asked.
    pub(crate) what: What,
}

/// What a question of a world is asked with beside the request and the models.
#[derive(Clone, Debug)]
pub(crate) enum What {
    /// Which models may answer?
    Route,
    /// What follows this failure, after these attempts?
    Heal(Box<FailureFacts>, Vec<FailedAttempt>),
    /// What of this text may pass?
    Inspect(Inspected),
    /// How is this request put to a model, of which this one is tried first?
    Render { first: u32, draft: Arc<Draft> },
    /// What is learned of this event?
    Observe(Observed),
    /// How good is this outcome?
    Score(Scored),
    /// What might be better than this?
    Propose(Proposed),
}

/// A case, what came of it, and whom the evaluator may call.
#[derive(Clone, Debug)]
pub(crate) struct Scored {
    pub(crate) case: Arc<Case>,
    pub(crate) outcome: Arc<CaseOutcome>,
    pub(crate) outside: Arc<dyn Outside>,
}

/// A genome, what is known of it, and whom the mutator may call.
#[derive(Clone, Debug)]
pub(crate) struct Proposed {
    pub(crate) genome: Arc<Genome>,
    pub(crate) evidence: Arc<Evidence>,
    pub(crate) seed: u64,
    pub(crate) bounds: MutatorBounds,
    pub(crate) outside: Arc<dyn Outside>,
}

/// An event.
#[derive(Clone, Debug)]
pub(crate) struct Observed {
    pub(crate) event: Arc<Event>,
    pub(crate) at_ms: u64,
    pub(crate) missed: u32,
    /// What was learned before: a call that is repeated begins with the same.
    pub(crate) learned: Arc<Reads>,
}

/// A text, or a part of it.
#[derive(Clone, Debug)]
pub(crate) struct Inspected {
    pub(crate) passage: Passage,
    /// What the call before gave.
    pub(crate) state: Vec<u8>,
    pub(crate) text: String,
    pub(crate) last: bool,
}

impl OwnedQuestion {
    /// The same, kept.
    pub(crate) fn of(question: Question<'_>) -> Self {
        let (features, models) =
            question.about().map_or((golden::plain(), &[][..]), |(features, models)| (*features, models));
        let what = match question {
            Question::Route(_) => What::Route,
            Question::Heal(HealInput { failure, history, .. }) => {
                What::Heal(Box::new(failure.clone()), history.to_vec())
            }
            Question::Inspect(InspectInput { passage, state, text, last, .. }) => {
                What::Inspect(Inspected { passage, state: state.to_vec(), text: text.to_owned(), last })
            }
            Question::Render(PromptInput { first, draft, .. }) => What::Render { first, draft: Arc::clone(draft) },
            Question::Observe(ObserveInput { event, at_ms, missed, learned, .. }) => {
                let (event, learned) = (Arc::clone(event), Arc::clone(learned));
                What::Observe(Observed { event, at_ms, missed, learned })
            }
            Question::Score(ScoreInput { case, outcome, outside }) => {
                let (case, outcome, outside) = (Arc::clone(case), Arc::clone(outcome), Arc::clone(outside));
                What::Score(Scored { case, outcome, outside })
            }
            Question::Propose(ProposeInput { genome, evidence, seed, bounds, outside }) => {
                let (genome, evidence, outside) = (Arc::clone(genome), Arc::clone(evidence), Arc::clone(outside));
                What::Propose(Proposed { genome, evidence, seed, bounds, outside })
            }
        };
        Self { request: Arc::clone(question.request()), features, models: models.to_vec(), what }
    }

    /// As a policy is asked it.
    pub(crate) fn asked(&self) -> Question<'_> {
        let Self { request, features, models, what } = self;
        match what {
            What::Route => Question::Route(RouteInput { request, features, models }),
            What::Heal(failure, history) => Question::Heal(HealInput { request, features, failure, history, models }),
            What::Inspect(Inspected { passage, state, text, last }) => {
                Question::Inspect(InspectInput { request, passage: *passage, state, text, last: *last })
            }
            What::Render { first, draft } => {
                Question::Render(PromptInput { request, features, models, first: *first, draft })
            }
            What::Observe(Observed { event, at_ms, missed, learned }) => {
                Question::Observe(ObserveInput { event, models, at_ms: *at_ms, missed: *missed, learned })
            }
            What::Score(Scored { case, outcome, outside }) => Question::Score(ScoreInput { case, outcome, outside }),
            What::Propose(Proposed { genome, evidence, seed, bounds, outside }) => {
                Question::Propose(ProposeInput { genome, evidence, seed: *seed, bounds: *bounds, outside })
            }
        }
    }
}
