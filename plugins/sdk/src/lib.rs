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

pub use self::bindings::exports::kairos::plugin::routing::{CacheDirective, Candidate, Plan};
pub use self::bindings::kairos::plugin::log::Level;
pub use self::bindings::kairos::plugin::types::{
    Capabilities, Complexity, Family, Features, Model, PluginError, Priority, Route, Strengths, Task,
};
#[cfg(target_family = "wasm")]
pub use self::host::Context;
#[cfg(not(target_family = "wasm"))]
pub use self::testing::Context;
pub use self::world::Router;

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

/// What `export!` makes use of; no policy needs it.
#[doc(hidden)]
#[cfg(target_family = "wasm")]
pub mod exported {
    pub use crate::bindings::exports::kairos::plugin::{lifecycle, routing};
    pub use crate::bindings::kairos::plugin::types;
    pub use crate::bindings::{self, export_router};
    pub use crate::host::{describe, init, route};
}
