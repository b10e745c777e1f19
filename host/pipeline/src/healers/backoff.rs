//! Elsewhere at once, else again after a while. The default.

use serde::{Deserialize, Serialize};

use crate::policy::{Abilities, Action, FailureKind, HealInput, Healer, Identity, PolicyError, Remedy, Wait};

/// The `backoff` healer of `policies/HEALING.md`.
pub struct Backoff {
    identity: Identity,
    bounds: BackoffBounds,
}

/// How often, and how long apart, one model is asked again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackoffBounds {
    /// Repetitions on one model, at most.
    pub retries: u32,
    /// The first wait is below this, in milliseconds; each further one may be twice as long.
    pub base_ms: u32,
    /// No wait is longer, in milliseconds, unless the failure itself asks for it.
    pub cap_ms: u32,
}

impl Default for BackoffBounds {
    fn default() -> Self {
        Self { retries: 2, base_ms: 500, cap_ms: 8_000 }
    }
}

const ELSEWHERE: u32 = 1;
const AGAIN: u32 = 2;
const RENEWED: u32 = 3;
const HOPELESS: u32 = 4;
const TRIED: u32 = 5;
const LATER: u32 = 6;

impl Backoff {
    /// Within these bounds.
    pub fn new(bounds: BackoffBounds) -> Self {
        let reasons = [
            (ELSEWHERE, "elsewhere"),
            (AGAIN, "again"),
            (RENEWED, "renewed"),
            (HOPELESS, "hopeless"),
            (TRIED, "tried"),
            (LATER, "later"),
        ];
        // With it, what it decided can be decided again.
        let BackoffBounds { retries, base_ms, cap_ms } = bounds;
        let setting = format!(r#"{{"retries":{retries},"base_ms":{base_ms},"cap_ms":{cap_ms}}}"#);
        Self { identity: crate::routers::built_in("backoff", &reasons, &[]).loaded_with(setting), bounds }
    }

    fn remedy(&self, input: HealInput<'_>) -> Remedy {
        let HealInput { failure, history, .. } = input;
        let failed = failure.attempt;
        match failed.kind {
            FailureKind::Credentials if failure.can.has(Abilities::REFRESH_CREDENTIALS) => {
                return Remedy::new(Action::RefreshCredentials, RENEWED);
            }
            FailureKind::Credentials
            | FailureKind::Rejected
            | FailureKind::TooLong
            | FailureKind::Filtered
            | FailureKind::Conflict
            | FailureKind::Other => return Remedy::new(Action::GiveUp(None), HOPELESS),
            _ => {}
        }
        if !failure.left.is_empty() {
            return Remedy::new(Action::Next, ELSEWHERE);
        }
        let passes = matches!(
            failed.kind,
            FailureKind::Throttled | FailureKind::ModelNotReady | FailureKind::Unavailable | FailureKind::Network
        );
        let repeated = history.iter().filter(|earlier| earlier.model == failed.model).count();
        // What may have been billed is not paid for twice.
        if passes && !failed.may_be_billed && repeated < self.bounds.retries as usize {
            let BackoffBounds { base_ms, cap_ms, .. } = self.bounds;
            // The caller is told how long; it need not wait with its connection open.
            if failed.retry_after_ms.is_some_and(|asked| asked > cap_ms) {
                return Remedy::new(Action::GiveUp(None), LATER);
            }
            let wait = Wait { least: 0, base: base_ms, cap: cap_ms };
            return Remedy { wait: Some(wait), ..Remedy::new(Action::Retry, AGAIN) };
        }
        Remedy::new(Action::GiveUp(None), TRIED)
    }
}

impl Healer for Backoff {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn heal(&self, input: HealInput<'_>) -> Result<Remedy, PolicyError> {
        Ok(self.remedy(input))
    }
}
