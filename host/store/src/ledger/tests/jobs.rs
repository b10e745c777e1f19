//! Jobs: their rows outlive runs, and end once.

use super::budgets::{rule, stop};
use super::*;

/// So long after noon that it is the next day.
const NEXT_DAY: u64 = NOON + DAY_MS;

fn job(caller: &str, worst: u64, at_ms: u64) -> Reservation {
    Reservation { job: Some(format!("token of {caller}").into()), ..reservation(caller, worst, at_ms) }
}

fn at(folder: &Path, limit: u64, now_ms: u64) -> SqliteLedger {
    SqliteLedger::open(folder, &daily(Some(limit)), clock(now_ms)).unwrap()
}

async fn begin(ledger: &SqliteLedger, job: &Reservation) -> AttemptKey {
    ledger.open(job).await.unwrap();
    ledger.written(job.key).await.unwrap();
    job.key
}

#[tokio::test]
async fn a_job_stays_open_over_every_end_of_the_gateway_and_ends_once() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = at(folder.path(), 1_000, NOON);
    let kept = job("key", 600, NOON);
    let key = begin(&ledger, &kept).await;
    // A request beside it is no job: it does not outlive the run.
    ledger.open(&reservation("key", 100, NOON)).await.unwrap();
    while reader(folder.path()).verify().unwrap().open < 2 {
        tokio::task::yield_now().await;
    }
    let opened = OpenJob::of(&kept).unwrap();
    assert_eq!(ledger.jobs(), std::slice::from_ref(&opened));
    // The process is lost.
    drop(ledger);
    for run in 0..3 {
        let ledger = at(folder.path(), 1_000, NOON);
        assert_eq!((ledger.jobs(), ledger.totals().open, ledger.used().jobs), (vec![opened.clone()], 600, 1), "{run}");
        assert!(ledger.totals().charged >= 100);
        // It counts where it was reserved, and nobody spends what it may cost.
        let over = ledger.open(&reservation("other", 301, NOON)).await;
        assert!(matches!(&over, Err(ReserveError::Limit(reached)) if reached.open.0 == 600), "{over:?}");
        assert_eq!(reader(folder.path()).verify().unwrap().open, 1);
        stop(ledger);
        assert!(reader(folder.path()).is_closed().unwrap());
    }
    let ledger = at(folder.path(), 1_000, NEXT_DAY);
    let before = ledger.totals().charged;
    ledger.end(key, settled(350));
    ledger.end(key, settled(350));
    let totals = ledger.totals();
    assert_eq!((totals.charged - before, totals.open, totals.open_rows, ledger.jobs().len()), (350, 0, 0, 0));
    stop(ledger);
    let verified = reader(folder.path()).verify().unwrap();
    assert_eq!((verified.open, verified.totals.charged), (0, before + 350));
    // On the day of its reservation, whenever it ended.
    let days = reader(folder.path()).days().unwrap();
    assert!(days.iter().all(|day| day.tuple.day == 20_000), "{days:?}");
    let ledger = at(folder.path(), 1_000, NOON);
    assert!(ledger.jobs().is_empty());
    let left = 1_000 - u64::try_from(before).unwrap() - 350;
    assert_eq!(ledger.budget(&Spender::default(), NOON).unwrap().remaining.0, left);
}

