//! Corrections: a bill says what estimates come to, and rows are appended that say so. What was written
//! stays as it is.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::entry::{Entry, EntryKind, amount};
use super::error::LedgerError;
use super::journal::{CommitError, Journal};
use super::read::Reader;
use super::{FILE, Locked, TupleKey};

/// All estimates of a key and model on a day come to `amount` instead of `replaced`, in picodollars.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Correction {
    /// Day, key and model.
    pub tuple: TupleKey,
    /// The key's team, where all of them name the same.
    pub team: Option<Arc<str>>,
    /// What they are charged at so far, all of them.
    pub replaced: u64,
    /// What they cost.
    pub amount: u64,
    /// Who says so.
    pub why: String,
}

/// A ledger that corrections are appended to. No gateway has it meanwhile.
pub struct Corrector {
    folder: PathBuf,
    journal: Option<Journal>,
    _lock: Locked,
}

impl Corrector {
    /// Takes the ledger of a data folder. What the last run left open is recovered first, where it did not
    /// end properly; else nothing is written.
    pub fn open(folder: &Path, now_ms: u64) -> Result<Self, LedgerError> {
        // Nothing is made where there is no ledger.
        let reader = Reader::open(&folder.join(FILE))?;
        let lock = Locked::folder(folder).map_err(|error| match error {
            LedgerError::InUse(_) => LedgerError::InUse(format!(
                "{}: a gateway that runs keeps its ledger here: stop it while a bill settles estimates",
                folder.display()
            )),
            other => other,
        })?;
        let journal = if reader.is_closed()? { None } else { Some(begin(folder, now_ms)?) };
        Ok(Self { folder: folder.to_owned(), journal, _lock: lock })
    }

    /// Appends corrections, synced, all or none. Nothing is written where there are none.
    pub fn commit(mut self, corrections: &[Correction], now_ms: u64) -> Result<(), LedgerError> {
        if corrections.is_empty() {
            return self.journal.as_mut().map_or(Ok(()), |journal| close(journal, now_ms));
        }
        let mut journal = match self.journal.take() {
            Some(journal) => journal,
            None => begin(&self.folder, now_ms)?,
        };
        for correction in corrections {
            let found = journal.estimated(&correction.tuple)?;
            if found != correction.replaced || found == 0 {
                let TupleKey { day, caller, model } = &correction.tuple;
                let what = format!("the estimates of day {day} for {caller} on {model} are not those of its rows");
                close(&mut journal, now_ms)?;
                return Err(LedgerError::Damaged(what));
            }
        }
        let rows = corrections.iter().map(|correction| Entry {
            tuple: Some(correction.tuple.clone()),
            team: correction.team.clone(),
            low: amount(correction.replaced),
            high: amount(correction.amount),
            why: Some(correction.why.clone()),
            ..Entry::of_epoch(EntryKind::Corrected, journal.epoch, amount(now_ms))
        });
        let batch = journal.batch(rows.collect());
        journal.commit(&batch, &[]).map_err(uncommitted)?;
        close(&mut journal, now_ms)
    }
}

fn begin(folder: &Path, now_ms: u64) -> Result<Journal, LedgerError> {
    // Without budgets: what is kept of theirs is made anew by the next gateway, from the rows.
    Journal::open(&folder.join(FILE), &[], amount(now_ms))
}

fn close(journal: &mut Journal, now_ms: u64) -> Result<(), LedgerError> {
    journal.close(amount(now_ms)).map(|_| ()).map_err(uncommitted)
}

fn uncommitted(error: CommitError) -> LedgerError {
    match error {
        CommitError::Ledger(error) => error,
        CommitError::Fenced => LedgerError::InUse(error.to_string()),
    }
}
