//! Sums of budgets on disk. The writer keeps them, in the transaction of the rows; a budget that is new, or
//! counts otherwise than before, gets its own from the journal, once.

use std::collections::HashSet;
use std::sync::Arc;

use kairos_pipeline::budget::{Counting, Rule, Spender};
use rusqlite::{Connection, Transaction, TransactionBehavior, params};

use super::Map;
use super::entry::{Entry, EntryKind};
use super::error::LedgerError;
use super::rows::read_entry;
use super::scopes::{Count, Counts};
use kairos_pipeline::price::DAY_MS;

/// Parts of a budget's time of which the sums are kept, the newest: a week of minutes, 27 years of days.
pub(super) const MOST_PARTS: usize = 10_000;

/// How a budget counts, and what the ledger knows it by.
#[derive(Clone)]
pub(super) struct Counted {
    pub(super) budget: Arc<str>,
    pub(super) counting: Counting,
}

impl Counted {
    pub(super) fn of(rules: &[Arc<Rule>]) -> Vec<Self> {
        let counted = |rule: &Arc<Rule>| {
            let counting = rule.counting.clone();
            Self { budget: counting.identity().into(), counting }
        };
        let mut known = HashSet::new();
        rules.iter().map(counted).filter(|one| known.insert(Arc::clone(&one.budget))).collect()
    }

    /// Reads what the ledger knows a budget by.
    pub(super) fn read(budget: &str) -> Result<Self, LedgerError> {
        let counting = serde_json::from_str(budget)
            .map_err(|error| LedgerError::Damaged(format!("how the budget {budget} counts cannot be read: {error}")))?;
        Ok(Self { budget: budget.into(), counting })
    }

    /// Where a row counts, if it does: a reservation, or something that was drawn without a row. Of the latter
    /// only key and model are known, so it counts wherever it may belong; and as late as it can have been
    /// drawn, so that it is in no period that is over if it may be in one that is not.
    fn start(&self, entry: &Entry, tags: &[(String, String)]) -> Option<i64> {
        let tuple = entry.tuple.as_ref()?;
        let Counting { covers, window } = &self.counting;
        let (is_covered, at_ms) = match entry.kind {
            EntryKind::Unidentified => {
                let day_ms = i64::try_from(DAY_MS).unwrap_or(i64::MAX);
                let began = i64::from(tuple.day).saturating_mul(day_ms);
                let at_ms = entry.at_ms.clamp(began, began.saturating_add(day_ms - 1));
                (covers.may_cover(&tuple.caller, &tuple.model), at_ms)
            }
            _ => {
                let who = Spender { key: &tuple.caller, team: entry.team.as_deref(), tags };
                (covers.covers(&who, Some(&tuple.model)), entry.at_ms)
            }
        };
        is_covered.then(|| window.part(at_ms).0)
    }
}

/// Where a row counts that tells so itself.
pub(super) fn counts_of(counted: &[Counted], entry: &Entry) -> Counts {
    if counted.is_empty() {
        return Counts::default();
    }
    let tags: serde_json::Map<String, serde_json::Value> =
        entry.tags.as_deref().and_then(|tags| serde_json::from_str(tags).ok()).unwrap_or_default();
    let tags = tags.into_iter().filter_map(|(name, value)| Some((name, value.as_str()?.to_owned())));
    let tags: Vec<_> = tags.collect();
    let count = |one: &Counted| Some(Count::recovered(Arc::clone(&one.budget), one.start(entry, &tags)?));
    counted.iter().filter_map(count).collect()
}

/// Adds what rows charge to the sums.
pub(super) fn add(connection: &Connection, sums: &Map<(&str, i64), i64>) -> rusqlite::Result<()> {
    if sums.is_empty() {
        return Ok(());
    }
    // Where a sum would not fit, it is the most that does.
    let mut add = connection.prepare_cached(
        "INSERT INTO budget_spent (budget, start, charged) VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE
         SET charged = iif(charged > 9223372036854775807 - ?3, 9223372036854775807, charged + ?3)",
    )?;
    for ((budget, start), charged) in sums {
        add.execute(params![budget, start, charged])?;
    }
    Ok(())
}

/// Keeps where a day's rows begin. With each new one, sums that are too old go.
pub(super) fn begin_day(connection: &Connection, day: u32, seq: i64) -> rusqlite::Result<()> {
    let is_new = connection
        .prepare_cached("INSERT OR IGNORE INTO day_began (day, seq) VALUES (?1, ?2)")?
        .execute([i64::from(day), seq])?;
    if is_new == 1 {
        connection.execute(
            "DELETE FROM budget_spent WHERE (budget, start) IN (SELECT budget, start FROM (
                SELECT budget, start, row_number() OVER (PARTITION BY budget ORDER BY start DESC) AS place
                FROM budget_spent) WHERE place > ?1)",
            [MOST_PARTS as i64],
        )?;
    }
    Ok(())
}

