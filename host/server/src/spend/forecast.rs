//! What a period will have cost at its end, with an interval that says how far to trust it.
//!
//! Method: what was spent so far, plus the mean of the last whole weeks' days for each day that is left. The
//! interval is that of the sum of `k` further values of a normal sample of `n` values with mean x̄ and
//! deviation s: k·x̄ ± t(0.975, n − 1) · s · √(k + k²/n) (Hahn and Meeker, *Statistical Intervals*, 1991, the
//! prediction interval for the mean of k future observations, times k). Whole weeks, so that weekdays do not
//! bias the mean; what they add to s makes the interval wider, not narrower. It assumes that days to come are
//! like those: it knows no growth. Days without a request count: they are days.
//!
//! Fewer than a whole week of days is too little: then there is no forecast.

use std::collections::BTreeMap;

use kairos_store::ledger::Reader;

use super::DAY_MS;
use super::filter::{Filter, LeftOut};
use super::sums::SumsError;

/// Whole weeks that are looked at, at most.
const WEEKS: usize = 4;
/// Quantiles 0.975 of Student's t with 6, 13, 20 and 27 degrees of freedom.
const T: [f64; WEEKS] = [2.446_912, 2.160_369, 2.085_963, 2.051_831];
/// The interval's share.
pub(crate) const SHARE: f64 = 0.95;

/// What is known by the time of the forecast.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Past {
    /// What each whole day before today cost, in dollars, the oldest first; from the first day that has a
    /// line on.
    pub(crate) days: Vec<f64>,
    /// What the period cost so far, in picodollars.
    pub(crate) spent: i128,
    /// The part of it that is estimated.
    pub(crate) estimated: i128,
    /// Days that are left of the period, today's rest as a part of one.
    pub(crate) left: f64,
    /// What is neither in those days nor in what the period cost, as nobody knows whether it is meant.
    pub(crate) left_out: LeftOut,
}

/// What a period will have cost, in dollars.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Forecast {
    /// The middle.
    pub(crate) middle: f64,
    /// With 95 %, if days to come are like those that were, it is no less.
    pub(crate) low: f64,
    /// Nor more.
    pub(crate) high: f64,
    /// Days that it is made of.
    pub(crate) days: usize,
}

/// There is too little to say anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no forecast: {days} whole days are known since the first request, and 7 are needed")]
pub(crate) struct TooLittle {
    /// Days that are known.
    pub(crate) days: usize,
}

/// Dollars of picodollars, as a number: good enough for what is a guess anyway.
#[allow(clippy::cast_precision_loss)]
fn number(picodollars: i128) -> f64 {
    picodollars as f64 / 1e12
}

impl Past {
    /// Reads it: of the period from `since_ms` to `until_ms`, at `now_ms`. The filter's own range is not
    /// looked at.
    pub(crate) fn read(
        reader: &Reader,
        filter: &Filter,
        (since_ms, until_ms): (i64, i64),
        now_ms: i64,
    ) -> Result<Self, SumsError> {
        let today = now_ms.div_euclid(DAY_MS);
        let mut days: BTreeMap<i64, i128> = BTreeMap::new();
        let (mut spent, mut estimated, mut left_out) = (0, 0, LeftOut::default());
        let mut filter = filter.clone();
        let weeks = i64::try_from(WEEKS).unwrap_or(0) * 7;
        // A day more, to see whether the first of them was the first at all.
        filter.range.since_ms = since_ms.min((today - weeks - 1) * DAY_MS);
        // What came after is not known then.
        filter.range.until_ms = until_ms.min(now_ms.saturating_add(1));
        reader.lines(filter.range, |line| {
            if left_out.admits(&filter, line) {
                *days.entry(line.at_ms().div_euclid(DAY_MS)).or_default() += i128::from(line.charged());
                if line.at_ms() >= since_ms {
                    spent += i128::from(line.charged());
                    estimated += i128::from(line.estimated());
                }
            }
            Ok::<_, SumsError>(())
        })?;
        let first = days.keys().next().copied().unwrap_or(today);
        // The day of the first line may have begun before it.
        let whole = (first + 1).max(today - weeks)..today;
        let days = whole.map(|day| number(days.get(&day).copied().unwrap_or(0))).collect();
        #[allow(clippy::cast_precision_loss)]
        let left = (until_ms.saturating_sub(now_ms)).max(0) as f64 / DAY_MS as f64;
        Ok(Self { days, spent, estimated, left, left_out })
    }

