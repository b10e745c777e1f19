//! Golden conversions of every family, and that whole and streamed answers agree.

use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::Usage;
use crate::bedrock::invoke::{self, ChunkReader, Counts};
use crate::bedrock::{parse_answer, parse_event};
use crate::eventstream::Decoder;

const NOVA: Target = Target { family: Some(Family::Nova), max_output_tokens: 5_000 };

fn ask(family: Family, body: &str) -> Translated {
    translate(family, body.as_bytes(), &[], false, NOVA).unwrap_or_else(|invalid| panic!("{body}: {invalid}"))
}

fn converse(family: Family, body: &str) -> String {
    String::from_utf8(ask(family, body).body).unwrap()
}

/// A body of each family that asks "hi", a system prompt with it where the family has one.
const ASKED: [(Family, &str, &str); 12] = [
    (
        Family::Claude,
        r#"{"anthropic_version":"bedrock-2023-05-31","max_tokens":64,"system":[{"type":"text","text":"s"}],"messages":[{"role":"user","content":"a"},{"role":"assistant","content":[{"type":"text","text":"b"},{"type":"tool_use","id":"t","name":"f","input":{"x":1}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"t","content":"r"},{"type":"text","text":"hi"}]}],"tools":[{"name":"f","description":"d","input_schema":{"type":"object"}}],"tool_choice":{"type":"any"},"temperature":0.5,"top_p":1,"top_k":20,"stop_sequences":["x"]}"#,
        r#"{"messages":[{"role":"user","content":[{"text":"a"}]},{"role":"assistant","content":[{"text":"b"},{"toolUse":{"toolUseId":"t","name":"f","input":{"x":1}}}]},{"role":"user","content":[{"toolResult":{"toolUseId":"t","content":[{"text":"r"}]}},{"text":"hi"}]}],"system":[{"text":"s"}],"inferenceConfig":{"maxTokens":64,"temperature":0.5,"stopSequences":["x"]},"toolConfig":{"tools":[{"toolSpec":{"name":"f","description":"d","inputSchema":{"json":{"type":"object"}}}}],"toolChoice":{"any":{}}},"additionalModelRequestFields":{"inferenceConfig":{"topK":20}}}"#,
    ),
    (
        Family::Nova,
        r#"{"schemaVersion":"messages-v1","messages":[{"role":"user","content":[{"image":{"format":"png","source":{"bytes":"AA=="}}},{"text":"hi"}]}],"system":[{"text":"s"}],"inferenceConfig":{"max_new_tokens":64,"topK":20,"topP":0.9}}"#,
        r#"{"messages":[{"role":"user","content":[{"image":{"format":"png","source":{"bytes":"AA=="}}},{"text":"hi"}]}],"system":[{"text":"s"}],"inferenceConfig":{"maxTokens":64,"topP":0.9},"additionalModelRequestFields":{"inferenceConfig":{"topK":20}}}"#,
    ),
    (
        Family::Titan,
        r#"{"inputText":"hi","textGenerationConfig":{"maxTokenCount":64,"temperature":0,"topP":1,"stopSequences":["User:"]}}"#,
        r#"{"messages":[{"role":"user","content":[{"text":"hi"}]}],"inferenceConfig":{"maxTokens":64,"temperature":0,"stopSequences":["User:"]}}"#,
    ),
    (
        Family::Titan,
        r#"{"inputText":"hi"}"#,
        r#"{"messages":[{"role":"user","content":[{"text":"hi"}]}],"inferenceConfig":{"maxTokens":512}}"#,
    ),
    (
        Family::Llama,
        r#"{"prompt":"<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\ns<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nhi<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n","temperature":0.5,"top_p":0.9}"#,
        r#"{"messages":[{"role":"user","content":[{"text":"hi"}]}],"system":[{"text":"s"}],"inferenceConfig":{"maxTokens":512,"temperature":0.5,"topP":0.9}}"#,
    ),
    (
        Family::Mistral,
        r#"{"prompt":"<s>[INST] hi [/INST]","max_tokens":64,"temperature":0.5,"top_p":0.9,"top_k":50,"stop":[]}"#,
        r#"{"messages":[{"role":"user","content":[{"text":"hi"}]}],"inferenceConfig":{"maxTokens":64,"temperature":0.5,"topP":0.9},"additionalModelRequestFields":{"inferenceConfig":{"topK":50}}}"#,
    ),
    (
        Family::Mistral,
        r#"{"messages":[{"role":"system","content":"s"},{"role":"user","content":"hi"}],"max_tokens":64,"tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object"}}}],"tool_choice":"any"}"#,
        r#"{"messages":[{"role":"user","content":[{"text":"hi"}]}],"system":[{"text":"s"}],"inferenceConfig":{"maxTokens":64},"toolConfig":{"tools":[{"toolSpec":{"name":"f","inputSchema":{"json":{"type":"object"}}}}],"toolChoice":{"any":{}}}}"#,
    ),
    (
        Family::Jamba,
        r#"{"messages":[{"role":"system","content":"s"},{"role":"user","content":"hi"}],"n":1,"stop":"x","documents":[],"frequency_penalty":0}"#,
        r#"{"messages":[{"role":"user","content":[{"text":"hi"}]}],"system":[{"text":"s"}],"inferenceConfig":{"maxTokens":4096,"stopSequences":["x"]}}"#,
    ),
    (
        Family::Jurassic,
        r#"{"prompt":"hi","temperature":0.5,"topP":1,"numResults":1,"stopSequences":[],"countPenalty":{"scale":0},"presencePenalty":{"scale":0,"applyToNumbers":true},"frequencyPenalty":{"scale":0}}"#,
        r#"{"messages":[{"role":"user","content":[{"text":"hi"}]}],"inferenceConfig":{"maxTokens":200,"temperature":0.5}}"#,
    ),
    (
        Family::Command,
        r#"{"message":"hi","preamble":"s","chat_history":[{"role":"USER","message":"a"},{"role":"CHATBOT","message":"b"},{"role":"USER","message":"c"}],"max_tokens":64,"p":0.9,"k":7}"#,
        r#"{"messages":[{"role":"user","content":[{"text":"a"}]},{"role":"assistant","content":[{"text":"b"}]},{"role":"user","content":[{"text":"c\n\nhi"}]}],"system":[{"text":"s"}],"inferenceConfig":{"maxTokens":64,"topP":0.9},"additionalModelRequestFields":{"inferenceConfig":{"topK":7}}}"#,
    ),
    (
        Family::Deepseek,
        r#"{"prompt":"<｜begin▁of▁sentence｜><｜User｜>hi<｜Assistant｜><think>\n","max_tokens":64,"temperature":0.5,"top_p":0.9}"#,
        r#"{"messages":[{"role":"user","content":[{"text":"hi"}]}],"inferenceConfig":{"maxTokens":64,"temperature":0.5,"topP":0.9}}"#,
    ),
    (
        Family::Deepseek,
        r#"{"messages":[{"role":"user","content":"hi"}],"max_tokens":64,"stop":["x"]}"#,
        r#"{"messages":[{"role":"user","content":[{"text":"hi"}]}],"inferenceConfig":{"maxTokens":64,"stopSequences":["x"]}}"#,
    ),
];

