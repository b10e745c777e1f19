//! Erasure: records that somebody asks to have taken out, a page at a time, between what else is written.

use kairos_pipeline::request::RequestId;
use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior, params};

use super::read::first_of;

/// Records that are looked at in one go: what waits to be written meanwhile waits no longer than for a few
/// milliseconds.
const PAGE: usize = 500;
/// All that is kept of a request, by its id. What a later schema has added is last.
pub(super) const TABLES: [&str; 4] = ["record", "content", "feedback", "judgement"];

/// The bytes of a request's id.
type Id = [u8; 16];
/// Records of a page that are to go, and the last that was looked at where there may be more.
type Page = (Vec<Id>, Option<Id>);

/// Which records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    /// That of this request.
    Request(RequestId),
    /// Those of this key.
    Key(String),
    /// Those that came before this time, in milliseconds since 1970.
    Before(u64),
}

/// Called once they are gone, with their number, or with why not all are.
pub type Told = Box<dyn FnOnce(Result<u64, String>) + Send>;

/// An erasure under way.
pub(super) struct Job {
    pub(super) which: Which,
    pub(super) told: Told,
    /// The last record that was looked at.
    after: Id,
    /// Records that are gone.
    pub(super) gone: u64,
}

impl Job {
    pub(super) fn new(which: Which, told: Told) -> Self {
        Self { which, told, after: [0; 16], gone: 0 }
    }

    /// One page, in a transaction of its own. Whether it was the last.
    pub(super) fn step(&mut self, connection: &mut Connection, tables: &[&str]) -> rusqlite::Result<bool> {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let (ids, last) = self.page(&transaction)?;
        for id in &ids {
            for table in tables {
                transaction.prepare_cached(&format!("DELETE FROM {table} WHERE id = ?1"))?.execute([id])?;
            }
        }
        transaction.commit()?;
        self.gone += ids.len() as u64;
        match last {
            Some(last) => self.after = last,
            None => return Ok(true),
        }
        Ok(false)
    }

    fn page(&self, connection: &Connection) -> rusqlite::Result<Page> {
        let most = PAGE as i64;
        let found: Vec<(Id, bool)> = match &self.which {
            Which::Request(id) => {
                let found = "SELECT id FROM record WHERE id = ?1";
                let found = connection.query_row(found, [id.as_bytes()], |row| row.get(0)).optional()?;
                return Ok((found.into_iter().collect(), None));
            }
            Which::Before(ms) => {
                let mut found = connection
                    .prepare_cached("SELECT id FROM record WHERE id > ?1 AND id < ?2 ORDER BY id LIMIT ?3")?;
                let rows = found.query_map(params![self.after, first_of(*ms), most], |row| Ok((row.get(0)?, true)))?;
                rows.collect::<Result<_, _>>()?
            }
            Which::Key(key) => {
                let mut found = connection.prepare_cached(
                    "SELECT id, coalesce(body ->> 'key' = ?2, 0) FROM record WHERE id > ?1 ORDER BY id LIMIT ?3",
                )?;
                let rows = found.query_map(params![self.after, key, most], |row| Ok((row.get(0)?, row.get(1)?)))?;
                rows.collect::<Result<_, _>>()?
            }
        };
        let last = if found.len() < PAGE { None } else { found.last().map(|(id, _)| *id) };
        Ok((found.into_iter().filter(|(_, goes)| *goes).map(|(id, _)| id).collect(), last))
    }
}
