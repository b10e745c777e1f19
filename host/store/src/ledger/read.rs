//! Looking into a ledger, beside the gateway that writes it: sums, the rows of a request, and whether
//! all of it hangs together.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;

use kairos_pipeline::ledger::{AttemptKey, Totals};
use kairos_pipeline::request::RequestId;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::books::TupleKey;
use super::budgets::Counted;
use super::entry::{Entry, EntryKind};
use super::error::LedgerError;
use super::journal::totals;
use super::rows::{head_of, read_entry};
use super::schema::{check_schema, genesis};
use super::scopes::Counts;
use super::{Map, budgets};
use crate::database::{self, schema_of};

/// Rows that are read in one go: a snapshot that is held for long keeps the log from shrinking.
const PAGE: i64 = 1_000;

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

/// What verifying found to be whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Rows of the journal.
    pub rows: u64,
    /// Attempts that are open.
    pub open: u64,
    /// Sums of all rows.
    pub totals: Totals,
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

    /// All that was ever spent.
    pub fn totals(&self) -> Result<Totals, LedgerError> {
        totals(&self.connection)
    }

    /// The rows of a request, with their places.
    pub fn request(&self, id: RequestId) -> Result<Vec<(i64, Entry)>, LedgerError> {
        let mut found = self.connection.prepare("SELECT * FROM journal WHERE request = ?1 ORDER BY seq")?;
        let rows =
            found.query_map(params![&id.as_bytes()[..]], |row| read_entry(row).map(|(seq, entry, _)| (seq, entry)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Walks the whole journal: no row is missing, changed or out of place, every attempt has one
    /// row and at most one end, and the sums are those of the rows.
    pub fn verify(&mut self) -> Result<Verified, LedgerError> {
        let snapshot = self.connection.transaction()?;
        let node: String = snapshot.query_row("SELECT node FROM meta", [], |row| row.get(0))?;
        let (epoch, head) = head_of(&snapshot)?;
        let oldest_open: i64 = snapshot.query_row("SELECT oldest_open FROM meta", [], |row| row.get(0))?;
        let ends = "SELECT coalesce(min(seq), 1), coalesce(max(seq), 0) FROM journal";
        let (first, last): (i64, i64) = snapshot.query_row(ends, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
        if first < 1 || last > head.seq {
            let row = if first < 1 { first } else { last };
            return Err(LedgerError::Damaged(format!("row {row} is outside of the journal: it was not written")));
        }
        let mut sums: BTreeMap<TupleKey, [i128; 3]> = BTreeMap::new();
        {
            let mut spent = snapshot.prepare("SELECT day, caller, model, charged, estimated, attempts FROM spent")?;
            let mut rows = spent.query([])?;
            while let Some(row) = rows.next()? {
                let key = TupleKey { day: row.get(0)?, caller: row.get(1)?, model: row.get(2)? };
                let number = |at| row.get::<_, i64>(at).map(i128::from);
                sums.insert(key, [number(3)?, number(4)?, number(5)?]);
            }
        }
        let of_budgets = sums_of_budgets(&snapshot)?;
        snapshot.finish()?;
        let budgets: BTreeSet<&str> = of_budgets.keys().map(|(budget, _)| &**budget).collect();
        let budgets = budgets.into_iter().map(Counted::read).collect::<Result<_, _>>()?;
        let mut walk = Walk { hash: genesis(&node), budgets, ..Walk::default() };
        while walk.seq < head.seq {
            let mut page = self
                .connection
                .prepare_cached("SELECT * FROM journal WHERE seq > ?1 AND seq <= ?2 ORDER BY seq LIMIT ?3")?;
            let mut rows = page.query(params![walk.seq, head.seq, PAGE])?;
            let before = walk.seq;
            while let Some(row) = rows.next()? {
                let (seq, entry, hash) =
                    read_entry(row).map_err(|error| LedgerError::Damaged(format!("row {}: {error}", walk.seq + 1)))?;
                walk.step(seq, &entry, hash)?;
            }
            if walk.seq == before {
                return Err(LedgerError::Damaged(format!("row {} is missing", walk.seq + 1)));
            }
        }
        if walk.hash != head.hash {
            return Err(LedgerError::Damaged(format!(
                "the last row is {}, and not the one that was written",
                walk.seq
            )));
        }
        walk.budgets_agree(&of_budgets)?;
        walk.finish(epoch, oldest_open, &sums)
    }
}

/// Sums of parts of budgets' times, by budget and beginning.
type BudgetSums = BTreeMap<(Arc<str>, i64), i128>;

/// What the ledger says that is spent of budgets. Schema 1 had none.
fn sums_of_budgets(snapshot: &Connection) -> Result<BudgetSums, LedgerError> {
    if schema_of(snapshot)? < 2 {
        return Ok(BudgetSums::new());
    }
    let mut found = snapshot.prepare("SELECT budget, start, charged FROM budget_spent")?;
    let sums = found.query_map([], |row| Ok(((row.get(0)?, row.get(1)?), i128::from(row.get::<_, i64>(2)?))))?;
    Ok(sums.collect::<Result<_, _>>()?)
}

/// A walk along the journal.
#[derive(Default)]
struct Walk {
    seq: i64,
    hash: [u8; 32],
    epoch: i64,
    closed: bool,
    open: HashMap<AttemptKey, (i64, Entry)>,
    sums: BTreeMap<TupleKey, [i128; 3]>,
    budgets: Vec<Counted>,
    counts: Map<AttemptKey, Counts>,
    of_budgets: BudgetSums,
}

impl Walk {
    fn budgets_agree(&self, written: &BudgetSums) -> Result<(), LedgerError> {
        for (part, sum) in written {
            if self.of_budgets.get(part).unwrap_or(&0) != sum {
                let (budget, start) = part;
                let what = format!("what is spent of the budget {budget} from {start} on is not what the rows say");
                return Err(LedgerError::Damaged(what));
            }
        }
        Ok(())
    }

    fn step(&mut self, seq: i64, entry: &Entry, hash: [u8; 32]) -> Result<(), LedgerError> {
        let wrong = |what: &str| Err(LedgerError::Damaged(format!("row {seq}: {what}")));
        if seq != self.seq + 1 {
            return Err(LedgerError::Damaged(format!("row {} is missing", self.seq + 1)));
        }
        if entry.hash(seq, &self.hash) != hash {
            return wrong("it, or the row before it, is not what was written");
        }
        (self.seq, self.hash) = (seq, hash);
        match entry.kind {
            EntryKind::Opened if entry.epoch != self.epoch + 1 => return wrong("an epoch begins out of turn"),
            EntryKind::Opened if self.epoch > 0 && !self.closed => {
                return wrong("an epoch begins before the last has ended");
            }
            EntryKind::Opened => (self.epoch, self.closed) = (entry.epoch, false),
            _ if entry.epoch != self.epoch || self.closed => return wrong("it stands outside of its epoch"),
            EntryKind::Closed if self.open.values().any(|(_, row)| row.job.is_none()) => {
                return wrong("an epoch ended with rows that are open");
            }
            EntryKind::Closed => self.closed = true,
            EntryKind::Reserved => {
                let Some(key) = entry.key else { return wrong("it names no attempt") };
                if self.open.insert(key, (seq, entry.clone())).is_some() {
                    return wrong("the attempt was reserved before");
                }
            }
            EntryKind::Settled | EntryKind::Estimated | EntryKind::Voided => {
                let Some((_, reserved)) = entry.key.and_then(|key| self.open.remove(&key)) else {
                    return wrong("it ends an attempt that is not open");
                };
                if reserved.tuple != entry.tuple {
                    return wrong("it counts against another than its reservation");
                }
            }
            EntryKind::Unidentified => {}
            EntryKind::Corrected => {
                let estimated = entry.tuple.as_ref().and_then(|tuple| self.sums.get(tuple)).map(|sums| sums[1]);
                if estimated != Some(i128::from(entry.low)) {
                    return wrong("it corrects another sum than was estimated");
                }
            }
        }
        let in_order = entry.low <= entry.high || entry.kind == EntryKind::Corrected;
        if entry.low < 0 || entry.high < 0 || !in_order {
            return wrong("its amounts contradict each other");
        }
        for (count, charged) in budgets::step(&self.budgets, &mut self.counts, entry) {
            *self.of_budgets.entry((count.budget, count.start)).or_default() += i128::from(charged);
        }
        if let (Some(tuple), true) = (&entry.tuple, entry.kind != EntryKind::Reserved) {
            let sums = self.sums.entry(tuple.clone()).or_default();
            sums[0] += i128::from(entry.charged());
            sums[1] += i128::from(entry.estimated());
            sums[2] += i128::from(entry.kind.is_ending());
        }
        Ok(())
    }

    fn finish(
        self,
        epoch: i64,
        oldest_open: i64,
        spent: &BTreeMap<TupleKey, [i128; 3]>,
    ) -> Result<Verified, LedgerError> {
        if self.epoch != epoch {
            return Err(LedgerError::Damaged(format!("the journal is in epoch {}, the ledger in {epoch}", self.epoch)));
        }
        // What is left out by it would not be recovered.
        let open = self.open.values().filter(|(_, row)| row.job.is_none());
        if let Some(seq) = open.map(|(seq, _)| *seq).min().filter(|seq| *seq < oldest_open) {
            return Err(LedgerError::Damaged(format!(
                "row {seq} is open, and the ledger has the oldest at {oldest_open}"
            )));
        }
        for (tuple, sums) in &self.sums {
            if spent.get(tuple) != Some(sums) {
                let what = format!(
                    "the sums of day {} for {} on {} are not those of the rows",
                    tuple.day, tuple.caller, tuple.model
                );
                return Err(LedgerError::Damaged(what));
            }
        }
        if spent.len() != self.sums.len() {
            return Err(LedgerError::Damaged("there are sums without rows".to_owned()));
        }
        let mut all = Totals::default();
        for [charged, estimated, attempts] in self.sums.values() {
            all.charged += charged.unsigned_abs();
            all.estimated += estimated.unsigned_abs();
            all.ended_rows += u64::try_from(*attempts).unwrap_or(0);
        }
        all.open = self.open.values().map(|(_, entry)| i128::from(entry.high).unsigned_abs()).sum();
        all.open_rows = self.open.len() as u64;
        Ok(Verified { rows: self.seq.unsigned_abs(), open: self.open.len() as u64, totals: all })
    }
}
