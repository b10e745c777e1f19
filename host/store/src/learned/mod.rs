//! What observers have learned, from one run to the next.
//!
//! A thread writes what was published, about once a second and at the end: no policy and no request waits for
//! it. A crash loses the last moments. What cannot be written stays in memory, and is tried again.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kairos_pipeline::learned::{Learned, MOST_KEY_BYTES, MOST_SPACES, MOST_VALUE_BYTES, Snapshot, Space, SpaceId};
use rusqlite::{Connection, Transaction, TransactionBehavior, params};

use crate::database::{self, millis};

/// The file in the data folder.
pub const FILE: &str = "learned.sqlite";

/// The schema that this version writes.
const SCHEMA: i64 = 1;

const TABLES: &str = "
CREATE TABLE meta (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    schema INTEGER NOT NULL,
    node TEXT NOT NULL,
    told_ms INTEGER NOT NULL
) STRICT;
CREATE TABLE space (
    name TEXT NOT NULL,
    kv_schema INTEGER NOT NULL,
    written_ms INTEGER NOT NULL,
    PRIMARY KEY (name, kv_schema)
) STRICT, WITHOUT ROWID;
CREATE TABLE learned (
    name TEXT NOT NULL,
    kv_schema INTEGER NOT NULL,
    key TEXT NOT NULL,
    value BLOB NOT NULL,
    PRIMARY KEY (name, kv_schema, key)
) STRICT;
";

/// How long the writer waits for who reads.
const PATIENCE: Duration = Duration::from_secs(5);
/// The log of changes is cut to so many bytes once it was longer.
const LOG_BYTES: i64 = 16 << 20;

/// Why what was learned cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LearnedError {
    /// SQLite failed.
    #[error("{FILE}: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// The file was written by another version.
    #[error("{FILE} has schema {found}, this version knows {SCHEMA}")]
    Schema {
        /// The file's schema.
        found: i64,
    },
    /// What is in the file is not what this version writes.
    #[error("{FILE}: {0}")]
    Damaged(String),
    /// The file cannot be moved out of the way, or the thread not be started.
    #[error("{FILE}: {0}")]
    System(#[from] std::io::Error),
}

/// Writes what is learned.
pub struct LearnedStore {
    learned: Arc<Learned>,
    failed: Arc<AtomicU64>,
    writer: Mutex<Option<std::thread::JoinHandle<()>>>,
}

/// The file, and what is in it.
struct Writer {
    connection: Connection,
    written: Arc<Snapshot>,
    failed: Arc<AtomicU64>,
    /// Why the last round failed, so that it is told once.
    failing: Option<String>,
}

impl LearnedStore {
    /// Takes up what the last run learned, and keeps what this one does, gathered for so long before each
    /// write. A file that cannot be used is moved out of the way, and told of.
    pub fn open(folder: &Path, gather: Duration) -> Result<Self, LearnedError> {
        let (connection, snapshot) = read(folder).or_else(|error| {
            let aside = database::set_aside(folder, FILE)?;
            tracing::error!(aside = %aside.display(), "learning begins anew, the file from before is moved aside: {error}");
            read(folder)
        })?;
        let learned = Arc::new(Learned::new(snapshot));
        let failed = Arc::<AtomicU64>::default();
        let mut writer = Writer { connection, written: learned.snapshot(), failed: Arc::clone(&failed), failing: None };
        let from = Arc::clone(&learned);
        let thread = std::thread::Builder::new().name("kairos-learned".to_owned()).spawn(move || {
            loop {
                let (snapshot, ended) = from.wait(gather);
                if !writer.round(&snapshot) {
                    from.retry();
                }
                if ended {
                    return;
                }
            }
        })?;
        Ok(Self { learned, failed, writer: Mutex::new(Some(thread)) })
    }

    /// What is learned.
    pub fn learned(&self) -> &Arc<Learned> {
        &self.learned
    }

    /// Rounds that could not be written; each is tried again.
    pub fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    /// Writes what was published last and ends, within `patience`. Whether it ended.
    pub fn finish(&self, patience: Duration) -> bool {
        let thread = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(thread) = thread else { return true };
        self.learned.end();
        database::join_within(thread, patience)
    }
}

impl Writer {
    /// Writes what has changed since the last round that succeeded; whether it did.
    fn round(&mut self, snapshot: &Arc<Snapshot>) -> bool {
        match write(&mut self.connection, &self.written, snapshot) {
            Ok(()) => {
                self.written = Arc::clone(snapshot);
                if self.failing.take().is_some() {
                    tracing::info!("what is learned is written again");
                }
                true
            }
            Err(error) => {
                let why = error.to_string();
                self.failed.fetch_add(1, Ordering::Relaxed);
                if self.failing.as_ref() != Some(&why) {
                    tracing::error!("what is learned cannot be written; it is kept in memory, and tried again: {why}");
                }
                self.failing = Some(why);
                false
            }
        }
    }
}

