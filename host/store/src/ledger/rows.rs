//! Rows of the journal, to the database and from it.

use std::sync::Arc;

use kairos_pipeline::ledger::AttemptKey;
use kairos_pipeline::request::RequestId;
use rusqlite::{Connection, Row, params};

use super::entry::{Entry, EntryKind};
use super::error::LedgerError;
use super::journal::{Batch, Head};
use super::scopes::Counts;
use super::tuple::TupleKey;
use super::{Map, budgets};

pub(super) fn head_of(connection: &Connection) -> Result<(i64, Head), LedgerError> {
    let mut found = connection.prepare_cached("SELECT epoch, head, hash FROM meta")?;
    Ok(found.query_row([], |row| Ok((row.get(0)?, Head { seq: row.get(1)?, hash: row.get(2)? })))?)
}

pub(super) fn write_rows(connection: &Connection, batch: &Batch) -> Result<(), rusqlite::Error> {
    let mut insert = connection.prepare_cached(
        "INSERT INTO journal (seq, at_ms, epoch, kind, request, attempt, day, caller, model, low, high, usage, why, prices, tags, hash, team, policy, unpriced, target, region, tier, job)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23)",
    )?;
    let mut spent: Map<&TupleKey, [i64; 3]> = Map::default();
    let mut of_budgets: Map<(&str, i64), i64> = Map::default();
    let mut days: Map<u32, i64> = Map::default();
    for (seq, entry, hash) in batch.rows() {
        let tuple = entry.tuple.as_ref();
        insert.execute(params![
            seq,
            entry.at_ms,
            entry.epoch,
            entry.kind.name(),
            entry.key.as_ref().map(|key| &key.request.as_bytes()[..]),
            entry.key.map(|key| key.attempt),
            tuple.map(|tuple| tuple.day),
            tuple.map(|tuple| &*tuple.caller),
            tuple.map(|tuple| &*tuple.model),
            entry.low,
            entry.high,
            entry.usage,
            entry.why,
            entry.prices.as_deref(),
            entry.tags,
            hash,
            entry.team.as_deref(),
            entry.policy.as_deref(),
            entry.unpriced,
            entry.target.as_deref(),
            entry.region.as_deref(),
            entry.tier.as_deref(),
            entry.job.as_deref(),
        ])?;
        if let Some(tuple) = tuple {
            days.entry(tuple.day).or_insert(seq);
        }
        if let Some(tuple) = tuple
            && entry.kind != EntryKind::Reserved
        {
            let sums = spent.entry(tuple).or_default();
            let charged = entry.charged();
            sums[0] = sums[0].saturating_add(charged);
            sums[1] = sums[1].saturating_add(entry.estimated());
            sums[2] += i64::from(entry.kind.is_ending());
            for count in entry.counts.iter().filter(|count| count.is_written && charged > 0) {
                let sum = of_budgets.entry((&count.budget, count.start)).or_default();
                *sum = sum.saturating_add(charged);
            }
        }
    }
    let mut add = connection.prepare_cached(
        "INSERT INTO spent (day, caller, model, charged, estimated, attempts) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT DO UPDATE SET charged = charged + ?4, estimated = estimated + ?5, attempts = attempts + ?6",
    )?;
    for (tuple, [charged, estimated, attempts]) in spent {
        add.execute(params![tuple.day, tuple.caller, tuple.model, charged, estimated, attempts])?;
    }
    for (day, seq) in days {
        budgets::begin_day(connection, day, seq)?;
    }
    budgets::add(connection, &of_budgets)
}

/// A column that a file of an earlier schema has not.
fn added<T>(column: rusqlite::Result<Option<T>>) -> rusqlite::Result<Option<T>> {
    match column {
        Err(rusqlite::Error::InvalidColumnName(_)) => Ok(None),
        column => column,
    }
}

/// Reads a row of the journal, with its place and its hash.
pub(super) fn read_entry(row: &Row<'_>) -> rusqlite::Result<(i64, Entry, [u8; 32])> {
    let kind: String = row.get("kind")?;
    let kind = EntryKind::from_name(&kind).ok_or_else(|| {
        rusqlite::Error::FromSqlConversionFailure(
            3,
            rusqlite::types::Type::Text,
            format!("{kind:?} is no kind of row").into(),
        )
    })?;
    let request: Option<[u8; 16]> = row.get("request")?;
    let attempt: Option<u32> = row.get("attempt")?;
    let (day, caller, model): (Option<u32>, Option<Arc<str>>, Option<Arc<str>>) =
        (row.get("day")?, row.get("caller")?, row.get("model")?);
    let key =
        request.zip(attempt).map(|(request, attempt)| AttemptKey { request: RequestId::from_bytes(request), attempt });
    // Hashes are made of what is read: what is not would not be missed.
    let half = |what: &str| {
        let what = format!("it names {what} by half").into();
        rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Null, what)
    };
    if request.is_some() != attempt.is_some() {
        return Err(half("an attempt"));
    }
    let tuple = match (day, caller, model) {
        (Some(day), Some(caller), Some(model)) => Some(TupleKey { day, caller, model }),
        (None, None, None) => None,
        _ => return Err(half("whom it counts against")),
    };
    let entry = Entry {
        kind,
        at_ms: row.get("at_ms")?,
        epoch: row.get("epoch")?,
        key,
        tuple,
        low: row.get("low")?,
        high: row.get("high")?,
        usage: row.get("usage")?,
        why: row.get("why")?,
        prices: row.get("prices")?,
        tags: row.get("tags")?,
        team: added(row.get("team"))?,
        policy: added(row.get("policy"))?,
        unpriced: added(row.get("unpriced"))?,
        target: added(row.get("target"))?,
        region: added(row.get("region"))?,
        tier: added(row.get::<_, Option<String>>("tier"))?.map(Into::into),
        job: added(row.get("job"))?,
        counts: Counts::default(),
    };
    Ok((row.get("seq")?, entry, row.get("hash")?))
}
