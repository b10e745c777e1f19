//! What would have come of requests on average, from those whose actions another policy might have taken
//! too.
//!
//! For each record the doubly robust difference (M. Dudík, J. Langford, L. Li, "Doubly robust policy
//! evaluation and learning", 2011): what a simple model of the outcome says that the other actions would
//! have brought, corrected by what was seen, weighed by how much likelier the action is now. With the
//! chances of then, which are recorded, its expectation is right whatever the simple model says.
//!
//! Contexts differ from record to record, so what is estimated is the mean of differences that vary. The
//! interval is an empirical Bernstein bound with one bet for all records, fixed beforehand (after A. Maurer
//! and M. Pontil, 2009, in the form of I. Waudby-Smith and A. Ramdas, 2024, §3): it holds for that mean,
//! whatever drifts. The first tenth of the records sets the scale and the bet, and is not counted.

use std::collections::HashMap;
use std::sync::Arc;

/// Records that are needed to say anything.
const FEWEST: usize = 100;
/// One in so many sets the scale.
const PILOT: usize = 10;
/// Of the scale's records, the part that lies below it is this; what lies above is cut.
const CUT: f64 = 0.99;
/// And that, so many times.
const ABOVE_CUT: f64 = 4.0;
/// The chance that the interval is wrong.
pub(super) const ALPHA: f64 = 0.05;
/// The boldest bet, and the least variance that is expected: of numbers in [0, 1].
const BOLDEST: f64 = 0.75;
const LEAST_VARIANCE: f64 = 1e-6;

/// One record, as far as one number of its outcome goes.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    /// What was observed.
    pub(super) observed: f64,
    /// For each action: its chance now and then, and what the simple model says that it brings.
    pub(super) actions: Vec<(f64, f64, f64)>,
    /// The action that was taken.
    pub(super) taken: usize,
}

impl Sample {
    /// The doubly robust difference, with what is above `most` cut.
    fn difference(&self, most: f64) -> f64 {
        let expected: f64 = self.actions.iter().map(|(now, then, brings)| (now - then) * brings.min(most)).sum();
        let (now, then, brings) = self.actions[self.taken];
        expected + (now / then - 1.0) * (self.observed.min(most) - brings.min(most))
    }
}

/// A mean, and the interval that holds it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Estimate {
    /// The mean difference.
    pub(crate) mean: f64,
    /// The lower end.
    pub(crate) low: f64,
    /// The upper end.
    pub(crate) high: f64,
    /// What is above it was cut.
    pub(crate) most: f64,
    /// Records that were counted.
    pub(crate) count: usize,
}

/// Estimates the mean difference. `most_weight` is the most that an action can be likelier now. None
/// where there are too few records to say anything.
pub(super) fn estimate(samples: &[Sample], most_weight: f64) -> Option<Estimate> {
    if samples.len() < FEWEST {
        return None;
    }
    let (pilot, counted) = samples.split_at(samples.len() / PILOT);
    let mut seen: Vec<f64> = pilot.iter().map(|sample| sample.observed).collect();
    seen.sort_by(f64::total_cmp);
    let high = seen[((seen.len() - 1) as f64 * CUT) as usize];
    let most = if high > 0.0 { ABOVE_CUT * high } else { 1.0 };
    // |Σ(now − then)·brings| ≤ most, |(now/then − 1)(seen − brings)| ≤ most_weight·most.
    let range = most * (1.0 + most_weight);
    let within = |sample: &Sample| (sample.difference(most) / range).clamp(-1.0, 1.0) / 2.0 + 0.5;
    let (bound, mean) = bernstein(pilot.iter().map(within), counted.iter().map(within), ALPHA);
    let of = |x: f64| (2.0 * x - 1.0) * range;
    let (low, high) = (of(mean - bound).max(-range), of(mean + bound).min(range));
    Some(Estimate { mean: of(mean), low, high, most, count: counted.len() })
}

/// Half the width of an interval for the mean of numbers in [0, 1], and that mean. The bet is made by
/// what the pilot shows.
fn bernstein(pilot: impl Iterator<Item = f64>, counted: impl ExactSizeIterator<Item = f64>, alpha: f64) -> (f64, f64) {
    let pilot: Vec<f64> = pilot.collect();
    let center = pilot.iter().sum::<f64>() / pilot.len() as f64;
    let variance = pilot.iter().map(|x| (x - center).powi(2)).sum::<f64>() / pilot.len() as f64;
    let (n, log) = (counted.len() as f64, (2.0 / alpha).ln());
    let bet = (2.0 * log / (n * variance.max(LEAST_VARIANCE))).sqrt().min(BOLDEST);
    let (mut sum, mut squares, mut count) = (center, 0.0, 1.0);
    let mut total = 0.0;
    for x in counted {
        // The mean of what came before, the pilot's counting as one.
        squares += (x - sum / count).powi(2);
        total += x;
        (sum, count) = (sum + x, count + 1.0);
    }
    let loss = -(-bet).ln_1p() - bet;
    ((log + loss * squares) / (bet * n), total / n)
}

