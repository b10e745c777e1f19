//! Bad requests: each dialect's own error shape and status, a message that says what and where, and
//! nothing charged.

use bytes::Bytes;
use kairos_tests::http::{Answer, Client, requests};
use kairos_tests::policy;
use kairos_tests::process::{Pair, Setup};
use serde_json::{Value, json};

const JSON: (&str, &str) = ("content-type", "application/json");

fn openai_error(answer: &Answer) -> Value {
    let error = answer.json()["error"].clone();
    for field in ["message", "type", "param", "code"] {
        assert!(error.get(field).is_some(), "{field} is missing: {error}");
    }
    error
}

#[tokio::test]
async fn bad_requests_are_told_what_is_wrong_and_where() {
    let pair = Pair::start();
    let client = Client::default();
    let chat = format!("{}/v1/chat/completions", pair.gateway.url);
    let message = json!([{"role": "user", "content": "x"}]);
    let cases: Vec<(Bytes, u16, &str, &str)> = vec![
        ("{\"model\":".into(), 400, "invalid_json", "not valid JSON"),
        ("".into(), 400, "invalid_json", "the body is empty"),
        (Bytes::from_static(b"{\"model\":\"auto\",\"messages\":\"\xff\xfe\"}"), 400, "invalid_json", "not valid UTF-8: the byte at offset 28"),
        (json!({"model": 5, "messages": message}).to_string().into(), 400, "invalid_value", "model: invalid type: integer, expected a string"),
        (json!({"model": "auto", "messages": "x"}).to_string().into(), 400, "invalid_value", "messages: invalid type: string, expected a sequence"),
        (json!({"model": "auto", "messages": []}).to_string().into(), 400, "invalid_value", "messages: at least one message"),
        (json!({"model": "auto", "messages": [{"role": "user", "content": [{"type": "text"}]}]}).to_string().into(), 400, "invalid_value", "messages[0].content[0].text"),
        (json!({"model": "auto", "messages": message, "seed": 1}).to_string().into(), 400, "unsupported_parameter", "seed"),
        (json!({"model": "auto", "messages": message, "temprature": 1}).to_string().into(), 400, "unknown_parameter", "temprature"),
        (json!({"model": "amazon.nova-lite-v1", "messages": message}).to_string().into(), 404, "model_not_found", "did you mean \"amazon.nova-lite-v1:0\"?"),
        (json!({"model": "", "messages": message}).to_string().into(), 400, "invalid_value", "model"),
        (json!({"model": "x".repeat(100_000), "messages": message}).to_string().into(), 400, "invalid_value", "at most 2048 bytes"),
        (json!({"model": "auto", "messages": message, "max_tokens": 1_000_000}).to_string().into(), 400, "unsupported_parameter", "no model of the 9 on offer"),
        (json!({"model": "meta.llama3-2-1b-instruct-v1:0", "messages": message, "tools": [{"type": "function", "function": {"name": "f"}}]}).to_string().into(), 200, "", ""),
        (json!({"model": "llama3-8b", "messages": message, "tools": [{"type": "function", "function": {"name": "f"}}]}).to_string().into(), 400, "unsupported_parameter", "does not take: tools"),
    ];
    for (body, status, code, says) in cases {
        let shown = String::from_utf8_lossy(&body).into_owned();
        let answer = client.send("POST", &chat, &[JSON], body).await;
        assert_eq!(answer.status, status, "{shown}: {}", answer.text());
        if status == 200 {
            continue;
        }
        let error = openai_error(&answer);
        assert_eq!(error["code"], code, "{shown}: {error}");
        assert!(error["message"].as_str().unwrap().contains(says), "{shown}: {error}");
        assert_eq!(answer.header("x-kairos-cost-usd"), "0");
        let id = answer.header("x-kairos-request-id");
        let record = client.get(&format!("{}/v1/requests/{id}", pair.gateway.url)).await.json();
        assert_eq!((&record["status"], &record["cost_usd"]), (&json!(code), &json!("0")), "{record}");
    }
    let billed = client.get(&format!("{}/sim/v1/bill", pair.simulator.url)).await.json();
    assert_eq!(billed["totals"]["rows"], 1);
}

