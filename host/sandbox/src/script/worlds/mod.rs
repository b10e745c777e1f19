//! What of scripts is of one world: the function that judges, what it is called with, what it may answer.

mod evaluator;
mod guard;
mod healer;
mod mutator;
mod observer;
mod prompter;
mod router;

use std::cell::RefCell;
use std::sync::Arc;

use kairos_pipeline::policy::{Answer, Features, Offer, Question, RequestInfo, World};

use super::api::{Ctx, FeaturesView};
use super::models::Models;
use super::policy::Script;
use super::table::{Api, Fallible};

/// The function that a script of a world has.
pub(super) struct Judgement {
    pub(super) function: &'static str,
    pub(super) parameters: usize,
    /// How it is written.
    pub(super) hint: &'static str,
}

thread_local! {
    /// The models of the last call: room for the next one's, once nobody has them any more.
    static OFFERS: RefCell<Arc<[Offer]>> = RefCell::default();
}

/// What the host knows of a request, and the models, as scripts see them.
fn shown(request: &Arc<RequestInfo>, features: &Features, models: &[Offer]) -> (FeaturesView, Models) {
    let offers = OFFERS.with_borrow_mut(|offers| {
        match Arc::get_mut(offers) {
            Some(room) if room.len() == models.len() => room.copy_from_slice(models),
            _ => *offers = models.into(),
        }
        Arc::clone(offers)
    });
    (FeaturesView(*features), Models { offers, request: Arc::clone(request) })
}

/// The function of a world.
pub(super) fn judgement(world: World) -> &'static Judgement {
    match world {
        World::Router => &router::JUDGEMENT,
        World::Healer => &healer::JUDGEMENT,
        World::Guard => &guard::JUDGEMENT,
        World::Prompter => &prompter::JUDGEMENT,
        World::Observer => &observer::JUDGEMENT,
        World::Evaluator => &evaluator::JUDGEMENT,
        World::Mutator => &mutator::JUDGEMENT,
    }
}

/// Registers what only scripts of a world may call.
pub(super) fn register(api: &mut Api<'_>, world: World) {
    match world {
        World::Router => router::register(api),
        World::Healer => healer::register(api),
        World::Guard => guard::register(api),
        World::Prompter => prompter::register(api),
        World::Observer => observer::register(api),
        World::Evaluator => evaluator::register(api),
        World::Mutator => mutator::register(api),
    }
}

/// Asks a script.
pub(super) fn call(script: &Script, question: Question<'_>, ctx: Ctx) -> Fallible<Answer> {
    match question {
        Question::Route(input) => router::call(script, input, ctx).map(Answer::Plan),
        Question::Heal(input) => healer::call(script, input, ctx).map(Answer::Remedy),
        Question::Inspect(input) => guard::call(script, input, ctx).map(Answer::Verdict),
        Question::Render(input) => prompter::call(script, input, ctx).map(|edits| Answer::Edits(Box::new(edits))),
        Question::Observe(input) => observer::call(script, input, ctx).map(Answer::Written),
        Question::Score(input) => evaluator::call(script, input, ctx).map(|score| Answer::Score(Box::new(score))),
        Question::Propose(input) => mutator::call(script, input, ctx).map(Answer::Proposals),
    }
}
