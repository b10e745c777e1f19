//! Streams that go wrong, callers that leave, and a gateway that is told to stop: what was asked is
//! answered or told, and money is never lost.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use kairos_tests::http::{Answer, Client, chat, converse};
use kairos_tests::policy;
use kairos_tests::process::{Pair, Setup};
use serde_json::{Value, json};

async fn faults(client: &Client, pair: &Pair, faults: Value) {
    let answer = client.send("PUT", &format!("{}/sim/v1/faults", pair.simulator.url), &[], faults.to_string()).await;
    assert!(answer.status.is_success(), "{}", answer.text());
}

async fn record(client: &Client, pair: &Pair, id: &str) -> Value {
    client.get(&format!("{}/v1/requests/{id}", pair.gateway.url)).await.json()
}

fn streamed(prompt: &str) -> Value {
    let mut request = chat("auto", prompt);
    request["stream"] = json!(true);
    request
}

async fn ask(client: &Client, pair: &Pair, body: &Value) -> Answer {
    client.post(&format!("{}/v1/chat/completions", pair.gateway.url), &[], body).await
}

/// The text of a streamed answer, and whether it ended as it should.
fn text_of(answer: &Answer) -> (String, bool) {
    let body = answer.text();
    let chunks = body.split("\n\n").filter_map(|line| serde_json::from_str::<Value>(line.strip_prefix("data: ")?).ok());
    let text = chunks.filter_map(|chunk| Some(chunk["choices"][0]["delta"]["content"].as_str()?.to_owned())).collect();
    (text, body.ends_with("data: [DONE]\n\n"))
}

fn impatient() -> Pair {
    let config = "[upstream]\nrequest_seconds = 0.3\nbetween_events_seconds = 0.3\n";
    Setup { config, policy: Some(policy("task.rhai")), ..Setup::default() }.start()
}

const NOVA: &str = "amazon.nova-lite-v1:0";
const CLAUDE: &str = "us.anthropic.claude-sonnet-4-6";

/// Whatever goes wrong before the first content, the next candidate of the plan answers.
#[tokio::test]
async fn a_failure_before_content_moves_to_the_next_candidate() {
    let pair = impatient();
    let client = Client::default();
    // What is known to cost nothing is void; what may have been billed is charged at its worst.
    let cases = [
        (json!({"fault": "ThrottlingException"}), "throttled", "voided"),
        (json!({"fault": "ServiceUnavailableException"}), "upstream_unavailable", "voided"),
        (json!({"fault": "InternalServerException"}), "upstream_error", "estimated"),
        (json!({"fault": "ModelErrorException"}), "model_error", "estimated"),
        (json!({"fault": "ModelTimeoutException"}), "model_timeout", "estimated"),
        (json!({"fault": "ModelNotReadyException"}), "model_not_ready", "voided"),
        (json!({"fault": "AccessDeniedException"}), "upstream_access_denied", "voided"),
        (json!({"fault": "ResourceNotFoundException"}), "model_not_found", "voided"),
        (json!({"fault": "ServiceQuotaExceededException"}), "quota_exceeded", "voided"),
        (json!({"fault": "empty_429"}), "throttled", "voided"),
        (json!({"fault": "connection_reset"}), "upstream_unreachable", "estimated"),
        (json!({"fault": "stall"}), "upstream_timeout", "estimated"),
    ];
    let only_streamed = [
        (json!({"fault": "stream_exception", "exception": "throttlingException", "after": 0}), "throttled", "voided"),
        (
            json!({"fault": "stream_exception", "exception": "modelStreamErrorException", "after": 0}),
            "upstream_stream_broken",
            "estimated",
        ),
        (json!({"fault": "cut_frame", "after": 0}), "upstream_stream_broken", "estimated"),
        (json!({"fault": "bad_checksum", "after": 0}), "upstream_stream_broken", "estimated"),
        (json!({"fault": "clean_eof", "after": 0}), "upstream_stream_broken", "estimated"),
        (json!({"fault": "stall_after", "after": 0}), "upstream_timeout", "estimated"),
    ];
    let both = cases.iter().flat_map(|case| [(case, true), (case, false)]);
    for ((fault, status, ledger), stream) in both.chain(only_streamed.iter().map(|case| (case, true))) {
        let mut fault = fault.clone();
        fault["model"] = json!(NOVA);
        faults(&client, &pair, json!([fault])).await;
        let request = if stream { streamed("hello") } else { chat("auto", "hello") };
        let answer = ask(&client, &pair, &request).await;
        assert_eq!(answer.status, 200, "{fault}: {}", answer.text());
        assert_eq!(answer.header("x-kairos-model"), CLAUDE, "{fault}");
        assert_eq!(answer.header("x-kairos-attempts"), "2", "{fault}");
        if stream {
            let (text, ended) = text_of(&answer);
            assert!(ended && text.starts_with("[simulated] ") && !text.contains("Nova"), "{fault}: {text}");
        }
        let record = record(&client, &pair, answer.header("x-kairos-request-id")).await;
        let first = &record["attempts"][0];
        assert_eq!((&first["status"], &first["ledger"]), (&json!(status), &json!(ledger)), "{fault}: {record}");
        assert_eq!(record["attempts"][1]["ledger"], "settled", "{fault}: {record}");
    }
}

