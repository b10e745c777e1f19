//! Clocks that are put back.

use std::sync::atomic::{AtomicU64, Ordering};

use super::*;

/// By a second, an hour or days: every attempt is there once and in the sums, no limit is passed, and what
/// was spent on the day that the clock goes back to counts.
#[tokio::test]
async fn a_clock_that_jumps_back_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let now = Arc::new(AtomicU64::new(NOON));
    let told = Arc::clone(&now);
    let clock: Arc<dyn Fn() -> u64 + Send + Sync> = Arc::new(move || told.load(Ordering::Relaxed));
    let limits = daily(Some(1_000));
    let mut spent: HashMap<u64, u64> = HashMap::new();
    for run in 0..2 {
        let ledger = SqliteLedger::open(folder.path(), &limits, Arc::clone(&clock)).unwrap();
        for back in [0, 1_000, 3_600_000, 0, 3 * DAY_MS, 60 * DAY_MS, 0] {
            now.store(NOON - back, Ordering::Relaxed);
            let reservation = reservation("key", 100, NOON - back);
            ledger.open(&reservation).await.unwrap();
            // It is put back once more before the attempt ends.
            now.store(NOON - back - 500, Ordering::Relaxed);
            ledger.end(reservation.key, settled(40));
            *spent.entry((NOON - back) / DAY_MS).or_default() += 40;
        }
        ledger.close();
        assert_eq!(ledger.finish(Duration::from_secs(60)), Ended::Closed, "run {run}");
    }
    let totals = reader(folder.path()).verify().unwrap().totals;
    assert_eq!((totals.charged, totals.ended_rows, totals.open), (14 * 40, 14, 0));
    for day in reader(folder.path()).days().unwrap() {
        assert_eq!(day.charged, spent[&u64::from(day.tuple.day)]);
    }
    let mut seen = 0;
    let count = |line: &Line| {
        seen += 1;
        // It ended before it began, by the clock.
        assert!(line.end.as_ref().is_some_and(|end| end.at_ms < line.at_ms()));
        Ok::<_, LedgerError>(())
    };
    reader(folder.path()).lines(Range::ALL, count).unwrap();
    assert_eq!(seen, 14);
    // What the day has spent in both runs is still spent, wherever the clock is.
    now.store(NOON - 60 * DAY_MS, Ordering::Relaxed);
    let ledger = SqliteLedger::open(folder.path(), &limits, clock).unwrap();
    let today = spent[&20_000];
    let more = ledger.open(&reservation("key", 1_000 - today + 1, NOON)).await;
    assert!(matches!(more, Err(ReserveError::Limit(_))), "{more:?}");
    ledger.open(&reservation("key", 1_000 - today, NOON)).await.unwrap();
}
