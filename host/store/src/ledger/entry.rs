//! One row of the journal, and its place in the chain of hashes.

use std::sync::Arc;

use kairos_pipeline::ledger::{AttemptKey, Ending};
use sha2::{Digest as _, Sha256};

use super::books::TupleKey;
use super::scopes::Counts;

/// What a row says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// An epoch begins: the gateway started.
    Opened,
    /// An attempt may cost up to `high`.
    Reserved,
    /// An attempt cost exactly `high`.
    Settled,
    /// An attempt cost something in [`low`, `high`]; `high` is charged.
    Estimated,
    /// An attempt cost nothing.
    Voided,
    /// Something was drawn on a lease and its row was lost: up to `high`, which is charged.
    Unidentified,
    /// An epoch ended, with nothing open.
    Closed,
}

impl EntryKind {
    /// All kinds.
    pub const ALL: [Self; 7] =
        [Self::Opened, Self::Reserved, Self::Settled, Self::Estimated, Self::Voided, Self::Unidentified, Self::Closed];

    /// The name in the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::Reserved => "reserved",
            Self::Settled => "settled",
            Self::Estimated => "estimated",
            Self::Voided => "voided",
            Self::Unidentified => "unidentified",
            Self::Closed => "closed",
        }
    }

    /// The kind of a name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Whether it ends an attempt's row.
    pub fn is_ending(self) -> bool {
        matches!(self, Self::Settled | Self::Estimated | Self::Voided)
    }

    /// Whether `high` is charged.
    pub fn charges(self) -> bool {
        matches!(self, Self::Settled | Self::Estimated | Self::Unidentified)
    }
}

/// A row of the journal. Amounts are picodollars.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What it says.
    pub kind: EntryKind,
    /// When, in milliseconds since 1970.
    pub at_ms: i64,
    /// The run of the gateway that wrote it.
    pub epoch: i64,
    /// Which attempt it is about.
    pub key: Option<AttemptKey>,
    /// Whom it counts against.
    pub tuple: Option<TupleKey>,
    /// The least.
    pub low: i64,
    /// The most.
    pub high: i64,
    /// What was consumed, as JSON.
    pub usage: Option<String>,
    /// Why it ended so.
    pub why: Option<String>,
    /// Which prices were used.
    pub prices: Option<Arc<str>>,
    /// The caller's tags, as JSON.
    pub tags: Option<String>,
    /// The key's team.
    pub team: Option<Arc<str>>,
    /// Who decided: `name@digest`.
    pub policy: Option<Arc<str>>,
    /// Whether the model had no price. Of reservations; rows of schema 1 do not say.
    pub unpriced: Option<bool>,
    /// Where it counts, for sums of budgets. No part of the row.
    pub(crate) counts: Counts,
}

/// An amount as the database keeps it. What is beyond is the most that it keeps.
pub(crate) fn amount(picodollars: u64) -> i64 {
    i64::try_from(picodollars).unwrap_or(i64::MAX)
}

impl Entry {
    /// A row that is about no attempt.
    pub(crate) fn of_epoch(kind: EntryKind, epoch: i64, at_ms: i64) -> Self {
        Self {
            kind,
            at_ms,
            epoch,
            key: None,
            tuple: None,
            low: 0,
            high: 0,
            usage: None,
            why: None,
            prices: None,
            tags: None,
            team: None,
            policy: None,
            unpriced: None,
            counts: Counts::default(),
        }
    }

    /// The end of an attempt's row.
    pub(crate) fn ending(key: AttemptKey, tuple: TupleKey, ending: &Ending, epoch: i64, at_ms: i64) -> Self {
        let (kind, low, high, usage, why) = match ending {
            Ending::Settled { cost, usage } => (EntryKind::Settled, cost.0, cost.0, Some(usage), None),
            Ending::Estimated { low, high, usage, why } => {
                (EntryKind::Estimated, low.0, high.0, usage.as_ref(), Some(*why))
            }
            Ending::Voided { why } => (EntryKind::Voided, 0, 0, None, Some(*why)),
        };
        Self {
            key: Some(key),
            tuple: Some(tuple),
            low: amount(low),
            high: amount(high),
            // Counters of plain integers: serialising them cannot fail.
            usage: usage.and_then(|usage| serde_json::to_string(usage).ok()),
            why: why.map(str::to_owned),
            ..Self::of_epoch(kind, epoch, at_ms)
        }
    }

    /// What it adds to what is charged.
    pub(crate) fn charged(&self) -> i64 {
        if self.kind.charges() { self.high } else { 0 }
    }

    /// The hash of this row behind the row whose hash is `previous`: SHA-256 of a tag, the previous
    /// hash, and every column as it is stored, each with its presence and its length. A row that has none
    /// of the columns that schema 2 added is hashed as schema 1 did; the tag tells the two apart.
    pub(crate) fn hash(&self, seq: i64, previous: &[u8; 32]) -> [u8; 32] {
        let mut hasher = Sha256::new();
        let is_first = self.team.is_none() && self.policy.is_none() && self.unpriced.is_none();
        hasher.update(if is_first { b"kairos-ledger-1" } else { b"kairos-ledger-2" });
        hasher.update(previous);
        let mut number = |value: Option<i64>| match value {
            Some(value) => {
                hasher.update([1]);
                hasher.update(value.to_le_bytes());
            }
            None => hasher.update([0]),
        };
        number(Some(seq));
        number(Some(self.at_ms));
        number(Some(self.epoch));
        number(self.key.map(|key| i64::from(key.attempt)));
        number(self.tuple.as_ref().map(|tuple| i64::from(tuple.day)));
        number(Some(self.low));
        number(Some(self.high));
        if !is_first {
            number(self.unpriced.map(i64::from));
        }
        let mut bytes = |value: Option<&[u8]>| match value {
            Some(value) => {
                hasher.update([1]);
                hasher.update((value.len() as u64).to_le_bytes());
                hasher.update(value);
            }
            None => hasher.update([0]),
        };
        bytes(Some(self.kind.name().as_bytes()));
        bytes(self.key.as_ref().map(|key| &key.request.as_bytes()[..]));
        bytes(self.tuple.as_ref().map(|tuple| tuple.caller.as_bytes()));
        bytes(self.tuple.as_ref().map(|tuple| tuple.model.as_bytes()));
        bytes(self.usage.as_deref().map(str::as_bytes));
        bytes(self.why.as_deref().map(str::as_bytes));
        bytes(self.prices.as_deref().map(str::as_bytes));
        bytes(self.tags.as_deref().map(str::as_bytes));
        if !is_first {
            bytes(self.team.as_deref().map(str::as_bytes));
            bytes(self.policy.as_deref().map(str::as_bytes));
        }
        hasher.finalize().into()
    }
}
