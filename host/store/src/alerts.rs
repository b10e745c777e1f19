//! Which alerts were told, and those that are still to be delivered: what is told is written down with what
//! is to be sent, all or nothing, so that a restart neither loses an alert nor tells it twice.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior, params};

use crate::database::{self, millis};

/// The file in the data folder.
pub const FILE: &str = "alerts.sqlite";

/// The schema that this version writes.
const SCHEMA: i64 = 2;

const TABLES: &str = "
CREATE TABLE meta (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    schema INTEGER NOT NULL,
    node TEXT NOT NULL
) STRICT;
CREATE TABLE told (
    budget TEXT PRIMARY KEY,
    began_ms INTEGER NOT NULL,
    level INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE outbox (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    receiver TEXT NOT NULL,
    body TEXT NOT NULL,
    tries INTEGER NOT NULL,
    due_ms INTEGER NOT NULL
) STRICT;
";

/// What makes it of the schema before: there was one receiver.
const STEPS: [&str; 1] = ["ALTER TABLE outbox ADD COLUMN receiver TEXT NOT NULL DEFAULT 'webhook'"];

/// How long it waits for who reads.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why alerts cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum AlertsError {
    /// SQLite failed.
    #[error("{FILE}: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// The file was written by another version.
    #[error("{FILE} has schema {found}, this version knows {SCHEMA}")]
    Schema {
        /// The file's schema.
        found: i64,
    },
}

/// What was told of a budget.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// When the period began of which it was told.
    pub began_ms: i64,
    /// How many of its thresholds were told.
    pub level: usize,
}

/// An alert that is to be delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Its place.
    pub seq: i64,
    /// What is to be sent.
    pub body: String,
    /// How often that was tried.
    pub tries: u32,
}

/// Alerts on disk.
pub struct AlertStore {
    connection: Mutex<Connection>,
    /// Alerts that wait to be delivered: to be read while somebody has the connection.
    waiting: AtomicUsize,
    /// Alerts that may wait to be delivered.
    most: usize,
}

