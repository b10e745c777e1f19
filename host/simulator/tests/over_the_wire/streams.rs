//! Streams and whole answers are the same answer.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kairos_simulator::{Config, Pace, Speed};
use serde_json::{Value, json};

use crate::client::{Answer, NOVA, Running, SONNET, TODAY, claude, converse, text_of};

/// The native events of a stream.
pub(crate) fn chunks(answer: &Answer) -> Vec<Value> {
    let (frames, broken) = answer.frames();
    assert_eq!(broken, None);
    frames
        .into_iter()
        .filter(|(name, _)| name == "chunk")
        .map(|(_, payload)| {
            let bytes = STANDARD.decode(payload["bytes"].as_str().unwrap()).unwrap();
            serde_json::from_slice(&bytes).unwrap()
        })
        .collect()
}

/// Puts the events of a ConverseStream together as Converse would have answered.
fn gathered(answer: &Answer) -> Value {
    let (frames, broken) = answer.frames();
    assert_eq!(broken, None);
    let mut out = json!({"output": {"message": {"role": "assistant", "content": []}}});
    let mut input = String::new();
    for (name, payload) in frames {
        let content = out["output"]["message"]["content"].as_array_mut().unwrap();
        match &*name {
            "messageStart" => assert_eq!(payload, json!({"role": "assistant"})),
            "contentBlockStart" => {
                assert_eq!(payload["contentBlockIndex"], content.len());
                content.push(payload["start"].clone());
                input.clear();
            }
            "contentBlockDelta" => {
                let index = usize::try_from(payload["contentBlockIndex"].as_u64().unwrap()).unwrap();
                let delta = &payload["delta"];
                if index == content.len() {
                    content.push(json!({}));
                }
                let block = &mut content[index];
                let append = |place: &mut Value, more: &Value| {
                    let was = place.as_str().unwrap_or_default().to_owned();
                    *place = json!(was + more.as_str().unwrap());
                };
                if let Some(text) = delta.get("text") {
                    append(&mut block["text"], text);
                } else if let Some(tool) = delta.get("toolUse") {
                    input += tool["input"].as_str().unwrap();
                } else {
                    let thought = &mut block["reasoningContent"]["reasoningText"];
                    for (key, more) in delta["reasoningContent"].as_object().unwrap() {
                        append(&mut thought[key], more);
                    }
                }
            }
            "contentBlockStop" => {
                if let Some(tool) = content.last_mut().unwrap().get_mut("toolUse") {
                    let input = if input.is_empty() { "{}" } else { &input };
                    tool["input"] = serde_json::from_str(input).unwrap();
                }
            }
            "messageStop" | "metadata" => {
                for (key, value) in payload.as_object().unwrap() {
                    out[key] = value.clone();
                }
            }
            other => panic!("{other}"),
        }
    }
    out
}

fn requests() -> Vec<Value> {
    let schema = json!({"json": {"type": "object", "properties": {
        "city": {"type": "string"}, "days": {"type": "integer", "minimum": 2}}}});
    let tools = json!({"tools": [{"toolSpec": {"name": "get_weather", "inputSchema": schema}}]});
    let with = |text: &str, fields: Value| {
        let mut request = converse(text);
        for (key, value) in fields.as_object().unwrap() {
            request[key] = value.clone();
        }
        request
    };
    let guardrail = json!({"guardrailIdentifier": "sim-guardrail", "guardrailVersion": "1",
                           "trace": "enabled"});
    vec![
        converse("What is the wörld 🌍 about?"),
        with("hi", json!({"inferenceConfig": {"maxTokens": 7}})),
        with(
            "say \"a END b\"",
            json!({"inferenceConfig": {"stopSequences": ["END"]},
            "additionalModelResponseFieldPaths": ["/stop_sequence", "/usage"]}),
        ),
        with("hi", json!({"inferenceConfig": {"stopSequences": ["["]}})),
        with("call get_weather for Oslo", json!({"toolConfig": tools})),
        with("call get_weather", json!({"toolConfig": tools, "inferenceConfig": {"maxTokens": 20}})),
        with("why?", json!({"additionalModelRequestFields": {"thinking": {"type": "adaptive"}}})),
        with("a forbidden-topic", json!({"guardrailConfig": guardrail})),
        with(
            "fine",
            json!({"guardrailConfig": guardrail, "serviceTier": {"type": "flex"},
                            "performanceConfig": {"latency": "optimized"}}),
        ),
    ]
}