fn write(connection: &mut Connection, before: &Snapshot, now: &Snapshot) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute("UPDATE meta SET told_ms = ?1", [millis(now.told_ms())])?;
    for (id, _) in before.spaces().filter(|(id, _)| now.space(id).is_none()) {
        let of = params![&*id.name, id.schema];
        transaction.execute("DELETE FROM learned WHERE name = ?1 AND kv_schema = ?2", of)?;
        transaction.execute("DELETE FROM space WHERE name = ?1 AND kv_schema = ?2", of)?;
    }
    let nothing = Space::default();
    for (id, space) in now.spaces() {
        write_space(&transaction, id, before.space(id).unwrap_or(&nothing), space)?;
    }
    transaction.commit()
}

fn write_space(transaction: &Transaction<'_>, id: &SpaceId, before: &Space, now: &Space) -> rusqlite::Result<()> {
    let changes = now.changes_since(before);
    if changes.is_empty() && before.written_ms() == now.written_ms() {
        return Ok(());
    }
    transaction.execute(
        "INSERT INTO space (name, kv_schema, written_ms) VALUES (?1, ?2, ?3)
         ON CONFLICT (name, kv_schema) DO UPDATE SET written_ms = excluded.written_ms",
        params![&*id.name, id.schema, millis(now.written_ms())],
    )?;
    let mut set = transaction.prepare_cached(
        "INSERT INTO learned (name, kv_schema, key, value) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (name, kv_schema, key) DO UPDATE SET value = excluded.value",
    )?;
    let mut delete =
        transaction.prepare_cached("DELETE FROM learned WHERE name = ?1 AND kv_schema = ?2 AND key = ?3")?;
    for (key, value) in &changes {
        match value {
            Some(value) => set.execute(params![&*id.name, id.schema, &**key, &**value])?,
            None => delete.execute(params![&*id.name, id.schema, &**key])?,
        };
    }
    Ok(())
}

/// Opens the file, or makes it, and reads what is in it.
fn read(folder: &Path) -> Result<(Connection, Snapshot), LearnedError> {
    let mut connection = Connection::open(folder.join(FILE))?;
    connection.busy_timeout(PATIENCE)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.pragma_update(None, "journal_size_limit", LOG_BYTES)?;
    // Keys may be a caller's words: what is deleted is written over.
    connection.pragma_update(None, "secure_delete", "ON")?;
    database::prepare(&mut connection, TABLES, |transaction, node| {
        transaction
            .execute("INSERT INTO meta (one, schema, node, told_ms) VALUES (1, ?1, ?2, 0)", params![SCHEMA, node])
    })?;
    match database::schema_of(&connection)? {
        SCHEMA => {}
        found => return Err(LearnedError::Schema { found }),
    }
    let snapshot = snapshot(&connection)?;
    Ok((connection, snapshot))
}

fn snapshot(connection: &Connection) -> Result<Snapshot, LearnedError> {
    let told: i64 = connection.query_row("SELECT told_ms FROM meta", [], |row| row.get(0))?;
    let mut found = connection.prepare("SELECT name, kv_schema, written_ms FROM space")?;
    let spaces = found.query_map([], |row| {
        let name: String = row.get(0)?;
        let written: i64 = row.get(2)?;
        Ok((SpaceId { name: name.into(), schema: row.get(1)? }, written.unsigned_abs()))
    })?;
    let spaces: BTreeMap<SpaceId, u64> = spaces.collect::<Result<_, _>>()?;
    if spaces.len() > MOST_SPACES {
        return Err(LearnedError::Damaged(format!("{} spaces; there are {MOST_SPACES} at most", spaces.len())));
    }
    let restored = spaces.into_iter().map(|(id, written_ms)| {
        let space = Space::restored(values(connection, &id)?, written_ms);
        Ok((id, space))
    });
    let restored: Vec<_> = restored.collect::<Result<_, LearnedError>>()?;
    Ok(Snapshot::restored(restored, told.unsigned_abs()))
}

/// The keys of a space, and their values.
type Values = Vec<(Arc<str>, Arc<[u8]>)>;

fn values(connection: &Connection, id: &SpaceId) -> Result<Values, LearnedError> {
    let mut found = connection.prepare_cached("SELECT key, value FROM learned WHERE name = ?1 AND kv_schema = ?2")?;
    let found = found.query_map(params![&*id.name, id.schema], |row| {
        let (key, value): (String, Vec<u8>) = (row.get(0)?, row.get(1)?);
        Ok((key.into(), value.into()))
    })?;
    let values: Values = found.collect::<Result<_, _>>()?;
    let fits = |(key, value): &(Arc<str>, Arc<[u8]>)| {
        (1..=MOST_KEY_BYTES).contains(&key.len()) && value.len() <= MOST_VALUE_BYTES
    };
    if values.iter().all(fits) {
        return Ok(values);
    }
    Err(LearnedError::Damaged(format!("a key or value of {id} is larger than any can be")))
}
