//! Rounds of every bad guest through one gateway: each is contained, and nothing of it stays.

use std::collections::BTreeMap;

use kairos_tests::http::Client;
use kairos_tests::process::{Pair, Setup};
use kairos_tests::{another, policy, scaled};

use super::guests::GUESTS;
use super::{Metrics, ask, put};

/// Calls of a guest before it is quarantined, each of which is one of the rounds.
const FAULTS: usize = 10;

/// Resident memory of a process, in bytes.
fn resident(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// Every guest: put in place, called until it is quarantined, and the policy before it serves again.
async fn pass(pair: &Pair, client: &Client, files: &[Vec<u8>], number: usize) {
    for (guest, file) in GUESTS.iter().zip(files) {
        put(pair, guest.ending, &another(guest.ending, file, number));
        for _ in 0..FAULTS {
            let answer = ask(client, pair).await;
            let warnings = answer.header("x-kairos-warnings");
            assert!(warnings.contains(&format!(": {})", guest.kind)), "{}: {warnings}", guest.name);
            assert!(answer.header("x-kairos-policy").starts_with("native-task@"), "{}", guest.name);
        }
        pair.gateway.wait_for_log("quarantined");
        let answer = ask(client, pair).await;
        assert!(answer.header("x-kairos-policy").starts_with("score@"), "{}: {:?}", guest.name, answer.headers);
        pair.gateway.log_so_far();
    }
}

/// A guest's file changes before it is loaded again, so that each of its calls is a fault: what is
/// counted are faults, loads and quarantines that happened.
#[tokio::test]
async fn a_thousand_rounds_of_bad_guests_leave_nothing_behind() {
    // Records of requests are kept up to a bound, which warming up must reach.
    let config = format!("[policies]\nfaults = {FAULTS}\n[limits]\nrecords = 200\n");
    let pair = Setup { policy: Some(policy("score.rhai")), config: &config, ..Setup::default() }.start();
    let client = Client::default();
    let files: Vec<_> = GUESTS.iter().map(|guest| (guest.bytes)()).collect();
    let (passes, warm_up) = (scaled(1_000) / FAULTS, (scaled(200) / FAULTS).max(3));
    for number in 0..warm_up {
        pass(&pair, &client, &files, number).await;
    }
    let warm = resident(pair.gateway.id());
    let mut most = warm;
    for number in 0..passes {
        pass(&pair, &client, &files, warm_up + number).await;
        most = most.max(resident(pair.gateway.id()));
    }
    let after = resident(pair.gateway.id());
    let metrics = Metrics::read(&client, &pair).await;
    let all = passes + warm_up;
    let mut expected = BTreeMap::new();
    GUESTS.iter().for_each(|guest| *expected.entry(guest.kind).or_insert(0) += (FAULTS * all) as u64);
    for (kind, faults) in expected {
        assert_eq!(
            metrics.of(&format!("kairos_policy_faults_total{{slot=\"router\",kind=\"{kind}\"}}")),
            faults,
            "{kind}"
        );
    }
    let loads = (GUESTS.len() * all) as u64;
    assert_eq!(metrics.of("kairos_policy_quarantined_total{slot=\"router\"}"), loads);
    // The first policy has nothing to recover from, nor has the first guest.
    assert_eq!(metrics.of("kairos_policy_recoveries_total{slot=\"router\"}"), loads - 1);
    println!(
        "{} guests, {} rounds after {} to warm up: {} faults contained, {loads} loads and quarantines; resident {:.1} MiB warm, {:.1} after, {:.1} at most",
        GUESTS.len(),
        passes * FAULTS,
        warm_up * FAULTS,
        GUESTS.len() * all * FAULTS,
        warm as f64 / 1_048_576.0,
        after as f64 / 1_048_576.0,
        most as f64 / 1_048_576.0,
    );
    assert!(after <= warm + warm / 10, "resident memory grew from {warm} to {after} bytes");
}
