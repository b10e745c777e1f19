//! What the data set says of an outcome, or a comparison with what is expected. Defined in
//! `policies/EVOLVING.md`, evaluator `quality`.

use kairos_plugin::{Case, CaseEnding, CaseOutcome, Evaluator, Host, Measure, PluginError, Score, export};

struct Quality;
export!(Quality as evaluator);

/// The quality, and what is said of it.
fn quality(case: &Case, outcome: &CaseOutcome) -> Option<(f64, Option<&'static str>)> {
    if !matches!(outcome.ending(), CaseEnding::Answered) {
        return Some((0.0, Some("there is no answer")));
    }
    if let Some(quality) = outcome.quality() {
        return Some((quality, None));
    }
    let expected = case.expected().filter(|_| outcome.text_bytes() > 0)?;
    if outcome.text(0).trim() == expected.trim() {
        return Some((1.0, None));
    }
    Some((0.0, Some("the answer is not what is expected")))
}

impl Evaluator for Quality {
    const NAME: &'static str = "quality";

    fn new(_config: &str) -> Result<Self, PluginError> {
        Ok(Self)
    }

    fn score(&self, _: &Host, case: &Case, outcome: &CaseOutcome) -> Result<Score, PluginError> {
        let mut score = Score::new();
        if let Some((quality, remark)) = quality(case, outcome) {
            score = score.metric("quality", Measure::Quality, quality);
            if let Some(remark) = remark {
                score = score.remark(remark);
            }
            let best = case.qualities().iter().fold(0.0f64, |best, (_, quality)| best.max(*quality));
            if best > 0.0 {
                score = score.metric("of_best", Measure::Share, (quality / best).min(1.0));
            }
        }
        if let Some(cost) = outcome.cost() {
            score = score.metric("cost", Measure::Cost, cost as f64);
        }
        if let Some(latency) = outcome.latency_ms() {
            score = score.metric("latency", Measure::Latency, f64::from(latency));
        }
        if score.metrics.is_empty() { Err(PluginError::Declined) } else { Ok(score) }
    }
}

#[cfg(test)]
mod tests {
    use kairos_plugin::testing::{Case, CaseOutcome, Host, answered, value};

    use super::*;

    #[test]
    fn the_data_sets_word_comes_first() {
        let case = Case { expected: Some("Oslo".into()), qualities: vec![("a".into(), 0.5)], ..Case::default() };
        let of = |outcome: &CaseOutcome| {
            let score = Quality.score(&Host::default(), &case, outcome).unwrap();
            (value(&score.metrics, "quality"), value(&score.metrics, "of_best"))
        };
        assert_eq!(of(&answered(" Oslo ")), (Some(1.0), Some(1.0)));
        assert_eq!(of(&CaseOutcome { quality: Some(0.25), ..answered("Oslo") }), (Some(0.25), Some(0.5)));
        assert_eq!(of(&CaseOutcome { ending: CaseEnding::Refused, ..answered("Oslo") }), (Some(0.0), Some(0.0)));
        let nothing = Quality.score(&Host::default(), &Case::default(), &answered("Oslo"));
        assert!(matches!(nothing, Err(PluginError::Declined)));
    }
}
