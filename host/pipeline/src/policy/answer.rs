//! What a policy answers: a plan, or why there is none.

use serde::{Deserialize, Serialize};

use super::exact;

/// A model to try.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// Index in the offers.
    pub model: u32,
    /// Chance of being tried first.
    #[serde(with = "exact")]
    pub probability: f64,
}

/// What to do about the response cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CacheDirective {
    /// As configured.
    #[default]
    Default,
    /// Neither look up nor store.
    Bypass,
    /// Store for so many seconds.
    TtlSeconds(u32),
}

/// What to do with a request.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Models to try, in order.
    pub candidates: Vec<Candidate>,
    /// Lowers the request's output limit.
    pub max_output_tokens: Option<u32>,
    /// Leaves out what may cost more, in picodollars.
    pub max_cost: Option<u64>,
    /// What to do about the cache.
    pub cache: CacheDirective,
    /// Why this plan.
    pub reason: u32,
    /// Settings that later versions define.
    pub settings: Vec<(u32, u64)>,
}

impl Plan {
    /// A plan that tries these models in this order, without drawing.
    pub fn in_order(models: impl IntoIterator<Item = u32>, reason: u32) -> Self {
        let candidates = models.into_iter().enumerate();
        let candidates =
            candidates.map(|(place, model)| Candidate { model, probability: if place == 0 { 1.0 } else { 0.0 } });
        Self { candidates: candidates.collect(), reason, ..Self::default() }
    }

    /// The plan, where it is valid: one that is not is a fault of the policy.
    pub fn checked(self, offers: usize) -> Result<Self, PolicyError> {
        match self.check(offers) {
            Ok(()) => Ok(self),
            Err(message) => Err(PolicyError::Fault(Fault::new(FaultKind::InvalidPlan, message))),
        }
    }

    /// Says what is not valid about the plan, by the list in `router.wit`.
    pub fn check(&self, offers: usize) -> Result<(), String> {
        if self.candidates.is_empty() {
            return Err("the plan has no candidates".to_owned());
        }
        if self.candidates.len() > offers {
            return Err(format!("the plan has {} candidates for {offers} models", self.candidates.len()));
        }
        let mut sum = 0.0;
        for (place, candidate) in self.candidates.iter().enumerate() {
            let Candidate { model, probability } = *candidate;
            if model as usize >= offers {
                return Err(format!("candidate {place} names model {model} of {offers}"));
            }
            if self.candidates[..place].iter().any(|earlier| earlier.model == model) {
                return Err(format!("candidate {place} names model {model} again"));
            }
            if !probability.is_finite() || !(0.0..=1.0).contains(&probability) {
                return Err(format!("candidate {place} has the probability {probability}"));
            }
            sum += probability;
        }
        if (sum - 1.0).abs() > 1e-9 {
            return Err(format!("the probabilities add up to {sum}, not 1"));
        }
        if self.max_output_tokens == Some(0) {
            return Err("max-output-tokens is 0".to_owned());
        }
        if self.cache == CacheDirective::TtlSeconds(0) {
            return Err("ttl-seconds is 0".to_owned());
        }
        if let Some((code, _)) = self.settings.first() {
            return Err(format!("setting {code} is not known"));
        }
        Ok(())
    }
}

/// Why a policy gives no plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// It has no opinion. Not a fault.
    #[error("declined")]
    Declined,
    /// It refuses the request for this reason. Not a fault.
    #[error("refused the request, reason {0}")]
    Refused(u32),
    /// Something that it needs is not there. Not a fault.
    #[error("not available: {0}")]
    Unavailable(String),
    /// The host had no place to run it in. Not a fault of the policy.
    #[error("not run: {0}")]
    NotRun(String),
    /// It failed.
    #[error("{0}")]
    Fault(Fault),
}

/// Why a policy did not decide, without its words: they may be a caller's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Undecided {
    /// It has no opinion.
    Declined,
    /// Something that it needs is not there.
    Unavailable,
    /// The host had no place to run it in.
    NotRun,
    /// It failed.
    Fault(FaultKind),
}

impl Undecided {
    /// Why this is no decision. A refusal is one: who treats it as none, takes it for having no opinion.
    pub fn of(error: &PolicyError) -> Self {
        match error {
            PolicyError::Declined | PolicyError::Refused(_) => Self::Declined,
            PolicyError::Unavailable(_) => Self::Unavailable,
            PolicyError::NotRun(_) => Self::NotRun,
            PolicyError::Fault(fault) => Self::Fault(fault.kind),
        }
    }

