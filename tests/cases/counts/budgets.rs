//! Requests without number against budgets that pay for a part of them: none is ever passed.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use kairos_disk::Dice;
use kairos_tests::audit::{Audit, ledger_json, picodollars};
use kairos_tests::http::{Answer, Client, requests};
use kairos_tests::process::{Pair, Setup};
use kairos_tests::{count, policy};
use serde_json::{Value, json};

use super::super::ledger::{Refusal, bill, short};

const CONNECTIONS: [usize; 3] = [1, 8, 64];

fn data(pair: &Pair) -> PathBuf {
    pair.folder().join("data")
}

async fn billed(pair: &Pair) -> u128 {
    picodollars(&bill(&Client::default(), pair).await["totals"]["cost_usd"])
}

/// How budgets stand, by name.
fn budgets(pair: &Pair) -> Vec<Value> {
    let listed = kairos_tests::process::on_data(pair, &["budget", "list", "--json"]);
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    listed["budgets"].as_array().unwrap().clone()
}

/// So many requests on so many connections, with a tag.
async fn ask(times: usize, connections: usize, request: &(String, Value), tag: &str) -> Vec<Answer> {
    let asked = Arc::new(AtomicUsize::new(0));
    let connections = (0..connections).map(|_| {
        let (asked, (url, body), tag) = (Arc::clone(&asked), request.clone(), format!("run={tag}"));
        tokio::spawn(async move {
            let client = Client::default();
            let mut answers = Vec::new();
            while asked.fetch_add(1, Ordering::Relaxed) < times {
                answers.push(client.post(&url, &[("x-kairos-tags", &tag)], &body).await);
            }
            answers
        })
    });
    let mut answers = Vec::new();
    for connection in connections.collect::<Vec<_>>() {
        answers.extend(connection.await.unwrap());
    }
    answers
}

/// Each dialect on 1, 8 and 64 connections, each against a budget of its own, that pays for a part of what is
/// asked: 100 of 1,000. Each refusal is true; what is spent is what AWS bills; nothing is left reserved.
#[tokio::test(flavor = "multi_thread")]
async fn no_number_of_requests_passes_a_budget() {
    let counted = count("requests in each dialect on 1, 8 and 64 connections against a budget", 1_000);
    // The worst case of one is some fifteen times what it costs.
    let (times, paid) = (counted.times(), (counted.times() / 10).max(50));
    let setup = Setup { policy: Some(policy("task.rhai")), ..Setup::default() };
    let free = setup.start();
    let mut costs = Vec::new();
    for (url, body) in short(requests(&free.gateway.url)) {
        let before = billed(&free).await;
        assert_eq!(Client::default().post(&url, &[], &body).await.status, 200);
        costs.push(billed(&free).await - before);
    }
    drop(free);

    let mut config = String::new();
    for connections in CONNECTIONS {
        for (dialect, cost) in costs.iter().enumerate() {
            let (limit, tag) = (cost * paid as u128, format!("{connections}-{dialect}"));
            config.push_str(&format!(
                "[[budgets]]\nname = \"run-{tag}\"\ntag = \"run={tag}\"\nlimit_usd = \"0.{limit:012}\"\nperiod = \"day\"\n"
            ));
        }
    }
    let pair = Setup { config: &config, ..setup }.start();
    let (mut answered, mut refused) = (0, 0);
    for connections in CONNECTIONS {
        for (dialect, request) in short(requests(&pair.gateway.url)).iter().enumerate() {
            let before = billed(&pair).await;
            let limit = costs[dialect] * paid as u128;
            for answer in ask(times, connections, request, &format!("{connections}-{dialect}")).await {
                if answer.status == 200 {
                    answered += 1;
                    continue;
                }
                refused += 1;
                assert_eq!(Refusal::read(&request.0, &answer).limit, limit);
                assert!(answer.text().contains(&format!("run-{connections}-{dialect}")), "{}", answer.text());
            }
            let spent = billed(&pair).await - before;
            assert!(0 < spent && spent <= limit, "{spent} of {limit} on {connections}: {}", request.0);
        }
    }
    assert_eq!(answered + refused, times * costs.len() * CONNECTIONS.len());
    let shown = super::super::ledger::verified(&data(&pair), answered);
    assert_eq!((picodollars(&shown["charged_usd"]), &shown["open"]), (billed(&pair).await, &json!(0)));
    let standing = budgets(&pair);
    assert!(standing.iter().all(|budget| budget["open_usd"] == "0"), "{standing:?}");
    let charged: u128 = standing.iter().map(|budget| picodollars(&budget["charged_usd"])).sum();
    assert_eq!(charged, billed(&pair).await);
    counted.passed(&format!("{answered} answered, {refused} refused, none beyond its budget"));
}

