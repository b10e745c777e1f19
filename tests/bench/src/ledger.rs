//! Durable settlements of the ledger, beside what the disk does on its own.

use std::fs::File;
use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use kairos_dialects::Usage;
use kairos_dialects::outline::ServiceTier;
use kairos_pipeline::budget::{Counting, Over, Rule};
use kairos_pipeline::ledger::{AttemptKey, Ending, Ledger as _, Reservation};
use kairos_pipeline::money::Picodollars;
use kairos_pipeline::request::RequestId;
use kairos_store::ledger::{Ended, FILE, Reader, SqliteLedger};

use crate::measure::{head, median, row};
use crate::root;

const TURNS: usize = 3;
const IN_FLIGHT: u64 = 512;
const SETTLEMENTS: u64 = 200_000;
const SYNCS: usize = 200;

/// Measures the ledger and prints its table.
pub(crate) fn run() {
    println!("\n## The ledger\n");
    println!("{SETTLEMENTS} attempts, each reserved and settled, {IN_FLIGHT} at once, until the last is on disk.\n");
    let (mut settles, mut held, mut syncs) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..TURNS {
        syncs.push(disk());
        settles.push(settle(&[]));
        held.push(settle(&budgets()));
    }
    head(&["", "a second"]);
    row(&["durable settlements".to_owned(), format!("{:.0}", median(settles.clone()))]);
    row(&["the same, held against eight budgets".to_owned(), format!("{:.0}", median(held.clone()))]);
    let more = settles.iter().zip(&held).map(|(settles, held)| 1e6 / held - 1e6 / settles).collect();
    row(&["what the budgets add to each, in µs".to_owned(), format!("{:.1}", median(more))]);
    row(&["the disk's own syncs of 4 KiB, one by one".to_owned(), format!("{:.0}", median(syncs.clone()))]);
    let ratio = median(settles.iter().zip(&syncs).map(|(settles, syncs)| settles / syncs).collect());
    row(&["settlements for each sync the disk could do".to_owned(), format!("{ratio:.0}")]);
}

/// Budgets that cover every attempt, of every kind, and that none passes.
fn budgets() -> Vec<Arc<Rule>> {
    let limit = Some(Picodollars(u64::MAX / 4));
    let kinds = [
        r#"{"calendar":{"period":"day","zone":"UTC"}}"#,
        r#"{"calendar":{"period":"minute","zone":"UTC"}}"#,
        r#"{"calendar":{"period":"month","zone":"Europe/Berlin"}}"#,
        r#"{"rolling":{"seconds":86400}}"#,
        r#"{"key":"local","calendar":{"period":"hour","zone":"UTC"}}"#,
        r#"{"key":"local","rolling":{"seconds":60}}"#,
        r#"{"key":"local","calendar":{"period":"week","zone":"America/New_York"}}"#,
        r#"{"key":"local","calendar":{"period":"day","zone":"Asia/Kolkata"}}"#,
    ];
    let rule = |(number, kind): (usize, &str)| {
        let counting: Counting = serde_json::from_str(kind).unwrap();
        let name = format!("budget-{number}").into();
        Arc::new(Rule { name, counting, limit, alerts: Vec::new(), over: Over::Refuse })
    };
    kinds.into_iter().enumerate().map(rule).collect()
}

/// Appends and syncs of the disk, a second.
fn disk() -> f64 {
    let folder = tempfile::tempdir_in(root().join("target")).unwrap();
    let mut file = File::create(folder.path().join("synced")).unwrap();
    let started = Instant::now();
    for _ in 0..SYNCS {
        file.write_all(&[7; 4096]).unwrap();
        file.sync_data().unwrap();
    }
    SYNCS as f64 / started.elapsed().as_secs_f64()
}

/// Settlements of the ledger, a second, the last commit included.
fn settle(budgets: &[Arc<Rule>]) -> f64 {
    let folder = tempfile::tempdir_in(root().join("target")).unwrap();
    let ledger = Arc::new(SqliteLedger::open(folder.path(), budgets, Arc::new(now_ms)).unwrap());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let started = Instant::now();
    runtime.block_on(async {
        let tasks: Vec<_> = (0..IN_FLIGHT)
            .map(|number| {
                let ledger = Arc::clone(&ledger);
                tokio::spawn(async move {
                    for _ in 0..SETTLEMENTS / IN_FLIGHT {
                        let reservation = reservation(number);
                        ledger.open(&reservation).await.unwrap();
                        tokio::task::yield_now().await;
                        ledger.end(reservation.key, settled());
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
    ledger.close();
    assert_eq!(ledger.finish(Duration::from_secs(60)), Ended::Closed);
    let seconds = started.elapsed().as_secs_f64();
    let verified = Reader::open(&folder.path().join(FILE)).unwrap().verify().unwrap();
    let count = SETTLEMENTS / IN_FLIGHT * IN_FLIGHT;
    assert_eq!(verified.totals.charged, u128::from(count) * 7, "the ledger lost something");
    count as f64 / seconds
}

fn reservation(number: u64) -> Reservation {
    Reservation {
        key: AttemptKey { request: RequestId::mint(), attempt: 1 },
        caller: "local".into(),
        team: None,
        model: format!("model-{}", number % 8).into(),
        target: "us.model".into(),
        region: "us-east-1".into(),
        tier: ServiceTier::Standard,
        tags: Arc::from([]),
        at_ms: now_ms(),
        worst: Picodollars(100),
        price_version: "prices".into(),
        policy: Some("policy@digest".into()),
        unpriced: false,
        job: None,
    }
}

fn settled() -> Ending {
    Ending::Settled { cost: Picodollars(7), usage: Usage { input: 118, output: 64, ..Usage::default() } }
}

fn now_ms() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}
