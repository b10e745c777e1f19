//! Whoever is in a hurry gets the fastest model; other requests are left to the gateway's own router.

use kairos_plugin::{Context, Features, Model, Plan, PluginError, Router, export};

struct MyPlugin;
export!(MyPlugin as router);

impl Router for MyPlugin {
    const NAME: &'static str = env!("CARGO_PKG_NAME");
    const REASONS: &'static [&'static str] = &["in-a-hurry"];

    fn new(_config: &str) -> Result<Self, PluginError> {
        Ok(Self)
    }

    fn route(&self, _: &Context, features: &Features, models: &[Model]) -> Result<Plan, PluginError> {
        if features.max_latency_ms.is_none() {
            return Err(PluginError::Declined);
        }
        let fastest = (0..).zip(models).min_by_key(|(_, model)| model.latency_ms);
        let (fastest, _) = fastest.ok_or(PluginError::Declined)?;
        Ok(Plan::new([fastest], 1))
    }
}

#[cfg(test)]
mod tests {
    use kairos_plugin::testing::{Context, features, models};

    use super::*;

    #[test]
    fn the_fastest_goes_first() {
        let mut offered = models(3);
        offered[2].latency_ms = 1;
        let hurried = Features { max_latency_ms: Some(500), ..features() };
        let plan = MyPlugin.route(&Context::default(), &hurried, &offered).unwrap();
        assert_eq!((plan.candidates[0].model, plan.reason), (2, 1));
    }
}