/// The caller's own mistakes are not tried elsewhere; a named model is not replaced unless allowed.
#[tokio::test]
async fn what_would_fail_alike_everywhere_is_not_repeated() {
    let pair = Pair::start();
    let client = Client::default();
    faults(&client, &pair, json!([{"model": NOVA, "fault": "ValidationException", "message": "no such thing"}])).await;
    let answer = ask(&client, &pair, &chat("auto", "hello")).await;
    assert_eq!((answer.status.as_u16(), answer.header("x-kairos-attempts")), (400, "1"));
    assert!(answer.json()["error"]["message"].as_str().unwrap().contains("no such thing"));
    faults(&client, &pair, json!([{"model": NOVA, "fault": "ThrottlingException", "retry_after": 9}])).await;
    // What asks for longer than the gateway waits is passed on.
    let answer = ask(&client, &pair, &chat(NOVA, "hello")).await;
    assert_eq!(
        (answer.status.as_u16(), answer.header("retry-after"), answer.header("x-kairos-attempts")),
        (429, "9", "1")
    );
    let native = client.post(&format!("{}/model/{NOVA}/converse", pair.gateway.url), &[], &converse("x")).await;
    assert_eq!((native.status.as_u16(), native.header("x-amzn-errortype")), (429, "ThrottlingException"));
    let url = format!("{}/v1/chat/completions", pair.gateway.url);
    let answer = client.post(&url, &[("x-kairos-fallback", "any")], &chat(NOVA, "hello")).await;
    assert_eq!((answer.status.as_u16(), answer.header("x-kairos-attempts")), (200, "2"), "{}", answer.text());
    assert_eq!(answer.header("x-kairos-model"), CLAUDE);
    faults(&client, &pair, json!([{"model": "*", "fault": "InternalServerException"}])).await;
    let answer = ask(&client, &pair, &chat("auto", "hello")).await;
    assert_eq!((answer.status.as_u16(), answer.header("x-kairos-attempts")), (502, "3"));
    // It may have been billed three times: the client is not to try by itself.
    assert_eq!(answer.header("x-should-retry"), "false");
}

/// After the first content a failure is told within the stream, in the caller's dialect, and the
/// stream does not end as if it were whole.
#[tokio::test]
async fn a_failure_after_content_is_told_within_the_stream() {
    let pair = impatient();
    let client = Client::default();
    for (fault, code) in [
        (json!({"fault": "stream_exception", "exception": "throttlingException", "after": 2}), "throttled"),
        (json!({"fault": "cut_frame", "after": 2}), "upstream_stream_broken"),
        (json!({"fault": "bad_checksum", "after": 2}), "upstream_stream_broken"),
        (json!({"fault": "clean_eof", "after": 2}), "upstream_stream_broken"),
        (json!({"fault": "stall_after", "after": 2}), "upstream_timeout"),
    ] {
        let mut fault = fault.clone();
        fault["model"] = json!("*");
        faults(&client, &pair, json!([fault])).await;
        let answer = ask(&client, &pair, &streamed("Tell me a story")).await;
        let (text, ended) = text_of(&answer);
        assert!(!ended && !text.is_empty(), "{fault}: {}", answer.text());
        assert!(answer.text().contains(&format!("\"code\":\"{code}\"")), "{fault}: {}", answer.text());
        let record = record(&client, &pair, answer.header("x-kairos-request-id")).await;
        assert_eq!(
            (&record["status"], &record["attempts"][0]["ledger"]),
            (&json!(code), &json!("estimated")),
            "{record}"
        );
        // The bill lies within the estimate.
        let bill =
            client.get(&format!("{}/sim/v1/bill/{}-1", pair.simulator.url, answer.header("x-kairos-request-id"))).await;
        let dollars = |value: &Value| value.as_str().unwrap().parse::<f64>().unwrap();
        assert!(dollars(&bill.json()["cost_usd"]) <= dollars(&record["cost_usd"]), "{record} {}", bill.text());
        let native = client
            .post(&format!("{}/model/auto/converse-stream", pair.gateway.url), &[], &converse("Tell me a story"))
            .await;
        assert!(native.text().contains(":exception-type"), "{fault}: {}", native.text());
    }
}

