//! What the ledger knows in memory: what each tuple has drawn on its lease, what is spent of each budget
//! (`scopes`), which rows are open, and who waits. No I/O: time is passed in, the writer does what is planned.
//!
//! Invariant: for each tuple, drawn ≤ upto, and upto ≤ every value that its lease may have on disk;
//! drawn counts every draw of the tuple in this epoch. So whatever was sent is covered by a lease
//! that was synced before, and recovery can charge what it finds no row for.

use std::collections::VecDeque;
use std::sync::Arc;

use kairos_pipeline::ledger::{AttemptKey, Ending, OpenJob, Reservation, ReserveError, Totals};
use tokio::sync::oneshot;

use super::bounds::{Bounds, Used};
use super::entry::{Entry, EntryKind, amount};
use super::jobs::Jobs;
use super::scopes::{Count, Counts, Scopes};
use super::tuple::{Tuple, TupleKey, lower};
use super::{Map, Set};

struct OpenRow {
    tuple: TupleKey,
    worst: u64,
    counts: Counts,
}

struct Waiter {
    reservation: Reservation,
    tuple: TupleKey,
    counts: Counts,
    answer: oneshot::Sender<Result<(), ReserveError>>,
}

/// What the ledger knows in memory.
pub(crate) struct Books {
    pub(crate) epoch: i64,
    pub(crate) scopes: Scopes,
    tuples: Map<TupleKey, Tuple>,
    rows: Map<AttemptKey, OpenRow>,
    queue: Vec<Entry>,
    waiters: VecDeque<Waiter>,
    pub(super) jobs: Jobs,
    /// Tuples that the next commit looks at.
    touched: Set<TupleKey>,
    bounds: Bounds,
    /// Places in the queue that nobody has claimed.
    places: usize,
    totals: Totals,
    /// Why nothing is granted any more.
    closed: Option<String>,
    /// Why the last commit failed.
    pub(crate) failing: Option<String>,
    /// The second in which the commit under way was planned.
    committing: Option<u64>,
    /// Whether the writer has something to do.
    pub(crate) work: bool,
    /// Whether somebody waits for it.
    pub(crate) urgent: bool,
    /// Whether the writer waits to be woken.
    pub(crate) resting: bool,
}

/// Time after which what is not drawn of a lease is given back: but for room for two requests as the largest of late,
/// so that whoever comes next need not wait for a commit. A crash charges what is left of a lease.
const QUIET_SECONDS: u64 = 2;
/// Time after which that is given back, too.
const IDLE_SECONDS: u64 = 10;
/// Tuples that are looked at in one tick.
const TICK_TUPLES: usize = 256;

/// What came of asking for a reservation.
pub(crate) enum Asked {
    Granted,
    No(ReserveError),
    Wait(oneshot::Receiver<Result<(), ReserveError>>),
}

/// What the writer commits: rows, and leases with what they reach to.
pub(crate) struct Plan {
    pub(crate) rows: Vec<Entry>,
    pub(crate) leases: Vec<(TupleKey, u64)>,
}

impl Books {
    pub(crate) fn new(epoch: i64, scopes: Scopes, totals: Totals) -> Self {
        Self {
            epoch,
            scopes,
            tuples: Map::default(),
            rows: Map::default(),
            queue: Vec::new(),
            waiters: VecDeque::new(),
            jobs: Jobs::default(),
            touched: Set::default(),
            bounds: Bounds::default(),
            places: Bounds::default().queued_rows,
            totals,
            closed: None,
            failing: None,
            committing: None,
            work: false,
            urgent: false,
            resting: false,
        }
    }

    /// The same, with other bounds.
    pub(crate) fn bounded(mut self, bounds: Bounds) -> Self {
        self.places = bounds.queued_rows;
        self.bounds = bounds;
        self
    }

    pub(crate) fn used(&self) -> Used {
        let queued_rows = self.bounds.queued_rows.saturating_sub(self.places);
        Used { queued_rows, pairs: self.tuples.len(), waiting: self.waiters.len(), jobs: self.jobs.len() }
    }

