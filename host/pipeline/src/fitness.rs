//! Scores of many outcomes, taken together: what a run of an evaluator comes to.

use std::collections::BTreeMap;

use crate::policy::{MOST_METRICS, Measure, Score, Summary};

/// Metrics so far, by name.
#[derive(Clone, Debug, Default)]
pub struct Tally(BTreeMap<String, Sum>);

/// One metric so far.
#[derive(Clone, Copy, Debug)]
struct Sum {
    measure: Measure,
    n: u32,
    /// Of whole numbers; exact.
    whole: u128,
    /// Of parts.
    parts: f64,
}

impl Sum {
    fn mean(&self) -> f64 {
        let n = f64::from(self.n.max(1));
        if self.measure.is_whole() { self.whole as f64 / n } else { self.parts / n }
    }
}

impl Tally {
    /// Takes a score that is valid. Says why it cannot stand beside those before it; nothing of it is taken then.
    pub fn add(&mut self, score: &Score) -> Result<(), String> {
        let mut names = self.0.len();
        for metric in &score.metrics {
            match self.0.get(&metric.name) {
                Some(known) if known.measure != metric.measure => {
                    let (name, before, now) = (&metric.name, known.measure.name(), metric.measure.name());
                    return Err(format!("the metric {name} was a `{before}` before, and is a `{now}` now"));
                }
                Some(_) => {}
                None => names += 1,
            }
        }
        if names > MOST_METRICS {
            return Err(format!("there are {names} names of metrics by now; {MOST_METRICS} are allowed in a run"));
        }
        for metric in &score.metrics {
            let new = Sum { measure: metric.measure, n: 0, whole: 0, parts: 0.0 };
            let sum = self.0.entry(metric.name.clone()).or_insert(new);
            sum.n = sum.n.saturating_add(1);
            if metric.measure.is_whole() {
                sum.whole = sum.whole.saturating_add(metric.value as u128);
            } else {
                sum.parts += metric.value;
            }
        }
        Ok(())
    }

    /// Each metric over all outcomes that have it, by name.
    pub fn summary(&self) -> Vec<Summary> {
        let one = |(name, sum): (&String, &Sum)| Summary {
            name: name.clone(),
            measure: sum.measure,
            mean: sum.mean(),
            n: sum.n,
        };
        self.0.iter().map(one).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Metric, WHOLE_BELOW};

    fn score(metrics: &[(&str, Measure, f64)]) -> Score {
        let one = |(name, measure, value): &(&str, Measure, f64)| Metric {
            name: (*name).to_owned(),
            measure: *measure,
            value: *value,
        };
        Score { metrics: metrics.iter().map(one).collect(), ..Score::default() }
    }

    #[test]
    fn what_is_not_known_counts_for_nothing() {
        let mut tally = Tally::default();
        tally.add(&score(&[("q", Measure::Quality, 1.0), ("c", Measure::Cost, WHOLE_BELOW - 1.0)])).unwrap();
        tally.add(&score(&[("q", Measure::Quality, 0.5)])).unwrap();
        tally.add(&score(&[("c", Measure::Cost, WHOLE_BELOW - 1.0)])).unwrap();
        let means: Vec<_> = tally.summary().into_iter().map(|one| (one.name, one.mean, one.n)).collect();
        assert_eq!(means, [("c".to_owned(), WHOLE_BELOW - 1.0, 2), ("q".to_owned(), 0.75, 2)]);
    }

    #[test]
    fn a_name_keeps_its_measure() {
        let mut tally = Tally::default();
        tally.add(&score(&[("q", Measure::Quality, 1.0)])).unwrap();
        let error = tally.add(&score(&[("a", Measure::Count, 1.0), ("q", Measure::Share, 1.0)])).unwrap_err();
        assert_eq!(error, "the metric q was a `quality` before, and is a `share` now");
        assert_eq!(tally.summary().len(), 1, "nothing of it was taken");
        let many: Vec<_> = (0..32).map(|place| format!("m{place}")).collect();
        let many: Vec<_> = many.iter().map(|name| (name.as_str(), Measure::Count, 1.0)).collect();
        assert!(tally.add(&score(&many)).unwrap_err().contains("33 names"));
    }
}
