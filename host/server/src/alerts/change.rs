//! What there is to tell of a budget: each threshold once a period, and once that it is over.

use kairos_pipeline::budget::Status;
use kairos_pipeline::money::Picodollars;
use kairos_pipeline::request::RequestId;
use kairos_store::alerts::Told;
use serde_json::{Value, json};

use crate::admin::moment;
use crate::budgets::status_json;

/// Something to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// A threshold was passed.
    Passed(Picodollars),
    /// Spending is below what was told: why.
    Over(&'static str),
}

/// How many thresholds a budget has passed.
pub(super) fn level_of(status: &Status) -> usize {
    status.rule.alerts.iter().filter(|alert| alert.0 <= status.charged).count()
}

/// What is to be told of a budget that stands so, and what was told then.
pub(super) fn changes(told: Option<Told>, status: &Status, level: usize) -> (Vec<Change>, Told) {
    let mut told = told.unwrap_or(Told { began_ms: began(status), level: 0 });
    let mut changes = Vec::new();
    let rolls = status.ends_ms.is_none();
    if let Some(ends) = status.ends_ms.filter(|_| told.began_ms > status.began_ms) {
        let (began, ended) = status.rule.counting.window.part(ends);
        if (began..ended).contains(&told.began_ms) {
            // A clock that went back a little: the period after this one was told of.
            return (changes, told);
        }
        // One that was far ahead, or the budget has other periods now.
        told = Told { began_ms: status.began_ms, level: 0 };
    }
    if !rolls && told.began_ms < status.began_ms {
        if told.level > 0 {
            changes.push(Change::Over("a new period has begun"));
        }
        told = Told { began_ms: status.began_ms, level: 0 };
    }
    if level < told.level && (!rolls || level == 0) {
        // What rolls may be passed again soon: only all of it is the end.
        changes.push(Change::Over(if rolls { "spending has fallen" } else { "the limit was raised" }));
        told.level = level;
    }
    let passed = status.rule.alerts.get(told.level..level).unwrap_or_default();
    changes.extend(passed.iter().map(|alert| Change::Passed(*alert)));
    told.level = told.level.max(level);
    (changes, told)
}

/// Of a window that rolls there is no beginning.
fn began(status: &Status) -> i64 {
    if status.ends_ms.is_some() { status.began_ms } else { 0 }
}

impl Change {
    /// What is sent. Its id is the same however often it is sent.
    pub(super) fn body(self, status: &Status, now_ms: u64) -> String {
        let (kind, threshold, why) = match self {
            Self::Passed(threshold) => ("threshold_passed", json!(threshold), Value::Null),
            Self::Over(why) => ("recovered", Value::Null, json!(why)),
        };
        json!({
            "id": RequestId::mint().to_string(),
            "kind": kind,
            "at": moment(now_ms),
            "threshold_usd": threshold,
            "why": why,
            "budget": status_json(status),
        })
        .to_string()
    }

    pub(super) fn log(self, status: &Status) {
        let (budget, spent_usd) = (&*status.rule.name, Picodollars(status.charged));
        match self {
            Self::Passed(threshold_usd) => {
                tracing::warn!(budget, %spent_usd, %threshold_usd, "the spending of a budget has passed an alert threshold");
            }
            Self::Over(why) => {
                tracing::info!(budget, %spent_usd, why, "the spending of a budget is below its alert thresholds again");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use kairos_pipeline::budget::{Counting, Over, Rule};

    use super::*;

    const DAY: i64 = 86_400_000;

    fn status(charged: u64, day: Option<i64>, limit: u64) -> Status {
        let window = if day.is_some() {
            r#"{"calendar":{"period":"day","zone":"UTC"}}"#
        } else {
            r#"{"rolling":{"seconds":60}}"#
        };
        let counting: Counting = serde_json::from_str(window).unwrap();
        let alerts = [limit / 2, limit].map(Picodollars).to_vec();
        let rule = Rule { name: "b".into(), counting, limit: Some(Picodollars(limit)), alerts, over: Over::Refuse };
        let began_ms = day.unwrap_or(7) * DAY;
        Status { rule: Arc::new(rule), began_ms, ends_ms: day.map(|day| (day + 1) * DAY), charged, open: 0 }
    }

    /// Tells of one after the other; what is told of each.
    fn told(all: &[Status]) -> Vec<String> {
        let mut told = None;
        let tell = |status: &Status| {
            let (changes, after) = changes(told, status, level_of(status));
            told = Some(after);
            let texts = changes.iter().map(|change| match change {
                Change::Passed(alert) => format!("passed {}", alert.0),
                Change::Over(why) => (*why).to_owned(),
            });
            texts.collect::<Vec<_>>().join(", ")
        };
        all.iter().map(tell).collect()
    }

    /// A clock that was far ahead once, or other periods, do not mute a budget.
    #[test]
    fn what_was_told_of_another_time_is_no_reason_for_silence() {
        let day = |charged, day| status(charged, Some(day), 100);
        assert_eq!(told(&[day(50, 500), day(50, 3), day(100, 3)]), ["passed 50", "passed 50", "passed 100"]);
    }

    #[test]
    fn each_threshold_is_told_once_a_period() {
        let day = |charged, day| status(charged, Some(day), 100);
        let all = [day(49, 1), day(50, 1), day(99, 1), day(100, 1), day(100, 1), day(0, 2), day(100, 2), day(60, 1)];
        assert_eq!(
            told(&all),
            ["", "passed 50", "", "passed 100", "", "a new period has begun", "passed 50, passed 100", ""]
        );
    }

    #[test]
    fn a_limit_that_is_raised_is_the_end_of_it() {
        let all =
            [status(100, Some(1), 100), status(100, Some(1), 150), status(150, Some(1), 150), status(9, Some(3), 150)];
        assert_eq!(
            told(&all),
            ["passed 50, passed 100", "the limit was raised", "passed 150", "a new period has begun"]
        );
    }

    #[test]
    fn what_rolls_is_over_once_no_threshold_is_passed() {
        let all = [100, 60, 100, 40, 55].map(|charged| status(charged, None, 100));
        assert_eq!(told(&all), ["passed 50, passed 100", "", "", "spending has fallen", "passed 50"]);
    }
}
