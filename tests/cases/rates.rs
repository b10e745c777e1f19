//! Requests and tokens a minute: who waits, who is refused and how, and that nothing is left over.

use kairos_tests::http::{Answer, Client, chat, converse};
use kairos_tests::process::{Pair, Setup, metrics, on_data};
use serde_json::{Value, json};

const NOVA: &str = "amazon.nova-lite-v1:0";

fn start(rates: &str, more: &str) -> Pair {
    Setup { config: &format!("[limits]\nrates = [{rates}]\n{more}"), ..Setup::default() }.start()
}

async fn asks(client: &Client, pair: &Pair, key: &str, body: &Value) -> Answer {
    let bearer = format!("Bearer {key}");
    let headers = [("authorization", bearer.as_str())];
    let headers = if key.is_empty() { &[][..] } else { &headers };
    client.post(&format!("{}/v1/chat/completions", pair.gateway.url), headers, body).await
}

fn retry_after(answer: &Answer) -> u64 {
    answer.header("retry-after").parse().unwrap()
}

/// Asks for the metrics until they hold a line.
async fn until(pair: &Pair, line: &str) {
    while !metrics(pair).await.lines().any(|known| known == line) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_minute_has_so_many_requests_and_every_dialect_is_told_when_there_is_room() {
    let rates = r#"{ name = "nova", model = "nova-lite", requests_per_minute = 2 }"#;
    let pair = start(rates, "rate_wait_seconds = 0.01");
    let client = Client::default();
    for _ in 0..2 {
        assert_eq!(asks(&client, &pair, "", &chat(NOVA, "hello")).await.status, 200);
    }
    let refused = asks(&client, &pair, "", &chat(NOVA, "hello")).await;
    let error = refused.json()["error"].clone();
    assert_eq!(
        (refused.status.as_u16(), &error["type"], &error["code"]),
        (429, &json!("rate_limit_error"), &json!("rate_limited"))
    );
    assert!((1..=61).contains(&retry_after(&refused)), "{refused:?}");
    assert!(error["message"].as_str().unwrap().contains("the limit \"nova\" has no room"), "{error}");
    let url = format!("{}/model/{NOVA}/converse", pair.gateway.url);
    let refused = client.post(&url, &[], &converse("hello")).await;
    assert_eq!((refused.status.as_u16(), refused.header("x-amzn-errortype")), (429, "ThrottlingException"));
    assert!((1..=61).contains(&retry_after(&refused)));
    let generate = json!({"prompt": "hello", "model_preference": NOVA});
    let refused = client.post(&format!("{}/v1/generate", pair.gateway.url), &[], &generate).await;
    let error = refused.json()["error"].clone();
    assert_eq!(
        (refused.status.as_u16(), &error["type"], &error["retryable"]),
        (429, &json!("rate_limited"), &json!(true))
    );
    // Nothing of them was sent, and another model has room.
    let bill = client.get(&format!("{}/sim/v1/bill?limit=1", pair.simulator.url)).await.json();
    assert_eq!(bill["totals"]["rows"], 2);
    assert_eq!(asks(&client, &pair, "", &chat("nova-micro", "hello")).await.status, 200);
    let told = metrics(&pair).await;
    for line in [
        "kairos_rate_limit{rate=\"nova\",of=\"requests\"} 2",
        "kairos_rate_used{rate=\"nova\",of=\"requests\"} 2",
        "kairos_rate_refused_total{rate=\"nova\",why=\"late\"} 3",
        "kairos_bound_used{bound=\"limits.rate_waiting\"} 0",
        "kairos_ledger_open_rows 0",
    ] {
        assert!(told.lines().any(|known| known == line), "{line}: {told}");
    }
}

#[tokio::test]
async fn tokens_are_reserved_as_bedrock_does_and_then_those_that_were_used_count() {
    let rates = r#"{ name = "tokens", tokens_per_minute = 1000 }"#;
    let pair = start(rates, "rate_wait_seconds = 0.01");
    let client = Client::default();
    let limited = |model: &str, most: u64| {
        let mut body = chat(model, "hello");
        body["max_tokens"] = json!(most);
        body
    };
    let never = asks(&client, &pair, "", &limited(NOVA, 1_001)).await;
    let error = never.json()["error"].clone();
    assert_eq!((never.status.as_u16(), &error["param"]), (400, &json!("max_tokens")), "{error}");
    // Most of the minute is reserved, and given back but for what was used: a written token five times.
    let answer = asks(&client, &pair, "", &limited("claude-sonnet-4-6", 900)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let usage = answer.json()["usage"].clone();
    let tokens = |name: &str| usage[name].as_u64().unwrap();
    let used = tokens("prompt_tokens") + 5 * tokens("completion_tokens");
    let told = metrics(&pair).await;
    let line = format!("kairos_rate_used{{rate=\"tokens\",of=\"tokens\"}} {used}");
    assert!(told.lines().any(|known| known == line), "{line}: {told}");
    assert!(asks(&client, &pair, "", &limited(NOVA, 1_000 - used)).await.status == 429);
    assert_eq!(asks(&client, &pair, "", &limited(NOVA, 1_000 - used - 10)).await.status, 200);
}

#[tokio::test]
async fn a_key_has_a_limit_of_its_own() {
    let pair = start("", "rate_wait_seconds = 0.01");
    let client = Client::default();
    let make = |name: &str, more: &[&str]| -> Value {
        let arguments = [&["key", "create", name, "--json"], more].concat();
        let output = on_data(&pair, &arguments);
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"))
    };
    let (crawler, other) = (make("crawler", &["--rpm", "1", "--tpm", "50000"]), make("other", &[]));
    assert_eq!(crawler["is"]["scope"]["requests_per_minute"], 1);
    let crawler = crawler["key"].as_str().unwrap();
    assert_eq!(asks(&client, &pair, crawler, &chat(NOVA, "hello")).await.status, 200);
    let refused = asks(&client, &pair, crawler, &chat("nova-micro", "hello")).await;
    assert_eq!(refused.status, 429, "{}", refused.text());
    assert!(refused.text().contains("1 requests and 50000 tokens a minute"), "{}", refused.text());
    assert_eq!(asks(&client, &pair, other["key"].as_str().unwrap(), &chat(NOVA, "hello")).await.status, 200);
    let output = on_data(&pair, &["key", "create", "none", "--rpm", "0"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("may be from 1 to"), "{output:?}");
    let listed = String::from_utf8(on_data(&pair, &["key", "list"]).stdout).unwrap();
    assert!(listed.contains("1 requests a minute, 50000 tokens a minute"), "{listed}");
}

#[tokio::test]
async fn who_leaves_while_it_waits_makes_room_and_leaves_nothing() {
    let rates = r#"{ name = "nova", model = "nova-lite", requests_per_minute = 1 }"#;
    let pair = start(rates, "rate_wait_seconds = 600\nrate_waiting = 1");
    let client = Client::default();
    assert_eq!(asks(&client, &pair, "", &chat(NOVA, "hello")).await.status, 200);
    let url = format!("{}/v1/chat/completions", pair.gateway.url);
    let waits = tokio::spawn(async move { Client::default().post(&url, &[], &chat(NOVA, "hello")).await });
    until(&pair, "kairos_bound_used{bound=\"limits.rate_waiting\"} 1").await;
    let full = asks(&client, &pair, "", &chat(NOVA, "hello")).await;
    assert_eq!(full.status, 429);
    assert!(full.text().contains("1 requests wait, which is as many as may"), "{}", full.text());
    waits.abort();
    until(&pair, "kairos_bound_used{bound=\"limits.rate_waiting\"} 0").await;
    let told = metrics(&pair).await;
    for line in ["kairos_rate_used{rate=\"nova\",of=\"requests\"} 1", "kairos_ledger_open_rows 0"] {
        assert!(told.lines().any(|known| known == line), "{line}: {told}");
    }
}
