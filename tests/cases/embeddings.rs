//! OpenAI's embeddings, by each family that embeds texts: what is answered, what it costs, and what is refused.

use std::process::Command;

use kairos_tests::audit::{ledger_json, picodollars};
use kairos_tests::http::{Answer, Client};
use kairos_tests::process::{Pair, Setup};
use kairos_tests::{python, root};
use serde_json::{Value, json};

use super::money::{bill, record};

const MODELS: [(&str, &str, usize); 8] = [
    ("titan-embed-text-v1", "amazon.titan-embed-text-v1", 1_536),
    ("amazon.titan-embed-g1-text-02", "amazon.titan-embed-g1-text-02", 1_536),
    ("titan-embed", "amazon.titan-embed-text-v2:0", 1_024),
    ("titan-embed-image", "amazon.titan-embed-image-v1", 1_024),
    ("nova-embed", "amazon.nova-2-multimodal-embeddings-v1:0", 3_072),
    ("cohere.embed-english-v3", "cohere.embed-english-v3", 1_024),
    ("cohere.embed-multilingual-v3", "cohere.embed-multilingual-v3", 1_024),
    ("global.cohere.embed-v4:0", "global.cohere.embed-v4:0", 1_536),
];

async fn embed(client: &Client, pair: &Pair, body: &Value) -> Answer {
    client.post(&format!("{}/v1/embeddings", pair.gateway.url), &[], body).await
}

/// What all attempts of a request were billed.
async fn billed(client: &Client, pair: &Pair, id: &str, attempts: u32) -> u128 {
    let mut sum = 0;
    for attempt in 1..=attempts {
        sum += picodollars(&bill(client, pair, id, attempt).await["cost_usd"]);
    }
    sum
}

#[tokio::test]
async fn every_model_embeds_texts_at_what_aws_bills() {
    let (pair, client) = (Pair::start(), Client::default());
    for (name, called, dimensions) in MODELS {
        let body = json!({"model": name, "input": ["one fish", "two fish", "one fish"]});
        let answer = embed(&client, &pair, &body).await;
        assert_eq!(answer.status, 200, "{name}: {}", answer.text());
        let id = answer.header("x-kairos-request-id");
        let calls = if called.contains("cohere") { 1 } else { 3 };
        assert_eq!(
            picodollars(&json!(answer.header("x-kairos-cost-usd"))),
            billed(&client, &pair, id, calls).await,
            "{name}"
        );
        assert_eq!(answer.header("x-kairos-attempts"), calls.to_string(), "{name}");
        let record = record(&client, &pair, id).await;
        let attempts = record["attempts"].as_array().unwrap();
        assert!(attempts.iter().all(|attempt| attempt["ledger"] == "settled"), "{name}: {record}");
        let answer = answer.json();
        let data = answer["data"].as_array().unwrap();
        let vectors: Vec<_> = data.iter().map(|one| one["embedding"].as_array().unwrap()).collect();
        assert_eq!(vectors.iter().map(|vector| vector.len()).collect::<Vec<_>>(), [dimensions; 3], "{name}");
        assert!(vectors[0] == vectors[2] && vectors[0] != vectors[1], "{name}: they are in order");
        let tokens: u64 = attempts.iter().map(|attempt| attempt["usage"]["input"].as_u64().unwrap()).sum();
        assert!(
            tokens > 0 && answer["usage"] == json!({"prompt_tokens": tokens, "total_tokens": tokens}),
            "{answer:.300}"
        );
        assert_eq!((&answer["model"], &data[1]["index"]), (&json!(called), &json!(1)));
        assert_eq!((&record["operation"], &record["model"]), (&json!("embeddings"), &json!(called)));
    }
}

#[tokio::test]
async fn many_texts_are_few_calls() {
    let (pair, client) = (Pair::start(), Client::default());
    let body =
        json!({"model": "cohere-embed", "input": vec!["fish"; 200], "input_type": "search_query", "user": "ada"});
    let answer = embed(&client, &pair, &body).await;
    assert_eq!((answer.status.as_u16(), answer.header("x-kairos-attempts")), (200, "3"), "{:.300}", answer.text());
    assert_eq!(answer.json()["data"].as_array().unwrap().len(), 200);
    let id = answer.header("x-kairos-request-id");
    assert_eq!(picodollars(&json!(answer.header("x-kairos-cost-usd"))), billed(&client, &pair, id, 3).await);
}