    /// Asks for a reservation. Granted at once where the tuple's lease has room and nobody waits for
    /// it; else its turn comes with the next commit.
    pub(crate) fn ask(&mut self, reservation: &Reservation, second: u64) -> Asked {
        if let Some(why) = &self.closed {
            return Asked::No(ReserveError::Unavailable(why.clone()));
        }
        let tuple = TupleKey::of(reservation);
        let counts = self.scopes.covering(reservation);
        if let Err(error) = self.within_limits(&counts, reservation) {
            return Asked::No(error);
        }
        if self.draws(&tuple, &counts, reservation.worst.0, true) {
            self.grant(reservation, tuple, counts, second);
            return Asked::Granted;
        }
        if let Some(why) = &self.failing {
            return Asked::No(ReserveError::Unavailable(why.clone()));
        }
        let pairs = self.bounds.pairs;
        if self.tuples.len() >= pairs && !self.tuples.contains_key(&tuple) {
            let why = format!("{pairs} pairs of key and model are under way, as many as are kept in memory");
            return Asked::No(ReserveError::Unavailable(why));
        }
        if let Some(known) = self.tuples.get_mut(&tuple) {
            known.waiting = known.waiting.saturating_add(reservation.worst.0);
        }
        let (answer, turn) = oneshot::channel();
        self.touched.insert(tuple.clone());
        self.waiters.push_back(Waiter { reservation: reservation.clone(), tuple, counts, answer });
        self.work = true;
        self.urgent = true;
        Asked::Wait(turn)
    }

    /// Every budget that covers a reservation has room for its worst case.
    fn within_limits(&self, counts: &[Count], reservation: &Reservation) -> Result<(), ReserveError> {
        if i64::try_from(reservation.worst.0).is_err() {
            let why = format!("{} USD are more than a row of the ledger can hold", reservation.worst);
            return Err(ReserveError::Unavailable(why));
        }
        self.jobs.check(reservation, self.bounds.jobs, self.bounds.jobs_each_key)?;
        Ok(self.scopes.check(counts, reservation.worst.0, reservation.at_ms)?)
    }

    /// Takes over a job that an earlier run left open. `spent` says what the database has of a part of a
    /// budget's time.
    pub(super) fn take_over<E>(
        &mut self,
        reservation: &Reservation,
        mut spent: impl FnMut(&Count) -> Result<u64, E>,
    ) -> Result<(), E> {
        let Some(job) = OpenJob::of(reservation) else { return Ok(()) };
        let (counts, worst) = (self.scopes.covering(reservation), reservation.worst.0);
        let unknown: Vec<_> = self.scopes.unknown(&counts).cloned().collect();
        for count in unknown {
            let charged = spent(&count)?;
            self.scopes.learn(&count, charged);
        }
        self.scopes.reserve(&counts, worst, 0);
        self.places = self.places.saturating_sub(1);
        self.totals.open += u128::from(worst);
        self.totals.open_rows += 1;
        self.rows.insert(reservation.key, OpenRow { tuple: TupleKey::of(reservation), worst, counts });
        self.jobs.take_over(job);
        Ok(())
    }

    /// Tells when a job's row is on disk, and has it written now.
    pub(super) fn written(&mut self, key: &AttemptKey) -> oneshot::Receiver<()> {
        (self.work, self.urgent) = (true, true);
        self.jobs.written(key)
    }

    /// Whether a tuple's lease has room, and the queue has, and it is known that all budgets have.
    fn draws(&self, tuple: &TupleKey, counts: &[Count], worst: u64, at_once: bool) -> bool {
        self.places >= 2
            && self.scopes.are_known(counts)
            && self.tuples.get(tuple).is_some_and(|tuple| {
                (!at_once || tuple.waiting == 0) && tuple.drawn.checked_add(worst).is_some_and(|sum| sum <= tuple.upto)
            })
    }

