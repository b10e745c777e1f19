//! Prices: those of the day, an operator's own while the gateway serves, and what has none.

use std::path::Path;
use std::sync::Arc;

use kairos_bedrock::catalogue::{self, View};
use kairos_pipeline::policy::Family;
use kairos_pipeline::request::Operation;
use kairos_tests::audit::{ledger_json, picodollars};
use kairos_tests::http::{Answer, Client, converse};
use kairos_tests::process::{Pair, Setup, metrics, on_data, said};
use serde_json::{Value, json};

use super::scripted::{Answer as Scripted, run_with};

const NOVA: &str = "amazon.nova-lite-v1:0";

fn own(input: &str) -> String {
    format!("[[price]]\nmodel = \"nova-lite\"\nat = \"in-region\"\ninput = \"{input}\"\noutput = \"0.2\"\n")
}

/// As an operator's tools write it: beside, then renamed.
fn put(file: &Path, text: &str) {
    let beside = file.with_extension("next");
    std::fs::write(&beside, text).unwrap();
    std::fs::rename(beside, file).unwrap();
}

async fn ask(client: &Client, pair: &Pair, model: &str, more: Value) -> Answer {
    let mut request = converse("How much is the fish?");
    request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    client.post(&format!("{}/model/{model}/converse", pair.gateway.url), &[], &request).await
}

async fn record(client: &Client, pair: &Pair, answer: &Answer) -> Value {
    let id = answer.header("x-kairos-request-id");
    client.get(&format!("{}/v1/requests/{id}", pair.gateway.url)).await.json()
}

/// Rows of a request, once the last one is written.
fn rows(pair: &Pair, answer: &Answer) -> Vec<Value> {
    let id = answer.header("x-kairos-request-id").to_owned();
    loop {
        let rows = ledger_json(&pair.folder().join("data"), &["show", "--request", &id]);
        if rows.as_array().is_some_and(|rows| rows.len() == 2) {
            return rows.as_array().unwrap().clone();
        }
    }
}

#[tokio::test]
async fn own_prices_are_taken_up_while_it_serves_and_rows_name_them() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("prices.toml");
    put(&file, &own("0.05"));
    let config = format!("[models]\nas_of = \"2026-11-23\"\nprices = {file:?}\n");
    let mut pair = Setup { config: &config, ..Setup::default() }.start();
    let client = Client::default();
    let mut versions = Vec::new();
    for (input, changed) in [("0.05", false), ("0.07", true)] {
        if changed {
            put(&file, &own(input));
            pair.gateway.wait_for_log("other prices serve");
        }
        let answer = ask(&client, &pair, NOVA, json!({})).await;
        let record = record(&client, &pair, &answer).await;
        let usage = &record["attempts"][0]["usage"];
        let (tokens, written) = (usage["input"].as_u64().unwrap(), usage["output"].as_u64().unwrap());
        let rate = if changed { 70_000 } else { 50_000 };
        assert_eq!(picodollars(&record["cost_usd"]), u128::from(tokens * rate + written * 200_000), "{record}");
        for row in rows(&pair, &answer).iter().filter(|row| row["state"] == "reserved") {
            assert_eq!(row["prices"], record["attempts"][0]["prices"]);
            assert_eq!(row["unpriced"], false);
            versions.push(row["prices"].as_str().unwrap().to_owned());
        }
    }
    assert_ne!(versions[0], versions[1]);
    // What is wrong does not serve, and is told with its place.
    put(&file, &own("0.0x"));
    let line = pair.gateway.wait_for_log("prices refused");
    assert!(line.contains("prices.toml:1: ") && line.contains("0.0x"), "{line}");
    let answer = ask(&client, &pair, NOVA, json!({})).await;
    assert_eq!(record(&client, &pair, &answer).await["attempts"][0]["prices"], versions[1]);
    let told = client.get(&format!("{}/admin/v1/prices", pair.gateway.url)).await.json();
    assert_eq!((&told["version"], &told["loaded"], &told["refused"]), (&json!(versions[1]), &json!(2), &json!(1)));
    assert_eq!((&told["wrong"]["line"], told["kept"].as_array().unwrap().len()), (&json!(1), 2));
    let counted = metrics(&pair).await;
    for line in [
        format!("kairos_prices_info{{version=\"{}\"}} 1", versions[1]),
        "kairos_price_loads_total 2".to_owned(),
        "kairos_price_refusals_total 1".to_owned(),
        "kairos_prices_wrong 1".to_owned(),
        "kairos_bound_used{bound=\"models.kept_prices\"} 2".to_owned(),
    ] {
        assert!(counted.contains(&line), "{line}: {counted}");
    }
    pair.gateway.stop();
    // What the versions were is known for later.
    for (version, price) in versions.iter().zip(["0.05", "0.07"]) {
        let arguments = ["models", "--prices", &version[..12], "--as-of", "2026-11-23", "--json"];
        let listed: Value = serde_json::from_slice(&on_data(&pair, &arguments).stdout).unwrap();
        let nova = listed.as_array().unwrap().iter().find(|model| model["id"] == NOVA).unwrap();
        assert_eq!((&nova["input_usd_per_million"], &nova["output_usd_per_million"]), (&json!(price), &json!("0.2")));
    }
    let (code, told) = said(&pair, &["models", "--prices", "000000000000"]);
    assert!(code == 2 && told.contains("no prices 000000000000 are kept"), "{told}");
}

