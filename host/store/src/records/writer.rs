//! The one thread that writes records: what waits goes into one transaction, and what is too old or too
//! much goes out of the file.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use kairos_pipeline::record::Ended;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, OptionalExtension as _, Transaction, TransactionBehavior, params};

use super::asked::Digests;
use super::erase::{Job, TABLES};
use super::snapshots::Snapshots;
use super::{Feedback, MOST_METRICS, Rated, Settings, Shared, Waiting, asked, judgements};
use crate::database::millis;

/// How long records are gathered for one transaction, unless enough are there or somebody waits: where requests
/// are few, one for each would cost more than its record, and come while the next is served.
const GATHER: Duration = Duration::from_millis(200);
/// Between two looks for what is too old, where nothing comes.
const TICK: Duration = Duration::from_secs(60);
/// Records that one round takes out of the file at most because they are too old.
const PRUNED: usize = 2_000;
/// Records that are taken out of the file at once because it is too large.
const STEP: usize = 100;
/// Pages that one round gives back to the system at most.
const GIVEN_BACK: i64 = 1_000;
/// Part of the file that may be free before any of it is given back: what goes makes room for what comes.
const MOST_FREE: i64 = 4;

/// Free bytes of the disk below which nothing is added: without room for the ledger nothing is served.
const SCARCE_BYTES: u64 = 256 << 20;

pub(super) struct Writer {
    connection: Connection,
    shared: Arc<Shared>,
    snapshots: Snapshots,
    digests: Digests,
    texts: Texts,
    folder: PathBuf,
    /// Why the last round failed, so that it is told once.
    failing: Option<String>,
    /// Erasures under way, the first come first.
    erasures: VecDeque<Job>,
}

/// What a record is written as, in memory that the next one has, too.
#[derive(Default)]
struct Texts {
    body: Vec<u8>,
    asked: Vec<u8>,
}

/// Bytes of a text that stay for the next: most take some one or two thousand.
const TEXT_BYTES: usize = 64 << 10;

impl Texts {
    fn clear(&mut self) {
        for text in [&mut self.body, &mut self.asked] {
            text.clear();
            text.shrink_to(TEXT_BYTES);
        }
    }
}

/// JSON, as SQLite takes it.
fn text(json: &[u8]) -> ToSqlOutput<'_> {
    ToSqlOutput::Borrowed(ValueRef::Text(json))
}

/// What one round wrote.
struct Written {
    /// What became of each feedback, in their order.
    rated: Vec<Rated>,
    /// Bytes that are in use of the file.
    bytes: u64,
}

impl Writer {
    pub(super) fn new(connection: Connection, shared: Arc<Shared>, folder: &Path) -> Self {
        Self {
            connection,
            digests: Digests::under(&shared.settings.key),
            texts: Texts::default(),
            shared,
            snapshots: Snapshots::default(),
            folder: folder.to_owned(),
            failing: None,
            erasures: VecDeque::new(),
        }
    }

    /// Writes until told to stop, then once more.
    pub(super) fn run(mut self) {
        let mut cleaned = Instant::now();
        loop {
            let (waiting, stop) = self.wait();
            self.round(waiting);
            self.erase(stop);
            if stop || cleaned.elapsed() >= TICK {
                cleaned = Instant::now();
                // It has said so where it could not.
                let _ = self.clean();
            }
            if stop {
                return;
            }
        }
    }

    /// A page of the first erasure: what waits to be written comes in between. At the end none goes on.
    fn erase(&mut self, stop: bool) {
        let Some(mut job) = self.erasures.pop_front() else { return };
        let gone = job.gone;
        let done = job.step(&mut self.connection, &TABLES);
        self.shared.erased.fetch_add(job.gone - gone, Ordering::Relaxed);
        match done {
            Ok(false) if !stop => return self.erasures.push_front(job),
            Ok(false) => (job.told)(Err(format!("the gateway stops, {} records are gone so far", job.gone))),
            Ok(true) => {
                // Out of the log, too.
                let gone = job.gone;
                (job.told)(self.clean().map(|()| gone).map_err(|why| {
                    format!("{gone} records are gone, and not yet out of the file's log, which is tried again: {why}")
                }));
            }
            Err(error) => (job.told)(Err(format!("{} records are gone, and no more: {error}", job.gone))),
        }
        if stop {
            let stops = || Err("the gateway stops".to_owned());
            self.erasures.drain(..).for_each(|job| (job.told)(stops()));
        }
    }

