//! Elsewhere at once, else again after a while. Defined in `policies/HEALING.md`, healer `backoff`.

use kairos_plugin::{
    Abilities, Action, Attempt, Context, Failure, FailureKind, Features, Healer, Model, PluginError, Remedy, export,
};

struct Backoff;
export!(Backoff as healer);

/// Repetitions on one model.
const RETRIES: usize = 2;
/// Milliseconds.
const BASE: u32 = 500;
const CAP: u32 = 8_000;

impl Healer for Backoff {
    const NAME: &'static str = "backoff";
    const REASONS: &'static [&'static str] = &["elsewhere", "again", "renewed", "hopeless", "tried", "later"];

    fn new(_config: &str) -> Result<Self, PluginError> {
        Ok(Self)
    }

    fn heal(
        &self,
        _: &Context,
        _: &Features,
        failure: &Failure,
        history: &[Attempt],
        _: &[Model],
    ) -> Result<Remedy, PluginError> {
        use FailureKind::{
            Conflict, Credentials, Filtered, ModelNotReady, Network, Other, Rejected, Throttled, TooLong, Unavailable,
        };
        let failed = failure.attempt;
        Ok(match failed.kind {
            Rejected | TooLong | Filtered | Conflict | Other => Remedy::new(Action::GiveUp(None), 4),
            Credentials if failure.can.contains(Abilities::REFRESH_CREDENTIALS) => {
                Remedy::new(Action::RefreshCredentials, 3)
            }
            Credentials => Remedy::new(Action::GiveUp(None), 4),
            _ if !failure.left.is_empty() => Remedy::new(Action::Next, 1),
            Throttled | ModelNotReady | Unavailable | Network
                if !failed.may_be_billed
                    && history.iter().filter(|earlier| earlier.model == failed.model).count() < RETRIES =>
            {
                // The caller is told how long; it need not wait with its connection open.
                if failed.retry_after_ms.is_some_and(|asked| asked > CAP) {
                    return Ok(Remedy::new(Action::GiveUp(None), 6));
                }
                Remedy::new(Action::Retry, 2).after(0, BASE, CAP)
            }
            _ => Remedy::new(Action::GiveUp(None), 5),
        })
    }
}
