//! Now and then, off the serving threads: what the configuration names and is not known yet, and whether profiles
//! still stand for what is kept of them.

use std::sync::Arc;
use std::time::Duration;

use kairos_bedrock::catalogue::usable;
use kairos_dialects::Kind;
use tokio::time::{MissedTickBehavior, interval};

use super::questions::Asker;
use super::{Change, Pin, Resolver, add, passes, told};

/// Between two profiles that are looked at.
const TICK: Duration = Duration::from_secs(30);
/// How long a profile is not asked about again after a question came to nothing; where that passes by itself, none is.
const REST_MS: u64 = 3_600_000;
/// The same of a profile that the configuration names and that is not known: something waits for it.
const NAMED_REST_MS: u64 = 300_000;

/// Looks at profiles for as long as it is polled.
pub(crate) async fn run(resolver: Arc<Resolver>) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        resolver.look_again().await;
    }
}

/// What is asked about next.
enum Next {
    /// What the configuration names and nobody knows.
    Named(String),
    Kept(Pin),
}

impl Resolver {
    /// Asks about the profile that was asked about longest ago, of those for which it is time.
    pub(super) async fn look_again(&self) {
        let now_ms = (self.clock)();
        if self.settings.kept == 0 {
            return;
        }
        match self.next(now_ms) {
            Some(Next::Named(arn)) => {
                self.tried(&arn, now_ms);
                // What came of it is in the log; who waits for it waits on.
                let _ = self.find_out(Asker::Gateway, &arn).await;
            }
            Some(Next::Kept(pin)) => self.refresh(pin, now_ms).await,
            None => {}
        }
    }

    fn next(&self, now_ms: u64) -> Option<Next> {
        let every_ms = u64::try_from(self.settings.refresh_seconds.duration().as_millis()).unwrap_or(u64::MAX);
        let (pins, unknown) = (self.book.pins().all(), self.unknown());
        let mut seen = self.seen();
        seen.tried.retain(|arn, _| unknown.contains(arn) || pins.iter().any(|pin| pin.arn == *arn));
        let tried = |arn: &str| seen.tried.get(arn).copied();
        let waits = |arn: &str, rest_ms: u64| tried(arn).is_some_and(|at| now_ms.saturating_sub(at) < rest_ms);
        let is_time = |pin: &Pin| {
            pin.is_of(&self.region)
                && now_ms.saturating_sub(pin.said_ms) >= every_ms
                && now_ms >= seen.rests_until_ms
                && !waits(&pin.arn, REST_MS)
        };
        let kept = pins.into_iter().filter(is_time).map(|pin| {
            let last = tried(&pin.arn).unwrap_or(0).max(pin.said_ms);
            (last, Next::Kept(pin))
        });
        let named = unknown.into_iter().filter(|arn| !waits(arn, NAMED_REST_MS));
        let named = named.map(|arn| (tried(&arn).unwrap_or(0), Next::Named(arn)));
        named.chain(kept).min_by_key(|(last, _)| *last).map(|(_, next)| next)
    }

    /// Remembers that the gateway asks about a profile now.
    pub(super) fn tried(&self, arn: &str, now_ms: u64) {
        self.seen().tried.insert(arn.to_owned(), now_ms);
    }

    async fn refresh(&self, pin: Pin, now_ms: u64) {
        let _turn = self.turn.lock().await;
        if self.may_ask(Asker::Gateway).is_err() {
            return;
        }
        self.tried(&pin.arn, now_ms);
        match self.said(&pin.arn).await {
            Ok(said) => self.said_again(pin, said, now_ms).await,
            Err(unresolved) if unresolved.kind == Kind::ModelNotFound => {
                add(&self.counts.changed);
                tracing::warn!(
                    arn = pin.arn,
                    stood_for = pin.stands_for,
                    "an application inference profile is gone, says Bedrock, and is kept no longer"
                );
                self.change(Change::Remove(pin.arn)).await;
            }
            // What is known serves on.
            Err(unresolved) if passes(unresolved.kind) => {
                self.seen().rests_until_ms = now_ms.saturating_add(REST_MS);
            }
            Err(_) => {}
        }
    }

    async fn said_again(&self, pin: Pin, said: String, now_ms: u64) {
        let Pin { arn, stands_for, since_ms, .. } = pin;
        if said == stands_for {
            // The catalogue is as it was.
            let (book, pin) = (Arc::clone(&self.book), Pin { arn, stands_for, since_ms, said_ms: now_ms });
            let kept = tokio::task::spawn_blocking(move || told(book.pins().apply(Change::Keep(pin)))).await;
            if let Err(error) = kept {
                tracing::error!(
                    "when Bedrock said what an application inference profile stands for is not kept: {error}"
                );
            }
            return;
        }
        add(&self.counts.changed);
        let is_usable = usable(&self.book.catalogue().load(), &said).is_ok();
        tracing::warn!(
            arn,
            stood_for = stands_for,
            stands_for = said,
            is_usable,
            "an application inference profile stands for something else, says Bedrock: new requests are routed and priced by that"
        );
        let change = match is_usable {
            true => Change::Keep(Pin { arn, stands_for: said, since_ms: now_ms, said_ms: now_ms }),
            // At the price of what it stood for it would be charged wrongly.
            false => Change::Remove(arn),
        };
        self.change(change).await;
    }

    async fn change(&self, change: Change) {
        if let Err(failure) = self.have_serve(change).await {
            tracing::error!("what an application inference profile stands for does not serve: {failure}");
        }
    }
}