/// Drops the sums of budgets that there are no more. Gives those that have theirs.
pub(super) fn take_up(connection: &mut Connection, counted: &[Counted]) -> Result<Vec<Counted>, LedgerError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let known: HashSet<String> =
        transaction.prepare("SELECT budget FROM budget")?.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    let kept: Vec<Counted> = counted.iter().filter(|one| known.contains(&*one.budget)).cloned().collect();
    let wanted: HashSet<&str> = kept.iter().map(|one| &*one.budget).collect();
    for gone in known.iter().filter(|budget| !wanted.contains(budget.as_str())) {
        transaction.execute("DELETE FROM budget WHERE budget = ?1", [gone])?;
    }
    // Also of those that were added in the last run: they get theirs from the journal.
    transaction.execute("DELETE FROM budget_spent WHERE budget NOT IN (SELECT budget FROM budget)", [])?;
    transaction.commit()?;
    Ok(kept)
}

/// Makes the sums of budgets that have none, from the rows of their current time. Nothing is open then.
pub(super) fn make(connection: &mut Connection, counted: &[Counted], now_ms: i64) -> Result<(), LedgerError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut missing: Vec<(Counted, i64)> = Vec::new();
    for one in counted {
        let from_ms = one.counting.window.counts_from(now_ms);
        let is_new = transaction.execute(
            "INSERT OR IGNORE INTO budget (budget, counts_from) VALUES (?1, ?2)",
            params![one.budget, from_ms],
        )?;
        if is_new == 1 {
            missing.push((one.clone(), from_ms));
        }
    }
    if let Some(from_ms) = missing.iter().map(|(_, from)| *from).min() {
        let sums = sums_since(&transaction, &missing, from_ms)?;
        add(&transaction, &sums.iter().map(|((budget, start), sum)| ((&**budget, *start), *sum)).collect())?;
    }
    Ok(transaction.commit()?)
}

type Sums = Map<(Arc<str>, i64), i64>;

/// What the journal says that was spent of budgets, each from a time on.
fn sums_since(transaction: &Transaction<'_>, missing: &[(Counted, i64)], from_ms: i64) -> Result<Sums, LedgerError> {
    let day = from_ms / i64::try_from(DAY_MS).unwrap_or(i64::MAX);
    // A clock may have gone back: days need not begin in their order.
    let first: Option<i64> =
        transaction.query_row("SELECT min(seq) FROM day_began WHERE day >= ?1", [day], |row| row.get(0))?;
    let (mut open, mut sums) = (Map::<_, Counts>::default(), Sums::default());
    let Some(first) = first else { return Ok(sums) };
    let counted: Vec<Counted> = missing.iter().map(|(one, _)| one.clone()).collect();
    let from: Map<&str, i64> = missing.iter().map(|(one, from)| (&*one.budget, *from)).collect();
    let mut rows = transaction.prepare("SELECT * FROM journal WHERE seq >= ?1 ORDER BY seq")?;
    let mut rows = rows.query([first])?;
    while let Some(row) = rows.next()? {
        let (_, entry, _) = read_entry(row)?;
        for (count, charged) in step(&counted, &mut open, &entry) {
            if from.get(&*count.budget).is_some_and(|from| *from <= count.start) {
                let sum = sums.entry((count.budget, count.start)).or_default();
                *sum = sum.saturating_add(charged);
            }
        }
    }
    Ok(sums)
}

/// What the next row of the journal adds to budgets: an end counts where its reservation did.
pub(super) fn step(
    counted: &[Counted],
    open: &mut Map<kairos_pipeline::ledger::AttemptKey, Counts>,
    entry: &Entry,
) -> Vec<(Count, i64)> {
    let counts = match (entry.kind, entry.key) {
        (EntryKind::Reserved, Some(key)) => {
            open.insert(key, counts_of(counted, entry));
            return Vec::new();
        }
        (EntryKind::Unidentified, _) => counts_of(counted, entry),
        (kind, Some(key)) if kind.is_ending() => open.remove(&key).unwrap_or_default(),
        _ => return Vec::new(),
    };
    let charged = entry.charged();
    counts.iter().filter(|_| charged > 0).map(|count| (count.clone(), charged)).collect()
}

/// What is known of a budget's sums: of a window that rolls all, of another the parts that may matter now, and
/// the newest.
pub(super) fn known(connection: &Connection, counting: &Counting, now_ms: i64) -> Result<Vec<(i64, u64)>, LedgerError> {
    let window = &counting.window;
    let from = if window.lasts_ms().is_some() { i64::MIN } else { window.counts_from(now_ms) };
    let mut found = connection.prepare_cached(
        "SELECT start, charged FROM budget_spent WHERE budget = ?1
         AND (start >= ?2 OR start = (SELECT max(start) FROM budget_spent WHERE budget = ?1))",
    )?;
    let parts = found
        .query_map(params![counting.identity(), from], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?.unsigned_abs())))?;
    Ok(parts.collect::<Result<_, _>>()?)
}
