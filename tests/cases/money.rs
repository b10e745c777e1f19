//! What the gateway says a request costs is what the simulated AWS bills, to the last digit: two
//! price tables and two pieces of arithmetic that share nothing.

use kairos_tests::http::{Client, converse};
use kairos_tests::process::{Pair, Setup, run};
use kairos_tests::root;
use serde_json::{Value, json};

pub(super) async fn bill(client: &Client, pair: &Pair, request_id: &str, attempt: u32) -> Value {
    let url = format!("{}/sim/v1/bill/{request_id}-{attempt}", pair.simulator.url);
    client.get(&url).await.json()
}

pub(super) async fn record(client: &Client, pair: &Pair, request_id: &str) -> Value {
    client.get(&format!("{}/v1/requests/{request_id}", pair.gateway.url)).await.json()
}

/// Models that the gateway calls when they are named, with what it calls.
pub(super) fn callable() -> Vec<(String, Vec<String>)> {
    let output = run(&["models", "--as-of", kairos_tests::process::DAY, "--json"]);
    let models: Value = serde_json::from_slice(&output.stdout).unwrap();
    let active = models.as_array().unwrap().iter().filter(|model| model["status"] != "ended");
    let active = active.filter(|model| model["kind"] == "chat" && model["answers"].is_string());
    active
        .map(|model| {
            let capabilities =
                model["capabilities"].as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned());
            (model["answers"].as_str().unwrap().to_owned(), capabilities.collect())
        })
        .collect()
}

#[tokio::test]
async fn every_model_costs_what_aws_bills() {
    let pair = Pair::start();
    let client = Client::default();
    let models = callable();
    assert!(models.len() > 40);
    for (model, capabilities) in &models {
        let mut request = converse("How much is the fish?");
        if capabilities.iter().any(|name| name == "prompt-caching") {
            // Enough for the longest minimum of any model's cache.
            let prefix = "The quick brown fox jumps over the lazy dog. ".repeat(600);
            request["system"] = json!([{"text": prefix}, {"cachePoint": {"type": "default"}}]);
        }
        let url = format!("{}/model/{}/converse", pair.gateway.url, model.replace(':', "%3A"));
        for turn in ["first, written to the cache", "second, read from it"] {
            let answer = client.post(&url, &[], &request).await;
            assert_eq!(answer.status, 200, "{model} {turn}: {}", answer.text());
            let id = answer.header("x-kairos-request-id");
            let bill = bill(&client, &pair, id, 1).await;
            assert_eq!(
                answer.header("x-kairos-cost-usd"),
                bill["cost_usd"].as_str().unwrap(),
                "{model} {turn}: {}",
                answer.text()
            );
            let record = record(&client, &pair, id).await;
            assert_eq!(record["attempts"][0]["ledger"], "settled", "{model} {turn}: {record}");
        }
    }
    let totals = client.get(&format!("{}/sim/v1/bill?limit=1", pair.simulator.url)).await.json();
    assert_eq!(totals["totals"]["rows"], 2 * models.len());
}

