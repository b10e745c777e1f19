//! Pure codecs between the dialects of callers and the canonical form.
//!
//! The canonical form is shaped like Bedrock's Converse: [`canonical::Request`] is what a dialect
//! decodes to, [`answer::Answer`] and [`answer::Event`] are what it encodes from. Bytes in, bytes
//! out: nothing here knows of HTTP servers, clocks, models, prices or policies.

pub mod answer;
pub mod bedrock;
pub mod canonical;
pub mod eventstream;
pub mod failure;
pub mod generate;
pub mod invalid;
pub mod openai;
pub mod outline;
pub mod prompt;
pub mod texts;
pub mod usage;

pub use failure::{Failure, Kind};
pub use invalid::Invalid;
pub use outline::{Needs, Outline};
pub use usage::Usage;