    /// What was taken out of the file goes out of its log, too, where nobody reads there.
    fn clean(&self) -> Result<(), String> {
        let busy = self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0));
        let why = match busy {
            Ok(0) => return Ok(()),
            Ok(_) => "somebody reads it".to_owned(),
            Err(error) => error.to_string(),
        };
        tracing::warn!("the log of the records cannot be cut: {why}");
        Err(why)
    }

    /// Waits for something to write, and gathers some more. The second value says whether to stop.
    fn wait(&self) -> (Vec<Waiting>, bool) {
        let mut queue = self.shared.lock();
        if queue.waiting.is_empty() && !queue.stop && self.erasures.is_empty() {
            queue = self.shared.wake.wait_timeout(queue, TICK).unwrap_or_else(PoisonError::into_inner).0;
        }
        let due = Instant::now() + GATHER;
        while !queue.waiting.is_empty() && !queue.urgent && !queue.stop {
            let left = due.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            queue = self.shared.wake.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        (queue.bytes, queue.urgent) = (0, false);
        (std::mem::take(&mut queue.waiting), queue.stop)
    }

    /// Writes what waits. What cannot be written is dropped and counted: a disk that is full would
    /// otherwise fill the memory.
    fn round(&mut self, mut waiting: Vec<Waiting>) {
        for job in waiting.extract_if(.., |one| matches!(one, Waiting::Erasure(_))) {
            if let Waiting::Erasure(job) = job {
                self.erasures.push_back(job);
            }
        }
        // A page of an erasure is no round: where the disk is nearly full, each makes room.
        if waiting.is_empty() && !self.erasures.is_empty() {
            return;
        }
        let records = waiting.iter().filter(|waiting| matches!(waiting, Waiting::Ended(_))).count() as u64;
        let written = self.write(&waiting);
        match &written {
            Ok(written) => {
                self.shared.written.fetch_add(records, Ordering::Relaxed);
                self.shared.bytes.store(written.bytes, Ordering::Relaxed);
                if self.failing.take().is_some() {
                    tracing::info!("records are written again");
                }
            }
            Err(why) => {
                // Ids that were given out within the transaction are none.
                self.snapshots = Snapshots::default();
                self.shared.failed.fetch_add(records, Ordering::Relaxed);
                if self.failing.as_ref() != Some(why) {
                    tracing::error!("records cannot be written, they are lost until they can: {why}");
                }
                self.failing = Some(why.clone());
            }
        }
        let told = waiting.into_iter().filter_map(|one| match one {
            Waiting::Feedback(_, told) => Some(told),
            Waiting::Ended(_) | Waiting::Erasure(_) => None,
        });
        match written {
            Ok(written) => told.zip(written.rated).for_each(|(told, rated)| told(Ok(rated))),
            Err(why) => told.for_each(|told| told(Err(why.clone()))),
        }
    }

    /// One transaction. Where the disk is nearly full, what is kept makes room, and nothing is added.
    fn write(&mut self, waiting: &[Waiting]) -> Result<Written, String> {
        let scarce = is_scarce(&self.folder);
        let written = self.transact(if scarce { &[] } else { waiting }, scarce);
        match written {
            Ok(_) if scarce => Err(format!("less than {} MiB are free, which are for the ledger", SCARCE_BYTES >> 20)),
            Ok(written) => Ok(written),
            Err(error) => Err(error.to_string()),
        }
    }

    fn transact(&mut self, waiting: &[Waiting], scarce: bool) -> rusqlite::Result<Written> {
        let now_ms = (self.shared.clock)();
        let settings = self.shared.settings;
        let mut rated = Vec::new();
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for one in waiting {
            match one {
                Waiting::Ended(ended) => {
                    self.texts.clear();
                    let (texts, digests) = (&mut self.texts, &self.digests);
                    record(&transaction, ended, &mut self.snapshots, (&settings, digests), texts, now_ms)?;
                }
                Waiting::Feedback(feedback, _) => rated.push(rate(&transaction, feedback, now_ms)?),
                Waiting::Erasure(_) => {}
            }
        }
        let age_ms = u64::try_from(settings.age.as_millis()).unwrap_or(u64::MAX);
        forget(&transaction, &mut self.snapshots, now_ms.saturating_sub(age_ms), PRUNED)?;
        // As many steps as what came could need, and some more.
        for _ in 0..2 + 2 * waiting.len() / STEP {
            if !scarce && used_bytes(&transaction)? <= settings.bytes {
                break;
            }
            forget(&transaction, &mut self.snapshots, u64::MAX, STEP)?;
        }
        transaction.commit()?;
        give_back(&self.connection)?;
        Ok(Written { rated, bytes: used_bytes(&self.connection)? })
    }
}

fn record(
    transaction: &Transaction<'_>,
    ended: &Ended,
    snapshots: &mut Snapshots,
    (settings, digests): (&Settings, &Digests),
    texts: &mut Texts,
    now_ms: u64,
) -> rusqlite::Result<()> {
    let unwritable = |error: serde_json::Error| rusqlite::Error::ToSqlConversionFailure(error.into());
    serde_json::to_writer(&mut texts.body, &*ended.record).map_err(unwritable)?;
    let content = match &ended.asked {
        None => None,
        Some(asked) => {
            let ids = snapshots.of(asked, now_ms, transaction)?;
            let reads = snapshots.reads(asked, now_ms, transaction)?;
            let more = ended.judgements.more();
            let keeps = (settings.content, digests);
            asked::write(asked, ids, reads, more, keeps, &mut texts.asked).map_err(unwritable)?
        }
    };
    let id = ended.id.as_bytes();
    transaction.prepare_cached("INSERT INTO record (id, at_ms, body, asked) VALUES (?1, ?2, ?3, ?4)")?.execute(
        params![
            id,
            millis(ended.record.received_ms),
            text(&texts.body),
            ended.asked.is_some().then(|| text(&texts.asked))
        ],
    )?;
    if let Some(asked) = &ended.asked {
        judgements::write(transaction, (ended.id, &ended.judgements), asked, snapshots, settings, now_ms)?;
    }
    if let Some((prompt, system)) = content {
        transaction
            .prepare_cached("INSERT INTO content (id, prompt, system) VALUES (?1, ?2, ?3)")?
            .execute(params![id, prompt, system])?;
    }
    Ok(())
}

