//! Routing as callers and authors of policies meet it.

use kairos_tests::http::{Answer, Client, chat, converse};
use kairos_tests::policy;
use kairos_tests::process::{Pair, Setup};
use serde_json::{Value, json};

async fn ask(client: &Client, pair: &Pair, headers: &[(&str, &str)], prompt: &str) -> Answer {
    client.post(&format!("{}/v1/chat/completions", pair.gateway.url), headers, &chat("auto", prompt)).await
}

async fn record(client: &Client, pair: &Pair, answer: &Answer) -> Value {
    let id = answer.header("x-kairos-request-id");
    client.get(&format!("{}/v1/requests/{id}", pair.gateway.url)).await.json()
}

fn with_script(script: &str) -> Pair {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("policy.rhai");
    std::fs::write(&path, script).unwrap();
    Setup { policy: Some(path), ..Setup::default() }.start()
}

const NOVA: &str = "amazon.nova-lite-v1:0";
const CLAUDE: &str = "us.anthropic.claude-sonnet-4-6";
const JAMBA: &str = "ai21.jamba-1-5-large-v1:0";

#[tokio::test]
async fn prompts_and_hints_decide_the_model() {
    let pair = Pair::start();
    let client = Client::default();
    for (prompt, headers, model, reason) in [
        ("What is the capital of Norway?", vec![], NOVA, "general"),
        ("Write a Python function that sorts a list", vec![], CLAUDE, "code"),
        ("Prove that there is no largest prime", vec![], JAMBA, "reasoning"),
        ("hello", vec![("x-kairos-task", "code")], CLAUDE, "code"),
        ("hello", vec![("x-kairos-task", "strategy")], JAMBA, "reasoning"),
        ("Write a Python function", vec![("x-kairos-task", "summarization")], NOVA, "general"),
        ("Write a Python function", vec![("x-kairos-task", "our-own-label")], NOVA, "general"),
    ] {
        let answer = ask(&client, &pair, &headers, prompt).await;
        assert_eq!(answer.header("x-kairos-model"), model, "{prompt} {headers:?}");
        let record = record(&client, &pair, &answer).await;
        let decision = &record["decision"];
        assert_eq!((&decision["reason_name"], &decision["propensity"]), (&json!(reason), &json!(1.0)), "{record}");
        assert_eq!(decision["policy"], answer.header("x-kairos-policy"));
        assert_eq!(decision["order"].as_array().unwrap().len(), 3, "{record}");
    }
    pair.put_policy("rhai", &std::fs::read(policy("score.rhai")).unwrap());
    pair.gateway.wait_for_log("a policy serves");
    let high = ("x-kairos-complexity", "high");
    let low = ("x-kairos-complexity", "low");
    let within = |ms| ("x-kairos-max-latency-ms", ms);
    let thrifty = ("x-kairos-cost-sensitivity", "1");
    for (headers, model, reason) in [
        (vec![high, within("2000")], CLAUDE, "best-score"),
        (vec![high, within("1000")], "us.amazon.nova-2-lite-v1:0", "best-score"),
        (vec![high, within("2000"), thrifty], "us.amazon.nova-2-lite-v1:0", "cheaper-model"),
        (vec![low, within("500")], "us.anthropic.claude-haiku-4-5-20251001-v1:0", "best-score"),
        (vec![low, within("500"), thrifty], "amazon.nova-micro-v1:0", "cheaper-model"),
    ] {
        let answer = ask(&client, &pair, &headers, "hello").await;
        let record = record(&client, &pair, &answer).await;
        assert_eq!(record["decision"]["reason_name"], reason, "{headers:?} {record}");
        assert_eq!(answer.header("x-kairos-model"), model, "{headers:?} {record}");
    }
}