    fn grant(&mut self, reservation: &Reservation, tuple: TupleKey, counts: Counts, second: u64) {
        let worst = reservation.worst.0;
        let Some(known) = self.tuples.get_mut(&tuple) else { return };
        known.drawn += worst;
        known.open += worst;
        known.drew = second;
        // A job waits for its row to be on disk: no lease ahead of need is for its like, which a crash would charge.
        if reservation.job.is_none() {
            known.draw(worst, second);
        }
        known.counts = Arc::clone(&counts);
        self.scopes.reserve(&counts, worst, second);
        self.scopes.headroom(&counts, 0, worst);
        self.places -= 2;
        self.urgent |= self.places < self.bounds.queued_rows / 2;
        self.totals.open += u128::from(worst);
        self.totals.open_rows += 1;
        self.queue.push(Entry::reserved(reservation, tuple.clone(), self.epoch));
        self.jobs.queue(Some(reservation));
        self.rows.insert(reservation.key, OpenRow { tuple: tuple.clone(), worst, counts });
        self.touched.insert(tuple);
        self.work = true;
    }

    /// Ends a row. Its place in the queue was claimed when it opened.
    pub(crate) fn end(&mut self, key: AttemptKey, ending: &Ending, at_ms: u64, second: u64) {
        let Some(row) = self.rows.remove(&key) else { return };
        let charged = ending.charged().0;
        let mut entry = Entry::ending(key, row.tuple.clone(), ending, self.epoch, amount(at_ms));
        self.totals.open -= u128::from(row.worst);
        self.totals.open_rows -= 1;
        self.totals.ended_rows += 1;
        self.totals.charged += u128::from(charged);
        if entry.kind == EntryKind::Estimated {
            self.totals.estimated += u128::from(charged);
        }
        let of_earlier_run = self.jobs.end(&key);
        if of_earlier_run && charged > row.worst {
            tracing::error!(attempt = %key, charged, reserved = row.worst, "a job cost more than was reserved for it");
        }
        if let Some(tuple) = self.tuples.get_mut(&row.tuple).filter(|_| !of_earlier_run) {
            tuple.open -= row.worst;
            let above = charged.saturating_sub(row.worst);
            if above > 0 {
                // Booked all the same, and drawn: should this row be lost, the lease covers it as far
                // as it reaches.
                let before = tuple.headroom();
                tuple.drawn = tuple.drawn.saturating_add(above);
                self.scopes.headroom(&tuple.counts, 0, before - tuple.headroom());
                tracing::error!(attempt = %key, charged, reserved = row.worst, "an attempt cost more than was reserved for it");
            }
        }
        self.scopes.settle(&row.counts, row.worst, charged, second);
        entry.counts = row.counts;
        self.queue.push(entry);
        self.jobs.queue(None);
        self.touched.insert(row.tuple);
        self.work = true;
    }

    pub(crate) fn totals(&self) -> Totals {
        self.totals
    }

    /// Tuples that somebody waits for, and that are not in memory; and parts of budgets' times likewise.
    pub(crate) fn unknown(&self) -> (Vec<TupleKey>, Vec<Count>) {
        let tuples: Set<_> = self.waiters.iter().map(|waiter| &waiter.tuple).collect();
        let tuples = tuples.into_iter().filter(|tuple| !self.tuples.contains_key(tuple)).cloned().collect();
        let mut counts: Vec<Count> = Vec::new();
        for count in self.waiters.iter().flat_map(|waiter| self.scopes.unknown(&waiter.counts)) {
            if !counts.contains(count) {
                counts.push(count.clone());
            }
        }
        (tuples, counts)
    }

    /// Takes in what the database has of a tuple: what its lease reached in this epoch counts as
    /// drawn.
    pub(crate) fn learn_tuple(&mut self, key: TupleKey, lease: u64) {
        let waiting = self.waiters.iter().filter(|waiter| waiter.tuple == key);
        let counts = waiting.clone().next().map(|waiter| Arc::clone(&waiter.counts)).unwrap_or_default();
        let waiting = waiting.fold(0u64, |sum, waiter| sum.saturating_add(waiter.reservation.worst.0));
        self.tuples.entry(key).or_insert(Tuple {
            drawn: lease,
            upto: lease,
            committed: Some(lease),
            waiting,
            counts,
            ..Tuple::default()
        });
    }

