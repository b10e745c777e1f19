use serde_json::{Value, json};

use super::*;
use crate::conversation::{Choice, Conversation};

/// A request with one message of the user, changed.
fn asked(change: impl FnOnce(&mut Value)) -> String {
    let mut request = json!({"messages": [{"role": "user", "content": [{"text": "hi"}]}]});
    change(&mut request);
    request.to_string()
}

fn refused(request: &str) -> (&'static str, String) {
    let error = read(request.as_bytes()).map(drop).unwrap_err();
    (error.name, error.message.into_owned())
}

fn tool() -> Value {
    json!({"toolSpec": {"name": "f", "inputSchema": {"json": {"type": "object"}}}})
}

/// A conversation in which the tool `f` was called as `ids`, up to and with the results given.
fn after_calls(ids: &[&str], results: &[&str]) -> Value {
    let calls: Vec<Value> =
        ids.iter().map(|id| json!({"toolUse": {"toolUseId": id, "name": "f", "input": {}}})).collect();
    let results: Vec<Value> =
        results.iter().map(|id| json!({"toolResult": {"toolUseId": id, "content": [{"text": "x"}]}})).collect();
    json!([
        {"role": "user", "content": [{"text": "hi"}]},
        {"role": "assistant", "content": calls},
        {"role": "user", "content": results},
    ])
}

type Change = fn(&mut Value);

