//! One experiment: what is registered when it begins, what is measured, and what follows.
//!
//! Nothing here knows of clocks, threads or disks: the same requests in the same order come to the same.

use std::collections::HashSet;

use kairos_pipeline::policy::{Arm, Assigned, Went};
use kairos_pipeline::statistics::{Arms, Ratio};
use serde::{Deserialize, Serialize};

use super::order::Order;

/// A request that has not ended within this time counts as slow and as dear as can be, and as no failure.
const LEAST_HORIZON_MS: f64 = 60_000.0;
/// The same, where what is in place takes long.
const MOST_HORIZON_MS: f64 = 900_000.0;
/// What is above this multiple of the baseline's 95th percentile of latency, or 99th of cost, counts as this.
const CAP: f64 = 4.0;
/// The largest share that an experiment grows to by itself, and by what it grows at each step.
const LAST_SHARE: f64 = 0.25;
const GROWTH: f64 = 5.0;
/// Units that are told apart where arms go by the values of a tag; further ones do not count.
const MOST_UNITS: usize = 65_536;
/// How much more seldom one arm may be rated than the other, for its ratings to count.
const LEAST_RATED: f64 = 0.8;
/// 6/π²: what is left of a chance for the first of ever more tries, each with 1/k² of it.
const FIRST_TRY: f64 = 0.607_927_101_854_026_6;
const MS_PER_HOUR: f64 = 3_600_000.0;

/// What an experiment is decided by. It is registered when the experiment begins, and holds to its end.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rule {
    /// How many more of the requests may fail: 0.01 is one in a hundred.
    pub errors: f64,
    /// How much slower it may be, as a part of the baseline's mean.
    pub latency: f64,
    /// How much dearer it may be, likewise.
    pub cost: f64,
    /// How much worse it may be rated, of 1.
    pub quality: f64,
    /// The chance that is allowed of rolling back one that is within all tolerances, and of promoting
    /// one that is not within that of quality.
    pub alpha: f64,
    /// Requests of the baseline from which it is learned what is usual.
    pub learned: u64,
    /// Requests of the canary before its share grows.
    pub step: u64,
    /// Hours before which nothing is promoted.
    pub hours: f64,
}

impl Default for Rule {
    fn default() -> Self {
        Self { errors: 0.01, latency: 0.1, cost: 0.1, quality: 0.02, alpha: 0.05, learned: 200, step: 200, hours: 24.0 }
    }
}

/// What an experiment is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The share of requests that it begins with, above 0 and at most 0.5.
    pub share: f64,
    /// The tag whose values stay in one arm.
    pub sticky: Option<String>,
    /// Whether it grows, and is promoted, by itself.
    pub auto: bool,
    /// The metric of feedback that quality is.
    pub metric: String,
    /// How many times this version has been tried before: each try makes it harder to be promoted, so
    /// that all of them together are wrong as seldom as one would be.
    pub tries_before: u64,
    /// What it is decided by.
    pub rule: Rule,
    /// What the canary, and what it is compared with, were loaded with: configuration and grants.
    pub loaded_with: [String; 2],
}

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Variable {
    /// Requests that failed.
    Errors,
    /// Time from arrival to end.
    Latency,
    /// What was paid.
    Cost,
    /// What callers said of the answers.
    Quality,
}

impl Variable {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Errors => "errors",
            Self::Latency => "latency",
            Self::Cost => "cost",
            Self::Quality => "quality",
        }
    }
}

/// How an experiment ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// What became of the canary.
    pub what: What,
    /// One word for why: a variable, `quarantined`, or what ended it.
    pub why: String,
    /// The same in words, with the numbers.
    pub text: String,
}

/// What became of a canary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// The gateway took it out.
    RolledBack,
    /// The gateway let it serve everything.
    Promoted,
    /// Somebody ended it, or let something else serve.
    Ended,
}

/// An experiment under way.
#[derive(Debug)]
pub struct Experiment {
    /// What is tried.
    pub plan: Plan,
    pub(super) measured: Measured,
    order: Order,
}

