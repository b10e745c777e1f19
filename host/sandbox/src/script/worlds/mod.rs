//! What of scripts is of one world: the function that judges, what it is called with, what it may answer.

mod healer;
mod router;

use kairos_pipeline::policy::{Answer, Question, World};

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

/// What every function is called with.
type About = (Ctx, FeaturesView, Models);

/// The function of a world.
pub(super) fn judgement(world: World) -> &'static Judgement {
    match world {
        World::Router => &router::JUDGEMENT,
        World::Healer => &healer::JUDGEMENT,
    }
}

/// Registers what only scripts of a world may call.
pub(super) fn register(api: &mut Api<'_>, world: World) {
    match world {
        World::Router => router::register(api),
        World::Healer => healer::register(api),
    }
}

/// Asks a script.
pub(super) fn call(script: &Script, question: Question<'_>, about: About) -> Fallible<Answer> {
    match question {
        Question::Route(_) => router::call(script, about).map(Answer::Plan),
        Question::Heal(input) => healer::call(script, input, about).map(Answer::Remedy),
    }
}
