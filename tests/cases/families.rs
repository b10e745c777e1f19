//! InvokeModel in every family's shape: live models pass byte for byte, ended ones are answered by
//! their successors in the shape that their callers read; either way the ledger is the bill.

use std::process::Command;

use base64::Engine as _;
use kairos_dialects::eventstream::{Decoder, MessageType};
use kairos_tests::http::{Answer, Client};
use kairos_tests::process::{Pair, Setup};
use kairos_tests::{policy, python, root};
use serde_json::{Value, json};

const SIMULATOR_KEY: (&str, &str) = ("authorization", "Bearer kairos-simulator-key");
const JSON: (&str, &str) = ("content-type", "application/json");

/// A model, a body for it, and where answers and chunks have their text.
struct Case {
    model: &'static str,
    body: Value,
    text: &'static str,
    piece: &'static str,
}

fn case(model: &'static str, text: &'static str, piece: &'static str, body: Value) -> Case {
    Case { model, body, text, piece }
}

const QUESTION: &str = "How much is the fish?";

fn claude(model: &'static str) -> Case {
    // No other family's model could be given the mark: a successor of Claude's takes the body as it is.
    let system = json!([{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}]);
    let body = json!({"anthropic_version": "bedrock-2023-05-31", "max_tokens": 300, "system": system,
        "messages": [{"role": "user", "content": QUESTION}]});
    case(model, "/content/0/text", "/delta/text", body)
}

fn titan(model: &'static str) -> Case {
    let config = json!({"maxTokenCount": 300, "temperature": 0, "topP": 1, "stopSequences": []});
    let body = json!({"inputText": QUESTION, "textGenerationConfig": config});
    case(model, "/results/0/outputText", "/outputText", body)
}

fn jurassic(model: &'static str) -> Case {
    case(model, "/completions/0/data/text", "", json!({"prompt": QUESTION, "maxTokens": 300, "temperature": 0.5}))
}

fn jamba(model: &'static str) -> Case {
    let body = json!({"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": QUESTION}],
        "max_tokens": 300, "n": 1});
    case(model, "/choices/0/message/content", "/choices/0/delta/content", body)
}

fn llama(model: &'static str) -> Case {
    let prompt = format!(
        "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\n{QUESTION}<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"
    );
    case(model, "/generation", "/generation", json!({"prompt": prompt, "max_gen_len": 300, "temperature": 0.5}))
}

fn mistral(model: &'static str) -> Case {
    let body = json!({"prompt": format!("<s>[INST] {QUESTION} [/INST]"), "max_tokens": 300, "top_k": 50});
    case(model, "/outputs/0/text", "/outputs/0/text", body)
}

fn command(model: &'static str) -> Case {
    let history = json!([{"role": "USER", "message": "Hello"}, {"role": "CHATBOT", "message": "Hello!"}]);
    case(model, "/text", "/text", json!({"message": QUESTION, "chat_history": history, "max_tokens": 300, "p": 0.9}))
}

fn deepseek(model: &'static str) -> Case {
    let prompt = format!("<｜begin▁of▁sentence｜><｜User｜>{QUESTION}<｜Assistant｜><think>\n");
    case(model, "/choices/0/text", "/choices/0/text", json!({"prompt": prompt, "max_tokens": 2000, "temperature": 0.5}))
}

fn nova(model: &'static str) -> Case {
    let body = json!({"schemaVersion": "messages-v1", "system": [{"text": "Be brief."}],
        "messages": [{"role": "user", "content": [{"text": QUESTION}]}], "inferenceConfig": {"maxTokens": 300, "topK": 20}});
    case(model, "/output/message/content/0/text", "/contentBlockDelta/delta/text", body)
}

async fn invoke(client: &Client, server: &str, case: &Case, operation: &str) -> Answer {
    let url = format!("{server}/model/{}/{operation}", case.model.replace(':', "%3A"));
    client.post(&url, &[SIMULATOR_KEY], &case.body).await
}

/// What is in the chunks of a stream, and the exception that ended it.
fn chunks(answer: &Answer) -> (Vec<Value>, Option<String>) {
    let mut decoder = Decoder::default();
    decoder.push(&answer.body);
    let mut chunks = Vec::new();
    while let Some(frame) = decoder.next_frame().unwrap() {
        if frame.message_type != MessageType::Event {
            return (chunks, Some(frame.name().to_owned()));
        }
        let payload: Value = serde_json::from_slice(&frame.payload).unwrap();
        let bytes = base64::prelude::BASE64_STANDARD.decode(payload["bytes"].as_str().unwrap()).unwrap();
        chunks.push(serde_json::from_slice(&bytes).unwrap());
    }
    decoder.finish().unwrap();
    (chunks, None)
}

