//! Policies in wasmtime and Rhai behind one set of traits.
//!
//! A file becomes a [`generation::Generation`]: read, checked, compiled, tested by the tests that it
//! brings along ([`cases`]) and tried out, off the request's path ([`load`]). A slot is a world of the
//! contract: its [`host::PolicyHost`] publishes generations and takes them back when they fail. All of
//! them are [`slots::Slots`], which watch a folder and are what the pipeline asks. What is done by hand
//! (stage, activate, roll back) is in `acts`, and what is kept from one run to the next behind
//! [`versions::Versions`]. What a policy may do is bounded by [`limits::Limits`].
//!
//! What is of one world is one file a place, beside those of the others: `wasm/worlds`, `script/worlds`,
//! `serving`, `golden`, `cases/worlds`.
//!
//! Templates that requests name come from the same folder ([`prompts`]).
//!
//! Nothing here knows of HTTP, Bedrock, ledgers or dialects.

pub mod acts;
mod answered;
mod aside;
pub mod canary;
pub mod capability;
pub mod cases;
pub mod deadline;
mod folder;
mod follow;
pub mod generation;
pub mod golden;
pub mod host;
pub mod kv;
pub mod limits;
mod lineup;
pub mod load;
pub mod manifest;
pub mod packed;
pub mod prompts;
mod purity;
mod question;
pub mod refusal;
pub mod reports;
mod restore;
pub mod script;
mod serving;
pub mod shadow;
pub mod slots;
pub mod status;
pub mod trust;
pub mod versions;
pub mod wasm;
pub mod watch;
