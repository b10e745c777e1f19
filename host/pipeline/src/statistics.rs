//! How two ways compare, for as long as one cares to watch: a confidence sequence by betting.
//!
//! An ordinary confidence interval holds for one look at a number of observations that was set before.
//! Whoever looks after each observation and stops when he likes what he sees is wrong far more often.
//! A [`Sequence`] holds at all times at once, so it may decide at any of them.
//!
//! The method is that of I. Waudby-Smith and A. Ramdas, "Estimating means of bounded random variables by
//! betting", Journal of the Royal Statistical Society B 86(1), 2024 (arXiv 2010.09686): for each value
//! Δ₀ that the difference could have, one bets against it. With Dᵢ observed and mᵢΔᵢ its expectation,
//! the capital Π(1 + λᵢ(Dᵢ − mᵢΔ₀)) with bets λᵢ ≥ 0 that are set before Dᵢ is seen is a nonnegative
//! supermartingale of mean at most 1 as long as no Δᵢ is above Δ₀. By Ville's inequality it ever reaches
//! 1/α with a chance of at most α: where it does, Δ₀ is too low. With − for + it says what is too high.
//! Nothing need be independent, nor alike over time. What is rejected is that the difference was never
//! above (or below) Δ₀: where it changes, an interval holds none of its averages for certain.
//!
//! Two bettors share each capital, as a mean of supermartingales is one: the approximate growth-rate
//! optimum μ/(σ² + μ²) (there: aGRAPA), which is fast where a difference is large, and the predictable
//! plug-in √(2 ln(1/α) / (σ² t ln(1 + t))), which does not wait. Both are cut at half of what could lose
//! everything.

use serde::{Deserialize, Serialize};

/// Grid points on either side of 0.
const HALF: usize = 60;
/// How much closer points lie near 0 than at 1: they go by the hyperbolic sine, 1 for e⁶.
const STEEPNESS: f64 = 6.0;
/// Capital at which counting stops: what has it is rejected by any α.
const ENOUGH: f64 = 1e100;
/// Capital below which a bettor is out of the game.
const RUINED: f64 = 1e-200;
/// The part of what would lose everything that is bet at most.
const BOLDNESS: f64 = 0.5;
/// The least variance, and the least loss, that are counted with.
const LEAST: f64 = 1e-9;

/// A value that cannot have been observed. Nothing was counted.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("{d} is not an observation within {least} and {most} of weight {m}, which is above 0 and at most 1")]
pub struct OutOfRange {
    d: f64,
    m: f64,
    least: f64,
    most: f64,
}

/// An interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

/// A confidence sequence for a difference within −1 and 1.
///
/// Each end is wrong, at any time whatever, with a chance of at most α; both together of 2α. As text
/// (serde) it goes on where it was.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sequence {
    alpha: f64,
    points: Vec<Point>,
    sums: Sums,
}

/// What was observed: all that the next bets depend on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Sums {
    n: u64,
    d: f64,
    dd: f64,
    m: f64,
    mm: f64,
    dm: f64,
}

/// A value that the difference could have, and what betting against it has won: that it is too low, and
/// that it is too high.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Point {
    at: f64,
    too_low: Capital,
    too_high: Capital,
}

/// What the two bettors have.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Capital(f64, f64);

impl Capital {
    fn total(self) -> f64 {
        f64::midpoint(self.0, self.1)
    }

    /// Bets, and takes what comes. `gain` is seen after the bets are made; it is −`loss` at worst.
    fn bet(&mut self, optimal: f64, steady: f64, gain: f64, loss: f64) {
        let most = BOLDNESS / loss.max(LEAST);
        for (capital, bet) in [(&mut self.0, optimal), (&mut self.1, steady)] {
            let grown = *capital * (1.0 + bet.clamp(0.0, most) * gain);
            *capital = if grown < RUINED { 0.0 } else { grown.min(ENOUGH) };
        }
    }
}

impl Sums {
    /// Mean and variance of Dᵢ − mᵢΔ₀ so far. As if one had been seen before: 0, of variance m²/4.
    fn moments(&self, at: f64, m: f64) -> (f64, f64) {
        let t = self.n as f64 + 1.0;
        let mean = (self.d - at * self.m) / t;
        let second = (self.dd - 2.0 * at * self.dm + at * at * self.mm + m * m / 4.0) / t;
        (mean, (second - mean * mean).max(LEAST))
    }
}

impl Sequence {
    /// A sequence of which each end is wrong with a chance of at most `alpha`, in (0, 1). `tolerances`
    /// are differences that will be asked for by [`Sequence::exceeds`] and [`Sequence::is_below`]: these
    /// are then exact; others are rounded to the grid, away from what is asked.
    pub fn new(alpha: f64, tolerances: &[f64]) -> Self {
        let scale = STEEPNESS.sinh();
        let step = |place: usize| (STEEPNESS * place as f64 / HALF as f64).sinh() / scale;
        let grid = (1..=HALF).flat_map(|place| [step(place), -step(place)]).chain([0.0]);
        Self::of(alpha, grid.chain(tolerances.iter().copied().filter(|tolerance| tolerance.abs() < 1.0)).collect())
    }

