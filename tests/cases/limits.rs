//! Bounds that operators set: places on models, metrics of what is used, and metrics switched off.

use kairos_tests::http::{Answer, Client, chat, converse};
use kairos_tests::policy;
use kairos_tests::process::{Pair, Setup};
use serde_json::json;

const NOVA: &str = "amazon.nova-lite-v1:0";

fn start(config: &str, environment: &[(&str, &str)]) -> Pair {
    Setup { config, environment, policy: Some(policy("task.rhai")), ..Setup::default() }.start()
}

async fn stall_once(client: &Client, pair: &Pair) {
    let fault = json!([{"model": NOVA, "fault": "stall", "times": 1}]).to_string();
    client.send("PUT", &format!("{}/sim/v1/faults", pair.simulator.url), &[], fault).await;
}

/// Asks for the metrics until they hold a line.
async fn until(client: &Client, pair: &Pair, line: &str) -> String {
    loop {
        let text = client.get(&format!("{}/metrics", pair.gateway.url)).await.text();
        if text.lines().any(|known| known == line) {
            return text;
        }
        tokio::task::yield_now().await;
    }
}

fn asking(pair: &Pair, headers: &'static [(&str, &str)]) -> tokio::task::JoinHandle<Answer> {
    let url = format!("{}/v1/chat/completions", pair.gateway.url);
    tokio::spawn(async move { Client::default().post(&url, headers, &chat(NOVA, "hello")).await })
}

/// The seed's BEDROCK_MAX_CONCURRENT_REQUESTS: one under way, one waits and holds no money, the next
/// is sent on at once.
#[tokio::test]
async fn a_model_has_so_many_places_and_a_bounded_queue() {
    // The first request stalls for as long as all that follows takes, also on a busy machine.
    let config = "[upstream]\nrequest_seconds = 30\nwaiting_requests = 1\nwaiting_seconds = 60\n";
    let pair = start(config, &[("BEDROCK_MAX_CONCURRENT_REQUESTS", "1")]);
    let client = Client::default();
    stall_once(&client, &pair).await;
    let first = asking(&pair, &[]);
    until(&client, &pair, &format!("kairos_upstream_under_way{{model=\"{NOVA}\"}} 1")).await;
    // A place comes before money: the first lease may still wait for the disk.
    until(&client, &pair, "kairos_ledger_open_rows 1").await;
    // Who leaves while it waits makes room for the next.
    let leaves = asking(&pair, &[]);
    until(&client, &pair, &format!("kairos_upstream_waiting{{model=\"{NOVA}\"}} 1")).await;
    leaves.abort();
    until(&client, &pair, &format!("kairos_upstream_waiting{{model=\"{NOVA}\"}} 0")).await;
    let waits = asking(&pair, &[]);
    let metrics = until(&client, &pair, &format!("kairos_upstream_waiting{{model=\"{NOVA}\"}} 1")).await;
    assert!(metrics.lines().any(|line| line == "kairos_ledger_open_rows 1"), "{metrics}");

    let refused = asking(&pair, &[]).await.unwrap();
    assert_eq!((refused.status.as_u16(), &refused.json()["error"]["code"]), (503, &json!("overloaded")));
    assert_eq!(
        (refused.header("retry-after"), refused.header("x-kairos-attempts")),
        ("1", "0"),
        "{:?}",
        refused.headers
    );
    insta::assert_snapshot!(refused.json()["error"]["message"].as_str().unwrap(), @"amazon.nova-lite-v1:0 has 1 requests under way and 1 waiting, which is as many as it may; try again shortly");
    let native = client.post(&format!("{}/model/{NOVA}/converse", pair.gateway.url), &[], &converse("hello")).await;
    assert_eq!((native.status.as_u16(), native.header("x-amzn-errortype")), (503, "ServiceUnavailableException"));
    // Another model of the plan has room.
    let elsewhere = asking(&pair, &[("x-kairos-fallback", "any")]).await.unwrap();
    assert_eq!(elsewhere.status, 200, "{}", elsewhere.text());
    assert_ne!(elsewhere.header("x-kairos-model"), NOVA);
    assert!(elsewhere.header("x-kairos-warnings").contains("which is as many as it may"), "{:?}", elsewhere.headers);

    assert_eq!(first.await.unwrap().status, 504);
    let served = waits.await.unwrap();
    assert_eq!((served.status.as_u16(), served.header("x-kairos-model")), (200, NOVA), "{}", served.text());
    let metrics = until(&client, &pair, &format!("kairos_upstream_under_way{{model=\"{NOVA}\"}} 0")).await;
    for line in [
        format!("kairos_upstream_refused_total{{model=\"{NOVA}\",why=\"full\"}} 3"),
        format!("kairos_upstream_refused_total{{model=\"{NOVA}\",why=\"late\"}} 0"),
        "kairos_bound_limit{bound=\"upstream.concurrent_requests\"} 1".to_owned(),
    ] {
        assert!(metrics.lines().any(|known| known == line), "{line}\n{metrics}");
    }
}

