//! How budgets stand: as JSON, and as lines of `/metrics`.

use std::fmt::Write as _;

use kairos_pipeline::budget::{Rule, Status, Window};
use kairos_pipeline::money::{Picodollars, dollars};
use serde_json::{Value, json};

use crate::admin::moment;
use crate::config::MOST_BUDGETS;
use crate::edge::App;
use crate::keys::issued;

/// Budgets at `/metrics`: those of the configuration, which come first. Those of keys are listed elsewhere.
const METERED: usize = MOST_BUDGETS + 1;

/// All budgets: those of the configuration, and one of each key.
pub(crate) const MOST: usize = METERED + issued::MOST;

/// How a budget stands.
pub(crate) fn status_json(status: &Status) -> Value {
    let rule = &status.rule;
    let taken = status.charged.saturating_add(status.open);
    let at = |ms: i64| moment(u64::try_from(ms).unwrap_or(0));
    let zone = match &rule.counting.window {
        Window::Calendar { zone, .. } => zone.iana_name(),
        Window::Rolling { .. } => None,
    };
    json!({
        "name": &*rule.name,
        "covers": rule.counting.covers,
        "period": rule.counting.window.to_string(),
        "time_zone": zone,
        "limit_usd": rule.limit,
        "charged_usd": Picodollars(status.charged),
        "open_usd": Picodollars(status.open),
        "left_usd": rule.limit.map(|limit| Picodollars(limit.0.saturating_sub(taken))),
        "alerts_usd": rule.alerts,
        "alerts_passed": rule.alerts.iter().filter(|alert| alert.0 <= status.charged).count(),
        "over": rule.over,
        "since": at(status.began_ms),
        "until": status.ends_ms.map(at),
    })
}

/// The lines of all budgets, in Prometheus's text format.
pub(crate) fn render(app: &App) -> String {
    let statuses = app.ledger.budgets(METERED, |rule| !is_of_key(rule));
    let mut text = String::new();
    let mut family = |name: &str, what: &str, value: fn(&Status) -> Option<u64>| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "# HELP {name} {what}\n# TYPE {name} gauge");
        for (status, value) in statuses.iter().filter_map(|status| Some((status, value(status)?))) {
            let _ = writeln!(text, "{name}{{budget=\"{}\"}} {}", status.rule.name, dollars(u128::from(value)));
        }
    };
    let limit = |status: &Status| status.rule.limit.map(|limit| limit.0);
    family("kairos_budget_limit_usd", "The most that may be spent in a budget's period.", limit);
    family("kairos_budget_spent_usd", "What is spent in the current one.", |status| Some(status.charged));
    family("kairos_budget_open_usd", "What requests under way have reserved of it.", |status| Some(status.open));
    text
}

/// Names of the configuration have no colon.
fn is_of_key(rule: &Rule) -> bool {
    rule.name.contains(':')
}