    /// Whether it is a matter of what was asked. The others come of the machine, or of calls before: asked
    /// the same again, the policy may decide.
    pub fn is_of_the_question(self) -> bool {
        !matches!(self, Self::NotRun | Self::Fault(FaultKind::Deadline | FaultKind::Impure))
    }

    /// Its name, as in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Declined => "declined",
            Self::Unavailable => "unavailable",
            Self::NotRun => "not_run",
            Self::Fault(kind) => kind.name(),
        }
    }
}

/// How a policy failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What kind of failure it was.
    pub kind: FaultKind,
    /// What happened, for the operator.
    pub message: String,
    /// Line and column in the policy's source, where it has some.
    pub at: Option<(usize, usize)>,
}

impl Fault {
    /// A failure without a place in a source.
    pub fn new(kind: FaultKind, message: impl Into<String>) -> Self {
        Self { kind, message: bounded(message.into()), at: None }
    }
}

/// Bytes of a policy's message that are kept: it goes into records and the log.
const MESSAGE_BYTES: usize = 1_024;

/// A policy's message, cut, on one line.
pub fn bounded(message: String) -> String {
    one_line(message, MESSAGE_BYTES)
}

/// What a policy wrote, cut to so many bytes. Control characters are spaces: it begins no line of its
/// own in a log, and says nothing to a terminal.
pub fn one_line(mut text: String, most: usize) -> String {
    text.truncate(text.floor_char_boundary(most));
    if text.contains(char::is_control) { text.replace(char::is_control, " ") } else { text }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}: {}", self.kind.name(), self.message)?;
        match self.at {
            Some((line, column)) => write!(formatter, " (line {line}, column {column})"),
            None => Ok(()),
        }
    }
}

/// Kinds of failure of a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the names say it")]
pub enum FaultKind {
    Deadline,
    Memory,
    StackOverflow,
    Panic,
    Trap,
    Error,
    InvalidPlan,
    Impure,
    InvalidVerdict,
}

impl FaultKind {
    /// All kinds.
    pub const ALL: [Self; 9] = [
        Self::Deadline,
        Self::Memory,
        Self::StackOverflow,
        Self::Panic,
        Self::Trap,
        Self::Error,
        Self::InvalidPlan,
        Self::Impure,
        Self::InvalidVerdict,
    ];

    /// The name in metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Deadline => "deadline",
            Self::Memory => "memory",
            Self::StackOverflow => "stack_overflow",
            Self::Panic => "panic",
            Self::Trap => "trap",
            Self::Error => "error",
            Self::InvalidPlan => "invalid_plan",
            Self::Impure => "impure",
            Self::InvalidVerdict => "invalid_verdict",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_checked_by_the_contracts_list() {
        let plan = |candidates: &[(u32, f64)]| Plan {
            candidates: candidates.iter().map(|&(model, probability)| Candidate { model, probability }).collect(),
            ..Plan::default()
        };
        assert_eq!(plan(&[(1, 0.25), (0, 0.75)]).check(2), Ok(()));
        assert_eq!(Plan::in_order([2, 0], 1).check(3), Ok(()));
        for (bad, says) in [
            (plan(&[]), "no candidates"),
            (plan(&[(0, 1.0), (1, 0.0), (2, 0.0)]), "3 candidates for 2 models"),
            (plan(&[(2, 1.0)]), "model 2 of 2"),
            (plan(&[(1, 0.5), (1, 0.5)]), "model 1 again"),
            (plan(&[(0, f64::NAN)]), "probability NaN"),
            (plan(&[(0, f64::INFINITY)]), "probability inf"),
            (plan(&[(0, -0.5), (1, 1.5)]), "probability -0.5"),
            (plan(&[(0, 0.5), (1, 0.4)]), "add up to 0.9"),
            (Plan { max_output_tokens: Some(0), ..plan(&[(0, 1.0)]) }, "max-output-tokens is 0"),
            (Plan { cache: CacheDirective::TtlSeconds(0), ..plan(&[(0, 1.0)]) }, "ttl-seconds is 0"),
            (Plan { settings: vec![(7, 1)], ..plan(&[(0, 1.0)]) }, "setting 7"),
        ] {
            let error = bad.check(2).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn a_policys_words_stay_on_one_short_line() {
        let fault = Fault::new(FaultKind::Error, format!("it\n{{\"level\":\"INFO\"}}\u{1b}[2J{}", "ü".repeat(2_000)));
        assert!(fault.message.starts_with("it {\"level\":\"INFO\"} [2Jü"), "{fault}");
        assert!(fault.message.len() <= MESSAGE_BYTES && !fault.message.contains(char::is_control));
    }
}
