//! Who may call: without keys whoever is on this machine; with keys, whoever has one.

use std::process::Command;

use kairos_tests::http::{Client, chat, converse};
use kairos_tests::process::{Pair, Setup, ended, kairos, metrics, on_data, said};
use kairos_tests::{policy, python, root};
use serde_json::{Value, json};

const KEYS: &str = r#"
[auth]
bearer_key = "a-key-of-enough-characters"
sigv4 = { access_key_id = "AKIAKAIROSTEST", secret_access_key = "a-secret-of-enough-characters" }
"#;

fn with_keys() -> Pair {
    Setup { config: KEYS, policy: Some(policy("task.rhai")), ..Setup::default() }.start()
}

#[tokio::test]
async fn a_configured_key_is_needed_and_a_bad_one_refused() {
    let pair = with_keys();
    let client = Client::default();
    let url = format!("{}/v1/chat/completions", pair.gateway.url);
    let body = chat("auto", "hello");
    let good = ("authorization", "Bearer a-key-of-enough-characters");
    assert_eq!(client.post(&url, &[good], &body).await.status, 200);
    assert_eq!(client.post(&url, &[("x-api-key", "a-key-of-enough-characters")], &body).await.status, 200);
    for bad in [
        vec![],
        vec![("authorization", "Bearer a-key-of-enough-character")],
        vec![("authorization", "Bearer ")],
        vec![("authorization", "Basic YTpi")],
        vec![("authorization", "AWS4-HMAC-SHA256 rubbish")],
    ] {
        let answer = client.post(&url, &bad, &body).await;
        assert_eq!(
            (answer.status.as_u16(), &answer.json()["error"]["code"]),
            (401, &json!("invalid_api_key")),
            "{bad:?}"
        );
    }
    let native = client.post(&format!("{}/model/auto/converse", pair.gateway.url), &[], &converse("x")).await;
    assert_eq!((native.status.as_u16(), native.header("x-amzn-errortype")), (403, "UnrecognizedClientException"));
    for (path, open) in
        [("/healthz", true), ("/readyz", true), ("/metrics", false), ("/v1/models", false), ("/v1/requests/x", false)]
    {
        let status = client.get(&format!("{}{path}", pair.gateway.url)).await.status;
        assert_eq!(status != 401, open, "{path}: {status}");
    }
    // Another Host is nothing unusual once there are keys.
    assert_eq!(client.post(&url, &[good, ("host", "gateway.example")], &body).await.status, 200);
}

/// Who has no key is not listened to: the body is neither read nor waited for.
#[tokio::test]
async fn a_body_of_a_stranger_is_not_read() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let pair = with_keys();
    for who in [
        "Bearer wrong",
        "AWS4-HMAC-SHA256 Credential=AKIAWRONG/20261123/us-east-1/bedrock/aws4_request, SignedHeaders=host, Signature=00",
    ] {
        let mut socket = tokio::net::TcpStream::connect(pair.gateway.address()).await.unwrap();
        let head = format!(
            "POST /model/auto/converse HTTP/1.1\r\nhost: x\r\nauthorization: {who}\r\ncontent-length: 20000000\r\n\r\n"
        );
        socket.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    }
}

#[test]
fn boto3_signs_for_the_gateway() {
    let pair = with_keys();
    let output =
        Command::new(python()).arg(root().join("tests/clients/signatures.py")).arg(&pair.gateway.url).output().unwrap();
    let said = [&output.stdout[..], &output.stderr].map(String::from_utf8_lossy).concat();
    assert!(output.status.success(), "{said}");
}

#[tokio::test]
async fn without_keys_only_this_machine_is_served() {
    let pair = Pair::start();
    let client = Client::default();
    let url = format!("{}/v1/chat/completions", pair.gateway.url);
    let body = chat("auto", "hello");
    for (headers, status) in [
        (vec![], 200),
        (vec![("authorization", "Bearer anything")], 200),
        (vec![("authorization", "AWS4-HMAC-SHA256 whatever")], 200),
        (vec![("origin", "http://localhost:3000")], 200),
        (vec![("origin", "https://evil.example")], 403),
        (vec![("host", "evil.example")], 403),
    ] {
        let answer = client.post(&url, &headers, &body).await;
        assert_eq!(answer.status, status, "{headers:?}: {}", answer.text());
    }
}

#[test]
fn a_public_address_without_keys_is_refused_with_what_to_do() {
    let output = kairos().args(["serve", "--listen", "0.0.0.0:0"]).env("AWS_REGION", "us-east-1").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("no key is configured") && said.contains("bearer_key"), "{said}");
}

