//! An answer is as good as the share of the expected words that are in it, and the shorter the better.

use kairos_plugin::{Case, CaseEnding, CaseOutcome, Evaluator, Host, Measure, PluginError, Score, export};

struct MyPlugin;
export!(MyPlugin as evaluator);

impl Evaluator for MyPlugin {
    const NAME: &'static str = env!("CARGO_PKG_NAME");

    fn new(_config: &str) -> Result<Self, PluginError> {
        Ok(Self)
    }

    fn score(&self, _: &Host, case: &Case, outcome: &CaseOutcome) -> Result<Score, PluginError> {
        let expected = case.expected().filter(|_| matches!(outcome.ending(), CaseEnding::Answered));
        let expected = expected.ok_or(PluginError::Declined)?;
        let words: Vec<&str> = expected.split_whitespace().collect();
        if words.is_empty() {
            return Err(PluginError::Declined);
        }
        let answer = outcome.text(0);
        let found = words.iter().filter(|word| answer.contains(**word)).count();
        let score = Score::new()
            .metric("words", Measure::Quality, found as f64 / words.len() as f64)
            .metric("bytes", Measure::Count, f64::from(outcome.text_bytes()));
        if found == words.len() {
            return Ok(score);
        }
        Ok(score.remark(&format!("{} of the expected words are missing", words.len() - found)))
    }
}

#[cfg(test)]
mod tests {
    use kairos_plugin::testing::{Case, Host, answered, value};

    use super::*;

    #[test]
    fn words_are_counted() {
        let case = Case { expected: Some("Oslo Norway".into()), ..Case::default() };
        let score = MyPlugin.score(&Host::default(), &case, &answered("Oslo")).unwrap();
        assert_eq!(value(&score.metrics, "words"), Some(0.5));
    }
}
