//! Whose a job is, by what it is known, and what Bedrock said of it last. What it costs, and whether its row is
//! open, is the ledger's to say: without this file no money is lost, only who began what.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use kairos_dialects::bedrock::jobs::{ListQuery, Status};
use kairos_pipeline::jobs::{Job, JobStore};
use kairos_pipeline::request::RequestId;
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension as _, Row, TransactionBehavior, params, params_from_iter};

use crate::database::{self, millis};
use crate::records::Which;

/// The file in the data folder.
pub const FILE: &str = "jobs.sqlite";

/// The schema that this version writes.
const SCHEMA: i64 = 2;

const TABLES: &str = "
CREATE TABLE meta (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    schema INTEGER NOT NULL,
    node TEXT NOT NULL
) STRICT;
CREATE TABLE job (
    token TEXT PRIMARY KEY,
    arn TEXT UNIQUE,
    request BLOB NOT NULL,
    caller TEXT NOT NULL,
    at_ms INTEGER NOT NULL,
    status TEXT,
    ended INTEGER NOT NULL,
    body TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX job_caller ON job (caller, at_ms, token);
CREATE INDEX job_request ON job (request);
CREATE INDEX job_ended ON job (at_ms) WHERE ended = 1;
";

/// Each makes the next schema of the one before. The second: whatever is listed, an index gives it in order.
const STEPS: [&str; 1] = ["
UPDATE job SET status = 'InProgress' WHERE status IS NULL;
CREATE INDEX job_all ON job (at_ms, token);
CREATE INDEX job_status ON job (status, at_ms, token);
CREATE INDEX job_caller_status ON job (caller, status, at_ms, token);
CREATE INDEX job_caller_ended ON job (caller, at_ms) WHERE ended = 1;
"];

/// How long it waits for who reads.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why jobs cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum JobsError {
    /// SQLite failed.
    #[error("{FILE}: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// The file was written by another version.
    #[error("{FILE} has schema {found}, this version knows {SCHEMA}")]
    Schema {
        /// The file's schema.
        found: i64,
    },
    /// A job could not be read or written.
    #[error("{FILE}: {0}")]
    Body(#[from] serde_json::Error),
    /// Another attempt has the token.
    #[error("{FILE}: {0}")]
    Another(String),
    /// What was taken out is still in the log.
    #[error("{FILE}: {gone} jobs are gone, and not yet out of its log: somebody reads it; ask once more")]
    Read {
        /// How many were taken out.
        gone: usize,
    },
    /// The work was lost.
    #[error("{FILE}: the work was lost: {0}")]
    Lost(#[from] tokio::task::JoinError),
}

/// How many jobs that have ended are kept, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keeping {
    /// Since their start, in milliseconds. Far longer than Bedrock can be supposed to know their tokens: of a
    /// repeated request nobody else knows then that it is charged already.
    pub age_ms: u64,
    /// Of each key, however young: the oldest give way.
    pub each_key: usize,
}

/// Jobs on disk.
pub struct SqliteJobs {
    shared: Arc<Shared>,
}

struct Shared {
    writer: Mutex<Connection>,
    /// Who asks for jobs does not wait for who writes them.
    reader: Mutex<Connection>,
    keeping: Keeping,
    /// Milliseconds since 1970.
    clock: Arc<dyn Fn() -> u64 + Send + Sync>,
}

impl SqliteJobs {
    /// Opens the file of a data folder, or makes it.
    pub fn open(folder: &Path, keeping: Keeping, clock: Arc<dyn Fn() -> u64 + Send + Sync>) -> Result<Self, JobsError> {
        let path = folder.join(FILE);
        let mut connection = database::open(&path, PATIENCE)?;
        connection.pragma_update(None, "secure_delete", "ON")?;
        database::prepare(&mut connection, TABLES, |transaction, node| {
            transaction.execute("INSERT INTO meta (one, schema, node) VALUES (1, 1, ?1)", params![node])
        })?;
        match database::migrate(&mut connection, &STEPS)? {
            SCHEMA => {
                let (writer, reader) = (Mutex::new(connection), Mutex::new(database::open_to_read(&path)?));
                Ok(Self { shared: Arc::new(Shared { writer, reader, keeping, clock }) })
            }
            found => Err(JobsError::Schema { found }),
        }
    }

    /// Works on the database where no thread that serves waits for the disk.
    fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Shared) -> Result<T, JobsError> + Send + 'static,
    ) -> BoxFuture<'static, Result<T, String>> {
        let shared = Arc::clone(&self.shared);
        Box::pin(async move {
            let worked = tokio::task::spawn_blocking(move || work(&shared));
            worked.await.map_err(JobsError::from).and_then(|done| done).map_err(|error| error.to_string())
        })
    }

    fn find(
        &self,
        column: &'static str,
        value: impl rusqlite::ToSql + Send + 'static,
    ) -> BoxFuture<'_, Result<Option<Job>, String>> {
        self.work(move |shared| {
            let connection = shared.reader.lock().unwrap_or_else(PoisonError::into_inner);
            found(&connection, column, value)
        })
    }

    /// Takes out jobs that have ended, for good: of a request, a key, or before a time. Gives how many. One that
    /// goes on stays: its money is not accounted for yet.
    pub fn erase(&self, which: Which) -> BoxFuture<'static, Result<u64, String>> {
        self.work(move |shared| {
            let connection = shared.writer.lock().unwrap_or_else(PoisonError::into_inner);
            let (wanted, value) = match which {
                Which::Request(id) => ("request = ?1", Value::from(id.as_bytes().to_vec())),
                Which::Key(key) => ("caller = ?1", key.into()),
                Which::Before(ms) => ("at_ms < ?1", millis(ms).into()),
            };
            let gone = connection.execute(&format!("DELETE FROM job WHERE ended = 1 AND {wanted}"), [value])?;
            let busy: i64 = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
            if busy == 0 { Ok(gone as u64) } else { Err(JobsError::Read { gone }) }
        })
    }
}