/// Who has waited for as long as it may is told so.
#[tokio::test]
async fn waiting_for_a_place_has_an_end() {
    let config = "[upstream]\nconcurrent_requests = 1\nwaiting_seconds = 0.05\nrequest_seconds = 20\n";
    let pair = start(config, &[]);
    let client = Client::default();
    stall_once(&client, &pair).await;
    let _first = asking(&pair, &[]);
    until(&client, &pair, &format!("kairos_upstream_under_way{{model=\"{NOVA}\"}} 1")).await;
    let late = asking(&pair, &[]).await.unwrap();
    assert_eq!(late.status, 503);
    assert!(late.text().contains("none of them ended within 50ms; try again shortly"), "{}", late.text());
    until(&client, &pair, &format!("kairos_upstream_refused_total{{model=\"{NOVA}\",why=\"late\"}} 1")).await;
}

/// Each bound has its limit, what is used of it, and what was refused.
#[tokio::test]
async fn bounds_are_metrics_by_the_names_of_their_settings() {
    let pair = start("[limits]\nbody_bytes = 1000\nrecords = 3\nheaders = 20\n", &[]);
    let client = Client::default();
    let url = format!("{}/v1/chat/completions", pair.gateway.url);
    for _ in 0..5 {
        assert_eq!(client.post(&url, &[], &chat(NOVA, "hello")).await.status, 200);
    }
    assert_eq!(client.post(&url, &[], &chat(NOVA, &"x".repeat(2000))).await.status, 413);
    let names: Vec<String> = (0..30).map(|number| format!("x-{number}")).collect();
    let many: Vec<_> = names.iter().map(|name| (name.as_str(), "1")).collect();
    assert_eq!(Client::default().send("GET", &url, &many, "").await.status, 431);
    let metrics = until(&client, &pair, "kairos_bound_refused_total{bound=\"limits.header_bytes\"} 1").await;
    for line in [
        "kairos_bound_limit{bound=\"limits.records\"} 3",
        "kairos_bound_used{bound=\"limits.records\"} 3",
        "kairos_bound_limit{bound=\"limits.connections\"} 10000",
        "kairos_bound_refused_total{bound=\"limits.body_bytes\"} 1",
        "kairos_bound_refused_total{bound=\"limits.in_flight\"} 0",
        "kairos_bound_used{bound=\"limits.buffered_bytes\"} 0",
        "kairos_bound_used{bound=\"ledger.pairs\"} 1",
        "kairos_bound_limit{bound=\"upstream.idle_connections\"} 64",
        "kairos_bound_used{bound=\"policies.instances\"} 0",
        "kairos_log_dropped_lines_total 0",
    ] {
        assert!(metrics.lines().any(|known| known == line), "{line}\n{metrics}");
    }
    assert!(!metrics.contains("kairos_upstream_waiting"), "{metrics}");
}

/// The seed's BEDROCK_METRICS_ENABLED.
#[tokio::test]
async fn metrics_that_are_switched_off_say_so() {
    let pair = start("", &[("BEDROCK_METRICS_ENABLED", "false")]);
    let client = Client::default();
    let answer = client.post(&format!("{}/v1/chat/completions", pair.gateway.url), &[], &chat(NOVA, "hello")).await;
    assert_eq!(answer.status, 200);
    let answer = client.get(&format!("{}/metrics", pair.gateway.url)).await;
    assert_eq!(answer.status, 404);
    assert!(answer.text().contains("metrics are switched off: BEDROCK_METRICS_ENABLED"), "{}", answer.text());
}

/// What has no effect in this version is said when the gateway starts.
#[tokio::test]
async fn serve_warns_of_variables_without_effect() {
    let pair = start("", &[("BEDROCK_CACHE_TTL", "300"), ("BEDROCK_LANGFUSE_ENABLED", "true")]);
    let Pair { gateway, .. } = pair;
    gateway.terminate();
    let (_, log) = gateway.wait();
    for says in [
        "BEDROCK_CACHE_TTL is set and has no effect: this version has no cache of answers",
        "BEDROCK_LANGFUSE_ENABLED is set and has no effect: this version sends no traces",
    ] {
        assert!(log.iter().any(|line| line.contains(says)), "{log:?}");
    }
}
