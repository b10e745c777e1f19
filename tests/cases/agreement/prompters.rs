//! The two forms of the prompter decide alike on generated requests.

use std::collections::BTreeMap;
use std::sync::Arc;

use kairos_pipeline::policy::{Answer, Content, Draft, PromptInput, Question, RequestInfo};
use kairos_tests::{guest, policy};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::json;

use super::{SeedNames, context, load, loader, offer, question};

/// Requests that are generated.
const REQUESTS: usize = 5_000;

fn draft() -> impl Strategy<Value = Draft> {
    let limit = prop_oneof![Just(None), (1u32..3_000).prop_map(Some), Just(Some(256)), Just(Some(1_024))];
    (0usize..12, limit, "\\PC{0,20}").prop_map(|(turns, limit, text)| {
        let turn = |turn| {
            let role = if turn % 2 == 0 { "user" } else { "assistant" };
            json!({"role": role, "content": [{"text": text}]})
        };
        let mut body = json!({"messages": (0..turns).map(turn).collect::<Vec<_>>()});
        if let Some(limit) = limit {
            body["inferenceConfig"] = json!({"maxTokens": limit});
        }
        kairos_dialects::bedrock::draft(body.to_string().as_bytes()).unwrap()
    })
}

#[test]
fn both_forms_of_the_prompter_decide_alike() {
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[13; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let plain = question(&context().new_tree(&mut runner).unwrap().current()).features;
    let model = offer().new_tree(&mut runner).unwrap().current();
    let loader = loader();
    let (script, component) = (load(&loader, &policy("thrift.rhai")), load(&loader, &guest("thrift-prompter")));
    let request = Arc::new(RequestInfo {
        content: Content::default(),
        tags: Default::default(),
        task_label: None,
        asked_model: "auto".into(),
        model_ids: [Arc::from("m0")].into(),
        regions: vec!["us-east-1".into()],
        names: Arc::new(SeedNames(Default::default())),
        learned: Arc::default(),
    });
    let strategy = (draft(), prop_oneof![0.0f64..=1.0, Just(0.8), Just(0.95), 0.8f64..0.95]);
    let mut met = BTreeMap::new();
    for place in 0..REQUESTS {
        let (draft, budget_used) = strategy.new_tree(&mut runner).unwrap().current();
        let (draft, features) = (Arc::new(draft), kairos_pipeline::policy::Features { budget_used, ..plain });
        let input = PromptInput { request: &request, features: &features, models: &[model], first: 0, draft: &draft };
        let [one, other] = [&script, &component].map(|form| {
            let edits = form.ask(Question::Render(input), 0).0.and_then(Answer::edits).unwrap();
            edits.checked(input, form.identity()).unwrap()
        });
        assert_eq!(one, other, "request {place}: {budget_used} {draft:?}");
        let rule = (one.reason, one.keep_last.is_some(), one.max_output_tokens.is_some());
        *met.entry(rule).or_insert(0) += 1;
    }
    // Every rule was met, or the comparison says nothing of it.
    assert_eq!(met.len(), 1 + 4 + 4, "{met:?}");
    assert!(met.values().all(|count| *count > 20), "{met:?}");
}