    /// A sequence that only tells whether the difference is above, or below, these: cheaper by as much
    /// as they are fewer, and its interval is as coarse.
    pub fn of(alpha: f64, mut at: Vec<f64>) -> Self {
        at.sort_by(f64::total_cmp);
        at.dedup();
        let start = Capital(1.0, 1.0);
        let points = at.into_iter().map(|at| Point { at, too_low: start, too_high: start }).collect();
        Self { alpha: alpha.clamp(f64::MIN_POSITIVE, 1.0), points, sums: Sums::default() }
    }

    /// How many were observed.
    pub fn n(&self) -> u64 {
        self.sums.n
    }

    /// Takes an observation within −1 and 1 whose expectation, given what came before, is `m` times the
    /// difference. `m` is in (0, 1], and known before the observation.
    pub fn push(&mut self, d: f64, m: f64) -> Result<(), OutOfRange> {
        self.push_within(d, m, -1.0, 1.0)
    }

    /// As [`Sequence::push`], of an observation that is known, before it is seen, to be within narrower
    /// bounds: bets are bolder where less can be lost.
    pub fn push_within(&mut self, d: f64, m: f64, least: f64, most: f64) -> Result<(), OutOfRange> {
        // Written so that NaN is refused.
        let is_possible = (-1.0..=0.0).contains(&least) && (0.0..=1.0).contains(&most) && (least..=most).contains(&d);
        if !(is_possible && m > 0.0 && m <= 1.0) {
            return Err(OutOfRange { d, m, least, most });
        }
        let t = self.sums.n as f64 + 2.0;
        let steadiness = 2.0 * -self.alpha.ln() / (t * (1.0 + t).ln());
        for point in &mut self.points {
            let (mean, variance) = self.sums.moments(point.at, m);
            let optimal = mean / (variance + mean * mean);
            let steady = (steadiness / variance).sqrt();
            let (gain, shift) = (d - m * point.at, m * point.at);
            point.too_low.bet(optimal, steady, gain, shift - least);
            point.too_high.bet(-optimal, steady, -gain, most - shift);
        }
        let Sums { n, d: sum, dd, m: ms, mm, dm } = &mut self.sums;
        *n += 1;
        *sum += d;
        *dd += d * d;
        *ms += m;
        *mm += m * m;
        *dm += d * m;
        Ok(())
    }

    /// The difference as it looks: the sum of what was observed over that of the weights.
    pub fn estimate(&self) -> Option<f64> {
        (self.sums.m > 0.0).then(|| (self.sums.d / self.sums.m).clamp(-1.0, 1.0))
    }

    /// Where the difference is. −1 and 1 are as far as it can be.
    pub fn interval(&self) -> Interval {
        // Only what is rejected with everything beyond it counts: then an end is wrong only where the
        // one point next to the truth is.
        let low = self.points.iter().take_while(|point| self.is_enough(point.too_low)).last();
        let high = self.points.iter().rev().take_while(|point| self.is_enough(point.too_high)).last();
        let (low, high) = (low.map_or(-1.0, |point| point.at), high.map_or(1.0, |point| point.at));
        // Both ends reject where the difference changed meanwhile: it was above one and below the other.
        Interval { low: low.min(high), high: high.max(low) }
    }

    /// Whether the difference is above this, by a test that is wrong with a chance of at most α.
    pub fn exceeds(&self, difference: f64) -> bool {
        self.points.iter().find(|point| point.at >= difference).is_some_and(|point| self.is_enough(point.too_low))
    }

    /// Whether the difference is below this, likewise.
    pub fn is_below(&self, difference: f64) -> bool {
        let point = self.points.iter().rev().find(|point| point.at <= difference);
        point.is_some_and(|point| self.is_enough(point.too_high))
    }

    /// About how many more observations like those so far would show that the difference is above this.
    /// None: as it looks now, none would.
    pub fn until_exceeds(&self, difference: f64) -> Option<u64> {
        let point = self.points.iter().find(|point| point.at >= difference)?;
        self.until(point.at, point.too_low, 1.0)
    }

    /// About how many more would show that it is below this.
    pub fn until_below(&self, difference: f64) -> Option<u64> {
        let point = self.points.iter().rev().find(|point| point.at <= difference)?;
        self.until(point.at, point.too_high, -1.0)
    }

    fn is_enough(&self, capital: Capital) -> bool {
        capital.total() >= 1.0 / self.alpha
    }

