//! Models that are no chats, by InvokeModel: bodies pass as they are, and cost what AWS bills.

use std::process::Command;

use kairos_tests::audit::picodollars;
use kairos_tests::http::{Answer, Client, chat, converse};
use kairos_tests::process::{DAY, Pair, Setup, run};
use kairos_tests::{python, root};
use serde_json::{Value, json};

use super::money::{bill, record};

const SIMULATOR_KEY: (&str, &str) = ("authorization", "Bearer kairos-simulator-key");

/// Models that are no chats and are called from the tests' region on their day: id, kind.
pub(super) fn models() -> Vec<(String, String)> {
    let output = run(&["models", "--as-of", DAY, "--json"]);
    let models: Value = serde_json::from_slice(&output.stdout).unwrap();
    let others =
        models.as_array().unwrap().iter().filter(|model| model["kind"] != "chat" && model["status"] != "ended");
    others
        .filter_map(|model| Some((model["answers"].as_str()?.to_owned(), model["kind"].as_str()?.to_owned())))
        .collect()
}

/// A body for such a model, with a text of its own.
pub(super) fn body(model: &str, text: &str) -> Value {
    match model {
        _ if model.contains("titan-embed-image") => json!({"inputText": text, "inputImage": "aGVsbG8="}),
        _ if model.contains("titan-embed") => json!({"inputText": text}),
        _ if model.contains("nova-2-multimodal") => json!({"schemaVersion": "nova-multimodal-embed-v1",
            "taskType": "SINGLE_EMBEDDING", "singleEmbeddingParams": {"embeddingPurpose": "GENERIC_INDEX",
            "embeddingDimension": 256, "text": {"truncationMode": "END", "value": text}}}),
        _ if model.contains("embed-v4") || model.contains("embed-english") || model.contains("embed-multi") => {
            json!({"input_type": "search_document", "texts": [text, "another"]})
        }
        _ if model.contains("marengo-embed-2-7") => json!({"inputType": "text", "inputText": text}),
        _ if model.contains("marengo") => json!({"inputType": "text", "text": {"inputText": text}}),
        _ if model.contains("rerank") => json!({"query": text, "documents": vec!["a document"; 150], "top_n": 3}),
        _ if model.contains("canvas") => json!({"taskType": "TEXT_IMAGE", "textToImageParams": {"text": text},
            "imageGenerationConfig": {"numberOfImages": 3, "width": 1024, "height": 1024}}),
        _ => json!({"prompt": text, "mode": "text-to-image"}),
    }
}

fn url(server: &str, model: &str, operation: &str) -> String {
    format!("{server}/model/{}/{operation}", model.replace(':', "%3A"))
}

async fn invoke(client: &Client, pair: &Pair, model: &str, body: &Value) -> Answer {
    client.post(&url(&pair.gateway.url, model, "invoke"), &[], body).await
}

#[tokio::test]
async fn every_model_that_is_no_chat_costs_what_aws_bills() {
    let (pair, client) = (Pair::start(), Client::default());
    let models = models();
    assert!(models.len() > 25, "{models:?}");
    for (model, kind) in &models {
        let request = body(model, "How much is the fish?");
        let answer = invoke(&client, &pair, model, &request).await;
        assert_eq!(answer.status, 200, "{model}: {}", answer.text());
        let id = answer.header("x-kairos-request-id");
        let (bill, record) = (bill(&client, &pair, id, 1).await, record(&client, &pair, id).await);
        assert_eq!(answer.header("x-kairos-cost-usd"), bill["cost_usd"].as_str().unwrap(), "{model}: {record}");
        let attempt = &record["attempts"][0];
        assert_eq!((&attempt["ledger"], &record["operation"]), (&json!("settled"), &json!("invoke")), "{model}");
        assert!(picodollars(&bill["cost_usd"]) > 0, "{model}: {bill}");
        let unit = if kind == "image" { "image_made" } else { "query" };
        let is_by_token = kind == "embedding" && !model.contains("marengo");
        assert_eq!(attempt["usage"]["units"][unit].is_u64(), !is_by_token, "{model}: {attempt}");
        // The same bytes, both ways.
        let direct = client.post(&url(&pair.simulator.url, model, "invoke"), &[SIMULATOR_KEY], &request).await;
        assert_eq!(answer.body, direct.body, "{model}");
    }
}

#[tokio::test]
async fn images_are_billed_by_their_number() {
    let (pair, client) = (Setup { day: Some("2026-09-29"), ..Setup::default() }.start(), Client::default());
    let answer = invoke(&client, &pair, "amazon.nova-canvas-v1:0", &body("canvas", "a fish")).await;
    assert_eq!((answer.status.as_u16(), answer.header("x-kairos-cost-usd")), (200, "0.18"), "{}", answer.text());
    assert_eq!(bill(&client, &pair, answer.header("x-kairos-request-id"), 1).await["cost_usd"], "0.18");
    // A filter holds them back: what that costs nobody says.
    let answer = invoke(&client, &pair, "amazon.nova-canvas-v1:0", &body("canvas", "a forbidden fish")).await;
    let record = record(&client, &pair, answer.header("x-kairos-request-id")).await;
    let attempt = &record["attempts"][0];
    assert_eq!(
        (&attempt["ledger"], &attempt["cost_low_usd"], &attempt["cost_usd"]),
        (&json!("estimated"), &json!("0"), &json!("0.18")),
        "{record}"
    );
}

