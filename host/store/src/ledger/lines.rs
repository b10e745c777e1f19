//! What was spent, line by line: each attempt with how it ended, then what is about no attempt.
//!
//! Read page by page, so that a ledger of any size takes the memory of one page, and no snapshot is held
//! while somebody works on what was read: the writer's log can shrink meanwhile.

use std::sync::Arc;

use rusqlite::{Row, params};

use super::entry::{Entry, EntryKind};
use super::error::LedgerError;
use super::read::Reader;
use super::rows::read_entry;

/// Lines that are read in one go.
const PAGE: i64 = 1_000;
/// An attempt is reserved within so much of its request's id, which its range is looked up by: a request
/// lasts some minutes at most, the rest is for clocks that are put right.
const SLACK_MS: i64 = 86_400_000;

/// From when, and until when, in milliseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The first.
    pub since_ms: i64,
    /// The first that is no longer in it.
    pub until_ms: i64,
}

impl Range {
    /// Always.
    pub const ALL: Self = Self { since_ms: i64::MIN, until_ms: i64::MAX };

    /// Whether a time lies in it.
    pub fn holds(&self, at_ms: i64) -> bool {
        (self.since_ms..self.until_ms).contains(&at_ms)
    }
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// When, in milliseconds since 1970.
    pub at_ms: i64,
    /// Settled, estimated or voided.
    pub kind: EntryKind,
    /// The least that it cost.
    pub low: i64,
    /// The most, which is charged.
    pub high: i64,
    /// What was consumed, as JSON.
    pub usage: Option<String>,
    /// Why it ended so.
    pub why: Option<String>,
}

/// An attempt with its end, where it has one; or a row that is about no attempt: unidentified, or a
/// correction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Where its first row is in the journal.
    pub seq: i64,
    /// That row.
    pub row: Entry,
    /// How it ended.
    pub end: Option<End>,
}

impl Line {
    /// What is so by now.
    pub fn state(&self) -> EntryKind {
        self.end.as_ref().map_or(self.row.kind, |end| end.kind)
    }

    /// When it was spent: at the reservation. Of what a crash left it is known on which day only: it counts
    /// when it was found, at the latest at the end of its day; so does a correction.
    pub fn at_ms(&self) -> i64 {
        match &self.row.tuple {
            Some(tuple) if self.row.key.is_none() => {
                let day = i64::from(tuple.day).saturating_mul(86_400_000);
                self.row.at_ms.clamp(day, day.saturating_add(86_399_999))
            }
            _ => self.row.at_ms,
        }
    }

    /// The worst case that was reserved; of what is about no attempt nothing was.
    pub fn reserved(&self) -> i64 {
        if self.row.kind == EntryKind::Reserved { self.row.high } else { 0 }
    }

    /// The least and the most that it cost, or may cost.
    pub fn bounds(&self) -> (i64, i64) {
        match &self.end {
            Some(end) => (end.low, end.high),
            None => (self.row.low, self.row.high),
        }
    }

    /// What is charged for it by now. A correction may take something back.
    pub fn charged(&self) -> i64 {
        match (&self.end, self.row.kind) {
            (Some(end), _) if end.kind.charges() => end.high,
            (None, _) => self.row.charged(),
            _ => 0,
        }
    }

    /// The part of it that is estimated. A correction says of all that was estimated what it was.
    pub fn estimated(&self) -> i64 {
        match &self.end {
            Some(end) if end.kind == EntryKind::Estimated => end.high,
            Some(_) => 0,
            None => self.row.estimated(),
        }
    }

    /// The worst case, where it is still open.
    pub fn open(&self) -> i64 {
        if self.state() == EntryKind::Reserved { self.row.high } else { 0 }
    }

    /// What was consumed, as JSON.
    pub fn usage(&self) -> Option<&str> {
        self.end.as_ref().and_then(|end| end.usage.as_deref())
    }

    /// Why it is as it is.
    pub fn why(&self) -> Option<&str> {
        match &self.end {
            Some(end) => end.why.as_deref(),
            None => self.row.why.as_deref(),
        }
    }
}

