//! Which lines of the ledger are meant.

use kairos_store::ledger::{Line, Range};
use serde_json::{Value, json};

use super::signed_dollars;

/// Which lines are meant: each that is asked for one of the values of every kind that has any.
#[derive(Clone, Debug)]
pub(crate) struct Filter {
    /// When they were spent.
    pub(crate) range: Range,
    keys: Vec<String>,
    teams: Vec<String>,
    models: Vec<String>,
    /// `name@digest`, a beginning of it, or the name.
    policies: Vec<String>,
    tags: Vec<(String, String)>,
}

/// What one filter takes at most: each is compared with each line.
const MOST: usize = 64;

/// What cannot be asked for.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum NameError {
    /// A word that is none.
    #[error("`{0}` is unknown; there are since, until, key, team, model, policy, tag and, for sums, by")]
    Unknown(String),
    /// A time that is none.
    #[error(
        "{name}: {value:?} is not a time: a date as 2026-11-23, a time as 2026-11-23T14:00:00Z, or how long ago, as 90s, 30m, 24h or 7d"
    )]
    Time {
        /// Of what.
        name: &'static str,
        /// What was said.
        value: String,
    },
    /// A tag without its value.
    #[error("tag: {0:?} is not a tag with its value, as project=search")]
    Tag(String),
    /// Too many values.
    #[error("{name}: more than {MOST} values are asked for")]
    Many {
        /// Of what.
        name: String,
    },
    /// A time after the end.
    #[error("since is not before until: no line lies between them")]
    Empty,
}

impl Default for Filter {
    fn default() -> Self {
        let none = Vec::new;
        Self { range: Range::ALL, keys: none(), teams: none(), models: none(), policies: none(), tags: Vec::new() }
    }
}

/// A time in milliseconds since 1970: a date (its beginning, in UTC), a time, or how long ago.
pub(crate) fn time(name: &'static str, value: &str, now_ms: i64) -> Result<i64, NameError> {
    let wrong = || NameError::Time { name, value: value.chars().take(80).collect() };
    if let Ok(date) = value.parse::<jiff::civil::Date>()
        && value.len() == 10
    {
        let at = date.to_zoned(jiff::tz::TimeZone::UTC).map_err(|_| wrong())?;
        return Ok(at.timestamp().as_millisecond());
    }
    if let Ok(at) = value.parse::<jiff::Timestamp>() {
        return Ok(at.as_millisecond());
    }
    let ago = crate::config::age(value).map_err(|_| wrong())?;
    Ok(now_ms.saturating_sub(i64::try_from(ago).unwrap_or(i64::MAX)))
}

impl Filter {
    /// Asks for `value` of what `name` says; what is said of one name several times is any of them.
    pub(crate) fn set(&mut self, name: &str, value: &str, now_ms: i64) -> Result<(), NameError> {
        let list = match name {
            "since" => {
                self.range.since_ms = time("since", value, now_ms)?;
                return Ok(());
            }
            "until" => {
                self.range.until_ms = time("until", value, now_ms)?;
                return Ok(());
            }
            "tag" => {
                let tag = value.split_once('=').filter(|(name, _)| !name.is_empty());
                let tag = tag.ok_or_else(|| NameError::Tag(value.chars().take(80).collect()))?;
                if self.tags.len() == MOST {
                    return Err(NameError::Many { name: name.to_owned() });
                }
                self.tags.push((tag.0.to_owned(), tag.1.to_owned()));
                return Ok(());
            }
            "key" => &mut self.keys,
            "team" => &mut self.teams,
            "model" => &mut self.models,
            "policy" => &mut self.policies,
            _ => return Err(NameError::Unknown(name.chars().take(80).collect())),
        };
        if list.len() == MOST {
            return Err(NameError::Many { name: name.to_owned() });
        }
        list.push(value.to_owned());
        Ok(())
    }

    /// Once all is said: whether anything can be meant.
    pub(crate) fn check(&self) -> Result<(), NameError> {
        if self.range.since_ms < self.range.until_ms { Ok(()) } else { Err(NameError::Empty) }
    }

