//! The bill: requests of every kind against what the simulated AWS bills for them. What is settled is what
//! was billed, to the last digit; the bill of each estimate lies within it; and reconciled, the ledger is the
//! bill.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http_body_util::BodyExt as _;
use kairos_tests::audit::{Audit, ledger, ledger_json, picodollars};
use kairos_tests::http::{Client, chat, converse};
use kairos_tests::process::{Pair, Setup};
use kairos_tests::{count, policy, python, root};
use serde_json::{Value, json};

use super::super::money::callable;
use super::super::pieces;

const CALLERS: usize = 16;
/// Its streams fail after some content, so that what they cost is not known.
const FAILS: &str = "amazon.nova-micro-v1:0";
/// Its streams end in time, and do not say what was consumed.
const SILENT: &str = "meta.llama3-8b-instruct-v1:0";

/// What is asked, and how.
struct Asked {
    url: String,
    body: Value,
    /// The caller leaves at the first piece of the answer.
    leaves: bool,
}

struct Mix {
    gateway: String,
    models: Vec<(String, Vec<String>)>,
    /// Those that are no chats, and of what kind.
    others: Vec<(String, String)>,
    cached: String,
    long: String,
}

impl Mix {
    fn new(gateway: &str) -> Self {
        let mut models = callable();
        models.retain(|(model, _)| model != FAILS && model != SILENT);
        let cached = "The quick brown fox jumps over the lazy dog. ".repeat(300);
        Self { gateway: gateway.to_owned(), models, others: pieces::models(), cached, long: "word ".repeat(130_000) }
    }

    fn at(&self, model: &str, operation: &str, body: Value) -> Asked {
        let url = format!("{}/model/{}/{operation}", self.gateway, model.replace(':', "%3A"));
        Asked { url, body, leaves: false }
    }

    /// A request to a model that is no chat; every second time round as it is less usual.
    fn other(&self, place: usize, number: usize) -> Asked {
        let (model, kind) = &self.others[place % self.others.len()];
        let (text, again) = (format!("fish number {number}"), (place / self.others.len()) % 2 == 1);
        if kind == "embedding" && !model.contains("marengo") && again {
            let body = json!({"model": model, "input": [text, "another fish"]});
            return Asked { url: format!("{}/v1/embeddings", self.gateway), body, leaves: false };
        }
        let mut body = pieces::body(model, &text);
        if kind == "rerank" && again {
            // How many pieces they are is not certain.
            body["documents"] = json!(vec!["word ".repeat(700); 60]);
        }
        if number % 2_500 == 11 {
            body = json!({"prompt": "a forbidden fish"});
            return self.at("stability.sd3-5-large-v1:0", "invoke", body);
        }
        self.at(model, "invoke", body)
    }

    /// Request number so much. Each tenth is of the same kind; all models come round.
    fn request(&self, number: usize) -> Asked {
        let round = number / 10;
        let (model, capabilities) = &self.models[round % self.models.len()];
        let can = |name: &str| capabilities.iter().any(|known| known == name);
        let mut short = converse(&format!("How much is fish number {number}?"));
        short["inferenceConfig"] = json!({"maxTokens": 40});
        let stream = if can("streaming") { "converse-stream" } else { "converse" };
        if number % 2_500 == 7 {
            // Above 100,000 tokens this model has prices of its own.
            return self.at("us.anthropic.claude-haiku-5-5", "converse", converse(&self.long));
        }
        match number % 10 {
            1 if round % 3 == 1 => self.other(round / 3, number),
            0 | 1 => self.at(model, "converse", short),
            2 | 3 => self.at(model, stream, short),
            4 => {
                let mut body = chat("us.anthropic.claude-sonnet-4-6", "hello");
                body["stream"] = (round.is_multiple_of(2)).into();
                Asked { url: format!("{}/v1/chat/completions", self.gateway), body, leaves: false }
            }
            5 => {
                let body = json!({"anthropic_version": "bedrock-2023-05-31", "max_tokens": 30,
                    "messages": [{"role": "user", "content": format!("hello {number}")}]});
                let operation = if round.is_multiple_of(2) { "invoke" } else { "invoke-with-response-stream" };
                let model = ["us.anthropic.claude-sonnet-4-6", "global.anthropic.claude-sonnet-4-6"][round / 2 % 2];
                self.at(model, operation, body)
            }
            6 => {
                short["serviceTier"] = json!({"type": (["flex", "priority"][round % 2])});
                self.at("amazon.nova-pro-v1:0", stream, short)
            }
            7 => {
                let ttl = ["5m", "1h"][round % 2];
                let point = json!({"cachePoint": {"type": "default", "ttl": ttl}});
                let text = format!("{} {}", self.cached, round / 4);
                short["system"] = json!([{"text": text}, point]);
                self.at(
                    ["us.anthropic.claude-sonnet-4-6", "global.anthropic.claude-sonnet-4-6"][round / 2 % 2],
                    "converse",
                    short,
                )
            }
            8 => Asked { leaves: true, ..self.at("us.anthropic.claude-sonnet-4-6", "converse-stream", short) },
            _ if round.is_multiple_of(10) => {
                short["inferenceConfig"] = json!({"maxTokens": 8});
                self.at([FAILS, SILENT][round / 10 % 2], "converse-stream", short)
            }
            _ => self.at(model, "converse", short),
        }
    }
}

