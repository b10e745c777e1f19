//! Policies in wasmtime and Rhai behind one set of traits.
//!
//! A file becomes a [`generation::Generation`]: read, checked, compiled, tested by the tests that it
//! brings along ([`cases`]) and tried out, off the request's path ([`load`]). [`host::PolicyHost`] publishes generations, takes them back when they
//! fail, and watches a folder; what is done by hand (stage, activate, roll back) is in `acts`, and what
//! is kept from one run to the next behind [`versions::Versions`]. What a policy may do is bounded by [`limits::Limits`].
//!
//! Nothing here knows of HTTP, Bedrock, ledgers or dialects.

pub mod acts;
mod answered;
pub mod canary;
pub mod capability;
pub mod cases;
pub mod deadline;
mod folder;
mod follow;
pub mod generation;
pub mod golden;
pub mod host;
pub mod limits;
mod lineup;
pub mod load;
pub mod manifest;
pub mod packed;
mod purity;
pub mod refusal;
pub mod reports;
pub mod script;
pub mod shadow;
pub mod status;
pub mod versions;
pub mod wasm;
mod watch;
