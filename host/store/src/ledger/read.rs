//! Looking into a ledger, beside the gateway that writes it: sums, and the rows of a request.

use std::path::Path;

use kairos_pipeline::ledger::Totals;
use kairos_pipeline::request::RequestId;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::entry::{Entry, EntryKind};
use super::error::LedgerError;
use super::journal::totals;
use super::rows::read_entry;
use super::schema::{SCHEMA, check_schema};
use super::tuple::TupleKey;
use crate::database::{self, schema_of};

/// A ledger that is only read.
pub struct Reader {
    pub(super) connection: Connection,
}

/// What was spent on a day by a key on a model, in picodollars.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DaySum {
    /// Day, key and model.
    pub tuple: TupleKey,
    /// What was charged.
    pub charged: u64,
    /// The part of it that is estimated.
    pub estimated: u64,
    /// Attempts that ended.
    pub attempts: u64,
}

impl Reader {
    /// Opens the ledger in a file.
    pub fn open(path: &Path) -> Result<Self, LedgerError> {
        if !path.exists() {
            let cause =
                "there is no ledger here; a gateway makes it when it starts, in the folder that its --data names";
            let cause = std::io::Error::new(std::io::ErrorKind::NotFound, cause);
            return Err(LedgerError::File { path: path.display().to_string(), cause });
        }
        let connection = database::open_to_read(path)?;
        check_schema(&connection)?;
        Ok(Self { connection })
    }

    /// What was spent, newest day first.
    pub fn days(&self) -> Result<Vec<DaySum>, LedgerError> {
        let mut found = self.connection.prepare(
            "SELECT day, caller, model, charged, estimated, attempts FROM spent ORDER BY day DESC, caller, model",
        )?;
        let sums = found.query_map([], |row| {
            Ok(DaySum {
                tuple: TupleKey { day: row.get(0)?, caller: row.get(1)?, model: row.get(2)? },
                charged: row.get::<_, i64>(3)?.unsigned_abs(),
                estimated: row.get::<_, i64>(4)?.unsigned_abs(),
                attempts: row.get::<_, i64>(5)?.unsigned_abs(),
            })
        })?;
        Ok(sums.collect::<Result<_, _>>()?)
    }

    /// Whether the last run ended properly: it left nothing to be recovered.
    pub fn is_closed(&self) -> Result<bool, LedgerError> {
        let last: Option<String> = self
            .connection
            .query_row("SELECT kind FROM journal WHERE seq = (SELECT head FROM meta)", [], |row| row.get(0))
            .optional()?;
        Ok(last.is_none_or(|kind| kind == EntryKind::Closed.name()))
    }

    /// All that was ever spent, and what is under way.
    pub fn totals(&self) -> Result<Totals, LedgerError> {
        let mut totals = totals(&self.connection)?;
        // A job may be open for longer than what the ledger has as its oldest row; the first schemas had none.
        let jobs = match schema_of(&self.connection)? {
            ..SCHEMA => "",
            _ => "UNION SELECT seq FROM journal WHERE job IS NOT NULL",
        };
        let mut open = self.connection.prepare(&format!(
            "SELECT high FROM journal AS reserved WHERE kind = 'reserved' AND seq IN (
                SELECT seq FROM journal WHERE seq >= (SELECT oldest_open FROM meta) {jobs}
             ) AND NOT EXISTS (
                SELECT 1 FROM journal AS ending WHERE ending.request = reserved.request
                AND ending.attempt = reserved.attempt AND (ending.kind = 'reserved') = 0)"
        ))?;
        let mut rows = open.query([])?;
        while let Some(row) = rows.next()? {
            totals.open += u128::from(row.get::<_, i64>(0)?.unsigned_abs());
            totals.open_rows += 1;
        }
        Ok(totals)
    }

    /// The rows of a request, with their places.
    pub fn request(&self, id: RequestId) -> Result<Vec<(i64, Entry)>, LedgerError> {
        let mut found = self.connection.prepare("SELECT * FROM journal WHERE request = ?1 ORDER BY seq")?;
        let rows =
            found.query_map(params![&id.as_bytes()[..]], |row| read_entry(row).map(|(seq, entry, _)| (seq, entry)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}
