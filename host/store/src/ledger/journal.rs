//! The ledger's database: one file, an append-only journal with a chain of hashes, and beside it what
//! follows from the journal. Whoever has the file can look into it with any SQLite tool.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use kairos_pipeline::ledger::{AttemptKey, Totals};
use kairos_pipeline::request::RequestId;
use rusqlite::{Connection, ErrorCode, OptionalExtension as _, Row, TransactionBehavior, ffi, params};

use super::Map;
use super::books::TupleKey;
use super::entry::{Entry, EntryKind, amount};

/// The schema that this version writes.
const SCHEMA: i64 = 1;

const TABLES: &str = "
CREATE TABLE meta (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    schema INTEGER NOT NULL,
    node TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    head INTEGER NOT NULL,
    hash BLOB NOT NULL,
    oldest_open INTEGER NOT NULL
) STRICT;
CREATE TABLE journal (
    seq INTEGER PRIMARY KEY,
    at_ms INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    kind TEXT NOT NULL,
    request BLOB,
    attempt INTEGER,
    day INTEGER,
    caller TEXT,
    model TEXT,
    low INTEGER NOT NULL,
    high INTEGER NOT NULL,
    usage TEXT,
    why TEXT,
    prices TEXT,
    tags TEXT,
    hash BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX journal_row ON journal (request, attempt, kind = 'reserved') WHERE request IS NOT NULL;
CREATE TABLE lease (
    epoch INTEGER NOT NULL,
    day INTEGER NOT NULL,
    caller TEXT NOT NULL,
    model TEXT NOT NULL,
    upto INTEGER NOT NULL,
    rowed INTEGER NOT NULL,
    PRIMARY KEY (epoch, day, caller, model)
) STRICT, WITHOUT ROWID;
CREATE TABLE spent (
    day INTEGER NOT NULL,
    caller TEXT NOT NULL,
    model TEXT NOT NULL,
    charged INTEGER NOT NULL,
    estimated INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    PRIMARY KEY (day, caller, model)
) STRICT, WITHOUT ROWID;
";

/// Why the ledger cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// SQLite failed.
    #[error("{0}{hint}", hint = hint(.0))]
    Sqlite(rusqlite::Error),
    /// The file was written by a later version.
    #[error(
        "the ledger has schema {found}, this version knows {SCHEMA}: use the version that wrote it, or a later one"
    )]
    Schema {
        /// The file's schema.
        found: i64,
    },
    /// What is in the file contradicts itself.
    #[error("the ledger is damaged: {0}")]
    Damaged(String),
    /// Another process has the folder.
    #[error("{0}")]
    InUse(String),
    /// A file cannot be made or opened.
    #[error("{path}: {cause}")]
    File {
        /// Which.
        path: String,
        /// Why.
        cause: std::io::Error,
    },
}

impl From<rusqlite::Error> for LedgerError {
    /// What is not as it was written is damage; anything else is between SQLite and the system.
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::Error;
        match error {
            Error::QueryReturnedNoRows => Self::Damaged("its table `meta` is empty".to_owned()),
            Error::FromSqlConversionFailure(..) | Error::IntegralValueOutOfRange(..) | Error::InvalidColumnType(..) => {
                Self::Damaged(error.to_string())
            }
            // Of statements that are sound: a table or a column is not there.
            Error::SqlInputError { ref msg, .. } => Self::Damaged(msg.clone()),
            Error::SqliteFailure(ref failure, _)
                if matches!(failure.code, ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
                    || failure.extended_code == ffi::SQLITE_ERROR =>
            {
                Self::Damaged(error.to_string())
            }
            _ => Self::Sqlite(error),
        }
    }
}

/// What to do about a failure of SQLite.
fn hint(error: &rusqlite::Error) -> &'static str {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy) => "; another program holds the database: end it",
        Some(ErrorCode::DiskFull) => "; make room on the disk",
        Some(ErrorCode::ReadOnly) => "; the file and its folder must be writable",
        Some(ErrorCode::CannotOpen) => "; the file must be readable, and its folder writable",
        _ => "",
    }
}

/// Where the chain of hashes ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) seq: i64,
    pub(crate) hash: [u8; 32],
}

/// Rows with their places, as they are to be on disk.
pub(crate) struct Batch {
    rows: Vec<(i64, Entry, [u8; 32])>,
    before: Head,
    after: Head,
}

impl Batch {
    pub(crate) fn rows(&self) -> usize {
        self.rows.len()
    }
}

/// The database, opened to be written. One at a time has it.
pub(crate) struct Journal {
    connection: Connection,
    pub(crate) epoch: i64,
    head: Head,
    /// Rows that are open: where they are, and their worst case.
    open: Map<AttemptKey, (i64, i64)>,
    places: BTreeSet<i64>,
}

