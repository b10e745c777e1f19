//! Bedrock Runtime's JSON, from both sides: what callers send, and what the service answers.
//!
//! Shapes are those of the service model of `bedrock-runtime` (botocore 1.44.5). Only what routing,
//! pricing and the other dialects need is read; unknown fields are left alone.

pub mod chunks;
mod draft;
mod edit;
pub mod error;
pub mod families;
pub mod invoke;
pub mod jobs;
pub mod pieces;
mod request;
mod response;
mod rewrite;

pub(crate) use draft::bounded;
pub use draft::{Draft, Message as DraftMessage, Parameters as DraftParameters, Piece, Shown, Speaker, draft};
pub use edit::{lower_output_limit, shorten, stopped_by_guard};
pub use request::outline;
pub(crate) use request::short;
pub use response::{parse_answer, parse_event, parse_served, served};
pub use rewrite::{Edit, Place, Rewrite, SystemEdit, TextEdit, rewrite, without_prompt_variables};