#[test]
fn bodies_become_converse() {
    for (family, body, expected) in ASKED {
        assert_eq!(converse(family, body), expected, "{body}");
    }
}

#[test]
fn what_the_answering_model_cannot_be_given_is_refused_by_name() {
    let cases: &[(Family, &str, &str)] = &[
        (Family::Titan, r#"{"inputText":" "}"#, "inputText: a text that is not blank is needed"),
        (Family::Titan, r#"{"inputText":"x","seed":1}"#, "seed: "),
        (
            Family::Titan,
            r#"{"inputText":"x","textGenerationConfig":{"maxTokenCount":0}}"#,
            "textGenerationConfig.maxTokenCount: a whole",
        ),
        (
            Family::Titan,
            r#"{"inputText":"x","textGenerationConfig":{"temperature":1.5}}"#,
            "textGenerationConfig.temperature: a number",
        ),
        (Family::Jurassic, r#"{"prompt":"x","numResults":2}"#, "numResults: "),
        (Family::Jurassic, r#"{"prompt":"x","topKReturn":5}"#, "topKReturn: "),
        (Family::Jurassic, r#"{"prompt":"x","countPenalty":{"scale":0.5}}"#, "countPenalty: "),
        (Family::Jamba, r#"{"messages":[{"role":"user","content":"x"}],"n":2}"#, "n: only 1 answer"),
        (Family::Jamba, r#"{"messages":[{"role":"user","content":"x"}],"documents":[{"content":"d"}]}"#, "documents: "),
        (Family::Jamba, r#"{"messages":[{"role":"user","content":"x"}],"logprobs":true}"#, "logprobs: "),
        (Family::Llama, r#"{"prompt":"x","images":["AA=="]}"#, "images: "),
        (Family::Llama, r#"{"prompt":"x","max_tokens":5}"#, "max_tokens: "),
        (
            Family::Mistral,
            r#"{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"x"}}]}]}"#,
            "messages[0].content[0].type: ",
        ),
        (Family::Command, r#"{"message":"x","documents":[{"t":"d"}]}"#, "documents: "),
        (Family::Command, r#"{"message":"x","tools":[{"name":"f"}]}"#, "tools: "),
        (
            Family::Command,
            r#"{"message":"x","chat_history":[{"role":"CHATBOT","message":"a"}]}"#,
            "chat_history[0].role: a conversation",
        ),
        (
            Family::Command,
            r#"{"message":"x","chat_history":[{"role":"BOT","message":"a"}]}"#,
            "chat_history[0].role: \"BOT\" is not",
        ),
        (
            Family::Claude,
            r#"{"max_tokens":5,"messages":[{"role":"user","content":[{"type":"image","source":{}}]}]}"#,
            "messages[0].content[0].type: ",
        ),
        (
            Family::Claude,
            r#"{"max_tokens":5,"messages":[{"role":"user","content":[{"type":"text","text":"x","cache_control":{"type":"ephemeral"}}]}]}"#,
            "messages[0].content[0].cache_control: ",
        ),
        (
            Family::Claude,
            r#"{"max_tokens":5,"messages":[{"role":"user","content":"x"}],"thinking":{"type":"enabled"}}"#,
            "thinking: ",
        ),
        (Family::Claude, r#"{"messages":[{"role":"user","content":"x"}]}"#, "max_tokens: a whole"),
        (Family::Claude, r#"{"max_tokens":5,"messages":[]}"#, "messages: a conversation starts"),
        (Family::Nova, r#"{"messages":[],"schemaVersion":"messages-v2"}"#, "schemaVersion: "),
        (Family::Nova, r#"{"messages":[]}"#, "messages: at least one"),
        (
            Family::Nova,
            r#"{"messages":[{"role":"user","content":[{"text":"x"}]}],"inferenceConfig":{"maxTokens":1,"max_new_tokens":2}}"#,
            "inferenceConfig.maxTokens: give this",
        ),
        (Family::Deepseek, r#"{"prompt":"x","logprobs":3}"#, "logprobs: "),
    ];
    for (family, body, expected) in cases {
        let said = translate(*family, body.as_bytes(), &[], false, NOVA).map(|_| ()).unwrap_err().text();
        assert!(said.starts_with(expected), "{body}: {said}");
    }
    // Some models cannot be told to sample among so many tokens; Jurassic-2 has no streams.
    let llama = Target { family: Some(Family::Llama), ..NOVA };
    let asked = br#"{"prompt":"x","top_k":50}"#;
    assert!(translate(Family::Mistral, asked, &[], false, llama).unwrap_err().text().starts_with("top_k: "));
    let streamed = translate(Family::Jurassic, br#"{"prompt":"x"}"#, &[], true, NOVA).unwrap_err();
    assert_eq!(streamed.text(), "Jurassic-2 has no streams; use InvokeModel");
}

#[test]
fn the_limit_is_lowered_to_what_the_answering_model_gives() {
    let translated = ask(Family::Jurassic, r#"{"prompt":"x","maxTokens":8191}"#);
    assert_eq!(translated.outline.max_output_tokens, Some(5_000));
    assert_eq!(translated.warnings.len(), 1);
}

#[test]
fn headers_of_invoke_model_stand_in_the_body() {
    let headers = [
        ("x-amzn-bedrock-service-tier", "flex".to_owned()),
        ("x-amzn-bedrock-guardrailidentifier", "g".to_owned()),
        ("x-amzn-bedrock-guardrailversion", "1".to_owned()),
        ("x-amzn-bedrock-request-metadata", r#"{"team":"a"}"#.to_owned()),
        ("accept", "application/json".to_owned()),
    ];
    let body = br#"{"inputText":"hi"}"#;
    let translated = translate(Family::Titan, body, &headers, false, NOVA).unwrap();
    let sent: Value = serde_json::from_slice(&translated.body).unwrap();
    assert_eq!(sent["serviceTier"], json!({"type": "flex"}));
    assert_eq!(sent["guardrailConfig"]["trace"], "enabled");
    assert_eq!(sent["requestMetadata"], json!({"team": "a"}));
    assert!(translated.outline.needs.contains(crate::Needs::GUARDRAILS));
    let answer = whole(&translated.shape, &reply("hello", "guardrail_intervened", true));
    assert_eq!(answer["amazon-bedrock-guardrailAction"], "INTERVENED");
    for (name, value, says) in [
        ("x-amzn-bedrock-trace", "ENABLED", "X-Amzn-Bedrock-Trace: "),
        ("x-amzn-bedrock-guardrailidentifier", "g", "X-Amzn-Bedrock-GuardrailVersion: "),
        ("x-amzn-bedrock-request-metadata", "[]", "X-Amzn-Bedrock-Request-Metadata: "),
    ] {
        let said = translate(Family::Titan, body, &[(name, value.to_owned())], false, NOVA).unwrap_err().text();
        assert!(said.starts_with(says), "{said}");
    }
}

const HEAD: Head<'_> = Head { request_id: "a1", model: "m" };

/// A Converse answer.
fn reply(text: &str, stop: &str, usage: bool) -> String {
    let mut reply =
        json!({"output": {"message": {"role": "assistant", "content": [{"text": text}]}}, "stopReason": stop});
    if usage {
        reply["usage"] = json!({"inputTokens": 3, "outputTokens": 7, "totalTokens": 10});
    }
    reply.to_string()
}

fn whole(shape: &Shape, reply: &str) -> Value {
    serde_json::from_slice(&shape.answer(HEAD, &parse_answer(reply.as_bytes()).unwrap())).unwrap()
}

/// What each of [`ASKED`] gets for "hello".
const ANSWERED: [&str; 12] = [
    r#"{"id":"msg_bdrk_a1","type":"message","role":"assistant","model":"m","content":[{"type":"text","text":"hello"}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":3,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":7}}"#,
    r#"{"output":{"message":{"content":[{"text":"hello"}],"role":"assistant"}},"stopReason":"end_turn","usage":{"inputTokens":3,"outputTokens":7,"totalTokens":10,"cacheReadInputTokenCount":0,"cacheWriteInputTokenCount":0}}"#,
    r#"{"inputTextTokenCount":3,"results":[{"tokenCount":7,"outputText":"hello","completionReason":"FINISH"}]}"#,
    r#"{"inputTextTokenCount":3,"results":[{"tokenCount":7,"outputText":"hello","completionReason":"FINISH"}]}"#,
    r#"{"generation":"hello","prompt_token_count":3,"generation_token_count":7,"stop_reason":"stop"}"#,
    r#"{"outputs":[{"text":"hello","stop_reason":"stop"}]}"#,
    r#"{"id":"a1","choices":[{"index":0,"message":{"role":"assistant","content":"hello","tool_calls":null},"stop_reason":"stop"}]}"#,
    r#"{"id":"a1","choices":[{"index":0,"message":{"role":"assistant","content":"hello","tool_calls":null},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":7,"total_tokens":10}}"#,
    r#"{"id":161,"prompt":{"text":"hi"},"completions":[{"data":{"text":"hello"},"finishReason":{"reason":"endoftext"}}]}"#,
    r#"{"response_id":"a1","text":"hello","generation_id":"a1","chat_history":[{"role":"USER","message":"a"},{"role":"CHATBOT","message":"b"},{"role":"USER","message":"c"},{"role":"USER","message":"hi"},{"role":"CHATBOT","message":"hello"}],"finish_reason":"COMPLETE"}"#,
    r#"{"choices":[{"text":"</think>\n\nhello","stop_reason":"stop"}]}"#,
    r#"{"id":"a1","choices":[{"index":0,"message":{"role":"assistant","content":"hello","tool_calls":null},"finish_reason":"stop"}]}"#,
];

#[test]
fn answers_have_the_familys_shape() {
    for ((family, body, _), expected) in ASKED.into_iter().zip(ANSWERED) {
        let shape = ask(family, body).shape;
        assert_eq!(whole(&shape, &reply("hello", "end_turn", true)).to_string(), expected, "{body}");
    }
}

#[test]
fn what_was_not_counted_is_not_stated() {
    for (family, body, _) in ASKED {
        let shape = ask(family, body).shape;
        let answer = whole(&shape, &reply("hello", "end_turn", false));
        assert_eq!(invoke::usage(Counts::default(), answer.to_string().as_bytes()), None, "{answer}");
    }
}

#[test]
fn tool_calls_in_every_family_that_has_them() {
    let reply = r#"{"output":{"message":{"content":[{"text":"so"},{"toolUse":{"toolUseId":"t","name":"f","input":{"x":1.5}}}]}},"stopReason":"tool_use"}"#;
    let tools: [(usize, &str, &str); 4] = [
        (0, "/content/1", r#"{"type":"tool_use","id":"t","name":"f","input":{"x":1.5}}"#),
        (1, "/output/message/content/1", r#"{"toolUse":{"toolUseId":"t","name":"f","input":{"x":1.5}}}"#),
        (
            6,
            "/choices/0/message/tool_calls/0",
            r#"{"id":"t","type":"function","function":{"name":"f","arguments":"{\"x\":1.5}"}}"#,
        ),
        (
            7,
            "/choices/0/message/tool_calls/0",
            r#"{"id":"t","type":"function","function":{"name":"f","arguments":"{\"x\":1.5}"}}"#,
        ),
    ];
    for (place, pointer, expected) in tools {
        let (family, body, _) = ASKED[place];
        let answer = whole(&ask(family, body).shape, reply);
        assert_eq!(answer.pointer(pointer).unwrap().to_string(), expected, "{answer}");
    }
}

/// The events of an answer, as ConverseStream sends them.
fn events(pieces: &[&str], stop: &str, tool: bool) -> Vec<(&'static str, String)> {
    let mut events = vec![("messageStart", json!({"role": "assistant"}))];
    for piece in pieces {
        events.push(("contentBlockDelta", json!({"contentBlockIndex": 0, "delta": {"text": piece}})));
    }
    events.push(("contentBlockStop", json!({"contentBlockIndex": 0})));
    if tool {
        let start = json!({"toolUse": {"toolUseId": "t", "name": "f"}});
        events.push(("contentBlockStart", json!({"contentBlockIndex": 1, "start": start})));
        for input in ["{\"x\":", "1.5}"] {
            let delta = json!({"toolUse": {"input": input}});
            events.push(("contentBlockDelta", json!({"contentBlockIndex": 1, "delta": delta})));
        }
        events.push(("contentBlockStop", json!({"contentBlockIndex": 1})));
    }
    events.push(("messageStop", json!({"stopReason": stop})));
    events.into_iter().map(|(name, payload)| (name, payload.to_string())).collect()
}

/// The chunks of a stream, and what the gateway's own reader makes of them.
fn streamed(shape: Shape, events: &[(&'static str, String)], usage: Option<Usage>) -> (Vec<Value>, ChunkReader) {
    let mut writer = ChunkWriter::new(Arc::new(shape), HEAD);
    let mut out = Vec::new();
    for (name, payload) in events {
        writer.event(&parse_event(name, payload.as_bytes()).unwrap(), &mut out);
    }
    writer.finish(usage, Timing { latency_ms: 9, first_byte_ms: 4 }, &mut out);
    let (mut decoder, mut reader, mut chunks) = (Decoder::default(), ChunkReader::default(), Vec::new());
    decoder.push(&out);
    while let Some(frame) = decoder.next_frame().unwrap() {
        assert_eq!(frame.name(), "chunk");
        reader.read(&frame.payload).unwrap();
        let payload: Value = serde_json::from_slice(&frame.payload).unwrap();
        let bytes = base64::Engine::decode(&base64::prelude::BASE64_STANDARD, payload["bytes"].as_str().unwrap());
        chunks.push(serde_json::from_slice(&bytes.unwrap()).unwrap());
    }
    (chunks, reader)
}

const USAGE: Usage = Usage {
    input: 3,
    output: 7,
    cache_read: 0,
    cache_write_5m: 0,
    cache_write_1h: 0,
    cache_write_unknown: 0,
    guardrail: crate::usage::GuardrailUnits {
        topic_policy_units: 0,
        content_policy_units: 0,
        content_policy_image_units: 0,
        word_policy_units: 0,
        sensitive_information_policy_units: 0,
        contextual_grounding_policy_units: 0,
        automated_reasoning_policy_units: 0,
    },
    units: crate::usage::Units::of(crate::usage::Unit::Image, 0),
};

/// Where a family's chunks have their text.
const PIECES: [&str; 9] = [
    "/delta/text",
    "/contentBlockDelta/delta/text",
    "/outputText",
    "/generation",
    "/outputs/0/text",
    "/choices/0/message/content",
    "/choices/0/delta/content",
    "/choices/0/text",
    "/text",
];

/// Where bodies and last chunks say why the model stopped.
const STOPS: [&str; 11] = [
    "/stop_reason",
    "/delta/stop_reason",
    "/stopReason",
    "/messageStop/stopReason",
    "/results/0/completionReason",
    "/completionReason",
    "/outputs/0/stop_reason",
    "/choices/0/stop_reason",
    "/choices/0/finish_reason",
    "/finish_reason",
    "/completions/0/finishReason/reason",
];

const TEXTS: [&str; 9] = [
    "/content/0/text",
    "/output/message/content/0/text",
    "/results/0/outputText",
    "/generation",
    "/outputs/0/text",
    "/choices/0/message/content",
    "/completions/0/data/text",
    "/text",
    "/choices/0/text",
];

fn first<'a>(value: &'a Value, pointers: &[&str]) -> Option<&'a str> {
    pointers.iter().find_map(|pointer| value.pointer(pointer)?.as_str())
}

#[test]
fn chunks_have_the_familys_shape() {
    let cases: [(usize, &[&str]); 5] = [
        (
            0,
            &[
                r#"{"type":"message_start","message":{"id":"msg_bdrk_a1","type":"message","role":"assistant","model":"m","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":0,"output_tokens":0}}}"#,
                r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#,
                r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"hel"}}"#,
                r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"lo"}}"#,
                r#"{"type":"content_block_stop","index":0}"#,
                r#"{"type":"message_delta","delta":{"stop_reason":"max_tokens","stop_sequence":null},"usage":{"input_tokens":3,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":7}}"#,
                r#"{"type":"message_stop","amazon-bedrock-invocationMetrics":{"inputTokenCount":3,"outputTokenCount":7,"invocationLatency":9,"firstByteLatency":4}}"#,
            ],
        ),
        (
            1,
            &[
                r#"{"messageStart":{"role":"assistant"}}"#,
                r#"{"contentBlockDelta":{"delta":{"text":"hel"},"contentBlockIndex":0}}"#,
                r#"{"contentBlockDelta":{"delta":{"text":"lo"},"contentBlockIndex":0}}"#,
                r#"{"contentBlockStop":{"contentBlockIndex":0}}"#,
                r#"{"messageStop":{"stopReason":"max_tokens"}}"#,
                r#"{"metadata":{"usage":{"inputTokens":3,"outputTokens":7,"totalTokens":10,"cacheReadInputTokenCount":0,"cacheWriteInputTokenCount":0},"metrics":{},"trace":{}},"amazon-bedrock-invocationMetrics":{"inputTokenCount":3,"outputTokenCount":7,"invocationLatency":9,"firstByteLatency":4}}"#,
            ],
        ),
        (
            2,
            &[
                r#"{"outputText":"hel","index":0,"totalOutputTextTokenCount":null,"completionReason":null,"inputTextTokenCount":null}"#,
                r#"{"outputText":"lo","index":0,"totalOutputTextTokenCount":null,"completionReason":null,"inputTextTokenCount":null}"#,
                r#"{"outputText":"","index":0,"totalOutputTextTokenCount":7,"completionReason":"LENGTH","inputTextTokenCount":3,"amazon-bedrock-invocationMetrics":{"inputTokenCount":3,"outputTokenCount":7,"invocationLatency":9,"firstByteLatency":4}}"#,
            ],
        ),
        (
            7,
            &[
                r#"{"id":"a1","choices":[{"index":0,"delta":{"role":"assistant","content":"hel"},"finish_reason":null}]}"#,
                r#"{"id":"a1","choices":[{"index":0,"delta":{"role":"assistant","content":"lo"},"finish_reason":null}]}"#,
                r#"{"id":"a1","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":"length"}],"usage":{"prompt_tokens":3,"completion_tokens":7,"total_tokens":10},"amazon-bedrock-invocationMetrics":{"inputTokenCount":3,"outputTokenCount":7,"invocationLatency":9,"firstByteLatency":4}}"#,
            ],
        ),
        (
            10,
            &[
                r#"{"choices":[{"text":"</think>\n\nhel","stop_reason":null}]}"#,
                r#"{"choices":[{"text":"lo","stop_reason":null}]}"#,
                r#"{"choices":[{"text":"","stop_reason":"length"}],"amazon-bedrock-invocationMetrics":{"inputTokenCount":3,"outputTokenCount":7,"invocationLatency":9,"firstByteLatency":4}}"#,
            ],
        ),
    ];
    for (place, expected) in cases {
        let (family, body, _) = ASKED[place];
        let (chunks, _) = streamed(ask(family, body).shape, &events(&["hel", "lo"], "max_tokens", false), Some(USAGE));
        assert_eq!(chunks.iter().map(Value::to_string).collect::<Vec<_>>(), expected, "{body}");
    }
}

#[test]
fn tool_calls_are_streamed() {
    let all = events(&["so"], "tool_use", true);
    let last = |place: usize| {
        let (family, body, _) = ASKED[place];
        let (chunks, _) = streamed(ask(family, body).shape, &all, Some(USAGE));
        chunks
    };
    let call = r#"{"id":"t","type":"function","function":{"name":"f","arguments":"{\"x\":1.5}"}}"#;
    for (place, pointer) in [(6, "/choices/0/message/tool_calls/0"), (7, "/choices/0/delta/tool_calls/0")] {
        let chunks = last(place);
        let ending = chunks.last().unwrap();
        assert_eq!(ending.pointer(pointer).unwrap().to_string(), call);
        assert_eq!(first(ending, &STOPS), Some("tool_calls"));
    }
    let claude: Vec<_> = last(0).iter().map(|chunk| chunk["type"].as_str().unwrap().to_owned()).collect();
    let block = ["content_block_start", "content_block_delta", "content_block_stop"];
    let tool = ["content_block_start", "content_block_delta", "content_block_delta", "content_block_stop"];
    assert_eq!(claude, [&["message_start"][..], &block, &tool, &["message_delta", "message_stop"]].concat());
    let nova: Vec<_> = last(1).iter().map(|chunk| chunk.as_object().unwrap().keys().next().unwrap().clone()).collect();
    assert!(nova.contains(&"contentBlockStart".to_owned()), "{nova:?}");
}

#[test]
fn a_stream_without_usage_ends_all_the_same() {
    for (family, body, _) in ASKED.into_iter().filter(|(family, _, _)| *family != Family::Jurassic) {
        let (chunks, reader) = streamed(ask(family, body).shape, &events(&["x"], "end_turn", false), None);
        assert!(reader.ended() && !reader.has_metrics(), "{chunks:?}");
        assert!(chunks.last().unwrap().get("amazon-bedrock-invocationMetrics").is_none());
        // Claude's first event must hold a number; nothing was stated, and nothing is taken for it.
        let guessed = reader.usage().filter(|_| family != Family::Claude);
        assert_eq!(guessed, None, "{chunks:?}");
    }
}

proptest! {
    /// However an answer is cut into events, its text, its reason to stop and its usage are those of
    /// the whole answer.
    #[test]
    fn whole_and_streamed_agree(
        text in "[a-zé\"\\\\\n ]{1,40}",
        cuts in proptest::collection::vec(0usize..40, 0..6),
        stop in prop_oneof![
            Just("end_turn"), Just("max_tokens"), Just("stop_sequence"), Just("content_filtered"),
            Just("guardrail_intervened"), Just("model_context_window_exceeded"), Just("else"),
        ],
    ) {
        let mut cuts: Vec<_> = cuts.into_iter().map(|cut| text.floor_char_boundary(cut)).collect();
        cuts.extend([0, text.len()]);
        cuts.sort_unstable();
        let pieces: Vec<_> = cuts.windows(2).map(|pair| &text[pair[0]..pair[1]]).collect();
        for (family, body, _) in ASKED.into_iter().filter(|(family, _, _)| *family != Family::Jurassic) {
            let answer = whole(&ask(family, body).shape, &reply(&text, stop, true));
            let (chunks, reader) = streamed(ask(family, body).shape, &events(&pieces, stop, false), Some(USAGE));
            let said: String = chunks.iter().filter_map(|chunk| first(chunk, &PIECES)).collect();
            prop_assert_eq!(Some(said.as_str()), first(&answer, &TEXTS));
            let why = chunks.iter().rev().find_map(|chunk| first(chunk, &STOPS));
            prop_assert_eq!(why, first(&answer, &STOPS));
            prop_assert_eq!(reader.usage(), Some(USAGE));
            prop_assert!(reader.ended() && reader.has_metrics());
        }
    }

    #[test]
    fn rubbish_never_panics(text in "\\PC{0,60}", bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
        for (family, _, _) in ASKED {
            let _ = translate(family, &bytes, &[], false, NOVA);
            for name in ["prompt", "inputText", "message", "messages"] {
                let _ = translate(family, json!({name: text}).to_string().as_bytes(), &[], true, NOVA);
            }
            for marker in ["[INST]", "<|start_header_id|>", "<｜User｜>"] {
                let prompt = json!({"prompt": format!("{marker}{text}{marker}")});
                let _ = translate(family, prompt.to_string().as_bytes(), &[], false, NOVA);
            }
        }
    }
}

/// Where a family's own fields are known, others' say nothing of what an answer may cost.
#[test]
fn the_familys_own_fields_bound_the_answer() {
    let body = br#"{"prompt":"x","max_tokens":1,"max_gen_len":900,"n":9,"numResults":5}"#;
    for (family, limit, completions) in [
        (None, Some(900), 9),
        (Some(Family::Llama), Some(900), 1),
        (Some(Family::Mistral), Some(1), 9),
        (Some(Family::Jurassic), None, 5),
        (Some(Family::Titan), None, 1),
    ] {
        let outline = invoke::outline(body, false, family).unwrap();
        assert_eq!((outline.max_output_tokens, outline.completions), (limit, completions), "{family:?}");
    }
}
