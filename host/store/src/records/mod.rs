//! What is kept of requests that have ended: what happened, and what the policy was asked, so that it
//! can be asked again. With it, what callers thought of the answers.
//!
//! This is no money: a machine that loses power loses the last moments, and who is slow loses records,
//! counted. No request ever waits for it.

mod asked;
mod beside;
mod erase;
mod judgements;
mod read;
mod reads;
mod schema;
mod snapshots;
#[cfg(test)]
mod tests;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kairos_pipeline::record::{Ended, Recorder};
use kairos_pipeline::request::RequestId;

pub use self::asked::Question;
pub use self::beside::{Beside, erase_unused, unused};
use self::erase::Job;
pub use self::erase::{Told as Erased, Which};
pub use self::judgements::KeptJudgement;
pub use self::read::{Rating, Reader, Row};
pub use self::reads::KeptReads;
use self::writer::Writer;
use crate::database;

/// The file in the data folder.
pub const FILE: &str = "records.sqlite";

/// Why records cannot be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum RecordsError {
    /// SQLite failed.
    #[error("{FILE}: {0}; the gateway can do without what is in it: move it away, and the next start makes a new one")]
    Sqlite(#[from] rusqlite::Error),
    /// The file was written by another version.
    #[error(
        "{FILE} has schema {found}, this version knows {}: use the version that wrote it, or move the file away",
        schema::SCHEMA
    )]
    Schema {
        /// The file's schema.
        found: i64,
    },
    /// What is in the file is not what this version writes.
    #[error("{FILE}: {0}")]
    Damaged(String),
    /// There is no such file.
    #[error(
        "{0}: no records are here; a gateway makes them, in the folder that its --data names, unless [records] in kairos.toml says otherwise"
    )]
    NotThere(String),
    /// The thread that writes cannot be started.
    #[error("the thread that writes records cannot be started: {0}")]
    Thread(#[from] std::io::Error),
}

/// What is kept of what was said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Content {
    /// A digest under a key.
    #[default]
    None,
    /// What the native guard lets pass, and of a text that it changes a digest.
    Redacted,
    /// All.
    Full,
}

/// What is kept, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// What of what was said is kept.
    pub content: Content,
    /// How long a record is kept.
    pub age: Duration,
    /// The most bytes of the file.
    pub bytes: u64,
    /// Records that may wait to be written.
    pub queue: usize,
    /// Bytes that they may take.
    pub queue_bytes: usize,
    /// Keys the digests of what is not kept. It is not in the file: who has the file only cannot guess
    /// at what was said.
    pub key: [u8; 32],
}

/// Records that are enough for one transaction: no more are gathered.
const ENOUGH: usize = 128;

/// About what a record takes in memory, apart from what was said.
const APART_FROM_WORDS: usize = 4_096;
/// About what a judgement beside the route takes, likewise.
const EACH_JUDGEMENT: usize = 1_024;

/// What a caller says of an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Feedback {
    /// The request.
    pub id: RequestId,
    /// What was measured.
    pub metric: String,
    /// From 0 to 1.
    pub value: f64,
}

/// Metrics that one request may have.
pub const MOST_METRICS: usize = 16;

/// What became of a feedback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rated {
    /// The first of its metric.
    First,
    /// The same was said before.
    Same,
    /// Another value takes the place of the one before.
    Changed,
    /// The request has as many metrics as it can have.
    TooMany,
}

/// Called once the feedback is committed, or cannot be.
pub type Told = Box<dyn FnOnce(Result<Rated, String>) + Send>;

/// What waits to be written.
enum Waiting {
    Ended(Ended),
    Feedback(Feedback, Told),
    Erasure(Job),
}

#[derive(Default)]
struct Queue {
    waiting: Vec<Waiting>,
    /// Bytes that what waits takes.
    bytes: usize,
    /// Somebody waits for what waits.
    urgent: bool,
    stop: bool,
}

/// What requests and the writer share.
struct Shared {
    queue: Mutex<Queue>,
    wake: Condvar,
    settings: Settings,
    clock: Arc<dyn Fn() -> u64 + Send + Sync>,
    written: AtomicU64,
    full: AtomicU64,
    failed: AtomicU64,
    bytes: AtomicU64,
    erased: AtomicU64,
}

