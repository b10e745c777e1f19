//! Whether a ledger hangs together: its rows are those that were written, and all that follows from them is
//! what they say.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use jiff::Timestamp;
use kairos_pipeline::ledger::{AttemptKey, Totals};
use rusqlite::{Connection, params};

use super::budgets::{Counted, MOST_PARTS};
use super::entry::{Entry, EntryKind};
use super::error::LedgerError;
use super::read::Reader;
use super::rows::{head_of, read_entry};
use super::schema::genesis;
use super::scopes::Counts;
use super::tuple::TupleKey;
use super::{Map, budgets};
use crate::database::schema_of;

/// Rows that are read in one go: a snapshot that is held for long keeps the log from shrinking.
const PAGE: i64 = 1_000;

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
    /// Walks the whole journal: no row is missing, changed or out of place, every attempt has one
    /// row and at most one end, and the sums, those of budgets too, are those of the rows.
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
        let written = Written::read(&snapshot)?;
        snapshot.finish()?;
        let budgets = written.budgets().into_iter().map(Counted::read).collect::<Result<_, _>>()?;
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
        walk.budgets_agree(&written)?;
        walk.days_agree(&written)?;
        walk.leases_agree(&written)?;
        walk.finish(epoch, oldest_open, &written.spent)
    }
}

/// Sums of parts of budgets' times, by budget and beginning.
type BudgetSums = BTreeMap<(Arc<str>, i64), i128>;

/// What the ledger keeps beside its rows, and follows from them.
#[derive(Default)]
struct Written {
    spent: BTreeMap<TupleKey, [i128; 3]>,
    /// Budgets, and from which part of their time on each has its sums.
    since: BTreeMap<Arc<str>, i64>,
    of_budgets: BudgetSums,
    /// Where each day's rows begin; schema 1 did not say.
    days: Option<BTreeMap<u32, i64>>,
    /// Leases of the run that goes on, or that was the last: how far they reach, and what of that has rows.
    leases: BTreeMap<TupleKey, (i64, i64)>,
}

impl Written {
    fn read(snapshot: &Connection) -> Result<Self, LedgerError> {
        let mut written = Self::default();
        let leases = "SELECT day, caller, model, upto, rowed FROM lease WHERE epoch = (SELECT epoch FROM meta)";
        let mut found = snapshot.prepare(leases)?;
        let leases = found.query_map([], |row| {
            let tuple = TupleKey { day: row.get(0)?, caller: row.get(1)?, model: row.get(2)? };
            Ok((tuple, (row.get(3)?, row.get(4)?)))
        })?;
        written.leases = leases.collect::<Result<_, _>>()?;
        let mut spent = snapshot.prepare("SELECT day, caller, model, charged, estimated, attempts FROM spent")?;
        let mut rows = spent.query([])?;
        while let Some(row) = rows.next()? {
            let key = TupleKey { day: row.get(0)?, caller: row.get(1)?, model: row.get(2)? };
            let number = |at| row.get::<_, i64>(at).map(i128::from);
            written.spent.insert(key, [number(3)?, number(4)?, number(5)?]);
        }
        let schema = schema_of(snapshot)?;
        if schema >= 2 {
            let mut found = snapshot.prepare("SELECT budget, start, charged FROM budget_spent")?;
            let sums =
                found.query_map([], |row| Ok(((row.get(0)?, row.get(1)?), i128::from(row.get::<_, i64>(2)?))))?;
            written.of_budgets = sums.collect::<Result<_, _>>()?;
            let mut found = snapshot.prepare("SELECT day, seq FROM day_began")?;
            let days = found.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
            written.days = Some(days.collect::<Result<_, _>>()?);
        }
        if schema >= 3 {
            let mut found = snapshot.prepare("SELECT budget, counts_from FROM budget")?;
            let since = found.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
            written.since = since.collect::<Result<_, _>>()?;
        }
        Ok(written)
    }

    fn budgets(&self) -> BTreeSet<&str> {
        self.since.keys().chain(self.of_budgets.keys().map(|(budget, _)| budget)).map(|budget| &**budget).collect()
    }
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
    days: BTreeMap<u32, i64>,
    /// What rows of the current epoch have drawn on leases.
    drawn: BTreeMap<TupleKey, i128>,
    /// The latest time of any row.
    latest_ms: i64,
}

/// How much later than the latest row a start may have looked at its clock, before it wrote one itself.
const STARTING_MS: i64 = 60_000;

