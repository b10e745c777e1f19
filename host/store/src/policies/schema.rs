//! The tables, and how a file of an earlier version becomes one of this.

use rusqlite::{Connection, params};

use super::{PoliciesError, genesis};
use crate::database;

/// The schema that this version writes.
pub(super) const SCHEMA: i64 = 4;

/// The tables of the first version.
const FIRST: &str = "
CREATE TABLE meta (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    schema INTEGER NOT NULL,
    node TEXT NOT NULL,
    head INTEGER NOT NULL,
    hash BLOB NOT NULL
) STRICT;
CREATE TABLE version (
    place INTEGER PRIMARY KEY,
    slot TEXT NOT NULL,
    digest TEXT NOT NULL,
    name TEXT NOT NULL,
    engine TEXT NOT NULL,
    file TEXT NOT NULL,
    bytes BLOB NOT NULL,
    tests BLOB,
    added_ms INTEGER NOT NULL,
    UNIQUE (slot, digest)
) STRICT;
CREATE TABLE role (
    slot TEXT NOT NULL,
    role TEXT NOT NULL,
    place INTEGER NOT NULL,
    digest TEXT NOT NULL,
    PRIMARY KEY (slot, role, place)
) STRICT, WITHOUT ROWID;
CREATE TABLE folder (
    slot TEXT PRIMARY KEY,
    file TEXT NOT NULL,
    digest TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE audit (
    seq INTEGER PRIMARY KEY,
    at_ms INTEGER NOT NULL,
    actor TEXT NOT NULL,
    claimed TEXT,
    act TEXT NOT NULL,
    slot TEXT NOT NULL,
    digest TEXT,
    why TEXT,
    detail TEXT,
    hash BLOB NOT NULL
) STRICT;
";

/// What each later schema adds to the one before it: the first entry makes schema 2 of schema 1.
const STEPS: [&str; (SCHEMA - 1) as usize] = [
    "
ALTER TABLE role ADD COLUMN share REAL;
CREATE TABLE experiment (
    slot TEXT NOT NULL,
    id INTEGER NOT NULL,
    digest TEXT NOT NULL,
    baseline TEXT NOT NULL,
    plan TEXT NOT NULL,
    state TEXT NOT NULL,
    began_ms INTEGER NOT NULL,
    ended_ms INTEGER,
    report TEXT NOT NULL,
    PRIMARY KEY (slot, id)
) STRICT, WITHOUT ROWID;
",
    "
CREATE TABLE key (
    name TEXT PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    made_ms INTEGER NOT NULL,
    expires_ms INTEGER,
    revoked_ms INTEGER,
    scope TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE secret (
    key TEXT NOT NULL,
    version INTEGER NOT NULL,
    hash BLOB NOT NULL,
    until_ms INTEGER,
    PRIMARY KEY (key, version)
) STRICT, WITHOUT ROWID;
ALTER TABLE version ADD COLUMN signature TEXT;
",
    // Beside the versions: to change a row of a version is to write all of its bytes again. When those of an
    // earlier schema served is not known: any record may refer to them.
    "
CREATE TABLE kept (
    slot TEXT NOT NULL,
    digest TEXT NOT NULL,
    place INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    served_ms INTEGER,
    PRIMARY KEY (slot, digest)
) STRICT, WITHOUT ROWID;
INSERT INTO kept SELECT slot, digest, place, length(bytes) + coalesce(length(tests), 0), unixepoch() * 1000 FROM version;
",
];

/// Makes the tables of the first version, where there are none of any.
pub(super) fn make_first(connection: &mut Connection) -> rusqlite::Result<()> {
    database::prepare(connection, FIRST, |transaction, node| {
        transaction.execute(
            "INSERT INTO meta (one, schema, node, head, hash) VALUES (1, 1, ?1, 0, ?2)",
            params![node, genesis(node)],
        )
    })
}

/// Makes the tables where there are none, and brings those of an earlier version up to this one.
pub(super) fn prepare(connection: &mut Connection) -> Result<(), PoliciesError> {
    make_first(connection)?;
    let found = database::migrate(connection, &STEPS)?;
    if found == SCHEMA { Ok(()) } else { Err(PoliciesError::Schema { found }) }
}

/// Whether this version can read a file, without changing it. The audit log is alike in all.
pub(super) fn check(connection: &Connection) -> Result<(), PoliciesError> {
    let found = database::schema_of(connection)?;
    if (1..=SCHEMA).contains(&found) { Ok(()) } else { Err(PoliciesError::Schema { found }) }
}
