//! Whose a job is, by what it is known, and what Bedrock said of it last. What it costs, and whether its row is
//! open, is the ledger's to say: without this file no money is lost, only who began what.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use kairos_dialects::bedrock::jobs::{ListQuery, Status};
use kairos_pipeline::jobs::{Job, JobStore};
use kairos_pipeline::request::RequestId;
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use crate::database::{self, millis};

/// The file in the data folder.
pub const FILE: &str = "jobs.sqlite";

/// The schema that this version writes.
const SCHEMA: i64 = 1;

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
    /// The work was lost.
    #[error("{FILE}: the work was lost: {0}")]
    Lost(#[from] tokio::task::JoinError),
}

/// Jobs on disk.
pub struct SqliteJobs {
    shared: Arc<Shared>,
}

struct Shared {
    connection: Mutex<Connection>,
    /// Ended jobs that are kept.
    most: usize,
}

impl SqliteJobs {
    /// Opens the file of a data folder, or makes it. `most` jobs that have ended are kept.
    pub fn open(folder: &Path, most: usize) -> Result<Self, JobsError> {
        let mut connection = database::open(&folder.join(FILE), PATIENCE)?;
        database::prepare(&mut connection, TABLES, |transaction, node| {
            transaction.execute("INSERT INTO meta (one, schema, node) VALUES (1, ?1, ?2)", params![SCHEMA, node])
        })?;
        match database::schema_of(&connection)? {
            SCHEMA => Ok(Self { shared: Arc::new(Shared { connection: Mutex::new(connection), most }) }),
            found => Err(JobsError::Schema { found }),
        }
    }

    /// Works on the database where no thread that serves waits for the disk.
    fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Shared, &Connection) -> Result<T, JobsError> + Send + 'static,
    ) -> BoxFuture<'_, Result<T, String>> {
        let shared = Arc::clone(&self.shared);
        Box::pin(async move {
            let worked = tokio::task::spawn_blocking(move || {
                let connection = shared.connection.lock().unwrap_or_else(PoisonError::into_inner);
                work(&shared, &connection)
            });
            worked.await.map_err(JobsError::from).and_then(|done| done).map_err(|error| error.to_string())
        })
    }

    fn find(
        &self,
        column: &'static str,
        value: impl rusqlite::ToSql + Send + 'static,
    ) -> BoxFuture<'_, Result<Option<Job>, String>> {
        self.work(move |_, connection| {
            let found = format!("SELECT body FROM job WHERE {column} = ?1");
            let body: Option<String> =
                connection.prepare_cached(&found)?.query_row(params![value], |row| row.get(0)).optional()?;
            body.map(|body| serde_json::from_str(&body).map_err(JobsError::from)).transpose()
        })
    }
}

