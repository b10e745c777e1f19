//! What lines come to, by whatever they are grouped by.

use std::collections::BTreeMap;

use kairos_dialects::Usage;
use kairos_store::ledger::{EntryKind, LedgerError, Line, Reader};
use serde_json::{Map, Value, json};

use super::filter::{Filter, LeftOut, NameError, tags};
use super::{signed_dollars, utc};

/// Groups that are kept at most: a sum takes memory, a line none.
pub(crate) const MOST_GROUPS: usize = 10_000;
/// Things to group by at most.
const MOST_BY: usize = 6;

/// What lines are grouped by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum By {
    /// The UTC hour.
    Hour,
    /// The UTC day.
    Day,
    /// The ISO week, which begins on Monday, in UTC.
    Week,
    /// The month, in UTC.
    Month,
    /// The caller's key.
    Key,
    /// The key's team.
    Team,
    /// The model that was called.
    Model,
    /// The policy that decided.
    Policy,
    /// What became of it: settled, estimated, voided and so on.
    State,
    /// A tag.
    Tag(String),
}

impl By {
    /// Reads a list: `day,key,tag:project`.
    pub(crate) fn list(text: &str) -> Result<Vec<Self>, ByError> {
        let list = text.split(',').map(str::trim).filter(|name| !name.is_empty()).map(Self::one);
        let list = list.collect::<Result<Vec<_>, _>>()?;
        if list.len() > MOST_BY { Err(ByError::Many) } else { Ok(list) }
    }

    fn one(name: &str) -> Result<Self, ByError> {
        Ok(match name {
            "hour" => Self::Hour,
            "day" => Self::Day,
            "week" => Self::Week,
            "month" => Self::Month,
            "key" => Self::Key,
            "team" => Self::Team,
            "model" => Self::Model,
            "policy" => Self::Policy,
            "state" => Self::State,
            _ => match name.strip_prefix("tag:") {
                Some(tag) if !tag.is_empty() => Self::Tag(tag.to_owned()),
                _ => return Err(ByError::Unknown(name.chars().take(80).collect())),
            },
        })
    }

    /// Its name in tables.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Tag(tag) => format!("tag:{tag}"),
            other => format!("{other:?}").to_lowercase(),
        }
    }

    /// The group that a line is in; empty where its row does not say.
    fn of(&self, line: &Line) -> String {
        let tuple = line.row.tuple.as_ref();
        match self {
            Self::Hour => utc(line.at_ms(), "%Y-%m-%dT%H"),
            Self::Day => utc(line.at_ms(), "%Y-%m-%d"),
            Self::Week => utc(line.at_ms(), "%G-W%V"),
            Self::Month => utc(line.at_ms(), "%Y-%m"),
            Self::Key => tuple.map_or("", |tuple| &*tuple.caller).to_owned(),
            Self::Model => tuple.map_or("", |tuple| &*tuple.model).to_owned(),
            Self::Team => line.row.team.as_deref().unwrap_or_default().to_owned(),
            Self::Policy => line.row.policy.as_deref().unwrap_or_default().to_owned(),
            Self::State => state(line).to_owned(),
            Self::Tag(tag) => {
                tags(line).into_iter().find(|(name, _)| name == tag).map(|(_, value)| value).unwrap_or_default()
            }
        }
    }
}

/// What became of a line. What is reserved and has not ended is open.
pub(crate) fn state(line: &Line) -> &'static str {
    match line.state() {
        EntryKind::Reserved => "open",
        kind => kind.name(),
    }
}

/// Why something cannot be grouped by.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum ByError {
    /// A word that is none.
    #[error("by: {0:?} is unknown; there are hour, day, week, month, key, team, model, policy, state and tag:NAME")]
    Unknown(String),
    /// Too many.
    #[error("by: more than {MOST_BY} are asked for")]
    Many,
}

