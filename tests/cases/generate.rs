//! Kairos's own API: `/v1/generate` and `/v1/generate/batch`.

use std::process::Command;

use kairos_tests::audit::{ledger_json, picodollars};
use kairos_tests::http::{Answer, Client};
use kairos_tests::process::{DAY, Pair, Setup};
use kairos_tests::{policy, python, root};
use serde_json::{Value, json};

use super::ledger::bill;
use super::money::callable;

async fn ask(client: &Client, pair: &Pair, body: &Value) -> Answer {
    client.post(&format!("{}/v1/generate", pair.gateway.url), &[], body).await
}

async fn ask_many(client: &Client, pair: &Pair, body: &Value) -> Answer {
    client.post(&format!("{}/v1/generate/batch", pair.gateway.url), &[], body).await
}

/// The cost as it is written: a JSON reader could round it.
fn written_cost(answer: &Answer) -> String {
    let text = answer.text();
    let (_, rest) = text.split_once("\"cost_estimate\":").unwrap();
    rest[..rest.find(',').unwrap()].to_owned()
}

/// What a data class of the request sends: every field, most of them at their defaults.
fn whole_request(model: &str) -> Value {
    json!({"prompt": "How much is the fish?", "model_preference": model, "max_tokens": 4096, "temperature": 0.7,
        "top_p": 0.9, "top_k": 250, "stop_sequences": [], "context": null,
        "request_id": "0b5e6f1e-6f53-4a3a-8d0a-1f6d9d5f7c11", "timestamp": "2026-11-23T12:00:00.123456"})
}

#[tokio::test]
async fn a_prompt_alone_is_answered_with_every_field() {
    let pair = Pair::start();
    let client = Client::default();
    let answer = ask(&client, &pair, &json!({"prompt": "What is the capital of Norway?"})).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let json = answer.json();
    let names: Vec<_> = json.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "text",
            "model_used",
            "tokens_used",
            "response_time",
            "cost_estimate",
            "request_id",
            "timestamp",
            "cached",
            "metadata"
        ]
    );
    let id = json["request_id"].as_str().unwrap();
    assert_eq!(
        (answer.header("x-kairos-request-id"), answer.header("x-kairos-model")),
        (id, json["model_used"].as_str().unwrap())
    );
    assert_eq!((json["model_used"].as_str().unwrap(), &json["cached"]), ("amazon.nova-lite-v1:0", &json!(false)));
    assert!(!json["text"].as_str().unwrap().is_empty() && json["response_time"].as_f64().unwrap() > 0.0);
    assert!(json["timestamp"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok(), "{}", json["timestamp"]);
    let metadata = &json["metadata"];
    let usage = &metadata["usage"];
    assert_eq!(
        json["tokens_used"].as_u64(),
        Some(usage["input_tokens"].as_u64().unwrap() + usage["output_tokens"].as_u64().unwrap())
    );
    assert_eq!(metadata["parameters"], json!({"max_tokens": 4096, "temperature": 0.7, "top_p": 0.9, "top_k": 250}));
    assert_eq!((&metadata["stop_reason"], &metadata["task"]), (&json!("end_turn"), &json!("general")));
    assert_eq!((&metadata["attempts"], &metadata["client_request_id"]), (&json!(1), &Value::Null));
    assert_eq!(metadata["policy"].as_str().unwrap(), answer.header("x-kairos-policy"));
    // The record tells the same.
    let record = client.get(&format!("{}/v1/requests/{id}", pair.gateway.url)).await.json();
    assert_eq!((&record["operation"], &record["cost_usd"]), (&json!("generate"), &json!(written_cost(&answer))));
}

/// A request that names no model is for the gateway's default, alone and in a batch.
#[tokio::test]
async fn a_request_without_a_model_gets_the_default() {
    let config = format!("[models]\nas_of = \"{DAY}\"\ndefault = \"nova-micro\"\n");
    let pair = Setup { config: &config, policy: Some(policy("task.rhai")), ..Setup::default() }.start();
    let client = Client::default();
    let body = json!({"prompt": "Write a Python function"});
    let alone = ask(&client, &pair, &body).await.json();
    assert_eq!(
        (&alone["model_used"], &alone["metadata"]["asked_model"]),
        (&json!("amazon.nova-micro-v1:0"), &json!("nova-micro"))
    );
    let many = ask_many(&client, &pair, &json!([body, {"prompt": "x", "model_preference": "auto"}])).await.json();
    assert_eq!(many["responses"][0]["model_used"], "amazon.nova-micro-v1:0");
    assert_eq!(many["responses"][1]["model_used"], "amazon.nova-lite-v1:0");
}

