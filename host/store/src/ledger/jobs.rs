//! Jobs: rows that stay open across runs, until somebody finds that what they are for has ended.
//!
//! Such a row counts in the budgets of its reservation as long as it is open, in whichever run. A run that
//! takes one over has no lease for it: what it ends at is in its row alone.

use std::sync::Arc;

use kairos_dialects::outline::ServiceTier;
use kairos_pipeline::ledger::{AttemptKey, OpenJob, Reservation, ReserveError};
use kairos_pipeline::money::Picodollars;
use tokio::sync::oneshot;

use super::Map;
use super::entry::Entry;

/// Open jobs, in memory.
#[derive(Default)]
pub(super) struct Jobs {
    open: Map<AttemptKey, Open>,
    /// Rows that were ever queued, and of these the committed ones.
    queued: u64,
    committed: u64,
    /// Who waits for a row to be committed, by its number.
    waiting: Vec<(u64, oneshot::Sender<()>)>,
}

struct Open {
    job: OpenJob,
    /// The number of its row; 0 where an earlier run wrote it.
    row: u64,
}

impl Jobs {
    /// Whether there is room for one more, of `most` in all and `each_key`.
    pub(super) fn check(&self, reservation: &Reservation, most: usize, each_key: usize) -> Result<(), ReserveError> {
        if reservation.job.is_none() {
            return Ok(());
        }
        let full = |whose: &str, name: &str, most: usize| {
            let why = format!(
                "{most} jobs of {whose} are open, as many as `{name}` under [jobs] allows; wait for one to end"
            );
            Err(ReserveError::Jobs(why))
        };
        if self.open.len() >= most {
            return full("this gateway", "open", most);
        }
        if self.open.values().filter(|open| open.job.caller == reservation.caller).count() >= each_key {
            return full("this key", "open_each_key", each_key);
        }
        Ok(())
    }

    /// A row was queued.
    pub(super) fn queue(&mut self, reservation: Option<&Reservation>) {
        self.queued += 1;
        if let Some(job) = reservation.and_then(OpenJob::of) {
            self.open.insert(job.key, Open { job, row: self.queued });
        }
    }

    /// Takes over what an earlier run left open.
    pub(super) fn take_over(&mut self, job: OpenJob) {
        self.open.insert(job.key, Open { job, row: 0 });
    }

    /// A row has ended. Whether it was a job's that an earlier run had opened.
    pub(super) fn end(&mut self, key: &AttemptKey) -> bool {
        self.open.remove(key).is_some_and(|open| open.row == 0)
    }

    pub(super) fn commit(&mut self, rows: usize) {
        self.committed += rows as u64;
        let committed = self.committed;
        for (_, waiting) in self.waiting.extract_if(.., |(row, _)| *row <= committed) {
            // Who is gone need not know.
            let _ = waiting.send(());
        }
    }

    /// Tells when a job's row is on disk.
    pub(super) fn written(&mut self, key: &AttemptKey) -> oneshot::Receiver<()> {
        let (tell, told) = oneshot::channel();
        match self.open.get(key).map(|open| open.row).filter(|row| *row > self.committed) {
            Some(row) => self.waiting.push((row, tell)),
            None => {
                let _ = tell.send(());
            }
        }
        told
    }

    /// All of them, in no order.
    pub(super) fn all(&self) -> Vec<OpenJob> {
        self.open.values().map(|open| open.job.clone()).collect()
    }

    pub(super) fn of(&self, key: &AttemptKey) -> Option<OpenJob> {
        self.open.get(key).map(|open| open.job.clone())
    }

    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    /// Whether all of so many open rows are jobs.
    pub(super) fn are_all(&self, rows: usize) -> bool {
        rows == self.open.len()
    }
}

/// The reservation of a row that an earlier run left open, as far as budgets look at it.
pub(super) fn reservation_of(row: &Entry) -> Option<Reservation> {
    let tuple = row.tuple.as_ref()?;
    let tags: serde_json::Map<String, serde_json::Value> =
        row.tags.as_deref().and_then(|tags| serde_json::from_str(tags).ok()).unwrap_or_default();
    let tags: Vec<_> = tags.into_iter().filter_map(|(name, value)| Some((name, value.as_str()?.to_owned()))).collect();
    Some(Reservation {
        key: row.key?,
        caller: Arc::clone(&tuple.caller),
        team: row.team.clone(),
        model: Arc::clone(&tuple.model),
        target: row.target.clone().unwrap_or_default(),
        region: row.region.clone().unwrap_or_default(),
        tier: ServiceTier::Standard,
        tags: tags.into(),
        at_ms: row.at_ms.unsigned_abs(),
        worst: Picodollars(row.high.unsigned_abs()),
        price_version: row.prices.clone().unwrap_or_default(),
        policy: row.policy.clone(),
        unpriced: row.unpriced == Some(true),
        job: row.job.clone(),
    })
}
