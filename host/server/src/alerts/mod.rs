//! Tells operators when budgets pass their thresholds, and when that is over: in the log, by a webhook and by SNS.
//!
//! What was told is on disk (`kairos_store::alerts`) before it is told. `change` says what there is to tell,
//! `webhook` and `sns` send it, each in its own time.

mod change;
mod sns;
mod webhook;

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use kairos_bedrock::credentials::CredentialSource;
use kairos_pipeline::budget::Status;
use kairos_store::alerts::{AlertStore, AlertsError, Told};
use kairos_store::ledger::{Crossed, SqliteLedger};
use tokio::time::{Interval, MissedTickBehavior, interval};

use self::change::level_of;
use self::sns::Topic;
pub(crate) use self::sns::region_of;
use self::webhook::Webhook;
use crate::assemble::AssemblyError;
use crate::budgets::MOST;
use crate::config::Config;

/// Between two looks at budgets.
const TICK: Duration = Duration::from_secs(2);

/// The first wait after a failure, in milliseconds; each further one is twice as long.
const FIRST_WAIT_MS: u64 = 1_000;
/// The longest: what is to be told within a minute is, once somebody listens.
const LONGEST_WAIT_MS: u64 = 30_000;

/// How long to wait after so many tries failed before.
fn wait_after(tries: u32) -> u64 {
    FIRST_WAIT_MS.checked_shl(tries.min(16)).unwrap_or(LONGEST_WAIT_MS).min(LONGEST_WAIT_MS)
}

/// Whom alerts are sent to.
enum Receiver {
    Webhook(Webhook),
    Topic(Topic),
}

impl Receiver {
    /// Its name on disk and in the log.
    fn name(&self) -> &'static str {
        match self {
            Self::Webhook(_) => "webhook",
            Self::Topic(_) => "topic",
        }
    }

    /// Sends a body. Whether it was taken, or why not.
    async fn send(&self, body: &str, second: u64) -> Result<(), String> {
        match self {
            Self::Webhook(webhook) => webhook.send(body, second).await,
            Self::Topic(topic) => topic.send(body).await,
        }
    }
}

/// Alerts of a gateway.
pub(crate) struct Alerts {
    store: AlertStore,
    ledger: Arc<SqliteLedger>,
    receivers: Vec<Receiver>,
    clock: fn() -> u64,
    seen: Mutex<Seen>,
    dropped: AtomicU64,
    /// Thresholds that were passed while too many others were.
    missed: AtomicU64,
}

/// What is known of budgets.
#[derive(Default)]
struct Seen {
    /// What was told, by budget; none before the first look.
    told: Option<HashMap<String, Told>>,
    /// Thresholds that were passed and are still to be told: what cannot be written down stays.
    crossed: VecDeque<Crossed>,
    /// All budgets are to be looked at, whatever was told of them.
    all: bool,
}

impl Alerts {
    pub(crate) fn open(
        config: &Config,
        credentials: &Arc<CredentialSource>,
        ledger: Arc<SqliteLedger>,
        clock: fn() -> u64,
    ) -> Result<Self, AssemblyError> {
        let store = AlertStore::open(&config.data, config.alerts.outbox)
            .map_err(|error| AssemblyError::of_file(&config.data, &error))?;
        let webhook = Webhook::of(&config.alerts)?.map(Receiver::Webhook);
        let topic = Topic::of(&config.alerts, credentials)?.map(Receiver::Topic);
        let receivers: Vec<_> = webhook.into_iter().chain(topic).collect();
        let (seen, dropped, missed) = (Mutex::default(), AtomicU64::default(), AtomicU64::default());
        let alerts = Self { store, ledger, receivers, clock, seen, dropped, missed };
        alerts.store.keep_only(&alerts.names()).map_err(AssemblyError::of)?;
        Ok(alerts)
    }