#[tokio::test]
async fn extended_access_is_dearer_from_its_day_on() {
    let client = Client::default();
    for (day, factor) in [("2025-11-30", 1), ("2025-12-01", 2)] {
        let pair = Setup { day: Some(day), ..Setup::default() }.start();
        let answer = ask(&client, &pair, "anthropic.claude-3-5-sonnet-20240620-v1:0", json!({})).await;
        assert_eq!(answer.status, 200, "{day}: {}", answer.text());
        let id = answer.header("x-kairos-request-id");
        let bill = client.get(&format!("{}/sim/v1/bill/{id}-1", pair.simulator.url)).await.json();
        let record = record(&client, &pair, &answer).await;
        assert_eq!(record["cost_usd"], bill["cost_usd"], "{day}: {record}");
        let usage = &record["attempts"][0]["usage"];
        let tokens = 3 * usage["input"].as_u64().unwrap() + 15 * usage["output"].as_u64().unwrap();
        assert_eq!(picodollars(&bill["cost_usd"]), u128::from(factor * tokens * 1_000_000), "{day}");
    }
}

#[tokio::test]
async fn what_has_no_price_is_refused_or_marked_and_never_free() {
    let client = Client::default();
    // This tier has no price on this model.
    let (model, flex) = ("us.anthropic.claude-sonnet-4-6", json!({"serviceTier": {"type": "flex"}}));
    let refusing = Setup::default().start();
    let refused = ask(&client, &refusing, model, flex.clone()).await;
    assert_eq!(refused.status, 400);
    assert!(refused.text().contains("models.unpriced"), "{}", refused.text());
    let totals = client.get(&format!("{}/sim/v1/bill?limit=1", refusing.simulator.url)).await.json();
    assert_eq!(totals["totals"]["rows"], 0);

    let config = "[models]\nas_of = \"2026-11-23\"\nunpriced = \"allow\"\n";
    let pair = Setup { config, ..Setup::default() }.start();
    let answer = ask(&client, &pair, model, flex).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(answer.header("x-kairos-warnings").contains("has no known price"), "{answer:?}");
    let record = record(&client, &pair, &answer).await;
    let attempt = &record["attempts"][0];
    // Bedrock served another tier, which has a price: the bill is known all the same.
    assert_eq!((&attempt["unpriced"], &attempt["ledger"]), (&Value::Null, &json!("settled")));
    let rows = rows(&pair, &answer);
    assert_eq!((&rows[0]["state"], &rows[0]["unpriced"]), (&json!("reserved"), &json!(true)), "{rows:?}");
    let id = answer.header("x-kairos-request-id");
    let bill = client.get(&format!("{}/sim/v1/bill/{id}-1", pair.simulator.url)).await.json();
    assert_eq!(record["cost_usd"], bill["cost_usd"]);
    assert!(picodollars(&bill["cost_usd"]) < picodollars(&rows[0]["high_usd"]), "{rows:?} {bill}");
    // What has a price is marked nowhere.
    let answer = ask(&client, &pair, model, json!({})).await;
    assert!(super::prices::rows(&pair, &answer).iter().all(|row| row["unpriced"] == false));
}

#[tokio::test]
async fn an_estimate_stands_in_for_a_price_that_is_not_known() {
    let body = json!({
        "messages": [{"role": "user", "content": [{"text": "hi"}]}],
        "serviceTier": {"type": "flex"},
    });
    let usage = json!({"inputTokens": 10, "outputTokens": 20, "totalTokens": 30});
    let message = json!({"role": "assistant", "content": [{"text": "hi"}]});
    let answer = json!({"output": {"message": message}, "stopReason": "end_turn", "usage": usage}).to_string();
    let view = View { allow_unpriced: true, ..View::plain("us-east-1", "2026-11-23".parse().unwrap()) };
    let catalogue = Arc::new(catalogue::load(catalogue::BUILT_IN, &view).unwrap());
    let dearest = catalogue.stand_ins.iter().find(|(family, _)| *family == Family::Claude).unwrap().1;
    let model = "us.anthropic.claude-sonnet-4-6";
    let outcome = run_with(Operation::Converse, model, body, vec![Scripted::Whole(answer)], None, |gateway| {
        gateway.catalogue.store(catalogue);
    });
    let outcome = outcome.await;
    assert_eq!(outcome.status, 200, "{}", outcome.body);
    let attempt = &outcome.record.attempts[0];
    assert_eq!((attempt.unpriced, attempt.ledger), (true, "estimated"));
    // The most that it can be counts against budgets, the least is nothing.
    let charged = 10 * dearest.input + 20 * dearest.output;
    assert_eq!((attempt.cost_usd.0, attempt.cost_low_usd.unwrap().0), (charged, 0));
    assert_eq!((outcome.totals.charged, outcome.totals.estimated), (charged.into(), charged.into()));
    assert!(outcome.record.warnings.iter().any(|warning| warning.contains("has no known price")));
}
