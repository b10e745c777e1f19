//! Streams of InvokeModel under a guard, as each family writes them.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kairos_pipeline::gateway::Gateway;
use kairos_pipeline::policy::{Guard, Identity, InspectInput, PolicyError, Verdict};
use kairos_pipeline::request::Operation;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::scripted::{Answer, Outcome, run_with};
use super::{MAIL, NOVA, pii, stops};

/// How a family writes a stream.
struct Family {
    name: &'static str,
    /// What comes before and after the text.
    before: fn() -> Vec<Value>,
    /// The last of these has AWS's counts.
    after: fn() -> Vec<Value>,
    piece: fn(&str) -> Value,
    /// Where a chunk has its text.
    at: &'static [&'static str],
}

const FAMILIES: [Family; 8] = [
    Family {
        name: "Claude",
        before: || {
            let message = json!({"id": "msg", "type": "message", "role": "assistant", "content": [], "model": "m",
                "stop_reason": null, "usage": {"input_tokens": 10, "output_tokens": 1}});
            let block = json!({"type": "text", "text": ""});
            vec![
                json!({"type": "message_start", "message": message}),
                json!({"type": "content_block_start", "index": 0, "content_block": block}),
                json!({"type": "ping"}),
            ]
        },
        after: || {
            let delta = json!({"stop_reason": "end_turn", "stop_sequence": null});
            vec![
                json!({"type": "content_block_stop", "index": 0}),
                json!({"type": "message_delta", "delta": delta, "usage": {"output_tokens": 20}}),
                json!({"type": "message_stop"}),
            ]
        },
        piece: |text| json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}),
        at: &["/delta/text", "/content_block/text"],
    },
    Family {
        name: "Nova",
        before: || vec![json!({"messageStart": {"role": "assistant"}})],
        after: || {
            vec![
                json!({"contentBlockStop": {"contentBlockIndex": 0}}),
                json!({"messageStop": {"stopReason": "end_turn"}}),
                json!({"metadata": {"usage": {"inputTokens": 10, "outputTokens": 20}, "metrics": {}, "trace": {}}}),
            ]
        },
        piece: |text| json!({"contentBlockDelta": {"delta": {"text": text}, "contentBlockIndex": 0}}),
        at: &["/contentBlockDelta/delta/text"],
    },
    Family {
        name: "Titan",
        before: Vec::new,
        after: || {
            vec![json!({"outputText": "", "index": 0, "totalOutputTextTokenCount": 20, "completionReason": "FINISH",
                "inputTextTokenCount": 10})]
        },
        piece: |text| {
            json!({"outputText": text, "index": 0, "totalOutputTextTokenCount": null, "completionReason": null,
                "inputTextTokenCount": 10})
        },
        at: &["/outputText"],
    },
    Family {
        name: "Llama",
        before: Vec::new,
        after: || {
            vec![
                json!({"generation": "", "prompt_token_count": 10, "generation_token_count": 20, "stop_reason": "stop"}),
            ]
        },
        piece: |text| json!({"generation": text, "prompt_token_count": null, "generation_token_count": 1, "stop_reason": null}),
        at: &["/generation"],
    },
    Family {
        name: "Mistral",
        before: Vec::new,
        after: || vec![json!({"outputs": [{"text": "", "stop_reason": "stop"}]})],
        piece: |text| json!({"outputs": [{"text": text, "stop_reason": null}]}),
        at: &["/outputs/0/text"],
    },
    Family {
        name: "chat",
        before: || {
            vec![
                json!({"id": "c", "choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": null}]}),
            ]
        },
        after: || {
            vec![
                json!({"id": "c", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}),
                json!({"id": "c", "choices": [], "usage": {"prompt_tokens": 10, "completion_tokens": 20}}),
            ]
        },
        piece: |text| json!({"id": "c", "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": null}]}),
        at: &["/choices/0/delta/content"],
    },
    Family {
        name: "DeepSeek",
        before: Vec::new,
        after: || vec![json!({"choices": [{"text": "", "stop_reason": "stop"}]})],
        piece: |text| json!({"choices": [{"text": text, "stop_reason": null}]}),
        at: &["/choices/0/text"],
    },
    Family {
        name: "Command",
        before: Vec::new,
        after: || {
            vec![json!({"is_finished": true, "event_type": "stream-end", "finish_reason": "COMPLETE",
                "response": {"response_id": "r", "finish_reason": "COMPLETE", "text": "",
                    "chat_history": [{"role": "USER", "message": "hi"}]}})]
        },
        piece: |text| json!({"is_finished": false, "event_type": "text-generation", "text": text}),
        at: &["/text"],
    },
];