/// What a day had spent is known where a job of that day is taken over, and what a budget that is new then
/// says of that day is what the rows say.
#[tokio::test]
async fn a_job_taken_over_on_another_day_leaves_the_sums_of_its_own_whole() {
    let folder = tempfile::tempdir().unwrap();
    let open = |rules: &[Arc<Rule>], now_ms| SqliteLedger::open(folder.path(), rules, clock(now_ms)).unwrap();
    let day = rule("day", 1_000, r#"{"calendar":{"period":"day","zone":"UTC"}}"#);
    let hour = rule("hour", 1_000, r#"{"calendar":{"period":"hour","zone":"UTC"}}"#);
    let rolls = rule("rolls", 1_000, r#"{"rolling":{"seconds":60}}"#);
    let ledger = open(&[Arc::clone(&day)], NOON);
    let spent = reservation("key", 300, NOON);
    ledger.open(&spent).await.unwrap();
    ledger.end(spent.key, settled(300));
    let first = begin(&ledger, &job("key", 200, NOON)).await;
    let second = begin(&ledger, &job("key", 100, NOON)).await;
    stop(ledger);
    // The next day has spent something of its own.
    let ledger = open(&[Arc::clone(&day)], NEXT_DAY);
    let spent = reservation("key", 10, NEXT_DAY);
    ledger.open(&spent).await.unwrap();
    ledger.end(spent.key, settled(10));
    stop(ledger);
    let ledger = open(&[Arc::clone(&day), hour, rolls], NEXT_DAY);
    let room = |ledger: &SqliteLedger, at_ms| ledger.budget(&Spender::default(), at_ms).unwrap().remaining.0;
    assert_eq!((room(&ledger, NEXT_DAY), room(&ledger, NOON)), (990, 400));
    ledger.end(first, settled(150));
    stop(ledger);
    reader(folder.path()).verify().unwrap();
    let ledger = open(&[day], NEXT_DAY);
    assert_eq!(room(&ledger, NOON), 1_000 - 300 - 150 - 100);
    ledger.end(second, Ending::Voided { why: "never begun" });
    stop(ledger);
    assert_eq!(reader(folder.path()).verify().unwrap().totals.charged, 300 + 150 + 10);
}

/// What is under way is told beside who writes, a job of an earlier run as well.
#[test]
fn what_is_under_way_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let open = || {
        let totals = reader(folder.path()).totals().unwrap();
        (totals.open_rows, totals.open, totals.charged)
    };
    let mut gateway = Gateway::start(folder.path(), None);
    gateway.ask_for(job("key", 100, NOON));
    gateway.ask("other", 50, 20_000);
    gateway.round();
    gateway.round();
    assert_eq!(open(), (2, 150, 0));
    drop(gateway);
    // The request is charged at its worst case, with what was set aside for the next; the job goes on.
    let mut gateway = Gateway::start(folder.path(), None);
    let (rows, reserved, charged) = open();
    assert_eq!((rows, reserved), (1, 100));
    let key = gateway.shared.lock().jobs.all()[0].key;
    gateway.shared.lock().end(key, &settled(30), NOON, 0);
    gateway.round();
    assert_eq!(open(), (0, 0, charged + 30));
}

/// A run that takes a job over has no lease for it: what it ends at touches none.
#[test]
fn a_job_that_costs_more_than_was_reserved_damages_no_lease_of_a_later_run() {
    let folder = tempfile::tempdir().unwrap();
    let mut gateway = Gateway::start(folder.path(), None);
    gateway.ask_for(job("key", 100, NOON));
    gateway.round();
    gateway.round();
    let key = *gateway.under_way.keys().next().unwrap();
    drop(gateway);
    let mut gateway = Gateway::start(folder.path(), None);
    // The same key and model on the same day, used and forgotten.
    gateway.ask("key", 50, 20_000);
    gateway.round();
    gateway.round();
    for key in gateway.under_way.keys().copied().collect::<Vec<_>>() {
        gateway.shared.lock().end(key, &settled(50), NOON, 0);
    }
    gateway.round();
    gateway.idle();
    gateway.shared.lock().end(key, &settled(700), NOON, gateway.second);
    gateway.round();
    drop(gateway);
    let gateway = Gateway::start(folder.path(), None);
    assert_eq!(gateway.shared.lock().totals().charged, 750);
    drop(gateway);
    assert_eq!(reader(folder.path()).verify().unwrap().open, 0);
}

#[tokio::test]
async fn open_jobs_are_bounded_for_each_key_and_in_all() {
    let folder = tempfile::tempdir().unwrap();
    let bounds = Bounds { jobs: 3, jobs_each_key: 2, ..Bounds::default() };
    let open = || {
        let folder = Locked::folder(folder.path()).unwrap();
        SqliteLedger::open_bounded(folder, &[], bounds, clock(NOON)).unwrap()
    };
    let ledger = open();
    let first = begin(&ledger, &job("a", 1, NOON)).await;
    begin(&ledger, &job("a", 1, NOON)).await;
    let why = |refused: Result<(), ReserveError>| refused.unwrap_err().to_string();
    let says = why(ledger.open(&job("a", 1, NOON)).await);
    assert_eq!(
        says,
        "2 jobs of this key are open, as many as `open_each_key` under [jobs] allows; wait for one to end"
    );
    begin(&ledger, &job("b", 1, NOON)).await;
    let says = why(ledger.open(&job("b", 1, NOON)).await);
    assert_eq!(says, "3 jobs of this gateway are open, as many as `open` under [jobs] allows; wait for one to end");
    // Requests are none.
    ledger.open(&reservation("a", 1, NOON)).await.unwrap();
    drop(ledger);
    let ledger = open();
    assert!(ledger.open(&job("a", 1, NOON)).await.is_err());
    ledger.end(first, settled(1));
    begin(&ledger, &job("a", 1, NOON)).await;
}

#[tokio::test]
async fn a_row_is_not_made_a_jobs_nor_a_jobs_a_row() {
    for (change, at) in [("job = NULL", 2), ("job = 'other'", 2), ("job = 'token'", 3)] {
        let folder = tempfile::tempdir().unwrap();
        let ledger = ledger(folder.path(), None);
        let key = begin(&ledger, &job("key", 100, NOON)).await;
        ledger.end(key, settled(1));
        let other = reservation("key", 100, NOON);
        ledger.open(&other).await.unwrap();
        ledger.end(other.key, settled(1));
        stop(ledger);
        let connection = rusqlite::Connection::open(folder.path().join(FILE)).unwrap();
        let rows = connection.execute(&format!("UPDATE journal SET {change} WHERE seq = {at}"), []).unwrap();
        assert_eq!(rows, 1);
        let damaged = reader(folder.path()).verify().unwrap_err().to_string();
        assert!(damaged.contains(&format!("row {at}")), "{damaged}");
    }
}
