//! What the databases here have in common: how they are opened, and what they say of themselves.

use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};

/// How long who only reads waits for who writes.
const READER_PATIENCE: Duration = Duration::from_secs(5);

/// Opens a database to be written, or makes the file. What is committed is on disk.
pub(crate) fn open(path: &Path, patience: Duration) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(patience)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    Ok(connection)
}

/// Opens a database beside who writes it.
pub(crate) fn open_to_read(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    connection.busy_timeout(READER_PATIENCE)?;
    Ok(connection)
}

/// Makes the tables where there are none. `describe` writes the one row of `meta`, with the id that the
/// database has from then on.
pub(crate) fn prepare(
    connection: &mut Connection,
    tables: &str,
    describe: impl FnOnce(&Transaction<'_>, &str) -> rusqlite::Result<usize>,
) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let is_there: i64 =
        transaction.query_row("SELECT count(*) FROM sqlite_schema WHERE name = 'meta'", [], |row| row.get(0))?;
    if is_there == 0 {
        transaction.execute_batch(tables)?;
        describe(&transaction, &uuid::Uuid::now_v7().to_string())?;
    }
    transaction.commit()
}

/// Brings the tables of an earlier schema up to the newest, all or nothing: each step makes the next schema
/// of the one before, the first one schema 2. Gives the schema that there is then; one that is not known is
/// left as it is.
pub(crate) fn migrate(connection: &mut Connection, steps: &[&str]) -> rusqlite::Result<i64> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut schema = schema_of(&transaction)?;
    let done = usize::try_from(schema.saturating_sub(1)).unwrap_or(usize::MAX);
    for step in steps.get(done..).unwrap_or_default() {
        transaction.execute_batch(step)?;
        schema += 1;
        transaction.execute("UPDATE meta SET schema = ?1", [schema])?;
    }
    transaction.commit()?;
    Ok(schema)
}

/// The schema that a database says it has.
pub(crate) fn schema_of(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("SELECT schema FROM meta", [], |row| row.get(0))
}

/// Moves a database that cannot be used out of the way, to where it replaces the one before it. Gives its new
/// path.
pub(crate) fn set_aside(folder: &Path, file: &str) -> std::io::Result<PathBuf> {
    let aside = |ending: &str| folder.join(format!("{file}.aside{ending}"));
    // Nothing of the one before it is left beside it.
    for ending in ["-wal", "-shm"] {
        match std::fs::remove_file(aside(ending)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    for ending in ["", "-wal", "-shm"] {
        match std::fs::rename(folder.join(format!("{file}{ending}")), aside(ending)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    Ok(aside(""))
}

/// A time in milliseconds since 1970, as it is stored.
pub(crate) fn millis(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX)
}

/// Waits for a thread that was told to end, so long at most: a disk that hangs does not keep the process
/// from ending. Whether it ended well.
pub(crate) fn join_within(thread: JoinHandle<()>, patience: Duration) -> bool {
    let deadline = Instant::now() + patience;
    while !thread.is_finished() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(2));
    }
    thread.is_finished() && thread.join().is_ok()
}