#[tokio::test]
async fn documents_of_unknown_length_are_an_estimate_that_holds_the_bill() {
    let (pair, client) = (Pair::start(), Client::default());
    let request = json!({"query": "which?", "documents": vec!["word ".repeat(700); 60]});
    let answer = invoke(&client, &pair, "cohere.rerank-v3-5:0", &request).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let id = answer.header("x-kairos-request-id");
    let (bill, record) = (bill(&client, &pair, id, 1).await, record(&client, &pair, id).await);
    let attempt = &record["attempts"][0];
    assert_eq!(attempt["ledger"], "estimated", "{record}");
    let [low, billed, high] = [&attempt["cost_low_usd"], &bill["cost_usd"], &attempt["cost_usd"]].map(picodollars);
    assert!(low <= billed && billed < high && low > 0, "{low} {billed} {high}");
}

#[tokio::test]
async fn what_a_model_is_not_for_is_refused_by_name() {
    let (pair, client) = (Pair::start(), Client::default());
    let gateway = &pair.gateway.url;
    let titan = "amazon.titan-embed-text-v2:0";
    let image = json!({"input_type": "image", "images": ["data:image/png;base64,aGVsbG8="]});
    let told = [
        (url(gateway, titan, "converse"), converse("hello")),
        (url(gateway, titan, "invoke-with-response-stream"), body(titan, "hello")),
        (format!("{gateway}/v1/chat/completions"), chat("cohere-rerank", "hello")),
        (format!("{gateway}/v1/generate"), json!({"prompt": "hello", "model_preference": "nova-embed"})),
        (url(gateway, "amazon.nova-reel-v1:1", "invoke"), json!({"taskType": "TEXT_VIDEO"})),
        (url(gateway, "cohere.embed-v4:0", "invoke"), image),
        (url(gateway, "amazon.nova-canvas-v1:0", "invoke"), body("canvas", "a fish")),
    ];
    let mut said = Vec::new();
    for (url, body) in told {
        let answer = client.post(&url, &[], &body).await;
        let answer = answer.json();
        let message = answer["message"].as_str().or(answer["error"]["message"].as_str()).or(answer["error"].as_str());
        said.push(message.map_or_else(|| answer.to_string(), str::to_owned));
    }
    insta::assert_snapshot!(said.join("\n"), @r#"
    amazon.titan-embed-text-v2:0 is of kind "embedding", which converse does not take: ask it by /v1/embeddings or InvokeModel
    amazon.titan-embed-text-v2:0 is of kind "embedding", which invoke-with-response-stream does not take: ask it by /v1/embeddings or InvokeModel
    cohere.rerank-v3-5:0 is of kind "rerank", which chat.completions does not take: ask it by InvokeModel
    amazon.nova-2-multimodal-embeddings-v1:0 is of kind "embedding", which generate does not take: ask it by /v1/embeddings or InvokeModel
    amazon.nova-reel-v1:1 has no route with a known price from us-east-1; the operator can give one, by `prices` under [models]
    the unit "image" has no known price on this model; a call without a known price is not made, unless `models.unpriced` is "allow"
    amazon.nova-canvas-v1:0 ended on 2026-09-30 and has no successor
    "#);
    assert_eq!(client.get(&format!("{}/sim/v1/bill", pair.simulator.url)).await.json()["totals"]["rows"], 0);
}

#[tokio::test]
async fn texts_to_embed_pass_the_guard() {
    let setup = Setup { config: "[guard]\npersonal_data = true\n", ..Setup::default() };
    let (pair, client) = (setup.start(), Client::default());
    let request = json!({"input_type": "search_query", "texts": ["write to ada@example.com", "plain"]});
    let answer = invoke(&client, &pair, "cohere.embed-v4:0", &request).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let answered = answer.json();
    let seen = answered["texts"][0].as_str().unwrap();
    assert!(!seen.contains("ada@example.com") && seen.starts_with("write to "), "{seen}");
    assert_eq!(answered["texts"][1], "plain");
    let id = answer.header("x-kairos-request-id");
    assert_eq!(answer.header("x-kairos-cost-usd"), bill(&client, &pair, id, 1).await["cost_usd"].as_str().unwrap());
}

#[tokio::test]
async fn boto3_embeds_reranks_and_makes_images() {
    let pair = Pair::start();
    let script = root().join("tests/clients/pieces.py");
    let output = Command::new(python()).arg(script).arg(&pair.gateway.url).output().unwrap();
    let said = [&output.stdout[..], &output.stderr].map(String::from_utf8_lossy).concat();
    assert!(output.status.success(), "{said}");
}
