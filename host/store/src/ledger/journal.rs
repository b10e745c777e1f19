//! The ledger's database: one file, an append-only journal with a chain of hashes, and beside it what
//! follows from the journal. Whoever has the file can look into it with any SQLite tool.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use kairos_pipeline::budget::Rule;
use kairos_pipeline::ledger::{AttemptKey, Totals};
use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior, params};

use super::books::Books;
use super::budgets::{Counted, counts_of};
use super::entry::{Entry, EntryKind, amount};
use super::error::LedgerError;
use super::jobs::reservation_of;
use super::place::Place;
use super::rows::{head_of, read_entry, write_rows};
use super::schema::{prepare_schema, renew_log};
use super::scopes::{Count, Scopes};
use super::tuple::TupleKey;
use super::{Map, Set, budgets};
use crate::database;

/// Where the chain of hashes ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) seq: i64,
    pub(crate) hash: [u8; 32],
}

/// Rows with their places, as they are to be on disk.
pub(crate) struct Batch {
    rows: Vec<Entry>,
    /// Of each row, where the chain of hashes is behind it.
    hashes: Vec<[u8; 32]>,
    before: Head,
    after: Head,
}

impl Batch {
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Each row, with its number and its hash.
    pub(super) fn rows(&self) -> impl Iterator<Item = (i64, &Entry, &[u8; 32])> {
        (self.before.seq + 1..).zip(&self.rows).zip(&self.hashes).map(|((seq, entry), hash)| (seq, entry, hash))
    }

    /// The memory of its rows, for others.
    pub(crate) fn into_room(mut self) -> Vec<Entry> {
        self.rows.clear();
        self.rows.shrink_to(ROOM);
        self.rows
    }
}

/// Rows for which memory is kept between commits: some thousand requests.
const ROOM: usize = 2_048;

/// The database, opened to be written. One at a time has it.
pub(crate) struct Journal {
    connection: Connection,
    place: Place,
    pub(crate) epoch: i64,
    head: Head,
    /// Rows that are open: where they are, and their worst case.
    open: Map<AttemptKey, (i64, i64)>,
    /// Those of jobs.
    jobs: Set<AttemptKey>,
    /// Jobs that an earlier run left open.
    taken_over: Map<AttemptKey, Entry>,
    /// Where open rows are that are no jobs'.
    places: BTreeSet<i64>,
}

impl Journal {
    /// Opens the database, makes it where there is none, and recovers: rows that the last run left
    /// open are estimates now, and what its leases could have drawn without a row is charged. Every budget
    /// has its sums then.
    pub(crate) fn open(path: &Path, rules: &[Arc<Rule>], now_ms: i64) -> Result<Self, LedgerError> {
        let mut connection = database::open(path, Duration::from_millis(100))?;
        // Checkpoints are cheap when they are few: about 40 MB of log at most, between them.
        connection.pragma_update(None, "wal_autocheckpoint", 10_000)?;
        connection.set_prepared_statement_cache_capacity(32);
        renew_log(&mut connection, path)?;
        prepare_schema(&mut connection)?;
        let (epoch, head) = head_of(&connection)?;
        let mut journal = Self {
            connection,
            place: Place::of(path),
            epoch,
            head,
            open: Map::default(),
            jobs: Set::default(),
            taken_over: Map::default(),
            places: BTreeSet::new(),
        };
        let counted = Counted::of(rules);
        let last_ms = journal.last_ms()?;
        let kept = budgets::take_up(&mut journal.connection, &counted)?;
        journal.begin_epoch(&kept, now_ms)?;
        journal.take_over()?;
        // A clock that is ahead at this start must not leave out what was spent: from the last row's time on.
        budgets::make(&mut journal.connection, &counted, last_ms.map_or(now_ms, |last| last.min(now_ms)))?;
        Ok(journal)
    }

    /// Whether what is written is kept: in the files that the next start opens.
    pub(crate) fn is_in_place(&self) -> Result<(), LedgerError> {
        self.place.check()
    }

