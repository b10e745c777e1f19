//! The durable ledger: every attempt that may cost money has a row, and no crash can lose what was
//! spent.
//!
//! Before anything is sent, an attempt draws its worst case on a *lease*: money that was committed
//! for its key, model and day, with a sync, ahead of need. Its row is queued at once and committed
//! with others. What a crash leaves, a lease without all its rows, is charged at the next start.
//! `host/ARCHITECTURE.md` has the rules.
//!
//! `books` is what is known in memory, `journal` the database (its tables in `schema`, its rows in `rows`),
//! `writer` the thread between.

mod books;
mod bounds;
mod budgets;
mod check;
mod correct;
mod entry;
mod error;
mod jobs;
mod journal;
mod lines;
mod place;
mod read;
mod rows;
mod schema;
mod scopes;
#[cfg(test)]
mod tests;
mod tuple;
mod verify;
mod writer;

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use kairos_pipeline::budget::{Rule, Spender, Status};
use kairos_pipeline::ledger::{AttemptKey, Budget, Ending, Ledger, OpenJob, Reservation, ReserveError, Totals};
use tokio::time::timeout;

use self::books::{Asked, Books};
use self::journal::Journal;
use self::writer::{Shared, Stop, Writer};

pub use self::bounds::{Bounds, Used};
pub use self::correct::{Correction, Corrector};
pub use self::entry::{Entry, EntryKind};
pub use self::error::LedgerError;
pub use self::lines::{End, Line, Range};
pub use self::read::{DaySum, Reader};
pub use self::scopes::Crossed;
pub use self::tuple::TupleKey;
pub use self::verify::Verified;
pub use self::writer::Ended;

/// The ledger's file in the data folder.
pub const FILE: &str = "ledger.sqlite";
/// The file in the data folder that is locked by who keeps a ledger there.
pub const LOCK_FILE: &str = "lock";

/// Budgets that are looked at in one go.
const FEW: usize = 64;

/// Maps that are used with each request: their keys are the gateway's own, or few.
type Map<K, V> = std::collections::HashMap<K, V, foldhash::fast::RandomState>;
type Set<K> = std::collections::HashSet<K, foldhash::fast::RandomState>;

/// The ledger of one gateway.
pub struct SqliteLedger {
    shared: Arc<Shared>,
    stop: Arc<Stop>,
    writer: Mutex<Option<JoinHandle<Ended>>>,
    /// How long a reservation waits for a commit.
    wait: Duration,
    damage: check::Damage,
    /// Held until the process ends.
    _lock: File,
}

impl SqliteLedger {
    /// Opens the ledger of a data folder, with the usual bounds. `clock` gives milliseconds since 1970.
    pub fn open(
        folder: &Path,
        budgets: &[Arc<Rule>],
        clock: Arc<dyn Fn() -> u64 + Send + Sync>,
    ) -> Result<Self, LedgerError> {
        Self::open_bounded(Locked::folder(folder)?, budgets, Bounds::default(), clock)
    }

    /// Opens the ledger of a data folder, and recovers what the last run left. `clock` gives
    /// milliseconds since 1970.
    pub fn open_bounded(
        folder: Locked,
        budgets: &[Arc<Rule>],
        bounds: Bounds,
        clock: Arc<dyn Fn() -> u64 + Send + Sync>,
    ) -> Result<Self, LedgerError> {
        let now_ms = entry::amount(clock());
        let file = folder.path.join(FILE);
        let journal = Journal::open(&file, budgets, now_ms)?;
        let mut books = Books::new(journal.epoch, journal.scopes(budgets, now_ms)?, journal.totals()?).bounded(bounds);
        journal.hand_over(&mut books)?;
        let shared = Arc::new(Shared::new(books, clock));
        let stop = Arc::new(Stop::default());
        let writer = Writer::new(journal, Arc::clone(&shared));
        let stopped = Arc::clone(&stop);
        let writing = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("kairos-ledger".to_owned()).spawn(move || {
            let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| writer.run(&stopped)));
            ended.unwrap_or_else(|_| {
                writing.lock().close("the ledger's writer has failed; this is a fault of Kairos: restart it");
                Ended::Failing
            })
        });
        let thread = thread.map_err(|cause| LedgerError::File { path: "the ledger's thread".to_owned(), cause })?;
        let damage = check::Damage::default();
        check::start(file, &damage);
        Ok(Self { shared, stop, writer: Mutex::new(Some(thread)), wait: bounds.wait, damage, _lock: folder.lock })
    }

    /// Grants nothing from now on. What is open can still end.
    pub fn close(&self) {
        self.shared.with(|books| books.close("the gateway is stopping"));
    }

    /// Writes the last rows and ends. To be called after [`SqliteLedger::close`], once nothing that
    /// holds a reservation is left. Takes `patience` at most.
    pub fn finish(&self, patience: Duration) -> Ended {
        let thread = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(thread) = thread else { return Ended::Open };
        let deadline = Instant::now() + patience;
        self.stop.want(deadline);
        self.shared.with(|books| (books.work, books.urgent) = (true, true));
        // A disk that hangs does not keep the process from ending.
        while !thread.is_finished() && Instant::now() < deadline + patience {
            std::thread::sleep(Duration::from_millis(5));
        }
        if thread.is_finished() { thread.join().unwrap_or(Ended::Failing) } else { Ended::Failing }
    }

    /// Keeps one more budget from now on. Nothing that it covers was spent before.
    pub fn add_budget(&self, rule: Arc<Rule>) {
        self.shared.lock().scopes.add(rule, &[]);
    }

    /// How budgets stand, in the order in which they were given: of the first so many those that are wanted.
    pub fn budgets(&self, most: usize, wanted: impl Fn(&Rule) -> bool) -> Vec<Status> {
        let now_ms = self.shared.now_ms();
        let mut found = Vec::new();
        // Requests wait no longer than for a few of them.
        for from in (0..most).step_by(FEW) {
            let mut books = self.shared.lock();
            if from >= books.scopes.len() {
                break;
            }
            found.extend(books.scopes.statuses(from, FEW.min(most - from), now_ms, &wanted));
        }
        found
    }

    /// Alert thresholds that were passed since this was last asked; and how many more than are kept, of which
    /// only a look at all budgets tells.
    pub fn take_crossed(&self) -> (Vec<Crossed>, u64) {
        self.shared.lock().scopes.take_crossed()
    }

    /// How much of its bounds it uses.
    pub fn used(&self) -> Used {
        self.shared.lock().used()
    }

    /// What of the ledger is not as it was written, as far as it was looked through.
    pub fn damage(&self) -> Option<&str> {
        self.damage.get().map(String::as_str)
    }

    /// Why nothing can be spent at the moment, if so.
    pub fn failing(&self) -> Option<String> {
        let second = self.shared.second();
        self.shared.lock().trouble(second)
    }
}