    /// What is to be committed: all rows that are queued, for which there is `room` for others then, unless earlier
    /// ones are still to be; and the leases of the tuples that were touched. A lease that is to reach less does so
    /// from now on.
    pub(crate) fn plan(&mut self, second: u64, room: Option<Vec<Entry>>) -> Plan {
        self.work = false;
        self.urgent = false;
        self.committing = Some(second);
        let rows = room.map(|room| std::mem::replace(&mut self.queue, room)).unwrap_or_default();
        let touched = std::mem::take(&mut self.touched);
        let mut leases = Vec::with_capacity(touched.len());
        let mut first_in_line = Map::default();
        for waiter in &self.waiters {
            first_in_line.entry(&waiter.tuple).or_insert(waiter.reservation.worst.0);
        }
        for key in touched {
            let Some(tuple) = self.tuples.get_mut(&key) else { continue };
            tuple.pass_time(second);
            if self.closed.is_some() {
                lower(tuple, 0, &mut self.scopes);
            }
            let recent = tuple.recent[0].saturating_add(tuple.recent[1]);
            // No more than the limits can pay for, whatever waits; but always what is first in line.
            let (share, left) = self.scopes.lease_bounds(&tuple.counts, tuple.headroom());
            let base = recent.min(share).max(tuple.largest.saturating_mul(2));
            let first = first_in_line.get(&key).copied().unwrap_or(0);
            let target = tuple.waiting.saturating_add(base).min(left.max(first));
            // Giving back is for when nothing was drawn for a while: here a lease only grows.
            let target = if self.closed.is_some() { 0 } else { target };
            let upto = tuple.drawn.saturating_add(target).min(i64::MAX as u64).max(tuple.upto);
            if tuple.committed != Some(upto) {
                leases.push((key, upto));
            }
        }
        Plan { rows, leases }
    }

    /// Gives back what idle tuples do not draw, and forgets those of which nothing is left to know.
    /// Nothing is forgotten while commits fail: the database would be asked for it, and does not know yet.
    pub(crate) fn tick(&mut self, second: u64) {
        if self.failing.is_some() {
            return;
        }
        let quiet = self.tuples.iter().filter(|(_, tuple)| tuple.waiting == 0).filter_map(|(key, tuple)| {
            let seconds = second.saturating_sub(tuple.drew);
            let keeps = match seconds {
                IDLE_SECONDS.. => 0,
                QUIET_SECONDS.. => tuple.largest.saturating_mul(2),
                _ => return None,
            };
            let is_needed = seconds < IDLE_SECONDS || tuple.open > 0 || tuple.committed != Some(tuple.upto);
            let gives = (tuple.headroom() > keeps).then_some(keeps);
            (gives.is_some() || !is_needed).then(|| (key.clone(), gives))
        });
        for (key, keeps) in quiet.take(TICK_TUPLES).collect::<Vec<_>>() {
            match keeps {
                Some(keeps) => self.give_back(&key, keeps),
                None if self.touched.contains(&key) => {}
                None => drop(self.tuples.remove(&key)),
            }
        }
        self.scopes.forget(second);
    }

    /// Gives back all of a lease but so much.
    fn give_back(&mut self, key: &TupleKey, keeps: u64) {
        let Some(tuple) = self.tuples.get_mut(key) else { return };
        lower(tuple, keeps, &mut self.scopes);
        if keeps == 0 {
            tuple.largest = 0;
        }
        self.touched.insert(key.clone());
        self.work = true;
    }

    /// The plan is on disk: leases reach where they were committed to, and who waits has its turn.
    pub(crate) fn committed(&mut self, rows: usize, leases: &[(TupleKey, u64)], second: u64) {
        self.failing = None;
        self.committing = None;
        self.places += rows;
        self.jobs.commit(rows);
        for (key, upto) in leases {
            let Some(tuple) = self.tuples.get_mut(key) else { continue };
            tuple.committed = Some(*upto);
            if self.closed.is_none() && *upto > tuple.upto {
                let before = tuple.headroom();
                tuple.upto = *upto;
                self.scopes.headroom(&tuple.counts, tuple.headroom() - before, 0);
            }
        }
        self.serve_waiters(second);
    }

