//! What is said of an experiment: for people and programs.

use kairos_pipeline::statistics::{Arms, Sequence};
use serde::{Deserialize, Serialize};

use super::experiment::{Experiment, Plan, Scaled, Variable, Verdict, percent};

/// Picodollars in a US dollar.
const PICO: f64 = 1e12;

/// What is known of an experiment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Its number.
    pub id: u64,
    /// The version that is tried: `name@digest`.
    pub canary: String,
    /// The one that it is compared with.
    pub baseline: String,
    /// What was registered when it began.
    pub plan: Plan,
    /// The share of requests that it has at present.
    pub share: f64,
    /// When it began, in milliseconds since 1970.
    pub began_ms: u64,
    /// When it ended, if it has.
    pub ended_ms: Option<u64>,
    /// What was measured.
    pub measures: Vec<Measure>,
    /// What a promotion waits for.
    pub waits_for: Vec<String>,
    /// How it ended.
    pub verdict: Option<Verdict>,
}

/// One variable, in the unit of its name: parts of 1, milliseconds, US dollars.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measure {
    /// What is compared.
    pub variable: Variable,
    /// Requests of the baseline that count.
    pub baseline_n: u64,
    /// Requests of the canary that count.
    pub canary_n: u64,
    /// The baseline's mean.
    pub baseline: Option<f64>,
    /// The canary's.
    pub canary: Option<f64>,
    /// How much more the canary has of it, each request weighted by the chance of its arm.
    pub difference: Option<f64>,
    /// What it is at least.
    pub low: f64,
    /// What it is at most.
    pub high: f64,
    /// How much more of it is tolerated; less, of quality. Of latency and cost: of the baseline's mean.
    pub tolerance: f64,
    /// About how many more requests, or ratings, show that it is worse, if it is as it looks.
    pub until_worse: Option<u64>,
    /// About how many more show that it is within its tolerance.
    pub until_within: Option<u64>,
}

impl Measure {
    /// `test` says whether what differs is above or below `bound`.
    fn of(variable: Variable, arms: &Arms, (test, bound): (&Sequence, f64), tolerance: f64, scale: f64) -> Self {
        let interval = arms.difference.interval();
        let scaled = |value: Option<f64>| value.map(|value| value * scale);
        let (until_worse, until_within) = if variable == Variable::Quality {
            (test.until_below(bound), test.until_exceeds(bound))
        } else {
            (test.until_exceeds(bound), test.until_below(bound))
        };
        Self {
            variable,
            baseline_n: arms.first().n,
            canary_n: arms.second().n,
            baseline: scaled(arms.first().value()),
            canary: scaled(arms.second().value()),
            difference: scaled(arms.estimate()),
            low: interval.low * scale,
            high: interval.high * scale,
            tolerance,
            until_worse,
            until_within,
        }
    }

    /// An amount of it, with its sign.
    fn amount(&self, amount: f64) -> String {
        match self.variable {
            Variable::Errors | Variable::Quality => format!("{:+.1} %", amount * 100.0),
            Variable::Latency => format!("{amount:+.0} ms"),
            Variable::Cost => format!("{amount:+.*} USD", decimals(amount)),
        }
    }

    /// In words: `errors +9.4 % [+1.3 %, +18.0 %] after 113 of its requests; tolerance +1.0 %`.
    pub fn in_words(&self) -> String {
        let amount = |amount: f64| self.amount(amount);
        let tolerance = if self.variable == Variable::Quality { -self.tolerance } else { self.tolerance };
        let difference = self.difference.map_or_else(|| "not known".to_owned(), amount);
        let what = if self.variable == Variable::Quality { "ratings" } else { "requests" };
        format!(
            "{} {difference} [{}, {}] after {} of its {what}; tolerance {}",
            self.variable.name(),
            amount(self.low),
            amount(self.high),
            self.canary_n,
            amount(tolerance),
        )
    }
}

/// Decimals that show three digits of an amount, and no more than a picodollar has.
fn decimals(amount: f64) -> usize {
    let zeros = (1..12).take_while(|zeros| amount.abs() < 0.1_f64.powi(*zeros)).count();
    (zeros + 3).min(12)
}

impl Experiment {
    /// What was measured, as far as anything was.
    pub fn measures(&self) -> Vec<Measure> {
        let (measured, rule) = (&self.measured, &self.plan.rule);
        let (errors, quality) = (&measured.errors, &measured.quality);
        let test = (&errors.difference, rule.errors);
        let mut measures = vec![Measure::of(Variable::Errors, errors, test, rule.errors, 1.0)];
        if let Some(usual) = &measured.usual {
            let of = |variable, scaled: &Scaled, tolerance: f64, unit: f64| {
                let scale = scaled.cap / unit;
                let tolerance = tolerance * scaled.arms.first().value().unwrap_or(0.0) * scale;
                Measure::of(variable, &scaled.arms, (&scaled.ratio.excess, 0.0), tolerance, scale)
            };
            measures.push(of(Variable::Latency, &usual.latency, rule.latency, 1.0));
            measures.push(of(Variable::Cost, &usual.cost, rule.cost, PICO));
        }
        let test = (&quality.difference, -rule.quality);
        measures.push(Measure::of(Variable::Quality, quality, test, rule.quality, 1.0));
        measures
    }

    pub(super) fn in_words(&self, variable: Variable) -> String {
        let measures = self.measures();
        let measure = measures.iter().find(|measure| measure.variable == variable);
        measure.map_or_else(|| variable.name().to_owned(), Measure::in_words)
    }

    /// About how long until a variable is shown to be within its tolerance, to be put behind its name.
    pub(super) fn until_within(&self, variable: Variable) -> String {
        let measures = self.measures();
        let measure = measures.iter().find(|measure| measure.variable == variable);
        match measure.and_then(|measure| measure.until_within) {
            Some(more) => format!(" (about {more} more requests, at {} for the canary)", percent(self.share())),
            None => String::new(),
        }
    }
}