fn chunk(event: &Value) -> (Duration, &'static str, String) {
    (Duration::ZERO, "chunk", json!({"bytes": STANDARD.encode(event.to_string()), "p": "abc"}).to_string())
}

/// The last one says what AWS counted.
fn chunks(mut events: Vec<Value>) -> Answer {
    if let Some(last) = events.last_mut() {
        last["amazon-bedrock-invocationMetrics"] =
            json!({"inputTokenCount": 10, "outputTokenCount": 20, "invocationLatency": 1, "firstByteLatency": 1});
    }
    Answer::Stream(events.iter().map(chunk).collect())
}

/// The events that the caller got.
fn events(outcome: &Outcome) -> Vec<Value> {
    let chunks = outcome.body.split(r#"{"bytes":""#).skip(1);
    let json = chunks.map(|chunk| STANDARD.decode(chunk.split('"').next().unwrap()).unwrap());
    json.map(|json| serde_json::from_slice(&json).unwrap()).collect()
}

fn text(family: &Family, events: &[Value]) -> String {
    let pieces = events.iter().flat_map(|event| family.at.iter().filter_map(|at| event.pointer(at)?.as_str()));
    pieces.collect()
}

async fn ask(events: Vec<Value>, guard: fn(&mut Gateway)) -> Outcome {
    let body = json!({"schemaVersion": "messages-v1", "messages": [{"role": "user", "content": [{"text": "hi"}]}]});
    let outcome = run_with(Operation::InvokeStream, NOVA, body, vec![chunks(events)], None, guard).await;
    assert_eq!(outcome.status, 200, "{}", outcome.body);
    outcome
}

/// The stream of a family whose text is cut into these.
fn stream(family: &Family, pieces: &[&str]) -> Vec<Value> {
    let mut events = (family.before)();
    events.extend(pieces.iter().map(|piece| (family.piece)(piece)));
    let mut after = (family.after)();
    if family.name == "Command" {
        after[0]["response"]["text"] = pieces.concat().into();
    }
    events.extend(after);
    events
}

fn cut<'a>(text: &'a str, at: &[usize]) -> Vec<&'a str> {
    let mut places: Vec<usize> = at.iter().map(|at| text.floor_char_boundary(at % (text.len() + 1))).collect();
    places.extend([0, text.len()]);
    places.sort_unstable();
    places.windows(2).map(|pair| &text[pair[0]..pair[1]]).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// Wherever a text is cut, in each family, the caller gets the same of it, and nothing of what was found.
    #[test]
    fn the_same_passes_however_a_family_cuts_it(
        before in "[a-zé🦀 ]{0,300}", after in "[a-z.é ]{0,300}", at in proptest::collection::vec(0_usize..2_000, 0..12)
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async {
            for family in &FAMILIES {
                let says = format!("{before} <{MAIL}> {after}");
                let outcome = ask(stream(family, &cut(&says, &at)), pii).await;
                let got = events(&outcome);
                assert_eq!(text(family, &got), says.replace(MAIL, "[EMAIL]"), "{}", family.name);
                assert!(!Value::from(got.clone()).to_string().contains("jane"), "{}: {got:?}", family.name);
                assert_eq!((outcome.record.status, outcome.totals.estimated), ("ok", 0), "{}", family.name);
                let found = outcome.record.guarded.iter().flat_map(|said| &said.findings);
                let found: u64 = found.filter(|(name, _)| **name == *"email").map(|(_, count)| count).sum();
                // Cohere says all of it once more at the end.
                assert_eq!(found, if family.name == "Command" { 2 } else { 1 }, "{}", family.name);
                // What a family says beside its text is said once, in its order.
                let kinds = |events: &[Value]| -> Vec<Value> {
                    let mut kinds: Vec<Value> = events.iter().map(|event| event["type"].clone()).collect();
                    kinds.dedup();
                    kinds
                };
                assert_eq!(kinds(&got), kinds(&stream(family, &[&says])), "{}", family.name);
            }
        });
    }
}

/// Lets everything pass at once.
struct Passes(Identity);

impl Guard for Passes {
    fn identity(&self) -> &Identity {
        &self.0
    }

    fn hold_back(&self) -> usize {
        0
    }

    fn inspect(&self, input: InspectInput<'_>) -> Result<Verdict, PolicyError> {
        Ok(Verdict::pass(input.text))
    }
}

fn passes(gateway: &mut Gateway) {
    gateway.native_guard = Some(Arc::new(Passes(Identity::new("passes", "0", vec![], vec![]))));
}