    fn serve_waiters(&mut self, second: u64) {
        let mut behind: Set<TupleKey> = Set::default();
        for _ in 0..self.waiters.len() {
            let Some(waiter) = self.waiters.pop_front() else { break };
            if waiter.answer.is_closed() {
                self.leaves(&waiter);
                continue;
            }
            let worst = waiter.reservation.worst.0;
            if let Err(error) = self.within_limits(&waiter.counts, &waiter.reservation) {
                self.leaves(&waiter);
                let _ = waiter.answer.send(Err(error));
            } else if !behind.contains(&waiter.tuple) && self.draws(&waiter.tuple, &waiter.counts, worst, false) {
                self.leaves(&waiter);
                self.grant(&waiter.reservation, waiter.tuple.clone(), Arc::clone(&waiter.counts), second);
                if waiter.answer.send(Ok(())).is_err() {
                    // Who asked is gone, and sent nothing.
                    let Reservation { key, at_ms, .. } = waiter.reservation;
                    self.end(key, &Ending::Voided { why: "never sent" }, at_ms, second);
                }
            } else {
                behind.insert(waiter.tuple.clone());
                // A lease can be extended now; a place in the queue comes with rows that are committed.
                if self.places >= 2 {
                    self.touched.insert(waiter.tuple.clone());
                    self.work = true;
                    self.urgent = true;
                }
                self.waiters.push_back(waiter);
            }
        }
    }

    fn leaves(&mut self, waiter: &Waiter) {
        if let Some(tuple) = self.tuples.get_mut(&waiter.tuple) {
            tuple.waiting = tuple.waiting.saturating_sub(waiter.reservation.worst.0);
        }
    }

    /// The commit failed: who waits is told, rather than left to wait.
    pub(crate) fn failed(&mut self, why: &str, leases: Vec<(TupleKey, u64)>) {
        self.failing = Some(why.to_owned());
        self.committing = None;
        for (key, _) in leases {
            // It may be on disk or not: what it reaches to is committed anew.
            if let Some(tuple) = self.tuples.get_mut(&key) {
                tuple.committed = None;
            }
            self.touched.insert(key);
        }
        self.turn_away(why);
    }

    fn turn_away(&mut self, why: &str) {
        while let Some(waiter) = self.waiters.pop_front() {
            self.leaves(&waiter);
            let _ = waiter.answer.send(Err(ReserveError::Unavailable(why.to_owned())));
        }
    }

    /// Why nothing can be spent at the moment, if so: the last commit failed, or the disk has not taken the one under
    /// way for longer than a reservation waits.
    pub(crate) fn trouble(&self, second: u64) -> Option<String> {
        let waits = self.committing.map_or(0, |since| second.saturating_sub(since));
        let is_stuck = waits > self.bounds.wait.as_secs();
        let stuck = || is_stuck.then(|| format!("the disk has not taken a commit of the ledger for {waits} s"));
        self.failing.clone().or_else(stuck)
    }

    /// Grants nothing that leases were committed for: what was committed may be lost. Each is committed anew.
    pub(crate) fn forfeit(&mut self) {
        for (key, tuple) in self.tuples.iter_mut().filter(|(_, tuple)| tuple.headroom() > 0) {
            lower(tuple, 0, &mut self.scopes);
            self.touched.insert(key.clone());
        }
    }

    /// Grants nothing from now on, and gives back what no lease needs.
    pub(crate) fn close(&mut self, why: &str) {
        self.closed.get_or_insert_with(|| why.to_owned());
        self.turn_away(why);
        self.touched.extend(self.tuples.keys().cloned());
        self.work = true;
        self.urgent = true;
    }

    #[cfg(test)]
    pub(crate) fn tuples(&self) -> usize {
        self.tuples.len()
    }

    /// Whether nothing is open but jobs, and nothing is left to be written.
    pub(crate) fn is_settled(&self) -> bool {
        self.jobs.are_all(self.rows.len()) && self.queue.is_empty()
    }
}