#[tokio::test]
async fn what_cannot_be_embedded_is_refused_and_costs_nothing() {
    let config = "[limits]\nembedding_calls = 2\nembedding_numbers = 4096\n";
    let (pair, client) = (Setup { config, ..Setup::default() }.start(), Client::default());
    let mut said = Vec::new();
    for body in [
        json!({"input": "a"}),
        json!({"model": "auto", "input": "a"}),
        json!({"model": "nova-lite", "input": "a"}),
        json!({"model": "marengo-embed", "input": "a"}),
        json!({"model": "titan-embed", "input": [1, 2]}),
        json!({"model": "titan-embed", "input": ["a", "b", "c"]}),
        json!({"model": "cohere-embed", "input": vec!["a"; 200]}),
        json!({"model": "titan-embed", "input": "a", "dimensions": 300}),
        json!({"model": "titan-embed-text-v1", "input": "a", "dimensions": 256}),
        json!({"model": "titan-embed", "input": "a", "input_type": "clustering"}),
        json!({"model": "titan-embed", "input": "a", "encoding_format": "hex"}),
        json!({"model": "nova-embed", "input": ["a", "b"]}),
    ] {
        let answer = embed(&client, &pair, &body).await;
        let told = answer.json();
        let error = &told["error"];
        said.push(format!("{} {} {}", answer.status, error["param"], error["message"].as_str().unwrap()));
        assert_eq!(answer.header("x-kairos-cost-usd"), "0", "{body}");
    }
    insta::assert_snapshot!(said.join("\n"), @r#"
    400 Bad Request "model" embeddings need a model's name, as vectors of two models cannot be compared: `kairos models` lists those of kind "embedding"
    400 Bad Request "model" embeddings need a model's name, as vectors of two models cannot be compared: `kairos models` lists those of kind "embedding"
    400 Bad Request "model" amazon.nova-lite-v1:0 is of kind "chat", which embeddings does not take: ask it by /v1/chat/completions, Converse or InvokeModel
    400 Bad Request "model" twelvelabs.marengo-embed-3-0-v1:0 is not asked by /v1/embeddings: use InvokeModel
    400 Bad Request "input" input: tokens are those of one tokenizer, and Bedrock's models take none: send the text
    400 Bad Request "input" amazon.titan-embed-text-v2:0 embeds one text a call, and a request makes at most 2 calls: send at most 2 texts at once
    400 Bad Request "input" cohere.embed-v4:0 embeds 96 texts a call, and a request makes at most 2 calls: send at most 192 texts at once
    400 Bad Request "dimensions" dimensions: amazon.titan-embed-text-v2:0 gives vectors of 256, 512, 1024 numbers
    400 Bad Request "dimensions" dimensions: amazon.titan-embed-text-v1 gives vectors of 1536 numbers
    400 Bad Request "input_type" input_type: Titan's models do not tell apart what vectors are for
    400 Bad Request "encoding_format" encoding_format: "float" or "base64" is needed
    400 Bad Request "input" 2 vectors of 3072 numbers are 6144, and an answer holds at most 4096: send at most 1 texts at once
    "#);
    assert_eq!(client.get(&format!("{}/sim/v1/bill", pair.simulator.url)).await.json()["totals"]["rows"], 0);
    // The one length that a model gives may be asked for.
    let body = json!({"model": "titan-embed-text-v1", "input": "a", "dimensions": 1_536});
    let answer = embed(&client, &pair, &body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

/// The fourth call of five is refused: what the first three cost is told, and paid.
#[tokio::test]
async fn a_request_that_fails_half_way_says_what_it_cost() {
    let (pair, client) = (Pair::start(), Client::default());
    let model = "amazon.titan-embed-text-v2:0";
    let body = json!({"model": model, "input": ["a", "b", "c", "word ".repeat(9_000), "e"]});
    let answer = embed(&client, &pair, &body).await;
    assert_eq!(answer.status, 400, "{}", answer.text());
    let id = answer.header("x-kairos-request-id");
    assert_eq!(picodollars(&json!(answer.header("x-kairos-cost-usd"))), billed(&client, &pair, id, 3).await);
    assert_eq!((answer.header("x-kairos-attempts"), answer.header("x-should-retry")), ("4", "false"));
}

#[tokio::test]
async fn embeddings_keep_to_keys_budgets_and_limits() {
    let config = "[budget]\ndaily_limit_usd = \"0.0001\"\n[guard]\npersonal_data = true\n";
    let (mut pair, client) = (Setup { config, ..Setup::default() }.start(), Client::default());
    // The worst case of a call: its bytes and what a family wraps around them, at 0.02 dollars a million.
    let answer = embed(&client, &pair, &json!({"model": "titan-embed", "input": "x".repeat(6_000)})).await;
    assert_eq!(answer.status, 429, "{}", answer.text());
    assert!(answer.text().contains("insufficient_quota"), "{}", answer.text());
    let answer = embed(&client, &pair, &json!({"model": "titan-embed", "input": "mail ada@example.com"})).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(answer.header("x-kairos-warnings").contains("replaced in the request"));
    pair.gateway.stop();
    let spent = ledger_json(&pair.folder().join("data"), &["show", "--by", "model"]);
    assert_eq!(spent["groups"][0]["model"], "amazon.titan-embed-text-v2:0", "{spent}");
}

#[tokio::test]
async fn the_openai_client_embeds() {
    let pair = Pair::start();
    let script = root().join("tests/clients/embeddings.py");
    let output = Command::new(python()).arg(script).arg(&pair.gateway.url).output().unwrap();
    let said = [&output.stdout[..], &output.stderr].map(String::from_utf8_lossy).concat();
    assert!(output.status.success(), "{said}");
}
