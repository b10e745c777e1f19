//! Long counts: a tenth here, all of it under `cargo xtask prove`, which runs the modules of this name.

mod beside;
mod budgets;
mod calls;
mod crashes;
mod fuzz;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use kairos_tests::http::{Client, chat};
use kairos_tests::process::{Pair, Setup};
use kairos_tests::{another, count, guest, policy, scaled};
use serde_json::Value;

/// A policy that always decides in one way, as a file that no other is equal to.
struct Variant {
    ending: &'static str,
    bytes: Vec<u8>,
}

/// What each policy decides: the model, and the reason.
const FIRST: (&str, u64) = ("amazon.nova-lite-v1:0", 71);
const SECOND: (&str, u64) = ("us.anthropic.claude-sonnet-4-6", 72);
const SCRIPT_FIRST: (&str, u64) = ("amazon.nova-lite-v1:0", 81);
const SCRIPT_SECOND: (&str, u64) = ("us.anthropic.claude-sonnet-4-6", 82);

fn variant(number: usize) -> (Variant, (&'static str, u64)) {
    let script = |model: usize, reason: u64| Variant {
        ending: "rhai",
        bytes: format!(
            "// {number}\nfn route(ctx, features, models) {{ plan([min({model}, models.len - 1)], {reason}) }}"
        )
        .into_bytes(),
    };
    let component =
        |name: &str| Variant { ending: "wasm", bytes: another("wasm", &std::fs::read(guest(name)).unwrap(), number) };
    match number % 4 {
        0 => (script(0, SCRIPT_FIRST.1), SCRIPT_FIRST),
        1 => (component("fixed-second"), SECOND),
        2 => (script(1, SCRIPT_SECOND.1), SCRIPT_SECOND),
        _ => (component("fixed-first"), FIRST),
    }
}

fn digest(bytes: &[u8]) -> String {
    let mut child = std::process::Command::new("sha256sum")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), bytes).unwrap();
    let output = child.wait_with_output().unwrap();
    String::from_utf8_lossy(&output.stdout).split(' ').next().unwrap().to_owned()
}

/// Requests at concurrency 64 while the policy is replaced: none fails, none mixes two policies.
#[tokio::test(flavor = "multi_thread")]
async fn no_request_fails_or_mixes_policies_while_they_are_swapped() {
    let asked = count("requests while policies are swapped", 100_000);
    let (requests, swaps) = (asked.times(), scaled(400));
    // The first policy is part of the count, so that every request meets a known one.
    let variants: Vec<_> = (0..swaps).map(variant).collect();
    let expected: HashMap<String, (&str, u64)> =
        variants.iter().map(|(variant, decides)| (digest(&variant.bytes), *decides)).collect();
    // A busy machine is no fault of a policy.
    let config = "[policies]\ndeadline_ms = 2000\n";
    let setup = Setup { config, policy: Some(policy("task.rhai")), ..Setup::default() };
    let pair = setup.start();
    pair.put_policy(variants[0].0.ending, &variants[0].0.bytes);
    pair.gateway.wait_for_log("a policy serves");

    let done = Arc::new(AtomicUsize::new(0));
    let swapped = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..64)
        .map(|_| {
            let (url, done, swapped) = (pair.gateway.url.clone(), Arc::clone(&done), Arc::clone(&swapped));
            tokio::spawn(async move {
                let client = Client::default();
                let mut answers = Vec::new();
                // Go on until both counts are full: swaps under load are what is tested.
                while done.fetch_add(1, Ordering::Relaxed) < requests || !swapped.load(Ordering::Relaxed) {
                    let answer = client.post(&format!("{url}/v1/chat/completions"), &[], &chat("auto", "hello")).await;
                    assert_eq!(answer.status, 200, "{}", answer.text());
                    let model = answer.json()["model"].as_str().unwrap().to_owned();
                    let policy = answer.header("x-kairos-policy").rsplit('@').next().unwrap().to_owned();
                    assert_eq!(answer.header("x-kairos-model"), model);
                    let id = answer.header("x-kairos-request-id").to_owned();
                    // At once: the gateway keeps the records of the last requests only.
                    let record = if answers.len() % 16 == 0 {
                        client.get(&format!("{url}/v1/requests/{id}")).await.json()
                    } else {
                        Value::Null
                    };
                    answers.push((policy, model, id, record));
                }
                answers
            })
        })
        .collect();
    let swapping = tokio::task::spawn_blocking({
        let swapped = Arc::clone(&swapped);
        move || swap_all(pair, &variants, &swapped)
    });
    let mut met = HashMap::new();
    for client in clients {
        for (policy, model, id, record) in client.await.unwrap() {
            let (expected_model, reason) =
                expected.get(&policy).unwrap_or_else(|| panic!("an unknown policy decided: {policy}"));
            assert_eq!(model, *expected_model, "request {id} of policy {policy}");
            *met.entry(policy).or_insert(0usize) += 1;
            // What the record says, it says of the same policy.
            if !record.is_null() {
                assert_eq!(record["decision"]["reason"], *reason, "{record}");
                assert!(record["decision"]["instead_of"].is_null(), "{record}");
            }
        }
    }
    let pair = swapping.await.unwrap();
    let metrics = Client::default().get(&format!("{}/metrics", pair.gateway.url)).await.text();
    let faults: Vec<_> = metrics.lines().filter(|line| line.starts_with("kairos_policy_faults_total{")).collect();
    assert!(!faults.is_empty() && faults.iter().all(|line| line.ends_with(" 0")), "{faults:?}");
    let served: usize = met.values().sum();
    assert!(served >= requests);
    assert!(met.len() > swaps / 2, "only {} of {swaps} policies were met by a request", met.len());
    asked.passed(&format!("{served} at concurrency 64, {swaps} swaps, {} policies met, 0 failed, 0 mixed", met.len()));
}

/// Puts every variant in place, each once the one before it serves.
fn swap_all(pair: Pair, variants: &[(Variant, (&'static str, u64))], swapped: &AtomicBool) -> Pair {
    for (variant, _) in &variants[1..] {
        pair.put_policy(variant.ending, &variant.bytes);
        pair.gateway.wait_for_log("a policy serves");
    }
    swapped.store(true, Ordering::Relaxed);
    pair
}