/// A data folder that is this process's alone.
pub struct Locked {
    path: PathBuf,
    lock: File,
}

impl Locked {
    /// Locks a data folder, and makes it where there is none.
    pub fn folder(path: &Path) -> Result<Self, LedgerError> {
        Ok(Self { lock: lock(path)?, path: path.to_owned() })
    }
}

fn lock(folder: &Path) -> Result<File, LedgerError> {
    let failed =
        |path: PathBuf| move |cause: std::io::Error| LedgerError::File { path: path.display().to_string(), cause };
    let is_new = !folder.exists();
    std::fs::create_dir_all(folder).map_err(failed(folder.to_owned()))?;
    if is_new {
        // SQLite syncs its files' entries in the folder, not the folder's own.
        let parent = folder.canonicalize().ok().and_then(|folder| folder.parent().map(Path::to_owned));
        if let Some(parent) = parent {
            File::open(&parent).and_then(|parent| parent.sync_all()).map_err(failed(parent))?;
        }
    }
    let path = folder.join(LOCK_FILE);
    let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(failed(path.clone()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(LedgerError::InUse(format!(
            "{}: a gateway that runs keeps its ledger here; stop it, or name another folder with --data",
            folder.display()
        ))),
        Err(TryLockError::Error(cause)) => Err(failed(path)(cause)),
    }
}

impl Ledger for SqliteLedger {
    fn open<'a>(&'a self, reservation: &'a Reservation) -> BoxFuture<'a, Result<(), ReserveError>> {
        let second = self.shared.second();
        // Granted in the very call that draws: nothing can be lost between.
        match self.shared.with(|books| books.ask(reservation, second)) {
            Asked::Granted => Box::pin(std::future::ready(Ok(()))),
            Asked::No(error) => Box::pin(std::future::ready(Err(error))),
            Asked::Wait(mut turn) => Box::pin(async move {
                let gone = || ReserveError::Unavailable("the ledger has stopped".to_owned());
                match timeout(self.wait, &mut turn).await {
                    Ok(answer) => answer.unwrap_or_else(|_| Err(gone())),
                    Err(_) => {
                        turn.close();
                        // Its turn may have come in this very moment.
                        turn.try_recv().unwrap_or_else(|_| {
                            Err(ReserveError::Unavailable(format!("no commit of the ledger within {:?}", self.wait)))
                        })
                    }
                }
            }),
        }
    }

    fn end(&self, key: AttemptKey, ending: Ending) {
        let (now_ms, second) = (self.shared.now_ms(), self.shared.second());
        self.shared.with(|books| books.end(key, &ending, now_ms, second));
    }

    fn written(&self, key: AttemptKey) -> BoxFuture<'_, Result<(), ReserveError>> {
        let written = self.shared.with(|books| books.written(&key));
        let late = || ReserveError::Unavailable(format!("no commit of the ledger within {:?}", self.wait));
        Box::pin(async move { timeout(self.wait, written).await.ok().and_then(Result::ok).ok_or_else(late) })
    }

    fn jobs(&self) -> Vec<OpenJob> {
        // Put in order where nobody waits for the books.
        let mut all = self.shared.lock().jobs.all();
        all.sort_by_key(|job| (job.at_ms, *job.key.request.as_bytes(), job.key.attempt));
        all
    }

    fn job(&self, key: AttemptKey) -> Option<OpenJob> {
        self.shared.lock().jobs.of(&key)
    }

    fn budget(&self, spender: &Spender<'_>, at_ms: u64) -> Option<Budget> {
        self.shared.lock().scopes.left(spender, at_ms)
    }

    fn totals(&self) -> Totals {
        self.shared.lock().totals()
    }
}
