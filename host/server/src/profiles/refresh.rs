//! Now and then, off the serving threads: whether profiles still stand for what is kept of them.

use std::sync::Arc;
use std::time::Duration;

use kairos_bedrock::catalogue::usable;
use kairos_dialects::Kind;
use tokio::time::{MissedTickBehavior, interval};

use super::{Pin, Resolver, add};

/// Between two profiles that are looked at.
const TICK: Duration = Duration::from_secs(30);
/// How long nothing is asked again after a question came to nothing.
const REST_MS: u64 = 3_600_000;

/// Looks at profiles for as long as it is polled.
pub(crate) async fn run(resolver: Arc<Resolver>) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        resolver.look_again().await;
    }
}

impl Resolver {
    /// Asks about the profile that was asked about longest ago, where that is long enough.
    pub(super) async fn look_again(&self) {
        let now_ms = (self.clock)();
        let every_ms = u64::try_from(self.settings.refresh_seconds.duration().as_millis()).unwrap_or(u64::MAX);
        let region = format!(":bedrock:{}:", self.region);
        let pins = self.book.pins().all().into_iter().filter(|pin| pin.arn.contains(&region));
        let Some(pin) = pins.min_by_key(|pin| pin.said_ms) else { return };
        if self.settings.kept == 0
            || now_ms.saturating_sub(pin.said_ms) < every_ms
            || now_ms < self.seen().rests_until_ms
        {
            return;
        }
        let _turn = self.turn.lock().await;
        if self.may_ask().is_err() {
            return;
        }
        match self.said(&pin.arn).await {
            Ok(said) => self.said_again(pin, said, now_ms).await,
            Err(unresolved) if unresolved.kind == Kind::ModelNotFound => {
                add(&self.counts.changed);
                tracing::warn!(
                    arn = pin.arn,
                    stood_for = pin.stands_for,
                    "an application inference profile is gone, says Bedrock, and is kept no longer"
                );
                self.change(move |pins| pins.remove(&pin.arn)).await;
            }
            // What is known serves on.
            Err(_) => self.seen().rests_until_ms = now_ms.saturating_add(REST_MS),
        }
    }

    async fn said_again(&self, pin: Pin, said: String, now_ms: u64) {
        let Pin { arn, stands_for, since_ms, .. } = pin;
        if said == stands_for {
            self.change(move |pins| pins.keep(Pin { arn, stands_for, since_ms, said_ms: now_ms })).await;
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
        self.change(move |pins| match is_usable {
            true => pins.keep(Pin { arn, stands_for: said, since_ms: now_ms, said_ms: now_ms }),
            // At the price of what it stood for it would be charged wrongly.
            false => pins.remove(&arn),
        })
        .await;
    }

    async fn change(&self, change: impl FnOnce(&super::Pins) -> std::io::Result<()> + Send + 'static) {
        if let Err(failure) = self.have_serve(change).await {
            tracing::error!("what an application inference profile stands for does not serve: {failure}");
        }
    }
}
