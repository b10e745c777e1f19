//! Rubbish, excess and bad manners.

use http::{Method, Request};
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use kairos_simulator::{Config, DEFAULT_API_KEY};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::client::{NOVA, Running, SONNET, TODAY, converse};

async fn raw(running: &Running, bytes: &[u8]) -> String {
    let address = running.base.trim_start_matches("http://");
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(bytes).await.unwrap();
    socket.shutdown().await.unwrap();
    let mut answer = Vec::new();
    // A reset is as good an answer to rubbish as any.
    let _ = socket.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn rubbish_does_no_harm() {
    let running = Running::today().await;
    let many_headers = format!("GET / HTTP/1.1\r\nhost: x\r\n{}\r\n", "a: b\r\n".repeat(1_000));
    let long_header = format!("GET / HTTP/1.1\r\nhost: x\r\na: {}\r\n\r\n", "b".repeat(200_000));
    let long_path = format!("POST /model/{}/converse HTTP/1.1\r\nhost: x\r\n\r\n", "a".repeat(5_000));
    for bytes in [
        &b""[..],
        b"\0\0\0\0",
        b"GET",
        b"GET / HTTP/9.9\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nrubbish that is no frame at all",
        b"POST /model/%ff%fe/converse HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}",
        b"POST /model/a/converse HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999999999999\r\n\r\n",
        b"POST /model/a/converse HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        many_headers.as_bytes(),
        long_header.as_bytes(),
        long_path.as_bytes(),
    ] {
        let answer = raw(&running, bytes).await;
        assert!(!answer.starts_with("HTTP/1.1 2") && !answer.starts_with("HTTP/1.1 5"), "{answer}");
    }
    assert_eq!(running.get("/healthz").await.status, 200);
}

#[tokio::test]
async fn bodies_have_a_limit() {
    let running = Running::today().await;
    let most = 25_000_000;
    // Declared: refused before a byte of it is read.
    let head = format!("POST /model/{NOVA}/converse HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", most + 1);
    let answer = raw(&running, head.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert!(answer.contains("x-amzn-errortype: ValidationException"), "{answer}");

    let mut body = converse("hi").to_string();
    body.push_str(&" ".repeat(most - body.len()));
    let request = running.request(NOVA, "converse", body, &[]);
    assert_eq!(running.send(request).await.unwrap().status, 200, "exactly the limit is fine");
}

#[tokio::test]
async fn deep_and_wide_json_is_survived() {
    let running = Running::today().await;
    let deep = format!(
        "{{\"messages\": [{{\"role\": \"user\", \"content\": [{{\"text\": \"hi\"}}]}}], \"x\": {}",
        "[".repeat(500_000)
    );
    let answer = running.send(running.request(NOVA, "converse", deep, &[])).await.unwrap();
    assert_eq!(answer.error().1, "SerializationException");

    let schema = json!({"json": {"type": "object", "properties": (0..3_000)
        .map(|n| (format!("p{n}"), json!({"type": "array", "minItems": 500, "items": {"type": "string"}})))
        .collect::<serde_json::Map<_, _>>()}});
    let mut wide = converse("call f");
    wide["toolConfig"] = json!({"tools": [{"toolSpec": {"name": "f", "inputSchema": schema}}]});
    let answer = running.call(SONNET, "converse", &wide).await;
    assert_eq!((answer.status, &answer.json()["stopReason"]), (200, &json!("tool_use")));
}

#[tokio::test]
async fn signatures_are_checked_by_the_server_too() {
    // A request of boto3's, replayed: its signature lapsed long before any clock that runs here, or
    // lies in the future; either way it is not let in.
    let running = Running::start(Config::new(TODAY)).await;
    let mut config = Config::new(TODAY);
    config.clock = kairos_simulator::Clock::fixed("2026-11-23T01:34:36Z".parse().unwrap());
    let then = Running::start(config).await;
    let request = include_bytes!("../fixtures/requests/converse_min.http");
    let answer = raw(&then, request).await;
    // Let in, and then asked what model that is supposed to be.
    assert!(answer.contains("The provided model identifier is invalid."), "{answer}");
    let text = String::from_utf8_lossy(request).replace("\"hi\"", "\"ho\"");
    let answer = raw(&then, text.as_bytes()).await;
    assert!(answer.contains("InvalidSignatureException"), "{answer}");
    running.stop().await;
    then.stop().await;
}

#[tokio::test]
async fn http_2_is_spoken_too() {
    let running = Running::today().await;
    let client: Client<_, Full<bytes::Bytes>> = Client::builder(TokioExecutor::new()).http2_only(true).build_http();
    let request = Request::builder()
        .method(Method::POST)
        .uri(format!("{}/model/{NOVA}/converse", running.base))
        .header("authorization", format!("Bearer {DEFAULT_API_KEY}"))
        .body(Full::new(converse("hi").to_string().into()))
        .unwrap();
    let response = client.request(request).await.unwrap();
    assert_eq!((response.status().as_u16(), response.version()), (200, http::Version::HTTP_2));
}

#[tokio::test]
async fn connections_wait_for_a_place() {
    let mut config = Config::new(TODAY);
    config.max_connections = 1;
    let running = Running::start(config).await;
    let address = running.base.trim_start_matches("http://");
    let idle = TcpStream::connect(address).await.unwrap();
    let waiting = running.get("/healthz");
    tokio::pin!(waiting);
    // Either the idle one has the only place and lets go of it, or it comes second.
    drop(idle);
    assert_eq!(waiting.await.status, 200);
}
