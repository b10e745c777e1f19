//! The tables of `records.sqlite`.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, params};

use super::RecordsError;
use crate::database;

/// The schema that this version writes.
pub(super) const SCHEMA: i64 = 2;

/// The schema of the tables that follow, before what `SECOND` adds.
const FIRST: i64 = 1;

/// What is asked of a policy is told apart: what moves from request to request is with the record, what
/// many have in common is a snapshot, whose number is never given out again. Ids sort by the time at
/// which requests came. `request` is for people.
const TABLES: &str = "
CREATE TABLE meta (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    schema INTEGER NOT NULL,
    node TEXT NOT NULL
) STRICT;
CREATE TABLE snapshot (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    digest BLOB NOT NULL UNIQUE,
    used_ms INTEGER NOT NULL,
    body TEXT NOT NULL
) STRICT;
CREATE TABLE record (
    id BLOB PRIMARY KEY,
    at_ms INTEGER NOT NULL,
    body TEXT NOT NULL,
    asked TEXT
) STRICT;
CREATE TABLE content (
    id BLOB PRIMARY KEY,
    prompt TEXT NOT NULL,
    system TEXT NOT NULL
) STRICT;
CREATE TABLE feedback (
    id BLOB NOT NULL,
    metric TEXT NOT NULL,
    value REAL NOT NULL,
    first REAL NOT NULL,
    at_ms INTEGER NOT NULL,
    PRIMARY KEY (id, metric)
) STRICT, WITHOUT ROWID;
CREATE VIEW request AS SELECT
    body ->> 'request_id' AS request_id,
    datetime(at_ms / 1000, 'unixepoch') AS at,
    body ->> 'key' AS key,
    body ->> 'operation' AS operation,
    body ->> 'task' AS task,
    body ->> 'status' AS status,
    body ->> '$.decision.policy' AS policy,
    body ->> '$.decision.reason_name' AS reason,
    body ->> 'model' AS model,
    body ->> 'cost_usd' AS cost_usd,
    body ->> 'duration_ms' AS duration_ms
FROM record;
";

/// What makes the tables of schema 2 of those of schema 1.
const SECOND: &str = "
CREATE TABLE judgement (
    id BLOB NOT NULL,
    place INTEGER NOT NULL,
    world TEXT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (id, place)
) STRICT, WITHOUT ROWID;
";

/// A record takes some two thousand bytes.
const PAGE_BYTES: i64 = 16 << 10;

/// How long the writer waits for who reads.
const PATIENCE: Duration = Duration::from_secs(5);

/// The log of changes is cut to so many bytes once it was longer, as behind who reads for long.
const LOG_BYTES: i64 = 64 << 20;

/// Opens the file to be written, or makes it.
pub(super) fn open(path: &Path) -> Result<Connection, RecordsError> {
    let mut connection = Connection::open(path)?;
    connection.busy_timeout(PATIENCE)?;
    // Before the first table: several records fit a page, and space that is given up can be given back.
    connection.pragma_update(None, "page_size", PAGE_BYTES)?;
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.pragma_update(None, "journal_size_limit", LOG_BYTES)?;
    // What is deleted is written over: it is not to be found in the file any more.
    connection.pragma_update(None, "secure_delete", "ON")?;
    database::prepare(&mut connection, TABLES, |transaction, node| {
        transaction.execute("INSERT INTO meta (one, schema, node) VALUES (1, ?1, ?2)", params![FIRST, node])
    })?;
    database::migrate(&mut connection, &[SECOND])?;
    check(&connection)?;
    Ok(connection)
}

/// Opens the file beside who writes it.
pub(super) fn open_to_read(path: &Path) -> Result<Connection, RecordsError> {
    if !path.exists() {
        return Err(RecordsError::NotThere(path.display().to_string()));
    }
    let connection = database::open_to_read(path)?;
    check(&connection)?;
    Ok(connection)
}

fn check(connection: &Connection) -> Result<(), RecordsError> {
    match database::schema_of(connection)? {
        FIRST..=SCHEMA => Ok(()),
        found => Err(RecordsError::Schema { found }),
    }
}
