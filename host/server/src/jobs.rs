//! Looks whether jobs have ended, beside what serves.

use std::sync::Arc;
use std::time::Duration;

use kairos_pipeline::gateway::Gateway;
use kairos_pipeline::jobs::{Watch, WatchBounds};
use tokio::time::{MissedTickBehavior, interval};

/// Between two looks at what is due.
const TICK: Duration = Duration::from_secs(1);

/// Looks as long as it is polled.
pub(crate) async fn run(gateway: Arc<Gateway>, bounds: WatchBounds) {
    let mut watch = Watch::new(bounds);
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        watch.round(&gateway).await;
    }
}
