//! Every attempt that may cost money has a row: reserved before it is sent, ended exactly once.
//!
//! [`Reserved`] makes that a type: it is made by a reservation, and each way to end it consumes it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::BoxFuture;
use kairos_dialects::Usage;
use kairos_dialects::outline::ServiceTier;

use crate::budget::Spender;
use crate::money::Picodollars;
use crate::request::RequestId;

/// Which attempt of which request. Also sent to Bedrock, as `amz-sdk-invocation-id`, so that
/// ledger, Bedrock's logs and bills can be joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AttemptKey {
    /// The request.
    pub request: RequestId,
    /// The attempt, from 1.
    pub attempt: u32,
}

impl AttemptKey {
    /// The key as text.
    pub fn text(&self) -> String {
        use std::fmt::Write as _;
        let mut text = String::with_capacity(48);
        // Writing to a string cannot fail.
        let _ = write!(text, "{self}");
        text
    }
}

impl std::fmt::Display for AttemptKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}-{}", self.request, self.attempt)
    }
}

/// What is to be reserved, and against whom it counts.
#[derive(Clone, Debug)]
pub struct Reservation {
    /// The attempt.
    pub key: AttemptKey,
    /// The caller's key.
    pub caller: Arc<str>,
    /// The key's team, where it has one.
    pub team: Option<Arc<str>>,
    /// The model that is called.
    pub model: Arc<str>,
    /// How it is called: its id, or that of an inference profile, which says by which route.
    pub target: Arc<str>,
    /// From which region.
    pub region: Arc<str>,
    /// In which service tier, as it is asked for.
    pub tier: ServiceTier,
    /// The caller's tags.
    pub tags: Arc<[(String, String)]>,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// The most that it can cost.
    pub worst: Picodollars,
    /// Which prices were used.
    pub price_version: Arc<str>,
    /// Who decided that the model is tried: `name@digest`.
    pub policy: Option<Arc<str>>,
    /// Whether the model has no price: what it costs is not known then, and nothing is charged.
    pub unpriced: bool,
    /// Of a job, which ends long after the request: the token that Bedrock knows it by. Its row stays open
    /// until it ends, whatever becomes of the process.
    pub job: Option<Arc<str>>,
}

/// A job whose row is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenJob {
    /// The attempt that began it.
    pub key: AttemptKey,
    /// The token that Bedrock knows it by.
    pub token: Arc<str>,
    /// Whose key it is.
    pub caller: Arc<str>,
    /// When it was reserved, in milliseconds since 1970.
    pub at_ms: u64,
    /// The most that it can cost.
    pub worst: Picodollars,
}

impl OpenJob {
    /// The job of a reservation that is one.
    pub fn of(reservation: &Reservation) -> Option<Self> {
        let Reservation { key, caller, at_ms, worst, job, .. } = reservation;
        let token = Arc::clone(job.as_ref()?);
        Some(Self { key: *key, token, caller: Arc::clone(caller), at_ms: *at_ms, worst: *worst })
    }
}

/// A budget that has no room for what was to be reserved: charged + open + worst is above its limit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the budget {budget:?} of {limit} USD {window} has no room for what the request can cost, {worst} USD: \
     {charged} USD are spent, {open} USD reserved for requests under way{}",
    if resets_ms.is_none() { "; it never has: lower the output limit of the request, or name a cheaper model" } else { "" }
)]
pub struct LimitReached {
    /// The budget's name.
    pub budget: Arc<str>,
    /// Its limit.
    pub limit: Picodollars,
    /// In which time, as text.
    pub window: Arc<str>,
    /// What is spent of it.
    pub charged: Picodollars,
    /// What is reserved by requests under way.
    pub open: Picodollars,
    /// The most that the refused request could cost.
    pub worst: Picodollars,
    /// Milliseconds until there is room for it, if nothing else is spent: in every budget that has none now.
    /// None where a limit is too low for it at any time. Requests under way may cost less than they reserved,
    /// so that there can be room before.
    pub resets_ms: Option<u64>,
}

/// What is left of the budgets that cover a request, whatever its model.
#[derive(Clone, Debug, PartialEq)]
pub struct Budget {
    /// The least that is left, open reservations counted as spent.
    pub remaining: Picodollars,
    /// The greatest part that is used, in [0, 1].
    pub used: f64,
    /// How many alert thresholds are passed.
    pub level: u32,
    /// The first budget of which nothing is left, of those that refuse nothing.
    pub degraded: Option<Degraded>,
}

/// A budget of which nothing is left, and that refuses nothing all the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Degraded {
    /// The budget's name.
    pub budget: Arc<str>,
    /// Milliseconds until something may be left.
    pub resets_ms: u64,
}

/// Why nothing was reserved. Nothing may be sent then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReserveError {
    /// A limit has no room.
    #[error(transparent)]
    Limit(#[from] LimitReached),
    /// Money cannot be accounted for at the moment.
    #[error("money cannot be accounted for at the moment: {0}")]
    Unavailable(String),
    /// As many jobs are open as may be.
    #[error("{0}")]
    Jobs(String),
}