fn text_of(chunks: &[Value], piece: &str) -> String {
    chunks.iter().filter_map(|chunk| chunk.pointer(piece)?.as_str()).collect()
}

/// What differs from call to call: ids and times.
fn without_ids(mut value: Value) -> Value {
    fn walk(value: &mut Value) {
        match value {
            Value::Object(map) => {
                for (name, value) in map.iter_mut() {
                    match name.as_str() {
                        "id" | "response_id" | "generation_id" | "created" | "invocationLatency"
                        | "firstByteLatency" => {
                            *value = Value::Null;
                        }
                        _ => walk(value),
                    }
                }
            }
            Value::Array(list) => list.iter_mut().for_each(walk),
            _ => {}
        }
    }
    walk(&mut value);
    value
}

/// The row of an answer is what AWS bills; where the answer states no counts, the bill lies within the
/// estimate.
async fn costs_what_aws_bills(client: &Client, pair: &Pair, answer: &Answer, counted: bool) -> Value {
    let id = answer.header("x-kairos-request-id");
    let record = client.get(&format!("{}/v1/requests/{id}", pair.gateway.url)).await.json();
    let bill = client.get(&format!("{}/sim/v1/bill/{id}-1", pair.simulator.url)).await.json();
    let attempt = &record["attempts"][0];
    if counted {
        assert_eq!(
            (&attempt["ledger"], &record["cost_usd"]),
            (&json!("settled"), &bill["cost_usd"]),
            "{record} {bill}"
        );
    } else {
        let dollars = |value: &Value| value.as_str().unwrap().parse::<f64>().unwrap();
        assert_eq!(attempt["ledger"], "estimated", "{record}");
        let (low, high) = (dollars(&attempt["cost_low_usd"]), dollars(&attempt["cost_usd"]));
        assert!((low..=high).contains(&dollars(&bill["cost_usd"])) && high > 0.0, "{record} {bill}");
    }
    record
}

#[tokio::test]
async fn live_models_of_every_family_pass_and_cost_what_aws_bills() {
    let pair = Setup { policy: Some(policy("task.rhai")), day: Some("2025-01-15"), ..Setup::default() }.start();
    let client = Client::default();
    let mut mistral_chat = jamba("mistral.mistral-large-2402-v1:0");
    mistral_chat.body.as_object_mut().unwrap().shift_remove("n");
    mistral_chat.piece = "/choices/0/message/content";
    let mut deepseek_chat = jamba("deepseek.v3-v1:0");
    deepseek_chat.body.as_object_mut().unwrap().shift_remove("n");
    for case in [
        claude("anthropic.claude-3-5-sonnet-20241022-v2:0"),
        nova("amazon.nova-lite-v1:0"),
        titan("amazon.titan-text-express-v1"),
        llama("meta.llama3-8b-instruct-v1:0"),
        mistral("mistral.mistral-7b-instruct-v0:2"),
        mistral_chat,
        jamba("ai21.jamba-1-5-large-v1:0"),
        jurassic("ai21.j2-ultra-v1"),
        command("cohere.command-r-v1:0"),
        deepseek("us.deepseek.r1-v1:0"),
        deepseek_chat,
    ] {
        let model = case.model;
        let answer = invoke(&client, &pair.gateway.url, &case, "invoke").await;
        assert_eq!(answer.status, 200, "{model}: {}", answer.text());
        let direct = invoke(&client, &pair.simulator.url, &case, "invoke").await;
        assert_eq!(without_ids(answer.json()), without_ids(direct.json()), "{model}");
        let stated = answer.headers.contains_key("x-amzn-bedrock-input-token-count");
        // Bodies of Command state nothing either.
        let counted = stated || !model.starts_with("cohere.");
        costs_what_aws_bills(&client, &pair, &answer, counted).await;
        if case.piece.is_empty() {
            continue;
        }
        let answer = invoke(&client, &pair.gateway.url, &case, "invoke-with-response-stream").await;
        assert_eq!(answer.status, 200, "{model}: {}", answer.text());
        let direct = invoke(&client, &pair.simulator.url, &case, "invoke-with-response-stream").await;
        let (ours, theirs) = (chunks(&answer), chunks(&direct));
        let plain = |chunks: Vec<Value>| chunks.into_iter().map(without_ids).collect::<Vec<_>>();
        assert!(!text_of(&ours.0, case.piece).is_empty(), "{model}: {ours:?}");
        assert_eq!((plain(ours.0), ours.1), (plain(theirs.0), theirs.1), "{model}");
        costs_what_aws_bills(&client, &pair, &answer, true).await;
    }
}

