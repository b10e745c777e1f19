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
use super::bindings::{self, FeaturesRow, ModelRow, same_order};
use super::host::{HostState, RequestHandle};
use super::typed::{Exported, Found};

/// What an evaluator or a mutator is asked about.
pub(super) enum Evolving {
    Case((Arc<Case>, Arc<CaseOutcome>)),
    Genome((Arc<Genome>, Arc<Evidence>)),
}

/// What every judgement is asked with: the request at hand.
type Request = Resource<RequestHandle>;

/// What the host knows of the request, and the models, as components see them: in the instance's own room, to be put
/// back after the call.
fn shown(store: &mut Store<HostState>, features: &Features, models: &[Offer]) -> (FeaturesRow, Vec<ModelRow>) {
    let mut rows = std::mem::take(&mut store.data_mut().rows);
    rows.clear();
    rows.extend(models.iter().map(bindings::model_row));
    (bindings::features_row(features), rows)
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
pub(super) enum JudgeIndices {
    Router(Found<router::Judgement>),
    Healer(Found<healer::Judgement>),
    Guard(Found<guard::Judgement>),
    Prompter(Found<prompter::Judgement>),
    Observer(Found<observer::Judgement>),
    Evaluator(Found<evaluator::Judgement>),
    Mutator(Found<mutator::Judgement>),
}

/// The judgement of an instance.
pub(super) enum Judge {
    Router(Exported<router::Judgement>),
    Healer(Exported<healer::Judgement>),
    Guard(Exported<guard::Judgement>),
    Prompter(Exported<prompter::Judgement>),
    Observer(Exported<observer::Judgement>),
    Evaluator(Exported<evaluator::Judgement>),
    Mutator(Exported<mutator::Judgement>),
}

impl JudgeIndices {
    pub(super) fn find(pre: &InstancePre<HostState>, world: World) -> Result<Self> {
        Ok(match world {
            World::Router => Self::Router(Found::of(pre)?),
            World::Healer => Self::Healer(Found::of(pre)?),
            World::Guard => Self::Guard(Found::of(pre)?),
            World::Prompter => Self::Prompter(Found::of(pre)?),
            World::Observer => Self::Observer(Found::of(pre)?),
            World::Evaluator => Self::Evaluator(Found::of(pre)?),
            World::Mutator => Self::Mutator(Found::of(pre)?),
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
            (Self::Router(exported), Question::Route(input)) => router::ask(exported, store, input, request),
            (Self::Healer(exported), Question::Heal(input)) => healer::ask(exported, store, input, request),
            (Self::Guard(exported), Question::Inspect(input)) => guard::ask(exported, store, input, request),
            (Self::Prompter(exported), Question::Render(input)) => prompter::ask(exported, store, input, request),
            (Self::Observer(exported), Question::Observe(input)) => observer::ask(exported, store, input, request),
            (Self::Evaluator(exported), Question::Score(input)) => evaluator::ask(exported, store, input),
            (Self::Mutator(exported), Question::Propose(input)) => mutator::ask(exported, store, input),
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