    /// What is missing, over what the best bet is expected to win each time.
    fn until(&self, at: f64, capital: Capital, sign: f64) -> Option<u64> {
        let m = self.sums.m / self.sums.n.max(1) as f64;
        let (mean, variance) = self.sums.moments(at, m);
        let mean = mean * sign;
        if mean <= 0.0 || self.sums.n == 0 {
            return None;
        }
        let second = variance + mean * mean;
        let bet = (mean / second).min(BOLDNESS);
        let growth = bet * mean - bet * bet * second / 2.0;
        let missing = -self.alpha.ln() - capital.total().max(RUINED).ln();
        // As a float becomes an integer, what is too large becomes the largest.
        Some((missing / growth).ceil().max(0.0) as u64)
    }
}

/// Two arms that are drawn by chance, compared by the difference of one variable within 0 and 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Arms {
    /// The difference: that of the second arm less that of the first.
    pub difference: Sequence,
    first: Mean,
    second: Mean,
}

/// A mean so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Mean {
    /// Observations.
    pub n: u64,
    sum: f64,
    weight: f64,
    weighted: f64,
}

impl Mean {
    fn add(&mut self, x: f64, chance: f64) {
        self.n += 1;
        self.sum += x;
        self.weight += 1.0 / chance;
        self.weighted += x / chance;
    }

    /// The mean, where there is one: of all units, were all in this arm.
    pub fn value(self) -> Option<f64> {
        (self.n > 0).then(|| self.weighted / self.weight)
    }
}

impl Arms {
    /// Arms of which nothing has been seen. See [`Sequence::new`].
    pub fn new(alpha: f64, tolerances: &[f64]) -> Self {
        Self { difference: Sequence::new(alpha, tolerances), first: Mean::default(), second: Mean::default() }
    }

    /// The difference as it looks: that of the means.
    pub fn estimate(&self) -> Option<f64> {
        Some(self.second.value()? - self.first.value()?)
    }

    /// The arm that is there already.
    pub fn first(&self) -> Mean {
        self.first
    }

    /// The arm that is tried.
    pub fn second(&self) -> Mean {
        self.second
    }

    /// Takes an outcome `x` within 0 and 1 of a unit that was given to the second arm with the chance
    /// `share`, or to the first with the rest of it.
    pub fn push(&mut self, x: f64, second: bool, share: f64) -> Result<(), OutOfRange> {
        weigh(&mut self.difference, [self.first, self.second], 1.0, x, second, share)?;
        let (arm, chance) = if second { (&mut self.second, share) } else { (&mut self.first, 1.0 - share) };
        arm.add(x, chance);
        Ok(())
    }
}

/// Two arms that are drawn by chance, compared by the ratio of a variable within 0 and 1 that is not
/// negative: whether the second has more than so many times of it what the first has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ratio {
    /// Of the second arm's mean over the ratio, less the first's. Only 0 can be asked of it.
    pub excess: Sequence,
    most: f64,
    first: Mean,
    second: Mean,
}

impl Ratio {
    /// Whether the second arm has more than `most` times, at least 1, of what the first has. The first's
    /// mean need not be known beforehand.
    pub fn new(alpha: f64, most: f64) -> Self {
        Self { excess: Sequence::of(alpha, vec![0.0]), most, first: Mean::default(), second: Mean::default() }
    }

    /// As [`Arms::push`].
    pub fn push(&mut self, x: f64, second: bool, share: f64) -> Result<(), OutOfRange> {
        weigh(&mut self.excess, [self.first, self.second], self.most, x, second, share)?;
        let (arm, chance) = if second { (&mut self.second, share) } else { (&mut self.first, 1.0 - share) };
        arm.add(x, chance);
        Ok(())
    }
}

/// Pushes an outcome of one of two arms.
///
/// It is weighted by the inverse of its chance (Horvitz and Thompson 1952), which makes its expectation
/// the difference whatever the share is, and however it changes; about the mean so far, which makes it
/// vary less; and scaled by the smaller chance and by the ratio, which keeps it within −1 and 1.
fn weigh(
    sequence: &mut Sequence,
    [first, second_so_far]: [Mean; 2],
    ratio: f64,
    x: f64,
    second: bool,
    share: f64,
) -> Result<(), OutOfRange> {
    let m = share.min(1.0 - share);
    if !(0.0..=1.0).contains(&x) {
        return Err(OutOfRange { d: x, m, least: 0.0, most: 1.0 });
    }
    let mean = (first.sum + second_so_far.sum + 0.5) / ((first.n + second_so_far.n) as f64 + 1.0);
    let d = |x: f64, second: bool| {
        if second { (x - mean) / ratio * m / share } else { (mean / ratio - x) * m / (1.0 - share) }
    };
    let ends = [d(0.0, true), d(1.0, true), d(0.0, false), d(1.0, false)];
    let least = ends.into_iter().fold(0.0, f64::min).max(-1.0);
    let most = ends.into_iter().fold(0.0, f64::max).min(1.0);
    sequence.push_within(d(x, second).clamp(-1.0, 1.0), m, least, most)
}

#[cfg(test)]
mod tests;
