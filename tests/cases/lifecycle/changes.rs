//! Changes over HTTP: who may make them, what they look like, and that no request notices them.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kairos_tests::http::{Answer, Client, chat};
use kairos_tests::process::{Pair, Server, Setup, binary, kairos};
use serde_json::{Value, json};

use super::{named, token, variant};

async fn put(pair: &Pair, client: &Client, token: &str, body: &Value) -> Answer {
    let url = format!("{}/admin/v1/policies/router/versions", pair.gateway.url);
    let bearer = format!("Bearer {token}");
    client.send("PUT", &url, &[("authorization", &bearer)], body.to_string()).await
}

async fn post(pair: &Pair, client: &Client, token: &str, act: &str, body: &Value) -> Answer {
    let url = format!("{}/admin/v1/policies/router/{act}", pair.gateway.url);
    client.post(&url, &[("authorization", &format!("Bearer {token}"))], body).await
}

#[tokio::test]
async fn every_change_needs_the_token_and_reading_does_not() {
    let pair = Setup::default().start();
    let client = Client::default();
    let data = pair.folder().join("data");
    let token = token(&data);
    assert_eq!(token.len(), 64);
    assert_eq!(data.join("admin-token").metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let body = json!({"file": "x.rhai", "text": named("x")});
    let mut said = Vec::new();
    let wrong = [String::new(), token[..63].to_owned(), format!("{token}0"), token.to_uppercase() + "x"];
    for wrong in &wrong {
        said.push(put(&pair, &client, wrong, &body).await);
        for act in ["activate", "rollback", "retire"] {
            said.push(post(&pair, &client, wrong, act, &json!({"digest": "abcdef"})).await);
        }
    }
    let url = format!("{}/admin/v1/policies/router/rollback", pair.gateway.url);
    said.push(client.post(&url, &[], &json!({})).await);
    assert!(said.iter().all(|answer| answer.status == 401 && answer.body == said[0].body), "{said:?}");
    // Nor from a page of another origin, with the token.
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", bearer.as_str()), ("origin", "https://evil.example")];
    assert_eq!(client.post(&url, &headers, &json!({})).await.status, 403);
    for path in ["policies", "policies/router", "audit"] {
        let answer = client.get(&format!("{}/admin/v1/{path}", pair.gateway.url)).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        assert!(!answer.text().contains(&token));
    }
    assert_eq!(client.get(&format!("{}/admin/v1/audit", pair.gateway.url)).await.json()["acts"], json!([]));
    assert_eq!(put(&pair, &client, &token, &body).await.status, 200);
    assert!(pair.gateway.log_so_far().iter().all(|line| !line.contains(&token)));
}

/// A token that others can read is no secret: the gateway does not start with it, and the doctor says so.
#[test]
fn a_token_that_others_can_read_is_refused() {
    let setup = Setup::default();
    let mut pair = setup.start();
    pair.gateway.kill();
    let data = pair.folder().join("data");
    let file = data.join("admin-token");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let refused = Server::try_start(&mut setup.command(&binary(), &pair.simulator.url, pair.folder())).err().unwrap();
    assert!(refused.contains("others than its owner can read the admin token: chmod 600 it"), "{refused}");
    let doctor =
        kairos().args(["doctor", "--offline", "--data"]).arg(&data).env("AWS_REGION", "us-east-1").output().unwrap();
    let said = String::from_utf8_lossy(&doctor.stdout);
    assert!(said.contains("problem  admin token: ") && said.contains("chmod 600 it"), "{said}");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let folder = pair.folder().to_owned();
    pair.gateway = setup.gateway(&pair.simulator.url, &folder);
}

/// With keys, reading needs one, or the token; a key changes nothing. A token that is given is not in
/// a file.
#[tokio::test]
async fn with_keys_reading_needs_one_and_a_key_changes_nothing() {
    let config = "[auth]\nbearer_key = \"a-key-of-enough-characters\"\n";
    let environment = [("KAIROS_ADMIN_TOKEN", "a-token-of-enough-characters")];
    let pair = Setup { config, environment: &environment, ..Setup::default() }.start();
    assert!(!pair.folder().join("data/admin-token").exists());
    let client = Client::default();
    let url = format!("{}/admin/v1/policies", pair.gateway.url);
    for (given, status) in [("", 401), ("a-key-of-enough-characters", 200), ("a-token-of-enough-characters", 200)] {
        let answer = client.send("GET", &url, &[("authorization", &format!("Bearer {given}"))], "").await;
        assert_eq!(answer.status, status, "{given}");
    }
    let body = json!({"file": "x.rhai", "text": named("x")});
    assert_eq!(put(&pair, &client, "a-key-of-enough-characters", &body).await.status, 401);
    assert_eq!(put(&pair, &client, "a-token-of-enough-characters", &body).await.status, 200);
}

#[tokio::test]
async fn what_is_wrong_with_a_change_is_said_and_changes_nothing() {
    let config = "[policies]\ncomponent_bytes = 300000\nscript_bytes = 1000\ntest_bytes = 1000\n";
    let pair = Setup { config, ..Setup::default() }.start();
    let client = Client::default();
    let token = token(&pair.folder().join("data"));
    let script = named("x");
    let text = script.as_str();
    for (body, status, code, says) in [
        (json!({"file": "x.rhai"}), 400, "malformed", "one of the two"),
        (json!({"file": "x.rhai", "text": text, "bytes": "AAAA"}), 400, "malformed", "one of the two"),
        (json!({"file": "x.rhai", "bytes": "***"}), 400, "malformed", "not base64"),
        (json!({"file": "../x.rhai", "text": text}), 400, "malformed", "a file's name"),
        (json!({"file": "x.rhai", "text": text, "tets": ""}), 400, "malformed", "unknown field `tets`"),
        (json!({"file": "x.cwasm", "text": text}), 422, "policy_refused", "compiled code is not accepted"),
        (json!({"file": "x.rhai", "text": "x".repeat(1_001)}), 422, "policy_refused", "more than 1000 bytes"),
        (json!({"file": "x.rhai", "text": text, "tests": "x".repeat(1_001)}), 422, "policy_refused", "tests have more"),
        (json!({"file": "x.rhai", "text": text, "tests": "[[test]]"}), 422, "policy_refused", "a test needs a `name`"),
        (json!({"file": "x.wasm", "bytes": "AAAA"}), 422, "policy_refused", ""),
        (
            json!({"file": "x.rhai", "text": "fn route(ctx, features, models) { ctx.prompt }"}),
            422,
            "policy_refused",
            "content",
        ),
    ] {
        let answer = put(&pair, &client, &token, &body).await;
        let error = answer.json()["error"].clone();
        assert_eq!((answer.status.as_u16(), &error["code"]), (status, &json!(code)), "{body}: {error}");
        assert!(error["message"].as_str().unwrap().contains(says), "{body}: {error}");
        assert!(status == 400 || error["reason"].is_string(), "{error}");
    }
    let answer = put(
        &pair,
        &client,
        &token,
        &json!({"file": "x.rhai", "text": "fn route(ctx, features, models) {\n  plan([0], 1\n}"}),
    )
    .await;
    let error = &answer.json()["error"];
    assert_eq!((&error["file"], &error["line"], &error["column"]), (&json!("x.rhai"), &json!(3), &json!(1)));
    assert!(error["hint"].is_string(), "{error}");
    // More than any policy may have is not even read.
    let answer = put(&pair, &client, &token, &json!({"file": "x.wasm", "bytes": "A".repeat(1_000_000)})).await;
    assert_eq!(answer.status, 413);
    let url = format!("{}/admin/v1/policies/rooter/rollback", pair.gateway.url);
    let answer = client.post(&url, &[("authorization", &format!("Bearer {token}"))], &json!({})).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["error"]["code"]), (404, &json!("unknown_slot")));
    let list = client.get(&format!("{}/admin/v1/policies", pair.gateway.url)).await.json();
    assert_eq!(list["slots"][0]["versions"], json!([]));
    let acts = client.get(&format!("{}/admin/v1/audit", pair.gateway.url)).await.json();
    let refused = acts["acts"].as_array().unwrap();
    assert!(
        refused.len() == 7 && refused.iter().all(|act| act["act"] == "refuse" && act["detail"].is_string()),
        "{acts}"
    );
}