/// How an attempt ended, of columns whose names begin with `end_`.
fn read_end(row: &Row<'_>) -> rusqlite::Result<Option<End>> {
    let Some(kind) = row.get::<_, Option<Arc<str>>>("end_kind")? else { return Ok(None) };
    let Some(kind) = EntryKind::from_name(&kind) else {
        let what = format!("{kind:?} is no kind of row").into();
        return Err(rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, what));
    };
    Ok(Some(End {
        at_ms: row.get("end_at_ms")?,
        kind,
        low: row.get("end_low")?,
        high: row.get("end_high")?,
        usage: row.get("end_usage")?,
        why: row.get("end_why")?,
    }))
}

/// Pages of attempts, in the order of their requests. Both lookups are ranges of the one index.
pub(super) const ATTEMPTS: &str = "
SELECT reserved.*, ending.kind AS end_kind, ending.at_ms AS end_at_ms, ending.low AS end_low,
    ending.high AS end_high, ending.usage AS end_usage, ending.why AS end_why
FROM journal AS reserved LEFT JOIN journal AS ending
    ON ending.request = reserved.request AND ending.attempt = reserved.attempt AND (ending.kind = 'reserved') = 0
WHERE (reserved.request, reserved.attempt) > (?1, ?2) AND reserved.request < ?3 AND (reserved.kind = 'reserved') = 1
ORDER BY reserved.request, reserved.attempt LIMIT ?4";

/// Pages of what is about no attempt.
pub(super) const LOOSE: &str = "
SELECT * FROM journal WHERE request IS NULL AND seq > ?1 AND kind IN ('unidentified', 'corrected')
ORDER BY seq LIMIT ?2";

/// The least id of a request that was minted then.
fn first_id(at_ms: i64) -> [u8; 16] {
    // Ids are UUIDs of version 7: 48 bits of milliseconds come first.
    let ms = at_ms.clamp(0, (1 << 48) - 1).to_be_bytes();
    let mut id = [0; 16];
    id[..6].copy_from_slice(&ms[2..]);
    id
}

impl Reader {
    /// Shows every line of a range to `each`, attempts in the order of their requests.
    pub fn lines<E: From<LedgerError>>(
        &self,
        range: Range,
        mut each: impl FnMut(&Line) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut place = (first_id(range.since_ms.saturating_sub(SLACK_MS)), -1i64);
        let end =
            if range.until_ms == i64::MAX { [u8::MAX; 16] } else { first_id(range.until_ms.saturating_add(SLACK_MS)) };
        loop {
            let page = self.attempts(place, end)?;
            let Some(key) = page.last().and_then(|line| line.row.key) else { break };
            place = (*key.request.as_bytes(), i64::from(key.attempt));
            page.iter().filter(|line| range.holds(line.at_ms())).try_for_each(&mut each)?;
        }
        let mut seq = 0;
        loop {
            let page = self.loose(seq)?;
            let Some(last) = page.last() else { return Ok(()) };
            seq = last.seq;
            page.iter().filter(|line| range.holds(line.at_ms())).try_for_each(&mut each)?;
        }
    }

    fn attempts(&self, (request, attempt): ([u8; 16], i64), end: [u8; 16]) -> Result<Vec<Line>, LedgerError> {
        let mut found = self.connection.prepare_cached(ATTEMPTS)?;
        let lines = found.query_map(params![request, attempt, end, PAGE], |row| {
            let (seq, entry, _) = read_entry(row)?;
            Ok(Line { seq, row: entry, end: read_end(row)? })
        })?;
        let lines = lines.collect::<Result<Vec<_>, _>>()?;
        // Else the next page would begin where this one did.
        match lines.iter().find(|line| line.row.key.is_none()) {
            Some(line) => Err(LedgerError::Damaged(format!("row {}: it names no attempt", line.seq))),
            None => Ok(lines),
        }
    }

    fn loose(&self, after: i64) -> Result<Vec<Line>, LedgerError> {
        let mut found = self.connection.prepare_cached(LOOSE)?;
        let lines = found
            .query_map(params![after, PAGE], |row| read_entry(row).map(|(seq, row, _)| Line { seq, row, end: None }))?;
        Ok(lines.collect::<Result<Vec<_>, _>>()?)
    }

    /// Rows of the journal: about twice as many as there are lines.
    pub fn rows(&self) -> Result<u64, LedgerError> {
        let head: i64 = self.connection.query_row("SELECT head FROM meta", [], |row| row.get(0))?;
        Ok(head.unsigned_abs())
    }
}
