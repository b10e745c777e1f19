//! Errors as they come over the wire.

use http::Method;
use jiff::civil::date;
use kairos_simulator::Config;
use serde_json::{Value, json};

use crate::client::{NOVA, Running, SONNET, claude, converse};

#[tokio::test]
async fn an_error_has_a_type_a_message_and_a_request_id() {
    let running = Running::today().await;
    let answer = running.call("no-such-model", "converse", &converse("hi")).await;
    let expected = "The provided model identifier is invalid.".to_owned();
    assert_eq!(answer.error(), (400, "ValidationException", expected));
    assert_eq!(answer.headers["content-type"], "application/json");
    assert_eq!(answer.headers["x-amzn-requestid"].len(), 36);
}

#[tokio::test]
async fn every_operation_refuses_alike() {
    let running = Running::today().await;
    for operation in ["converse", "converse-stream", "invoke", "invoke-with-response-stream"] {
        let ended = running.call("ai21.j2-ultra-v1", operation, &converse("hi")).await;
        assert_eq!((ended.status, ended.error().1), (404, "ResourceNotFoundException"));
        let body = if operation.starts_with("converse") { converse("hi") } else { claude("hi") };
        let bare = running.call("anthropic.claude-opus-5", operation, &body).await;
        assert_eq!((bare.status, bare.error().1), (400, "ValidationException"), "{operation}");
        let nobody = running.http(Method::POST, &format!("/model/x/{operation}"), "{}").await;
        assert_eq!((nobody.status, nobody.error().1), (403, "MissingAuthenticationTokenException"));
    }
}

#[tokio::test]
async fn shapes_are_checked_before_meaning() {
    let running = Running::today().await;
    let wrong = running.call(NOVA, "converse", &json!({"messages": "hi"})).await;
    assert_eq!((wrong.status, wrong.error().1), (400, "SerializationException"));
    let broken = running.send(running.request(NOVA, "converse", "{", &[])).await.unwrap();
    assert_eq!((broken.status, broken.error().1), (400, "SerializationException"));
    // A native body is a blob to Bedrock; what is wrong with it is the model's complaint.
    let broken = running.send(running.request(SONNET, "invoke", "{", &[])).await.unwrap();
    let expected = "Malformed input request, please reformat your input and try again.".to_owned();
    assert_eq!(broken.error(), (400, "ValidationException", expected));
}

const TITAN: &str = "amazon.titan-text-express-v1";
const MICRO: &str = "amazon.nova-micro-v1:0";
const JURASSIC: &str = "ai21.j2-ultra-v1";

/// Model, operation, request, and how the complaint begins.
fn too_much() -> Vec<(&'static str, &'static str, Value, &'static str)> {
    let with = |field: &str, value: Value| {
        let mut request = converse("hi");
        request[field] = value;
        request
    };
    let schema = json!({"json": {"type": "object"}});
    let tools = json!({"tools": [{"toolSpec": {"name": "f", "inputSchema": schema}}]});
    let long = json!({"messages": [
        {"role": "user", "content": [{"text": "hi"}]},
        {"role": "assistant", "content": [{"text": "ho"}]},
        {"role": "user", "content": [{"text": "hi"}]},
    ]});
    let image = json!({"image": {"format": "png", "source": {"bytes": "iVBORw0KGgo="}}});
    vec![
        (
            TITAN,
            "converse",
            with("system", json!([{"text": "be brief"}])),
            "This model doesn't support system messages.",
        ),
        (TITAN, "converse", with("toolConfig", tools), "This model doesn't support tool use."),
        (
            TITAN,
            "converse",
            with("inferenceConfig", json!({"maxTokens": 8001})),
            "The maximum tokens you requested exceeds the model limit of 8000.",
        ),
        (TITAN, "converse", converse(&"word ".repeat(42_001)), "Input is too long for requested model."),
        (JURASSIC, "converse", long, "This model doesn't support conversation history."),
        (JURASSIC, "converse-stream", converse("hi"), "The model is unsupported for streaming."),
        (
            MICRO,
            "converse",
            json!({"messages": [{"role": "user", "content": [image]}]}),
            "This model doesn't support the image content block",
        ),
        (JURASSIC, "invoke-with-response-stream", json!({"prompt": "hi"}), "The model is unsupported for streaming."),
        (TITAN, "invoke", converse("hi"), "Malformed input request: #: extraneous key [messages] is not permitted"),
        (
            MICRO,
            "count-tokens",
            json!({"input": {"converse": {}}}),
            "The provided model doesn't support counting tokens.",
        ),
    ]
}

#[tokio::test]
async fn what_a_model_cannot_take_is_refused() {
    let running = Running::start(Config::new(date(2025, 1, 1))).await;
    for (model, operation, request, expected) in too_much() {
        let answer = running.call(model, operation, &request).await;
        let (status, name, message) = answer.error();
        assert_eq!((status, name), (400, "ValidationException"), "{model} {message}");
        assert!(message.starts_with(expected), "{model}: {message}");
    }
}

#[tokio::test]
async fn there_is_nothing_elsewhere() {
    let running = Running::today().await;
    for (method, path, status) in [
        (Method::GET, "/nothing", 404),
        (Method::GET, "/model/x/converse", 404),
        (Method::POST, "/model/x/destroy", 404),
        (Method::GET, "/sim/v1/nothing", 404),
        (Method::POST, "/sim/v1/faults", 405),
        (Method::DELETE, "/sim/v1/bill", 405),
        (Method::GET, "/sim/v1/bill/none", 404),
        (Method::GET, "/sim/v1/bill?after=x", 400),
        (Method::GET, "/sim/v1/bill?since=1", 400),
    ] {
        let answer = running.http(method.clone(), path, "").await;
        assert_eq!(answer.status, status, "{method} {path}");
        assert!(!answer.error().2.is_empty(), "{method} {path}");
    }
    assert_eq!(running.get("/healthz").await.body, b"ok\n");
    let about = String::from_utf8(running.get("/").await.body).unwrap();
    assert!(about.starts_with("This is the Kairos simulator, not AWS"), "{about}");
}