/// What was measured. As text, it goes on after a restart.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Measured {
    /// The share at present.
    pub(super) share: f64,
    /// Requests of the canary since it has this share.
    pub(super) at_share: u64,
    pub(super) errors: Arms,
    pub(super) quality: Arms,
    /// Quality of requests at the last share only: what was better with few need not be with many.
    pub(super) last_quality: Arms,
    /// Latencies and costs of the baseline's first requests.
    learning: Vec<(f64, f64)>,
    pub(super) usual: Option<Usual>,
    /// What was seen of a tag's values.
    #[serde(with = "units")]
    seen: HashSet<u64>,
    /// The same, of those that were rated.
    #[serde(with = "units")]
    rated: HashSet<u64>,
}

/// What is usual, and how the canary compares.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Usual {
    pub(super) latency: Scaled,
    pub(super) cost: Scaled,
}

/// A variable without a bound, brought within 0 and 1.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Scaled {
    /// What counts as 1, and what is more.
    pub(super) cap: f64,
    /// Whether it is more than is tolerated.
    pub(super) ratio: Ratio,
    /// By how much.
    pub(super) arms: Arms,
}

impl Scaled {
    /// With a cap that is learned from the baseline's first values, none below `least`.
    fn of(mut values: Vec<f64>, percentile: usize, least: f64, tolerance: f64, alpha: f64) -> Self {
        values.sort_by(f64::total_cmp);
        let high = values.get((values.len() * percentile / 100).min(values.len().saturating_sub(1)));
        let cap = (high.copied().unwrap_or(0.0) * CAP).max(least);
        Self { cap, ratio: Ratio::new(alpha, 1.0 + tolerance), arms: Arms::new(alpha, &[0.0]) }
    }

    fn push(&mut self, value: f64, assigned: &Assigned) {
        let x = value.min(self.cap) / self.cap;
        // What cannot be is not counted.
        let _ = self.ratio.push(x, assigned.arm == Arm::Canary, assigned.share);
        push(&mut self.arms, x, assigned);
    }
}

/// Whether a request counts: where arms go by the values of a tag, the first of each value does.
fn is_first(seen: &mut HashSet<u64>, assigned: &Assigned) -> bool {
    assigned.unit.is_none_or(|unit| seen.len() < MOST_UNITS && seen.insert(unit))
}

fn push(arms: &mut Arms, x: f64, assigned: &Assigned) {
    // What cannot be is not counted: a share of 0 or 1 is no experiment.
    let _ = arms.push(x, assigned.arm == Arm::Canary, assigned.share);
}

impl Experiment {
    /// One that begins.
    pub fn new(plan: Plan) -> Self {
        let Rule { errors, quality, alpha, .. } = plan.rule;
        let rated = |alpha: f64| Arms::new(alpha, &[0.0, -quality]);
        let tries = plan.tries_before as f64 + 1.0;
        let measured = Measured {
            share: plan.share,
            at_share: 0,
            // Three variables that can end it share the chance of doing so wrongly.
            errors: Arms::new(alpha / 3.0, &[errors]),
            quality: rated(alpha),
            last_quality: rated(alpha * FIRST_TRY / (tries * tries)),
            learning: Vec::new(),
            usual: None,
            seen: HashSet::new(),
            rated: HashSet::new(),
        };
        Self { plan, measured, order: Order::default() }
    }

    /// One that goes on from what was written down: [`Experiment::state`].
    pub fn go_on(plan: Plan, state: &str) -> Result<Self, serde_json::Error> {
        Ok(Self { plan, measured: serde_json::from_str(state)?, order: Order::default() })
    }

    /// What was measured, to be written down. Requests under way are not in it: they do not count.
    pub fn state(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(&self.measured)
    }

    /// The share of requests that the canary has at present.
    pub fn share(&self) -> f64 {
        self.measured.share
    }

    /// A request was given to an arm, at this time in milliseconds.
    pub fn assigned(&mut self, assigned: &Assigned, now_ms: u64) {
        if let Some(lost) = self.order.begin(assigned, now_ms) {
            self.count(&lost, None);
        }
    }

    /// It has ended.
    pub fn ended(&mut self, ticket: u64, went: Went) {
        self.order.end(ticket, went);
    }

    /// Counts what can be counted by now.
    pub fn settle(&mut self, now_ms: u64) {
        while let Some((assigned, went)) = self.order.next(now_ms, self.horizon_ms()) {
            self.count(&assigned, went);
        }
    }

