//! The native evaluator: what the data set, or a comparison with what is expected, says of an outcome.
//! Defined in `policies/EVOLVING.md`.

use crate::policy::{CaseEnding, Evaluator, Identity, Measure, Metric, PolicyError, Score, ScoreInput, part};

/// The evaluator `quality`.
#[derive(Debug)]
pub struct Quality(Identity);

impl Default for Quality {
    fn default() -> Self {
        Self(Identity::new("quality", env!("CARGO_PKG_VERSION"), Vec::new(), Vec::new()))
    }
}

fn metric(name: &str, measure: Measure, value: f64) -> Metric {
    Metric { name: name.to_owned(), measure, value }
}

/// The quality, and what is said of it.
fn quality(input: ScoreInput<'_>) -> Option<(f64, Option<&'static str>)> {
    let (case, outcome) = (input.case, input.outcome);
    if outcome.ending != CaseEnding::Answered {
        return Some((0.0, Some("there is no answer")));
    }
    if let Some(quality) = outcome.quality {
        return Some((quality, None));
    }
    let expected = case.expected.as_deref().filter(|_| !outcome.text.is_empty())?;
    if part(&outcome.text, 0).trim() == part(expected, 0).trim() {
        return Some((1.0, None));
    }
    Some((0.0, Some("the answer is not what is expected")))
}

impl Evaluator for Quality {
    fn identity(&self) -> &Identity {
        &self.0
    }

    fn score(&self, input: ScoreInput<'_>) -> Result<Score, PolicyError> {
        let mut score = Score::default();
        if let Some((quality, remark)) = quality(input) {
            score.metrics.push(metric("quality", Measure::Quality, quality));
            score.remark = remark.map(str::to_owned);
            let best = input.case.qualities.iter().fold(0.0, |best: f64, (_, quality)| best.max(*quality));
            if best > 0.0 {
                score.metrics.push(metric("of_best", Measure::Share, (quality / best).min(1.0)));
            }
        }
        if let Some(cost) = input.outcome.cost {
            score.metrics.push(metric("cost", Measure::Cost, cost as f64));
        }
        if let Some(latency) = input.outcome.latency_ms {
            score.metrics.push(metric("latency", Measure::Latency, f64::from(latency)));
        }
        if score.metrics.is_empty() { Err(PolicyError::Declined) } else { Ok(score) }
    }
}