impl Shared {
    fn new(settings: Settings, clock: Arc<dyn Fn() -> u64 + Send + Sync>) -> Self {
        Self {
            queue: Mutex::default(),
            wake: Condvar::new(),
            settings,
            clock,
            written: AtomicU64::new(0),
            full: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            erased: AtomicU64::new(0),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has a record wait, or drops it where too much waits. Whether to wake the writer: the first wakes
    /// it, and it gathers more; as many as are enough end its gathering.
    fn queue_up(&self, ended: Ended) -> bool {
        let said = ended.asked.as_ref().map_or(0, |asked| {
            let (prompt, system) = asked.request.content.texts();
            prompt.len() + system.len()
        });
        let judgements = ended.judgements.bytes() + ended.judgements.all().len() * EACH_JUDGEMENT;
        let bytes = said + judgements + APART_FROM_WORDS;
        let Settings { queue: most, queue_bytes: most_bytes, .. } = self.settings;
        let mut queue = self.lock();
        if queue.stop || queue.waiting.len() >= most || queue.bytes.saturating_add(bytes) > most_bytes {
            self.full.fetch_add(1, Ordering::Relaxed);
            return false;
        }
        queue.waiting.push(Waiting::Ended(ended));
        queue.bytes += bytes;
        let is_enough = queue.waiting.len() > ENOUGH.min(most / 2) || queue.bytes > most_bytes / 2;
        let was_urgent = std::mem::replace(&mut queue.urgent, is_enough);
        queue.urgent |= was_urgent;
        queue.waiting.len() == 1 || (is_enough && !was_urgent)
    }
}

/// How much there is, and what was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Records written by this run.
    pub written: u64,
    /// Records dropped because too many waited.
    pub full: u64,
    /// Records dropped because they could not be written.
    pub failed: u64,
    /// Records that wait.
    pub waiting: usize,
    /// Bytes that they take.
    pub waiting_bytes: usize,
    /// Bytes that records take in the file.
    pub bytes: u64,
    /// Records that somebody asked to have taken out.
    pub erased: u64,
}

/// Keeps records in the data folder. One at a time has it: who holds the ledger's lock.
pub struct RecordStore {
    shared: Arc<Shared>,
    reader: Mutex<Reader>,
    writer: Mutex<Option<std::thread::JoinHandle<()>>>,
}

impl RecordStore {
    /// Opens the records of a data folder, or makes the file. `clock` gives milliseconds since 1970.
    pub fn open(
        folder: &Path,
        settings: Settings,
        clock: Arc<dyn Fn() -> u64 + Send + Sync>,
    ) -> Result<Self, RecordsError> {
        let path = folder.join(FILE);
        let connection = schema::open(&path)?;
        let shared = Arc::new(Shared::new(settings, clock));
        let writer = Writer::new(connection, Arc::clone(&shared), folder);
        let thread = std::thread::Builder::new().name("kairos-records".to_owned()).spawn(move || writer.run())?;
        Ok(Self { shared, reader: Mutex::new(Reader::open(&path)?), writer: Mutex::new(Some(thread)) })
    }

    /// What happened to a request, as JSON; none where it is not kept. Reads the disk.
    pub fn record(&self, id: RequestId) -> Result<Option<String>, RecordsError> {
        self.reader.lock().unwrap_or_else(PoisonError::into_inner).record(id)
    }

    /// Keeps what a caller says of an answer. `told` is called by another thread.
    pub fn rate(&self, feedback: Feedback, told: Told) {
        let mut queue = self.shared.lock();
        if queue.stop || queue.waiting.len() >= self.shared.settings.queue {
            drop(queue);
            return told(Err("too much waits to be written; try again shortly".to_owned()));
        }
        queue.waiting.push(Waiting::Feedback(feedback, told));
        queue.urgent = true;
        drop(queue);
        self.shared.wake.notify_one();
    }

    /// Takes records out, those that wait to be written included, for good. `told` is called by another thread.
    pub fn erase(&self, which: Which, told: Erased) {
        let mut queue = self.shared.lock();
        if queue.stop || queue.waiting.len() >= self.shared.settings.queue {
            drop(queue);
            return told(Err("too much waits to be written; try again shortly".to_owned()));
        }
        queue.waiting.push(Waiting::Erasure(Job::new(which, told)));
        queue.urgent = true;
        drop(queue);
        self.shared.wake.notify_one();
    }

    /// Records were taken out of a file beside its own.
    pub fn erased_beside(&self, gone: u64) {
        self.shared.erased.fetch_add(gone, Ordering::Relaxed);
    }

    /// How much there is, and what was lost.
    pub fn counts(&self) -> Counts {
        let (waiting, waiting_bytes) = {
            let queue = self.shared.lock();
            (queue.waiting.len(), queue.bytes)
        };
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let Shared { written, full, failed, bytes, erased, .. } = &*self.shared;
        Counts {
            written: of(written),
            full: of(full),
            failed: of(failed),
            waiting,
            waiting_bytes,
            bytes: of(bytes),
            erased: of(erased),
        }
    }

    /// Writes what waits and ends, within `patience`: a disk that hangs does not keep the process from
    /// ending. Whether all was written.
    pub fn finish(&self, patience: Duration) -> bool {
        let thread = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(thread) = thread else { return true };
        self.shared.lock().stop = true;
        self.shared.wake.notify_one();
        database::join_within(thread, patience)
    }
}

impl Recorder for RecordStore {
    fn keep(&self, ended: Ended) {
        if self.shared.queue_up(ended) {
            self.shared.wake.notify_one();
        }
    }

    fn keeps_content(&self) -> bool {
        self.shared.settings.content == Content::Full
    }
}

/// Moves a file of records that cannot be used out of the way, to where it replaces the one before it.
/// Gives its new path.
pub fn set_aside(folder: &Path) -> std::io::Result<PathBuf> {
    database::set_aside(folder, FILE)
}
