//! Reading records, beside the gateway that writes them.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use kairos_pipeline::request::RequestId;
use rusqlite::{Connection, OptionalExtension as _, params};
use serde_json::Value;

use super::asked::{self, Question};
use super::judgements::{self, KeptJudgement};
use super::{RecordsError, schema};
use crate::database;

/// Rows that are read in one go: a snapshot that is held for long keeps the log from shrinking.
const PAGE: i64 = 500;
/// Snapshots that are remembered.
const REMEMBERED: usize = 256;

/// Records that are only read.
pub struct Reader {
    connection: Connection,
    snapshots: HashMap<i64, Arc<str>>,
}

/// A record.
#[derive(Debug)]
pub struct Row {
    /// The request.
    pub id: RequestId,
    /// When it came, in milliseconds since 1970.
    pub at_ms: u64,
    /// What happened, as `/v1/requests/{id}` gives it.
    pub body: Value,
    /// What the policy was asked; none where it did not come to that. An error says what of it cannot be
    /// read.
    pub asked: Option<Result<Question, String>>,
}

/// What callers said of an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Rating {
    /// What was measured.
    pub metric: String,
    /// What was said last, from 0 to 1.
    pub value: f64,
    /// What was said first.
    pub first: f64,
}

/// Below every id of a request that came at this time or later: they begin with the milliseconds.
pub(super) fn first_of(at_ms: u64) -> [u8; 16] {
    (u128::from(at_ms.min((1 << 48) - 1)) << 80).to_be_bytes()
}

/// A row as it is in the file.
struct Stored {
    id: [u8; 16],
    at_ms: i64,
    body: String,
    asked: Option<String>,
    content: Option<(String, String)>,
}

const SELECT: &str = "SELECT record.id, at_ms, body, asked, prompt, system
    FROM record LEFT JOIN content ON content.id = record.id";

impl Reader {
    /// Opens the records in a file.
    pub fn open(path: &Path) -> Result<Self, RecordsError> {
        Ok(Self { connection: schema::open_to_read(path)?, snapshots: HashMap::new() })
    }

    /// What happened to a request, as JSON; none where it is not kept.
    pub fn record(&self, id: RequestId) -> Result<Option<String>, RecordsError> {
        let mut found = self.connection.prepare_cached("SELECT body FROM record WHERE id = ?1")?;
        Ok(found.query_row([id.as_bytes()], |row| row.get(0)).optional()?)
    }

    /// All that is kept of a request; none where nothing is.
    pub fn row(&mut self, id: RequestId) -> Result<Option<Row>, RecordsError> {
        let stored = self
            .connection
            .prepare_cached(&format!("{SELECT} WHERE record.id = ?1"))?
            .query_row([id.as_bytes()], stored)
            .optional()?;
        stored.map(|stored| self.read(stored)).transpose()
    }

    /// Ids of the requests that are kept and whose digits begin so, so many at most.
    pub fn beginning(&self, hex: &str, most: usize) -> Result<Vec<RequestId>, RecordsError> {
        let filled = |with: char| {
            let digits = format!("{hex}{}", String::from(with).repeat(32usize.saturating_sub(hex.len())));
            u128::from_str_radix(&digits, 16).unwrap_or_default().to_be_bytes()
        };
        let mut found =
            self.connection.prepare_cached("SELECT id FROM record WHERE id BETWEEN ?1 AND ?2 ORDER BY id LIMIT ?3")?;
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let ids = found.query_map(params![filled('0'), filled('f'), most], |row| row.get(0))?;
        Ok(ids.map(|id| id.map(RequestId::from_bytes)).collect::<Result<_, _>>()?)
    }

    /// Calls `each` for every record that came at `since_ms` or later, in the order in which they came,
    /// until it says `false`. What is removed meanwhile is left out.
    pub fn each(&mut self, since_ms: u64, mut each: impl FnMut(Row) -> bool) -> Result<(), RecordsError> {
        let (mut from, mut at) = (first_of(since_ms), ">=");
        loop {
            let page = self.page(at, from)?;
            let Some(last) = page.last() else { return Ok(()) };
            (from, at) = (last.id, ">");
            for stored in page {
                let row = self.read(stored)?;
                if !each(row) {
                    return Ok(());
                }
            }
        }
    }