#[tokio::test]
async fn ended_models_are_answered_for_and_said_so() {
    let pair = Pair::start();
    let client = Client::default();
    for (asked, model) in [
        ("amazon.titan-text-express-v1", NOVA),
        ("anthropic.claude-3-5-sonnet", CLAUDE),
        ("us.anthropic.claude-3-5-sonnet-20241022-v2:0", CLAUDE),
        ("ai21.j2-ultra", JAMBA),
        ("claude-3-haiku", "us.anthropic.claude-haiku-4-5-20251001-v1:0"),
    ] {
        let answer =
            client.post(&format!("{}/v1/chat/completions", pair.gateway.url), &[], &chat(asked, "hello")).await;
        assert_eq!(
            (answer.status.as_u16(), answer.header("x-kairos-model")),
            (200, model),
            "{asked}: {}",
            answer.text()
        );
        assert!(answer.header("x-kairos-warnings").contains("answers in its place"), "{asked}: {:?}", answer.headers);
    }
    let config = "[models]\nas_of = \"2026-11-23\"\nended = \"refuse\"\n";
    let strict = Setup { config, policy: Some(policy("task.rhai")), ..Setup::default() }.start();
    let refused =
        client.post(&format!("{}/v1/chat/completions", strict.gateway.url), &[], &chat("titan", "hello")).await;
    assert_eq!((refused.status.as_u16(), &refused.json()["error"]["code"]), (404, &json!("model_ended")));
    assert!(refused.text().contains("its successor is amazon.nova-lite-v1:0"), "{}", refused.text());
}

#[tokio::test]
async fn plans_lower_limits_cap_costs_and_refuse() {
    let client = Client::default();
    // An output limit holds in every dialect, and never raises what the caller asked for.
    let pair = with_script("fn route(ctx, features, models) { let p = plan([0], 1); p.max_output_tokens = 5; p }");
    let answer = ask(&client, &pair, &[], "Tell me a story").await;
    assert_eq!(answer.json()["usage"]["completion_tokens"], 5);
    assert_eq!(answer.json()["choices"][0]["finish_reason"], "length");
    for (limit, tokens) in [(json!(null), 5), (json!({"maxTokens": 50, "topP": 0.5}), 5), (json!({"maxTokens": 3}), 3)]
    {
        let mut body = converse("Tell me a story");
        body["inferenceConfig"] = limit;
        let answer = client.post(&format!("{}/model/auto/converse", pair.gateway.url), &[], &body).await;
        assert_eq!(answer.json()["usage"]["outputTokens"], tokens, "{body}: {}", answer.text());
    }
    // A cost limit leaves out what may cost more.
    let pair = with_script(
        "fn route(ctx, features, models) { if models.len < 2 { return decline(); } let p = plan([1, 0], 1); p.max_cost = models[0].worst_case_cost; p }",
    );
    assert_eq!(ask(&client, &pair, &[], "hello").await.header("x-kairos-model"), NOVA);
    let pair = with_script("fn route(ctx, features, models) { let p = plan([0], 1); p.max_cost = 0; p }");
    let answer = ask(&client, &pair, &[], "hello").await;
    assert_eq!((answer.status.as_u16(), &answer.json()["error"]["code"]), (403, &json!("refused_by_policy")));
    // A policy may refuse, or have no opinion.
    let refuses = "fn describe() { #{ reasons: #{ \"9\": \"after-hours\" } } } fn route(ctx, features, models) { if \"batch\" in ctx.tags { refuse(9) } else { decline() } }";
    let pair = with_script(refuses);
    let answer = ask(&client, &pair, &[("x-kairos-tags", "batch=yes")], "hello").await;
    assert_eq!(answer.status, 403);
    assert!(answer.text().contains("reason 9 (after-hours)"), "{}", answer.text());
    let answer = ask(&client, &pair, &[], "hello").await;
    assert!(
        answer.status == 200 && answer.header("x-kairos-policy").starts_with("native-task@"),
        "{:?}",
        answer.headers
    );
    let metrics = client.get(&format!("{}/metrics", pair.gateway.url)).await.text();
    let faults: Vec<_> = metrics.lines().filter(|line| line.starts_with("kairos_policy_faults_total{")).collect();
    assert!(!faults.is_empty() && faults.iter().all(|line| line.ends_with(" 0")), "{faults:?}");
}