/// The seed's defaults, written out, are taken by every model; and each costs, to the last digit,
/// what is billed, what the ledger has, and what the response says.
#[tokio::test]
async fn every_model_takes_the_defaults_and_costs_what_aws_bills() {
    let pair = Pair::start();
    let client = Client::default();
    for (model, _) in callable() {
        let answer = ask(&client, &pair, &whole_request(&model)).await;
        assert_eq!(answer.status, 200, "{model}: {}", answer.text());
        let json = answer.json();
        assert_eq!(json["model_used"], json!(model));
        assert_eq!(json["metadata"]["client_request_id"], "0b5e6f1e-6f53-4a3a-8d0a-1f6d9d5f7c11");
        let id = json["request_id"].as_str().unwrap();
        let billed = client.get(&format!("{}/sim/v1/bill/{id}-1", pair.simulator.url)).await.json();
        assert_eq!(billed["cost_usd"], json!(written_cost(&answer)), "{model}");
        assert_eq!(answer.header("x-kairos-cost-usd"), written_cost(&answer), "{model}");
    }
    pair.gateway.terminate();
    pair.gateway.wait_for_log("\"stopped\"");
    let charged = ledger_json(&pair.folder().join("data"), &["verify"])["charged_usd"].clone();
    assert_eq!(picodollars(&charged), picodollars(&bill(&client, &pair).await["totals"]["cost_usd"]));
}

/// The context's hints route; its turns and system prompt reach the model; a header gives way.
#[tokio::test]
async fn a_context_routes_and_is_part_of_the_conversation() {
    let pair = Pair::start();
    let client = Client::default();
    let url = format!("{}/v1/generate", pair.gateway.url);
    let mut body = json!({"prompt": "hello", "context": {"task": "code", "app": {"session": 7}}});
    let answer = client.post(&url, &[("x-kairos-task", "general")], &body).await;
    let json = answer.json();
    assert_eq!((&json["metadata"]["task"], answer.status.as_u16()), (&json!("code"), 200), "{json}");
    assert_eq!(json["model_used"], "us.anthropic.claude-sonnet-4-6");
    assert_eq!(
        json["metadata"]["warnings"],
        json!(["context: keys that the gateway does not read were left aside: app"])
    );
    // Claude takes one of the two.
    assert_eq!(json["metadata"]["parameters"], json!({"max_tokens": 4096, "temperature": 0.7, "top_k": 250}));
    let few = json["metadata"]["usage"]["input_tokens"].as_u64().unwrap();
    body["context"] = json!({"task": "code", "system": "Be terse, and be kind to whoever asks.",
        "messages": [{"role": "user", "content": "Good morning to you"}, {"role": "assistant", "content": "And to you"}]});
    let json = client.post(&url, &[], &body).await.json();
    assert!(json["metadata"]["usage"]["input_tokens"].as_u64().unwrap() > few + 10, "{json}");
}

