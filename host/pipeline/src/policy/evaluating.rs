//! What an evaluator judges, and what it says: `cases`, `fitness` and `evaluating` in the contract.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{FailureKind, Identity, Outside, PolicyError};

/// Bytes of a text that are shown at a time.
pub const MOST_PART: usize = 65_536;
/// Metrics of one score.
pub const MOST_METRICS: usize = 32;
/// Bytes of a metric's name.
const METRIC_NAME_BYTES: usize = 64;
/// Bytes of what is said in words of a score, or of a proposal.
pub const MOST_REMARK: usize = 4_096;
/// What whole numbers of the contract are below.
pub const WHOLE_BELOW: f64 = 9_007_199_254_740_992.0;

/// The part of a text that begins at this byte, or at the border of a character before it.
pub fn part(text: &str, start: u32) -> &str {
    let rest = &text[text.floor_char_boundary(start as usize)..];
    &rest[..rest.floor_char_boundary(MOST_PART)]
}

/// One case of a data set. See `case` in the contract.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs, reason = "the contract documents each field")]
pub struct Case {
    pub id: String,
    pub task: Option<String>,
    pub prompt: String,
    pub expected: Option<String>,
    /// The other members, as JSON.
    pub members: BTreeMap<String, String>,
    /// By model, in the order of the names.
    pub qualities: Vec<(String, f64)>,
}

impl Case {
    /// Another member, as JSON, unless it is too long to be shown.
    pub fn member(&self, name: &str) -> Option<&str> {
        self.members.get(name).map(String::as_str).filter(|text| text.len() <= MOST_PART)
    }
}

/// How an attempt at a case ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the contract documents each")]
pub enum CaseEnding {
    #[default]
    Answered,
    Failed(FailureKind),
    Refused,
}

impl CaseEnding {
    /// The contract's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Failed(_) => "failed",
            Self::Refused => "refused",
        }
    }
}

/// What came of a case. See `outcome` in the contract.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs, reason = "the contract documents each field")]
pub struct CaseOutcome {
    pub ending: CaseEnding,
    pub model: Option<String>,
    pub text: String,
    pub quality: Option<f64>,
    pub cost: Option<u64>,
    pub input_tokens: Option<u32>,
    pub output_tokens: Option<u32>,
    pub latency_ms: Option<u32>,
}

/// All that an evaluator is asked with.
#[derive(Clone, Copy, Debug)]
pub struct ScoreInput<'a> {
    /// What was asked.
    pub case: &'a Arc<Case>,
    /// What came of it.
    pub outcome: &'a Arc<CaseOutcome>,
    /// Whom it may call.
    pub outside: &'a Arc<dyn Outside>,
}

/// What a number measures: its unit, its range, and which way is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[allow(missing_docs, reason = "the contract documents each")]
pub enum Measure {
    Quality,
    Safety,
    Cost,
    Latency,
    Share,
    Count,
}

impl Measure {
    /// All, in the contract's order.
    pub const ALL: [Self; 6] = [Self::Quality, Self::Safety, Self::Cost, Self::Latency, Self::Share, Self::Count];

    /// The contract's name.
    pub fn name(self) -> &'static str {
        ["quality", "safety", "cost", "latency", "share", "count"][self as usize]
    }

    /// The measure of a name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|measure| measure.name() == name)
    }

    /// Whether it is a whole number of something bad, rather than a part of something good.
    pub fn is_whole(self) -> bool {
        matches!(self, Self::Cost | Self::Latency | Self::Count)
    }

    /// Whether a value is in its range.
    pub fn holds(self, value: f64) -> bool {
        match self.is_whole() {
            true => (0.0..WHOLE_BELOW).contains(&value) && value.fract() == 0.0,
            false => (0.0..=1.0).contains(&value),
        }
    }

    /// Whether a mean of values can be so.
    pub fn holds_mean(self, mean: f64) -> bool {
        let most = if self.is_whole() { WHOLE_BELOW } else { 1.0 };
        (0.0..=most).contains(&mean)
    }

    /// What its values are, for people.
    pub fn range(self) -> &'static str {
        if self.is_whole() { "a whole number from 0 to below 2^53" } else { "a number from 0 to 1" }
    }
}

/// A number that says how good an outcome is.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the contract documents each field")]
pub struct Metric {
    pub name: String,
    pub measure: Measure,
    pub value: f64,
}

