//! Write a policy for Kairos as a WebAssembly component.
//!
//! A policy is a type that implements the trait of its world, and one line that exports it:
//!
//! ```
//! use kairos_plugin::{Context, Features, Model, Plan, PluginError, Router, export};
//!
//! struct First;
//! export!(First as router);
//!
//! impl Router for First {
//!     const NAME: &'static str = "first";
//!     const REASONS: &'static [&'static str] = &["first-of-all"];
//!
//!     fn new(_config: &str) -> Result<Self, PluginError> {
//!         Ok(Self)
//!     }
//!
//!     fn route(&self, _: &Context, _: &Features, _: &[Model]) -> Result<Plan, PluginError> {
//!         Ok(Plan::new([0], 1))
//!     }
//! }
//! ```
//!
//! A healer implements [`Healer`] likewise, and is exported `as healer`; a guard [`Guard`], `as guard`; a prompter
//! [`Prompter`], `as prompter`; an observer [`Observer`], `as observer`; an evaluator [`Evaluator`], `as evaluator`; a
//! mutator [`Mutator`], `as mutator`.
//!
//! What a policy asks of the host it asks of its [`Context`]. Each capability is imported only where a
//! policy uses it: whoever never calls [`Context::prompt`] needs no `content`. `log` is always imported,
//! as a panic writes its text there.
//!
//! Natively, in `cargo test`, a context is made by hand and needs no host: [`testing`].

#[cfg(all(target_arch = "wasm32", feature = "allocator"))]
mod allocator;
#[doc(hidden)]
pub mod bindings;
mod evolving;
#[cfg(target_family = "wasm")]
mod host;
#[cfg(not(target_family = "wasm"))]
pub mod testing;
mod world;

pub use self::bindings::evaluator::exports::kairos::plugin::evaluating::Scores as Score;
pub use self::bindings::evaluator::kairos::plugin::cases::Ending as CaseEnding;
#[cfg(target_family = "wasm")]
pub use self::bindings::evaluator::kairos::plugin::cases::{Case, Outcome as CaseOutcome};
pub use self::bindings::evaluator::kairos::plugin::fitness::{Measure, Metric};
pub use self::bindings::guard::exports::kairos::plugin::guarding::{Direction, Origin, Passage, Replacement, Verdict};
pub use self::bindings::healer::exports::kairos::plugin::healing::{Abilities, Action, Attempt, Failure, Remedy, Wait};
pub use self::bindings::kairos::plugin::http::{
    Error as HttpError, Method, Request as HttpRequest, Response as HttpResponse,
};
pub use self::bindings::kairos::plugin::kv_write::Refusal;
pub use self::bindings::kairos::plugin::log::Level;
pub use self::bindings::kairos::plugin::model::{
    Error as ModelError, Request as ModelRequest, Response as ModelResponse, Role as Said,
};
pub use self::bindings::kairos::plugin::types::{
    Capabilities, Complexity, FailureKind, Family, Features, Model, PluginError, Priority, Route, Strengths, Task,
};
pub use self::bindings::mutator::exports::kairos::plugin::mutating::{Change, Edit, Proposal};
#[cfg(target_family = "wasm")]
pub use self::bindings::mutator::kairos::plugin::genomes::{Evidence, Genome};
pub use self::bindings::mutator::kairos::plugin::genomes::{Number, Summary, Weakness};
#[cfg(target_family = "wasm")]
pub use self::bindings::observer::kairos::plugin::events::Event;
pub use self::bindings::observer::kairos::plugin::events::{
    Attempt as SeenAttempt, Ending, EventKind, Outcome, Rating, Stop,
};
pub use self::bindings::prompter::exports::kairos::plugin::prompting::{
    Edits, NumberChange, Place, StopChange, SystemChange, TextChange,
};
#[cfg(target_family = "wasm")]
pub use self::bindings::prompter::kairos::plugin::drafts::Draft;
pub use self::bindings::prompter::kairos::plugin::drafts::{
    Message, Parameters, Passage as Shown, Piece, Role, Template,
};
pub use self::bindings::router::exports::kairos::plugin::routing::{CacheDirective, Candidate, Plan};
pub use self::evolving::draw;
#[cfg(target_family = "wasm")]
pub use self::host::{Context, Host};
#[cfg(not(target_family = "wasm"))]
pub use self::testing::{Case, CaseOutcome, Context, Draft, Event, Evidence, Genome, Host};
pub use self::world::{Evaluator, Guard, Healer, Mutator, Observer, Prompter, Router};

impl Task {
    /// Its name, as in the contract.
    pub fn name(self) -> &'static str {
        match self {
            Self::General => "general",
            Self::Code => "code",
            Self::Reasoning => "reasoning",
            Self::Analysis => "analysis",
            Self::Decision => "decision",
            Self::Strategy => "strategy",
            Self::Resolution => "resolution",
            Self::Classification => "classification",
            Self::Extraction => "extraction",
            Self::Summarization => "summarization",
            Self::Translation => "translation",
            Self::Generation => "generation",
            Self::Conversation => "conversation",
            Self::Other => "other",
        }
    }
}