/// Why there are no sums.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SumsError {
    /// The ledger cannot be read.
    #[error("{0}")]
    Ledger(#[from] LedgerError),
    /// More groups than are kept.
    #[error(
        "there are more than {MOST_GROUPS} groups: ask for less time, or group by less; `kairos ledger export` has every line"
    )]
    Many,
    /// What was asked for is none.
    #[error("{0}")]
    Name(#[from] NameError),
    /// Nor this.
    #[error("{0}")]
    By(#[from] ByError),
}

/// What some lines come to. Amounts are picodollars.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sum {
    /// Attempts that have ended.
    pub(crate) attempts: u64,
    /// Attempts under way.
    pub(crate) open: u64,
    /// What is charged.
    pub(crate) charged: i128,
    /// The part of it that is estimated.
    pub(crate) estimated: i128,
    /// Worst cases of what is under way.
    pub(crate) reserved: i128,
    /// Attempts on models without a price.
    pub(crate) unpriced: u64,
    /// Input tokens, cached or not.
    pub(crate) input: u64,
    /// Output tokens.
    pub(crate) output: u64,
}

impl Sum {
    fn add(&mut self, line: &Line) {
        self.attempts += u64::from(line.end.is_some());
        self.open += u64::from(line.state() == EntryKind::Reserved);
        self.charged += i128::from(line.charged());
        self.estimated += i128::from(line.estimated());
        self.reserved += i128::from(line.open());
        self.unpriced += u64::from(line.row.unpriced == Some(true));
        if let Some(usage) = line.usage().and_then(|usage| serde_json::from_str::<Usage>(usage).ok()) {
            self.input = self.input.saturating_add(usage.all_input());
            self.output = self.output.saturating_add(usage.output);
        }
    }

    /// As JSON: dollars as text, which no reader rounds.
    pub(crate) fn json(&self) -> Value {
        json!({
            "attempts": self.attempts,
            "charged_usd": signed_dollars(self.charged),
            "estimated_usd": signed_dollars(self.estimated),
            "open": self.open,
            "open_usd": signed_dollars(self.reserved),
            "unpriced": self.unpriced,
            "input_tokens": self.input,
            "output_tokens": self.output,
        })
    }
}

/// What the lines of a filter come to, group by group.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sums {
    /// What they are grouped by.
    pub(crate) by: Vec<By>,
    /// Each group.
    pub(crate) groups: BTreeMap<Vec<String>, Sum>,
    /// All of them together.
    pub(crate) total: Sum,
    /// What no filter by team, policy or tag can know of.
    pub(crate) left_out: LeftOut,
}

impl Sums {
    /// Reads them.
    pub(crate) fn read(reader: &Reader, filter: &Filter, by: Vec<By>) -> Result<Self, SumsError> {
        filter.check()?;
        let mut sums = Self { by, ..Self::default() };
        reader.lines(filter.range, |line| if sums.left_out.admits(filter, line) { sums.add(line) } else { Ok(()) })?;
        Ok(sums)
    }

    fn add(&mut self, line: &Line) -> Result<(), SumsError> {
        self.total.add(line);
        if self.by.is_empty() {
            return Ok(());
        }
        let group: Vec<_> = self.by.iter().map(|by| by.of(line)).collect();
        if let Some(sum) = self.groups.get_mut(&group) {
            sum.add(line);
            return Ok(());
        }
        if self.groups.len() == MOST_GROUPS {
            return Err(SumsError::Many);
        }
        self.groups.entry(group).or_default().add(line);
        Ok(())
    }

    /// As JSON.
    pub(crate) fn json(&self) -> Value {
        let groups = self.groups.iter().map(|(group, sum)| {
            let mut row: Map<_, _> =
                self.by.iter().map(By::name).zip(group.iter().map(|value| Value::String(value.clone()))).collect();
            if let Value::Object(sum) = sum.json() {
                row.extend(sum);
            }
            Value::Object(row)
        });
        let mut all = json!({"total": self.total.json(), "groups": groups.collect::<Vec<_>>()});
        if self.left_out.rows > 0 {
            all["left_out"] = self.left_out.json();
        }
        all
    }
}