    /// What a caller said first of the answer to a request of the experiment, by a metric, within 0 and 1.
    /// Of each value of a tag that arms go by, one word counts.
    pub fn rated(&mut self, assigned: &Assigned, metric: &str, value: f64) {
        let measured = &mut self.measured;
        if metric != self.plan.metric || !is_first(&mut measured.rated, assigned) {
            return;
        }
        push(&mut measured.quality, value, assigned);
        if self.is_last() && assigned.share >= self.measured.share {
            push(&mut self.measured.last_quality, value, assigned);
        }
    }

    fn horizon_ms(&self) -> u64 {
        let cap = self.measured.usual.as_ref().map_or(LEAST_HORIZON_MS, |usual| usual.latency.cap);
        cap.clamp(LEAST_HORIZON_MS, MOST_HORIZON_MS) as u64
    }

    /// Counts a request; none: it had not ended when it had to be counted.
    fn count(&mut self, assigned: &Assigned, went: Option<Went>) {
        let horizon = self.horizon_ms() as f64;
        let measured = &mut self.measured;
        if !is_first(&mut measured.seen, assigned) {
            return;
        }
        let failed = went.is_some_and(|went| went.failed);
        push(&mut measured.errors, f64::from(u8::from(failed)), assigned);
        let latency = went.map_or(horizon, |went| went.latency_ms);
        let cost = went.map(|went| went.cost as f64);
        if assigned.arm == Arm::Canary && assigned.share >= measured.share {
            measured.at_share += 1;
        }
        match &mut measured.usual {
            Some(usual) => {
                usual.latency.push(latency, assigned);
                usual.cost.push(cost.unwrap_or(usual.cost.cap), assigned);
            }
            None if assigned.arm == Arm::Baseline => {
                measured.learning.push((latency, cost.unwrap_or(0.0)));
                self.learn();
            }
            None => {}
        }
    }

    /// Learns what is usual, once enough was seen.
    fn learn(&mut self) {
        let (measured, rule) = (&mut self.measured, &self.plan.rule);
        if (measured.learning.len() as u64) < rule.learned {
            return;
        }
        let (latencies, costs) = std::mem::take(&mut measured.learning).into_iter().unzip();
        let alpha = rule.alpha / 3.0;
        let latency = Scaled::of(latencies, 95, 1.0, rule.latency, alpha);
        measured.usual = Some(Usual { latency, cost: Scaled::of(costs, 99, 1.0, rule.cost, alpha) });
    }

    /// Whether the share grows no more.
    pub(super) fn is_last(&self) -> bool {
        !self.plan.auto || self.measured.share >= LAST_SHARE
    }

    /// Lets the share grow, when there is reason to. Gives the new one.
    pub fn grow(&mut self) -> Option<f64> {
        if self.is_last() || self.measured.at_share < self.plan.rule.step || self.measured.usual.is_none() {
            return None;
        }
        self.measured.at_share = 0;
        self.measured.share = (self.measured.share * GROWTH).min(LAST_SHARE);
        Some(self.measured.share)
    }

    /// What follows from what was measured in this time; none: it goes on.
    pub fn verdict(&self, age_ms: u64) -> Option<Verdict> {
        if let Some(variable) = self.worse() {
            let text = format!("rolled back by itself: {}", self.in_words(variable));
            return Some(Verdict { what: What::RolledBack, why: variable.name().to_owned(), text });
        }
        let why = self.better(age_ms)?;
        let said = self.measures().into_iter().map(|measure| self.in_words(measure.variable)).collect::<Vec<_>>();
        let text = format!("promoted by itself: {why}; {}", said.join("; "));
        Some(Verdict { what: What::Promoted, why: why.to_owned(), text })
    }

    /// The variable by which the canary is worse than is tolerated.
    fn worse(&self) -> Option<Variable> {
        let (measured, rule) = (&self.measured, &self.plan.rule);
        let usual = measured.usual.as_ref();
        let above = |scaled: &Scaled| scaled.ratio.excess.exceeds(0.0);
        let found = [
            (Variable::Errors, measured.errors.difference.exceeds(rule.errors)),
            (Variable::Latency, usual.is_some_and(|usual| above(&usual.latency))),
            (Variable::Cost, usual.is_some_and(|usual| above(&usual.cost))),
            (Variable::Quality, self.rated_unevenly().is_none() && measured.quality.difference.is_below(-rule.quality)),
        ];
        found.into_iter().find(|(_, worse)| *worse).map(|(variable, _)| variable)
    }

