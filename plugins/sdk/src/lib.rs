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
//! A healer implements [`Healer`] likewise, and is exported `as healer`.
//!
//! What a policy asks of the host it asks of its [`Context`]. Each capability is imported only where a
//! policy uses it: whoever never calls [`Context::prompt`] needs no `content`. `log` is always imported,
//! as a panic writes its text there.
//!
//! Natively, in `cargo test`, a context is made by hand and needs no host: [`testing`].

#[doc(hidden)]
pub mod bindings;
#[cfg(target_family = "wasm")]
mod host;
#[cfg(not(target_family = "wasm"))]
pub mod testing;
mod world;

pub use self::bindings::healer::exports::kairos::plugin::healing::{
    Abilities, Action, Attempt, Failure, FailureKind, Remedy, Wait,
};
pub use self::bindings::kairos::plugin::log::Level;
pub use self::bindings::kairos::plugin::types::{
    Capabilities, Complexity, Family, Features, Model, PluginError, Priority, Route, Strengths, Task,
};
pub use self::bindings::router::exports::kairos::plugin::routing::{CacheDirective, Candidate, Plan};
#[cfg(target_family = "wasm")]
pub use self::host::Context;
#[cfg(not(target_family = "wasm"))]
pub use self::testing::Context;
pub use self::world::{Healer, Router};

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

/// What `export!` makes use of; no policy needs it.
#[doc(hidden)]
#[cfg(target_family = "wasm")]
pub mod exported {
    pub use crate::bindings::exports::kairos::plugin::lifecycle;
    pub use crate::bindings::healer::export_healer;
    pub use crate::bindings::kairos::plugin::types;
    pub use crate::bindings::router::export_router;
    pub use crate::bindings::{self, export_lifecycle};
    pub use crate::host::{Facts, describe, heal, init, route};
}
