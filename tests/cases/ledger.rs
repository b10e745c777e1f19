//! The ledger: no limit is passed, and no crash puts it below the bill.

use std::collections::HashMap;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use kairos_tests::http::{Client, chat, converse};
use kairos_tests::process::{Pair, Setup, kairos};
use kairos_tests::{policy, scaled};
use serde_json::{Value, json};

/// What `kairos ledger` prints.
pub(super) fn ledger(pair: &Pair, arguments: &[&str]) -> Value {
    let mut command: Command = kairos();
    let output =
        command.arg("ledger").args(arguments).arg("--json").arg("--data").arg(pair.folder().join("data")).output();
    let output = output.unwrap();
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Dollars as picodollars.
pub(super) fn picodollars(value: &Value) -> u128 {
    let text = value.as_str().unwrap();
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    format!("{whole}{fraction:0<12}").parse().unwrap()
}

pub(super) async fn bill(client: &Client, pair: &Pair) -> Value {
    client.get(&format!("{}/sim/v1/bill", pair.simulator.url)).await.json()
}

/// An address, and what is sent there.
fn requests(gateway: &str) -> Vec<(String, Value)> {
    let mut streamed = chat("amazon.nova-lite-v1:0", "hello");
    streamed["stream"] = json!(true);
    let claude = json!({"anthropic_version": "bedrock-2023-05-31", "max_tokens": 50, "messages": [{"role": "user", "content": "hello"}]});
    let model = |name: &str, operation: &str| format!("{gateway}/model/{name}/{operation}");
    vec![
        (format!("{gateway}/v1/chat/completions"), chat("amazon.nova-lite-v1:0", "hello")),
        (format!("{gateway}/v1/chat/completions"), streamed),
        (model("amazon.nova-lite-v1:0", "converse"), converse("hello")),
        (model("amazon.nova-lite-v1:0", "converse-stream"), converse("hello")),
        (model("us.anthropic.claude-sonnet-4-6", "invoke"), claude.clone()),
        (model("us.anthropic.claude-sonnet-4-6", "invoke-with-response-stream"), claude),
    ]
}

/// 200 requests at once, of every dialect, against a limit that pays for some of them: the limit
/// holds, and each refusal is true, says so in its dialect, and says until when.
#[tokio::test(flavor = "multi_thread")]
async fn the_days_limit_holds_in_every_dialect() {
    let config = "[budget]\ndaily_limit_usd = \"0.02\"\nalert_threshold_usd = \"0.0001\"\n";
    let pair = Setup { config, policy: Some(policy("task.rhai")), ..Setup::default() }.start();
    let client = Client::default();
    let all = requests(&pair.gateway.url);
    let asking = (0..200).map(|number| {
        let (client, (url, body)) = (client.clone(), all[number % all.len()].clone());
        tokio::spawn(async move { (url.clone(), client.post(&url, &[], &body).await) })
    });
    let (mut answered, mut refused) = (0, 0);
    for asked in asking.collect::<Vec<_>>() {
        let (url, answer) = asked.await.unwrap();
        match answer.status.as_u16() {
            200 => answered += 1,
            429 => {
                refused += 1;
                let after: u64 = answer.header("retry-after").parse().unwrap();
                assert!((1..=86_400).contains(&after));
                assert!(answer.text().contains("the day's limit of 0.02 USD"), "{}", answer.text());
                if url.contains("/model/") {
                    assert_eq!(answer.header("x-amzn-errortype"), "ThrottlingException");
                } else {
                    assert_eq!(answer.json()["error"]["code"], "budget_exceeded");
                    assert_eq!(answer.header("x-should-retry"), "false");
                }
                assert_eq!(answer.header("x-kairos-cost-usd"), "0");
            }
            other => panic!("{url}: {other}: {}", answer.text()),
        }
    }
    assert!(answered > 0 && refused > 0, "{answered} answered, {refused} refused");
    assert!(pair.gateway.wait_for_log("alert threshold").contains("0.0001"));
    let metrics = client.get(&format!("{}/metrics", pair.gateway.url)).await.text();
    assert!(
        metrics.contains("kairos_budget_remaining_usd 0.0") && metrics.contains("kairos_ledger_open_rows 0"),
        "{metrics}"
    );
    let billed = picodollars(&bill(&client, &pair).await["totals"]["cost_usd"]);
    // The last rows are on disk a moment later.
    let shown = loop {
        let shown = ledger(&pair, &["verify"]);
        if shown["attempts"] == answered {
            break shown;
        }
    };
    assert_eq!(picodollars(&shown["charged_usd"]), billed, "{shown}");
    assert!(billed <= 20_000_000_000, "{billed}");
    assert_eq!(shown["open"], 0);
}

/// What was spent is there after a proper stop, to the last digit; and a request's rows say how.
#[tokio::test]
async fn spending_outlives_the_gateway() {
    let setup = Setup { policy: Some(policy("task.rhai")), ..Setup::default() };
    let mut pair = setup.start();
    let client = Client::default();
    let mut ids = Vec::new();
    for round in 0..2 {
        for (url, body) in requests(&pair.gateway.url) {
            let answer = client.post(&url, &[], &body).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            ids.push(answer.header("x-kairos-request-id").to_owned());
        }
        pair.gateway.terminate();
        pair.gateway.wait_for_log("\"stopped\"");
        let verified = ledger(&pair, &["verify"]);
        assert_eq!(
            picodollars(&verified["charged_usd"]),
            picodollars(&bill(&client, &pair).await["totals"]["cost_usd"])
        );
        // Opened and closed, and two rows an attempt.
        assert_eq!((&verified["rows"], &verified["estimated_usd"]), (&json!((round + 1) * 14), &json!("0")));
        pair.gateway = setup.gateway(&pair.simulator.url, pair.folder());
    }
    let rows = ledger(&pair, &["show", "--request", &ids[0]]);
    assert_eq!(
        (&rows[0]["state"], &rows[1]["state"], &rows[1]["key"]),
        (&json!("reserved"), &json!("settled"), &json!("local"))
    );
    assert!(picodollars(&rows[0]["high_usd"]) >= picodollars(&rows[1]["high_usd"]));
    assert_eq!(ledger(&pair, &["show"])["attempts"], 12);
}

/// kill -9 at any point under load, again and again: after the restart the ledger is whole, nothing is
/// left open, it is never below the bill, and what it estimates contains what was billed.
#[tokio::test(flavor = "multi_thread")]
async fn no_kill_puts_the_ledger_below_the_bill() {
    let setup = Setup { policy: Some(policy("task.rhai")), ..Setup::default() };
    let mut pair = setup.start();
    let kills = scaled(100);
    let mut dice = 0x2545_f491_4f6c_dd1du64;
    for kill in 0..kills {
        // When, by a xorshift: after so many answers.
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        let after = usize::try_from(dice % 120).unwrap();
        let answers = Arc::new(AtomicUsize::new(0));
        let callers: Vec<_> = (0..16)
            .map(|caller| {
                let (all, answers) = (requests(&pair.gateway.url), Arc::clone(&answers));
                tokio::spawn(async move {
                    let client = Client::default();
                    for place in caller.. {
                        let (url, body) = &all[place % all.len()];
                        // The gateway is killed: whatever is under way fails.
                        if client.try_post(url, body).await.is_none() {
                            return;
                        }
                        answers.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        while answers.load(Ordering::Relaxed) < after {
            tokio::task::yield_now().await;
        }
        pair.gateway.kill();
        for caller in callers {
            caller.await.unwrap();
        }
        pair.gateway = setup.gateway(&pair.simulator.url, pair.folder());
        let verified = ledger(&pair, &["verify"]);
        let billed = bill(&Client::default(), &pair).await;
        let (charged, cost) = (picodollars(&verified["charged_usd"]), picodollars(&billed["totals"]["cost_usd"]));
        assert!(charged >= cost, "kill {kill}: {charged} charged, {cost} billed");
        assert_eq!(verified["open"], 0, "kill {kill}");
        contains_what_was_billed(&pair, &billed);
    }
}

/// Every attempt of a sample that has rows cost what they say.
fn contains_what_was_billed(pair: &Pair, billed: &Value) {
    let mut costs: HashMap<&str, u128> = HashMap::new();
    for row in billed["rows"].as_array().unwrap().iter().rev().take(40) {
        *costs.entry(row["invocation_id"].as_str().unwrap()).or_default() += picodollars(&row["cost_usd"]);
    }
    for (invocation, cost) in costs.into_iter().take(8) {
        let (request, attempt) = invocation.rsplit_once('-').unwrap();
        let mut command: Command = kairos();
        let data = pair.folder().join("data");
        let output =
            command.args(["ledger", "show", "--json", "--request", request, "--data"]).arg(data).output().unwrap();
        // A row that was not committed is within what nobody is named for.
        if !output.status.success() {
            continue;
        }
        let rows: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
        let ending = rows
            .iter()
            .find(|row| row["state"] != "reserved" && row["attempt"].as_u64() == attempt.parse().ok())
            .unwrap();
        let (low, high) = (picodollars(&ending["low_usd"]), picodollars(&ending["high_usd"]));
        assert!(low <= cost && cost <= high, "{invocation}: {low} ≤ {cost} ≤ {high}: {rows:?}");
    }
}
