//! What a policy is asked and what it answers, whatever its world: for whoever runs policies without
//! caring what they judge.

use std::sync::Arc;

use super::{
    Edits, Fault, FaultKind, Features, HealInput, Identity, InspectInput, NO_REQUEST, ObserveInput, Offer, Plan,
    PolicyError, PromptInput, ProposeInput, Remedy, RequestInfo, RouteInput, Score, ScoreInput, Verdict, Written,
};
use crate::genome::Proposal;
use crate::learned::Reads;

/// A kind of judgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum World {
    /// Which models answer.
    Router,
    /// What follows a failed attempt.
    Healer,
    /// What of a text may pass.
    Guard,
    /// How a request is put to a model.
    Prompter,
    /// What is learned of what happened.
    Observer,
    /// How good an outcome is.
    Evaluator,
    /// What might be better.
    Mutator,
}

impl World {
    /// All.
    pub const ALL: [Self; 7] =
        [Self::Router, Self::Healer, Self::Guard, Self::Prompter, Self::Observer, Self::Evaluator, Self::Mutator];

    /// Its name in the contract, which is that of its slot.
    pub const fn name(self) -> &'static str {
        ["router", "healer", "guard", "prompter", "observer", "evaluator", "mutator"][self as usize]
    }

    /// What a policy of it is called.
    pub fn policy(self) -> &'static str {
        ["a router", "a healer", "a guard", "a prompter", "an observer", "an evaluator", "a mutator"][self as usize]
    }

    /// Whether a policy of it is of evolution: asked by a command, never on a request's way, on an instance of
    /// its own each time; it may call others, and knows of no request and of nothing that was learned.
    pub fn is_of_evolution(self) -> bool {
        matches!(self, Self::Evaluator | Self::Mutator)
    }

    /// The world of a slot.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|world| world.name() == name)
    }
}

/// What a policy is asked.
#[derive(Clone, Copy, Debug)]
pub enum Question<'a> {
    /// Which models may answer?
    Route(RouteInput<'a>),
    /// What follows this failure?
    Heal(HealInput<'a>),
    /// What of this text may pass?
    Inspect(InspectInput<'a>),
    /// How is this request put to a model?
    Render(PromptInput<'a>),
    /// What is learned of this event?
    Observe(ObserveInput<'a>),
    /// How good is this outcome?
    Score(ScoreInput<'a>),
    /// What might be better than this?
    Propose(ProposeInput<'a>),
}

/// What a policy answers.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// To [`Question::Route`].
    Plan(Plan),
    /// To [`Question::Heal`].
    Remedy(Remedy),
    /// To [`Question::Inspect`].
    Verdict(Verdict),
    /// To [`Question::Render`].
    Edits(Box<Edits>),
    /// To [`Question::Observe`].
    Written(Written),
    /// To [`Question::Score`].
    Score(Box<Score>),
    /// To [`Question::Propose`].
    Proposals(Vec<Proposal>),
}

impl<'a> Question<'a> {
    /// The world that it is of.
    pub fn world(&self) -> World {
        match self {
            Self::Route(_) => World::Router,
            Self::Heal(_) => World::Healer,
            Self::Inspect(_) => World::Guard,
            Self::Render(_) => World::Prompter,
            Self::Observe(_) => World::Observer,
            Self::Score(_) => World::Evaluator,
            Self::Propose(_) => World::Mutator,
        }
    }

    /// What every question is asked with: what of the request is not a number. Nothing where there is none.
    pub fn request(&self) -> &'a Arc<RequestInfo> {
        match *self {
            Self::Route(RouteInput { request, .. })
            | Self::Heal(HealInput { request, .. })
            | Self::Inspect(InspectInput { request, .. })
            | Self::Render(PromptInput { request, .. }) => request,
            Self::Observe(ObserveInput { event, .. }) => &event.request,
            Self::Score(_) | Self::Propose(_) => &NO_REQUEST,
        }
    }

    /// What was learned, as who is asked sees it: a request's is the same from its beginning to its end, an
    /// observer's is what was so before the call.
    pub fn learned(&self) -> &'a Arc<Reads> {
        match *self {
            Self::Observe(ObserveInput { learned, .. }) => learned,
            _ => &self.request().learned,
        }
    }

    /// What the host knows of the request, and the models; none: it is about a text, or about no request.
    pub fn about(&self) -> Option<(&'a Features, &'a [Offer])> {
        match *self {
            Self::Route(RouteInput { features, models, .. })
            | Self::Heal(HealInput { features, models, .. })
            | Self::Render(PromptInput { features, models, .. }) => Some((features, models)),
            Self::Inspect(_) | Self::Score(_) | Self::Propose(_) => None,
            Self::Observe(ObserveInput { event, models, .. }) => Some((&event.features, models)),
        }
    }

    /// Says what is not valid about an answer of this policy to it.
    pub fn check(&self, answer: &Answer, policy: &Identity) -> Result<(), String> {
        match (self, answer) {
            (Self::Route(input), Answer::Plan(plan)) => plan.check(input.models.len()),
            (Self::Heal(input), Answer::Remedy(remedy)) => remedy.check(*input),
            (Self::Inspect(input), Answer::Verdict(verdict)) => verdict.check(input, policy.hold_back(), policy),
            (Self::Render(input), Answer::Edits(edits)) => edits.check(*input, policy),
            (Self::Observe(_), Answer::Written(written)) => written.check(),
            (Self::Score(_), Answer::Score(score)) => score.check(),
            (Self::Propose(input), Answer::Proposals(proposals)) => input.check(proposals, policy),
            _ => Err("the answer is to another kind of question".to_owned()),
        }
    }
}

/// The answer was to another question: whoever runs the policy is at fault.
fn mixed_up() -> PolicyError {
    PolicyError::Fault(Fault::new(FaultKind::Error, "the answer is to another kind of question"))
}

impl Answer {
    /// The plan that it is.
    pub fn plan(self) -> Result<Plan, PolicyError> {
        match self {
            Self::Plan(plan) => Ok(plan),
            _ => Err(mixed_up()),
        }
    }

    /// The remedy that it is.
    pub fn remedy(self) -> Result<Remedy, PolicyError> {
        match self {
            Self::Remedy(remedy) => Ok(remedy),
            _ => Err(mixed_up()),
        }
    }

    /// The verdict that it is.
    pub fn verdict(self) -> Result<Verdict, PolicyError> {
        match self {
            Self::Verdict(verdict) => Ok(verdict),
            _ => Err(mixed_up()),
        }
    }

    /// The edits that it is.
    pub fn edits(self) -> Result<Edits, PolicyError> {
        match self {
            Self::Edits(edits) => Ok(*edits),
            _ => Err(mixed_up()),
        }
    }

    /// The changes that it is.
    pub fn written(self) -> Result<Written, PolicyError> {
        match self {
            Self::Written(written) => Ok(written),
            _ => Err(mixed_up()),
        }
    }

    /// The score that it is.
    pub fn score(self) -> Result<Score, PolicyError> {
        match self {
            Self::Score(score) => Ok(*score),
            _ => Err(mixed_up()),
        }
    }

    /// The proposals that it is.
    pub fn proposals(self) -> Result<Vec<Proposal>, PolicyError> {
        match self {
            Self::Proposals(proposals) => Ok(proposals),
            _ => Err(mixed_up()),
        }
    }
}
