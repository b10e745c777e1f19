//! All templates that serve.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Template;

/// All templates that serve, by name.
#[derive(Debug, Default)]
pub struct Library(BTreeMap<String, Prompt>);

/// The versions of a template.
#[derive(Debug)]
pub struct Prompt {
    /// By number; one at least.
    pub versions: BTreeMap<u32, Arc<Template>>,
    /// The one that serves who names none.
    pub default: u32,
}

/// There is no such template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotFound {
    /// None of this name. Names that are near, or the first of all.
    Name(Vec<String>),
    /// None of this version. Those that there are.
    Version(Vec<u32>),
}

/// Names that are told to whoever asks for one that is not there.
const MOST_NAMES: usize = 3;

impl Library {
    /// These templates.
    pub fn new(prompts: BTreeMap<String, Prompt>) -> Self {
        Self(prompts)
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = (&str, &Prompt)> {
        self.0.iter().map(|(name, prompt)| (name.as_str(), prompt))
    }

    /// Versions of all of them together.
    pub fn versions(&self) -> usize {
        self.0.values().map(|prompt| prompt.versions.len()).sum()
    }

    /// A template, by its name, and its version where one is asked for.
    pub fn find(&self, name: &str, version: Option<u32>) -> Result<&Arc<Template>, NotFound> {
        let prompt = self.0.get(name).ok_or_else(|| NotFound::Name(self.near(name)))?;
        let found = prompt.versions.get(&version.unwrap_or(prompt.default));
        found.ok_or_else(|| NotFound::Version(prompt.versions.keys().copied().collect()))
    }

    fn near(&self, name: &str) -> Vec<String> {
        let mut scored: Vec<_> = self
            .0
            .keys()
            .map(|known| (strsim::jaro_winkler(known, name), known))
            .filter(|(score, _)| *score > 0.7)
            .collect();
        scored.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        scored.into_iter().take(MOST_NAMES).map(|(_, known)| known.clone()).collect()
    }
}