/// Callers who leave, and kill -9 in between: over all restarts no budget is passed, of a day or one that rolls;
/// and nothing stays reserved.
#[tokio::test(flavor = "multi_thread")]
async fn no_kill_and_no_caller_who_leaves_passes_a_budget() {
    let kills = count("kill -9 of the gateway against budgets, half of the callers leave", 50);
    let limit = 60_000_000_000u128;
    let config = format!(
        "[[budgets]]\nname = \"day\"\nlimit_usd = \"0.{limit:012}\"\nperiod = \"day\"\ntime_zone = \"Asia/Kolkata\"\n\
         [[budgets]]\nname = \"rolling\"\nlimit_usd = \"0.{limit:012}\"\nrolling = \"7d\"\n"
    );
    let setup = Setup {
        config: &config,
        policy: Some(policy("task.rhai")),
        simulate: &["--speed", "anthropic.claude-sonnet-4-6=10,2000"],
        ..Setup::default()
    };
    let mut pair = setup.start();
    let (mut dice, mut audit) = (Dice::new(0x0b5e_55ed), Audit::default());
    for kill in 1..=kills.times() {
        let wanted = dice.below(60);
        let answers = Arc::new(AtomicUsize::new(0));
        let callers: Vec<_> = (0..16).map(|caller| call(&pair, caller, Arc::clone(&answers))).collect();
        while (answers.load(Ordering::Relaxed) as u64) < wanted && !callers.iter().any(|caller| caller.is_finished()) {
            tokio::task::yield_now().await;
        }
        pair.gateway.kill();
        for caller in callers {
            caller.await.unwrap();
        }
        pair.gateway = setup.gateway(&pair.simulator.url, pair.folder());
        audit.read_bill(&pair.simulator.url).await;
        audit.check(&data(&pair)).unwrap_or_else(|why| panic!("kill {kill}: {why}"));
        let spent = billed(&pair).await;
        assert!(spent <= limit, "kill {kill}: {spent}");
        for budget in budgets(&pair) {
            let charged = picodollars(&budget["charged_usd"]);
            assert!(budget["open_usd"] == "0" && charged >= spent, "kill {kill}: {budget} {spent}");
        }
    }
    let shown = ledger_json(&data(&pair), &["verify"]);
    kills.passed(&format!(
        "{} USD billed, {} USD charged, limit 0.06",
        billed(&pair).await as f64 / 1e12,
        shown["charged_usd"]
    ));
}

/// Asks until the gateway is gone; every other caller leaves soon after it has asked.
fn call(pair: &Pair, caller: usize, answers: Arc<AtomicUsize>) -> tokio::task::JoinHandle<()> {
    let all = short(requests(&pair.gateway.url));
    tokio::spawn(async move {
        for place in caller.. {
            let client = Client::default();
            let (url, body) = &all[place % all.len()];
            let asked = client.try_post(url, body);
            let answer = if caller.is_multiple_of(2) {
                asked.await
            } else {
                tokio::select! {
                    answer = asked => answer,
                    () = leave(place * 13 % 400) => continue,
                }
            };
            if answer.is_none() {
                return;
            }
            answers.fetch_add(1, Ordering::Relaxed);
        }
    })
}

/// After so many turns of the scheduler.
async fn leave(turns: usize) {
    for _ in 0..turns {
        tokio::task::yield_now().await;
    }
}
