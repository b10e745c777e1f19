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

/// Writes a value as JSON that takes about so many bytes, of which memory is asked for once.
pub fn json(value: &impl serde::Serialize, about: usize) -> serde_json::Result<Vec<u8>> {
    let mut json = Vec::with_capacity(about);
    serde_json::to_writer(&mut json, value)?;
    Ok(json)
}
