//! Healers: what follows a failed attempt is a policy's to decide, in a slot of its own beside the router's,
//! with the same life.

mod wrong;

use kairos_tests::http::{Answer, Client, chat};
use kairos_tests::process::{Pair, Setup, metrics, said};
use kairos_tests::{component, policy};
use serde_json::{Value, json};

const NOVA: &str = "amazon.nova-lite-v1:0";
const CLAUDE: &str = "us.anthropic.claude-sonnet-4-6";

/// A healer that calls itself so, and does this.
fn named(name: &str, heal: &str) -> String {
    format!(
        "fn describe() {{ #{{ name: \"{name}\", reasons: #{{ \"1\": \"said-so\" }} }} }}\nfn heal(ctx, features, failure, history, models) {{ {heal} }}\n"
    )
}

/// Puts a healer in place and waits until it serves.
fn put(pair: &Pair, ending: &str, bytes: &[u8]) {
    pair.put(&format!("healer.{ending}"), bytes);
    pair.gateway.wait_for_log("a policy serves");
}

/// Has the first calls of Nova Lite, which goes first, throttled.
async fn throttle(client: &Client, pair: &Pair, times: u32) {
    let faults = json!([{"model": NOVA, "fault": "ThrottlingException", "times": times}]);
    let answer = client.send("PUT", &format!("{}/sim/v1/faults", pair.simulator.url), &[], faults.to_string()).await;
    assert!(answer.status.is_success(), "{}", answer.text());
}

/// A request, and what is recorded of it.
async fn ask(client: &Client, pair: &Pair) -> (Answer, Value) {
    let answer = client.post(&format!("{}/v1/chat/completions", pair.gateway.url), &[], &chat("auto", "hello")).await;
    let id = answer.header("x-kairos-request-id").to_owned();
    let record = client.get(&format!("{}/v1/requests/{id}", pair.gateway.url)).await.json();
    (answer, record)
}

/// A file in the folder changes what follows a throttle, and the record says who decided what.
#[tokio::test]
async fn a_file_in_the_folder_changes_what_follows_a_failure() {
    let pair = Pair::start();
    let client = Client::default();
    throttle(&client, &pair, 1).await;
    let (answer, record) = ask(&client, &pair).await;
    assert_eq!((answer.status.as_u16(), answer.header("x-kairos-model")), (200, CLAUDE), "{record}");
    let healed = &record["healing"][0];
    assert!(healed["policy"].as_str().unwrap().starts_with("native-backoff@"), "{healed}");
    assert_eq!((&healed["action"], &healed["reason_name"]), (&json!("next"), &json!("elsewhere")));
    // The same, told to stay.
    put(&pair, "rhai", named("stays", "retry(0, 1, 1, 1)").as_bytes());
    throttle(&client, &pair, 2).await;
    let (answer, record) = ask(&client, &pair).await;
    assert_eq!((answer.status.as_u16(), answer.header("x-kairos-model")), (200, NOVA), "{record}");
    assert_eq!(answer.header("x-kairos-attempts"), "3");
    let healing = record["healing"].as_array().unwrap();
    assert_eq!(healing.len(), 2, "{record}");
    for healed in healing {
        assert!(healed["policy"].as_str().unwrap().starts_with("stays@"), "{healed}");
        let what = (&healed["failure"], &healed["action"], &healed["reason_name"]);
        assert_eq!(what, (&json!("throttled"), &json!("retry"), &json!("said-so")));
    }
    // The router is another slot's, and is as it was.
    assert!(answer.header("x-kairos-policy").starts_with("task@"));
    // A component, from the plugins: as the native default.
    std::fs::remove_file(pair.policies.join("healer.rhai")).unwrap();
    pair.gateway.wait_for_log("the policy's file was removed");
    put(&pair, "wasm", &component("backoff-healer"));
    throttle(&client, &pair, 1).await;
    let (answer, record) = ask(&client, &pair).await;
    assert_eq!(answer.header("x-kairos-model"), CLAUDE);
    assert!(record["healing"][0]["policy"].as_str().unwrap().starts_with("backoff@"), "{record}");
}

