//! What a healer sees of an attempt that failed, and what it answers: `healing` in the contract.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Fault, FaultKind, Features, Identity, MAX_OFFERS, Offer, PolicyError, RequestInfo};

/// What went wrong, as a healer sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[repr(u8)]
#[allow(missing_docs, reason = "the contract documents each")]
pub enum FailureKind {
    Throttled,
    Quota,
    Credentials,
    AccessDenied,
    ModelNotFound,
    ModelNotReady,
    Rejected,
    TooLong,
    Filtered,
    Conflict,
    ModelError,
    ModelTimeout,
    Server,
    Unavailable,
    Timeout,
    Network,
    BrokenAnswer,
    Overloaded,
    Resting,
    Budget,
    Other,
}

impl FailureKind {
    /// All, in the contract's order.
    pub const ALL: [Self; 21] = [
        Self::Throttled,
        Self::Quota,
        Self::Credentials,
        Self::AccessDenied,
        Self::ModelNotFound,
        Self::ModelNotReady,
        Self::Rejected,
        Self::TooLong,
        Self::Filtered,
        Self::Conflict,
        Self::ModelError,
        Self::ModelTimeout,
        Self::Server,
        Self::Unavailable,
        Self::Timeout,
        Self::Network,
        Self::BrokenAnswer,
        Self::Overloaded,
        Self::Resting,
        Self::Budget,
        Self::Other,
    ];

    /// The contract's name.
    pub fn name(self) -> &'static str {
        [
            "throttled",
            "quota",
            "credentials",
            "access-denied",
            "model-not-found",
            "model-not-ready",
            "rejected",
            "too-long",
            "filtered",
            "conflict",
            "model-error",
            "model-timeout",
            "server",
            "unavailable",
            "timeout",
            "network",
            "broken-answer",
            "overloaded",
            "resting",
            "budget",
            "other",
        ][self as usize]
    }
}

/// One attempt that failed. See `attempt` in the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the contract documents each field")]
pub struct FailedAttempt {
    pub model: u32,
    pub kind: FailureKind,
    pub status: Option<u16>,
    pub retry_after_ms: Option<u32>,
    pub may_be_billed: bool,
    pub cost: u64,
    pub duration_ms: u32,
    pub waited_ms: u32,
    pub refreshed: bool,
    pub text_tokens: u32,
}

/// What the host can do for a request: one bit each, in the contract's order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Abilities(pub u8);

impl Abilities {
    /// Fetch credentials anew.
    pub const REFRESH_CREDENTIALS: Self = Self(1 << 0);
    /// Leave turns of the conversation out.
    pub const SHORTEN_PROMPT: Self = Self(1 << 1);
    /// Let a local model answer.
    pub const ANSWER_LOCALLY: Self = Self(1 << 2);

    /// Names of the bits.
    pub const NAMES: [&'static str; 3] = ["refresh-credentials", "shorten-prompt", "answer-locally"];

    /// Whether all of `other` is here.
    pub fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// The attempt that failed, and what is left to do. See `failure` in the contract.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the contract documents each field")]
pub struct FailureFacts {
    pub attempt: FailedAttempt,
    pub left: Vec<u32>,
    pub max_cost: Option<u64>,
    pub attempts_left: u32,
    pub time_left_ms: u32,
    pub can: Abilities,
}

/// All that a healer is asked with.
#[derive(Clone, Copy, Debug)]
pub struct HealInput<'a> {
    /// What is not a number.
    pub request: &'a Arc<RequestInfo>,
    /// What the host knows of the request, now.
    pub features: &'a Features,
    /// The attempt that failed.
    pub failure: &'a FailureFacts,
    /// The attempts before it, the oldest first.
    pub history: &'a [FailedAttempt],
    /// The models on offer, as they are now.
    pub models: &'a [Offer],
}

/// Models that a healer is shown, at most: those that the router was, and the operator's fallbacks.
pub const MOST_HEALER_MODELS: usize = 2 * MAX_OFFERS;

/// The longest part of a wait, in milliseconds.
pub const MOST_WAIT_MS: u32 = 60_000;

/// A wait before an attempt, in milliseconds. See `wait` in the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the contract documents each field")]
pub struct Wait {
    pub least: u32,
    pub base: u32,
    pub cap: u32,
}

/// What to do after a failure. See `action` in the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the contract documents each")]
pub enum Action {
    Next,
    Retry,
    Switch(u32),
    RefreshCredentials,
    ShortenPrompt(u32),
    AnswerLocally,
    GiveUp(Option<u32>),
}

impl Action {
    /// The contract's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Next => "next",
            Self::Retry => "retry",
            Self::Switch(_) => "switch",
            Self::RefreshCredentials => "refresh-credentials",
            Self::ShortenPrompt(_) => "shorten-prompt",
            Self::AnswerLocally => "answer-locally",
            Self::GiveUp(_) => "give-up",
        }
    }
}