/// How a request goes wrong, and how the complaint begins.
const WRONG: &[(Change, &str)] = &[
    (|r| r["messages"] = json!([]), "A conversation must start with a user message."),
    (|r| *r = json!({}), "A conversation must start with a user message."),
    (|r| r["messages"][0]["role"] = json!("assistant"), "A conversation must start with a user"),
    (
        |r| {
            let first = r["messages"][0].clone();
            r["messages"] = json!([first, first]);
        },
        "A conversation must alternate between user and assistant roles.",
    ),
    (
        |r| r["messages"][0]["role"] = json!("tool"),
        "1 validation error detected: Value 'tool' at 'messages.1.member.role' failed to satisfy \
             constraint: Member must satisfy enum value set: [user, assistant, system]",
    ),
    (
        |r| r["messages"][0] = json!({"content": []}),
        "1 validation error detected: Value null at 'messages.1.member.role'",
    ),
    (|r| r["messages"][0]["content"] = json!([]), "The content field in the Message object at messages.0 is empty."),
    (
        |r| r["messages"][0]["content"][0]["text"] = json!("  \n"),
        "The text field in the ContentBlock object at messages.0.content.0 is blank.",
    ),
    (
        |r| r["messages"][0]["content"][0] = json!({"news": 1}),
        "The ContentBlock object at messages.0.content.0 must set one of the following keys",
    ),
    (
        |r| {
            r["messages"][0]["content"][0] = json!({"text": "a", "cachePoint": {"type": "default"}});
        },
        "The ContentBlock object at messages.0.content.0 sets more than one key.",
    ),
    (
        |r| {
            r["messages"][0]["content"][0] = json!({"cachePoint": {"type": "default", "ttl": "2h"}});
        },
        "1 validation error detected: Value '2h' at 'messages.0.content.0.cachePoint.ttl'",
    ),
    (
        |r| r["messages"][0]["content"][0] = json!({"image": {"format": "bmp", "source": {}}}),
        "1 validation error detected: Value 'bmp' at 'messages.0.content.0.image.format'",
    ),
    (
        |r| {
            r["messages"][0]["content"][0] = json!({"image": {"format": "png", "source": {"bytes": ""}}});
        },
        "1 validation error detected: Value '' at 'messages.0.content.0.image.source.bytes'",
    ),
    (
        |r| r["messages"][0]["content"][0] = json!({"document": {"source": {"text": "x"}}}),
        "1 validation error detected: Value null at 'messages.0.content.0.document.name'",
    ),
    (|r| r["system"] = json!([{"text": ""}]), "1 validation error detected: Value '' at 'system.1.member.text'"),
    (|r| r["system"] = json!([{}]), "The SystemContentBlock object at system.0 must set one"),
    (
        |r| r["inferenceConfig"] = json!({"maxTokens": 0}),
        "1 validation error detected: Value '0' at 'inferenceConfig.maxTokens'",
    ),
    (
        |r| r["inferenceConfig"] = json!({"temperature": 1.5}),
        "1 validation error detected: Value '1.5' at 'inferenceConfig.temperature' failed to \
             satisfy constraint: Member must have value less than or equal to 1",
    ),
    (
        |r| r["inferenceConfig"] = json!({"topP": -0.1}),
        "1 validation error detected: Value '-0.1' at 'inferenceConfig.topP'",
    ),
    (
        |r| r["inferenceConfig"] = json!({"stopSequences": [""]}),
        "1 validation error detected: Value '' at 'inferenceConfig.stopSequences'",
    ),
    (
        |r| r["messages"] = after_calls(&["a"], &["a"]),
        "The toolConfig field must be defined when using toolUse and toolResult content blocks.",
    ),
    (
        |r| *r = json!({"messages": after_calls(&["a", "b"], &["a"]), "toolConfig": {"tools": [tool()]}}),
        "Expected toolResult blocks at messages.2.content for the following Ids: b",
    ),
    (
        |r| *r = json!({"messages": after_calls(&["a"], &["a", "b"]), "toolConfig": {"tools": [tool()]}}),
        "The number of toolResult blocks at messages.2.content exceeds the number of toolUse",
    ),
    (
        |r| {
            *r = json!({"messages": after_calls(&["a"], &["b"]), "toolConfig": {"tools": [tool()]}});
        },
        "Expected toolResult blocks at messages.2.content for the following Ids: a",
    ),
    (
        |r| *r = json!({"messages": after_calls(&["a", "a"], &["a"]), "toolConfig": {"tools": [tool()]}}),
        "The toolUse blocks at messages.1.content contain duplicate Ids: a",
    ),
    (
        |r| {
            let messages = after_calls(&["a"], &["a"]);
            *r = json!({"messages": messages, "toolConfig": {"tools": [tool()]}});
            r["messages"][2]["content"][0]["toolResult"]["status"] = json!("error");
            r["messages"][2]["content"][0]["toolResult"]["content"] = json!([]);
        },
        "The content field at messages.2.content.0.toolResult cannot be empty when status value",
    ),
    (
        |r| {
            let messages = after_calls(&["a"], &["a"]);
            *r = json!({"messages": messages, "toolConfig": {"tools": [tool()]}});
            r["messages"][2]["content"][0]["toolResult"]["content"] = json!([{"json": [1]}]);
        },
        "The format of the value at messages.2.content.0.toolResult.content.0.json is invalid.",
    ),
    (|r| r["toolConfig"] = json!({"tools": []}), "1 validation error detected: Value '[]'"),
    (|r| r["toolConfig"] = json!({}), "1 validation error detected: Value null at 'toolConfig.tools'"),
    (|r| r["toolConfig"] = json!({"tools": [tool(), tool()]}), "The tool f is already defined at toolConfig.tools."),
    (
        |r| {
            r["toolConfig"] = json!({"tools": [tool()]});
            r["toolConfig"]["tools"][0]["toolSpec"]["name"] = json!("no spaces");
        },
        "1 validation error detected: Value 'no spaces' at 'toolConfig.tools.0.toolSpec.name'",
    ),
    (
        |r| {
            r["toolConfig"] = json!({"tools": [tool()]});
            r["toolConfig"]["tools"][0]["toolSpec"]["inputSchema"]["json"] = json!({});
        },
        "The value at toolConfig.tools.0.toolSpec.inputSchema.json.type must be one of the \
             following: object.",
    ),
    (
        |r| r["toolConfig"] = json!({"tools": [tool()], "toolChoice": {"tool": {"name": "g"}}}),
        "The tool g named at toolConfig.toolChoice.tool.name is not defined",
    ),
    (
        |r| r["toolConfig"] = json!({"tools": [tool()], "toolChoice": {}}),
        "The ToolChoice object at toolConfig.toolChoice must set one",
    ),
    (|r| r["serviceTier"] = json!({"type": "gold"}), "1 validation error detected: Value 'gold'"),
    (|r| r["performanceConfig"] = json!({"latency": "warp"}), "1 validation error detected: Value 'warp'"),
    (|r| r["requestMetadata"] = json!({}), "1 validation error detected: Value '{}' at 'requestMetadata'"),
    (
        |r| r["additionalModelResponseFieldPaths"] = json!(["stop"]),
        "The JSON pointer \"stop\" in additionalModelResponseFieldPaths is not valid.",
    ),
    (
        |r| r["guardrailConfig"] = json!({"guardrailIdentifier": "g"}),
        "The guardrail identifier and the guardrail version must be given together.",
    ),
    (
        |r| {
            r["additionalModelRequestFields"] = json!({"thinking": {"type": "enabled", "budget_tokens": 10}});
        },
        "thinking.enabled.budget_tokens: Input should be greater than or equal to 1024",
    ),
    (
        |r| {
            r["inferenceConfig"] = json!({"maxTokens": 1024});
            r["additionalModelRequestFields"] = json!({"thinking": {"type": "enabled", "budget_tokens": 1024}});
        },
        "`max_tokens` must be greater than `thinking.budget_tokens`.",
    ),
    (
        |r| {
            r["outputConfig"] = json!({"textFormat": {"type": "json_schema", "structure":
                {"jsonSchema": {"schema": "{"}}}});
        },
        "The value at outputConfig.textFormat.structure.jsonSchema.schema is not valid JSON",
    ),
    (
        |r| {
            let point = json!({"cachePoint": {"type": "default"}});
            r["messages"][0]["content"] = json!([{"text": "a"}, point, point, point, point, point]);
        },
        "A maximum of 4 cache points may be provided.",
    ),
];