async fn ask(client: &Client, asked: &Asked) {
    let headers = [("content-type", "application/json")];
    let mut response = client.open("POST", &asked.url, &headers, asked.body.to_string()).await;
    let status = response.status();
    if asked.leaves {
        let _ = response.body_mut().frame().await;
        return;
    }
    let body = response.into_body().collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    assert_eq!(status, 200, "{}: {}", asked.url, String::from_utf8_lossy(&body));
}

/// All of them, some at a time.
async fn ask_all(mix: Arc<Mix>, requests: usize) {
    let next = Arc::new(AtomicUsize::new(0));
    let callers = (0..CALLERS).map(|_| {
        let (mix, next) = (Arc::clone(&mix), Arc::clone(&next));
        tokio::spawn(async move {
            let client = Client::default();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= requests {
                    return;
                }
                ask(&client, &mix.request(number)).await;
            }
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await.unwrap();
    }
}

/// Minutes to the nearest midnight, UTC.
fn minutes_to_midnight() -> u64 {
    let minute = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs() / 60 % 1_440;
    minute.min(1_440 - minute)
}

/// What a Decimal script makes of the exported usage, by the price list.
fn price_again(data: &Path, export: &Path) -> String {
    let (code, said) = ledger(data, &["export", "--format", "csv", "--out", export.to_str().unwrap()]);
    assert_eq!(code, Some(0), "{said}");
    let script = root().join("tests/clients/price_again.py");
    let catalogue = root().join("host/bedrock/catalogue.toml");
    let output = Command::new(python()).arg(script).arg(export).arg(catalogue).output().unwrap();
    let said = [&output.stdout[..], &output.stderr].map(String::from_utf8_lossy).concat();
    assert!(output.status.success(), "{said:.4000}");
    said.trim().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ledger_is_the_bill() {
    let asked = count("mixed requests against the bill", 50_000);
    let mut pair = Setup { policy: Some(policy("task.rhai")), ..Setup::default() }.start();
    let client = Client::default();
    let faults = json!([
        {"model": FAILS, "fault": "stream_exception", "exception": "internalServerException", "after": 2},
        {"model": SILENT, "fault": "no_metadata"},
    ]);
    let put = client.send("PUT", &format!("{}/sim/v1/faults", pair.simulator.url), &[], faults.to_string()).await;
    assert_eq!(put.status, 200, "{}", put.text());
    ask_all(Arc::new(Mix::new(&pair.gateway.url)), asked.times()).await;
    // Callers have left whose answers are still read: they end first.
    pair.gateway.stop();

    let data = pair.folder().join("data");
    let mut audit = Audit::default();
    audit.read_bill(&pair.simulator.url).await;
    let found = audit.check(&data).unwrap();
    assert_eq!(found.without_row, 0, "{found:?}");
    assert!(found.estimated > 0 && found.billed >= asked.times(), "{found:?}");
    let again = price_again(&data, &pair.folder().join("ledger.csv"));
    let settled = ledger_json(&data, &["show", "--by", "state"]);
    let settled =
        settled["groups"].as_array().unwrap().iter().find(|group| group["state"] == "settled").unwrap().clone();
    assert_eq!(again, format!("{} rows, {} USD", settled["attempts"], settled["charged_usd"].as_str().unwrap()));
    let said = reconciled(&pair, &data).await;
    asked.passed(&format!(
        "{} attempts billed, {} of them estimated; {again}, priced once more in decimals: 0 differ. {said}",
        found.billed, found.estimated
    ));
}

/// Within 1 % before, exact after; and the same bill once more changes nothing.
async fn reconciled(pair: &Pair, data: &Path) -> String {
    let csv = Client::default().get(&format!("{}/sim/v1/bill.csv", pair.simulator.url)).await;
    assert_eq!(csv.status, 200, "{}", csv.text());
    let file = pair.folder().join("bill.csv");
    std::fs::write(&file, &csv.body).unwrap();
    let file = file.to_str().unwrap();
    let before = ledger_json(data, &["reconcile", file]);
    let billed = Client::default().get(&format!("{}/sim/v1/bill?limit=1", pair.simulator.url)).await.json();
    assert_eq!(before["bill_usd"], billed["totals"]["cost_usd"]);
    let off = before["difference_usd"].as_str().unwrap().to_owned();
    assert!(off.starts_with('-'), "the ledger is above the bill by its estimates: {before}");
    for difference in before["differences"].as_array().unwrap() {
        assert_eq!(difference["causes"], json!(["estimated"]), "{difference}");
    }
    let midnight = minutes_to_midnight() < 30;
    let after = ledger_json(data, &["reconcile", file, "--settle"]);
    if midnight {
        // Then nobody knows on which day AWS has what.
        return String::new();
    }
    assert_eq!((&after["difference_usd"], &after["ledger_usd"]), (&json!("0"), &before["bill_usd"]), "{after}");
    assert_eq!((&after["still_estimated"], &after["differences"]), (&json!([]), &json!([])));
    let whole = ledger_json(data, &["verify"]);
    assert_eq!((&whole["estimated_usd"], &whole["charged_usd"]), (&json!("0"), &before["bill_usd"]));
    let (code, said) = ledger(data, &["reconcile", file, "--settle"]);
    assert!(code == Some(0) && said.ends_with("nothing was settled, and nothing written\n"), "{said}");
    assert_eq!(ledger_json(data, &["verify"])["rows"], whole["rows"]);
    let total = picodollars(&before["bill_usd"]);
    let apart = picodollars(&json!(off.trim_start_matches('-')));
    format!("{off} USD before reconciling ({} millionths of the bill), 0 after", apart * 1_000_000 / total)
}