    fn names(&self) -> Vec<&'static str> {
        self.receivers.iter().map(Receiver::name).collect()
    }

    /// Looks at budgets and tells what there is to tell. Waits for the disk.
    pub(crate) fn look(&self) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = self.look_at_all(&mut seen) {
            tracing::error!("alerts cannot be written down, and are told later: {error}");
        }
    }

    fn look_at_all(&self, seen: &mut Seen) -> Result<(), AlertsError> {
        if seen.told.is_none() {
            seen.told = Some(self.store.told()?);
            seen.all = true;
        }
        let Seen { told: Some(told), crossed, all } = seen else { return Ok(()) };
        if crossed.is_empty() {
            let (passed, missed) = self.ledger.take_crossed();
            crossed.extend(passed);
            *all |= self.has_missed(missed);
        }
        while let Some(first) = crossed.front() {
            self.tell(told, &first.status, first.level)?;
            crossed.pop_front();
        }
        // Of what has passed no threshold there is nothing to tell.
        let is_told = |name: &str| told.get(name).is_some_and(|told| told.level > 0);
        for status in self.ledger.budgets(MOST, |rule| *all || is_told(&rule.name)) {
            self.tell(told, &status, level_of(&status))?;
        }
        *all = false;
        Ok(())
    }

    /// Whether more thresholds were passed at once than the ledger keeps. What still stands above one is found by
    /// a look at all budgets; what was passed and is over since is not told.
    fn has_missed(&self, missed: u64) -> bool {
        if missed == 0 {
            return false;
        }
        self.missed.fetch_add(missed, Ordering::Relaxed);
        tracing::error!(
            missed,
            "more thresholds of budgets were passed at once than are kept: all budgets are looked at"
        );
        true
    }

    fn tell(&self, told: &mut HashMap<String, Told>, status: &Status, level: usize) -> Result<(), AlertsError> {
        let name = &*status.rule.name;
        let before = told.get(name).copied();
        let (changes, after) = change::changes(before, status, level);
        if before == Some(after) || (before.is_none() && changes.is_empty()) {
            return Ok(());
        }
        let now_ms = (self.clock)();
        let bodies: Vec<_> = changes.iter().map(|change| change.body(status, now_ms)).collect();
        let dropped = self.store.tell(name, after, (&self.names(), &bodies), now_ms)?;
        if dropped > 0 {
            self.dropped.fetch_add(dropped as u64, Ordering::Relaxed);
            tracing::error!(
                dropped,
                "alerts were dropped: more wait for the webhook or SNS than `alerts.outbox` allows"
            );
        }
        told.insert(name.to_owned(), after);
        changes.iter().for_each(|change| change.log(status));
        Ok(())
    }

    /// Sends what is due to a receiver, in its order, until there is nothing, or it fails.
    async fn send(self: &Arc<Self>, receiver: &Receiver) -> Result<(), AlertsError> {
        let name = receiver.name();
        while let Some(waiting) = self.on_disk(move |alerts| alerts.store.next(name, (alerts.clock)())).await?.flatten()
        {
            let now_ms = (self.clock)();
            let seq = waiting.seq;
            match receiver.send(&waiting.body, now_ms / 1_000).await {
                Ok(()) => self.on_disk(move |alerts| alerts.store.sent(seq)).await?,
                Err(why) => {
                    let due_ms = now_ms.saturating_add(wait_after(waiting.tries));
                    tracing::warn!(tries = waiting.tries + 1, "the {name} of alerts cannot be reached: {why}");
                    self.on_disk(move |alerts| alerts.store.failed(name, seq, due_ms)).await?;
                    return Ok(());
                }
            };
        }
        Ok(())
    }

    /// What waits for the disk, where nobody waits for it. None where the gateway stops.
    async fn on_disk<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> Result<T, AlertsError> + Send + 'static,
    ) -> Result<Option<T>, AlertsError> {
        let alerts = Arc::clone(self);
        tokio::task::spawn_blocking(move || work(&alerts)).await.ok().transpose()
    }

    /// Thresholds that were passed while too many others were, so that all budgets were looked at instead.
    pub(crate) fn missed(&self) -> u64 {
        self.missed.load(Ordering::Relaxed)
    }

    /// Alerts that wait for whoever takes them, and those that were dropped as too many did.
    pub(crate) fn counts(&self) -> (usize, u64) {
        (self.store.waiting(), self.dropped.load(Ordering::Relaxed))
    }
}

/// Looks and sends for as long as it is polled. Who answers late delays no look, and nobody else.
pub(crate) async fn run(alerts: Arc<Alerts>) {
    let sending = alerts.receivers.iter().map(|receiver| send_on(&alerts, receiver));
    tokio::join!(look_on(&alerts), join_all(sending));
}

fn ticks() -> Interval {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

async fn look_on(alerts: &Arc<Alerts>) {
    let mut ticks = ticks();
    loop {
        ticks.tick().await;
        let looking = Arc::clone(alerts);
        if let Err(error) = tokio::task::spawn_blocking(move || looking.look()).await {
            tracing::error!("looking at budgets has failed: {error}");
        }
    }
}

async fn send_on(alerts: &Arc<Alerts>, receiver: &Receiver) {
    let mut ticks = ticks();
    loop {
        ticks.tick().await;
        if let Err(error) = alerts.send(receiver).await {
            tracing::error!("the outbox of alerts cannot be used: {error}");
        }
    }
}

#[cfg(test)]
mod tests;
