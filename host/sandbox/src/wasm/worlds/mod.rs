//! What of components is of one world: the interface that judges, and its types.

mod evaluator;
mod guard;
mod healer;
mod mutator;
mod observer;
mod outside;
mod prompter;
mod router;

use std::sync::Arc;

use kairos_pipeline::genome::Genome;
use kairos_pipeline::policy::{Answer, Case, CaseOutcome, Evidence, FailureKind, Features, Offer, Question, World};
use wasmtime::component::{Instance, InstancePre, Resource};
use wasmtime::{Result, Store};

pub(super) use self::observer::AtHand;
use super::bindings::types::{self, PluginError};
use super::bindings::{self, evaluating, guarding, healing, mutating, observing, prompting, routing, same_order};
use super::host::{HostState, RequestHandle};

/// What an evaluator or a mutator is asked about.
pub(super) enum Evolving {
    Case((Arc<Case>, Arc<CaseOutcome>)),
    Genome((Arc<Genome>, Arc<Evidence>)),
}

/// What every judgement is asked with: the request at hand.
type Request = Resource<RequestHandle>;

/// What the host knows of the request, and the models, as components see them.
fn shown(features: &Features, models: &[Offer]) -> (types::Features, Vec<types::Model>) {
    (bindings::features(features), models.iter().map(bindings::model).collect())
}

/// What went wrong, as components see it.
fn failure_kind(kind: FailureKind) -> types::FailureKind {
    same_order!(
        kind,
        types::FailureKind,
        [
            Throttled,
            Quota,
            Credentials,
            AccessDenied,
            ModelNotFound,
            ModelNotReady,
            Rejected,
            TooLong,
            Filtered,
            Conflict,
            ModelError,
            ModelTimeout,
            Server,
            Unavailable,
            Timeout,
            Network,
            BrokenAnswer,
            Overloaded,
            Resting,
            Budget,
            Other,
        ]
    )
}

/// The interface that a world judges by.
pub(super) fn judgement(world: World) -> &'static str {
    match world {
        World::Router => "routing",
        World::Healer => "healing",
        World::Guard => "guarding",
        World::Prompter => "prompting",
        World::Observer => "observing",
        World::Evaluator => "evaluating",
        World::Mutator => "mutating",
    }
}

/// Where a component's judgement is.
#[derive(Clone)]
pub(super) enum JudgeIndices {
    Router(routing::GuestIndices),
    Healer(healing::GuestIndices),
    Guard(guarding::GuestIndices),
    Prompter(prompting::GuestIndices),
    Observer(observing::GuestIndices),
    Evaluator(evaluating::GuestIndices),
    Mutator(mutating::GuestIndices),
}

/// The judgement of an instance.
pub(super) enum Judge {
    Router(routing::Guest),
    Healer(healing::Guest),
    Guard(guarding::Guest),
    Prompter(prompting::Guest),
    Observer(observing::Guest),
    Evaluator(evaluating::Guest),
    Mutator(mutating::Guest),
}

impl JudgeIndices {
    pub(super) fn find(pre: &InstancePre<HostState>, world: World) -> Result<Self> {
        Ok(match world {
            World::Router => Self::Router(routing::GuestIndices::new(pre)?),
            World::Healer => Self::Healer(healing::GuestIndices::new(pre)?),
            World::Guard => Self::Guard(guarding::GuestIndices::new(pre)?),
            World::Prompter => Self::Prompter(prompting::GuestIndices::new(pre)?),
            World::Observer => Self::Observer(observing::GuestIndices::new(pre)?),
            World::Evaluator => Self::Evaluator(evaluating::GuestIndices::new(pre)?),
            World::Mutator => Self::Mutator(mutating::GuestIndices::new(pre)?),
        })
    }

    pub(super) fn load(&self, store: &mut Store<HostState>, instance: &Instance) -> Result<Judge> {
        Ok(match self {
            Self::Router(indices) => Judge::Router(indices.load(store, instance)?),
            Self::Healer(indices) => Judge::Healer(indices.load(store, instance)?),
            Self::Guard(indices) => Judge::Guard(indices.load(store, instance)?),
            Self::Prompter(indices) => Judge::Prompter(indices.load(store, instance)?),
            Self::Observer(indices) => Judge::Observer(indices.load(store, instance)?),
            Self::Evaluator(indices) => Judge::Evaluator(indices.load(store, instance)?),
            Self::Mutator(indices) => Judge::Mutator(indices.load(store, instance)?),
        })
    }
}

impl Judge {
    /// Asks it. An error is a trap, or the host's.
    pub(super) fn ask(
        &self,
        store: &mut Store<HostState>,
        question: Question<'_>,
        request: Request,
    ) -> Result<Result<Answer, PluginError>> {
        match (self, question) {
            (Self::Router(guest), Question::Route(input)) => router::ask(guest, store, input, request),
            (Self::Healer(guest), Question::Heal(input)) => healer::ask(guest, store, input, request),
            (Self::Guard(guest), Question::Inspect(input)) => guard::ask(guest, store, input, request),
            (Self::Prompter(guest), Question::Render(input)) => prompter::ask(guest, store, input, request),
            (Self::Observer(guest), Question::Observe(input)) => observer::ask(guest, store, input, request),
            (Self::Evaluator(guest), Question::Score(input)) => evaluator::ask(guest, store, input),
            (Self::Mutator(guest), Question::Propose(input)) => mutator::ask(guest, store, input),
            _ => wasmtime::bail!("the component is of another world than the question"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_in_the_contracts_order() {
        for each in FailureKind::ALL {
            assert_eq!(format!("{:?}", failure_kind(each)), format!("FailureKind::{each:?}"));
        }
    }
}