/// Asks for each model, whole and streamed, and looks at what its successor made of it.
async fn successors_answer(pair: &Pair, cases: Vec<Case>) {
    let client = Client::default();
    for case in &cases {
        let model = case.model;
        let answer = invoke(&client, &pair.gateway.url, case, "invoke").await;
        assert_eq!(answer.status, 200, "{model}: {}", answer.text());
        let says = answer.header("x-kairos-warnings");
        assert!(
            says.contains(&format!("{model} ended on")) && says.contains("answers in its place"),
            "{model}: {says}"
        );
        let record = costs_what_aws_bills(&client, pair, &answer, true).await;
        let usage = &record["attempts"][0]["usage"];
        assert_eq!(answer.header("x-amzn-bedrock-input-token-count"), usage["input"].to_string(), "{model}");
        assert_eq!(answer.header("x-amzn-bedrock-output-token-count"), usage["output"].to_string(), "{model}");
        let body = answer.json();
        let text = body.pointer(case.text).and_then(Value::as_str).unwrap_or_default();
        assert!(!text.is_empty(), "{model}: {body}");
        if case.piece.is_empty() {
            let streamed = invoke(&client, &pair.gateway.url, case, "invoke-with-response-stream").await;
            assert_eq!((streamed.status.as_u16(), streamed.header("x-amzn-errortype")), (400, "ValidationException"));
            assert!(streamed.text().contains("has no streams"), "{}", streamed.text());
            continue;
        }
        let streamed = invoke(&client, &pair.gateway.url, case, "invoke-with-response-stream").await;
        assert_eq!(streamed.status, 200, "{model}: {}", streamed.text());
        assert_eq!(streamed.header("content-type"), "application/vnd.amazon.eventstream");
        assert_eq!(streamed.header("x-amzn-bedrock-content-type"), "application/json");
        assert!(streamed.header("x-kairos-warnings").contains("answers in its place"));
        let (chunks, exception) = chunks(&streamed);
        assert_eq!((text_of(&chunks, case.piece).as_str(), exception), (text, None), "{model}");
        let record = costs_what_aws_bills(&client, pair, &streamed, true).await;
        let usage = &record["attempts"][0]["usage"];
        let metrics = &chunks.last().unwrap()["amazon-bedrock-invocationMetrics"];
        assert_eq!(
            (&metrics["inputTokenCount"], &metrics["outputTokenCount"]),
            (&usage["input"], &usage["output"]),
            "{model}: {chunks:?}"
        );
    }
    let listed: Vec<_> = cases
        .iter()
        .map(|case| json!({"model": case.model, "body": case.body, "text": case.text, "piece": case.piece}))
        .collect();
    let script = root().join("tests/clients/families.py");
    let output = Command::new(python()).arg(script).arg(&pair.gateway.url).arg(json!(listed).to_string()).output();
    let output = output.unwrap();
    let said = [&output.stdout[..], &output.stderr].map(String::from_utf8_lossy).concat();
    assert!(output.status.success(), "{said}");
}

#[tokio::test]
async fn ended_models_are_answered_by_their_successors_in_their_own_shape() {
    let config = "[models]\nas_of = \"2026-11-27\"\n";
    let pair = Setup { config, policy: Some(policy("task.rhai")), ..Setup::default() }.start();
    let cases = vec![
        claude("anthropic.claude-3-5-sonnet-20241022-v2:0"),
        claude("anthropic.claude-3-haiku-20240307-v1:0"),
        titan("amazon.titan-text-express-v1"),
        titan("amazon.titan-text-premier-v1:0"),
        jurassic("ai21.j2-ultra-v1"),
        jurassic("ai21.j2-mid-v1"),
        jamba("ai21.jamba-1-5-large-v1:0"),
        llama("meta.llama3-2-1b-instruct-v1:0"),
        command("cohere.command-r-v1:0"),
        command("cohere.command-r-plus-v1:0"),
    ];
    successors_answer(&pair, cases).await;
}

/// Models whose end is still to come.
#[tokio::test]
async fn models_that_will_end_have_successors_too() {
    let config = "[models]\nas_of = \"2027-04-01\"\n";
    let pair = Setup { config, policy: Some(policy("task.rhai")), ..Setup::default() }.start();
    let cases = vec![
        mistral("mistral.mistral-7b-instruct-v0:2"),
        mistral("mistral.mixtral-8x7b-instruct-v0:1"),
        deepseek("deepseek.r1-v1:0"),
        jamba("deepseek.v3-v1:0"),
    ];
    successors_answer(&pair, cases).await;
}

