//! Budgets: what may be spent, by whom, in which time.

use std::sync::Arc;

use jiff::tz::TimeZone;
use kairos_pipeline::budget::{ALERTS, Counting, Covers, DAILY, Over, Period, Rule, Window, part_of};
use kairos_pipeline::money::Picodollars;
use kairos_pipeline::request::is_tag;
use serde::{Deserialize, Serialize};

use super::super::values::{Dollars, SecretText, age};

/// Budgets of the configuration: each request is held against every one that covers it.
pub(crate) const MOST_BUDGETS: usize = 64;
/// Alert thresholds of one budget.
const MOST_ALERTS: usize = 8;
/// The shortest and the longest window that rolls.
const SHORTEST_S: u64 = 60;
const LONGEST_S: u64 = 31 * 86_400;

/// The budget of all callers together, in a UTC day.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct Budget {
    /// The most in a UTC day, in US dollars. What could pass it is refused.
    pub(crate) daily_limit_usd: Option<Dollars>,
    /// Spending in a UTC day at which the operator is told, once.
    pub(crate) alert_threshold_usd: Option<Dollars>,
}

/// Where alerts of budgets go, beside the log.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct AlertSettings {
    /// An address that they are POSTed to. It may hold a token.
    pub(crate) webhook_url: Option<SecretText>,
    /// What they are signed with there.
    pub(crate) webhook_secret: Option<SecretText>,
    /// The ARN of a topic of SNS's that they are published to.
    pub(crate) sns: Option<String>,
    /// Alerts that may wait to be delivered to either; then the oldest are dropped.
    pub(crate) outbox: usize,
}

impl Default for AlertSettings {
    fn default() -> Self {
        Self { webhook_url: None, webhook_secret: None, sns: None, outbox: 1_000 }
    }
}

/// One entry of `[[budgets]]`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct BudgetSettings {
    name: String,
    key: Option<String>,
    team: Option<String>,
    model: Option<String>,
    tag: Option<String>,
    limit_usd: Dollars,
    period: Option<Period>,
    rolling: Option<String>,
    time_zone: Option<String>,
    #[serde(default = "default_alerts")]
    alerts: Vec<f64>,
    #[serde(default)]
    over: Over,
}

fn default_alerts() -> Vec<f64> {
    ALERTS.to_vec()
}

impl BudgetSettings {
    /// The name of the model that it is of.
    pub(crate) fn model(&self) -> Option<&str> {
        self.model.as_deref()
    }

    /// The budget, or what is wrong with it. `model` finds the id of a model by any of its names.
    pub(crate) fn rule(&self, model: impl Fn(&str) -> Result<String, String>) -> Result<Rule, String> {
        let Self { name, key, team, limit_usd: Dollars(limit), over, .. } = self;
        let shown = super::super::shortened(name);
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte);
        if !(1..=64).contains(&name.len()) || !name.bytes().all(plain) {
            return Err(format!("{shown:?} is no name of a budget: 1 to 64 of a–z, 0–9, `-`, `_` and `.` are one"));
        }
        let wrong = |what: String| format!("{name}: {what}");
        if name == DAILY {
            return Err(wrong("the budget of this name is the one under [budget]".to_owned()));
        }
        if limit.0 == 0 {
            return Err(wrong("limit_usd: it is above 0".to_owned()));
        }
        let tag = self.tag.as_deref().map(tag_of).transpose().map_err(wrong)?;
        let model = self.model.as_deref().map(model).transpose().map_err(wrong)?;
        let window = self.window().map_err(wrong)?;
        let alerts = self.amounts(*limit).map_err(wrong)?;
        let covers = Covers { key: key.clone(), team: team.clone(), model, tag };
        let counting = Counting { covers, window };
        Ok(Rule { name: name.as_str().into(), counting, limit: Some(*limit), alerts, over: *over })
    }

    fn window(&self) -> Result<Window, String> {
        window(self.period, self.rolling.as_deref(), self.time_zone.as_deref())
    }

    /// The amounts that alert thresholds are.
    fn amounts(&self, limit: Picodollars) -> Result<Vec<Picodollars>, String> {
        let most = if self.over == Over::Degrade { 10.0 } else { 1.0 };
        let is_part = |part: &f64| (0.000_001..=most).contains(part);
        if self.alerts.len() > MOST_ALERTS
            || !self.alerts.iter().all(is_part)
            || !self.alerts.is_sorted_by(|a, b| a < b)
        {
            return Err(format!(
                "alerts: at most {MOST_ALERTS} parts of the limit, above 0 and up to {most}, the least first"
            ));
        }
        Ok(self.alerts.iter().map(|part| part_of(limit, *part)).collect())
    }
}

/// In which time a budget counts.
pub(crate) fn window(period: Option<Period>, rolling: Option<&str>, zone: Option<&str>) -> Result<Window, String> {
    match (period, rolling) {
        (Some(period), None) => {
            let zone = zone.unwrap_or("UTC");
            let found = TimeZone::get(zone).map_err(|_| {
                format!(
                    "time_zone: {zone:?} is not known here; one is written as Europe/Berlin, from the system's tzdata"
                )
            })?;
            Ok(Window::Calendar { period, zone: found })
        }
        (None, Some(_)) if zone.is_some() => Err("time_zone: a window that rolls has none".to_owned()),
        (None, Some(rolling)) => {
            let seconds = age(rolling).map_err(|wrong| format!("rolling: {wrong}"))? / 1_000;
            if !(SHORTEST_S..=LONGEST_S).contains(&seconds) {
                return Err(format!("rolling: {rolling} is out of range: it may be from 1m to 31d"));
            }
            Ok(Window::Rolling { seconds })
        }
        (None, None) => Err("either `period` (minute, hour, day, week, month) or `rolling` is needed".to_owned()),
        (Some(_), Some(_)) => Err("`period` and `rolling` exclude each other".to_owned()),
    }
}

fn tag_of(text: &str) -> Result<(String, String), String> {
    let tag = text.split_once('=').filter(|(name, value)| !name.is_empty() && is_tag(name) && is_tag(value));
    let (name, value) = tag.ok_or_else(|| format!("tag: {text:?} is none; one is written as \"env=prod\""))?;
    Ok((name.to_owned(), value.to_owned()))
}

/// All budgets of a configuration of whose models is known what they are, or everything that is wrong with them.
pub(crate) fn rules(
    daily: &Budget,
    budgets: &[BudgetSettings],
    is_known: impl Fn(&str) -> bool,
    model: impl Fn(&str) -> Result<String, String>,
) -> Result<Vec<Arc<Rule>>, Vec<String>> {
    let (mut rules, mut wrong) = (Vec::new(), Vec::new());
    let amount = |dollars: Option<Dollars>| dollars.map(|dollars| dollars.0);
    let (limit, alert) = (amount(daily.daily_limit_usd), amount(daily.alert_threshold_usd));
    if limit.is_some() || alert.is_some() {
        rules.push(Arc::new(Rule::daily(limit, alert)));
    }
    if budgets.len() > MOST_BUDGETS {
        wrong.push(format!("{} are more than the {MOST_BUDGETS} that there can be", budgets.len()));
    }
    for settings in budgets.iter().filter(|settings| settings.model().is_none_or(&is_known)) {
        match settings.rule(&model) {
            Err(what) => wrong.push(what),
            Ok(rule) if rules.iter().any(|known| known.name == rule.name) => {
                wrong.push(format!("{}: there are two of this name", rule.name));
            }
            Ok(rule) => rules.push(Arc::new(rule)),
        }
    }
    if wrong.is_empty() { Ok(rules) } else { Err(wrong) }
}
