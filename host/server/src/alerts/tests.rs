use kairos_dialects::Usage;
use kairos_dialects::outline::ServiceTier;
use kairos_pipeline::budget::Rule;
use kairos_pipeline::ledger::{AttemptKey, Ending, Ledger as _, Reservation};
use kairos_pipeline::money::Picodollars;
use kairos_pipeline::request::RequestId;

use super::*;

const NOON: u64 = 20_000 * 86_400_000 + 43_200_000;

/// A threshold whose crossing was one too many to be kept is told of by the look at all budgets that follows.
#[tokio::test]
async fn what_was_missed_is_found_by_a_look_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let rule = Arc::new(Rule::daily(None, Some(Picodollars(100))));
    let ledger = Arc::new(SqliteLedger::open(folder.path(), &[Arc::clone(&rule)], Arc::new(|| NOON)).unwrap());
    let alerts = Alerts {
        store: AlertStore::open(folder.path(), 10).unwrap(),
        ledger: Arc::clone(&ledger),
        webhook: None,
        clock: || NOON,
        seen: Mutex::default(),
        dropped: AtomicU64::default(),
        missed: AtomicU64::default(),
    };
    alerts.look();
    let key = AttemptKey { request: RequestId::mint(), attempt: 1 };
    let reservation = Reservation {
        key,
        caller: "k".into(),
        team: None,
        model: "model".into(),
        target: "model".into(),
        region: "us-east-1".into(),
        tier: ServiceTier::Standard,
        tags: Arc::from([]),
        at_ms: NOON,
        worst: Picodollars(150),
        price_version: "prices".into(),
        policy: None,
        unpriced: false,
    };
    ledger.open(&reservation).await.unwrap();
    ledger.end(key, Ending::Settled { cost: Picodollars(150), usage: Usage::default() });
    // As if it had not been kept.
    assert_eq!(ledger.take_crossed().0.len(), 1);
    let level = |alerts: &Alerts| alerts.store.told().unwrap().get(&*rule.name).map_or(0, |told| told.level);
    alerts.look();
    assert_eq!((level(&alerts), alerts.missed()), (0, 0));
    let all = alerts.has_missed(1);
    alerts.seen.lock().unwrap().all = all;
    alerts.look();
    assert_eq!((level(&alerts), alerts.missed()), (1, 1));
}