    /// What the period will have cost.
    #[allow(clippy::cast_precision_loss)]
    pub(crate) fn forecast(&self) -> Result<Forecast, TooLittle> {
        let weeks = (self.days.len() / 7).min(WEEKS);
        let Some(t) = weeks.checked_sub(1).and_then(|at| T.get(at)) else {
            return Err(TooLittle { days: self.days.len() });
        };
        let days = &self.days[self.days.len() - weeks * 7..];
        let n = days.len() as f64;
        let mean = days.iter().sum::<f64>() / n;
        let deviation = (days.iter().map(|day| (day - mean).powi(2)).sum::<f64>() / (n - 1.0)).sqrt();
        let (spent, k) = (number(self.spent), self.left);
        let middle = spent + k * mean;
        let half = t * deviation * (k + k * k / n).sqrt();
        // Nothing that is spent comes back, but for estimates.
        let least = spent - number(self.estimated);
        Ok(Forecast { middle, low: (middle - half).max(least), high: middle + half, days: days.len() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn past(days: &[f64], left: f64) -> Past {
        Past { days: days.to_vec(), spent: 5_000_000_000_000, estimated: 0, left, left_out: LeftOut::default() }
    }

    #[test]
    fn less_than_a_week_is_no_forecast() {
        for days in 0..7 {
            let known = vec![1.0; days];
            assert_eq!(past(&known, 3.0).forecast(), Err(TooLittle { days }));
        }
        assert_eq!(
            TooLittle { days: 0 }.to_string(),
            "no forecast: 0 whole days are known since the first request, and 7 are needed"
        );
    }

    #[test]
    fn equal_days_go_on() {
        let made = past(&[2.0; 9], 3.5).forecast().unwrap();
        assert_eq!(made, Forecast { middle: 12.0, low: 12.0, high: 12.0, days: 7 });
        // At the end of the period it is what was spent.
        let made = past(&[1.0, 5.0, 9.0, 2.0, 0.0, 7.0, 3.0], 0.0).forecast().unwrap();
        assert_eq!((made.low, made.middle, made.high), (5.0, 5.0, 5.0));
    }

    /// A worked example: n = 7, x̄ = 4, s = √(64/6), k = 7; 5 + 28 ± 2.446912 · √(64/6) · √14.
    #[test]
    fn the_interval_is_that_of_the_source() {
        let made = past(&[1.0, 1.0, 2.0, 3.0, 5.0, 6.0, 10.0], 7.0).forecast().unwrap();
        assert!((made.middle - 33.0).abs() < 1e-9);
        assert!((made.high - 33.0 - 2.446_912 * (64.0_f64 / 6.0).sqrt() * 14.0_f64.sqrt()).abs() < 1e-6, "{made:?}");
        // Nothing that was spent comes back.
        assert!((made.low - 5.0).abs() < 1e-9, "{made:?}");
    }

    /// 2,000 months of days that are not normal at all, with quiet weekends: the interval holds what came of
    /// nearly as many as it says, or more.
    #[test]
    fn the_interval_holds_what_comes() {
        let mut seed = 1u64;
        let mut uniform = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((seed >> 11) as f64 + 0.5) / (1u64 << 53) as f64
        };
        for weeks in 1..=WEEKS {
            let mut held = 0;
            for _ in 0..2_000 {
                let mut day = |at: usize| {
                    let base = if at % 7 < 2 { 20.0 } else { 100.0 };
                    base * (1.0 - uniform().ln()) / 2.0
                };
                let days: Vec<_> = (0..weeks * 7).map(&mut day).collect();
                let rest: f64 = (0..17).map(&mut day).sum();
                let made =
                    Past { days, spent: 0, estimated: 0, left: 17.0, left_out: LeftOut::default() }.forecast().unwrap();
                held += usize::from((made.low..=made.high).contains(&rest));
            }
            assert!(held >= 1_860, "{weeks} weeks: {held} of 2,000");
        }
    }
}