/// A stream in which nothing is held back has the bytes that came.
#[tokio::test(start_paused = true)]
async fn what_is_not_changed_is_passed_on_as_it_came() {
    for family in &FAMILIES {
        let before = stream(family, &["This is ", "a text."]);
        let outcome = ask(before.clone(), passes).await;
        let mut got = events(&outcome);
        got.last_mut().unwrap().as_object_mut().unwrap().remove("amazon-bedrock-invocationMetrics");
        assert_eq!(got, before, "{}", family.name);
        assert_eq!(outcome.body.matches(r#""p":"abc""#).count(), before.len(), "{}", family.name);
    }
}

/// Where the guard stops an answer, what follows has no text, and says so; its usage is read all the same.
#[tokio::test(start_paused = true)]
async fn what_is_blocked_ends_there_in_every_family() {
    for family in &FAMILIES {
        let outcome = ask(stream(family, &["This is fine. ST", "OP this is", " not"]), stops).await;
        let got = events(&outcome);
        assert_eq!(text(family, &got), "This is fine. ", "{}", family.name);
        let all = Value::from(got).to_string();
        assert!(all.contains(r#""amazon-bedrock-guardrailAction":"INTERVENED""#), "{}: {all}", family.name);
        assert!(all.contains("invocationMetrics") && !all.contains("this is"), "{}: {all}", family.name);
        assert_eq!((outcome.record.status, outcome.totals.estimated, outcome.totals.open_rows), ("ok", 0, 0));
        assert_eq!(outcome.record.guarded.last().unwrap().stopped.as_deref(), Some("forbidden"));
    }
}

/// Claude's thoughts, their signatures, and calls of tools, in pieces of JSON.
#[tokio::test(start_paused = true)]
async fn thoughts_and_calls_are_judged_too() {
    let claude = |index: u32, delta: Value| json!({"type": "content_block_delta", "index": index, "delta": delta});
    let start =
        |index: u32, block: Value| json!({"type": "content_block_start", "index": index, "content_block": block});
    let stop = |index: u32| json!({"type": "content_block_stop", "index": index});
    let thinks = |index, text: &str| claude(index, json!({"type": "thinking_delta", "thinking": text}));
    let signs = |index, with: &str| claude(index, json!({"type": "signature_delta", "signature": with}));
    let input = json!({"to": MAIL, "n": 7}).to_string();
    let part = |part: &str| claude(2, json!({"type": "input_json_delta", "partial_json": part}));
    let mut said = vec![
        start(0, json!({"type": "thinking", "thinking": "", "signature": ""})),
        thinks(0, "ask jane.doe@exam"),
        thinks(0, "ple.com or"),
        signs(0, "c2lnbmVk"),
        stop(0),
        start(1, json!({"type": "thinking", "thinking": "", "signature": ""})),
        thinks(1, "all is well"),
        signs(1, "dW50b3VjaGVk"),
        stop(1),
        start(2, json!({"type": "tool_use", "id": "t", "name": "send", "input": {}})),
        part(&input[..9]),
        part(&input[9..]),
        stop(2),
    ];
    said.extend((FAMILIES[0].after)().split_off(1));
    let outcome = ask(said, pii).await;
    let got = events(&outcome);
    let written = |index: u64, at: &str| -> String {
        let block = got.iter().filter(|event| event["index"] == index);
        block.filter_map(|event| event["delta"][at].as_str()).collect()
    };
    assert_eq!(written(0, "thinking"), "ask [EMAIL] or");
    assert_eq!((written(0, "signature"), written(1, "signature")), (String::new(), "dW50b3VjaGVk".to_owned()));
    assert_eq!(written(2, "partial_json"), json!({"to": "[EMAIL]", "n": 7}).to_string());
    let all = Value::from(got.clone()).to_string();
    assert!(!all.contains("jane") && all.contains(r#""name":"send""#), "{all}");

    let call = |call: Value| json!({"choices": [{"index": 0, "delta": {"tool_calls": [call]}, "finish_reason": null}]});
    let said = vec![
        call(
            json!({"index": 0, "id": "t", "type": "function", "function": {"name": "send", "arguments": &input[..9]}}),
        ),
        call(
            json!({"index": 1, "id": "u", "type": "function", "function": {"name": "tell", "arguments": "{\"n\":1}"}}),
        ),
        call(json!({"index": 0, "function": {"arguments": &input[9..]}})),
        json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]}),
    ];
    let outcome = ask(said, pii).await;
    let got = events(&outcome);
    let calls: Vec<&Value> = got.iter().filter_map(|event| event.pointer("/choices/0/delta/tool_calls/0")).collect();
    let of = |index: u64, at: &str| -> String {
        calls.iter().filter(|call| call["index"] == index).filter_map(|call| call.pointer(at)?.as_str()).collect()
    };
    assert_eq!(of(0, "/function/arguments"), json!({"to": "[EMAIL]", "n": 7}).to_string());
    assert_eq!(of(1, "/function/arguments"), "{\"n\":1}");
    // As clients put them together.
    assert_eq!((of(0, "/function/name"), of(1, "/id")), ("send".to_owned(), "u".to_owned()));
}

/// A stream that breaks off without a word gives what was held back, and chunks that are none fail it.
#[tokio::test(start_paused = true)]
async fn a_stream_without_an_end_gives_what_it_held_back() {
    let outcome =
        ask(vec![json!({"generation": "write to jane.doe@exam"}), json!({"generation": "ple.com"})], pii).await;
    assert_eq!(text(&FAMILIES[3], &events(&outcome)), "write to [EMAIL]");
    for payload in ["[]", r#"{"bytes":"!!!"}"#, r#"{"bytes":"e30x"}"#] {
        let body = json!({"schemaVersion": "messages-v1", "messages": [{"role": "user", "content": [{"text": "hi"}]}]});
        let frames = vec![
            chunk(&json!({"generation": "This is a sentence that ends here. \n"})),
            (Duration::ZERO, "chunk", payload.to_owned()),
        ];
        let answers = vec![Answer::Stream(frames)];
        let outcome = run_with(Operation::InvokeStream, NOVA, body, answers, None, pii).await;
        assert_eq!(outcome.record.status, "upstream_stream_broken", "{payload}: {}", outcome.body);
        assert!(outcome.record.cost_estimated, "{payload}");
    }
}

fn all(outcome: &Outcome) -> String {
    Value::from(events(outcome)).to_string()
}

fn chat(delta: &Value) -> Value {
    json!({"id": "c", "model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": null}]})
}

fn chat_end(reason: &str) -> Value {
    json!({"id": "c", "choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})
}

/// Shapes that hide where a text goes on: what is found spans chunks in each of them.
#[tokio::test(start_paused = true)]
async fn no_shape_of_a_stream_hides_what_goes_on() {
    let thought =
        |text: &str| chat(&json!({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": text}]}]}));
    let both = |text: &str| chat(&json!({"reasoning": text, "reasoning_content": text}));
    let plan = |text: &str| json!({"event_type": "tool-calls-chunk", "tool_call_delta": {"index": 0, "text": text}});
    let token = |text: &str| json!({"choices": [{"index": 0, "text": "x", "logprobs": {"tokens": [text]}, "stop_reason": null}]});
    let (one, two) = ("jane.doe@exam", "ple.com ");
    let streams = [
        vec![thought(one), thought(two), chat_end("stop")],
        vec![both(one), both(two), chat_end("stop")],
        vec![
            chat(&json!({"content": [{"type": "text", "text": "first "}, {"type": "text", "text": one}]})),
            chat(&json!({"content": [{"type": "text", "text": two}]})),
            chat(&json!({"content": "last"})),
            chat_end("stop"),
        ],
        vec![chat(&json!({"refusal": one})), chat(&json!({"refusal": two})), chat_end("stop")],
        vec![
            plan(one),
            plan(two),
            json!({"is_finished": true, "event_type": "stream-end", "finish_reason": "COMPLETE"}),
        ],
        // One of two answers ends while the other has begun.
        vec![
            json!({"index": 0, "text": one, "is_finished": false}),
            json!({"index": 1, "text": "", "is_finished": true}),
            json!({"index": 0, "text": two, "is_finished": false}),
            json!({"is_finished": true}),
        ],
    ];
    for stream in streams {
        let outcome = ask(stream, pii).await;
        let all = all(&outcome);
        assert!(all.contains("[EMAIL]") && !all.contains("jane") && !all.contains("ple.com"), "{all}");
        assert_eq!(outcome.record.status, "ok", "{all}");
    }
    let outcome =
        ask(vec![token(one), token(two), json!({"choices": [{"text": "", "stop_reason": "stop"}]})], pii).await;
    let all = all(&outcome);
    assert!(!all.contains("jane") && !all.contains("tokens"), "{all}");
    // Arguments that say more than arguments.
    let claude = |delta: Value| json!({"type": "content_block_delta", "index": 0, "delta": delta});
    let part = |part: &str| claude(json!({"type": "input_json_delta", "partial_json": part}));
    let mut said = vec![part("{\"a\":1},\"name\":\"jane.doe@"), part("example.com\"")];
    said.extend((FAMILIES[0].after)());
    let outcome = ask(said, pii).await;
    assert!(!self::all(&outcome).contains("jane"), "{}", self::all(&outcome));
}

/// What was held back of one text comes before what follows it, alone, and nothing is said twice.
#[tokio::test(start_paused = true)]
async fn what_was_held_back_comes_in_its_place() {
    let call = |id: &str, arguments: &str| {
        let function = json!({"name": "send", "arguments": arguments});
        chat(&json!({"tool_calls": [{"id": id, "type": "function", "function": function}]}))
    };
    let stream = vec![
        chat(&json!({"role": "assistant", "reasoning_content": "I think"})),
        chat(&json!({"content": "I say"})),
        // Whole calls, which their server gives no numbers.
        call("a", r#"{"x":1}"#),
        call("b", r#"{"y":2}"#),
        chat_end("tool_calls"),
    ];
    let outcome = ask(stream, pii).await;
    let deltas: Vec<Value> = events(&outcome).iter().map(|event| event["choices"][0]["delta"].clone()).collect();
    let function = |arguments: &str| json!({"tool_calls": [{"function": {"arguments": arguments}}]});
    let begun = |id: &str| json!({"tool_calls": [{"id": id, "type": "function", "function": {"name": "send", "arguments": ""}}]});
    let expected = [
        json!({"role": "assistant", "reasoning_content": ""}),
        json!({"reasoning_content": "I think"}),
        json!({"content": ""}),
        json!({"content": "I say"}),
        begun("a"),
        function(r#"{"x":1}"#),
        begun("b"),
        function(r#"{"y":2}"#),
        json!({}),
    ];
    assert_eq!(Value::from(deltas), Value::from(expected.to_vec()));

    // A plan that comes with its calls is whole; what was written before it is said in a chunk of its own.
    let calls = json!([{"name": "send", "parameters": {"x": 1}}]);
    let stream = vec![
        json!({"is_finished": false, "event_type": "text-generation", "text": "I will"}),
        json!({"is_finished": false, "event_type": "tool-calls-generation", "text": "I will", "tool_calls": calls}),
        json!({"is_finished": true, "event_type": "stream-end", "finish_reason": "COMPLETE"}),
    ];
    let outcome = ask(stream, pii).await;
    assert_eq!(all(&outcome).matches("\"tool_calls\"").count(), 1, "{}", all(&outcome));

    // As many calls as a model may well make at once.
    let calls: Vec<Value> = (0..40)
        .map(|index| json!({"index": index, "id": index.to_string(), "function": {"name": "f", "arguments": "{}"}}))
        .collect();
    let outcome = ask(vec![chat(&json!({"tool_calls": calls})), chat_end("tool_calls")], pii).await;
    assert_eq!((outcome.record.status, all(&outcome).matches("\"{}\"").count()), ("ok", 40), "{}", all(&outcome));

    // AWS's counts end whatever is open.
    let outcome = ask(vec![chat(&json!({"content": "held"}))], pii).await;
    assert_eq!(text(&FAMILIES[5], &events(&outcome)), "held");
}

/// A call whose arguments are blocked is not left to be made.
#[tokio::test(start_paused = true)]
async fn blocked_calls_are_not_asked_for() {
    let claude = |index: u32, delta: Value| json!({"type": "content_block_delta", "index": index, "delta": delta});
    let block = json!({"type": "tool_use", "id": "t", "name": "send", "input": {}});
    let stream = vec![
        json!({"type": "content_block_start", "index": 0, "content_block": block}),
        claude(0, json!({"type": "input_json_delta", "partial_json": "{\"to\":\"STOP it\"}"})),
        json!({"type": "content_block_stop", "index": 0}),
        json!({"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 20}}),
        json!({"type": "message_stop"}),
    ];
    let outcome = ask(stream, stops).await;
    let all = all(&outcome);
    assert!(all.contains(r#""stop_reason":"end_turn""#) && !all.contains("STOP"), "{all}");
    assert_eq!(all.matches("INTERVENED").count(), 1, "{all}");
    // Thoughts that are stopped have no signature; that they are is said with what comes next.
    let stream = vec![
        claude(0, json!({"type": "thinking_delta", "thinking": "so STOP"})),
        claude(0, json!({"type": "signature_delta", "signature": "c2lnbmVk"})),
        json!({"type": "content_block_stop", "index": 0}),
        json!({"type": "message_stop"}),
    ];
    let outcome = ask(stream, stops).await;
    let all = self::all(&outcome);
    assert!(!all.contains("c2lnbmVk") && !all.contains("STOP") && all.contains("INTERVENED"), "{all}");
}
