//! Prompters: how a request is put to a model is a policy's to change, in a slot of its own. What reaches a
//! model by native ones against scripted answers; scripts and components with the gateway as it is set up.

use std::sync::Arc;

use kairos_pipeline::PromptingBounds;
use kairos_pipeline::gateway::Gateway;
use kairos_pipeline::learned::Snapshot;
use kairos_pipeline::policy::{
    Assigned, Edit, Edits, Fault, Guard, Healer, Identity, InspectInput, Origin, Place, Plan, Policies, PolicyError,
    PromptInput, Prompter, Serving, SystemEdit, TextEdit, Verdict, Watcher, Went, World,
};
use kairos_pipeline::request::Operation;
use kairos_tests::http::{Answer as Answered, Client, chat, converse};
use kairos_tests::process::{Pair, Setup, metrics, said};
use kairos_tests::{author, component, policy};
use serde_json::{Value, json};

use super::scripted::{Answer, Outcome, run_hinted};

const NOVA: &str = "amazon.nova-lite-v1:0";

/// Always says this.
struct Says(Identity, Result<Edits, PolicyError>);

impl Prompter for Says {
    fn identity(&self) -> &Identity {
        &self.0
    }

    fn render(&self, _: PromptInput<'_>) -> Result<Edits, PolicyError> {
        self.1.clone()
    }
}

/// The policies of a gateway, and a prompter.
struct With(Arc<dyn Policies>, Arc<dyn Prompter>);

impl Policies for With {
    fn serving(&self) -> Arc<Serving> {
        self.0.serving()
    }

    fn healer(&self) -> Arc<dyn Healer> {
        self.0.healer()
    }

    fn guard(&self) -> Option<Arc<dyn Guard>> {
        self.0.guard()
    }

    fn prompter(&self) -> Option<Arc<dyn Prompter>> {
        Some(Arc::clone(&self.1))
    }

    fn observer(&self) -> Option<Arc<dyn Watcher>> {
        None
    }

    fn learned(&self) -> Arc<Snapshot> {
        self.0.learned()
    }

    fn failed(&self, _: World, _: &Identity, _: &Fault) {}

    fn ticket(&self) -> u64 {
        0
    }

    fn assigned(&self, _: &Assigned) {}

    fn ended(&self, _: &Assigned, _: Went) {}
}

fn answer() -> Answer {
    let usage = json!({"inputTokens": 10, "outputTokens": 20, "totalTokens": 30});
    let message = json!({"role": "assistant", "content": [{"text": "hi"}]});
    Answer::Whole(json!({"output": {"message": message}, "stopReason": "end_turn", "usage": usage}).to_string())
}

fn saying(gateway: &mut Gateway, says: Result<Edits, PolicyError>) {
    let identity = Identity::new("says", "0", vec![(1, "said-so".into())], vec![]);
    gateway.policies = Arc::new(With(Arc::clone(&gateway.policies), Arc::new(Says(identity, says))));
}

async fn asked(operation: Operation, body: Value, says: Result<Edits, PolicyError>) -> Outcome {
    run_hinted(operation, NOVA, (body, &[]), vec![answer()], None, |gateway| saying(gateway, says)).await
}

async fn sent(operation: Operation, body: Value, edits: Edits) -> String {
    let outcome = asked(operation, body, Ok(edits)).await;
    assert_eq!(outcome.status, 200, "{}", outcome.body);
    String::from_utf8(outcome.calls[0].body.to_vec()).unwrap()
}

fn all() -> Edits {
    Edits {
        system: SystemEdit::Replace("New.".to_owned()),
        system_before: Some("Before.".to_owned()),
        system_after: Some("After.".to_owned()),
        examples: vec![("1 + 1".to_owned(), "2".to_owned())],
        keep_last: Some(1),
        texts: vec![(Place { message: 2, piece: 0 }, TextEdit::Before("Please.".to_owned()))],
        max_output_tokens: Some(50),
        temperature: Edit::Set(0.5),
        top_p: Edit::Unset,
        stop: Edit::Set(vec!["END".to_owned()]),
        ..Edits::new(1)
    }
}

