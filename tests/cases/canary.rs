//! What is tried beside the policy in place: a canary that is worse goes back by itself, each for its
//! reason; arms are drawn by the gateway; a shadow is compared and never followed; a restart forgets nothing.

mod in_process;

pub(crate) use self::in_process::Memory;

use kairos_tests::http::{Client, chat};
use kairos_tests::process::{Pair, Setup, on_data, said};
use serde_json::{Value, json};

/// As the defaults, with half of the requests, less to learn, and less to chance: tests have no days, and
/// run often.
const CONFIG: &str = "[policies]\ndeadline_ms = 2000\n[policies.canary]\nshare = 0.5\nalpha = 0.001\nlearned = 20\nstep = 20\nhours = 0.0\n";
const OTHER: &str = "anthropic.claude-sonnet-4-6";
const CHEAP: &str = "amazon.nova-lite-v1:0";
/// The most requests that are made until something is found out.
const MOST: usize = 2_000;

/// A policy that calls itself so, and sends everything to one of the two models.
fn named(name: &str, model: usize) -> String {
    let plan = format!("plan([min({model}, models.len - 1)], 1)");
    format!("fn describe() {{ #{{ name: \"{name}\" }} }}\nfn route(ctx, features, models) {{ {plan} }}\n")
}

fn json_of(pair: &Pair, arguments: &[&str]) -> Value {
    let output = on_data(pair, &[arguments, &["--json"]].concat());
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Stages a policy; gives its digest.
fn stage(pair: &Pair, name: &str, text: &str) -> String {
    let file = format!("{name}.rhai");
    std::fs::write(pair.folder().join(&file), text).unwrap();
    json_of(pair, &["policy", "stage", &file])["digest"].as_str().unwrap().to_owned()
}

/// Lets one policy serve, and another a share.
fn try_out(pair: &Pair, baseline: &str, canary: &str, arguments: &[&str]) -> String {
    let baseline = stage(pair, "baseline", baseline);
    json_of(pair, &["policy", "activate", &baseline]);
    let canary = stage(pair, "canary", canary);
    json_of(pair, &[&["policy", "canary", &canary], arguments].concat());
    canary
}

/// What is so in the slot.
async fn slot(pair: &Pair) -> Value {
    Client::default().get(&format!("{}/admin/v1/policies/router", pair.gateway.url)).await.json()
}

/// Makes requests until the canary's verdict is there; gives it.
async fn verdict(pair: &Pair) -> Value {
    let (client, url) = (Client::default(), format!("{}/v1/chat/completions", pair.gateway.url));
    for made in 0..MOST {
        client.post(&url, &[], &chat("auto", "hello")).await;
        let newest = &slot(pair).await["experiments"][0];
        if !newest["verdict"].is_null() {
            println!("after {made} requests: {}", newest["verdict"]["text"]);
            return newest["verdict"].clone();
        }
    }
    panic!("no verdict after {MOST} requests: {}", slot(pair).await["experiments"][0]);
}

/// That the canary went back, for this reason, and all that tells of it.
async fn went_back(pair: &Pair, canary: &str, why: &str) {
    let verdict = verdict(pair).await;
    assert_eq!((&verdict["what"], &verdict["why"]), (&json!("rolled_back"), &json!(why)), "{verdict}");
    let text = verdict["text"].as_str().unwrap();
    assert!(text.starts_with("rolled back by itself: "), "{text}");
    pair.gateway.wait_for_log("canary rolled back by itself: ");
    let (_, list) = said(pair, &["policy", "list"]);
    assert!(list.contains("  active    baseline@") && list.contains(&format!(": {text}\n")), "{list}");
    let metrics = Client::default().get(&format!("{}/metrics", pair.gateway.url)).await.text();
    let counted = format!("kairos_policy_rollbacks_total{{slot=\"router\",why=\"{why}\"}} 1");
    assert!(
        metrics.contains(&counted) && metrics.contains("kairos_policy_canary_share{slot=\"router\"} 0\n"),
        "{metrics}"
    );
    let acts = json_of(pair, &["audit"]);
    let act = &acts[0];
    let expected = if why == "quarantined" { "quarantine" } else { "rollback" };
    assert_eq!([&act["actor"], &act["act"], &act["digest"]], ["kairos", expected, canary], "{act}");
    assert_eq!(json_of(pair, &["audit", "--verify"])["whole"], true);
    let answer =
        Client::default().post(&format!("{}/v1/chat/completions", pair.gateway.url), &[], &chat("auto", "hi")).await;
    assert!(answer.header("x-kairos-policy").starts_with("baseline@"), "{answer:?}");
}

#[tokio::test]
async fn a_canary_that_is_dear_goes_back_by_itself() {
    let pair = Setup { config: CONFIG, ..Setup::default() }.start();
    let canary = try_out(&pair, &named("baseline", 0), &named("canary", 1), &[]);
    went_back(&pair, &canary, "cost").await;
}

#[tokio::test]
async fn a_canary_that_is_slow_goes_back_by_itself() {
    let slow = format!("{CHEAP}=40,1000");
    let pair = Setup { config: CONFIG, simulate: &["--speed", &slow], ..Setup::default() }.start();
    let canary = try_out(&pair, &named("baseline", 1), &named("canary", 0), &[]);
    went_back(&pair, &canary, "latency").await;
}

#[tokio::test]
async fn a_canary_that_fails_goes_back_by_itself() {
    let pair = Setup { config: CONFIG, ..Setup::default() }.start();
    let faults = json!([{"model": CHEAP, "fault": "connection_reset"}]).to_string();
    let put = Client::default().send("PUT", &format!("{}/sim/v1/faults", pair.simulator.url), &[], faults).await;
    assert!(put.status.is_success(), "{}", put.text());
    let canary = try_out(&pair, &named("baseline", 1), &named("canary", 0), &[]);
    went_back(&pair, &canary, "errors").await;
}

#[tokio::test]
async fn a_canary_that_traps_goes_back_by_itself() {
    let pair = Setup { config: CONFIG, ..Setup::default() }.start();
    let traps = "fn describe() { #{ name: \"canary\" } }\nfn route(ctx, features, models) { if features.text_bytes == 5 { throw \"no\" } plan([0], 1) }";
    let canary = try_out(&pair, &named("baseline", 0), traps, &[]);
    went_back(&pair, &canary, "quarantined").await;
    let (code, text) = said(&pair, &["policy", "canary", &canary]);
    assert!(code == 3 && text.contains("was quarantined after it failed"), "{code} {text}");
}

/// One canary at a time; by hand it ends, or serves everything; what changes under it ends it.
#[tokio::test]
async fn a_canary_ends_by_hand() {
    let pair = Setup { config: CONFIG, ..Setup::default() }.start();
    let canary = try_out(&pair, &named("baseline", 0), &named("canary", 0), &["--why", "half the price"]);
    let (_, list) = said(&pair, &["policy", "list"]);
    for says in [
        "  canary    canary@",
        "  experiment 1: canary@",
        ": 50 % of the requests since 20",
        "    errors not known [-100.0 %, +100.0 %] after 0 of its requests; tolerance +1.0 %\n",
        "    a person promotes it: kairos policy activate\n",
    ] {
        assert!(list.contains(says), "{says:?}: {list}");
    }
    let other = stage(&pair, "other", &named("other", 0));
    let (code, text) = said(&pair, &["policy", "canary", &other]);
    let under_way =
        format!("kairos: canary 1 (router {canary}) is under way; `kairos policy rollback router` ends it\n");
    assert_eq!((code, text), (1, under_way));
    let (code, text) = said(&pair, &["policy", "retire", &canary]);
    assert!(code == 1 && text.contains("is a canary: `kairos policy rollback` ends that"), "{text}");
    // A rollback ends the canary first, and what serves serves on.
    let (code, text) = said(&pair, &["policy", "rollback"]);
    assert!(code == 0 && text.starts_with("canary@") && text.contains(" is no canary any more, baseline@"), "{text}");
    let newest = &slot(&pair).await["experiments"][0];
    assert_eq!(
        (&newest["verdict"]["what"], &newest["verdict"]["why"]),
        (&json!("ended"), &json!("rollback")),
        "{newest}"
    );
    // Activated while it is tried, it serves everything; the experiment is over.
    json_of(&pair, &["policy", "canary", &canary]);
    json_of(&pair, &["policy", "activate", &canary]);
    let now = slot(&pair).await;
    assert!(now["serves"].as_str().unwrap().starts_with("canary@"), "{now}");
    assert_eq!(
        (&now["experiments"][0]["id"], &now["experiments"][0]["verdict"]["why"]),
        (&json!(2), &json!("activate"))
    );
    let (code, text) = said(&pair, &["policy", "canary", &canary]);
    assert!(code == 1 && text.contains("serves already"), "{text}");
    // So it is when what it is compared with goes.
    json_of(&pair, &["policy", "canary", &other]);
    json_of(&pair, &["policy", "activate", &stage(&pair, "third", &named("third", 0))]);
    let now = slot(&pair).await;
    assert_eq!(now["experiments"][0]["verdict"]["text"], "ended by admin: activate", "{now}");
    assert!(now["versions"].as_array().unwrap().iter().all(|version| version["role"] != "canary"), "{now}");
    for (arguments, says) in [
        (&["policy", "canary", &other, "--share", "0.9"][..], "from 0.001 to 0.5"),
        (&["policy", "canary", &other, "--sticky", ""], "the name of a tag"),
        (&["policy", "canary", &other, "--metric", "A!"], "the name of a metric"),
        (&["policy", "shadow", &other, "--sample", "0"], "above 0 and at most 1"),
        (&["policy", "canary", "abcdef"], "no version's digest begins with abcdef"),
    ] {
        let (code, text) = said(&pair, arguments);
        assert!(code == 2 && text.contains(says), "{arguments:?}: {code} {text}");
    }
}

/// A caller says what it likes, in headers, tags and ids: the arm is drawn without it. Records tell it.
#[tokio::test]
async fn a_caller_cannot_name_the_arm() {
    let pair = Setup { config: CONFIG, ..Setup::default() }.start();
    try_out(&pair, &named("baseline", 0), &named("canary", 0), &[]);
    let client = Client::default();
    let url = format!("{}/v1/chat/completions", pair.gateway.url);
    for header in ["x-kairos-arm", "x-kairos-experiment", "x-kairos-policy"] {
        let answer = client.post(&url, &[(header, "canary")], &chat("auto", "hello")).await;
        assert_eq!(answer.status, 400, "{header}");
    }
    let headers = [
        ("x-kairos-tags", "arm=canary,experiment=1"),
        ("x-request-id", "the-same"),
        ("x-amzn-requestid", "0193a3c8-0000-7000-8000-000000000000"),
    ];
    let mut arms = std::collections::BTreeMap::new();
    for _ in 0..60 {
        let answer = client.post(&url, &headers, &chat("auto", "hello")).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let record = format!("{}/v1/requests/{}", pair.gateway.url, answer.header("x-kairos-request-id"));
        let experiment = client.get(&record).await.json()["decision"]["experiment"].clone();
        let arm = experiment["arm"].as_str().unwrap().to_owned();
        assert_eq!(experiment, json!({"id": 1, "arm": arm, "share": 0.5}));
        assert!(answer.header("x-kairos-policy").starts_with(&format!("{arm}@")), "{arm}");
        *arms.entry(arm).or_insert(0) += 1;
    }
    // All in one arm: once in 2^59 runs.
    assert_eq!(arms.len(), 2, "{arms:?}");
    // Without a canary, a record says nothing of one.
    json_of(&pair, &["policy", "rollback"]);
    let answer = client.post(&format!("{}/v1/chat/completions", pair.gateway.url), &[], &chat("auto", "hello")).await;
    let record = format!("{}/v1/requests/{}", pair.gateway.url, answer.header("x-kairos-request-id"));
    assert!(client.get(&record).await.json()["decision"]["experiment"].is_null());
}

/// The arms of some teams, as the policy that decides says them.
async fn arms_of_teams(pair: &Pair) -> Vec<String> {
    let client = Client::default();
    let mut arms = Vec::new();
    for team in 0..24 {
        let tags = format!("team=t{team}");
        for _ in 0..2 {
            let url = format!("{}/v1/chat/completions", pair.gateway.url);
            let answer = client.post(&url, &[("x-kairos-tags", &tags)], &chat("auto", "hello")).await;
            arms.push(answer.header("x-kairos-policy").split('@').next().unwrap().to_owned());
        }
    }
    arms
}

#[tokio::test]
async fn values_of_a_tag_stay_in_their_arm_and_an_experiment_outlives_a_kill() {
    let setup = Setup { config: CONFIG, ..Setup::default() };
    let mut pair = setup.start();
    try_out(&pair, &named("baseline", 0), &named("canary", 0), &["--sticky", "team"]);
    let before = arms_of_teams(&pair).await;
    assert!(before.chunks(2).all(|pair| pair[0] == pair[1]), "{before:?}");
    assert!(before.iter().any(|arm| arm == "canary") && before.iter().any(|arm| arm == "baseline"), "{before:?}");
    let shadow = stage(&pair, "shadow", &named("shadow", 1));
    json_of(&pair, &["policy", "shadow", &shadow, "--sample", "0.25"]);
    // Of each value, the first request counts.
    let counted = |slot: &Value| {
        let errors = &slot["experiments"][0]["measures"][0];
        errors["baseline_n"].as_u64().unwrap() + errors["canary_n"].as_u64().unwrap()
    };
    let mut tries = 0;
    while counted(&slot(&pair).await) < 24 {
        tries += 1;
        assert!(tries < MOST, "{}", slot(&pair).await);
    }
    assert_eq!(counted(&slot(&pair).await), 24);
    // Told to stop, it writes down what it measured; killed, it forgets the last seconds at most.
    pair.gateway.stop();
    let folder = pair.folder().to_owned();
    pair.gateway = setup.gateway(&pair.simulator.url, &folder);
    for _ in 0..2 {
        let now = slot(&pair).await;
        assert_eq!((counted(&now), &now["experiments"][0]["verdict"]), (24, &Value::Null), "{now}");
        assert_eq!((&now["shadow"]["sample"], &now["experiments"][0]["share"]), (&json!(0.25), &json!(0.5)));
        assert_eq!(arms_of_teams(&pair).await, before);
        assert_eq!(counted(&slot(&pair).await), 24, "who was seen does not count again");
        pair.gateway.kill();
        pair.gateway = setup.gateway(&pair.simulator.url, &folder);
    }
    // What ended stays ended.
    json_of(&pair, &["policy", "rollback"]);
    pair.gateway.kill();
    pair.gateway = setup.gateway(&pair.simulator.url, &folder);
    let now = slot(&pair).await;
    assert_eq!((&now["experiments"][0]["id"], &now["experiments"][0]["verdict"]["what"]), (&json!(1), &json!("ended")));
    assert!(now["versions"].as_array().unwrap().iter().any(|version| version["role"] == "shadow"), "{now}");
}

#[tokio::test]
async fn a_shadow_is_compared_and_never_followed() {
    let pair = Setup { config: CONFIG, ..Setup::default() }.start();
    json_of(&pair, &["policy", "activate", &stage(&pair, "baseline", &named("baseline", 0))]);
    // It agrees on short texts, disagrees on longer ones, and fails on some.
    let text = "fn describe() { #{ name: \"shadow\" } }\nfn route(ctx, features, models) {\n  if features.text_bytes == 7 { throw \"no\" }\n  if features.text_bytes > 5 { return plan([min(1, models.len - 1)], 2); }\n  plan([0], 9)\n}";
    let shadow = stage(&pair, "shadow", text);
    let (code, told) = said(&pair, &["policy", "shadow", &shadow, "--sample", "1"]);
    assert!(code == 0 && told.contains("is asked as well"), "{told}");
    let client = Client::default();
    let url = format!("{}/v1/chat/completions", pair.gateway.url);
    let mut asked = 0;
    for (words, times) in [("hello", 3), ("longer", 4), ("seven77", 5)] {
        for _ in 0..times {
            let answer = client.post(&url, &[], &chat("auto", words)).await;
            assert_eq!((answer.status.as_u16(), answer.header("x-kairos-model")), (200, CHEAP), "{}", answer.text());
            assert!(
                answer.header("x-kairos-policy").starts_with("baseline@")
                    && answer.header("x-kairos-warnings").is_empty()
            );
            asked += 1;
            // Each is compared before the next is asked: none is left out as too many wait.
            for waited in 0.. {
                let compared = slot(&pair).await["shadow"]["compared"].clone();
                let of = |name: &str| compared[name].as_u64().unwrap();
                if of("agreed") + of("differed") + of("failed") + of("not_asked") == asked {
                    break;
                }
                assert!(waited < MOST, "{compared}");
            }
        }
    }
    let compared = slot(&pair).await["shadow"]["compared"].clone();
    let counts = ["agreed", "differed", "failed", "not_asked"].map(|name| compared[name].as_u64().unwrap());
    assert_eq!(counts, [3, 4, 5, 0], "{compared}");
    let differences = compared["differences"].as_array().unwrap();
    assert_eq!(differences[0], json!({"task": "general", "decided": CHEAP, "shadow": OTHER}));
    assert!(differences[8]["shadow"].as_str().unwrap().starts_with("error: "), "{}", differences[8]);
    // One that fails in the shadow is not taken for one that failed while it served.
    assert_eq!(slot(&pair).await["quarantined"], json!([]));
    let (_, list) = said(&pair, &["policy", "list"]);
    let line = format!("  shadow shadow@{}: agreed 3, differed 4, failed 5, not asked 0\n", &shadow[..12]);
    assert!(list.contains(&line) && list.contains("  shadow    shadow@"), "{list}");
    let (_, shown) = said(&pair, &["policy", "show", "router"]);
    assert!(shown.contains(&format!("    general: {OTHER} instead of {CHEAP}\n")), "{shown}");
    let metrics = client.get(&format!("{}/metrics", pair.gateway.url)).await.text();
    assert!(metrics.contains("kairos_policy_shadow_total{slot=\"router\",result=\"differed\"} 4\n"), "{metrics}");
    json_of(&pair, &["policy", "retire", &shadow]);
    assert!(slot(&pair).await["shadow"].is_null());
}

/// What a caller says first of an answer counts, by the metric that was registered, in the arm that it was in.
#[tokio::test]
async fn feedback_is_compared() {
    let pair = Setup { config: CONFIG, ..Setup::default() }.start();
    try_out(&pair, &named("baseline", 0), &named("canary", 0), &["--metric", "helpful"]);
    let client = Client::default();
    let mut in_canary = 0;
    for _ in 0..12 {
        let url = format!("{}/v1/chat/completions", pair.gateway.url);
        let answer = client.post(&url, &[], &chat("auto", "hello")).await;
        let canary = answer.header("x-kairos-policy").starts_with("canary@");
        in_canary += u64::from(canary);
        for (metric, value) in [("helpful", f64::from(u8::from(canary))), ("helpful", 0.5), ("speed", 0.5)] {
            let said = json!({"request_id": answer.header("x-kairos-request-id"), "metric": metric, "value": value});
            let taken = client.post(&format!("{}/v1/feedback", pair.gateway.url), &[], &said).await;
            assert_eq!(taken.status, 200, "{}", taken.text());
        }
    }
    let mut quality = Value::Null;
    for _ in 0..MOST {
        quality = slot(&pair).await["experiments"][0]["measures"].as_array().unwrap().last().unwrap().clone();
        if quality["baseline_n"].as_u64().unwrap() + quality["canary_n"].as_u64().unwrap() == 12 {
            break;
        }
    }
    assert_eq!((&quality["variable"], &quality["canary_n"]), (&json!("quality"), &json!(in_canary)), "{quality}");
    assert_eq!(quality["baseline_n"], 12 - in_canary, "{quality}");
    // All in one arm: once in 2^11 runs, and then there is nothing to compare.
    if (1..12).contains(&in_canary) {
        assert_eq!((&quality["baseline"], &quality["canary"]), (&json!(0.0), &json!(1.0)));
    }
}
