//! Templates from a folder: `prompts/NAME/VERSION.toml`, read, compiled and rendered once before they serve.
//!
//! `read` is one file, `folder` all of them, `follow` what serves while files change.

mod folder;
mod follow;
mod read;

use std::fmt;
use std::path::PathBuf;

use kairos_pipeline::prompts::{Bounds, Library};

pub use self::folder::read;
pub use self::follow::{Following, Prompts, Status};

/// The folder within that of policies.
pub const FOLDER: &str = "prompts";
/// The file of a template that says which version serves who names none.
pub const DEFAULT_FILE: &str = "prompt.toml";

/// How much there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Templates.
    pub templates: usize,
    /// Versions of each.
    pub versions: usize,
    /// Bytes of a file.
    pub file_bytes: u64,
    /// What rendering may come to.
    pub bounds: Bounds,
}

impl Default for Limits {
    fn default() -> Self {
        Self { templates: 256, versions: 32, file_bytes: 65_536, bounds: Bounds::default() }
    }
}

/// A file that is no template, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The file.
    pub file: PathBuf,
    /// Line and column, where there are some.
    pub at: Option<(usize, usize)>,
    /// What is wrong, and what to do.
    pub message: String,
}

impl fmt::Display for Refused {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self.at.map_or(String::new(), |(line, column)| format!(":{line}:{column}"));
        write!(formatter, "{}{at}: {}", self.file.display(), self.message)
    }
}

/// What a folder holds.
#[derive(Debug, Default)]
pub struct Found {
    /// Templates that are right.
    pub library: Library,
    /// Files that are not.
    pub refused: Vec<Refused>,
    /// Stands for all that was read: another one is another folder's.
    pub digest: String,
}
