//! Budgets: how much may be spent, by whom, in which time. What is spent of them is the ledger's.

mod period;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use self::period::{Period, Window};
use crate::money::Picodollars;

/// The name of the budget of `[budget]`: of all callers together, in a UTC day.
pub const DAILY: &str = "daily";

/// One budget.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// Its name, for people and errors.
    pub name: Arc<str>,
    /// What counts, and in which time.
    pub counting: Counting,
    /// The most that may be spent in that time; none: operators are told only.
    pub limit: Option<Picodollars>,
    /// Amounts at which operators are told, the least first.
    pub alerts: Vec<Picodollars>,
    /// What follows once nothing is left.
    pub over: Over,
}

impl Rule {
    /// The budget of `[budget]`.
    pub fn daily(limit: Option<Picodollars>, alert: Option<Picodollars>) -> Self {
        Self {
            name: DAILY.into(),
            counting: Counting { covers: Covers::default(), window: Window::utc_day() },
            limit,
            alerts: alert.into_iter().collect(),
            over: Over::Refuse,
        }
    }
}

/// What a part of a limit comes to, rounded up.
pub fn part_of(limit: Picodollars, part: f64) -> Picodollars {
    // Money is never multiplied by a fraction of binary places.
    let millionths = (part * 1e6).round() as u128;
    let amount = u128::from(limit.0).saturating_mul(millionths).div_ceil(1_000_000);
    Picodollars(u64::try_from(amount).unwrap_or(u64::MAX))
}

/// Parts of a limit at which operators are told, where nothing else is said.
pub const ALERTS: [f64; 2] = [0.8, 1.0];

/// The budget that a key has of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OfKey {
    /// The most that may be spent.
    pub limit_usd: Picodollars,
    /// In which time.
    pub window: Window,
}

impl OfKey {
    /// It, of a key.
    pub fn rule(&self, key: &str) -> Rule {
        let covers = Covers { key: Some(key.to_owned()), ..Covers::default() };
        Rule {
            name: format!("key:{key}").into(),
            counting: Counting { covers, window: self.window.clone() },
            limit: Some(self.limit_usd),
            alerts: ALERTS.iter().map(|part| part_of(self.limit_usd, *part)).collect(),
            over: Over::Refuse,
        }
    }
}

/// What follows once nothing is left of a budget.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Over {
    /// What could pass it is refused.
    #[default]
    Refuse,
    /// Requests go on, cheaper: those of low priority are refused, those that name no model are offered the
    /// cheapest.
    Degrade,
}

/// What counts against a budget. Two budgets that count alike have spent the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counting {
    /// Whose requests.
    #[serde(flatten)]
    pub covers: Covers,
    /// In which time.
    #[serde(flatten)]
    pub window: Window,
}

impl Counting {
    /// The text by which the ledger knows it.
    pub fn identity(&self) -> String {
        // Texts and numbers: serialising them cannot fail.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// Whose requests a budget covers: all that have every one of these; none given: all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Covers {
    /// The caller's key.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub key: Option<String>,
    /// The key's team.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub team: Option<String>,
    /// The model's id.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub model: Option<String>,
    /// A tag, name and value.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub tag: Option<(String, String)>,
}

/// Who spends.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spender<'a> {
    /// The caller's key.
    pub key: &'a str,
    /// The key's team.
    pub team: Option<&'a str>,
    /// The request's tags.
    pub tags: &'a [(String, String)],
}

impl Covers {
    /// Whether it covers what somebody spends on a model; on no model yet: whether it does so whatever the
    /// model.
    pub fn covers(&self, who: &Spender<'_>, model: Option<&str>) -> bool {
        let is = |wanted: &Option<String>, found: Option<&str>| wanted.is_none() || wanted.as_deref() == found;
        is(&self.key, Some(who.key))
            && is(&self.team, who.team)
            && is(&self.model, model)
            && self.tag.as_ref().is_none_or(|wanted| who.tags.contains(wanted))
    }

    /// Whether it may cover what a key spent on a model, of which no more is known.
    pub fn may_cover(&self, key: &str, model: &str) -> bool {
        let is = |wanted: &Option<String>, found: &str| wanted.as_deref().is_none_or(|wanted| wanted == found);
        is(&self.key, key) && is(&self.model, model)
    }
}

impl std::fmt::Display for Covers {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let tag = self.tag.as_ref().map(|(name, value)| format!("{name}={value}"));
        let named = [("key", &self.key), ("team", &self.team), ("model", &self.model), ("tag", &tag)];
        let texts = named.iter().filter_map(|(what, value)| value.as_ref().map(|value| format!("{what} {value}")));
        let texts: Vec<_> = texts.collect();
        formatter.write_str(if texts.is_empty() { "all" } else { "" })?;
        formatter.write_str(&texts.join(", "))
    }
}

/// How a budget stands.
#[derive(Clone, Debug)]
pub struct Status {
    /// Which.
    pub rule: Arc<Rule>,
    /// When its period began, in milliseconds since 1970.
    pub began_ms: i64,
    /// When it ends; of a window that rolls: none.
    pub ends_ms: Option<i64>,
    /// What is spent in it.
    pub charged: u64,
    /// What requests under way have reserved of it.
    pub open: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covers(text: &str) -> Covers {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_budget_covers_what_has_everything_that_it_names() {
        let tags = [("env".to_owned(), "prod".to_owned()), ("team".to_owned(), "ads".to_owned())];
        let who = Spender { key: "k", team: Some("search"), tags: &tags };
        for (text, is_covered, whatever_the_model) in [
            ("{}", true, true),
            (r#"{"key": "k"}"#, true, true),
            (r#"{"key": "other"}"#, false, false),
            (r#"{"team": "search", "model": "m"}"#, true, false),
            // A caller's own tag makes nobody another team.
            (r#"{"team": "ads"}"#, false, false),
            (r#"{"tag": ["env", "prod"], "key": "k"}"#, true, true),
            (r#"{"tag": ["env", "test"]}"#, false, false),
            (r#"{"model": "n"}"#, false, false),
        ] {
            let covers = covers(text);
            assert_eq!(covers.covers(&who, Some("m")), is_covered, "{text}");
            assert_eq!(covers.covers(&who, None), whatever_the_model, "{text}");
        }
        assert!(!covers(r#"{"team": "search"}"#).covers(&Spender::default(), None));
        assert!(covers(r#"{"team": "search", "tag": ["a", "b"]}"#).may_cover("k", "m"));
        assert!(!covers(r#"{"team": "search", "key": "other"}"#).may_cover("k", "m"));
    }

    #[test]
    fn how_budgets_count_is_read_back() {
        for text in [
            r#"{"calendar":{"period":"day","zone":"Europe/Berlin"}}"#,
            r#"{"key":"k","team":"t","model":"m","tag":["a","b"],"rolling":{"seconds":86400}}"#,
        ] {
            let counting: Counting = serde_json::from_str(text).unwrap();
            assert_eq!(counting.identity(), text);
        }
        assert_eq!(covers(r#"{"key":"k","tag":["a","b"]}"#).to_string(), "key k, tag a=b");
        assert_eq!(Covers::default().to_string(), "all");
    }
}
