//! Tests that a policy brings along: `router.test.toml` beside `router.rhai` or `router.wasm`.
//!
//! They are read (`read`), asked of the policy one by one (`run`), and what it answers is compared
//! with what they expect (`expect`); what only tests of a world say is in `worlds`. A policy that fails one
//! does not serve.

mod expect;
mod offers;
mod read;
mod run;
pub(crate) mod table;
pub(crate) mod worlds;

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kairos_pipeline::models::Catalogue;
use kairos_pipeline::policy::{Identity, World};

use self::read::Case;
use self::run::Configured;
use self::table::Wrong;
use crate::limits::Limits;
use crate::refusal::{Reason, Refusal};

/// What a file of tests says of the models: on which day, and from which region. What it does not say
/// is the gateway's own.
#[derive(Clone, Copy, Debug, Default)]
pub struct View<'a> {
    /// The day, as `YYYY-MM-DD`.
    pub as_of: Option<&'a str>,
    /// The region.
    pub region: Option<&'a str>,
}

/// Gives the models as a file of tests looks at them, or says what is wrong with its day.
pub type Catalogues = Arc<dyn Fn(View<'_>) -> Result<Catalogue, String> + Send + Sync>;

/// A file of tests.
#[derive(Clone, Debug)]
pub struct TestFile {
    /// Its name, for messages.
    pub name: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// Where a policy's tests are.
pub fn beside(policy: &Path) -> PathBuf {
    policy.with_extension("test.toml")
}

/// What became of a policy's tests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The name of their file.
    pub file: String,
    /// Each test, in the order of the file.
    pub outcomes: Vec<Outcome>,
}

/// What became of a test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Its name.
    pub name: String,
    /// The line that its name is in.
    pub line: usize,
    /// What was expected and is not so. Nothing: it passed.
    pub wrong: Vec<String>,
    /// What the policy answered.
    pub answer: String,
}

impl Report {
    /// The tests that failed.
    pub fn failed(&self) -> impl Iterator<Item = &Outcome> {
        self.outcomes.iter().filter(|outcome| !outcome.wrong.is_empty())
    }

    /// Refuses the policy, unless all of its tests pass.
    pub(crate) fn verdict(&self, policy: &str) -> Result<(), Refusal> {
        let Some(first) = self.failed().next() else { return Ok(()) };
        let (failed, all) = (self.failed().count(), self.outcomes.len());
        let how_many = match (failed, all) {
            (1, 1) => "its one test fails".to_owned(),
            (1, _) => format!("1 of its {all} tests fails"),
            _ => format!("{failed} of its {all} tests fail, first"),
        };
        let (name, line, wrong) = (&first.name, first.line, first.wrong.join("; "));
        let message = format!("{how_many}: {name:?} ({}:{line}): {wrong}", self.file);
        let hint = format!("kairos policy test {policy} shows {}", if all == 1 { "it" } else { "them all" });
        Err(Refusal::new(Reason::FailedTests, message).hint(hint))
    }
}

impl TestFile {
    /// Reads a file of tests. Where there is none, there are no tests.
    pub fn read(path: &Path, limits: &Limits) -> Result<Option<Self>, Refusal> {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let cannot = |error: std::io::Error| {
            Refusal::new(Reason::FailedTests, format!("the policy's tests cannot be read: {error}")).beside(&name)
        };
        let file = match std::fs::File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(cannot(error)),
        };
        let mut bytes = Vec::new();
        file.take(limits.test_bytes + 1).read_to_end(&mut bytes).map_err(cannot)?;
        Self::bounded(name, bytes, limits).map(Some)
    }

    /// A file of tests, unless it is too large.
    pub(crate) fn bounded(name: String, bytes: Vec<u8>, limits: &Limits) -> Result<Self, Refusal> {
        if bytes.len() as u64 > limits.test_bytes {
            let message = format!("the policy's tests have more than {} bytes", limits.test_bytes);
            return Err(Refusal::new(Reason::FailedTests, message).beside(&name));
        }
        Ok(Self { name, bytes })
    }

    /// Reads the tests, and asks them of a policy.
    pub(crate) fn run(
        &self,
        world: World,
        identity: &Identity,
        limits: &Limits,
        catalogues: &Catalogues,
        configured: &Configured<'_>,
    ) -> Result<Report, Refusal> {
        let cases = self.cases(world, limits, catalogues)?;
        let outcomes = run::run(&cases, identity, limits, configured, |at| self.place(at).0)?;
        Ok(Report { file: self.name.clone(), outcomes })
    }

    fn cases(&self, world: World, limits: &Limits, catalogues: &Catalogues) -> Result<Vec<Case>, Refusal> {
        let refuse = |at, message: String| {
            Refusal::new(Reason::FailedTests, message).at(Some(self.place(at))).beside(&self.name)
        };
        let text = std::str::from_utf8(&self.bytes)
            .map_err(|error| refuse(error.valid_up_to(), "this is not UTF-8".to_owned()))?;
        read::cases(text, world, limits.tests, catalogues).map_err(|Wrong { at, message }| refuse(at, message))
    }

    fn place(&self, at: usize) -> (usize, usize) {
        place(&self.bytes, at)
    }
}

/// Line and column of an offset.
pub(crate) fn place(bytes: &[u8], at: usize) -> (usize, usize) {
    let before = String::from_utf8_lossy(&bytes[..at.min(bytes.len())]);
    let line = before.rsplit('\n').next().unwrap_or_default();
    (before.matches('\n').count() + 1, line.chars().count() + 1)
}