/// How a row ends.
#[derive(Clone, Debug, PartialEq)]
pub enum Ending {
    /// The bill is known.
    Settled {
        /// It.
        cost: Picodollars,
        /// What was consumed.
        usage: Usage,
    },
    /// The bill is in [low, high]; high is charged.
    Estimated {
        /// The least it can be.
        low: Picodollars,
        /// The most it can be.
        high: Picodollars,
        /// What was consumed, where that is known.
        usage: Option<Usage>,
        /// Why it is not known.
        why: &'static str,
    },
    /// Nothing is charged: never sent, or known to be unbilled.
    Voided {
        /// Why.
        why: &'static str,
    },
}

impl Ending {
    /// What is charged.
    pub fn charged(&self) -> Picodollars {
        match self {
            Self::Settled { cost, .. } => *cost,
            Self::Estimated { high, .. } => *high,
            Self::Voided { .. } => Picodollars::ZERO,
        }
    }

    /// The state's name.
    pub fn state(&self) -> &'static str {
        match self {
            Self::Settled { .. } => "settled",
            Self::Estimated { .. } => "estimated",
            Self::Voided { .. } => "voided",
        }
    }
}

/// Keeps the rows.
pub trait Ledger: Send + Sync {
    /// Opens a row, if every limit that covers it has room for its worst case.
    fn open<'a>(&'a self, reservation: &'a Reservation) -> BoxFuture<'a, Result<(), ReserveError>>;

    /// Ends an open row. Never waits, never fails: room for it was set aside when the row opened.
    fn end(&self, key: AttemptKey, ending: Ending);

    /// Resolves once the row of a job is on disk: before that nothing of it is sent.
    fn written(&self, key: AttemptKey) -> BoxFuture<'_, Result<(), ReserveError>>;

    /// The jobs whose rows are open, the oldest first.
    fn jobs(&self) -> Vec<OpenJob>;

    /// The job of an attempt, if its row is open.
    fn job(&self, key: AttemptKey) -> Option<OpenJob>;

    /// What is left of the budgets that cover a request at this time; none where no budget does.
    fn budget(&self, spender: &Spender<'_>, at_ms: u64) -> Option<Budget>;

    /// What was spent and what is open.
    fn totals(&self) -> Totals;
}

/// Sums over all rows, in picodollars.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Charged by rows that have ended.
    pub charged: u128,
    /// The part of it that is estimated.
    pub estimated: u128,
    /// Worst cases of rows that are open.
    pub open: u128,
    /// Rows that are open.
    pub open_rows: u64,
    /// Rows that have ended.
    pub ended_rows: u64,
}

/// Opens a row and gives the duty to end it.
pub async fn reserve(ledger: &Arc<dyn Ledger>, reservation: &Reservation) -> Result<Reserved, ReserveError> {
    ledger.open(reservation).await?;
    let reserved = Reserved {
        ledger: Arc::clone(ledger),
        key: reservation.key,
        worst: reservation.worst,
        sent: false,
        ended: false,
        observed: None,
        is_job: reservation.job.is_some(),
    };
    if reserved.is_job {
        ledger.written(reserved.key).await?;
    }
    Ok(reserved)
}

/// An open row, and the duty to end it.
pub struct Reserved {
    ledger: Arc<dyn Ledger>,
    key: AttemptKey,
    worst: Picodollars,
    sent: bool,
    ended: bool,
    observed: Option<Ending>,
    /// It may go on for long after the request: who looks whether it has ended ends its row.
    is_job: bool,
}

impl Reserved {
    /// The attempt.
    pub fn key(&self) -> AttemptKey {
        self.key
    }

    /// Says that bytes may go upstream from now on.
    pub fn mark_sent(&mut self) {
        self.sent = true;
    }

    /// Keeps the ending that is known already, should the rest of the work be lost.
    pub fn observe(&mut self, ending: Ending) {
        self.observed = Some(ending);
    }

    /// Ends the row.
    pub fn end(mut self, ending: Ending) {
        self.ended = true;
        self.ledger.end(self.key, ending);
    }

    /// Leaves the row of a job open: it has begun, or may have.
    pub fn stays_open(mut self) {
        self.ended = self.is_job;
    }

    /// Ends the row with what was observed, or else as something between nothing and the worst.
    pub fn end_observed(mut self, why: &'static str) -> Ending {
        let ending = self.observed.take().unwrap_or(Ending::Estimated {
            low: Picodollars::ZERO,
            high: self.worst,
            usage: None,
            why,
        });
        self.end(ending.clone());
        ending
    }
}

impl Drop for Reserved {
    /// Only for work that was lost (a panic, a runtime that stops): a row that was never sent is
    /// void, any other may be billed.
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let ending = match (self.sent, self.observed.take()) {
            (false, _) => Ending::Voided { why: "never sent" },
            (true, None) if self.is_job => return,
            (true, Some(ending)) => ending,
            (true, None) => {
                Ending::Estimated { low: Picodollars::ZERO, high: self.worst, usage: None, why: "abandoned" }
            }
        };
        self.ledger.end(self.key, ending);
    }
}