#[tokio::test]
async fn bad_native_requests_are_bedrocks_exceptions() {
    let pair = Pair::start();
    let client = Client::default();
    let good = json!({"messages": [{"role": "user", "content": [{"text": "x"}]}]}).to_string();
    let cases: Vec<(&str, Bytes, u16, &str, &str)> = vec![
        ("auto/converse", "{".into(), 400, "ValidationException", "not valid JSON"),
        ("auto/converse", Bytes::from_static(b"\xff"), 400, "ValidationException", "not valid UTF-8"),
        (
            "auto/converse-stream",
            json!({"messages": []}).to_string().into(),
            400,
            "ValidationException",
            "messages: at least one message",
        ),
        (
            "auto/converse",
            json!({"messages": [{"role": "user", "content": [{"text": 5}]}]}).to_string().into(),
            400,
            "ValidationException",
            "messages[0].content[0].text",
        ),
        (
            "auto/converse",
            json!({"messages": [{"role": "user", "content": [{"text": "x"}]}], "inferenceConfig": {"maxTokens": 1.5}})
                .to_string()
                .into(),
            400,
            "ValidationException",
            "inferenceConfig.maxTokens",
        ),
        ("nothing%3A0/converse", good.clone().into(), 400, "ValidationException", "there is no model \"nothing:0\""),
        ("auto/invoke", good.clone().into(), 400, "ValidationException", "InvokeModel needs a model's id"),
        (
            "us.anthropic.claude-sonnet-4-6/invoke",
            "{\"max_tokens\":1,\"max_tokens\":100000}".into(),
            400,
            "ValidationException",
            "a field is named twice",
        ),
        ("auto/nothing", good.clone().into(), 404, "UnknownOperationException", "there is nothing at"),
        ("converse", good.into(), 404, "UnknownOperationException", "there is nothing at"),
    ];
    for (path, body, status, exception, says) in cases {
        let answer = client.send("POST", &format!("{}/model/{path}", pair.gateway.url), &[JSON], body).await;
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
        assert_eq!(answer.header("x-amzn-errortype"), exception, "{path}");
        let message = answer.json()["message"].as_str().unwrap().to_owned();
        assert!(message.contains(says), "{path}: {message}");
    }
    let billed = client.get(&format!("{}/sim/v1/bill", pair.simulator.url)).await.json();
    assert_eq!(billed["totals"]["rows"], 0);
}

#[tokio::test]
async fn bodies_and_heads_are_bounded() {
    let pair = Pair::start();
    let client = Client::default();
    let chat = format!("{}/v1/chat/completions", pair.gateway.url);
    let huge = Bytes::from(vec![b'x'; 100 * 1024 * 1024]);
    let answer = client.send("POST", &chat, &[JSON], huge.clone()).await;
    assert_eq!((answer.status.as_u16(), &openai_error(&answer)["code"]), (413, &json!("request_too_large")));
    let answer = client.send("POST", &format!("{}/model/auto/converse", pair.gateway.url), &[JSON], huge).await;
    assert_eq!((answer.status.as_u16(), answer.header("x-amzn-errortype")), (413, "ValidationException"));
    let answer = client.send("POST", &chat, &[JSON, ("content-encoding", "gzip")], "x").await;
    assert_eq!((answer.status.as_u16(), &openai_error(&answer)["param"]), (400, &json!("Content-Encoding")));
    let long = "x".repeat(200_000);
    let answer = client.send("POST", &chat, &[JSON, ("x-long", &long)], "{}").await;
    assert_eq!(answer.status, 431);
    let hints = [JSON, ("x-kairos-task", "Write Code"), ("x-kairos-fallback", "any")];
    let answer = client
        .send(
            "POST",
            &chat,
            &hints,
            json!({"model": "auto", "messages": [{"role": "user", "content": "x"}]}).to_string(),
        )
        .await;
    assert_eq!((answer.status.as_u16(), &openai_error(&answer)["param"]), (400, &json!("x-kairos-task")));
    for (method, path, status) in [
        ("GET", "/v1/chat/completions", 405),
        ("GET", "/nothing", 404),
        ("POST", "/v1/moderations", 404),
        ("GET", "/v1/requests/nothing", 404),
    ] {
        let answer = client.send(method, &format!("{}{path}", pair.gateway.url), &[], "").await;
        assert_eq!(answer.status, status, "{method} {path}");
        openai_error(&answer);
    }
}

