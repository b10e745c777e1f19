//! Named templates: what a request says before the caller's own words, with values of the caller's.
//!
//! `template` is one version of one, compiled and rendered; `library` is all that serve; `values` bounds what
//! callers give; `expand` puts a template into a request. Where templates come from is not known here.

mod engine;
mod expand;
mod library;
mod named;
mod template;
mod values;

pub use kairos_dialects::canonical::Role;

pub(crate) use self::expand::{Expanded, expand};
pub use self::library::{Library, NotFound, Prompt};
pub use self::named::{Asked, Given};
pub(crate) use self::named::{Wanted, wanted};
pub use self::template::{MOST_VARIABLES, Parameters, Rendered, Said, Source, Template, Unrendered, Variable, Wrong};
pub use self::values::kind_of;

/// What callers' values and what is made of them may come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes of one value.
    pub value_bytes: usize,
    /// Bytes of all that is rendered for a request.
    pub rendered_bytes: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { value_bytes: 65_536, rendered_bytes: 262_144 }
    }
}

/// Bytes of a template's name.
pub const NAME_BYTES: usize = 64;

/// Whether a text is a template's name: 1 to 64 of a–z, 0–9 and -.
pub fn is_name(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=NAME_BYTES).contains(&text.len()) && text.bytes().all(fits)
}

/// The number that a text is as a version: a whole number from 1, written in one way only.
pub fn version_of(text: &str) -> Option<u32> {
    let digits = (1..=9).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    if digits && !text.starts_with('0') { text.parse().ok() } else { None }
}
