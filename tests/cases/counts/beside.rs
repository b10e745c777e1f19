//! Requests while a shadow and a canary are there, and while versions change: none fails, and each is
//! decided by one whole version, in the arm that its record names.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use kairos_tests::http::{Client, chat};
use kairos_tests::process::{Pair, Setup};
use kairos_tests::{another, count, guest, scaled};
use serde_json::{Value, json};

/// Version `number`: it calls itself so, its reason is its number, and it takes the first model, so that none is
/// worse than another.
fn script(number: usize) -> String {
    format!("fn describe() {{ #{{ name: \"v{number}\" }} }}\nfn route(ctx, features, models) {{ plan([0], {number}) }}")
}

async fn change(pair: &Pair, token: &str, what: &str, body: &Value) -> Value {
    let (url, bearer) = (format!("{}/admin/v1/policies/router/{what}", pair.gateway.url), format!("Bearer {token}"));
    let method = if what == "versions" { "PUT" } else { "POST" };
    let answer = Client::default().send(method, &url, &[("authorization", &bearer)], body.to_string()).await;
    assert_eq!(answer.status, 200, "{what} {body}: {}", answer.text());
    answer.json()
}

async fn stage(pair: &Pair, token: &str, number: usize) -> Value {
    change(pair, token, "versions", &json!({"file": "v.rhai", "text": script(number)})).await["digest"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_fails_or_mixes_versions_beside_a_shadow_and_a_canary() {
    let asked = count("requests beside a shadow and a canary", 50_000);
    let (requests, rounds) = (asked.times(), scaled(400));
    // Nothing is to be found out about equal versions: that would end the canary.
    let config = "[policies]\ndeadline_ms = 2000\n[policies.canary]\nshare = 0.5\nlearned = 100000\nerrors = 0.5\n";
    let pair = Setup { config, ..Setup::default() }.start();
    let token = std::fs::read_to_string(pair.folder().join("data/admin-token")).unwrap().trim().to_owned();
    let component = another("wasm", &std::fs::read(guest("fixed-second")).unwrap(), 0);
    let encoded = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, component);
    let shadow = change(&pair, &token, "versions", &json!({"file": "shadow.wasm", "bytes": encoded})).await;
    change(&pair, &token, "shadow", &json!({"digest": shadow["digest"], "sample": 1.0})).await;
    let first = stage(&pair, &token, 1).await;
    change(&pair, &token, "activate", &json!({"digest": first})).await;

    let (done, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let callers: Vec<_> = (0..32)
        .map(|_| {
            let (url, done, stop) = (pair.gateway.url.clone(), Arc::clone(&done), Arc::clone(&stop));
            tokio::spawn(async move {
                let (client, mut arms) = (Client::default(), [0usize; 3]);
                while done.fetch_add(1, Ordering::Relaxed) < requests || !stop.load(Ordering::Relaxed) {
                    let answer = client.post(&format!("{url}/v1/chat/completions"), &[], &chat("auto", "hello")).await;
                    assert_eq!(
                        (answer.status.as_u16(), answer.header("x-kairos-warnings")),
                        (200, ""),
                        "{}",
                        answer.text()
                    );
                    let policy = answer.header("x-kairos-policy").to_owned();
                    assert!(!policy.starts_with("fixed-second"), "the shadow decided");
                    let record = format!("{url}/v1/requests/{}", answer.header("x-kairos-request-id"));
                    let decision = client.get(&record).await.json()["decision"].clone();
                    assert_eq!(decision["policy"], policy.as_str());
                    // Name and reason are one version's.
                    assert!(policy.starts_with(&format!("v{}@", decision["reason"])), "{decision}");
                    match decision["experiment"]["arm"].as_str() {
                        None => arms[0] += 1,
                        Some("baseline") => arms[1] += 1,
                        Some(_) => arms[2] += 1,
                    }
                }
                arms
            })
        })
        .collect();
    for round in 2..2 + rounds {
        let digest = stage(&pair, &token, round).await;
        change(&pair, &token, "canary", &json!({"digest": digest})).await;
        // Half of them end by hand, the others by serving everything.
        let (what, body) =
            if round % 2 == 0 { ("rollback", json!({})) } else { ("activate", json!({"digest": digest})) };
        change(&pair, &token, what, &body).await;
    }
    let last = stage(&pair, &token, 2 + rounds).await;
    change(&pair, &token, "canary", &json!({"digest": last})).await;
    stop.store(true, Ordering::Relaxed);
    let mut arms = [0; 3];
    for caller in callers {
        for (sum, more) in arms.iter_mut().zip(caller.await.unwrap()) {
            *sum += more;
        }
    }
    let slot = Client::default().get(&format!("{}/admin/v1/policies/router", pair.gateway.url)).await.json();
    let compared = &slot["shadow"]["compared"];
    assert!(compared["differed"].as_u64().unwrap() > 0 && compared["failed"] == 0, "{compared}");
    assert_eq!((&slot["quarantined"], &slot["experiments"][0]["id"]), (&json!([]), &json!(rounds + 1)));
    let served: usize = arms.iter().sum();
    assert!(served >= requests && arms[2] > 0, "{arms:?}");
    asked.passed(&format!("{served} with a shadow, {} in canaries, {rounds} changes, 0 failed, 0 mixed", arms[2]));
}