/// What comes no further than the edge has cost nothing, and says so as any answer does.
#[tokio::test]
async fn what_the_edge_refuses_costs_nothing() {
    let config = "[auth]\nbearer_key = \"0123456789abcdef\"\n[limits]\nbody_bytes = 2000\n";
    let pair = Setup { config, ..Setup::default() }.start();
    let client = Client::default();
    let batch = format!("{}/v1/generate/batch", pair.gateway.url);
    let urls = requests(&pair.gateway.url).into_iter().map(|(url, _)| url).chain([batch]);
    for url in urls {
        let (known, large) = (("authorization", "Bearer 0123456789abcdef"), " ".repeat(3_000));
        for (headers, body, status) in
            [(&[][..], "{}", 401), (&[("authorization", "Bearer x")], "{}", 401), (&[known], &*large, 413)]
        {
            let answer = client.send("POST", &url, headers, body.to_owned()).await;
            // AWS's clients are told 403.
            assert!(answer.status == status || answer.status == 403, "{url}: {} {}", answer.status, answer.text());
            assert_eq!(answer.header("x-kairos-cost-usd"), "0", "{url}: {}", answer.text());
        }
    }
}

/// Bodies of requests under way are bounded together, their callers gone or not.
#[tokio::test]
async fn bodies_count_until_their_requests_are_over() {
    let config = "[limits]\nbuffered_bytes = 3_000_000\n[upstream]\nrequest_seconds = 3\n";
    let pair = Setup { config, policy: Some(policy("task.rhai")), ..Setup::default() }.start();
    let client = Client::default();
    let stall = json!([{"fault": "stall"}]).to_string();
    client.send("PUT", &format!("{}/sim/v1/faults", pair.simulator.url), &[], stall).await;
    let url = format!("{}/model/amazon.nova-lite-v1:0/converse", pair.gateway.url);
    let body = kairos_tests::http::converse(&"x".repeat(2_000_000)).to_string();
    let leaving = Client::default();
    let (to, sent) = (url.clone(), body.clone());
    let caller = tokio::spawn(async move { leaving.send("POST", &to, &[JSON], sent).await });
    let attempts = format!("{}/metrics", pair.gateway.url);
    while !client.get(&attempts).await.text().contains("kairos_requests_in_flight 1") {
        tokio::task::yield_now().await;
    }
    caller.abort();
    let refused = client.send("POST", &url, &[JSON], body).await;
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert!(refused.text().contains("as much memory as they may"), "{}", refused.text());
}

/// What is adapted is said in a head that any client can read.
#[tokio::test]
async fn warnings_fit_a_head() {
    let pair = Pair::start();
    let client = Client::default();
    let mut messages = vec![json!({"role": "user", "content": "x"})];
    messages.extend((0..2_000).map(|_| json!({"role": "system", "content": "be brief"})));
    let body = json!({"model": "auto", "messages": messages});
    let answer = client.post(&format!("{}/v1/chat/completions", pair.gateway.url), &[], &body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let warning = answer.header("x-kairos-warnings");
    assert!(warning.contains("were moved to its start: 2000") && warning.len() < 200, "{warning}");
}

/// A guardrail that cannot be passed on is not left out.
#[tokio::test]
async fn headers_that_cannot_be_passed_on_are_refused() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let pair = Pair::start();
    let address = pair.gateway.url.strip_prefix("http://").unwrap();
    let mut socket = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!(
        "POST /model/amazon.nova-lite-v1:0/invoke HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\
         x-amzn-bedrock-guardrailidentifier: gr-\u{e9}\r\ncontent-length: 2\r\n\r\n{{}}"
    );
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("guardrailidentifier"), "{answer}");
}

/// What a caller sends never reaches the log.
#[tokio::test]
async fn words_of_callers_stay_out_of_the_log() {
    let pair = Pair::start();
    let client = Client::default();
    let chat = format!("{}/v1/chat/completions", pair.gateway.url);
    let secret = "xyzzy-plugh";
    for body in [
        json!({"model": "auto", "messages": [{"role": "user", "content": secret}]}),
        json!({"model": "auto", "messages": secret}),
        json!({"model": "auto", "messages": [{"role": "user", "content": [{"text": secret}]}]}),
        json!({"model": "auto", "messages": [{"role": "user", "content": "x"}], "temperature": secret}),
    ] {
        client.post(&chat, &[("authorization", "Bearer plugh-xyzzy")], &body).await;
    }
    pair.gateway.terminate();
    let Pair { gateway, .. } = pair;
    let (status, log) = gateway.wait();
    assert!(status.success());
    let requests = log.iter().filter(|line| line.contains("\"message\":\"request\"")).count();
    assert_eq!(requests, 4, "one line a request: {log:?}");
    assert!(!log.iter().any(|line| line.contains("xyzzy") || line.contains("plugh")), "{log:?}");
}