impl JobStore for SqliteJobs {
    fn keep(&self, job: Job) -> BoxFuture<'_, Result<(), String>> {
        self.work(move |shared, connection| {
            let body = serde_json::to_string(&job)?;
            connection
                .prepare_cached(
                    "INSERT INTO job (token, arn, request, caller, at_ms, status, ended, body)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT (token) DO UPDATE
                     SET (arn, request, caller, at_ms, status, ended, body) = (?2, ?3, ?4, ?5, ?6, ?7, ?8)
                     WHERE job.ended = 0 OR excluded.ended = 1",
                )?
                .execute(params![
                    job.token,
                    job.arn,
                    &job.request().as_bytes()[..],
                    job.caller,
                    millis(job.at_ms),
                    job.seen.as_ref().map(|seen| seen.status.name()),
                    job.ended.is_some(),
                    body
                ])?;
            if job.ended.is_some() {
                let most = i64::try_from(shared.most).unwrap_or(i64::MAX);
                let old = "DELETE FROM job WHERE ended = 1 AND at_ms <= (
                    SELECT at_ms FROM job WHERE ended = 1 ORDER BY at_ms DESC LIMIT 1 OFFSET ?1)";
                connection.prepare_cached(old)?.execute([most])?;
            }
            Ok(())
        })
    }

    fn forget(&self, token: &str) -> BoxFuture<'_, Result<(), String>> {
        let token = token.to_owned();
        self.work(move |_, connection| {
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
        let (caller, query) = (caller.map(str::to_owned), query.clone());
        self.work(move |_, connection| {
            let (order, behind) = if query.ascending { ("ASC", ">") } else { ("DESC", "<") };
            // Where Bedrock has not said yet how a job goes, it is under way.
            let text = format!(
                "SELECT body FROM job WHERE arn IS NOT NULL AND (?1 IS NULL OR caller = ?1) AND at_ms > ?2 AND at_ms < ?3
                 AND (?4 IS NULL OR coalesce(status, '{}') = ?4) AND (?5 IS NULL OR (at_ms, token) {behind} (?5, ?6))
                 ORDER BY at_ms {order}, token {order} LIMIT ?7",
                Status::InProgress.name()
            );
            let mut found = connection.prepare_cached(&text)?;
            let page = query.page.as_ref();
            let values = params![
                caller,
                query.after_ms.map_or(i64::MIN, millis),
                query.before_ms.map_or(i64::MAX, millis),
                query.status.map(Status::name),
                page.map(|page| millis(page.at_ms)),
                page.map(|page| page.token.as_str()),
                i64::try_from(query.most).unwrap_or(i64::MAX),
            ];
            let bodies = found.query_map(values, |row: &Row<'_>| row.get::<_, String>(0))?;
            bodies.map(|body| Ok(serde_json::from_str(&body?)?)).collect()
        })
    }
}

#[cfg(test)]
mod tests {
    use kairos_dialects::bedrock::jobs::{PageToken, Seen};
    use kairos_pipeline::jobs::Ended;
    use kairos_pipeline::ledger::AttemptKey;
    use kairos_pipeline::money::Picodollars;

    use super::*;

    fn job(token: &str, caller: &str, at_ms: u64) -> Job {
        let key = AttemptKey { request: RequestId::mint(), attempt: 1 };
        let mut job = Job::new(key, token, caller, at_ms);
        job.arn = Some(format!("arn:{token}"));
        job
    }

    fn all() -> ListQuery {
        ListQuery::read("").unwrap()
    }

    async fn tokens(store: &SqliteJobs, caller: Option<&str>, query: &ListQuery) -> Vec<String> {
        store.list(caller, query).await.unwrap().into_iter().map(|job| job.token).collect()
    }

    #[tokio::test]
    async fn jobs_are_found_by_what_they_are_known_by_and_listed_page_by_page() {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteJobs::open(folder.path(), 10).unwrap();
        let first = job("a", "k", 5);
        for job in [first.clone(), job("b", "k", 5), job("c", "k", 7), job("d", "other", 8)] {
            store.keep(job).await.unwrap();
        }
        let mut adrift = job("e", "k", 9);
        adrift.arn = None;
        store.keep(adrift.clone()).await.unwrap();
        drop(store);
        let store = SqliteJobs::open(folder.path(), 10).unwrap();
        assert_eq!(store.by_token("a").await.unwrap().as_ref(), Some(&first));
        assert_eq!(store.by_arn("arn:a").await.unwrap().as_ref(), Some(&first));
        assert_eq!(store.by_request(first.request()).await.unwrap(), Some(first));
        assert_eq!(store.by_token("e").await.unwrap(), Some(adrift));
        assert_eq!(store.by_arn("arn:e").await.unwrap(), None);
        assert_eq!(tokens(&store, Some("k"), &all()).await, ["c", "b", "a"]);
        assert_eq!(tokens(&store, None, &all()).await, ["d", "c", "b", "a"]);
        let page = ListQuery { most: 1, page: Some(PageToken { at_ms: 5, token: "b".to_owned() }), ..all() };
        assert_eq!(tokens(&store, Some("k"), &page).await, ["a"]);
        let up = ListQuery { ascending: true, ..page };
        assert_eq!(tokens(&store, Some("k"), &up).await, ["c"]);
        let between = ListQuery { after_ms: Some(5), before_ms: Some(8), ..all() };
        assert_eq!(tokens(&store, None, &between).await, ["c"]);
        let under_way = ListQuery { status: Some(Status::InProgress), ..all() };
        assert_eq!(tokens(&store, Some("k"), &under_way).await.len(), 3);
        // Who looked before it ended, and is late, does not open it again.
        let mut ended = store.by_token("a").await.unwrap().unwrap();
        let late = ended.clone();
        ended.ended = Some(Ended { state: "settled".to_owned(), charged: Picodollars(1), low: None });
        store.keep(ended.clone()).await.unwrap();
        store.keep(late).await.unwrap();
        assert_eq!(store.by_token("a").await.unwrap(), Some(ended));
        store.forget("a").await.unwrap();
        assert_eq!(store.by_token("a").await.unwrap(), None);
    }

    #[tokio::test]
    async fn of_those_that_ended_the_newest_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteJobs::open(folder.path(), 2).unwrap();
        let seen = Seen {
            invocation_arn: "arn".to_owned(),
            model_arn: "m".to_owned(),
            client_request_token: None,
            status: Status::Completed,
            submit_time: String::new(),
            last_modified_time: None,
            end_time: None,
        };
        store.keep(job("open", "k", 1)).await.unwrap();
        for at_ms in 2..=5 {
            let mut job = job(&at_ms.to_string(), "k", at_ms);
            job.ended = Some(Ended { state: "settled".to_owned(), charged: Picodollars(1), low: None });
            job.seen = Some(seen.clone());
            store.keep(job).await.unwrap();
        }
        assert_eq!(tokens(&store, None, &all()).await, ["5", "4", "open"]);
        let completed = ListQuery { status: Some(Status::Completed), ..all() };
        assert_eq!(tokens(&store, None, &completed).await, ["5", "4"]);
    }
}