#[tokio::test(start_paused = true)]
async fn edits_reach_the_model_in_every_dialect() {
    let turns = json!([{"role": "user", "content": "one"}, {"role": "assistant", "content": "two"}, {"role": "user", "content": "three"}]);
    let body = json!({"messages": [{"role": "system", "content": "Old."}, turns[0], turns[1], turns[2]], "top_p": 0.5, "max_tokens": 40});
    insta::assert_snapshot!(sent(Operation::ChatCompletions, body, all()).await, @r#"{"messages":[{"role":"user","content":[{"text":"1 + 1"}]},{"role":"assistant","content":[{"text":"2"}]},{"role":"user","content":[{"text":"Please."},{"text":"three"}]}],"system":[{"text":"Before."},{"text":"New."},{"text":"After."}],"inferenceConfig":{"stopSequences":["END"],"temperature":0.5,"maxTokens":40}}"#);
    let text = |text: &str| json!([{"text": text}]);
    let body = json!({
        "additionalModelRequestFields": {"top_k": 5},
        "system": [{"text": "Old."}, {"cachePoint": {"type": "default"}}],
        "messages": [{"role": "user", "content": text("one")}, {"role": "assistant", "content": text("two")}, {"role": "user", "content": text("three")}],
    });
    insta::assert_snapshot!(sent(Operation::Converse, body.clone(), all()).await, @r#"{"inferenceConfig":{"maxTokens":50,"stopSequences":["END"],"temperature":0.5},"additionalModelRequestFields":{"top_k":5},"system":[{"text":"Before."},{"text":"New."},{"cachePoint":{"type":"default"}},{"text":"After."}],"messages":[{"role":"user","content":[{"text":"1 + 1"}]},{"role":"assistant","content":[{"text":"2"}]},{"role":"user","content":[{"text":"Please."},{"text":"three"}]}]}"#);
    let context =
        json!({"prompt": "three", "temperature": 0.1, "context": {"system": "Old.", "messages": [turns[0], turns[1]]}});
    insta::assert_snapshot!(sent(Operation::Generate, context, all()).await, @r#"{"inferenceConfig":{"maxTokens":50,"temperature":0.5,"topP":0.9,"stopSequences":["END"]},"additionalModelRequestFields":{"inferenceConfig":{"topK":250}},"messages":[{"role":"user","content":[{"text":"1 + 1"}]},{"role":"assistant","content":[{"text":"2"}]},{"role":"user","content":[{"text":"Please."},{"text":"three"}]}],"system":[{"text":"Before."},{"text":"New."},{"text":"After."}]}"#);
    // Nothing is changed where nothing is said.
    assert_eq!(sent(Operation::Converse, body.clone(), Edits::new(1)).await, body.to_string());
}

#[tokio::test(start_paused = true)]
async fn who_has_no_opinion_changes_nothing_and_who_refuses_ends_it() {
    for error in [PolicyError::Declined, PolicyError::Unavailable("x".to_owned())] {
        let outcome = asked(Operation::Converse, converse("hello"), Err(error)).await;
        assert_eq!((outcome.status, outcome.record.warnings.len()), (200, 0), "{}", outcome.body);
        assert_eq!(outcome.calls[0].body, converse("hello").to_string());
    }
    let outcome = asked(Operation::Converse, converse("hello"), Err(PolicyError::Refused(1))).await;
    assert_eq!((outcome.status, outcome.calls.len()), (403, 0), "{}", outcome.body);
    assert!(outcome.body.contains("the policy says refused the request, reason 1 (said-so)"), "{}", outcome.body);
    assert!(outcome.record.prompted.unwrap().refused);
}

/// Whatever is wrong with an answer, the request goes on as it was; or is refused, if the operator wants that.
#[tokio::test(start_paused = true)]
async fn one_that_fails_changes_nothing_or_opens_nothing() {
    let large = Edits { system_after: Some("x".repeat(1_000)), ..Edits::new(1) };
    for edits in [Edits::new(2), Edits { keep_last: Some(0), ..Edits::new(1) }, large] {
        for blocks in [false, true] {
            let change = |gateway: &mut Gateway| {
                gateway.settings.prompting = PromptingBounds { blocks, added_bytes: 500 };
                saying(gateway, Ok(edits.clone()));
            };
            let (body, answers) = (converse("hello"), vec![answer()]);
            let outcome = run_hinted(Operation::Converse, NOVA, (body, &[]), answers, None, change).await;
            let prompted = serde_json::to_value(&outcome.record.prompted).unwrap();
            assert_eq!(prompted["instead"], json!({"fault": "invalid_answer"}), "{prompted}");
            if blocks {
                assert_eq!((outcome.status, outcome.calls.len()), (403, 0), "{}", outcome.body);
            } else {
                assert_eq!((outcome.status, outcome.calls.len()), (200, 1), "{}", outcome.body);
                assert_eq!(outcome.calls[0].body, converse("hello").to_string());
                assert!(outcome.record.warnings[0].contains("sent as it was: invalid_answer"));
            }
        }
    }
}

/// Bodies of InvokeModel have no place for edits: they go as they came, or not at all.
#[tokio::test(start_paused = true)]
async fn bodies_of_invoke_model_are_left_alone_or_refused() {
    let body = json!({"messages": [{"role": "user", "content": [{"text": "x"}]}], "schemaVersion": "messages-v1"});
    for (blocks, expected) in [(false, (200, 1)), (true, (400, 0))] {
        let change = |gateway: &mut Gateway| {
            gateway.settings.prompting.blocks = blocks;
            saying(gateway, Ok(all()));
        };
        let outcome = run_hinted(Operation::Invoke, NOVA, (body.clone(), &[]), vec![answer()], None, change).await;
        assert_eq!((outcome.status, outcome.calls.len()), expected, "{}", outcome.body);
    }
}

/// What the request costs is worked out anew: a model that it costs more on than the plan allows is left out,
/// and the record says that what came of it is another's.
#[tokio::test(start_paused = true)]
async fn models_that_no_longer_fit_are_left_out() {
    let grows = Edits { system_after: Some("x".repeat(200_000)), ..Edits::new(1) };
    let mut tried = Vec::new();
    for max_cost in [u64::MAX, 30_000_000_000, 1_000] {
        let plan = Plan { max_cost: Some(max_cost), ..Plan::in_order([2, 0, 1], 1) };
        let (body, answers) =
            (json!({"messages": [{"role": "user", "content": "hello"}], "max_tokens": 5}), vec![answer()]);
        let change = |gateway: &mut Gateway| saying(gateway, Ok(grows.clone()));
        let outcome = run_hinted(Operation::ChatCompletions, "auto", (body, &[]), answers, Some(plan), change).await;
        let left_out =
            outcome.record.prompted.as_ref().map(|prompted| (prompted.left_out.len(), prompted.first_left_out));
        tried.push((outcome.status, outcome.calls.len(), left_out));
    }
    assert_eq!(tried[0], (200, 1, Some((0, false))));
    assert!(matches!(tried[1], (200, 1, Some((1.., true)))), "{tried:?}");
    // It costs too much before it is changed.
    assert_eq!((tried[2].0, tried[2].1), (403, 0), "{tried:?}");
}

/// What a prompter writes is judged as what a user wrote: it saw that.
#[tokio::test(start_paused = true)]
async fn what_is_written_is_judged_as_a_users() {
    struct BlocksUsers(Identity);
    impl Guard for BlocksUsers {
        fn identity(&self) -> &Identity {
            &self.0
        }

        fn hold_back(&self) -> usize {
            0
        }

        fn inspect(&self, input: InspectInput<'_>) -> Result<Verdict, PolicyError> {
            let found = input.passage.origin == Origin::User && input.text.contains("secret");
            Ok(if found { Verdict::block(1) } else { Verdict::pass(input.text) })
        }
    }
    let change = |gateway: &mut Gateway| {
        saying(gateway, Ok(Edits { system_after: Some("a secret".to_owned()), ..Edits::new(1) }));
        let identity = Identity::new("blocks", "0", vec![(1, "secret".into())], vec![]);
        gateway.native_guard = Some(Arc::new(BlocksUsers(identity)));
    };
    let outcome = run_hinted(Operation::Converse, NOVA, (converse("hello"), &[]), vec![answer()], None, change).await;
    assert_eq!((outcome.status, outcome.calls.len()), (403, 0), "{}", outcome.body);
}

/// A prompter that calls itself so, and does this.
fn named(name: &str, render: &str) -> Vec<u8> {
    format!(
        "fn describe() {{ #{{ name: \"{name}\", reasons: #{{ \"1\": \"said-so\" }} }} }}\nfn render(ctx, features, models, first, draft) {{ {render} }}\n"
    )
    .into_bytes()
}

fn put(pair: &Pair, ending: &str, bytes: &[u8]) {
    pair.put(&format!("prompter.{ending}"), bytes);
    pair.gateway.wait_for_log("a policy serves");
}

async fn ask(client: &Client, pair: &Pair) -> (Answered, Value) {
    let url = format!("{}/v1/chat/completions", pair.gateway.url);
    let answer = client.post(&url, &[], &chat("nova-lite", "xylophone")).await;
    let id = answer.header("x-kairos-request-id").to_owned();
    let record = client.get(&format!("{}/v1/requests/{id}", pair.gateway.url)).await.json();
    (answer, record)
}

#[tokio::test]
async fn a_file_in_the_folder_changes_what_is_sent() {
    let pair = Pair::start();
    let client = Client::default();
    let tokens =
        |record: &Value| record["attempts"][0]["usage"]["input"].as_u64().unwrap_or_else(|| panic!("{record}"));
    let (_, before) = ask(&client, &pair).await;
    assert!(before["prompted"].is_null(), "{before}");
    let longer = "let e = edits(1); e.system_after(\"one two three four five six seven eight nine ten\"); e.max_output_tokens = 7; e";
    put(&pair, "rhai", &named("longer", longer));
    let (answer, record) = ask(&client, &pair).await;
    assert_eq!((answer.status.as_u16(), answer.header("x-kairos-warnings")), (200, ""), "{}", answer.text());
    let prompted = &record["prompted"];
    assert!(prompted["policy"].as_str().unwrap().starts_with("longer@"), "{record}");
    assert_eq!(
        (&prompted["reason_name"], &prompted["changed"]),
        (&json!("said-so"), &json!(["system-after", "max-output-tokens"]))
    );
    assert!(tokens(&record) > tokens(&before), "{record} {before}");
    assert!(answer.json()["usage"]["completion_tokens"].as_u64().unwrap() <= 7, "{}", answer.text());
    // A component, from the plugins: there is money enough.
    std::fs::remove_file(pair.policies.join("prompter.rhai")).unwrap();
    pair.gateway.wait_for_log("file was removed");
    put(&pair, "wasm", &component("thrift-prompter"));
    let (_, record) = ask(&client, &pair).await;
    assert_eq!(
        (&record["prompted"]["reason_name"], &record["prompted"]["changed"]),
        (&json!("plenty"), &json!([])),
        "{record}"
    );
    assert_eq!(tokens(&record), tokens(&before));
}

/// A script that behaves on trial only.
fn bad(render: &str) -> Vec<u8> {
    named("bad", &format!("if \"team\" in ctx.tags {{ return edits(1); }} {render}"))
}

/// Prompters that fail whenever they are asked: each request is answered as it was; after three the one before
/// serves. What they say in words, which may be the caller's, is in no log.
async fn fails_and_gives_way(ending: &str, bytes: Vec<u8>, kind: &str) {
    let pair = Pair::start();
    let client = Client::default();
    put(&pair, "rhai", &named("before", "edits(1)"));
    put(&pair, ending, &bytes);
    for _ in 0..3 {
        let (answer, record) = ask(&client, &pair).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(record["prompted"]["instead"]["fault"], kind, "{record}");
        assert!(
            answer.header("x-kairos-warnings").ends_with(&format!("was sent as it was: {kind}")),
            "{:?}",
            answer.headers
        );
    }
    let mut log = pair.gateway.wait_for_log("quarantined");
    assert!(log.contains("\"slot\":\"prompter\""), "{log}");
    let (_, record) = ask(&client, &pair).await;
    assert!(record["prompted"]["policy"].as_str().unwrap().starts_with("before@"), "{record}");
    let metrics = metrics(&pair).await;
    for line in [
        format!("kairos_policy_faults_total{{slot=\"prompter\",kind=\"{kind}\"}} 3\n"),
        "kairos_policy_quarantined_total{slot=\"prompter\"} 1\n".to_owned(),
        "kairos_policy_quarantined_total{slot=\"guard\"} 0\n".to_owned(),
    ] {
        assert!(metrics.contains(&line), "{line}{metrics}");
    }
    pair.gateway.terminate();
    log.push_str(&pair.gateway.wait().1.join("\n"));
    assert!(!log.contains("xylophone"), "{log}");
}

failing! {
    fails_and_gives_way:
    a_component_that_changes_what_is_not_there: "wasm", component("bad-prompter-place"), "invalid_answer";
    a_component_that_writes_a_book: "wasm", component("bad-prompter-text"), "invalid_answer";
    a_component_that_panics_with_the_prompt: "wasm", component("bad-prompter-panic"), "panic";
    a_script_that_loops: "rhai", bad("loop { }"), "deadline";
    a_script_that_throws_the_prompt: "rhai", bad("throw draft.message(0).text(0)"), "error";
    a_script_that_removes_all: "rhai", bad("let e = edits(1); e.remove(0, 0); e"), "invalid_answer";
    a_script_that_writes_nothing: "rhai", bad("let e = edits(1); e.system(\"\"); e"), "invalid_answer";
    a_script_that_replaces_twice:
        "rhai", bad("let e = edits(1); e.replace(0, 0, \"a\"); e.replace(0, 0, \"b\"); e"), "invalid_answer";
    a_script_without_a_reason: "rhai", bad("edits(2)"), "invalid_answer";
    a_script_that_is_too_hot: "rhai", bad("let e = edits(1); e.temperature = 1.5; e"), "invalid_answer";
    a_script_that_reads_what_is_not_there: "rhai", bad("draft.message(0).text(9)"), "error";
    a_script_that_answers_something_else: "rhai", bad("\"be brief\""), "error";
}

/// Where no prompter is left in its slot, the operator's word holds on.
#[tokio::test]
async fn the_last_prompter_that_fails_blocks_where_the_operator_says_so() {
    for (config, status) in [("", 200), ("[prompter]\non_failure = \"block\"\n", 403)] {
        let pair = Setup { config, ..Setup::default() }.start();
        let client = Client::default();
        put(&pair, "rhai", &bad("throw \"x\""));
        for _ in 0..3 {
            assert_eq!(ask(&client, &pair).await.0.status, status);
        }
        pair.gateway.wait_for_log("quarantined");
        let (answer, record) = ask(&client, &pair).await;
        assert_eq!((answer.status.as_u16(), &record["prompted"]["instead"]), (status, &json!("not_run")), "{record}");
        std::fs::remove_file(pair.policies.join("prompter.rhai")).unwrap();
        pair.gateway.wait_for_log("file was removed");
        let (answer, record) = ask(&client, &pair).await;
        assert!(answer.status == 200 && record["prompted"].is_null(), "{record}");
    }
}

#[tokio::test]
async fn a_prompter_has_the_life_of_any_policy() {
    let pair = Pair::start();
    let (code, text) = said(&pair, &["policy", "list"]);
    assert!(code == 0 && text.contains("\nprompter\n  active    no-prompter@"), "{text}");
    let (code, text) = said(&pair, &["policy", "stage", policy("thrift.rhai").to_str().unwrap(), "--json"]);
    assert_eq!(code, 0, "{text}");
    let staged: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(staged["tests"], 4, "{text}");
    let digest = staged["digest"].as_str().unwrap();
    assert_eq!(said(&pair, &["policy", "activate", &digest[..12]]).0, 0);
    let (_, record) = ask(&Client::default(), &pair).await;
    assert!(record["prompted"]["policy"].as_str().unwrap().starts_with("thrift@"), "{record}");
    let (code, text) = said(&pair, &["policy", "canary", &digest[..12]]);
    assert!(code == 1 && text.contains("the slot `prompter` has neither canary nor shadow"), "{code} {text}");
    let (code, text) = said(&pair, &["audit"]);
    assert!(code == 0 && text.contains("activate prompter"), "{text}");
}

/// What wrong tests of a prompter are told.
#[test]
fn tests_say_what_is_not_as_expected() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(policy("thrift.rhai"), folder.path().join("x.rhai")).unwrap();
    let head = "as_of = \"2026-11-23\"\nregion = \"us-east-1\"\nmodels = [\"nova-lite\"]\n";
    let test = |test: &str| {
        let text = format!("{head}[[test]]\nname = \"x\"\nfeatures = {{ budget_used = 1.0 }}\n{test}\n");
        std::fs::write(folder.path().join("x.test.toml"), text).unwrap();
        let (code, said) =
            kairos_tests::process::ended(&author(folder.path(), "kairos policy test x.rhai").output().unwrap());
        format!("{code} {said}")
    };
    let draft = "draft = { messages = [{ user = \"hi\" }] }";
    let told: Vec<_> = [
        "expect = { only = true }".to_owned(),
        format!("{}\nexpect = {{ only = true }}", draft.replace("user =", "usr =")),
        format!("{}\nexpect = {{ only = true }}", draft.replace("\"hi\"", "[{ is = \"sound\" }]")),
        format!("{draft}\nexpect = {{ only = true, system_after = \"Answer.\", keep_last = 3 }}"),
        format!("{draft}\nexpect = {{ declined = true }}"),
        format!(
            "{draft}\nexpect = {{ only = true, system_after = \"Answer in one sentence.\", max_output_tokens = 256 }}"
        ),
    ]
    .iter()
    .map(|text| test(text))
    .collect();
    insta::assert_snapshot!(told.join("\n"), @r#"
    1 x.test.toml:4:1: a prompter's test needs a `draft`

    1 x.test.toml:7:25: there is no key "draft.messages.usr"; did you mean "user"?

    1 x.test.toml:7:40: draft.messages.user.is: there is no "sound"; there are image, document, video, audio, tool-result, reasoning, cache-point, other

    1 x.rhai: 1 of 1 test failed
      x.test.toml:5  "x"
        system_after: "Answer in one sentence.", expected "Answer."
        keep_last: not changed, expected 3
        max_output_tokens: 256, expected not to be changed
        the edits: system_after = "Answer in one sentence."; max_output_tokens = 256; reason 3 "last"

    1 x.rhai: 1 of 1 test failed
      x.test.toml:5  "x"
        the policy was expected to decline
        the edits: system_after = "Answer in one sentence."; max_output_tokens = 256; reason 3 "last"

    0 x.rhai: 1 test passed
    "#);
}