/// What follows, and why. See `remedy` in the contract.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the contract documents each field")]
pub struct Remedy {
    pub action: Action,
    pub wait: Option<Wait>,
    pub max_output_tokens: Option<u32>,
    pub reason: u32,
    pub settings: Vec<(u32, u64)>,
}

impl Remedy {
    /// This at once, for this reason.
    pub fn new(action: Action, reason: u32) -> Self {
        Self { action, wait: None, max_output_tokens: None, reason, settings: Vec::new() }
    }

    /// The remedy, where it is valid: one that is not is a fault of the policy.
    pub fn checked(self, input: HealInput<'_>) -> Result<Self, PolicyError> {
        match self.check(input) {
            Ok(()) => Ok(self),
            Err(message) => Err(PolicyError::Fault(Fault::new(FaultKind::InvalidAnswer, message))),
        }
    }

    /// Says what is not valid about it, by the list in `healer.wit`.
    pub fn check(&self, input: HealInput<'_>) -> Result<(), String> {
        let HealInput { failure, history, models, .. } = input;
        let cannot = |ability: Abilities| !failure.can.has(ability);
        match self.action {
            Action::Switch(model) => may_switch(model, failure, models)?,
            Action::ShortenPrompt(tokens) if tokens == 0 || tokens >= failure.attempt.text_tokens => {
                let sent = failure.attempt.text_tokens;
                return Err(format!("shorten-prompt names {tokens} tokens; the attempt was sent with {sent}"));
            }
            Action::GiveUp(Some(attempt)) if attempt as usize >= history.len() => {
                return Err(format!("give-up names attempt {attempt} of {}", history.len()));
            }
            Action::RefreshCredentials if cannot(Abilities::REFRESH_CREDENTIALS) => {
                return Err("refresh-credentials is not possible".to_owned());
            }
            Action::ShortenPrompt(_) if cannot(Abilities::SHORTEN_PROMPT) => {
                return Err("shorten-prompt is not possible".to_owned());
            }
            Action::AnswerLocally if cannot(Abilities::ANSWER_LOCALLY) => {
                return Err("answer-locally is not possible".to_owned());
            }
            _ => {}
        }
        match (self.action, self.wait) {
            (Action::Retry, None) => return Err("retry has no wait".to_owned()),
            (Action::AnswerLocally | Action::GiveUp(_), Some(_)) => {
                return Err(format!("{} has a wait", self.action.name()));
            }
            (_, Some(Wait { least, base, cap })) if least > MOST_WAIT_MS || base > cap || cap > MOST_WAIT_MS => {
                let most = MOST_WAIT_MS;
                return Err(format!("a wait of at least {least}, base {base} and cap {cap}: 0 to {most}, base to cap"));
            }
            _ => {}
        }
        if self.max_output_tokens == Some(0) {
            return Err("max-output-tokens is 0".to_owned());
        }
        match self.settings.first() {
            Some((code, _)) => Err(format!("setting {code} is not known")),
            None => Ok(()),
        }
    }
}

fn may_switch(model: u32, failure: &FailureFacts, models: &[Offer]) -> Result<(), String> {
    let Some(offer) = models.get(model as usize) else {
        return Err(format!("switch names model {model} of {}", models.len()));
    };
    if model == failure.attempt.model {
        return Err(format!("switch names model {model}, which just failed"));
    }
    if failure.max_cost.is_some_and(|most| offer.worst_case_cost > most) {
        return Err(format!("switch names model {model}, which costs more than the plan allows"));
    }
    Ok(())
}

/// Something that decides what follows a failed attempt. Synchronous and bounded, as a router is.
pub trait Healer: Send + Sync {
    /// Who decides.
    fn identity(&self) -> &Identity;