/// A refusal ends the request, and is told by its reason.
#[tokio::test]
async fn a_healer_may_refuse_and_may_have_no_opinion() {
    let pair = Pair::start();
    let client = Client::default();
    put(&pair, "rhai", named("refuses", "refuse(1)").as_bytes());
    throttle(&client, &pair, 1).await;
    let (answer, record) = ask(&client, &pair).await;
    assert!(answer.status.is_client_error() && answer.text().contains("said-so"), "{}", answer.text());
    assert_eq!(record["healing"][0]["action"], "refuse", "{record}");
    put(&pair, "rhai", named("declines", "decline()").as_bytes());
    throttle(&client, &pair, 1).await;
    let (answer, record) = ask(&client, &pair).await;
    assert_eq!((answer.status.as_u16(), answer.header("x-kairos-warnings")), (200, ""), "{record}");
    let healed = &record["healing"][0];
    assert!(healed["policy"].as_str().unwrap().starts_with("native-backoff@"), "{healed}");
    assert_eq!(healed["instead_of"]["outcome"], "declined", "{healed}");
}

/// A script that behaves on trial only.
fn bad(heal: &str) -> Vec<u8> {
    named("bad", &format!("if \"team\" in ctx.tags {{ return next(1); }} {heal}")).into_bytes()
}

/// Healers that fail whenever they are asked: each request is answered all the same, by the native default's
/// remedy; after three the healer before it serves, and the router is not touched.
async fn fails_and_gives_way(ending: &str, bytes: Vec<u8>, kind: &str) {
    let pair = Pair::start();
    let client = Client::default();
    put(&pair, "rhai", named("before", "next(1)").as_bytes());
    put(&pair, ending, &bytes);
    for _ in 0..3 {
        throttle(&client, &pair, 1).await;
        let (answer, record) = ask(&client, &pair).await;
        assert_eq!((answer.status.as_u16(), answer.header("x-kairos-model")), (200, CLAUDE), "{record}");
        let healed = &record["healing"][0];
        assert!(healed["policy"].as_str().unwrap().starts_with("native-backoff@"), "{healed}");
        assert_eq!(healed["instead_of"]["outcome"]["fault"], kind, "{healed}");
        assert!(answer.header("x-kairos-warnings").contains(&format!(": {kind})")), "{:?}", answer.headers);
    }
    assert!(pair.gateway.wait_for_log("quarantined").contains("\"slot\":\"healer\""));
    throttle(&client, &pair, 1).await;
    let (answer, record) = ask(&client, &pair).await;
    assert!(record["healing"][0]["policy"].as_str().unwrap().starts_with("before@"), "{record}");
    assert!(answer.header("x-kairos-policy").starts_with("task@"));
    let metrics = metrics(&pair).await;
    for line in [
        &format!("kairos_policy_faults_total{{slot=\"healer\",kind=\"{kind}\"}} 3\n"),
        "kairos_policy_quarantined_total{slot=\"healer\"} 1\n",
        "kairos_policy_outdated{slot=\"healer\"} 1\n",
        "kairos_policy_quarantined_total{slot=\"router\"} 0\n",
        "kairos_policy_outdated{slot=\"router\"} 0\n",
    ] {
        assert!(metrics.contains(line), "{line}{metrics}");
    }
    // The very same file is not loaded again.
    pair.put(&format!("healer.{ending}"), &bytes);
    pair.gateway.wait_for_log("this very file was quarantined");
}

failing! {
    fails_and_gives_way:
    a_component_that_loops: "wasm", component("bad-healer-loop"), "deadline";
    a_component_that_panics: "wasm", component("bad-healer-panic"), "panic";
    a_component_that_switches_to_nowhere: "wasm", component("bad-healer-switch"), "invalid_answer";
    a_component_that_waits_for_weeks: "wasm", component("bad-healer-wait"), "invalid_answer";
    a_script_that_loops: "rhai", bad("loop { }"), "deadline";
    a_script_that_throws: "rhai", bad("throw \"no remedy is good enough\""), "error";
    a_script_that_switches_to_nowhere: "rhai", bad("switch_to(models.len, 1)"), "invalid_answer";
    a_script_that_goes_on_with_what_failed: "rhai", bad("switch_to(failure.attempt.model, 1)"), "invalid_answer";
    a_script_that_waits_for_too_long: "rhai", bad("retry(0, 0, 60001, 1)"), "invalid_answer";
    a_script_that_waits_backwards: "rhai", bad("retry(-1, 0, 0, 1)"), "error";
    a_script_that_wants_what_cannot_be: "rhai", bad("answer_locally(1)"), "invalid_answer";
    a_script_that_gives_up_with_what_was_not: "rhai", bad("give_up(1).with_failure_of(0)"), "invalid_answer";
    a_script_that_answers_something_else: "rhai", bad("\"try another\""), "error";
}

