//! One row of the journal, and its place in the chain of hashes.

use std::borrow::Cow;
use std::sync::Arc;

use kairos_pipeline::ledger::{AttemptKey, Ending, Reservation};
use serde::Serializer as _;
use sha2::{Digest as _, Sha256};

use super::scopes::Counts;
use super::tuple::TupleKey;

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
    /// The bill said what the estimates of a key and model on a day come to: they were charged at `low`, and
    /// are at `high`.
    Corrected,
    /// An epoch ended, with nothing open.
    Closed,
}

impl EntryKind {
    /// All kinds.
    pub const ALL: [Self; 8] = [
        Self::Opened,
        Self::Reserved,
        Self::Settled,
        Self::Estimated,
        Self::Voided,
        Self::Unidentified,
        Self::Corrected,
        Self::Closed,
    ];

    /// The name in the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::Reserved => "reserved",
            Self::Settled => "settled",
            Self::Estimated => "estimated",
            Self::Voided => "voided",
            Self::Unidentified => "unidentified",
            Self::Corrected => "corrected",
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
    /// Whether the model had no price. Of reservations, as what follows is; rows of schema 1 do not say.
    pub unpriced: Option<bool>,
    /// The id that was called, which says by which route.
    pub target: Option<Arc<str>>,
    /// From which region.
    pub region: Option<Arc<str>>,
    /// In which service tier, as it was asked for.
    pub tier: Option<Cow<'static, str>>,
    /// Of a job: the token that Bedrock knows it by. The row outlives the run that wrote it.
    pub job: Option<Arc<str>>,
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
            target: None,
            region: None,
            tier: None,
            job: None,
            counts: Counts::default(),
        }
    }

    /// What an attempt may cost.
    pub(crate) fn reserved(reservation: &Reservation, tuple: TupleKey, epoch: i64) -> Self {
        Self {
            key: Some(reservation.key),
            tuple: Some(tuple),
            high: amount(reservation.worst.0),
            prices: Some(Arc::clone(&reservation.price_version)),
            tags: written(&reservation.tags),
            team: reservation.team.clone(),
            target: Some(Arc::clone(&reservation.target)),
            region: Some(Arc::clone(&reservation.region)),
            tier: Some(reservation.tier.name().into()),
            policy: reservation.policy.clone(),
            unpriced: Some(reservation.unpriced),
            job: reservation.job.clone(),
            ..Self::of_epoch(EntryKind::Reserved, epoch, amount(reservation.at_ms))
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

    /// What it adds to what is charged: less than nothing where a correction takes something back.
    pub(crate) fn charged(&self) -> i64 {
        match self.kind {
            EntryKind::Corrected => self.high.saturating_sub(self.low),
            kind if kind.charges() => self.high,
            _ => 0,
        }
    }

    /// What it adds to what is estimated: a correction is of all that was.
    pub(crate) fn estimated(&self) -> i64 {
        match self.kind {
            EntryKind::Estimated | EntryKind::Unidentified => self.high,
            EntryKind::Corrected => self.low.saturating_neg(),
            _ => 0,
        }
    }

    /// The first schema that has all columns which the row fills. The third added none.
    fn schema(&self) -> u8 {
        let texts = [&self.team, &self.policy, &self.target, &self.region];
        if self.job.is_some() {
            4
        } else if texts.into_iter().any(Option::is_some) || self.unpriced.is_some() || self.tier.is_some() {
            2
        } else {
            1
        }
    }

    /// The hash of this row behind the row whose hash is `previous`: SHA-256 of a tag, the previous
    /// hash, and every column as it is stored, each with its presence and its length. A row that has none
    /// of the columns that a schema added is hashed as the one before did; the tag tells them apart.
    pub(crate) fn hash(&self, seq: i64, previous: &[u8; 32]) -> [u8; 32] {
        let mut hasher = Sha256::new();
        let schema = self.schema();
        hasher.update(match schema {
            1 => b"kairos-ledger-1",
            2 => b"kairos-ledger-2",
            _ => b"kairos-ledger-4",
        });
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
        if schema > 1 {
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
        if schema > 1 {
            bytes(self.team.as_deref().map(str::as_bytes));
            bytes(self.policy.as_deref().map(str::as_bytes));
            bytes(self.target.as_deref().map(str::as_bytes));
            bytes(self.region.as_deref().map(str::as_bytes));
            bytes(self.tier.as_deref().map(str::as_bytes));
        }
        if schema > 2 {
            bytes(self.job.as_deref().map(str::as_bytes));
        }
        hasher.finalize().into()
    }
}

/// Tags as an object of JSON; none where there are none.
fn written(tags: &[(String, String)]) -> Option<String> {
    if tags.is_empty() {
        return None;
    }
    let mut json = Vec::with_capacity(64);
    let mut serializer = serde_json::Serializer::new(&mut json);
    serializer.collect_map(tags.iter().map(|(name, value)| (name, value))).ok()?;
    String::from_utf8(json).ok()
}