impl AlertStore {
    /// Opens the file of a data folder, or makes it. `most` alerts may wait to be delivered.
    pub fn open(folder: &Path, most: usize) -> Result<Self, AlertsError> {
        let mut connection = database::open(&folder.join(FILE), PATIENCE)?;
        database::prepare(&mut connection, TABLES, |transaction, node| {
            transaction.execute("INSERT INTO meta (one, schema, node) VALUES (1, ?1, ?2)", params![SCHEMA, node])
        })?;
        match database::migrate(&mut connection, &STEPS)? {
            SCHEMA => {
                let waiting = AtomicUsize::new(count(&connection)?);
                Ok(Self { connection: Mutex::new(connection), waiting, most })
            }
            found => Err(AlertsError::Schema { found }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was told, by budget.
    pub fn told(&self) -> Result<HashMap<String, Told>, AlertsError> {
        let connection = self.lock();
        let mut found = connection.prepare("SELECT budget, began_ms, level FROM told")?;
        let told = found.query_map([], |row| {
            let level = usize::try_from(row.get::<_, i64>(2)?).unwrap_or(0);
            Ok((row.get(0)?, Told { began_ms: row.get(1)?, level }))
        })?;
        Ok(told.collect::<Result<_, _>>()?)
    }

    /// Writes down what is told of a budget from now on, with what is to be sent to each receiver. Gives how many
    /// alerts were dropped, the oldest of a receiver for whom too many wait.
    pub fn tell(
        &self,
        budget: &str,
        told: Told,
        (receivers, bodies): (&[&str], &[String]),
        now_ms: u64,
    ) -> Result<usize, AlertsError> {
        let mut connection = self.lock();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute(
            "INSERT INTO told (budget, began_ms, level) VALUES (?1, ?2, ?3)
             ON CONFLICT DO UPDATE SET began_ms = ?2, level = ?3",
            params![budget, told.began_ms, i64::try_from(told.level).unwrap_or(i64::MAX)],
        )?;
        let most = i64::try_from(self.most).unwrap_or(i64::MAX);
        let mut dropped = 0;
        for receiver in receivers {
            for body in bodies {
                let values = params![receiver, body, millis(now_ms)];
                transaction
                    .execute("INSERT INTO outbox (receiver, body, tries, due_ms) VALUES (?1, ?2, 0, ?3)", values)?;
            }
            dropped += transaction.execute(
                "DELETE FROM outbox WHERE seq IN (SELECT seq FROM outbox WHERE receiver = ?1
                 ORDER BY seq DESC LIMIT -1 OFFSET ?2)",
                params![receiver, most],
            )?;
        }
        transaction.commit()?;
        self.waiting.store(count(&connection)?, Ordering::Relaxed);
        Ok(dropped)
    }

    /// Forgets what waits for receivers that there are no more.
    pub fn keep_only(&self, receivers: &[&str]) -> Result<(), AlertsError> {
        let connection = self.lock();
        let known = serde_json::json!(receivers).to_string();
        connection.execute("DELETE FROM outbox WHERE receiver NOT IN (SELECT value FROM json_each(?1))", [known])?;
        self.waiting.store(count(&connection)?, Ordering::Relaxed);
        Ok(())
    }

    /// The next alert that is to be sent to a receiver by now.
    pub fn next(&self, receiver: &str, now_ms: u64) -> Result<Option<Waiting>, AlertsError> {
        let next = self.lock().query_row(
            "SELECT seq, body, tries FROM outbox WHERE receiver = ?1 AND due_ms <= ?2 ORDER BY seq LIMIT 1",
            params![receiver, millis(now_ms)],
            |row| Ok(Waiting { seq: row.get(0)?, body: row.get(1)?, tries: row.get(2)? }),
        );
        Ok(next.optional()?)
    }

    /// It was delivered.
    pub fn sent(&self, seq: i64) -> Result<(), AlertsError> {
        let connection = self.lock();
        connection.execute("DELETE FROM outbox WHERE seq = ?1", [seq])?;
        self.waiting.store(count(&connection)?, Ordering::Relaxed);
        Ok(())
    }

    /// It was not: all that wait for the receiver are tried again from a time on, in their order.
    pub fn failed(&self, receiver: &str, seq: i64, due_ms: u64) -> Result<(), AlertsError> {
        let mut connection = self.lock();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute("UPDATE outbox SET tries = tries + 1 WHERE seq = ?1", [seq])?;
        transaction.execute(
            "UPDATE outbox SET due_ms = max(due_ms, ?1) WHERE receiver = ?2",
            params![millis(due_ms), receiver],
        )?;
        Ok(transaction.commit()?)
    }

    /// How many wait. Waits for nobody.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }
}

fn count(connection: &Connection) -> rusqlite::Result<usize> {
    let count: i64 = connection.query_row("SELECT count(*) FROM outbox", [], |row| row.get(0))?;
    Ok(usize::try_from(count).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_outlives_the_run_and_is_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let told = Told { began_ms: 5, level: 2 };
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        {
            let store = AlertStore::open(folder.path(), 3).unwrap();
            let tell = |level, bodies: &[&str]| {
                store.tell("a", Told { level, ..told }, (&["hook", "topic"], &texts(bodies)), 100).unwrap()
            };
            // Of each receiver the oldest.
            assert_eq!((tell(2, &["1", "2"]), tell(0, &["3", "4"])), (0, 2));
            assert_eq!(store.next("hook", 99).unwrap(), None);
        }
        let store = AlertStore::open(folder.path(), 3).unwrap();
        assert_eq!(store.told().unwrap(), HashMap::from([("a".to_owned(), Told { level: 0, ..told })]));
        let next = |receiver, now_ms| store.next(receiver, now_ms).unwrap();
        let first = next("hook", 100).unwrap();
        assert_eq!((&*first.body, first.tries), ("2", 0));
        // Nothing overtakes what could not be sent, and another receiver does not wait for it.
        store.failed("hook", first.seq, 200).unwrap();
        assert_eq!(next("hook", 199), None);
        assert_eq!(&*next("topic", 199).unwrap().body, "2");
        let again = next("hook", 200).unwrap();
        assert_eq!((&*again.body, again.tries), ("2", 1));
        store.sent(again.seq).unwrap();
        assert_eq!((&*next("hook", 200).unwrap().body, store.waiting()), ("3", 5));
        store.keep_only(&["hook"]).unwrap();
        assert_eq!((next("topic", 200), store.waiting()), (None, 2));
    }

    /// What waited in a file of the version before is sent by this one.
    #[test]
    fn a_file_of_the_schema_before_is_taken_over() {
        let folder = tempfile::tempdir().unwrap();
        let before = TABLES.replace("    receiver TEXT NOT NULL,\n", "");
        let connection = Connection::open(folder.path().join(FILE)).unwrap();
        connection.execute_batch(&before).unwrap();
        connection
            .execute_batch(
                "INSERT INTO meta VALUES (1, 1, 'n'); INSERT INTO outbox (body, tries, due_ms) VALUES ('1', 0, 5)",
            )
            .unwrap();
        drop(connection);
        for _ in 0..2 {
            let store = AlertStore::open(folder.path(), 3).unwrap();
            assert_eq!(&*store.next("webhook", 5).unwrap().unwrap().body, "1");
        }
    }
}