/// Text is delivered though the usage never comes; what it cost is then an estimate.
#[tokio::test]
async fn a_stream_without_usage_is_whole_and_estimated() {
    let pair = Pair::start();
    let client = Client::default();
    faults(&client, &pair, json!([{"model": "*", "fault": "no_metadata"}])).await;
    let answer = ask(&client, &pair, &streamed("hello")).await;
    let (text, ended) = text_of(&answer);
    assert!(ended && !text.is_empty(), "{}", answer.text());
    assert!(answer.text().contains("cost=estimated"), "{}", answer.text());
    let record = record(&client, &pair, answer.header("x-kairos-request-id")).await;
    assert_eq!((&record["status"], &record["attempts"][0]["ledger"]), (&json!("ok"), &json!("estimated")), "{record}");
}

/// A caller who leaves is billed by AWS in full, and so by the ledger.
#[tokio::test(flavor = "multi_thread")]
async fn callers_who_leave_pay_what_aws_bills() {
    let simulate = ["--speed", "*=20,300"];
    let pair = Setup { simulate: &simulate, policy: Some(policy("task.rhai")), ..Setup::default() }.start();
    let client = Client::default();
    // The simulator repeats quoted words: a second of them.
    let long = format!("Say \"{}\"", "fox ".repeat(300));
    for (path, body) in [("/v1/chat/completions", streamed(&long)), ("/model/auto/converse-stream", converse(&long))] {
        let url = format!("{}{path}", pair.gateway.url);
        let mut response = client.open("POST", &url, &[("content-type", "application/json")], body.to_string()).await;
        let id = response.headers()["x-kairos-request-id"].to_str().unwrap().to_owned();
        let first = response.body_mut().frame().await.unwrap().unwrap();
        assert!(!first.into_data().unwrap().is_empty());
        drop(response);
        let line = pair.gateway.wait_for_log(&id);
        assert!(line.contains("\"status\":\"client_left\""), "{line}");
        settled_as_billed(&client, &pair, &id).await;
    }
    // Before an answer began: the call goes on, and is paid for.
    let url = format!("{}/v1/chat/completions", pair.gateway.url);
    let started = tokio::spawn({
        let client = client.clone();
        async move { client.post(&url, &[("x-client-request-id", "leaves-early")], &chat("auto", "hello")).await }
    });
    wait_until(&client, &format!("{}/metrics", pair.gateway.url), "kairos_ledger_open_rows 1").await;
    started.abort();
    let line = pair.gateway.wait_for_log("leaves-early");
    let line: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(line["status"], "client_left");
    settled_as_billed(&client, &pair, line["request_id"].as_str().unwrap()).await;
    let metrics = client.get(&format!("{}/metrics", pair.gateway.url)).await.text();
    assert!(
        metrics.contains("kairos_ledger_open_rows 0") && metrics.contains("kairos_requests_in_flight 0"),
        "{metrics}"
    );
}

async fn settled_as_billed(client: &Client, pair: &Pair, id: &str) {
    let record = record(client, pair, id).await;
    assert_eq!(record["attempts"][0]["ledger"], "settled", "{record}");
    let bill = client.get(&format!("{}/sim/v1/bill/{id}-1", pair.simulator.url)).await.json();
    assert_eq!(record["cost_usd"], bill["cost_usd"], "{record}");
}

async fn wait_until(client: &Client, url: &str, text: &str) {
    while !client.get(url).await.text().contains(text) {
        tokio::task::yield_now().await;
    }
}

