//! What tests say that is of one world: what is asked beside the request and the models, and what is
//! expected of the answer.

mod evaluator;
pub(crate) mod guard;
mod healer;
mod mutator;
mod observer;
mod outside;
mod prompter;
mod router;

use std::sync::Arc;

use kairos_pipeline::models::Catalogue;
use kairos_pipeline::policy::{Answer, Features, MAX_OFFERS, MOST_HEALER_MODELS, Offer, RequestInfo, World};

use super::expect::Names;
use super::offers::Chosen;
use super::table::{Read, Table};
use crate::question::What;

/// Models that a test may name.
pub(super) fn most_models(world: World) -> usize {
    match world {
        World::Router | World::Guard | World::Evaluator | World::Mutator => MAX_OFFERS,
        World::Healer | World::Prompter | World::Observer => MOST_HEALER_MODELS,
    }
}

/// Whether a test must name models: who judges texts is shown none, nor is who is of evolution.
pub(super) fn needs_models(world: World) -> bool {
    world != World::Guard && !world.is_of_evolution()
}

/// What an answer is called.
pub(crate) fn answer(world: World) -> &'static str {
    match world {
        World::Router => "plan",
        World::Healer => "remedy",
        World::Guard => "verdict",
        World::Prompter => "list of edits",
        World::Observer => "call that writes",
        World::Evaluator => "score",
        World::Mutator => "list of proposals",
    }
}

/// What a test says of the question beside the request and the models, not yet read.
pub(super) enum Beside<'a> {
    Router,
    Healer(Box<healer::Beside<'a>>),
    Guard(Box<guard::Beside<'a>>),
    Prompter(Box<prompter::Beside<'a>>),
    Observer(Box<observer::Beside<'a>>),
    Evaluator(Box<evaluator::Beside<'a>>),
    Mutator(Box<mutator::Beside<'a>>),
}

impl<'a> Beside<'a> {
    pub(super) fn take(test: &mut Table<'a>, world: World) -> Self {
        match world {
            World::Router => Self::Router,
            World::Healer => Self::Healer(Box::new(healer::Beside::take(test))),
            World::Guard => Self::Guard(Box::new(guard::Beside::take(test))),
            World::Prompter => Self::Prompter(Box::new(prompter::Beside::take(test))),
            World::Observer => Self::Observer(Box::new(observer::Beside::take(test))),
            World::Evaluator => Self::Evaluator(Box::new(evaluator::Beside::take(test))),
            World::Mutator => Self::Mutator(Box::new(mutator::Beside::take(test))),
        }
    }

    /// Reads it. `at` is where the test begins.
    pub(super) fn read(
        self,
        at: usize,
        features: &Features,
        (chosen, catalogue): (&[Chosen], &Catalogue),
        of: (&Arc<RequestInfo>, &[Offer]),
    ) -> Read<What> {
        match self {
            Self::Router => Ok(What::Route),
            Self::Healer(beside) => beside.read(at, features, chosen, catalogue),
            Self::Guard(beside) => beside.read(at),
            Self::Prompter(beside) => beside.read(at, chosen, catalogue),
            Self::Observer(beside) => beside.read(at, features, (chosen, catalogue), of),
            Self::Evaluator(beside) => beside.read(at),
            Self::Mutator(beside) => beside.read(at),
        }
    }
}

/// What an answer is to be like.
pub(super) enum Like {
    Plan(Box<router::PlanLike>),
    Remedy(healer::RemedyLike),
    Released(guard::ReleasedLike),
    Edits(prompter::EditsLike),
    Written(observer::WrittenLike),
    Score(evaluator::ScoreLike),
    Candidates(mutator::CandidatesLike),
}

/// Reads what `expect` says of an answer; nothing: it says nothing of one.
pub(super) fn expected(
    table: &mut Table<'_>,
    world: World,
    chosen: &[Chosen],
    catalogue: &Catalogue,
) -> Read<Option<Like>> {
    Ok(match world {
        World::Router => router::expected(table, chosen, catalogue)?.map(|like| Like::Plan(Box::new(like))),
        World::Healer => healer::expected(table, chosen, catalogue)?.map(Like::Remedy),
        World::Guard => guard::expected(table)?.map(Like::Released),
        World::Prompter => prompter::expected(table)?.map(Like::Edits),
        World::Observer => observer::expected(table)?.map(Like::Written),
        World::Evaluator => evaluator::expected(table)?.map(Like::Score),
        World::Mutator => mutator::expected(table)?.map(Like::Candidates),
    })
}

impl Like {
    /// What is not as expected.
    pub(super) fn wrong_with(&self, answer: &Answer, what: &What, names: &Names<'_>) -> Vec<String> {
        match (self, answer) {
            (Self::Plan(expected), Answer::Plan(plan)) => expected.wrong_with(plan, names),
            (Self::Remedy(expected), Answer::Remedy(remedy)) => expected.wrong_with(remedy, names),
            (Self::Edits(expected), Answer::Edits(edits)) => expected.wrong_with(edits, names),
            (Self::Written(expected), Answer::Written(written)) => expected.wrong_with(written),
            (Self::Score(expected), Answer::Score(score)) => expected.wrong_with(score),
            (Self::Candidates(expected), Answer::Proposals(proposals)) => match what {
                What::Propose(asked) => expected.wrong_with(proposals, asked),
                _ => Vec::new(),
            },
            _ => vec!["the answer is to another kind of question".to_owned()],
        }
    }
}

/// An answer, for people.
pub(super) fn in_words(answer: &Answer, names: &Names<'_>) -> String {
    match answer {
        Answer::Plan(plan) => router::in_words(plan, names),
        Answer::Remedy(remedy) => healer::in_words(remedy, names),
        Answer::Verdict(verdict) => guard::in_words(verdict, names),
        Answer::Edits(edits) => prompter::in_words(edits, names),
        Answer::Written(written) => observer::in_words(written),
        Answer::Score(score) => evaluator::in_words(score),
        Answer::Proposals(proposals) => mutator::in_words(proposals),
    }
}