impl Walk {
    /// Every part of a budget's time that the ledger has to have a sum of has the one that the rows say: from
    /// where its sums begin, and of the newest so many. A budget that was made in the run that goes on is not
    /// listed: of it what is there is compared, as the next start makes it anew.
    fn budgets_agree(&self, written: &Written) -> Result<(), LedgerError> {
        for Counted { budget, counting } in &self.budgets {
            // A budget's sums begin before the period of the start that made them: any later, and spending
            // that counts today would be left out.
            let possible = counting.window.counts_from(self.latest_ms.saturating_add(STARTING_MS));
            if let Some(since) = written.since.get(budget).filter(|since| **since > possible) {
                let (since, possible) = (moment(*since), moment(possible));
                let what = format!("the sums of the budget {budget} are said to begin at {since}, after {possible}");
                return Err(LedgerError::Damaged(what));
            }
            let all = (Arc::clone(budget), i64::MIN)..=(Arc::clone(budget), i64::MAX);
            let newest = self.of_budgets.range(all.clone()).rev().nth(MOST_PARTS - 1);
            let (since, kept) = (written.since.get(budget), newest.map_or(i64::MIN, |((_, start), _)| *start));
            let parts = self.of_budgets.range(all.clone()).chain(written.of_budgets.range(all));
            for part @ (_, start) in parts.map(|(part, _)| part) {
                let has_to_be_there = since.is_some() || written.of_budgets.contains_key(part);
                if !has_to_be_there || *start < kept || since.is_some_and(|since| start < since) {
                    continue;
                }
                // A sum that does not fit is the most that does.
                let sum = self.of_budgets.get(part).map_or(0, |sum| (*sum).min(i128::from(i64::MAX)));
                if written.of_budgets.get(part) != Some(&sum) {
                    let start = moment(*start);
                    let what = format!("what is spent of the budget {budget} from {start} on is not what the rows say");
                    return Err(LedgerError::Damaged(what));
                }
            }
        }
        Ok(())
    }

    fn draw(&mut self, entry: &Entry, amount: i64) {
        if let Some(tuple) = entry.tuple.as_ref().filter(|_| amount > 0) {
            *self.drawn.entry(tuple.clone()).or_default() += i128::from(amount);
        }
    }

    /// What leases say that rows have drawn is what they have: from the rest the next start knows what to charge.
    fn leases_agree(&self, written: &Written) -> Result<(), LedgerError> {
        for tuple in self.drawn.keys().chain(written.leases.keys()) {
            let drawn = self.drawn.get(tuple).copied().unwrap_or(0);
            let (upto, rowed) = written.leases.get(tuple).copied().unwrap_or_default();
            if i128::from(rowed) != drawn || upto < rowed {
                let TupleKey { day, caller, model } = tuple;
                let what = format!(
                    "what is set aside for {caller} on {model} on {} is not what the rows have drawn on",
                    date(*day)
                );
                return Err(LedgerError::Damaged(what));
            }
        }
        Ok(())
    }

    fn days_agree(&self, written: &Written) -> Result<(), LedgerError> {
        let Some(days) = &written.days else { return Ok(()) };
        match self.days.keys().chain(days.keys()).find(|day| self.days.get(day) != days.get(day)) {
            None => Ok(()),
            Some(day) => {
                let day = date(*day);
                Err(LedgerError::Damaged(format!("where the rows of {day} begin is not what the rows say")))
            }
        }
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
        self.latest_ms = self.latest_ms.max(entry.at_ms);
        match entry.kind {
            EntryKind::Opened if entry.epoch != self.epoch + 1 => return wrong("an epoch begins out of turn"),
            EntryKind::Opened if self.epoch > 0 && !self.closed => {
                return wrong("an epoch begins before the last has ended");
            }
            EntryKind::Opened => {
                (self.epoch, self.closed) = (entry.epoch, false);
                self.drawn.clear();
            }
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
                self.draw(entry, entry.high);
            }
            EntryKind::Settled | EntryKind::Estimated | EntryKind::Voided => {
                let Some((_, reserved)) = entry.key.and_then(|key| self.open.remove(&key)) else {
                    return wrong("it ends an attempt that is not open");
                };
                if reserved.tuple != entry.tuple {
                    return wrong("it counts against another than its reservation");
                }
                // What was reserved in an earlier run was drawn there.
                if reserved.epoch == entry.epoch {
                    self.draw(entry, entry.charged().saturating_sub(reserved.high).max(0));
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
        if let Some(tuple) = &entry.tuple {
            self.days.entry(tuple.day).or_insert(seq);
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
                    "the sums of {} for {} on {} are not those of the rows",
                    date(tuple.day),
                    tuple.caller,
                    tuple.model
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

/// A time as people read it.
fn moment(ms: i64) -> String {
    Timestamp::from_millisecond(ms).map_or_else(|_| ms.to_string(), |at| at.to_string())
}

/// A day of the ledger, as people read it.
fn date(day: u32) -> String {
    let at = Timestamp::from_second(i64::from(day) * 86_400);
    at.map_or_else(|_| day.to_string(), |at| at.strftime("%F").to_string())
}