fn found(connection: &Connection, column: &'static str, value: impl rusqlite::ToSql) -> Result<Option<Job>, JobsError> {
    let found = format!("SELECT body FROM job WHERE {column} = ?1");
    let body: Option<String> =
        connection.prepare_cached(&found)?.query_row(params![value], |row| row.get(0)).optional()?;
    body.map(|body| serde_json::from_str(&body).map_err(JobsError::from)).transpose()
}

/// Takes out those that ended and are too old, or of their key too many.
fn evict(connection: &Connection, caller: &str, keeping: Keeping, now_ms: u64) -> rusqlite::Result<()> {
    let old = "DELETE FROM job WHERE ended = 1 AND at_ms < ?1";
    connection.prepare_cached(old)?.execute([millis(now_ms.saturating_sub(keeping.age_ms))])?;
    let most = i64::try_from(keeping.each_key).unwrap_or(i64::MAX);
    let many = "DELETE FROM job WHERE ended = 1 AND caller = ?1 AND at_ms <= (
        SELECT at_ms FROM job WHERE ended = 1 AND caller = ?1 ORDER BY at_ms DESC LIMIT 1 OFFSET ?2)";
    let gone = connection.prepare_cached(many)?.execute(params![caller, most])?;
    if gone > 0 {
        tracing::warn!(key = caller, gone, "jobs that ended give way to younger ones before their time (`kept`)");
    }
    Ok(())
}