/// Writes a feedback. The first of a metric stays known beside the last: who measures a policy by what
/// callers say takes the first, so that nobody can change a result after seeing it.
fn rate(transaction: &Transaction<'_>, feedback: &Feedback, now_ms: u64) -> rusqlite::Result<Rated> {
    let Feedback { id, metric, value } = feedback;
    let known: Option<f64> = transaction
        .prepare_cached("SELECT value FROM feedback WHERE id = ?1 AND metric = ?2")?
        .query_row(params![id.as_bytes(), metric], |row| row.get(0))
        .optional()?;
    if let Some(known) = known {
        if known == *value {
            return Ok(Rated::Same);
        }
        transaction
            .prepare_cached("UPDATE feedback SET value = ?3, at_ms = ?4 WHERE id = ?1 AND metric = ?2")?
            .execute(params![id.as_bytes(), metric, value, millis(now_ms)])?;
        return Ok(Rated::Changed);
    }
    let metrics: i64 = transaction
        .prepare_cached("SELECT count(*) FROM feedback WHERE id = ?1")?
        .query_row([id.as_bytes()], |row| row.get(0))?;
    if metrics >= MOST_METRICS as i64 {
        return Ok(Rated::TooMany);
    }
    transaction
        .prepare_cached("INSERT INTO feedback (id, metric, value, first, at_ms) VALUES (?1, ?2, ?3, ?3, ?4)")?
        .execute(params![id.as_bytes(), metric, value, millis(now_ms)])?;
    Ok(Rated::First)
}

/// Takes the first records out that came before `before_ms`, so many at most. What belongs to them goes
/// with them.
fn forget(
    transaction: &Transaction<'_>,
    snapshots: &mut Snapshots,
    before_ms: u64,
    most: usize,
) -> rusqlite::Result<()> {
    let (before_ms, most) = (millis(before_ms), i64::try_from(most).unwrap_or(i64::MAX));
    let Some(first_ms) = oldest(transaction)? else { return Ok(()) };
    if first_ms >= before_ms {
        return Ok(());
    }
    let young = "SELECT id FROM (SELECT id, at_ms FROM record ORDER BY id LIMIT ?1) WHERE at_ms >= ?2 LIMIT 1";
    let young: Option<[u8; 16]> = transaction.query_row(young, [most, before_ms], |row| row.get(0)).optional()?;
    let next = "SELECT id FROM record ORDER BY id LIMIT 1 OFFSET ?1";
    let next: Option<[u8; 16]> = transaction.query_row(next, [most], |row| row.get(0)).optional()?;
    // Below every id that stays.
    let end = young.or(next).unwrap_or([0xff; 16]);
    for table in TABLES {
        transaction.execute(&format!("DELETE FROM {table} WHERE id < ?1"), [end])?;
    }
    let oldest_ms = oldest(transaction)?.unwrap_or(first_ms);
    snapshots.prune(transaction, oldest_ms.unsigned_abs())
}

/// When the oldest record came.
fn oldest(transaction: &Transaction<'_>) -> rusqlite::Result<Option<i64>> {
    transaction.query_row("SELECT at_ms FROM record ORDER BY id LIMIT 1", [], |row| row.get(0)).optional()
}

fn is_scarce(folder: &Path) -> bool {
    rustix::fs::statvfs(folder).is_ok_and(|disk| disk.f_bavail.saturating_mul(disk.f_frsize) < SCARCE_BYTES)
}

fn pragma(connection: &Connection, name: &str) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, name, |row| row.get(0))
}

fn used_bytes(connection: &Connection) -> rusqlite::Result<u64> {
    let pages = pragma(connection, "page_count")? - pragma(connection, "freelist_count")?;
    Ok(pages.unsigned_abs() * pragma(connection, "page_size")?.unsigned_abs())
}

/// Makes the file smaller where much of it is free.
fn give_back(connection: &Connection) -> rusqlite::Result<()> {
    let (pages, free) = (pragma(connection, "page_count")?, pragma(connection, "freelist_count")?);
    if free > GIVEN_BACK && free > pages / MOST_FREE {
        connection.execute_batch(&format!("PRAGMA incremental_vacuum({GIVEN_BACK})"))?;
    }
    Ok(())
}