#[test]
fn what_is_wrong_is_said_as_aws_says_it() {
    for (at, (change, expected)) in WRONG.iter().enumerate() {
        let request = asked(change);
        let (name, message) = refused(&request);
        assert_eq!(name, "ValidationException", "case {at}: {request}: {message}");
        assert!(message.starts_with(expected), "case {at}: {request}: {message}");
    }
}

#[test]
fn wrong_shapes_are_serialization_exceptions() {
    for request in [
        "",
        "{",
        "[]",
        "null",
        "\"x\"",
        "{\"messages\": 1}",
        "{\"messages\": [1]}",
        "{\"messages\": [{\"role\": 1}]}",
        "{\"messages\": [{\"role\": \"user\", \"content\": \"hi\"}]}",
        "{\"messages\": [], \"inferenceConfig\": {\"maxTokens\": \"10\"}}",
        "{\"messages\": [], \"inferenceConfig\": {\"maxTokens\": 1.5}}",
        "{\"messages\": [{\"role\": \"user\", \"content\": [{\"image\": {\"format\": \"png\", \
          \"source\": {\"bytes\": \"!\"}}}]}]}",
        &"[".repeat(100_000),
    ] {
        assert_eq!(refused(request).0, "SerializationException", "{request:.80}");
    }
    let invalid = read(b"{\"messages\": [{\"role\": \"\xff\"}]}").map(drop).unwrap_err();
    assert_eq!(invalid.name, "SerializationException");
}

#[test]
fn unknown_fields_and_nulls_are_passed_over() {
    let plain = asked(|_| {});
    let decorated = asked(|r| {
        r["news"] = json!({"a": 1});
        r["system"] = json!(null);
        r["toolConfig"] = json!(null);
        r["messages"][0]["news"] = json!(1);
        r["messages"][0]["content"][0]["news"] = json!(1);
        r["messages"][0]["content"][0]["image"] = json!(null);
        r["promptVariables"] = json!({"x": {"text": "y"}});
    });
    let [plain, decorated] =
        [&plain, &decorated].map(|request| read(request.as_bytes()).unwrap().0.measure("m").digest);
    assert_eq!(plain, decorated);
}

#[test]
fn a_full_request_is_read_in_full() {
    let raw = include_bytes!("../../tests/fixtures/requests/converse_full.http");
    let start = raw.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
    let (conversation, wishes) = read(&raw[start..]).unwrap();
    let Conversation { tools, system, turns, .. } = &conversation;
    assert_eq!((tools.len(), system.len(), turns.len()), (2, 4, 3));
    assert_eq!(turns[0].blocks.len(), 4);
    assert_eq!(conversation.choice, Choice::Named("get_weather".into()));
    assert_eq!((conversation.max_tokens, conversation.stop.len()), (Some(256), 1));
    assert!(conversation.reasoning && conversation.sampling && conversation.schema.is_some());
    assert_eq!(conversation.cache_points().count(), 4);
    assert!(wishes.guardrail.unwrap().trace && wishes.latency);
    assert_eq!(wishes.paths, ["/stop_sequence"]);
}

#[test]
fn system_messages_may_stand_between() {
    let request = json!({"messages": [
        {"role": "user", "content": [{"text": "hi"}]},
        {"role": "system", "content": [{"text": "be brief"}]},
        {"role": "assistant", "content": [{"text": "ok"}]},
        {"role": "user", "content": [{"text": "go"}]},
    ]});
    assert!(read(request.to_string().as_bytes()).is_ok());
}