    /// Whether a line of the range is meant.
    pub(crate) fn admits(&self, line: &Line) -> Admits {
        let tuple = line.row.tuple.as_ref();
        let any = |list: &[String], value: Option<&str>| {
            list.is_empty() || value.is_some_and(|value| list.iter().any(|wanted| wanted == value))
        };
        if !any(&self.keys, tuple.map(|tuple| &*tuple.caller)) || !any(&self.models, tuple.map(|tuple| &*tuple.model)) {
            return Admits::No;
        }
        // Of what is about no attempt nobody knows whose policy and tags it was.
        let is_loose = line.row.key.is_none();
        let narrowed =
            !self.policies.is_empty() || !self.tags.is_empty() || (!self.teams.is_empty() && line.row.team.is_none());
        if is_loose && narrowed {
            return Admits::Unknown;
        }
        let policy = line.row.policy.as_deref();
        let is_policy = self.policies.is_empty()
            || policy.is_some_and(|policy| self.policies.iter().any(|wanted| names(policy, wanted)));
        if any(&self.teams, line.row.team.as_deref()) && is_policy && self.has_tags(line) {
            Admits::Yes
        } else {
            Admits::No
        }
    }

    fn has_tags(&self, line: &Line) -> bool {
        if self.tags.is_empty() {
            return true;
        }
        let tags = tags(line);
        // Values of one tag are any of them; several tags are all of them.
        self.tags.iter().all(|(name, _)| {
            self.tags
                .iter()
                .filter(|(other, _)| other == name)
                .any(|(name, value)| tags.iter().any(|(known, is)| known == name && is == value))
        })
    }
}

/// Whether a policy, `name@digest`, is the one that is asked for: by its name, or by a beginning with some
/// of its digest.
fn names(policy: &str, wanted: &str) -> bool {
    policy == wanted
        || policy.split_once('@').is_some_and(|(name, digest)| {
            name == wanted
                || wanted.split_once('@').is_some_and(|(n, d)| n == name && !d.is_empty() && digest.starts_with(d))
        })
}

/// The tags of a line.
pub(crate) fn tags(line: &Line) -> Vec<(String, String)> {
    let tags = line.row.tags.as_deref();
    tags.and_then(|tags| serde_json::from_str::<serde_json::Map<String, Value>>(tags).ok())
        .map(|tags| {
            tags.into_iter()
                .map(|(name, value)| {
                    let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                    (name, value)
                })
                .collect()
        })
        .unwrap_or_default()
}

/// Whether a line is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admits {
    /// It is.
    Yes,
    /// It is not.
    No,
    /// Its row does not say: what a crash left belongs to a key and a model, and to nobody's tags.
    Unknown,
}

/// Lines that a filter leaves out because nobody knows whether they are meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LeftOut {
    /// How many.
    pub(crate) rows: u64,
    /// What they are charged at, in picodollars.
    pub(crate) charged: i128,
}

impl LeftOut {
    fn add(&mut self, line: &Line) {
        self.rows += 1;
        self.charged += i128::from(line.charged());
    }

    /// Counts a line that is left out so. Whether it is meant.
    pub(crate) fn admits(&mut self, filter: &Filter, line: &Line) -> bool {
        match filter.admits(line) {
            Admits::Yes => return true,
            Admits::Unknown => self.add(line),
            Admits::No => {}
        }
        false
    }

    /// For people; nothing where none is.
    pub(crate) fn text(&self) -> Option<String> {
        let rows = if self.rows == 1 { "row" } else { "rows" };
        let what = "what crashes left, and what bills said of it, names a key and a model, and no team, policy or tag";
        (self.rows > 0).then(|| format!("left out: {} {rows}, {} USD: {what}", self.rows, signed_dollars(self.charged)))
    }

    /// As JSON.
    pub(crate) fn json(&self) -> Value {
        json!({"rows": self.rows, "charged_usd": signed_dollars(self.charged)})
    }
}