impl Plan {
    /// Tries these models (indices of those on offer) in this order, for this reason: a code, the n-th
    /// of [`Router::REASONS`] from 1. Nothing else is set.
    pub fn new(models: impl IntoIterator<Item = u32>, reason: u32) -> Self {
        let chance = |place| if place == 0 { 1.0 } else { 0.0 };
        let candidate = |(place, model)| Candidate { model, probability: chance(place) };
        Self {
            candidates: models.into_iter().enumerate().map(candidate).collect(),
            max_output_tokens: None,
            max_cost: None,
            cache: CacheDirective::Default,
            reason,
            settings: Vec::new(),
        }
    }
}

impl Remedy {
    /// This at once, for this reason: a code, the n-th of [`Healer::REASONS`] from 1. Nothing else is set.
    pub fn new(action: Action, reason: u32) -> Self {
        Self { action, wait: None, max_output_tokens: None, reason, settings: Vec::new() }
    }

    /// The same after a wait, in milliseconds: `least`, and a number that the host draws below `base`,
    /// doubled at each further attempt on the model, and at most `cap`.
    pub fn after(self, least: u32, base: u32, cap: u32) -> Self {
        Self { wait: Some(Wait { least, base, cap }), ..self }
    }
}

impl Verdict {
    /// All of the text passes, but for what is replaced.
    pub fn pass(text: &str) -> Self {
        Self::deciding(text.len())
    }

    /// All but the last so many bytes passes: up to [`Guard::HOLD_BACK`]. Those come again, in front of what
    /// follows.
    pub fn hold(text: &str, bytes: usize) -> Self {
        let mut decided = text.len().saturating_sub(bytes);
        while !text.is_char_boundary(decided) {
            decided += 1;
        }
        Self::deciding(decided)
    }

    /// Nothing passes, and nothing that follows, for this reason: a code, the n-th of [`Guard::REASONS`]
    /// from 1.
    pub fn block(reason: u32) -> Self {
        Self { blocked: Some(reason), ..Self::deciding(0) }
    }

    /// So many bytes of the text are decided, and pass.
    pub fn deciding(bytes: usize) -> Self {
        Self {
            state: Vec::new(),
            decided: bytes as u32,
            replacements: Vec::new(),
            findings: Vec::new(),
            blocked: None,
            settings: Vec::new(),
        }
    }

    /// Puts `with` in the place of the bytes from `start` to before `end`, behind what was replaced before.
    /// All up to `end` is decided then.
    pub fn replace(&mut self, start: usize, end: usize, with: &str) {
        self.decided = self.decided.max(end as u32);
        self.replacements.push(Replacement { start: start as u32, end: end as u32, text: with.to_owned() });
    }

    /// Counts something that was found: a code, the n-th of [`Guard::REASONS`] from 1.
    pub fn found(&mut self, code: u32) {
        match self.findings.iter_mut().find(|(known, _)| *known == code) {
            Some((_, count)) => *count += 1,
            None => self.findings.push((code, 1)),
        }
    }
}

impl Edits {
    /// Nothing is changed, for this reason: a code, the n-th of [`Prompter::REASONS`] from 1.
    pub fn new(reason: u32) -> Self {
        Self {
            system: SystemChange::Keep,
            system_before: None,
            system_after: None,
            examples: Vec::new(),
            keep_last: None,
            texts: Vec::new(),
            max_output_tokens: None,
            temperature: NumberChange::Keep,
            top_p: NumberChange::Keep,
            stop: StopChange::Keep,
            reason,
            settings: Vec::new(),
        }
    }

    /// Changes a text: a piece of a message, by their indices.
    pub fn change(&mut self, message: u32, piece: u32, change: TextChange) {
        self.texts.push((Place { message, piece }, change));
    }
}

/// What `export!` makes use of; no policy needs it.
#[doc(hidden)]
#[cfg(target_family = "wasm")]
pub mod exported {
    pub use crate::bindings::evaluator::export_evaluator;
    pub use crate::bindings::exports::kairos::plugin::lifecycle;
    pub use crate::bindings::guard::export_guard;
    pub use crate::bindings::healer::export_healer;
    pub use crate::bindings::kairos::plugin::types;
    pub use crate::bindings::mutator::export_mutator;
    pub use crate::bindings::observer::export_observer;
    pub use crate::bindings::prompter::export_prompter;
    pub use crate::bindings::router::export_router;
    pub use crate::bindings::{self, export_lifecycle};
    pub use crate::host::{Facts, describe, heal, init, inspect, observe, propose, render, route, score};
}
