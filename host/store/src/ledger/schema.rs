//! The tables of the ledger's database, and what is done to the file before it is trusted.

use std::io::ErrorKind;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use rusqlite::{Connection, TransactionBehavior, params};

use super::error::LedgerError;
use crate::database;

/// The schema that this version writes.
pub(super) const SCHEMA: i64 = 4;

/// The tables of the first version.
const FIRST: &str = "
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

/// What each later schema adds to the one before it: the first entry makes schema 2 of schema 1.
pub(super) const STEPS: [&str; (SCHEMA - 1) as usize] = [
    "
ALTER TABLE journal ADD COLUMN team TEXT;
ALTER TABLE journal ADD COLUMN policy TEXT;
ALTER TABLE journal ADD COLUMN unpriced INTEGER;
ALTER TABLE journal ADD COLUMN target TEXT;
ALTER TABLE journal ADD COLUMN region TEXT;
ALTER TABLE journal ADD COLUMN tier TEXT;
CREATE INDEX journal_loose ON journal (seq) WHERE request IS NULL;
CREATE TABLE day_began (
    day INTEGER PRIMARY KEY,
    seq INTEGER NOT NULL
) STRICT;
INSERT INTO day_began SELECT day, min(seq) FROM journal WHERE day IS NOT NULL GROUP BY day;
CREATE TABLE budget (
    budget TEXT PRIMARY KEY
) STRICT, WITHOUT ROWID;
CREATE TABLE budget_spent (
    budget TEXT NOT NULL,
    start INTEGER NOT NULL,
    charged INTEGER NOT NULL,
    PRIMARY KEY (budget, start)
) STRICT, WITHOUT ROWID;
",
    // Sums that do not say from when on they are are made anew, by the start that follows.
    "
DELETE FROM budget_spent;
DELETE FROM budget;
ALTER TABLE budget ADD COLUMN counts_from INTEGER NOT NULL DEFAULT 0;
",
    "
ALTER TABLE journal ADD COLUMN job TEXT;
CREATE INDEX journal_job ON journal (seq) WHERE job IS NOT NULL;
",
];

/// What is before the first row of a ledger, whatever its schema.
pub(super) fn genesis(node: &str) -> [u8; 32] {
    use sha2::Digest as _;
    sha2::Sha256::digest(format!("kairos-ledger-1 {node}")).into()
}

/// Writes what an earlier run left of SQLite's log once more, and syncs it.
///
/// That run may have ended because a sync failed. What was to be synced then reads as if it were, for as
/// long as the system remembers it, and no later sync writes it: all that this run commits behind it would
/// be lost with it.
pub(super) fn renew_log(connection: &mut Connection, path: &Path) -> Result<(), LedgerError> {
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

/// Makes the tables of the first version, where there are none of any.
pub(super) fn make_first(connection: &mut Connection) -> rusqlite::Result<()> {
    database::prepare(connection, FIRST, |transaction, node| {
        transaction.execute(
            "INSERT INTO meta (one, schema, node, epoch, head, hash, oldest_open) VALUES (1, 1, ?1, 0, 0, ?2, 1)",
            params![node, genesis(node)],
        )
    })
}

/// Makes the tables where there are none, and brings those of an earlier version up to this one.
pub(super) fn prepare_schema(connection: &mut Connection) -> Result<(), LedgerError> {
    make_first(connection)?;
    let found = database::migrate(connection, &STEPS)?;
    if found == SCHEMA { Ok(()) } else { Err(LedgerError::Schema { found }) }
}

/// Whether this version can read a file, without changing it.
pub(super) fn check_schema(connection: &Connection) -> Result<(), LedgerError> {
    let found = database::schema_of(connection)?;
    if (1..=SCHEMA).contains(&found) { Ok(()) } else { Err(LedgerError::Schema { found }) }
}
