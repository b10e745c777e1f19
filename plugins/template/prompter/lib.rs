//! Requests about code are told to be answered with code only; whatever else there is goes as it came.

use kairos_plugin::{Context, Draft, Edits, Features, Model, PluginError, Prompter, Task, export};

struct MyPlugin;
export!(MyPlugin as prompter);

impl Prompter for MyPlugin {
    const NAME: &'static str = env!("CARGO_PKG_NAME");
    const REASONS: &'static [&'static str] = &["code"];

    fn new(_config: &str) -> Result<Self, PluginError> {
        Ok(Self)
    }

    fn render(
        &self,
        _: &Context,
        features: &Features,
        _: &[Model],
        _: u32,
        _: &Draft,
    ) -> Result<Edits, PluginError> {
        if features.task != Task::Code {
            return Err(PluginError::Declined);
        }
        let mut edits = Edits::new(1);
        edits.system_after = Some("Answer with code only.".to_owned());
        Ok(edits)
    }
}

#[cfg(test)]
mod tests {
    use kairos_plugin::testing::{Context, Draft, features, models};

    use super::*;

    #[test]
    fn code_only_for_code() {
        let draft = Draft::default().said(true, "Write it.");
        let render = |task| {
            let features = Features { task, ..features() };
            MyPlugin.render(&Context::default(), &features, &models(1), 0, &draft)
        };
        assert!(render(Task::Code).unwrap().system_after.is_some());
        assert!(matches!(render(Task::General), Err(PluginError::Declined)));
    }
}
