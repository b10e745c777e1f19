//! Property 2 of the seed: for any call, tokens are tracked, costs calculated, and the running totals match
//! AWS's bill within 1 %. What is settled matches to the last digit.

use kairos_tests::audit::picodollars;
use kairos_tests::http::{Client, converse};
use kairos_tests::policy;
use kairos_tests::process::{Pair, Setup};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

use super::super::money::callable;

/// One call: which model, how, how long, in which tier, and whether its prompt is to be cached.
#[derive(Clone, Debug)]
struct Call {
    model: usize,
    streamed: bool,
    words: usize,
    most: u32,
    priority: bool,
    cached: Option<&'static str>,
}

fn calls() -> impl Strategy<Value = Vec<Call>> {
    let cached = prop_oneof![3 => Just(None), 1 => Just(Some("5m")), 1 => Just(Some("1h"))];
    let call = (any::<usize>(), any::<bool>(), 1..3_000usize, 1..200u32, any::<bool>(), cached);
    let call = call.prop_map(|(model, streamed, words, most, priority, cached)| Call {
        model,
        streamed,
        words,
        most,
        priority,
        cached,
    });
    proptest::collection::vec(call, 1..6)
}

struct Running {
    pair: Pair,
    client: Client,
    models: Vec<(String, Vec<String>)>,
    attempts: u64,
}

impl Running {
    /// Makes a call. What has no price (a tier that a model has not) is refused, and costs nothing.
    async fn call(&mut self, call: &Call) {
        let (model, capabilities) = &self.models[call.model % self.models.len()];
        let can = |name: &str| capabilities.iter().any(|known| known == name);
        let mut body = converse(&"fox ".repeat(call.words));
        body["inferenceConfig"] = json!({"maxTokens": call.most});
        if call.priority {
            body["serviceTier"] = json!({"type": "priority"});
        }
        if let Some(ttl) = call.cached.filter(|_| can("prompt-caching") && can("system-prompt")) {
            let point = json!({"cachePoint": {"type": "default", "ttl": ttl}});
            body["system"] = json!([{"text": "The quick brown fox jumps over the lazy dog. ".repeat(300)}, point]);
        }
        let operation = if call.streamed && can("streaming") { "converse-stream" } else { "converse" };
        let url = format!("{}/model/{}/{operation}", self.pair.gateway.url, model.replace(':', "%3A"));
        let answer = self.client.post(&url, &[], &body).await;
        let id = answer.header("x-kairos-request-id").to_owned();
        if answer.status != 200 {
            assert_eq!(answer.status, 400, "{model}: {}", answer.text());
            return;
        }
        self.attempts += 1;
        let billed = self.client.get(&format!("{}/sim/v1/bill/{id}-1", self.pair.simulator.url)).await.json();
        let record = self.client.get(&format!("{}/v1/requests/{id}", self.pair.gateway.url)).await.json();
        assert_eq!(record["cost_usd"], billed["cost_usd"], "{model}: {record} {billed}");
        let (usage, row) = (&record["attempts"][0]["usage"], &billed["rows"][0]);
        for (known, is) in [("input", "input_tokens"), ("output", "output_tokens"), ("cache_read", "cache_read_tokens")]
        {
            assert_eq!(usage[known], row[is], "{model}: {record} {billed}");
        }
    }

    /// What the ledger and the bill come to by now.
    async fn totals(&self) -> (Value, Value) {
        let url = format!("{}/admin/v1/spend", self.pair.gateway.url);
        loop {
            // Rows are on disk a moment after the answer.
            let shown = self.client.get(&url).await.json();
            if shown["total"]["attempts"] == self.attempts {
                let bill = self.client.get(&format!("{}/sim/v1/bill?limit=1", self.pair.simulator.url)).await.json();
                return (shown["total"].clone(), bill["totals"].clone());
            }
        }
    }
}

#[test]
fn property_2_totals_match_the_bill() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let pair = Setup { policy: Some(policy("task.rhai")), ..Setup::default() }.start();
    let running = std::cell::RefCell::new(Running { pair, client: Client::default(), models: callable(), attempts: 0 });
    let mut runner = TestRunner::new(Config { cases: 40, failure_persistence: None, ..Config::default() });
    let ran = runner.run(&calls(), |calls| {
        let mut running = running.borrow_mut();
        runtime.block_on(async {
            for call in &calls {
                running.call(call).await;
            }
            let (ledger, bill) = running.totals().await;
            let (charged, billed) = (picodollars(&ledger["charged_usd"]), picodollars(&bill["cost_usd"]));
            assert!(charged.abs_diff(billed) * 100 <= billed, "{ledger} {bill}");
            // Nothing is estimated, and so nothing is off at all.
            assert_eq!((charged, &ledger["estimated_usd"]), (billed, &json!("0")));
        });
        Ok(())
    });
    ran.unwrap();
}