/// Requests that come in all the while are answered, each by one whole version.
#[tokio::test(flavor = "multi_thread")]
async fn no_request_notices_a_change() {
    const ROUNDS: usize = 40;
    // A busy machine is no matter of the change.
    let pair = Setup { config: "[policies]\ndeadline_ms = 2000\n", ..Setup::default() }.start();
    let client = Client::default();
    let token = token(&pair.folder().join("data"));
    let stop = Arc::new(AtomicBool::new(false));
    let callers = (0..4).map(|_| {
        let (client, stop) = (Client::default(), Arc::clone(&stop));
        let url = format!("{}/v1/chat/completions", pair.gateway.url);
        tokio::spawn(async move {
            let mut by = std::collections::BTreeSet::new();
            let mut calls = 0;
            while !stop.load(Ordering::Relaxed) {
                let answer = client.post(&url, &[], &chat("auto", "hello")).await;
                assert_eq!(answer.status, 200, "{}", answer.text());
                assert_eq!(answer.header("x-kairos-warnings"), "");
                by.insert(answer.header("x-kairos-policy").to_owned());
                calls += 1;
            }
            (by, calls)
        })
    });
    let callers: Vec<_> = callers.collect();
    let mut known = std::collections::BTreeSet::new();
    for round in 0..ROUNDS {
        let text = String::from_utf8(variant(round)).unwrap();
        let staged = put(&pair, &client, &token, &json!({"file": "v.rhai", "text": text})).await.json();
        known.insert(staged["policy"].as_str().unwrap().to_owned());
        let act = post(&pair, &client, &token, "activate", &json!({"digest": staged["digest"]})).await.json();
        assert_eq!(act["serves"], staged["policy"], "{act}");
        if round > 0 {
            let back = post(&pair, &client, &token, "rollback", &json!({})).await.json();
            assert!(back["serves"] != staged["policy"] && known.contains(back["serves"].as_str().unwrap()), "{back}");
            let again = post(&pair, &client, &token, "activate", &json!({"digest": staged["digest"]})).await;
            assert_eq!(again.status, 200, "{}", again.text());
        }
    }
    stop.store(true, Ordering::Relaxed);
    let mut calls = 0;
    for caller in callers {
        let (by, made) = caller.await.unwrap();
        assert!(by.iter().all(|policy| known.contains(policy) || policy.starts_with("native-task@")), "{by:?}");
        calls += made;
    }
    println!("{calls} calls through {ROUNDS} rounds of changes");
    assert!(calls > ROUNDS, "{calls}");
}