impl Metric {
    /// Says what is not valid about it.
    pub fn check(&self) -> Result<(), String> {
        let Self { name, measure, value } = self;
        metric_name(name)?;
        if measure.holds(*value) {
            return Ok(());
        }
        Err(format!("the metric {name} is {value}; of the measure `{}` it is {}", measure.name(), measure.range()))
    }
}

/// Says what is wrong with a metric's name.
pub(super) fn metric_name(name: &str) -> Result<(), String> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    if (1..=METRIC_NAME_BYTES).contains(&name.len()) && name.bytes().all(plain) {
        return Ok(());
    }
    let shown = &name[..name.floor_char_boundary(METRIC_NAME_BYTES)];
    Err(format!("a metric is called {shown:?}; 1 to {METRIC_NAME_BYTES} of a-z, 0-9 and _ are a name"))
}

/// The fitness of one outcome.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Score {
    /// Each name once.
    pub metrics: Vec<Metric>,
    /// Why.
    pub remark: Option<String>,
    /// Settings that later versions define.
    pub settings: Vec<(u32, u64)>,
}

impl Score {
    /// Says what is not valid about it, by the list in `evaluator.wit`.
    pub fn check(&self) -> Result<(), String> {
        let count = self.metrics.len();
        if !(1..=MOST_METRICS).contains(&count) {
            return Err(format!("the score has {count} metrics; 1 to {MOST_METRICS} are allowed"));
        }
        let mut names = BTreeSet::new();
        for metric in &self.metrics {
            metric.check()?;
            if !names.insert(&metric.name) {
                return Err(format!("the metric {} is there twice", metric.name));
            }
        }
        said(&self.remark, &self.settings)
    }
}

/// Says what is not valid about a remark, and about settings of which none are defined.
pub(crate) fn said(remark: &Option<String>, settings: &[(u32, u64)]) -> Result<(), String> {
    if let Some(remark) = remark.as_ref().filter(|remark| remark.len() > MOST_REMARK) {
        return Err(format!("a remark has {} bytes; {MOST_REMARK} are allowed", remark.len()));
    }
    match settings.first() {
        Some((code, _)) => Err(format!("setting {code} is not known")),
        None => Ok(()),
    }
}

/// Something that says how good outcomes are. Synchronous; never on a request's way.
pub trait Evaluator: Send + Sync {
    /// Who judges.
    fn identity(&self) -> &Identity;

    /// Judges. The score is checked by the caller.
    fn score(&self, input: ScoreInput<'_>) -> Result<Score, PolicyError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_begin_and_end_at_characters() {
        let text = format!("é{}", "x".repeat(MOST_PART));
        assert_eq!(part(&text, 1).len(), MOST_PART, "from the border before");
        assert_eq!((part(&text, 65_537), part(&text, u32::MAX)), ("x", ""));
    }

    #[test]
    fn scores_that_are_not_valid_say_why() {
        let metric = |name: &str, measure, value| Metric { name: name.to_owned(), measure, value };
        let of = |metrics| Score { metrics, ..Score::default() };
        let good = || metric("q", Measure::Quality, 1.0);
        let many = (0..33).map(|place| metric(&format!("m{place}"), Measure::Count, 1.0)).collect();
        for (score, says) in [
            (of(vec![]), "0 metrics"),
            (of(many), "33 metrics"),
            (of(vec![good(), good()]), "q is there twice"),
            (of(vec![metric("Q", Measure::Quality, 1.0)]), "called \"Q\""),
            (of(vec![metric(&"x".repeat(65), Measure::Quality, 1.0)]), "is called"),
            (of(vec![metric("q", Measure::Quality, f64::NAN)]), "q is NaN"),
            (of(vec![metric("q", Measure::Share, 1.0000001)]), "from 0 to 1"),
            (of(vec![metric("c", Measure::Cost, 0.5)]), "a whole number"),
            (of(vec![metric("c", Measure::Cost, -1.0)]), "c is -1"),
            (of(vec![metric("c", Measure::Latency, WHOLE_BELOW)]), "below 2^53"),
            (of(vec![metric("c", Measure::Count, f64::INFINITY)]), "c is inf"),
            (Score { remark: Some("x".repeat(4_097)), ..of(vec![good()]) }, "4097 bytes"),
            (Score { settings: vec![(3, 0)], ..of(vec![good()]) }, "setting 3"),
        ] {
            let error = score.check().unwrap_err();
            assert!(error.contains(says), "{error}");
        }
        assert_eq!(of(vec![good(), metric("c", Measure::Cost, WHOLE_BELOW - 1.0)]).check(), Ok(()));
    }
}