/// What is before the first row of a ledger.
pub(crate) fn genesis(node: &str) -> [u8; 32] {
    use sha2::Digest as _;
    sha2::Sha256::digest(format!("kairos-ledger-{SCHEMA} {node}")).into()
}

fn hash_of(row: &Row<'_>, column: &str) -> rusqlite::Result<[u8; 32]> {
    row.get::<_, [u8; 32]>(column)
}

impl Journal {
    /// Opens the database, makes it where there is none, and recovers: rows that the last run left
    /// open are estimates now, and what its leases could have drawn without a row is charged.
    pub(crate) fn open(path: &Path, now_ms: i64) -> Result<Self, LedgerError> {
        let mut connection = Connection::open(path)?;
        connection.busy_timeout(Duration::from_millis(100))?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        // Checkpoints are cheap when they are few: about 40 MB of log at most, between them.
        connection.pragma_update(None, "wal_autocheckpoint", 10_000)?;
        connection.set_prepared_statement_cache_capacity(32);
        renew_log(&mut connection, path)?;
        prepare_schema(&mut connection)?;
        let (epoch, head) = head_of(&connection)?;
        let mut journal = Self { connection, epoch, head, open: Map::default(), places: BTreeSet::new() };
        journal.begin_epoch(now_ms)?;
        Ok(journal)
    }

