//! Measures the experiment under way, beside requests: they leave a message, and wait for nothing.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::sync::{Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kairos_pipeline::policy::{Assigned, Went};

use super::experiment::{Experiment, Verdict};
use super::report::Report;
use crate::host::PolicyHost;
use crate::versions::Trial;

/// Messages that may wait; more are lost, and counted. They are counted here, as a channel with so many places
/// would take all their memory from the start, in each slot.
const WAITING: usize = 65_536;
/// Experiments that have ended, and are shown.
const SHOWN: usize = 8;
/// How long nothing happens before what is overdue is counted.
const PATIENCE: Duration = Duration::from_secs(1);
/// Time between writing down what was measured, in milliseconds.
const WRITTEN_EVERY_MS: u64 = 5_000;

/// What the measuring thread is told.
pub(crate) enum Told {
    Assigned(Assigned),
    Ended(Assigned, Went),
    /// Who said it, by which metric, and what.
    Rated(Assigned, String, f64),
    /// Says when all that was told before has been counted, and written down.
    Settled(SyncSender<()>),
}

/// Experiments: the one under way, and those that have ended.
pub(crate) struct Trials {
    sender: Sender<Told>,
    waiting: AtomicUsize,
    tickets: AtomicU64,
    /// Messages that were lost.
    pub(crate) lost: AtomicU64,
    running: Mutex<Option<Running>>,
    ended: Mutex<VecDeque<Report>>,
}

/// The experiment under way.
pub(crate) struct Running {
    pub(crate) id: u64,
    pub(crate) slot: &'static str,
    /// The digest of what is tried.
    pub(crate) digest: String,
    /// The same, as `name@digest`.
    pub(crate) canary: String,
    /// What it is compared with, as `name@digest`.
    pub(crate) baseline: String,
    pub(crate) began_ms: u64,
    pub(crate) experiment: Experiment,
    /// How it ends, once that is known.
    pub(crate) verdict: Option<Verdict>,
}

impl Running {
    /// For how long it has been under way, in milliseconds.
    pub(crate) fn age_ms(&self) -> u64 {
        unix_ms().saturating_sub(self.began_ms)
    }

    pub(crate) fn report(&self) -> Report {
        Report {
            id: self.id,
            canary: self.canary.clone(),
            baseline: self.baseline.clone(),
            plan: self.experiment.plan.clone(),
            share: self.experiment.share(),
            began_ms: self.began_ms,
            ended_ms: self.verdict.is_some().then(unix_ms),
            measures: self.experiment.measures(),
            waits_for: if self.verdict.is_some() { Vec::new() } else { self.experiment.waits_for(self.age_ms()) },
            verdict: self.verdict.clone(),
        }
    }

    /// As it is written down.
    pub(crate) fn row(&self) -> Result<Trial, String> {
        let said = |error: serde_json::Error| error.to_string();
        let report = self.report();
        Ok(Trial {
            id: self.id,
            slot: self.slot,
            digest: self.digest.clone(),
            baseline: self.baseline.clone(),
            plan: serde_json::to_string(&self.experiment.plan).map_err(said)?,
            state: self.experiment.state().map_err(said)?,
            began_ms: self.began_ms,
            ended_ms: report.ended_ms,
            report: serde_json::to_string(&report).map_err(said)?,
        })
    }
}

/// Milliseconds since 1970.
pub(crate) fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

impl Trials {
    /// Nothing under way, and where the measuring thread hears.
    pub(crate) fn new() -> (Self, Receiver<Told>) {
        let (sender, receiver) = channel();
        let trials = Self {
            sender,
            waiting: AtomicUsize::new(0),
            tickets: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            running: Mutex::default(),
            ended: Mutex::default(),
        };
        (trials, receiver)
    }

    pub(crate) fn ticket(&self) -> u64 {
        self.tickets.fetch_add(1, Ordering::Relaxed)
    }

    /// Tells the measuring thread. Never waits.
    pub(crate) fn tell(&self, told: Told) {
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= WAITING {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            self.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        // The thread ends with the host only.
        let _ = self.sender.send(told);
    }

    /// Waits until all that was told before has been counted.
    pub(crate) fn settle(&self) {
        let (done, settled) = sync_channel(1);
        if self.sender.send(Told::Settled(done)).is_ok() {
            // The thread has ended: there is nothing left to count.
            let _ = settled.recv();
        }
    }

    pub(crate) fn running(&self) -> MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn remember(&self, report: Report) {
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        ended.push_front(report);
        ended.truncate(SHOWN);
    }

    /// The experiment under way, then those that have ended, the newest first.
    pub(crate) fn reports(&self) -> Vec<Report> {
        let running = self.running().as_ref().map(Running::report);
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner).clone();
        running.into_iter().chain(ended).collect()
    }
}

/// Starts the measuring thread. It ends with the host.
pub(crate) fn start(host: Weak<PolicyHost>, told: Receiver<Told>) -> std::io::Result<()> {
    thread::Builder::new().name("policy-canary".to_owned()).spawn(move || measure(&host, &told))?;
    Ok(())
}

fn measure(host: &Weak<PolicyHost>, told: &Receiver<Told>) {
    let (mut written_ms, mut unwritten) = (0, false);
    loop {
        let first = match told.recv_timeout(PATIENCE) {
            Ok(first) => Some(first),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        let Some(host) = host.upgrade() else { return };
        let now = (host.clock)();
        let mut waiting = Vec::new();
        unwritten |= first.is_some();
        {
            let mut running = host.trials.running();
            for told in first.into_iter().chain(told.try_iter().take(1_024)) {
                match told {
                    Told::Settled(done) => waiting.push(done),
                    told => {
                        host.trials.waiting.fetch_sub(1, Ordering::Relaxed);
                        count(running.as_mut(), told, now);
                    }
                }
            }
            if let Some(running) = running.as_mut() {
                running.experiment.settle(now);
            }
        }
        host.follow_up();
        if unwritten && (!waiting.is_empty() || now.saturating_sub(written_ms) >= WRITTEN_EVERY_MS) {
            (written_ms, unwritten) = (now, false);
            host.write_trial();
        }
        for done in waiting {
            // Who waited may be gone.
            let _ = done.send(());
        }
    }
}

/// Counts what belongs to the experiment under way. What another left behind does not count.
fn count(running: Option<&mut Running>, told: Told, now_ms: u64) {
    let Some(running) = running else { return };
    match told {
        Told::Assigned(assigned) if assigned.experiment == running.id => running.experiment.assigned(&assigned, now_ms),
        Told::Ended(assigned, went) if assigned.experiment == running.id => {
            running.experiment.ended(assigned.ticket, went);
        }
        Told::Rated(assigned, metric, value) if assigned.experiment == running.id => {
            running.experiment.rated(&assigned, &metric, value);
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use kairos_pipeline::policy::Arm;

    use super::*;

    #[test]
    fn messages_beyond_the_bound_are_lost_and_counted() {
        let (trials, told) = Trials::new();
        let assigned = Assigned { experiment: 1, ticket: 0, arm: Arm::Baseline, share: 0.5, unit: None };
        for _ in 0..WAITING + 3 {
            trials.tell(Told::Assigned(assigned));
        }
        assert_eq!((told.try_iter().count(), trials.lost.load(Ordering::Relaxed)), (WAITING, 3));
    }
}
