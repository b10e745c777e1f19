use serde_json::{Value, json};

use super::read;
use crate::converse;

fn body(change: impl FnOnce(&mut Value)) -> Value {
    let mut body = json!({
        "anthropic_version": "bedrock-2023-05-31",
        "max_tokens": 100,
        "messages": [{"role": "user", "content": "hi"}],
    });
    change(&mut body);
    body
}

type Change = fn(&mut Value);

/// How a request goes wrong, and how the complaint begins.
const WRONG: &[(Change, &str)] = &[
    (|b| *b = json!([]), "Malformed input request: expected type: JSONObject"),
    (|b| b["model"] = json!("x"), "model: Extra inputs are not permitted"),
    (|b| b["stream"] = json!(true), "stream: Extra inputs are not permitted"),
    (|b| b["anthropic_version"] = json!(null), "anthropic_version: Field required"),
    (|b| b["anthropic_version"] = json!("2023-06-01"), "anthropic_version: Input should be 'bedrock-2023-05-31'"),
    (|b| b["max_tokens"] = json!(null), "max_tokens: Field required"),
    (|b| b["max_tokens"] = json!("9"), "max_tokens: Input should be a valid integer"),
    (|b| b["max_tokens"] = json!(0), "max_tokens: Input should be greater than or equal to 1"),
    (|b| b["messages"] = json!(null), "messages: Field required"),
    (|b| b["messages"] = json!([]), "messages: at least one message is required"),
    (|b| b["messages"][0]["role"] = json!("assistant"), "messages: first message must use the \"user\" role"),
    (|b| b["messages"][0]["role"] = json!("tool"), "messages.0.role: Input should be 'user' or"),
    (|b| b["messages"][0]["content"] = json!(""), "messages.0: all messages must have non-empty content"),
    (
        |b| b["messages"][0]["content"] = json!([{"type": "text", "text": " "}]),
        "messages: text content blocks must contain non-whitespace text",
    ),
    (
        |b| b["messages"][0]["content"] = json!([{"type": "video"}]),
        "messages.0.content.0: Input tag 'video' found using 'type' does not match",
    ),
    (|b| b["messages"][0]["content"] = json!([{"type": "text"}]), "messages.0.content.0.text.text: Field required"),
    (
        |b| b["messages"][0]["content"] = json!([{"type": "tool_result", "tool_use_id": "a"}]),
        "messages.0.content: unexpected `tool_use_id` found in `tool_result` blocks: a.",
    ),
    (
        |b| {
            b["messages"] = json!([
                {"role": "user", "content": "hi"},
                {"role": "assistant", "content": [
                    {"type": "tool_use", "id": "a", "name": "f", "input": {}}]},
                {"role": "user", "content": "so?"},
            ]);
        },
        "messages.1: `tool_use` ids were found without `tool_result` blocks immediately after: a.",
    ),
    (|b| b["temperature"] = json!(2), "temperature: Input should be less than or equal to 1"),
    (|b| b["tools"] = json!([{"name": "f"}]), "tools.0.input_schema: Field required"),
    (|b| b["tool_choice"] = json!({"type": "tool", "name": "f"}), "tool_choice: Tool 'f' not found in provided tools"),
    (|b| b["stop_sequences"] = json!([" "]), "stop_sequences: each stop sequence must contain"),
    (
        |b| {
            b["system"] = json!([{"type": "text", "text": "s", "cache_control": {"type": "x"}}]);
        },
        "system.0.cache_control: Input tag found using 'type'",
    ),
    (
        |b| b["thinking"] = json!({"type": "enabled", "budget_tokens": 1}),
        "thinking.enabled.budget_tokens: Input should be greater than or equal to 1024",
    ),
];

#[test]
fn what_is_wrong_is_said_as_anthropic_says_it() {
    for (at, (change, expected)) in WRONG.iter().enumerate() {
        let body = body(change);
        let error = read(&body).map(drop).unwrap_err();
        assert_eq!(error.name, "ValidationException", "case {at}");
        assert!(error.message.starts_with(expected), "case {at}: {}", error.message);
    }
}

/// The same conversation in both dialects, with everything that they share.
fn both() -> (Value, Value) {
    let schema = json!({"type": "object", "properties": {"city": {"type": "string"}}});
    let converse = json!({
        "system": [{"text": "be brief"}, {"cachePoint": {"type": "default", "ttl": "1h"}}],
        "messages": [
            {"role": "user", "content": [
                {"text": "weather?"},
                {"image": {"format": "png", "source": {"bytes": "iVBORw0KGgo="}}},
                {"document": {"format": "txt", "name": "d", "source": {"bytes": "aGVsbG8="}}},
            ]},
            {"role": "assistant", "content": [
                {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "c2ln"}}},
                {"reasoningContent": {"redactedContent": "AQI="}},
                {"toolUse": {"toolUseId": "tu_1", "name": "f", "input": {"b": 1, "a": [null]}}},
            ]},
            {"role": "user", "content": [
                {"toolResult": {"toolUseId": "tu_1", "content": [{"json": {"c": -3}}, {"text": "x"}]}},
                {"cachePoint": {"type": "default"}},
            ]},
        ],
        "toolConfig": {
            "tools": [{"toolSpec": {"name": "f", "description": "d", "inputSchema": {"json": schema}}}],
            "toolChoice": {"any": {}},
        },
        "inferenceConfig": {"maxTokens": 100, "stopSequences": ["END"]},
    });
    let claude = json!({
        "anthropic_version": "bedrock-2023-05-31",
        "max_tokens": 100,
        "stop_sequences": ["END"],
        "system": [{"type": "text", "text": "be brief",
                    "cache_control": {"type": "ephemeral", "ttl": "1h"}}],
        "messages": [
            {"role": "user", "content": [
                {"type": "text", "text": "weather?"},
                {"type": "image", "source":
                    {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}},
                {"type": "document", "source":
                    {"type": "text", "media_type": "text/plain", "data": "hello"}},
            ]},
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "hm", "signature": "c2ln"},
                {"type": "redacted_thinking", "data": "AQI="},
                {"type": "tool_use", "id": "toolu_9", "name": "f", "input": {"a": [null], "b": 1}},
            ]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "toolu_9", "content": [
                    {"type": "text", "text": "{\"c\":-3}"}, {"type": "text", "text": "x"}],
                 "cache_control": {"type": "ephemeral"}},
            ]},
        ],
        "tools": [{"name": "f", "description": "d", "input_schema": schema}],
        "tool_choice": {"type": "any"},
    });
    (converse, claude)
}

#[test]
fn a_conversation_is_the_same_in_either_dialect() {
    let (one, other) = both();
    let one = one.to_string();
    let (one, _) = converse::read(one.as_bytes()).unwrap();
    let other = read(&other).unwrap();
    let (a, b) = (one.measure("m"), other.measure("m"));
    assert_eq!((a.tokens, a.digest, a.marks), (b.tokens, b.digest, b.marks));
    assert_eq!((one.max_tokens, &one.stop), (other.max_tokens, &other.stop));
    assert!(a.tokens > 100, "an image alone counts 85");
}

#[test]
fn messages_of_one_role_in_a_row_are_one() {
    let split = body(|b| {
        b["messages"] = json!([{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]);
    });
    let joined = body(|b| {
        b["messages"][0]["content"] = json!([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]);
    });
    let [split, joined] = [&split, &joined].map(|b| read(b).unwrap().measure("m").digest);
    assert_eq!(split, joined);
}