    /// Ends the last epoch, where it was not ended, and begins the next: one transaction.
    fn begin_epoch(&mut self, now_ms: i64) -> Result<(), LedgerError> {
        let last = self.epoch;
        let mut rows = Vec::new();
        if last > 0 && !self.is_closed(last)? {
            rows = self.recover(last, now_ms)?;
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
    fn recover(&self, epoch: i64, now_ms: i64) -> Result<Vec<Entry>, LedgerError> {
        let oldest: i64 = self.connection.query_row("SELECT oldest_open FROM meta", [], |row| row.get(0))?;
        let mut open = self.connection.prepare(
            "SELECT * FROM journal AS reserved WHERE seq >= ?1 AND epoch = ?2 AND kind = 'reserved' AND NOT EXISTS (
                SELECT 1 FROM journal AS ending WHERE ending.request = reserved.request
                AND ending.attempt = reserved.attempt AND (ending.kind = 'reserved') = 0)",
        )?;
        let mut rows = open
            .query_map(params![oldest, epoch], |row| read_entry(row).map(|(_, entry, _)| entry))?
            .map(|row| {
                row.map(|reserved| Entry {
                    kind: EntryKind::Estimated,
                    at_ms: now_ms,
                    why: Some("the gateway stopped".to_owned()),
                    prices: None,
                    tags: None,
                    ..reserved
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
                rows.push(Entry {
                    tuple: Some(tuple),
                    high: upto - rowed,
                    why: Some("drawn without a row, or not drawn".to_owned()),
                    ..Entry::of_epoch(EntryKind::Unidentified, epoch, now_ms)
                });
            }
        }
        Ok(rows)
    }

    /// Gives rows their places.
    pub(crate) fn batch(&self, rows: Vec<Entry>) -> Batch {
        let (before, mut head) = (self.head, self.head);
        let rows = rows.into_iter().map(|entry| {
            head.seq += 1;
            head.hash = entry.hash(head.seq, &head.hash);
            (head.seq, entry, head.hash)
        });
        let rows = rows.collect();
        Batch { rows, before, after: head }
    }

    /// Commits rows and leases, synced. After a failure the very same batch is to be given again.
    pub(crate) fn commit(&mut self, batch: &Batch, leases: &[(TupleKey, u64)]) -> Result<(), CommitError> {
        self.abandon();
        let (epoch, found) = head_of(&self.connection)?;
        if epoch != self.epoch || (found != batch.before && found != batch.after) {
            return Err(CommitError::Fenced);
        }
        let rows_are_there = found == batch.after && batch.before != batch.after;
        let mut open = Vec::new();
        let mut ended = Vec::new();
        let mut rowed: Map<&TupleKey, i64> = Map::default();
        for (seq, entry, _) in &batch.rows {
            let (Some(key), Some(tuple)) = (entry.key, &entry.tuple) else { continue };
            if entry.kind == EntryKind::Reserved {
                open.push((key, (*seq, entry.high)));
                *rowed.entry(tuple).or_default() += entry.high;
            } else {
                let own = open.iter().rev().find(|(known, _)| *known == key).map(|(_, row)| *row);
                let worst = own.or_else(|| self.open.get(&key).copied()).map_or(0, |(_, worst)| worst);
                *rowed.entry(tuple).or_default() += (entry.charged() - worst).max(0);
                ended.push(key);
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
        let oldest = self.places.first().copied().or_else(|| open.first().map(|(_, (seq, _))| *seq));
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
            self.places.insert(row.0);
            self.open.insert(key, row);
        }
        for key in ended {
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
        if unclear > 0 || !self.open.is_empty() {
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

    /// What a day has spent.
    pub(crate) fn day(&self, day: u32) -> Result<u64, LedgerError> {
        let mut found = self.connection.prepare_cached("SELECT charged FROM spent WHERE day = ?1")?;
        let mut sum = 0u64;
        for charged in found.query_map([day], |row| row.get::<_, i64>(0))? {
            sum = sum.saturating_add(charged?.unsigned_abs());
        }
        Ok(sum)
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

/// Writes what an earlier run left of SQLite's log once more, and syncs it.
///
/// That run may have ended because a sync failed. What was to be synced then reads as if it were, for as
/// long as the system remembers it, and no later sync writes it: all that this run commits behind it would
/// be lost with it.
fn renew_log(connection: &mut Connection, path: &Path) -> Result<(), LedgerError> {
    // Nobody else writes meanwhile.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    let renewed = std::fs::read(&log).and_then(|content| {
        let file = std::fs::File::options().write(true).open(&log)?;
        file.write_all_at(&content, 0)?;
        file.sync_all()
    });
    match renewed {
        Err(cause) if cause.kind() != ErrorKind::NotFound => {
            Err(LedgerError::File { path: Path::new(&log).display().to_string(), cause })
        }
        _ => Ok(transaction.commit()?),
    }
}

fn prepare_schema(connection: &mut Connection) -> Result<(), LedgerError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let is_new: i64 =
        transaction.query_row("SELECT count(*) FROM sqlite_schema WHERE name = 'meta'", [], |row| row.get(0))?;
    if is_new == 0 {
        transaction.execute_batch(TABLES)?;
        let node = uuid::Uuid::now_v7().to_string();
        transaction.execute(
            "INSERT INTO meta (one, schema, node, epoch, head, hash, oldest_open) VALUES (1, ?1, ?2, 0, 0, ?3, 1)",
            params![SCHEMA, node, genesis(&node)],
        )?;
    }
    transaction.commit()?;
    check_schema(connection)
}

pub(crate) fn check_schema(connection: &Connection) -> Result<(), LedgerError> {
    let found: i64 = connection.query_row("SELECT schema FROM meta", [], |row| row.get(0))?;
    if found == SCHEMA { Ok(()) } else { Err(LedgerError::Schema { found }) }
}

pub(crate) fn head_of(connection: &Connection) -> Result<(i64, Head), LedgerError> {
    let mut found = connection.prepare_cached("SELECT epoch, head, hash FROM meta")?;
    Ok(found.query_row([], |row| Ok((row.get(0)?, Head { seq: row.get(1)?, hash: hash_of(row, "hash")? })))?)
}

fn write_rows(connection: &Connection, batch: &Batch) -> Result<(), rusqlite::Error> {
    let mut insert = connection.prepare_cached(
        "INSERT INTO journal (seq, at_ms, epoch, kind, request, attempt, day, caller, model, low, high, usage, why, prices, tags, hash)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)",
    )?;
    let mut spent: Map<&TupleKey, [i64; 3]> = Map::default();
    for (seq, entry, hash) in &batch.rows {
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
        ])?;
        if let Some(tuple) = tuple
            && entry.kind != EntryKind::Reserved
        {
            let sums = spent.entry(tuple).or_default();
            let charged = entry.charged();
            let estimated = if entry.kind == EntryKind::Settled { 0 } else { charged };
            sums[0] = sums[0].saturating_add(charged);
            sums[1] = sums[1].saturating_add(estimated);
            sums[2] += i64::from(entry.kind.is_ending());
        }
    }
    let mut add = connection.prepare_cached(
        "INSERT INTO spent (day, caller, model, charged, estimated, attempts) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT DO UPDATE SET charged = charged + ?4, estimated = estimated + ?5, attempts = attempts + ?6",
    )?;
    for (tuple, [charged, estimated, attempts]) in spent {
        add.execute(params![tuple.day, tuple.caller, tuple.model, charged, estimated, attempts])?;
    }
    Ok(())
}

/// Reads a row of the journal, with its place and its hash.
pub(crate) fn read_entry(row: &Row<'_>) -> rusqlite::Result<(i64, Entry, [u8; 32])> {
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
    let tuple = match (day, caller, model) {
        (Some(day), Some(caller), Some(model)) => Some(TupleKey { day, caller, model }),
        _ => None,
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
    };
    Ok((row.get("seq")?, entry, hash_of(row, "hash")?))
}