/// What a model brings for a task, as far as the records say that had ended before.
#[derive(Default)]
pub(super) struct Simple {
    by_model: HashMap<(Arc<str>, String), (f64, f64)>,
    all: (f64, f64),
}

impl Simple {
    /// A record has ended.
    pub(super) fn learn(&mut self, model: &Arc<str>, task: &str, observed: f64) {
        for (sum, count) in [self.by_model.entry((Arc::clone(model), task.to_owned())).or_default(), &mut self.all] {
            *sum += observed;
            *count += 1.0;
        }
    }

    /// What an action brings that begins with this model; what all bring, where nothing is known of it.
    pub(super) fn expects(&self, model: &Arc<str>, task: &str) -> f64 {
        let known = self.by_model.get(&(Arc::clone(model), task.to_owned())).unwrap_or(&self.all);
        if known.1 > 0.0 { known.0 / known.1 } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{RngExt as _, SeedableRng as _};

    use super::*;

    /// Records of two actions of chance 0.9 and 0.1, replayed with the chances turned round. The
    /// difference of the second action drifts; the simple model is wrong.
    fn drifting(seed: u64, n: usize, gain: impl Fn(f64) -> f64) -> (Vec<Sample>, f64) {
        let mut random = StdRng::seed_from_u64(seed);
        let mut truth = 0.0;
        let samples = (0..n).map(|i| {
            let at = i as f64 / n as f64;
            let means = [0.3, 0.3 + gain(at)];
            if i >= n / PILOT {
                truth += (0.1 - 0.9) * means[0] + (0.9 - 0.1) * means[1];
            }
            let taken = usize::from(random.random::<f64>() < 0.1);
            let observed = f64::from(u8::from(random.random::<f64>() < means[taken]));
            Sample { observed, actions: vec![(0.1, 0.9, 0.5), (0.9, 0.1, 0.2)], taken }
        });
        let samples: Vec<_> = samples.collect();
        (samples, truth / (n - n / PILOT) as f64)
    }

    #[test]
    fn the_interval_holds_the_mean_of_what_drifts() {
        for gain in [|_| 0.0, |at| if at < 0.5 { 0.3 } else { -0.3 }, |at| at - 0.2] {
            let wrong = (0..200).filter(|seed| {
                let (samples, truth) = drifting(*seed, 2_000, gain);
                let found = estimate(&samples, 9.0).unwrap();
                !(found.low <= truth && truth <= found.high)
            });
            // It is wrong in at most 5 of 100; it is known to be wide.
            assert!(wrong.count() <= 10);
        }
    }

    #[test]
    fn a_difference_is_found_with_enough_records() {
        let (samples, truth) = drifting(7, 50_000, |_| 0.3);
        let found = estimate(&samples, 9.0).unwrap();
        assert!(found.low > 0.0 && found.low < truth && truth < found.high, "{found:?} {truth}");
        assert!((found.mean - truth).abs() < 0.05, "{found:?} {truth}");
    }

    #[test]
    fn what_would_be_done_as_before_makes_no_difference() {
        let same = Sample { observed: 5.0, actions: vec![(0.25, 0.25, 1.0), (0.75, 0.75, 2.0)], taken: 1 };
        assert_eq!(same.difference(100.0), 0.0);
        assert_eq!(estimate(&vec![same.clone(); FEWEST - 1], 1.0), None);
        let found = estimate(&vec![same; 1_000], 1.0).unwrap();
        assert!(found.mean == 0.0 && found.low < 0.0 && found.high > 0.0 && found.count == 900, "{found:?}");
    }

    #[test]
    fn the_simple_model_knows_what_it_was_told() {
        let (nova, claude): (Arc<str>, Arc<str>) = ("nova".into(), "claude".into());
        let mut simple = Simple::default();
        assert_eq!(simple.expects(&nova, "code"), 0.0);
        simple.learn(&nova, "code", 1.0);
        simple.learn(&nova, "code", 3.0);
        simple.learn(&nova, "chat", 8.0);
        assert_eq!((simple.expects(&nova, "code"), simple.expects(&claude, "code")), (2.0, 4.0));
    }
}