/// While nothing comes, a streaming caller is told that the connection lives.
#[tokio::test]
async fn a_waiting_stream_shows_signs_of_life() {
    let config = "[limits]\nsign_of_life_seconds = 0.05\n[upstream]\nfirst_event_seconds = 0.4\n";
    let pair = Setup { config, policy: Some(policy("task.rhai")), ..Setup::default() }.start();
    let client = Client::default();
    faults(&client, &pair, json!([{"model": NOVA, "fault": "stall"}])).await;
    let answer = ask(&client, &pair, &streamed("hello")).await;
    let body = answer.text();
    assert!(body.starts_with(": keep-alive\n\n"), "{body}");
    let (text, ended) = text_of(&answer);
    // The head was sent before anybody knew who would answer; then the next candidate did.
    assert!(ended && !text.is_empty());
    assert_eq!(answer.header("x-kairos-model"), "");
    assert!(body.contains(&format!("model={CLAUDE}")) && body.contains("attempts=2"), "{body}");
    assert_eq!(body.matches("\"role\":\"assistant\"").count(), 1);
}

/// SIGTERM: no new connections, what is under way ends, every row is there.
#[tokio::test]
async fn told_to_stop_the_gateway_lets_requests_end() {
    let simulate = ["--speed", "*=30,300"];
    let pair = Setup { simulate: &simulate, policy: Some(policy("task.rhai")), ..Setup::default() }.start();
    let client = Client::default();
    let url = format!("{}/v1/chat/completions", pair.gateway.url);
    let mut response = client
        .open("POST", &url, &[("content-type", "application/json")], streamed("Tell me a story").to_string())
        .await;
    let mut body = response.body_mut().frame().await.unwrap().unwrap().into_data().unwrap().to_vec();
    pair.gateway.terminate();
    pair.gateway.wait_for_log("told to stop");
    while let Some(frame) = response.body_mut().frame().await {
        body.extend_from_slice(&frame.unwrap().into_data().unwrap_or_else(|_| Bytes::new()));
    }
    assert!(String::from_utf8(body).unwrap().ends_with("data: [DONE]\n\n"));
    let refused = tokio::net::TcpStream::connect(pair.gateway.address()).await;
    assert!(refused.is_err());
    let Pair { gateway, simulator, .. } = pair;
    let (status, log) = gateway.wait();
    assert!(status.success());
    let last: Value = serde_json::from_str(log.last().unwrap()).unwrap();
    let bill = client.get(&format!("{}/sim/v1/bill", simulator.url)).await.json();
    assert_eq!((&last["message"], &last["charged_usd"]), (&json!("stopped"), &bill["totals"]["cost_usd"]), "{last}");
}

/// A reader who takes nothing is given up on; the money is accounted for all the same.
#[tokio::test]
async fn a_reader_who_takes_nothing_is_given_up_on() {
    use tokio::io::AsyncWriteExt as _;
    let config = "[limits]\nwrite_seconds = 0.2\n";
    let pair = Setup { config, policy: Some(policy("task.rhai")), ..Setup::default() }.start();
    let client = Client::default();
    // The simulator repeats quoted words: an answer larger than any socket's buffers.
    let quoted = format!("Say \"{}\"", "word ".repeat(90_000));
    let body = json!({"model": "us.anthropic.claude-haiku-5-5", "stream": true, "messages": [{"role": "user", "content": quoted}]}).to_string();
    let mut socket = tokio::net::TcpStream::connect(pair.gateway.address()).await.unwrap();
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\nx-client-request-id: reads-nothing\r\ncontent-length: {}\r\n\r\n",
        pair.gateway.address(),
        body.len()
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    socket.write_all(body.as_bytes()).await.unwrap();
    let line: Value = serde_json::from_str(&pair.gateway.wait_for_log("reads-nothing")).unwrap();
    assert_eq!(line["status"], "client_left", "{line}");
    settled_as_billed(&client, &pair, line["request_id"].as_str().unwrap()).await;
    drop(socket);
}

/// A request whose head or body never comes to its end is given up on.
#[tokio::test]
async fn slow_senders_are_given_up_on() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let config = "[limits]\nheader_seconds = 0.2\nbody_seconds = 0.2\n";
    let pair = Setup { config, policy: Some(policy("task.rhai")), ..Setup::default() }.start();
    for (sent, answered) in [
        ("", ""),
        ("P", ""),
        ("PRI * HTTP/2.0\r\n", ""),
        ("POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n", ""),
        ("POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n{", "HTTP/1.1 408"),
    ] {
        let mut socket = tokio::net::TcpStream::connect(pair.gateway.address()).await.unwrap();
        socket.write_all(sent.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let read = tokio::time::timeout(Duration::from_secs(60), socket.read_to_end(&mut answer)).await;
        assert!(read.is_ok(), "the connection was kept open");
        assert!(String::from_utf8_lossy(&answer).starts_with(answered), "{:?}", String::from_utf8_lossy(&answer));
    }
}