#[tokio::test]
async fn what_cannot_be_carried_over_is_refused_and_costs_nothing() {
    let pair = Pair::start();
    let client = Client::default();
    for (model, body, says) in [
        ("ai21.j2-ultra-v1", json!({"prompt": "x", "numResults": 2}), "numResults"),
        ("amazon.titan-text-express-v1", json!({"inputText": "x", "seed": 5}), "seed"),
        ("amazon.titan-text-express-v1", json!({"inputText": ""}), "inputText"),
        ("cohere.command-r-v1:0", json!({"message": "x", "documents": [{"title": "d"}]}), "documents"),
        ("auto", json!({"inputText": "x"}), "InvokeModel needs a model's id"),
    ] {
        for operation in ["invoke", "invoke-with-response-stream"] {
            let case = Case { model, body: body.clone(), text: "", piece: "" };
            let answer = invoke(&client, &pair.gateway.url, &case, operation).await;
            assert_eq!(
                (answer.status.as_u16(), answer.header("x-amzn-errortype")),
                (400, "ValidationException"),
                "{model}"
            );
            assert!(answer.text().contains(says) || answer.text().contains("has no streams"), "{}", answer.text());
            assert_eq!(answer.header("x-kairos-cost-usd"), "0");
        }
    }
    assert_eq!(client.get(&format!("{}/sim/v1/bill", pair.simulator.url)).await.json()["totals"]["rows"], 0);
    // An operator may want ended models refused.
    let config = "[models]\nended = \"refuse\"\n";
    let config = format!("{config}as_of = \"{}\"\n", kairos_tests::process::DAY);
    let strict = Setup { config: &config, policy: Some(policy("task.rhai")), ..Setup::default() }.start();
    let answer = invoke(&client, &strict.gateway.url, &titan("amazon.titan-text-express-v1"), "invoke").await;
    assert_eq!((answer.status.as_u16(), answer.header("x-amzn-errortype")), (404, "ResourceNotFoundException"));
    assert!(answer.text().contains("amazon.nova-lite-v1:0"), "{}", answer.text());
}

/// A failure of the successor reaches the caller as one of InvokeModel's, and before any content
/// nothing has been sent.
#[tokio::test]
async fn failures_of_a_successor_are_told_as_invoke_model_tells_them() {
    let pair = Pair::start();
    let client = Client::default();
    let case = titan("amazon.titan-text-express-v1");
    let url = format!("{}/sim/v1/faults", pair.simulator.url);
    for (fault, after) in [
        (
            json!({"model": "*", "fault": "stream_exception", "exception": "modelStreamErrorException", "after": 2}),
            true,
        ),
        (json!({"model": "*", "fault": "clean_eof", "after": 2}), true),
        (json!({"model": "*", "fault": "clean_eof", "after": 0}), false),
    ] {
        client.send("PUT", &url, &[JSON], json!([fault]).to_string()).await;
        let answer = invoke(&client, &pair.gateway.url, &case, "invoke-with-response-stream").await;
        if after {
            let (chunks, exception) = chunks(&answer);
            assert_eq!(exception.as_deref(), Some("modelStreamErrorException"), "{fault}: {chunks:?}");
            assert!(!text_of(&chunks, case.piece).is_empty(), "{fault}");
            assert!(chunks.iter().all(|chunk| chunk["completionReason"].is_null()), "{fault}: {chunks:?}");
        } else {
            assert_eq!((answer.status.as_u16(), answer.header("x-amzn-errortype")), (424, "ModelStreamErrorException"));
        }
        costs_what_aws_bills(&client, &pair, &answer, false).await;
    }
    // The usage never comes: the answer is whole, its end without measurements, its cost an estimate.
    client.send("PUT", &url, &[JSON], json!([{"model": "*", "fault": "no_metadata"}]).to_string()).await;
    let answer = invoke(&client, &pair.gateway.url, &case, "invoke-with-response-stream").await;
    let (chunks, exception) = chunks(&answer);
    let last = chunks.last().unwrap();
    assert_eq!((last["completionReason"].as_str(), exception), (Some("FINISH"), None));
    assert!(last.get("amazon-bedrock-invocationMetrics").is_none(), "{last}");
    costs_what_aws_bills(&client, &pair, &answer, false).await;
}