/// Makes a key with the command line; gives what it said.
fn create(pair: &Pair, arguments: &[&str]) -> Value {
    let output = on_data(pair, &[&["key", "create"], arguments, &["--json"]].concat());
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn bearer(made: &Value) -> String {
    format!("Bearer {}", made["key"].as_str().unwrap())
}

/// Asks a model with a key: status, and code or model.
async fn ask(pair: &Pair, key: &str, model: &str, more: &[(&str, &str)]) -> (u16, String) {
    let headers = [&[("authorization", key)], more].concat();
    let url = format!("{}/v1/chat/completions", pair.gateway.url);
    let answer = Client::default().post(&url, &headers, &chat(model, "hello")).await;
    let body = answer.json();
    let what = body["error"]["code"].as_str().or(body["model"].as_str()).unwrap_or_default().to_owned();
    (answer.status.as_u16(), what)
}

#[tokio::test]
async fn a_key_is_made_used_rotated_and_revoked() {
    let pair = Setup { policy: Some(policy("task.rhai")), ..Setup::default() }.start();
    assert_eq!(ask(&pair, "Bearer none", "nova-lite", &[]).await.0, 200);
    let made = create(&pair, &["search", "--expires", "90d", "--why", "a trial"]);
    assert_eq!((&made["is_first"], &made["is"]["state"]), (&json!(true), &json!("active")));
    let old = bearer(&made);
    // Once there is a key, everybody needs one.
    assert_eq!(ask(&pair, "Bearer none", "nova-lite", &[]).await, (401, "invalid_api_key".to_owned()));
    assert_eq!(ask(&pair, &old, "nova-lite", &[]).await, (200, "amazon.nova-lite-v1:0".to_owned()));
    // boto3, with the pair that came with it; the model's ledger row is the key's.
    let pair_of =
        |made: &Value| ["access_key_id", "secret_access_key"].map(|name| made[name].as_str().unwrap().to_owned());
    let signs = |[id, secret]: [String; 2]| {
        let script = root().join("tests/clients/signatures.py");
        ended(&Command::new(python()).arg(script).args([&pair.gateway.url, &id, &secret]).output().unwrap())
    };
    let (code, told) = signs(pair_of(&made));
    assert_eq!(code, 0, "{told}");
    let rotated: Value = {
        let output = on_data(&pair, &["key", "rotate", "search", "--overlap", "1h", "--json"]);
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let new = bearer(&rotated);
    let (_, listed) = said(&pair, &["key", "list"]);
    assert!(listed.contains(", its secret 1 until 20"), "{listed}");
    // The scheme's name has no case.
    for key in [&old, &new, &new.replace("Bearer", "bearer")] {
        assert_eq!(ask(&pair, key, "nova-lite", &[]).await.0, 200);
    }
    assert_ne!(pair_of(&made), pair_of(&rotated));
    let (code, told) = said(&pair, &["key", "rotate", "search", "--overlap", "0s"]);
    assert_eq!(code, 0, "{told}");
    assert_eq!(ask(&pair, &new, "nova-lite", &[]).await, (401, "invalid_api_key".to_owned()));
    let (_, listed) = said(&pair, &["key", "list"]);
    assert!(listed.starts_with("search  active  kairos_") && listed.contains("all models, all dialects"), "{listed}");
    assert_eq!(said(&pair, &["key", "revoke", "search"]).0, 0);
    let (code, told) = said(&pair, &["key", "revoke", "search"]);
    assert!(code == 1 && told.contains("was revoked"), "{code} {told}");
    let (code, told) = said(&pair, &["key", "create", "search"]);
    assert!(code == 1 && told.contains("take another"), "{code} {told}");
    // Nobody is let in once all are revoked; who did what is told.
    assert_eq!(ask(&pair, "Bearer none", "nova-lite", &[]).await.0, 401);
    let (_, acts) = said(&pair, &["audit"]);
    for act in ["create keys: a trial\n    search", "rotate keys", "revoke keys"] {
        assert!(acts.contains(act), "{acts}");
    }
    let secrets = [&made, &rotated].map(|made| made["key"].as_str().unwrap().to_owned());
    let kept = std::fs::read(pair.folder().join("data/policies.sqlite")).unwrap();
    let log = pair.gateway.log_so_far().join("\n");
    for secret in secrets {
        assert!(!log.contains(&secret) && !acts.contains(&secret));
        assert!(!kept.windows(secret.len()).any(|window| window == secret.as_bytes()));
    }
}

#[tokio::test]
async fn a_key_opens_what_its_scope_says() {
    let pair = Setup { policy: Some(policy("task.rhai")), ..Setup::default() }.start();
    let narrow = ["narrow", "--models", "nova-micro,nova-lite", "--dialects", "openai,kairos", "--fallback", "never"];
    let narrow = create(&pair, &[&narrow[..], &["--tag", "team=search"]].concat());
    let (wide, narrow) = (bearer(&create(&pair, &["wide", "--fallback", "any"])), bearer(&narrow));
    let forbidden = || (403, "forbidden".to_owned());
    assert_eq!(ask(&pair, &narrow, "nova-micro", &[]).await, (200, "amazon.nova-micro-v1:0".to_owned()));
    assert_eq!(ask(&pair, &narrow, "claude-sonnet-4-6", &[]).await, forbidden());
    assert_eq!(ask(&pair, &narrow, "nova-lite", &[("x-kairos-fallback", "any")]).await, forbidden());
    // `auto` offers what the key may use, and nothing else.
    let client = Client::default();
    let url = format!("{}/v1/chat/completions", pair.gateway.url);
    let offered = async |key: &str, model: &str| {
        let answer = client.post(&url, &[("authorization", key)], &chat(model, "hello")).await;
        let record = format!("{}/v1/requests/{}", pair.gateway.url, answer.header("x-kairos-request-id"));
        let record = client.send("GET", &record, &[("authorization", key)], "").await.json();
        (record["decision"]["offered"].as_array().unwrap().len(), record["key"].as_str().unwrap().to_owned())
    };
    assert_eq!(offered(&narrow, "auto").await, (2, "narrow".to_owned()));
    assert!(offered(&wide, "auto").await.0 > 2);
    // The key allows others where one is named, so that the policy is offered them.
    assert!(offered(&wide, "nova-lite").await.0 > 2);
    // A tag of the key's is not the caller's to say.
    assert_eq!(ask(&pair, &narrow, "nova-lite", &[("x-kairos-tags", "team=search")]).await.0, 200);
    let (status, code) = ask(&pair, &narrow, "nova-lite", &[("x-kairos-tags", "team=other")]).await;
    assert_eq!((status, code.as_str()), (400, "invalid_value"));
    let native = format!("{}/model/nova-lite/converse", pair.gateway.url);
    let native = client.post(&native, &[("authorization", &narrow)], &converse("x")).await;
    assert_eq!((native.status.as_u16(), native.header("x-amzn-errortype")), (403, "AccessDeniedException"));
    let models =
        client.send("GET", &format!("{}/v1/models", pair.gateway.url), &[("authorization", &narrow)], "").await;
    let models: Vec<_> = models.json()["data"].as_array().unwrap().iter().map(|model| model["id"].clone()).collect();
    assert_eq!(models, ["auto", "amazon.nova-lite-v1:0", "amazon.nova-micro-v1:0"]);
    for wrong in [
        vec!["key", "create", "x", "--models", "nova-lte"],
        vec!["key", "create", "x", "--dialects", "mcp"],
        vec!["key", "create", "x", "--tag", "team"],
        vec!["key", "create", "X"],
    ] {
        assert_eq!(said(&pair, &wrong).0, 2, "{wrong:?}");
    }
    let (_, told) = said(&pair, &["key", "create", "x", "--models", "nova-lte"]);
    assert!(
        told.contains("no model that can be called answers for \"nova-lte\"; did you mean \"nova-lite\"?"),
        "{told}"
    );
}

#[tokio::test]
async fn what_is_of_all_is_not_a_teams_to_see() {
    let config = "[auth]\nrequire_key = true\n";
    let pair = Setup { config, policy: Some(policy("task.rhai")), ..Setup::default() }.start();
    assert_eq!(ask(&pair, "Bearer none", "nova-lite", &[]).await.0, 401, "no key is there, and one is required");
    let (one, other) = (bearer(&create(&pair, &["one"])), bearer(&create(&pair, &["other"])));
    let (client, url) = (Client::default(), &pair.gateway.url);
    let chat_url = format!("{url}/v1/chat/completions");
    let answer = client.post(&chat_url, &[("authorization", &one)], &chat("nova-lite", "hello")).await;
    let id = answer.header("x-kairos-request-id").to_owned();
    let token = std::fs::read_to_string(pair.folder().join("data/admin-token")).unwrap();
    let admin = format!("Bearer {}", token.trim());
    let get = async |path: &str, key: &str| {
        client.send("GET", &format!("{url}{path}"), &[("authorization", key)], "").await.status.as_u16()
    };
    let record = format!("/v1/requests/{id}");
    assert_eq!((get(&record, &one).await, get(&record, &other).await), (200, 404));
    for path in ["/metrics", "/admin/v1/policies", "/admin/v1/keys", "/admin/v1/audit"] {
        assert_eq!((get(path, &one).await, get(path, "").await, get(path, &admin).await), (403, 401, 200), "{path}");
    }
    let make = client.post(&format!("{url}/admin/v1/keys"), &[("authorization", &one)], &json!({"name": "x"})).await;
    assert_eq!(make.status, 401);
    let listed = client.send("GET", &format!("{url}/metrics"), &[("authorization", &admin)], "").await.text();
    assert!(listed.contains("kairos_bound_used{bound=\"auth.keys\"} 2"));
    assert!(!metrics(&pair).await.contains("kairos_bound"));
}