#[tokio::test]
async fn converse_streams_what_it_answers() {
    let running = Running::today().await;
    for request in requests() {
        let whole = running.call(SONNET, "converse", &request).await.json();
        let streamed = running.call(SONNET, "converse-stream", &request).await;
        assert_eq!(streamed.headers["content-type"], "application/vnd.amazon.eventstream");
        assert_eq!(gathered(&streamed), whole, "{request}");
        let names = streamed.frame_names();
        assert_eq!(names.first().unwrap(), "messageStart");
        assert_eq!(names[names.len() - 2..], ["messageStop", "metadata"]);
    }
}

/// The content of a message, put together from its events.
fn content(events: &[Value]) -> Value {
    let mut blocks: Vec<Value> = Vec::new();
    for event in events {
        if let Some(block) = event.get("content_block") {
            blocks.push(block.clone());
        }
        if event["type"] != "content_block_delta" {
            continue;
        }
        let index = usize::try_from(event["index"].as_u64().unwrap()).unwrap();
        for (from, to) in
            [("text", "text"), ("thinking", "thinking"), ("signature", "signature"), ("partial_json", "input")]
        {
            if let Some(more) = event["delta"].get(from) {
                let was = blocks[index][to].as_str().unwrap_or_default().to_owned();
                blocks[index][to] = json!(was + more.as_str().unwrap());
            }
        }
    }
    for block in blocks.iter_mut().filter(|block| block["type"] == "tool_use") {
        block["input"] = serde_json::from_str(block["input"].as_str().unwrap()).unwrap();
    }
    json!(blocks)
}

#[tokio::test]
async fn claude_streams_what_it_answers() {
    let running = Running::today().await;
    let with = |fields: Value| {
        let mut body = claude("call get_weather in Oslo");
        for (key, value) in fields.as_object().unwrap() {
            body[key] = value.clone();
        }
        body
    };
    let tools = json!([{"name": "get_weather", "input_schema": {"type": "object",
        "properties": {"city": {"type": "string"}}}}]);
    for body in [
        with(json!({})),
        with(json!({"max_tokens": 9})),
        with(json!({"tools": tools})),
        with(json!({"tools": tools, "tool_choice": {"type": "none"}})),
        with(json!({"thinking": {"type": "adaptive"}})),
        with(json!({"stop_sequences": ["Kairos"]})),
    ] {
        let whole = running.call(SONNET, "invoke", &body).await;
        let stream = running.call(SONNET, "invoke-with-response-stream", &body).await;
        assert_eq!(stream.headers["x-amzn-bedrock-content-type"], "application/json");
        let (message, events) = (whole.json(), chunks(&stream));
        let of = |kind: &str| -> Vec<&Value> { events.iter().filter(|e| e["type"] == kind).collect() };
        assert_eq!((&events[0]["type"], of("message_stop").len()), (&json!("message_start"), 1));
        let delta = of("message_delta")[0];
        assert_eq!(delta["delta"]["stop_reason"], message["stop_reason"], "{body}");
        assert_eq!(delta["delta"]["stop_sequence"], message["stop_sequence"]);
        assert_eq!(delta["usage"]["output_tokens"], message["usage"]["output_tokens"]);
        assert_eq!(content(&events), message["content"], "{body}");
        let metrics = &events.last().unwrap()["amazon-bedrock-invocationMetrics"];
        assert_eq!(metrics["inputTokenCount"].to_string(), whole.headers["x-amzn-bedrock-input-token-count"]);
        assert_eq!(metrics["outputTokenCount"], message["usage"]["output_tokens"]);
    }
}