/// A ledger in memory: what it knows is lost when the process stops.
#[derive(Default)]
pub struct MemoryLedger {
    books: Mutex<Books>,
}

#[derive(Default)]
struct Books {
    open: HashMap<AttemptKey, Picodollars>,
    jobs: Vec<OpenJob>,
    totals: Totals,
}

impl Ledger for MemoryLedger {
    fn open<'a>(&'a self, reservation: &'a Reservation) -> BoxFuture<'a, Result<(), ReserveError>> {
        let mut books = self.books.lock().unwrap_or_else(PoisonError::into_inner);
        books.open.insert(reservation.key, reservation.worst);
        books.jobs.extend(OpenJob::of(reservation));
        books.totals.open += u128::from(reservation.worst.0);
        books.totals.open_rows += 1;
        Box::pin(std::future::ready(Ok(())))
    }

    fn end(&self, key: AttemptKey, ending: Ending) {
        let mut books = self.books.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(worst) = books.open.remove(&key) else { return };
        books.jobs.retain(|job| job.key != key);
        let charged = u128::from(ending.charged().0);
        books.totals.open -= u128::from(worst.0);
        books.totals.open_rows -= 1;
        books.totals.ended_rows += 1;
        books.totals.charged += charged;
        if matches!(ending, Ending::Estimated { .. }) {
            books.totals.estimated += charged;
        }
    }

    fn written(&self, _: AttemptKey) -> BoxFuture<'_, Result<(), ReserveError>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn jobs(&self) -> Vec<OpenJob> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner).jobs.clone()
    }

    fn job(&self, key: AttemptKey) -> Option<OpenJob> {
        let books = self.books.lock().unwrap_or_else(PoisonError::into_inner);
        books.jobs.iter().find(|job| job.key == key).cloned()
    }

    fn budget(&self, _: &Spender<'_>, _: u64) -> Option<Budget> {
        None
    }

    fn totals(&self) -> Totals {
        self.books.lock().unwrap_or_else(PoisonError::into_inner).totals
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reservation(attempt: u32) -> Reservation {
        Reservation {
            key: AttemptKey { request: RequestId::mint(), attempt },
            caller: "k".into(),
            team: None,
            model: "m".into(),
            target: "us.m".into(),
            region: "us-east-1".into(),
            tier: ServiceTier::Standard,
            tags: Arc::from([]),
            at_ms: 0,
            worst: Picodollars(100),
            price_version: "v".into(),
            policy: None,
            unpriced: false,
            job: None,
        }
    }

    async fn open(ledger: &Arc<MemoryLedger>) -> Reserved {
        let shared: Arc<dyn Ledger> = Arc::clone(ledger) as _;
        reserve(&shared, &reservation(1)).await.unwrap()
    }

    #[tokio::test]
    async fn the_row_of_a_job_that_may_have_begun_stays_open() {
        let ledger = Arc::new(MemoryLedger::default());
        let shared: Arc<dyn Ledger> = Arc::clone(&ledger) as _;
        let job = |attempt| Reservation { job: Some("token".into()), ..reservation(attempt) };
        let never_sent = reserve(&shared, &job(1)).await.unwrap();
        let mut lost = reserve(&shared, &job(2)).await.unwrap();
        lost.mark_sent();
        let mut begun = reserve(&shared, &job(3)).await.unwrap();
        begun.mark_sent();
        let key = begun.key();
        drop((never_sent, lost));
        begun.stays_open();
        let totals = ledger.totals();
        assert_eq!((totals.open, totals.open_rows, totals.ended_rows, totals.charged), (200, 2, 1, 0));
        assert_eq!(shared.jobs().iter().map(|job| job.key.attempt).collect::<Vec<_>>(), [2, 3]);
        ledger.end(key, Ending::Settled { cost: Picodollars(9), usage: Usage::default() });
        assert_eq!(shared.jobs().len(), 1);
        // What is no job does not stay open by that.
        let mut sent = open(&ledger).await;
        sent.mark_sent();
        sent.stays_open();
        assert_eq!((ledger.totals().open_rows, ledger.totals().charged), (1, 109));
    }

    #[tokio::test]
    async fn every_row_ends_once_however_it_is_lost() {
        let ledger = Arc::new(MemoryLedger::default());
        let never_sent = open(&ledger).await;
        let mut sent = open(&ledger).await;
        sent.mark_sent();
        let mut observed = open(&ledger).await;
        observed.mark_sent();
        let settled = Ending::Settled { cost: Picodollars(7), usage: Usage::default() };
        observed.observe(settled.clone());
        let ended = open(&ledger).await;
        let key = ended.key();
        assert_eq!(ledger.totals().open, 400);

        ended.end(Ending::Settled { cost: Picodollars(3), usage: Usage::default() });
        drop((never_sent, sent, observed));
        let totals = ledger.totals();
        assert_eq!((totals.open, totals.open_rows, totals.ended_rows), (0, 0, 4));
        assert_eq!((totals.charged, totals.estimated), (100 + 7 + 3, 100));
        // A row that has ended does not end again.
        ledger.end(key, settled);
        assert_eq!(ledger.totals(), totals);
    }
}