    /// Why the canary is to be promoted: everything is shown to be within its tolerance, and something
    /// is better.
    fn better(&self, age_ms: u64) -> Option<&'static str> {
        if !self.plan.auto || !self.waits_for(age_ms).is_empty() {
            return None;
        }
        let quality = &self.measured.last_quality.difference;
        Some(if quality.exceeds(0.0) { "it is rated better" } else { "it is as good, and costs less" })
    }

    /// What a promotion waits for.
    pub fn waits_for(&self, age_ms: u64) -> Vec<String> {
        let (measured, rule) = (&self.measured, &self.plan.rule);
        let mut waits = Vec::new();
        let Some(usual) = &measured.usual else {
            let left = rule.learned.saturating_sub(measured.learning.len() as u64);
            waits.push(format!("{left} more requests of the baseline, to learn what is usual"));
            return waits;
        };
        if !self.is_last() || measured.at_share < rule.step {
            let left = rule.step.saturating_sub(measured.at_share);
            waits.push(format!("{left} more requests of the canary at {}", percent(measured.share)));
        }
        let within = [
            (Variable::Errors, measured.errors.difference.is_below(rule.errors)),
            (Variable::Latency, usual.latency.ratio.excess.is_below(0.0)),
            (Variable::Cost, usual.cost.ratio.excess.is_below(0.0)),
        ];
        for (variable, _) in within.into_iter().filter(|(_, within)| !within) {
            let about = self.until_within(variable);
            waits.push(format!("{} to be shown within its tolerance{about}", variable.name()));
        }
        let hours = rule.hours - age_ms as f64 / MS_PER_HOUR;
        if hours > 0.0 {
            waits.push(format!("{hours:.1} more hours"));
        }
        let quality = &measured.last_quality;
        let (rated, answered) =
            ([quality.first().n, quality.second().n], [measured.quality.first().n, measured.quality.second().n]);
        if answered.contains(&0) {
            waits.push(format!("feedback on both arms: the metric {:?}", self.plan.metric));
        } else if rated.contains(&0) {
            waits.push("feedback on both arms at the last share".to_owned());
        } else if !quality.difference.exceeds(0.0) {
            if !quality.difference.exceeds(-rule.quality) {
                waits.push("quality to be shown better, or within its tolerance".to_owned());
            } else if !usual.cost.arms.difference.is_below(0.0) {
                waits.push("quality to be shown better, or cost lower: it is as good so far".to_owned());
            }
        }
        if let Some(seldom) = self.rated_unevenly() {
            waits.push(seldom);
        }
        waits
    }

    /// Ratings say little of an arm whose callers rate otherwise than the other's.
    fn rated_unevenly(&self) -> Option<String> {
        let (errors, quality) = (&self.measured.errors, &self.measured.quality);
        let rate = |rated: u64, of: u64| rated as f64 / of.max(1) as f64;
        let first = rate(quality.first().n, errors.first().n);
        let second = rate(quality.second().n, errors.second().n);
        let seldom = first.min(second) < first.max(second) * LEAST_RATED;
        (seldom && first.min(second) > 0.0).then(|| {
            format!(
                "both arms to be rated about as often: {} of the baseline's requests are, {} of the canary's",
                percent(first),
                percent(second)
            )
        })
    }
}

/// A part of 1, for people.
pub(super) fn percent(part: f64) -> String {
    let text = format!("{:.2}", part * 100.0);
    format!("{} %", text.trim_end_matches('0').trim_end_matches('.'))
}

/// Numbers as text: 16 digits each, as they would not all fit a number of JSON.
mod units {
    use std::collections::HashSet;

    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(units: &HashSet<u64>, serializer: S) -> Result<S::Ok, S::Error> {
        let text: String = units.iter().map(|unit| format!("{unit:016x}")).collect();
        serializer.serialize_str(&text)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<HashSet<u64>, D::Error> {
        let text = String::deserialize(deserializer)?;
        let units = text.as_bytes().chunks(16).map(|digits| std::str::from_utf8(digits).ok());
        let unit = |digits: Option<&str>| digits.and_then(|digits| u64::from_str_radix(digits, 16).ok());
        units.map(|digits| unit(digits).ok_or_else(|| serde::de::Error::custom("not a list of units"))).collect()
    }
}

#[cfg(test)]
mod tests;
