//! `kairos policy shadow` and `canary`, and what is said of what is tried.

use http::Method;
use kairos_sandbox::canary::{Measure, Report, Variable};
use serde_json::{Value, json};

use super::super::Failed;
use super::life::{Asked, number, shown, text};
use crate::admin::moment;

#[derive(Debug, clap::Args)]
pub(crate) struct Shadow {
    /// The first characters of the version's SHA-256, 6 at least
    digest: String,
    /// The part of the questions that it is asked [default: 0.1]
    #[arg(long, value_name = "PART")]
    sample: Option<f64>,
    /// The slot that it is for [default: the one that has it]
    #[arg(long, value_name = "SLOT")]
    slot: Option<String>,
    #[command(flatten)]
    asked: Asked,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Canary {
    /// The first characters of the version's SHA-256, 6 at least
    digest: String,
    /// The part of the requests that it decides [default: policies.canary.share]
    #[arg(long, value_name = "PART")]
    share: Option<f64>,
    /// Keep all requests that carry one value of this tag in one arm; of each value the first counts
    #[arg(long, value_name = "TAG")]
    sticky: Option<String>,
    /// Let its share grow, and promote it, by itself
    #[arg(long)]
    auto: bool,
    /// The metric of feedback that quality is [default: quality]
    #[arg(long, value_name = "NAME")]
    metric: Option<String>,
    /// The slot that it is for [default: the one that has it]
    #[arg(long, value_name = "SLOT")]
    slot: Option<String>,
    #[command(flatten)]
    asked: Asked,
}

impl Shadow {
    pub(super) fn run(self) -> Result<(), Failed> {
        let body = json!({"digest": self.digest, "sample": self.sample});
        let slot = self.asked.slot_of(self.slot.as_deref(), &self.digest)?;
        let done = self.asked.done(Method::POST, &slot, "shadow", body)?;
        self.asked.say(&done, "is asked as well; kairos policy list says how it compares")
    }
}

impl Canary {
    pub(super) fn run(self) -> Result<(), Failed> {
        let Self { digest, share, sticky, auto, metric, .. } = &self;
        let body = json!({"digest": digest, "share": share, "sticky": sticky, "auto": auto, "metric": metric});
        let slot = self.asked.slot_of(self.slot.as_deref(), digest)?;
        let done = self.asked.done(Method::POST, &slot, "canary", body)?;
        self.asked.say(&done, "serves a share; kairos policy list says how it compares, kairos policy rollback ends it")
    }
}

/// What is said of what is tried in a slot: the newest experiment, or all; the shadow, and where all is
/// asked for, what it would have decided otherwise.
pub(super) fn lines(slot: &Value, all: bool, lines: &mut Vec<String>) {
    let experiments: Vec<Report> = serde_json::from_value(slot["experiments"].clone()).unwrap_or_default();
    for report in experiments.iter().take(if all { usize::MAX } else { 1 }) {
        experiment(report, lines);
    }
    let shadow = &slot["shadow"];
    if shadow.is_null() {
        return;
    }
    let compared = &shadow["compared"];
    lines.push(format!(
        "  shadow {}: agreed {}, differed {}, failed {}, not asked {}",
        shown(text(shadow, "policy")),
        number(compared, "agreed"),
        number(compared, "differed"),
        number(compared, "failed"),
        number(compared, "not_asked"),
    ));
    for difference in compared["differences"].as_array().filter(|_| all).into_iter().flatten() {
        let field = |name: &str| text(difference, name);
        lines.push(format!("    {}: {} instead of {}", field("task"), field("shadow"), field("decided")));
    }
}

fn experiment(report: &Report, lines: &mut Vec<String>) {
    let share = report.share * 100.0;
    let state = match &report.verdict {
        None => format!("{share} % of the requests since {}", moment(report.began_ms)),
        Some(verdict) => verdict.text.clone(),
    };
    let (canary, baseline) = (shown(&report.canary), shown(&report.baseline));
    lines.push(format!("  experiment {}: {canary} against {baseline}: {state}", report.id));
    if report.verdict.is_some() {
        return;
    }
    lines.extend(report.measures.iter().map(|measure| format!("    {}", measure.in_words())));
    lines.extend(report.measures.iter().filter_map(left));
    if report.plan.auto {
        lines.extend(report.waits_for.iter().map(|what| format!("    waits for {what}")));
    } else {
        lines.push("    a person promotes it: kairos policy activate".to_owned());
    }
}

/// How many more requests the difference would need, if it is as it looks.
fn left(measure: &Measure) -> Option<String> {
    let what = if measure.variable == Variable::Quality { "ratings" } else { "requests" };
    let name = measure.variable.name();
    if let Some(more) = measure.until_worse {
        return Some(format!("    {name}: about {more} more {what} would show that it is worse than is tolerated"));
    }
    let more = measure.until_within.filter(|more| *more > 0)?;
    Some(format!("    {name}: about {more} more {what} would show that it is within what is tolerated"))
}