    /// Decides. The remedy is checked by the caller.
    fn heal(&self, input: HealInput<'_>) -> Result<Remedy, PolicyError>;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Complexity, Content, Family, Needs, Priority, Route, Strengths, Task};

    #[derive(Debug)]
    struct Nobody;

    impl crate::policy::Names for Nobody {
        fn answering(&self, _: &str) -> Option<Arc<str>> {
            None
        }
    }

    fn offer(worst_case_cost: u64) -> Offer {
        Offer {
            names: 0,
            family: Family::Nova,
            route: Route::InRegion,
            region: 0,
            legacy: false,
            strengths: Strengths(0),
            capabilities: Needs(0),
            max_input_tokens: 1_000,
            max_output_tokens: 100,
            input_price: 1,
            output_price: 1,
            cache_read_price: None,
            cache_write_5m_price: None,
            cache_write_1h_price: None,
            worst_case_cost,
            latency_ms: 1,
            successes: 0,
            failures: 0,
            cached_tokens: 0,
            cooldown_ms: 0,
            in_flight: 0,
            quota_left: None,
        }
    }

    #[test]
    fn remedies_that_are_not_valid_say_why() {
        let request = Arc::new(RequestInfo {
            content: Content::default(),
            tags: Default::default(),
            task_label: None,
            asked_model: "auto".to_owned(),
            model_ids: Arc::default(),
            regions: Vec::new(),
            names: Arc::new(Nobody),
            learned: Arc::default(),
        });
        let features = Features {
            task: Task::General,
            task_hinted: false,
            complexity: Complexity::Low,
            complexity_hinted: false,
            estimated_tokens: 100,
            max_output_tokens: None,
            max_latency_ms: None,
            accuracy: 0.5,
            cost_sensitivity: 0.5,
            priority: Priority::Normal,
            needs: Needs(0),
            streaming: false,
            turns: 3,
            text_bytes: 400,
            named: None,
            budget_remaining: None,
            budget_used: 0.0,
            budget_level: 0,
        };
        let attempt = FailedAttempt {
            model: 0,
            kind: FailureKind::Throttled,
            status: Some(429),
            retry_after_ms: None,
            may_be_billed: false,
            cost: 0,
            duration_ms: 3,
            waited_ms: 0,
            refreshed: false,
            text_tokens: 100,
        };
        let failure = FailureFacts {
            attempt,
            left: vec![1],
            max_cost: Some(10),
            attempts_left: 3,
            time_left_ms: 1_000,
            can: Abilities::SHORTEN_PROMPT,
        };
        let models = [offer(5), offer(10), offer(11)];
        let input = HealInput {
            request: &request,
            features: &features,
            failure: &failure,
            history: &[attempt],
            models: &models,
        };
        let plain = |action| Remedy::new(action, 1);
        let wait = |least, base, cap| Remedy { wait: Some(Wait { least, base, cap }), ..plain(Action::Retry) };
        for (remedy, says) in [
            (plain(Action::Switch(3)), "model 3 of 3"),
            (plain(Action::Switch(0)), "just failed"),
            (plain(Action::Switch(2)), "more than the plan allows"),
            (plain(Action::ShortenPrompt(0)), "names 0 tokens"),
            (plain(Action::ShortenPrompt(100)), "sent with 100"),
            (plain(Action::GiveUp(Some(1))), "attempt 1 of 1"),
            (plain(Action::RefreshCredentials), "not possible"),
            (plain(Action::AnswerLocally), "not possible"),
            (plain(Action::Retry), "no wait"),
            (wait(60_001, 0, 0), "at least 60001"),
            (wait(0, 2, 1), "base 2 and cap 1"),
            (wait(0, 1, 60_001), "cap 60001"),
            (Remedy { action: Action::GiveUp(None), ..wait(1, 1, 1) }, "give-up has a wait"),
            (Remedy { max_output_tokens: Some(0), ..plain(Action::Next) }, "max-output-tokens is 0"),
            (Remedy { settings: vec![(7, 1)], ..plain(Action::Next) }, "setting 7"),
        ] {
            let error = remedy.check(input).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
        let valid = [plain(Action::Switch(1)), plain(Action::ShortenPrompt(99)), plain(Action::GiveUp(Some(0)))];
        for remedy in valid.into_iter().chain([plain(Action::Next), wait(60_000, 0, 60_000)]) {
            assert_eq!(remedy.check(input), Ok(()));
        }
    }
}