/// A healer that keeps state between calls is found out by repeating some of them.
#[tokio::test]
async fn a_healer_with_a_memory_is_found_out() {
    let pair = Pair::start();
    let client = Client::default();
    put(&pair, "rhai", named("before", "next(1)").as_bytes());
    put(&pair, "wasm", &component("bad-healer-state"));
    for served in 0.. {
        throttle(&client, &pair, 1).await;
        let (_, record) = ask(&client, &pair).await;
        let decided = record["healing"][0]["policy"].as_str().unwrap().split('@').next().unwrap().to_owned();
        if decided == "before" {
            break;
        }
        assert!(decided == "bad-healer-state" && served < 5_000, "{served}: {record}");
    }
    let line = pair.gateway.wait_for_log("quarantined");
    assert!(line.contains("impure") && line.contains("\"slot\":\"healer\""), "{line}");
}

/// What is worth a slot is staged, activated, rolled back, listed and audited there; an experiment is not.
#[tokio::test]
async fn a_healer_has_the_life_of_any_policy() {
    let mut pair = Setup { policy: Some(policy("task.rhai")), ..Setup::default() }.start();
    let client = Client::default();
    let (code, text) = said(&pair, &["policy", "list"]);
    assert!(code == 0 && text.contains("\nhealer\n  active    native-backoff@"), "{text}");
    std::fs::write(pair.folder().join("stays.rhai"), named("stays", "retry(0, 1, 1, 1)")).unwrap();
    // Its slot is found by what it judges, and then by its digest.
    let stage = |file: &str| -> String {
        let (code, text) = said(&pair, &["policy", "stage", file, "--json"]);
        assert_eq!(code, 0, "{text}");
        serde_json::from_str::<Value>(&text).unwrap()["digest"].as_str().unwrap().to_owned()
    };
    let digest = stage("stays.rhai");
    let (code, text) = said(&pair, &["policy", "list"]);
    let healers = text.split("\nhealer\n").nth(1).unwrap();
    assert!(code == 0 && healers.contains("staged    stays@"), "{text}");
    let (code, text) = said(&pair, &["policy", "activate", &digest[..12]]);
    assert_eq!(code, 0, "{text}");
    throttle(&client, &pair, 1).await;
    let (answer, record) = ask(&client, &pair).await;
    assert_eq!(answer.header("x-kairos-model"), NOVA, "{record}");
    for act in ["canary", "shadow"] {
        let (code, text) = said(&pair, &["policy", act, &digest[..12]]);
        assert!(code == 1 && text.contains("the slot `healer` has neither canary nor shadow"), "{code} {text}");
    }
    let (code, text) = said(&pair, &["policy", "show", &digest[..12]]);
    assert!(code == 0 && text.contains("rhai for healer, active") && text.contains("retry(0, 1, 1, 1)"), "{text}");
    // After a kill it serves on; what the router is does not matter.
    pair.gateway.kill();
    let folder = pair.folder().to_owned();
    pair.gateway = Setup::default().gateway(&pair.simulator.url, &folder);
    throttle(&client, &pair, 1).await;
    let (_, record) = ask(&client, &pair).await;
    assert!(record["healing"][0]["policy"].as_str().unwrap().starts_with("stays@"), "{record}");
    std::fs::write(pair.folder().join("other.rhai"), named("other", "next(1)")).unwrap();
    let (code, text) = said(&pair, &["policy", "stage", "other.rhai", "--json"]);
    assert_eq!(code, 0, "{text}");
    let other = serde_json::from_str::<Value>(&text).unwrap()["digest"].as_str().unwrap().to_owned();
    assert_eq!(said(&pair, &["policy", "activate", &other]).0, 0);
    let (code, text) = said(&pair, &["policy", "rollback", "healer"]);
    assert!(code == 0 && text.contains("stays@"), "{text}");
    let (code, text) = said(&pair, &["policy", "retire", &other]);
    assert_eq!(code, 0, "{text}");
    assert_eq!(said(&pair, &["audit", "--verify"]).0, 0);
    let (code, text) = said(&pair, &["audit"]);
    assert_eq!(code, 0, "{text}");
    for act in ["stage healer", "activate healer", "rollback healer", "retire healer"] {
        assert!(text.contains(act), "{act}: {text}");
    }
    assert!(text.contains("activate router") && !text.contains("rollback router"), "{text}");
}
