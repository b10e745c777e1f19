//! What is throttled is tried once more on its model, after a moment; whatever else failed is left to the
//! gateway's own healer.

use kairos_plugin::{
    Action, Attempt, Context, Failure, FailureKind, Features, Healer, Model, PluginError, Remedy, export,
};

struct MyPlugin;
export!(MyPlugin as healer);

impl Healer for MyPlugin {
    const NAME: &'static str = env!("CARGO_PKG_NAME");
    const REASONS: &'static [&'static str] = &["once-more"];

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
        let failed = failure.attempt;
        let is_first = history.iter().all(|earlier| earlier.model != failed.model);
        if failed.kind != FailureKind::Throttled || !is_first {
            return Err(PluginError::Declined);
        }
        Ok(Remedy::new(Action::Retry, 1).after(0, 200, 1_000))
    }
}

#[cfg(test)]
mod tests {
    use kairos_plugin::testing::{Context, attempt, failure, features, models};

    use super::*;

    #[test]
    fn once_and_no_more() {
        let throttled = attempt(0, FailureKind::Throttled);
        let failure = failure(throttled, &[1]);
        let heal = |history: &[Attempt]| MyPlugin.heal(&Context::default(), &features(), &failure, history, &models(2));
        assert!(matches!(heal(&[]).unwrap().action, Action::Retry));
        assert!(matches!(heal(&[throttled]), Err(PluginError::Declined)));
    }
}