/// The statement that lists jobs: no condition that is not asked for, so that an index gives them in order.
fn listing(caller: Option<String>, query: &ListQuery) -> (String, Vec<Value>) {
    let (order, behind) = if query.ascending { ("ASC", ">") } else { ("DESC", "<") };
    // Who has no ARN yet is on no list: not what the index of ARNs is for.
    let mut text = "SELECT body FROM job WHERE +arn IS NOT NULL".to_owned();
    let mut values = Vec::new();
    let mut also = |condition: &str, all: Vec<Value>| {
        text.push_str(" AND ");
        text.push_str(condition);
        values.extend(all);
    };
    if let Some(caller) = caller {
        also("caller = ?", vec![caller.into()]);
    }
    if let Some(status) = query.status {
        also("status = ?", vec![status.name().to_owned().into()]);
    }
    if let Some(after_ms) = query.after_ms {
        also("at_ms > ?", vec![millis(after_ms).into()]);
    }
    if let Some(before_ms) = query.before_ms {
        also("at_ms < ?", vec![millis(before_ms).into()]);
    }
    if let Some(page) = &query.page {
        also(&format!("(at_ms, token) {behind} (?, ?)"), vec![millis(page.at_ms).into(), page.token.clone().into()]);
    }
    values.push(i64::try_from(query.most).unwrap_or(i64::MAX).into());
    (format!("{text} ORDER BY at_ms {order}, token {order} LIMIT ?"), values)
}

impl JobStore for SqliteJobs {
    fn keep(&self, job: Job) -> BoxFuture<'_, Result<(), String>> {
        self.work(move |shared| {
            let mut connection = shared.writer.lock().unwrap_or_else(PoisonError::into_inner);
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let job = match found(&transaction, "token", &job.token)? {
                Some(known) => job.over(known).map_err(JobsError::Another)?,
                None => job,
            };
            let body = serde_json::to_string(&job)?;
            // Where Bedrock has not said yet how a job goes, it is under way.
            let status = job.seen.as_ref().map_or(Status::InProgress, |seen| seen.status);
            transaction
                .prepare_cached(
                    "INSERT INTO job (token, arn, request, caller, at_ms, status, ended, body)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT (token) DO UPDATE
                     SET (arn, request, caller, at_ms, status, ended, body) = (?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                )?
                .execute(params![
                    job.token,
                    job.arn,
                    &job.request().as_bytes()[..],
                    job.caller,
                    millis(job.at_ms),
                    status.name(),
                    job.ended.is_some(),
                    body
                ])?;
            if job.ended.is_some() {
                evict(&transaction, &job.caller, shared.keeping, (shared.clock)())?;
            }
            Ok(transaction.commit()?)
        })
    }

    fn forget(&self, token: &str) -> BoxFuture<'_, Result<(), String>> {
        let token = token.to_owned();
        self.work(move |shared| {
            let connection = shared.writer.lock().unwrap_or_else(PoisonError::into_inner);
            connection.prepare_cached("DELETE FROM job WHERE token = ?1")?.execute([token])?;
            Ok(())
        })
    }

    fn by_token(&self, token: &str) -> BoxFuture<'_, Result<Option<Job>, String>> {
        self.find("token", token.to_owned())
    }

    fn by_arn(&self, arn: &str) -> BoxFuture<'_, Result<Option<Job>, String>> {
        self.find("arn", arn.to_owned())
    }

    fn by_request(&self, request: RequestId) -> BoxFuture<'_, Result<Option<Job>, String>> {
        self.find("request", request.as_bytes().to_vec())
    }

    fn list(&self, caller: Option<&str>, query: &ListQuery) -> BoxFuture<'_, Result<Vec<Job>, String>> {
        let (text, values) = listing(caller.map(str::to_owned), query);
        self.work(move |shared| {
            let connection = shared.reader.lock().unwrap_or_else(PoisonError::into_inner);
            let mut found = connection.prepare_cached(&text)?;
            let bodies = found.query_map(params_from_iter(values), |row: &Row<'_>| row.get::<_, String>(0))?;
            bodies.map(|body| Ok(serde_json::from_str(&body?)?)).collect()
        })
    }
}

#[cfg(test)]
mod tests;