#[tokio::test]
async fn what_a_model_cannot_take_is_refused_by_name_and_costs_nothing() {
    let pair = Pair::start();
    let client = Client::default();
    let with = |extra: Value| {
        let mut body = json!({"prompt": "x"});
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        body
    };
    let opus = "us.anthropic.claude-opus-5";
    for (extra, status, kind, param) in [
        (json!({"model_preference": opus, "temperature": 0.2}), 400, "unsupported_parameter", "temperature"),
        (json!({"model_preference": opus, "top_k": 40}), 400, "unsupported_parameter", "top_k"),
        (
            json!({"model_preference": "claude", "temperature": 0.2, "top_p": 0.5}),
            400,
            "unsupported_parameter",
            "top_p",
        ),
        (json!({"model_preference": "jamba", "top_k": 40}), 400, "unsupported_parameter", "top_k"),
        (json!({"model_preference": "mistral.mistral-7b-instruct-v0:2", "top_k": 201}), 400, "invalid_value", "top_k"),
        (
            json!({"model_preference": "mistral.mistral-7b-instruct-v0:2", "context": {"system": "s"}}),
            400,
            "unsupported_parameter",
            "model_preference",
        ),
        (json!({"model_preference": "nova-lit"}), 404, "model_not_found", "model_preference"),
        (json!({"model_preference": ""}), 400, "invalid_value", "model_preference"),
        (json!({"model": "nova-lite"}), 400, "unknown_parameter", "model"),
        (json!({"stream": true}), 400, "unsupported_parameter", "stream"),
        (json!({"context": {"complexity": "hard"}}), 400, "invalid_value", "context.complexity"),
        (json!({"prompt": 7}), 400, "invalid_value", "prompt"),
    ] {
        let answer = ask(&client, &pair, &with(extra.clone())).await;
        let error = &answer.json()["error"];
        assert_eq!(
            (answer.status.as_u16(), error["type"].as_str().unwrap(), error["param"].as_str().unwrap()),
            (status, kind, param),
            "{extra}: {error}"
        );
        assert_eq!((&error["retryable"], answer.header("x-kairos-cost-usd")), (&json!(false), "0"), "{extra}");
        assert_eq!(error["request_id"], answer.header("x-kairos-request-id"), "{extra}");
    }
    // What changes nothing is adapted, and said.
    for (extra, sent) in [
        (json!({"model_preference": opus, "temperature": 1, "top_p": 1.0}), json!({"max_tokens": 4096})),
        (json!({"model_preference": "claude", "top_p": 0.5}), json!({"max_tokens": 4096, "top_p": 0.5, "top_k": 250})),
        (
            json!({"model_preference": "jamba", "max_tokens": 100_000}),
            json!({"max_tokens": 4096, "temperature": 0.7, "top_p": 0.9}),
        ),
    ] {
        let answer = ask(&client, &pair, &with(extra.clone())).await;
        assert_eq!(answer.json()["metadata"]["parameters"], sent, "{extra}: {}", answer.text());
    }
    let lowered = ask(&client, &pair, &with(json!({"model_preference": "jamba", "max_tokens": 100_000}))).await;
    assert!(lowered.header("x-kairos-warnings").contains("max_tokens: lowered to 4096"), "{lowered:?}");
    // `auto` considers only models that take what is asked for: reasoning would go to Jamba.
    let hinted = |extra: Value| with(json!({"context": {"task": "reasoning"}, "top_k": extra}));
    assert_eq!(ask(&client, &pair, &hinted(json!(250))).await.json()["model_used"], "ai21.jamba-1-5-large-v1:0");
    assert_ne!(ask(&client, &pair, &hinted(json!(40))).await.json()["model_used"], "ai21.jamba-1-5-large-v1:0");
    let answer = client.get(&format!("{}/v1/generate", pair.gateway.url)).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["error"]["type"]), (405, &json!("method_not_allowed")));
}

/// Bedrock's failures keep their kind; what may help is said to be retryable.
#[tokio::test]
async fn failures_of_bedrock_are_told() {
    let pair = Pair::start();
    let client = Client::default();
    let faults = json!([{"model": "*", "fault": "ThrottlingException"}]).to_string();
    let set = client.send("PUT", &format!("{}/sim/v1/faults", pair.simulator.url), &[], faults).await;
    assert!(set.status.is_success(), "{}", set.text());
    let answer = ask(&client, &pair, &json!({"prompt": "x", "model_preference": "nova-lite"})).await;
    let error = &answer.json()["error"];
    assert_eq!(
        (answer.status.as_u16(), &error["type"], &error["retryable"]),
        (429, &json!("throttled"), &json!(true)),
        "{error}"
    );
    let bad = client.get(&format!("{}/v1/generate/nothing", pair.gateway.url)).await;
    assert_eq!((bad.status.as_u16(), &bad.json()["error"]["type"]), (404, &json!("unknown_url")));
}