    /// Finds the jobs that earlier runs left open.
    fn take_over(&mut self) -> Result<(), LedgerError> {
        let mut found = self.connection.prepare(
            "SELECT * FROM journal AS reserved WHERE job IS NOT NULL AND NOT EXISTS (
                SELECT 1 FROM journal AS ending WHERE ending.request = reserved.request
                AND ending.attempt = reserved.attempt AND (ending.kind = 'reserved') = 0)",
        )?;
        let mut rows = found.query([])?;
        while let Some(row) = rows.next()? {
            let (seq, entry, _) = read_entry(row)?;
            let Some(key) = entry.key else { continue };
            self.open.insert(key, (seq, entry.high));
            self.jobs.insert(key);
            self.taken_over.insert(key, entry);
        }
        Ok(())
    }

    /// Lets the books take over the jobs that earlier runs left open.
    pub(crate) fn hand_over(&self, books: &mut Books) -> Result<(), LedgerError> {
        for reservation in self.taken_over.values().filter_map(reservation_of) {
            books.take_over(&reservation, |count| self.spent_of(count))?;
        }
        Ok(())
    }

    /// When the last row was written.
    fn last_ms(&self) -> Result<Option<i64>, LedgerError> {
        let last = "SELECT at_ms FROM journal WHERE seq = ?1";
        Ok(self.connection.query_row(last, [self.head.seq], |row| row.get(0)).optional()?)
    }

    /// The budgets, each with what is known to be spent of it.
    pub(crate) fn scopes(&self, rules: &[Arc<Rule>], now_ms: i64) -> Result<Scopes, LedgerError> {
        let known = |rule: &Arc<Rule>| budgets::known(&self.connection, &rule.counting, now_ms);
        let known = rules.iter().map(|rule| Ok((Arc::clone(rule), known(rule)?)));
        Ok(Scopes::new(known.collect::<Result<Vec<_>, LedgerError>>()?))
    }

    /// Ends the last epoch, where it was not ended, and begins the next: one transaction.
    fn begin_epoch(&mut self, budgets: &[Counted], now_ms: i64) -> Result<(), LedgerError> {
        let last = self.epoch;
        let mut rows = Vec::new();
        if last > 0 && !self.is_closed(last)? {
            rows = self.recover(budgets, last, now_ms)?;
            if !rows.is_empty() {
                tracing::warn!(
                    rows = rows.len(),
                    "the gateway did not stop properly: what was under way is charged at its worst case"
                );
            }
            rows.push(Entry::of_epoch(EntryKind::Closed, last, now_ms));
        }
        rows.push(Entry::of_epoch(EntryKind::Opened, last + 1, now_ms));
        let batch = self.batch(rows);
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        write_rows(&transaction, &batch)?;
        transaction.execute("DELETE FROM lease WHERE epoch <= ?1", [last])?;
        transaction.execute(
            "UPDATE meta SET epoch = ?1, head = ?2, hash = ?3, oldest_open = ?2 + 1",
            params![last + 1, batch.after.seq, batch.after.hash],
        )?;
        transaction.commit()?;
        self.head = batch.after;
        self.epoch = last + 1;
        Ok(())
    }

    fn is_closed(&self, epoch: i64) -> Result<bool, LedgerError> {
        let last: Option<String> = self
            .connection
            .query_row("SELECT kind FROM journal WHERE seq = ?1 AND epoch = ?2", params![self.head.seq, epoch], |row| {
                row.get(0)
            })
            .optional()?;
        Ok(last.as_deref() == Some(EntryKind::Closed.name()))
    }

    /// What the end of an epoch that nobody ended comes to.
    fn recover(&self, budgets: &[Counted], epoch: i64, now_ms: i64) -> Result<Vec<Entry>, LedgerError> {
        let oldest: i64 = self.connection.query_row("SELECT oldest_open FROM meta", [], |row| row.get(0))?;
        let mut open = self.connection.prepare(
            "SELECT * FROM journal AS reserved WHERE seq >= ?1 AND epoch = ?2 AND kind = 'reserved' AND job IS NULL AND NOT EXISTS (
                SELECT 1 FROM journal AS ending WHERE ending.request = reserved.request
                AND ending.attempt = reserved.attempt AND (ending.kind = 'reserved') = 0)",
        )?;
        let mut rows = open
            .query_map(params![oldest, epoch], |row| read_entry(row).map(|(_, entry, _)| entry))?
            .map(|row| {
                row.map(|reserved| Entry {
                    low: reserved.low,
                    high: reserved.high,
                    why: Some("the gateway stopped".to_owned()),
                    counts: counts_of(budgets, &reserved),
                    key: reserved.key,
                    tuple: reserved.tuple,
                    ..Entry::of_epoch(EntryKind::Estimated, epoch, now_ms)
                })
            })
            .collect::<Result<Vec<_>, _>>()?;
        let mut leases =
            self.connection.prepare("SELECT day, caller, model, upto, rowed FROM lease WHERE epoch = ?1")?;
        let mut found = leases.query([epoch])?;
        while let Some(row) = found.next()? {
            let tuple = TupleKey { day: row.get(0)?, caller: row.get(1)?, model: row.get(2)? };
            let (upto, rowed): (i64, i64) = (row.get(3)?, row.get(4)?);
            if rowed > upto {
                let what = format!(
                    "on day {} rows of {} on {} reach beyond their lease",
                    tuple.day, tuple.caller, tuple.model
                );
                return Err(LedgerError::Damaged(what));
            }
            if upto > rowed {
                let mut row = Entry {
                    tuple: Some(tuple),
                    high: upto - rowed,
                    why: Some("drawn without a row, or not drawn".to_owned()),
                    ..Entry::of_epoch(EntryKind::Unidentified, epoch, now_ms)
                };
                row.counts = counts_of(budgets, &row);
                rows.push(row);
            }
        }
        Ok(rows)
    }

    /// Gives rows their places.
    pub(crate) fn batch(&self, rows: Vec<Entry>) -> Batch {
        let (before, mut after) = (self.head, self.head);
        let hashes = rows.iter().map(|entry| {
            after.seq += 1;
            after.hash = entry.hash(after.seq, &after.hash);
            after.hash
        });
        Batch { hashes: hashes.collect(), rows, before, after }
    }

    /// Commits rows and leases, synced. After a failure the very same batch is to be given again.
    pub(crate) fn commit(&mut self, batch: &Batch, leases: &[(TupleKey, u64)]) -> Result<(), CommitError> {
        self.abandon();
        let (epoch, found) = head_of(&self.connection)?;
        if epoch != self.epoch || (found != batch.before && found != batch.after) {
            return Err(CommitError::Fenced);
        }
        let rows_are_there = found == batch.after && batch.before != batch.after;
        // What the batch opens and leaves open.
        let mut open: Map<AttemptKey, (i64, i64)> = Map::default();
        let mut jobs: Set<AttemptKey> = Set::default();
        let mut first = None;
        let mut ended = Vec::new();
        let mut rowed: Map<&TupleKey, i64> = Map::default();
        for (seq, entry, _) in batch.rows() {
            let (Some(key), Some(tuple)) = (entry.key, &entry.tuple) else { continue };
            if entry.kind == EntryKind::Reserved {
                if entry.job.is_some() {
                    jobs.insert(key);
                } else {
                    first.get_or_insert(seq);
                }
                open.insert(key, (seq, entry.high));
                *rowed.entry(tuple).or_default() += entry.high;
            } else if self.taken_over.contains_key(&key) {
                // No lease of this run has it.
                ended.push(key);
            } else {
                let own = open.remove(&key);
                let worst = own.or_else(|| self.open.get(&key).copied()).map_or(0, |(_, worst)| worst);
                *rowed.entry(tuple).or_default() += (entry.charged() - worst).max(0);
                if own.is_some() {
                    jobs.remove(&key);
                } else {
                    ended.push(key);
                }
            }
        }
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        if !rows_are_there {
            write_rows(&transaction, batch)?;
        }
        {
            let mut upsert = transaction.prepare_cached(
                "INSERT INTO lease (epoch, day, caller, model, upto, rowed) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                 ON CONFLICT DO UPDATE SET upto = ?5",
            )?;
            for (tuple, upto) in leases {
                upsert.execute(params![self.epoch, tuple.day, tuple.caller, tuple.model, amount(*upto), 0])?;
            }
            if !rows_are_there {
                let mut add = transaction.prepare_cached(
                    "UPDATE lease SET rowed = rowed + ?5 WHERE epoch = ?1 AND day = ?2 AND caller = ?3 AND model = ?4",
                )?;
                for (tuple, more) in &rowed {
                    add.execute(params![self.epoch, tuple.day, tuple.caller, tuple.model, more])?;
                }
            }
        }
        let oldest = self.places.first().copied().or(first);
        let changed = transaction
            .prepare_cached("UPDATE meta SET head = ?1, hash = ?2, oldest_open = ?3 WHERE head = ?4 AND epoch = ?5")?
            .execute(params![
                batch.after.seq,
                batch.after.hash,
                oldest.unwrap_or(batch.after.seq + 1),
                found.seq,
                self.epoch
            ])?;
        if changed != 1 {
            return Err(CommitError::Fenced);
        }
        transaction.commit()?;
        self.head = batch.after;
        for (key, row) in open {
            if !jobs.contains(&key) {
                self.places.insert(row.0);
            }
            self.open.insert(key, row);
        }
        self.jobs.extend(jobs);
        for key in ended {
            self.jobs.remove(&key);
            self.taken_over.remove(&key);
            if let Some((seq, _)) = self.open.remove(&key) {
                self.places.remove(&seq);
            }
        }
        Ok(())
    }

    /// A transaction that a failed commit left behind is rolled back.
    fn abandon(&mut self) {
        if !self.connection.is_autocommit() {
            let _ = self.connection.execute_batch("ROLLBACK");
        }
    }

    /// Ends the epoch, if every lease was drawn by rows only.
    pub(crate) fn close(&mut self, now_ms: i64) -> Result<bool, CommitError> {
        let unclear: i64 = self.connection.query_row(
            "SELECT count(*) FROM lease WHERE epoch = ?1 AND upto <> rowed",
            [self.epoch],
            |row| row.get(0),
        )?;
        if unclear > 0 || !self.places.is_empty() {
            return Ok(false);
        }
        let batch = self.batch(vec![Entry::of_epoch(EntryKind::Closed, self.epoch, now_ms)]);
        self.commit(&batch, &[])?;
        Ok(true)
    }

    /// Where a tuple's lease reaches, in this epoch.
    pub(crate) fn lease(&self, tuple: &TupleKey) -> Result<u64, LedgerError> {
        let found: Option<i64> = self
            .connection
            .prepare_cached("SELECT upto FROM lease WHERE epoch = ?1 AND day = ?2 AND caller = ?3 AND model = ?4")?
            .query_row(params![self.epoch, tuple.day, tuple.caller, tuple.model], |row| row.get(0))
            .optional()?;
        Ok(found.map_or(0, i64::unsigned_abs))
    }

    /// What is estimated of a key and model on a day, as far as no bill said what it is.
    pub(crate) fn estimated(&self, tuple: &TupleKey) -> Result<u64, LedgerError> {
        let found: Option<i64> = self
            .connection
            .prepare_cached("SELECT estimated FROM spent WHERE day = ?1 AND caller = ?2 AND model = ?3")?
            .query_row(params![tuple.day, tuple.caller, tuple.model], |row| row.get(0))
            .optional()?;
        Ok(found.map_or(0, i64::unsigned_abs))
    }

    /// What is spent of one part of a budget's time.
    pub(crate) fn spent_of(&self, count: &Count) -> Result<u64, LedgerError> {
        let found: Option<i64> = self
            .connection
            .prepare_cached("SELECT charged FROM budget_spent WHERE budget = ?1 AND start = ?2")?
            .query_row(params![&*count.budget, count.start], |row| row.get(0))
            .optional()?;
        Ok(found.map_or(0, i64::unsigned_abs))
    }

    /// All that was ever spent.
    pub(crate) fn totals(&self) -> Result<Totals, LedgerError> {
        totals(&self.connection)
    }
}

/// Sums of what was spent.
pub(crate) fn totals(connection: &Connection) -> Result<Totals, LedgerError> {
    let mut totals = Totals::default();
    let mut found = connection.prepare("SELECT charged, estimated, attempts FROM spent")?;
    let mut rows = found.query([])?;
    while let Some(row) = rows.next()? {
        let (charged, estimated, attempts): (i64, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        totals.charged += u128::from(charged.unsigned_abs());
        totals.estimated += u128::from(estimated.unsigned_abs());
        totals.ended_rows += attempts.unsigned_abs();
    }
    Ok(totals)
}

/// A commit did not happen, as far as is known.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommitError {
    #[error("{0}")]
    Ledger(#[from] LedgerError),
    /// Somebody else wrote to the database.
    #[error("another process wrote to the ledger; this one stops spending")]
    Fenced,
}

impl From<rusqlite::Error> for CommitError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Ledger(error.into())
    }
}