#[tokio::test]
async fn tiers_guardrails_profiles_and_native_bodies_cost_what_aws_bills() {
    let pair = Pair::start();
    let client = Client::default();
    let long = "word ".repeat(130_000);
    let cases = [
        ("amazon.nova-pro-v1:0", "converse", json!({"serviceTier": {"type": "flex"}})),
        ("amazon.nova-pro-v1:0", "converse", json!({"serviceTier": {"type": "priority"}})),
        ("global.anthropic.claude-sonnet-4-6", "converse", json!({})),
        (
            "amazon.nova-lite-v1:0",
            "converse",
            json!({"guardrailConfig": {"guardrailIdentifier": "sim-guardrail", "guardrailVersion": "1", "trace": "enabled"}}),
        ),
        (
            "amazon.nova-lite-v1:0",
            "converse",
            json!({"guardrailConfig": {"guardrailIdentifier": "sim-guardrail", "guardrailVersion": "1", "trace": "enabled"},
            "messages": [{"role": "user", "content": [{"text": "tell me of the forbidden-topic"}]}]}),
        ),
        // Above 100,000 tokens this model has a price of its own.
        (
            "us.anthropic.claude-haiku-5-5",
            "converse",
            json!({"messages": [{"role": "user", "content": [{"text": long}]}]}),
        ),
        (
            "us.anthropic.claude-sonnet-4-6",
            "converse",
            json!({"system": [{"text": "fox ".repeat(3000)}, {"cachePoint": {"type": "default", "ttl": "1h"}}]}),
        ),
    ];
    for (model, operation, extra) in cases {
        let mut request = converse("How much is the fish?");
        request.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        let answer = client.post(&format!("{}/model/{model}/{operation}", pair.gateway.url), &[], &request).await;
        assert_eq!(answer.status, 200, "{model}: {}", answer.text());
        let bill = bill(&client, &pair, answer.header("x-kairos-request-id"), 1).await;
        assert_eq!(
            answer.header("x-kairos-cost-usd"),
            bill["cost_usd"].as_str().unwrap(),
            "{model} {extra:.80}: {bill}"
        );
    }
    let body = json!({"anthropic_version": "bedrock-2023-05-31", "max_tokens": 300, "messages": [{"role": "user", "content": "How much is the fish?"}],
        "system": [{"type": "text", "text": "fox ".repeat(3000), "cache_control": {"type": "ephemeral", "ttl": "1h"}}]});
    for operation in ["invoke", "invoke-with-response-stream"] {
        let url = format!("{}/model/us.anthropic.claude-sonnet-4-6/{operation}", pair.gateway.url);
        let answer = client.post(&url, &[], &body).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let id = answer.header("x-kairos-request-id");
        let (bill, record) = (bill(&client, &pair, id, 1).await, record(&client, &pair, id).await);
        assert_eq!(record["cost_usd"], bill["cost_usd"], "{operation}: {record} {bill}");
        assert_eq!(record["attempts"][0]["ledger"], "settled");
    }
}

#[tokio::test]
async fn what_has_no_price_is_refused_and_costs_nothing() {
    let pair = Pair::start();
    let client = Client::default();
    for (model, extra) in [
        ("us.anthropic.claude-sonnet-4-6", json!({"serviceTier": {"type": "flex"}})),
        ("amazon.nova-lite-v1:0", json!({"performanceConfig": {"latency": "optimized"}})),
        ("amazon.nova-lite-v1:0", json!({"serviceTier": {"type": "reserved"}})),
    ] {
        let mut request = converse("x");
        request.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        let answer = client.post(&format!("{}/model/{model}/converse", pair.gateway.url), &[], &request).await;
        assert_eq!(answer.status, 400);
        assert_eq!(answer.header("x-amzn-errortype"), "ValidationException");
        assert!(answer.text().contains("no known price"), "{}", answer.text());
        assert_eq!(answer.header("x-kairos-cost-usd"), "0");
    }
    assert_eq!(client.get(&format!("{}/sim/v1/bill", pair.simulator.url)).await.json()["totals"]["rows"], 0);
}

/// A native caller's answers are Bedrock's own bytes.
#[tokio::test]
async fn native_bodies_are_not_touched() {
    let pair = Setup { policy: Some(kairos_tests::policy("task.rhai")), ..Setup::default() }.start();
    let client = Client::default();
    // Spaces, order and an unknown field of the request reach the simulator; its answer comes back whole.
    let body =
        r#"{ "messages" : [ {"content":[{"text":"hi there"}],"role":"user"} ], "inferenceConfig": {"maxTokens": 5} }"#;
    let answer = client
        .send(
            "POST",
            &format!("{}/model/amazon.nova-lite-v1:0/converse", pair.gateway.url),
            &[("content-type", "application/json")],
            body,
        )
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let direct = client
        .send(
            "POST",
            &format!("{}/model/amazon.nova-lite-v1:0/converse", pair.simulator.url),
            &[("authorization", "Bearer kairos-simulator-key"), ("content-type", "application/json")],
            body,
        )
        .await;
    let (mut ours, mut theirs) = (answer.json(), direct.json());
    assert_eq!(ours["stopReason"], "max_tokens");
    for one in [&mut ours, &mut theirs] {
        one["metrics"]["latencyMs"] = json!(0);
    }
    assert_eq!(ours, theirs);
    assert!(root().join("policies").exists());
}
