//! Scripts in Rhai.
//!
//! An engine without Rhai's core package (its `sleep`, `timestamp` and `import` know no limit), with
//! every limit set, and helpers that work on all models at once, so that scripts stay thin.

mod api;
mod column;
mod engine;
mod models;
mod outside;
mod policy;
mod table;
mod worlds;

pub use api::reference;
pub use policy::ScriptPolicy;
pub(crate) use policy::judges;