#[tokio::test]
async fn a_batch_is_answered_in_order_and_costs_what_aws_bills() {
    let pair = Setup { config: "[limits]\nbatch_entries = 8\n", policy: Some(policy("task.rhai")), ..Setup::default() }
        .start();
    let client = Client::default();
    let models = ["nova-lite", "claude", "auto", "jamba", "no-such", "nova-micro"];
    let list: Vec<_> = models.iter().map(|model| json!({"prompt": "hello", "model_preference": model})).collect();
    for body in [json!({"requests": list}), json!(list)] {
        let answer = ask_many(&client, &pair, &body).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let json = answer.json();
        let responses = json["responses"].as_array().unwrap();
        let used: Vec<_> = responses.iter().map(|one| one["model_used"].as_str().unwrap_or("failed")).collect();
        assert_eq!(
            used,
            [
                "amazon.nova-lite-v1:0",
                "us.anthropic.claude-sonnet-4-6",
                "amazon.nova-lite-v1:0",
                "ai21.jamba-1-5-large-v1:0",
                "failed",
                "amazon.nova-micro-v1:0"
            ]
        );
        assert_eq!(responses[4]["error"]["type"], "model_not_found");
        let mut sum = 0;
        for response in responses.iter().filter(|response| response["error"].is_null()) {
            let id = response["request_id"].as_str().unwrap();
            let billed = client.get(&format!("{}/sim/v1/bill/{id}-1", pair.simulator.url)).await.json();
            sum += picodollars(&billed["cost_usd"]);
            let record = client.get(&format!("{}/v1/requests/{id}", pair.gateway.url)).await.json();
            assert_eq!(record["cost_usd"], billed["cost_usd"]);
        }
        assert_eq!(picodollars(&json!(answer.header("x-kairos-cost-usd"))), sum);
    }
    let nine = vec![json!({"prompt": "x"}); 9];
    let answer = ask_many(&client, &pair, &json!(nine)).await;
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("at most 8 requests"), "{}", answer.text());
}

/// 200 requests at once, half of them in batches, against a limit that pays for some of them.
#[tokio::test(flavor = "multi_thread")]
async fn the_days_limit_holds_alone_and_in_batches() {
    let config = "[budget]\ndaily_limit_usd = \"0.02\"\n";
    let pair = Setup { config, policy: Some(policy("task.rhai")), ..Setup::default() }.start();
    let client = Client::default();
    let one = json!({"prompt": "hello", "model_preference": "nova-lite"});
    let base = format!("{}/v1/generate", pair.gateway.url);
    let bodies = (0..110).map(|number| match number {
        0..100 => (base.clone(), one.clone()),
        _ => (format!("{base}/batch"), json!(vec![one.clone(); 10])),
    });
    let asking: Vec<_> = bodies
        .map(|(url, body)| {
            let client = client.clone();
            tokio::spawn(async move { client.post(&url, &[], &body).await })
        })
        .collect();
    let (mut answered, mut refused) = (0, 0);
    let mut count = |entry: &Value| match entry["error"]["type"].as_str() {
        None => answered += 1,
        Some("budget_exceeded") => {
            assert_eq!(entry["error"]["retryable"], false);
            assert!(
                entry["error"]["message"].as_str().unwrap().contains("the budget \"daily\" of 0.02 USD a day"),
                "{entry}"
            );
            refused += 1;
        }
        Some(_) => panic!("{entry}"),
    };
    for asked in asking {
        let answer = asked.await.unwrap();
        let json = answer.json();
        match json["responses"].as_array() {
            Some(responses) => responses.iter().for_each(&mut count),
            None => {
                count(&json);
                assert_eq!(answer.status, if json["error"].is_null() { 200 } else { 429 });
            }
        }
    }
    assert_eq!(answered + refused, 200);
    assert!(answered > 0 && refused > 0, "{answered} answered, {refused} refused");
    pair.gateway.terminate();
    pair.gateway.wait_for_log("\"stopped\"");
    let billed = picodollars(&bill(&client, &pair).await["totals"]["cost_usd"]);
    let verified = ledger_json(&pair.folder().join("data"), &["verify"]);
    assert_eq!((picodollars(&verified["charged_usd"]), &verified["open"]), (billed, &json!(0)));
    assert_eq!(verified["attempts"], answered);
    assert!(billed <= 20_000_000_000, "{billed}");
}

/// A caller of this API in Python, with the standard library, and with AWS's signatures.
#[test]
fn a_python_client_speaks_it() {
    let config = "[auth]\nbearer_key = \"a-key-of-enough-characters\"\n\
        sigv4 = { access_key_id = \"AKIAKAIROSTEST\", secret_access_key = \"a-secret-of-enough-characters\" }\n";
    let pair = Setup { config, policy: Some(policy("task.rhai")), ..Setup::default() }.start();
    let script = root().join("tests/clients/generate.py");
    let output = Command::new(python()).arg(script).args([&pair.gateway.url, &pair.simulator.url]).output().unwrap();
    let said = [&output.stdout[..], &output.stderr].map(String::from_utf8_lossy).concat();
    assert!(output.status.success(), "{said}");
}
