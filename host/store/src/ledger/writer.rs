//! The one thread that writes the ledger: it commits what is queued, batch by batch, and publishes
//! what was committed.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::books::Books;
use super::entry::{Entry, amount};
use super::journal::{Batch, CommitError, Journal};
use super::scopes::Count;
use super::tuple::TupleKey;

/// How long rows are gathered for one commit while nobody waits for it. What was sent is covered by a
/// lease that is on disk: a sync for fewer rows would cost much and protect nothing.
const GATHER: Duration = Duration::from_millis(25);
/// Between two looks at leases that nobody draws on.
const TICK: Duration = Duration::from_millis(500);
/// Between two looks for the last rows, once stopping is wanted.
const SETTLING: Duration = Duration::from_millis(5);
/// Between two tries of a commit that failed.
const RETRY: Duration = Duration::from_millis(200);

/// What callers and the writer share.
pub(crate) struct Shared {
    books: Mutex<Books>,
    wake: Condvar,
    clock: Arc<dyn Fn() -> u64 + Send + Sync>,
    started: Instant,
}

impl Shared {
    pub(crate) fn new(books: Books, clock: Arc<dyn Fn() -> u64 + Send + Sync>) -> Self {
        Self { books: Mutex::new(books), wake: Condvar::new(), clock, started: Instant::now() }
    }

    /// The books. The writer is woken where something was left for it.
    pub(crate) fn with<T>(&self, work: impl FnOnce(&mut Books) -> T) -> T {
        let mut books = self.lock();
        let was_urgent = books.urgent;
        let result = work(&mut books);
        // Who looks by itself shortly need not be woken, on the core of a request that is under way.
        let wake = (books.work && std::mem::take(&mut books.resting)) || (books.urgent && !was_urgent);
        drop(books);
        if wake {
            self.wake.notify_one();
        }
        result
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Seconds on a clock that never goes back.
    pub(crate) fn second(&self) -> u64 {
        self.started.elapsed().as_secs()
    }

    /// Milliseconds since 1970.
    pub(crate) fn now_ms(&self) -> u64 {
        (self.clock)()
    }
}

/// How the writer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Every row is on disk, and the epoch is closed.
    Closed,
    /// Rows were still open: the next start charges them at their worst case.
    Open,
    /// The last commits failed: what is missing is charged at the next start.
    Failing,
}

/// The writer.
pub(crate) struct Writer {
    journal: Journal,
    shared: Arc<Shared>,
    /// Rows whose commit failed, to be tried again as they are.
    kept: Option<Batch>,
    /// Memory for rows, which those of the last commit had: of new memory, each page costs a fault.
    room: Vec<Entry>,
    /// When it last found something to do.
    worked: Instant,
}

impl Writer {
    pub(crate) fn new(journal: Journal, shared: Arc<Shared>) -> Self {
        Self { journal, shared, kept: None, room: Vec::new(), worked: Instant::now() }
    }

    /// Writes until `stop` says so, then once more.
    pub(crate) fn run(mut self, stop: &Stop) -> Ended {
        let mut ticked = Instant::now();
        loop {
            let stopping = self.wait(stop);
            if ticked.elapsed() >= TICK {
                ticked = Instant::now();
                let second = self.shared.second();
                self.shared.lock().tick(second);
            }
            let committed = self.round(self.shared.second());
            if let Some(deadline) = stopping {
                if committed && self.shared.lock().is_settled() {
                    return self.close();
                }
                if Instant::now() >= deadline {
                    return if committed { Ended::Open } else { Ended::Failing };
                }
            }
            if !committed {
                std::thread::sleep(RETRY);
            }
        }
    }

    /// Waits for work, and gathers some more, unless somebody waits: what came first is most likely
    /// still on its way, and need not share its core with a commit. Gives the time until which stopping
    /// may take, once it is wanted.
    fn wait(&mut self, stop: &Stop) -> Option<Instant> {
        let mut books = self.shared.lock();
        if !books.work && self.kept.is_none() {
            // Between requests it looks by itself, and rests after a while without any.
            books.resting = self.worked.elapsed() >= TICK && stop.wanted().is_none();
            let patience = match (stop.wanted(), books.resting) {
                (Some(_), _) => SETTLING,
                (None, true) => TICK,
                (None, false) => GATHER,
            };
            books = self.shared.wake.wait_timeout(books, patience).unwrap_or_else(PoisonError::into_inner).0;
            books.resting = false;
        }
        if books.work {
            self.worked = Instant::now();
        }
        let due = Instant::now() + GATHER;
        while books.work && !books.urgent && stop.wanted().is_none() && self.kept.is_none() {
            let left = due.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            books = self.shared.wake.wait_timeout(books, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        drop(books);
        stop.wanted()
    }

    /// One commit. Whether it happened, or nothing was to be done.
    pub(crate) fn round(&mut self, second: u64) -> bool {
        if let Err(error) = self.journal.is_in_place() {
            self.fail(&error.into(), Vec::new());
            // What leases have left is on files that nobody will read.
            self.shared.lock().forfeit();
            return false;
        }
        let (tuples, counts) = self.shared.lock().unknown();
        if let Err(error) = self.learn(tuples, counts) {
            self.fail(&error, Vec::new());
            return false;
        }
        let room = self.kept.is_none().then(|| std::mem::take(&mut self.room));
        let plan = self.shared.lock().plan(second, room);
        let batch = self.kept.take().unwrap_or_else(|| self.journal.batch(plan.rows));
        if batch.len() == 0 && plan.leases.is_empty() {
            self.shared.with(|books| books.committed(0, &[], second));
            self.room = batch.into_room();
            return true;
        }
        match self.journal.commit(&batch, &plan.leases) {
            Ok(()) => {
                self.shared.with(|books| books.committed(batch.len(), &plan.leases, second));
                self.room = batch.into_room();
                true
            }
            Err(error) => {
                self.fail(&error, plan.leases);
                self.kept = Some(batch);
                false
            }
        }
    }

    fn learn(&self, tuples: Vec<TupleKey>, counts: Vec<Count>) -> Result<(), CommitError> {
        for count in counts {
            let charged = self.journal.spent_of(&count)?;
            self.shared.lock().scopes.learn(&count, charged);
        }
        for tuple in tuples {
            let lease = self.journal.lease(&tuple)?;
            self.shared.lock().learn_tuple(tuple, lease);
        }
        Ok(())
    }

    fn fail(&mut self, error: &CommitError, leases: Vec<(TupleKey, u64)>) {
        let why = format!("the ledger cannot be written: {error}");
        let mut books = self.shared.lock();
        if books.failing.as_deref() != Some(&why) {
            tracing::error!("{why}; nothing is spent until it can");
        }
        books.failed(&why, leases);
        if matches!(error, CommitError::Fenced) {
            books.close(&why);
        }
    }

    pub(crate) fn close(&mut self) -> Ended {
        let now_ms = amount(self.shared.now_ms());
        match self.journal.close(now_ms) {
            Ok(true) => Ended::Closed,
            Ok(false) => Ended::Open,
            Err(error) => {
                tracing::error!("the ledger cannot be closed: {error}");
                Ended::Failing
            }
        }
    }
}

/// Tells the writer to stop.
#[derive(Debug, Default)]
pub(crate) struct Stop(Mutex<Option<Instant>>);

impl Stop {
    /// Stopping may take until then.
    pub(crate) fn want(&self, deadline: Instant) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(deadline);
    }

    fn wanted(&self) -> Option<Instant> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