    fn page(&self, at: &str, from: [u8; 16]) -> Result<Vec<Stored>, RecordsError> {
        let query = format!("{SELECT} WHERE record.id {at} ?1 ORDER BY record.id LIMIT ?2");
        let mut found = self.connection.prepare_cached(&query)?;
        let page = found.query_map(params![from, PAGE], stored)?;
        Ok(page.collect::<Result<_, _>>()?)
    }

    /// How many records came at `since_ms` or later, and when the oldest of all came.
    pub fn extent(&self, since_ms: u64) -> Result<(u64, Option<u64>), RecordsError> {
        let count = "SELECT count(*) FROM record WHERE id >= ?1";
        let count: i64 = self.connection.query_row(count, [first_of(since_ms)], |row| row.get(0))?;
        let oldest = "SELECT at_ms FROM record ORDER BY id LIMIT 1";
        let oldest: Option<i64> = self.connection.query_row(oldest, [], |row| row.get(0)).optional()?;
        Ok((count.unsigned_abs(), oldest.map(i64::unsigned_abs)))
    }

    /// What callers said of an answer.
    pub fn ratings(&self, id: RequestId) -> Result<Vec<Rating>, RecordsError> {
        let mut found = self
            .connection
            .prepare_cached("SELECT metric, value, first FROM feedback WHERE id = ?1 ORDER BY metric")?;
        let ratings = found.query_map([id.as_bytes()], |row| {
            Ok(Rating { metric: row.get(0)?, value: row.get(1)?, first: row.get(2)? })
        })?;
        Ok(ratings.collect::<Result<_, _>>()?)
    }

    /// What others than its router were asked of a request, as far as that is kept; `question` is what its router
    /// was. Nothing is kept in files of an earlier schema.
    pub fn judgements(
        &mut self,
        id: RequestId,
        question: &Question,
    ) -> Result<Vec<Result<KeptJudgement, String>>, RecordsError> {
        let Self { connection, snapshots } = self;
        if database::schema_of(connection)? < schema::SCHEMA {
            return Ok(Vec::new());
        }
        let mut found = connection.prepare_cached("SELECT body FROM judgement WHERE id = ?1 ORDER BY place")?;
        let bodies = found.query_map([id.as_bytes()], |row| row.get(0))?.collect::<Result<Vec<String>, _>>()?;
        let mut snapshot = |id: i64| find_snapshot(connection, snapshots, id);
        Ok(bodies.iter().map(|body| judgements::read(body, question, &mut snapshot)).collect())
    }

    fn read(&mut self, stored: Stored) -> Result<Row, RecordsError> {
        let Stored { id, at_ms, body, asked: column, content } = stored;
        let id = RequestId::from_bytes(id);
        let body = serde_json::from_str(&body)
            .map_err(|error| RecordsError::Damaged(format!("the record of {id} cannot be read: {error}")))?;
        let Self { connection, snapshots } = self;
        if snapshots.len() > REMEMBERED {
            snapshots.clear();
        }
        let mut snapshot = |id: i64| find_snapshot(connection, snapshots, id);
        let asked = column.map(|column| asked::read(&column, content, &mut snapshot));
        Ok(Row { id, at_ms: at_ms.unsigned_abs(), body, asked })
    }
}

fn stored(row: &rusqlite::Row<'_>) -> rusqlite::Result<Stored> {
    let prompt: Option<String> = row.get(4)?;
    Ok(Stored {
        id: row.get(0)?,
        at_ms: row.get(1)?,
        body: row.get(2)?,
        asked: row.get(3)?,
        content: prompt.map(|prompt| Ok::<_, rusqlite::Error>((prompt, row.get(5)?))).transpose()?,
    })
}

fn find_snapshot(connection: &Connection, known: &mut HashMap<i64, Arc<str>>, id: i64) -> Result<Arc<str>, String> {
    if let Some(body) = known.get(&id) {
        return Ok(Arc::clone(body));
    }
    let body: Option<String> = connection
        .prepare_cached("SELECT body FROM snapshot WHERE id = ?1")
        .and_then(|mut found| found.query_row([id], |row| row.get(0)).optional())
        .map_err(|error| error.to_string())?;
    let body: Arc<str> = body.ok_or_else(|| format!("the snapshot {id} that it refers to is not there"))?.into();
    known.insert(id, Arc::clone(&body));
    Ok(body)
}