/// The host draws by the plan's chances, and records what it drew.
#[tokio::test]
async fn draws_follow_the_plan_and_are_recorded() {
    let script = "fn route(ctx, features, models) { if models.len < 2 { return plan([0], 1); } plan([#{model: 0, probability: 0.25}, #{model: 1, probability: 0.75}], 1) }";
    let pair = with_script(script);
    let client = Client::default();
    let mut second = 0;
    for _ in 0..400 {
        let answer = ask(&client, &pair, &[], "hello").await;
        let record = record(&client, &pair, &answer).await;
        let drawn_second = answer.header("x-kairos-model") == CLAUDE;
        assert_eq!(record["decision"]["propensity"], if drawn_second { 0.75 } else { 0.25 });
        second += u32::from(drawn_second);
    }
    // Five standard deviations of a binomial count.
    assert!((257..=343).contains(&second), "{second} of 400");
}

/// What a policy may read, it reads as it is; what is not granted is not there.
#[tokio::test]
async fn scripts_see_what_they_are_granted() {
    let script = r#"
        fn route(ctx, features, models) {
            let sees = ctx.prompt == "what does the fox say" && ctx.system == "be brief" && ctx.tags.team == "search"
                && ctx.asked_model == "auto" && ctx.task_label == "legal-review" && features.task == "other"
                && features.priority == "high" && features.accuracy == 0.25 && features.streaming == false
                && features.needs("system-prompt") && !features.needs("tools")
                && ctx.config.threshold == 3 && ctx.find("titan") == 0 && models[1].id == "anthropic.claude-sonnet-4-6"
                && models[1].family == "claude" && models[1].has("reasoning") && models[0].can("images")
                && ctx.regions == ["us-east-1"] && models.len == 9;
            log(`sees ${sees}`);
            metric_add("calls", 1);
            metric_set("threshold", 3.0);
            plan([if sees { 1 } else { 0 }], 1)
        }"#;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("policy.rhai");
    // On trial, before it serves, the policy is asked something else: it must answer that too.
    std::fs::write(
        &path,
        script.replace(
            "let sees =",
            "if !(\"team\" in ctx.tags) || ctx.tags.team == \"trial\" { return plan([0], 1); }\n let sees =",
        ),
    )
    .unwrap();
    let config = "[policies]\ngrants = [\"log\", \"metrics\", \"content\"]\n[policies.config.router]\nthreshold = 3\n";
    let pair = Setup { config, policy: Some(path), ..Setup::default() }.start();
    let client = Client::default();
    let body = json!({"model": "auto", "messages": [{"role": "system", "content": "be brief"}, {"role": "user", "content": "what does the fox say"}]});
    let headers = [
        ("x-kairos-tags", "team=search"),
        ("x-kairos-task", "legal-review"),
        ("x-kairos-priority", "high"),
        ("x-kairos-accuracy", "0.25"),
    ];
    let answer = client.post(&format!("{}/v1/chat/completions", pair.gateway.url), &headers, &body).await;
    assert_eq!(answer.header("x-kairos-model"), CLAUDE, "{:?} {:?}", answer.headers, pair.gateway.log_so_far());
    assert!(pair.gateway.wait_for_log("sees true").contains("kairos::plugin"));
    let metrics = client.get(&format!("{}/metrics", pair.gateway.url)).await.text();
    for line in [
        "kairos_plugin_counter_total{slot=\"router\",plugin=\"router\",name=\"calls\"} 1",
        "kairos_plugin_gauge{slot=\"router\",plugin=\"router\",name=\"threshold\"} 3",
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
}

/// A component gets what it asks for and the operator grants; asking for more refuses it.
#[tokio::test]
async fn components_get_what_they_are_granted() {
    let config = "[policies]\ngrants = [\"log\", \"metrics\", \"kv\", \"content\"]\n";
    let talkative = kairos_tests::guest("talkative");
    let pair = Setup { config, policy: Some(talkative.clone()), ..Setup::default() }.start();
    let client = Client::default();
    let url = format!("{}/v1/chat/completions", pair.gateway.url);
    let answer = client.post(&url, &[], &chat("amazon.nova-lite-v1:0", "hello")).await;
    assert!(answer.header("x-kairos-policy").starts_with("talkative@"), "{:?}", answer.headers);
    let said = pair.gateway.wait_for_log("1 models, prompt of 5 bytes, known: false");
    assert!(said.contains("\"plugin\":\"talkative\""), "{said}");
    let metrics = client.get(&format!("{}/metrics", pair.gateway.url)).await.text();
    for line in [
        "kairos_plugin_counter_total{slot=\"router\",plugin=\"talkative\",name=\"calls\"}",
        "kairos_plugin_gauge{slot=\"router\",plugin=\"talkative\",name=\"models\"}",
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
    // By default the caller's words are not granted.
    let pair = Setup { policy: Some(policy("score.rhai")), ..Setup::default() }.start();
    pair.put_policy("wasm", &std::fs::read(talkative).unwrap());
    let refusal = pair.gateway.wait_for_log("policy refused");
    assert!(
        refusal.contains("imports `content`, which is not granted") && refusal.contains("set `grants = "),
        "{refusal}"
    );
}

/// The seed's variables: the model of requests that name none, and those tried when a plan's own fail.
#[tokio::test]
async fn requests_that_name_no_model_get_the_default_and_then_the_fallback() {
    let environment = [
        ("BEDROCK_DEFAULT_MODEL", "amazon.titan-text-express-v1"),
        ("BEDROCK_FALLBACK_MODELS", "nova-lite, anthropic.claude-3-5-sonnet,ai21.j2-ultra"),
    ];
    let (config, policy) = ("[healing]\nretries = 0\n", Some(policy("task.rhai")));
    let pair = Setup { config, environment: &environment, policy, ..Setup::default() }.start();
    let client = Client::default();
    let url = format!("{}/v1/chat/completions", pair.gateway.url);
    let unnamed = json!({"messages": [{"role": "user", "content": "Write a Python function"}]});
    let answer = client.post(&url, &[], &unnamed).await;
    assert_eq!((answer.status.as_u16(), answer.header("x-kairos-model")), (200, NOVA), "{}", answer.text());
    assert!(answer.header("x-kairos-warnings").contains("titan-text-express-v1 ended"), "{:?}", answer.headers);
    let asked = record(&client, &pair, &answer).await;
    assert_eq!(asked["asked_model"], "amazon.titan-text-express-v1");
    assert_eq!(asked["decision"]["fallback"], json!(["anthropic.claude-sonnet-4-6", JAMBA]), "{asked}");

    let down = json!([{"model": NOVA, "fault": "ServiceUnavailableException"}, {"model": CLAUDE, "fault": "ServiceUnavailableException"}]);
    client.send("PUT", &format!("{}/sim/v1/faults", pair.simulator.url), &[], down.to_string()).await;
    let answer = client.post(&url, &[], &unnamed).await;
    assert_eq!(
        (answer.header("x-kairos-model"), answer.header("x-kairos-attempts")),
        (JAMBA, "3"),
        "{}",
        answer.text()
    );
    // Who names a model gets that one or none, unless others are allowed.
    let named = chat("nova-lite", "hello");
    let answer = client.post(&url, &[], &named).await;
    assert_eq!((answer.status.as_u16(), answer.header("x-kairos-attempts")), (503, "1"), "{}", answer.text());
    let answer = client.post(&url, &[("x-kairos-fallback", "any")], &named).await;
    assert_eq!((answer.status.as_u16(), answer.header("x-kairos-model")), (200, JAMBA), "{}", answer.text());
}

/// The policy's limit on what a request may cost binds the operator's fallback, too.
#[tokio::test]
async fn a_fallback_keeps_to_the_plans_limit_of_cost() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("policy.rhai");
    let cheap = "fn route(ctx, features, models) { let p = plan([0], 1); p.max_cost = models[0].worst_case_cost; p }";
    std::fs::write(&script, cheap).unwrap();
    let config = "[models]\nas_of = \"2026-11-23\"\nfallback = [\"claude-sonnet-4-6\", \"nova-micro\"]\n";
    let pair = Setup { config, policy: Some(script), ..Setup::default() }.start();
    let client = Client::default();
    let answer = ask(&client, &pair, &[], "hello").await;
    let record = record(&client, &pair, &answer).await;
    assert_eq!(record["decision"]["fallback"], json!(["amazon.nova-micro-v1:0"]), "{record}");
}