#[tokio::test]
async fn claude_and_converse_say_the_same() {
    let running = Running::today().await;
    for text in ["hi", "Compare two dialects of one thing", "\"quoted words\" here"] {
        let converse = running.call(SONNET, "converse", &converse(text)).await.json();
        let message = running.call(SONNET, "invoke", &claude(text)).await.json();
        assert_eq!(message["content"][0]["text"], text_of(&converse));
        assert_eq!(message["stop_reason"], converse["stopReason"]);
        assert_eq!(message["usage"]["input_tokens"], converse["usage"]["inputTokens"]);
        assert_eq!(message["usage"]["output_tokens"], converse["usage"]["outputTokens"]);
        assert_eq!(message["model"], "claude-sonnet-4-6");
    }
}

#[tokio::test]
async fn titan_streams_what_it_answers() {
    let running = Running::start(Config::new(jiff::civil::date(2025, 6, 1))).await;
    let titan = "amazon.titan-text-premier-v1:0";
    for (settings, reason) in [
        (json!({}), "FINISH"),
        (json!({"maxTokenCount": 5}), "LENGTH"),
        (json!({"stopSequences": ["Kairos"]}), "STOP_CRITERIA_MET"),
    ] {
        let body = json!({"inputText": "hi there", "textGenerationConfig": settings});
        let whole = running.call(titan, "invoke", &body).await.json();
        let stream = running.call(titan, "invoke-with-response-stream", &body).await;
        let events = chunks(&stream);
        let text: String = events.iter().map(|e| e["outputText"].as_str().unwrap()).collect();
        let (result, last) = (&whole["results"][0], events.last().unwrap());
        assert_eq!(result["outputText"], text);
        assert_eq!((&result["completionReason"], &last["completionReason"]), (&json!(reason), &json!(reason)));
        assert_eq!(events[0]["inputTextTokenCount"], whole["inputTextTokenCount"]);
        assert_eq!(last["totalOutputTextTokenCount"], result["tokenCount"]);
        let metrics = &last["amazon-bedrock-invocationMetrics"];
        assert_eq!(metrics["outputTokenCount"], result["tokenCount"]);
    }
}

#[tokio::test]
async fn a_router_answers_for_the_model_it_chose() {
    let running = Running::today().await;
    let router = "arn:aws:bedrock:us-east-1:123456789012:default-prompt-router/amazon.nova:1";
    for (text, model) in [("hi".to_owned(), "nova-lite"), ("words ".repeat(50), "nova-pro")] {
        let answer = running.call(router, "converse", &converse(&text)).await.json();
        let chosen = answer["trace"]["promptRouter"]["invokedModelId"].as_str().unwrap();
        assert!(chosen.contains(model), "{chosen}");
        let row = running.bill.rows(0, 10).pop().unwrap();
        assert!(row.base_model.contains(model) && row.route == "geo:us" && row.model == router);
    }
}

#[tokio::test]
async fn an_application_profile_stands_for_what_it_was_made_of() {
    let arn = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc";
    let mut config = Config::new(TODAY);
    config.application_profiles.insert(arn.into(), SONNET.into());
    let running = Running::start(config).await;
    let encoded = arn.replace(':', "%3A").replace('/', "%2F");
    for id in [arn, &encoded] {
        assert_eq!(running.call(id, "converse", &converse("hi")).await.status, 200, "{id}");
    }
    let rows = running.bill.rows(0, 10);
    assert!(rows.iter().all(|row| row.model == arn && row.route == "global"));
}

#[tokio::test]
async fn paced_answers_say_how_long_they_took() {
    let mut config = Config::new(TODAY);
    let speed = Speed { first_token: Duration::from_millis(2), tokens_per_second: 100_000 };
    config.pace = Pace::Paced { default: speed, models: [].into() };
    let running = Running::start(config).await;
    let whole = running.call(NOVA, "converse", &converse("hi")).await.json();
    let streamed = running.call(NOVA, "converse-stream", &converse("hi")).await;
    assert_eq!(gathered(&streamed), whole);
    // 20 to 120 tokens at 100,000 a second are up to 1.2 ms more.
    assert!((2..=3).contains(&whole["metrics"]["latencyMs"].as_u64().unwrap()));
}
