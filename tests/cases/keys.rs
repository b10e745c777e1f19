//! Who may call: without keys whoever is on this machine; with keys, whoever has one.

use std::process::Command;

use kairos_tests::http::{Client, chat, converse};
use kairos_tests::process::{Pair, Setup, kairos};
use kairos_tests::{policy, python, root};
use serde_json::json;

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
