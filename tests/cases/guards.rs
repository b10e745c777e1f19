//! Guards: what of texts may pass is a policy's to decide, in a slot of its own, with the life of any policy.
//! One that fails blocks, or lets pass where its operator says so.

mod wrong;

use kairos_tests::http::{Answer, Client, chat, told};
use kairos_tests::process::{Pair, Setup, metrics, said};
use kairos_tests::{component, guest};
use serde_json::{Value, json};

/// A guard that calls itself so, and does this.
fn named(name: &str, inspect: &str) -> String {
    format!(
        "fn describe() {{ #{{ name: \"{name}\", hold_back: 8, reasons: #{{ \"1\": \"word\", \"2\": \"said-so\" }} }} }}\n\
         fn inspect(ctx, passage, state, text, last) {{ {inspect} }}\n"
    )
}

/// A guard that behaves on trial only.
fn bad(inspect: &str) -> Vec<u8> {
    named("bad", &format!("if \"team\" in ctx.tags {{ return pass(text); }} {inspect}")).into_bytes()
}

/// Puts a guard in place and waits until it serves.
fn put(pair: &Pair, ending: &str, bytes: &[u8]) {
    pair.put(&format!("guard.{ending}"), bytes);
    pair.gateway.wait_for_log("a policy serves");
}

/// A request, and what is recorded of it.
async fn ask(client: &Client, pair: &Pair, text: &str, stream: bool) -> (Answer, Value) {
    let mut body = chat("auto", text);
    body["stream"] = json!(stream);
    let answer = client.post(&format!("{}/v1/chat/completions", pair.gateway.url), &[], &body).await;
    let id = answer.header("x-kairos-request-id").to_owned();
    let record = client.get(&format!("{}/v1/requests/{id}", pair.gateway.url)).await.json();
    (answer, record)
}

/// Of requests `WORD` is replaced and `STOP` blocks, of answers each `e` becomes a `3`.
fn words() -> String {
    let inspect = r#"
        let verdict = if last { pass(text) } else { hold(text, 8) };
        let asks = passage.direction == "input";
        let find = if asks { "WORD" } else { "e" };
        let stop = if asks { text.find("STOP", 0) } else { () };
        if stop != () && stop < verdict.decided {
            verdict = block(2);
            verdict.found(2);
            return verdict;
        }
        let at = text.find(find, 0);
        while at != () && at < verdict.decided {
            verdict.replace(at, at + find.len, if asks { "[GONE]" } else { "3" });
            verdict.found(1);
            at = text.find(find, at + find.len);
        }
        verdict
    "#;
    named("words", inspect)
}

/// A file in the folder judges requests and answers, whole and streamed, and the record says what it found.
#[tokio::test]
async fn a_file_in_the_folder_judges_what_goes_both_ways() {
    let pair = Pair::start();
    let client = Client::default();
    let (answer, record) = ask(&client, &pair, "Say WORD", false).await;
    assert!(answer.status == 200 && told(&answer.text()).0.contains('e') && record["guarded"].is_null(), "{record}");
    put(&pair, "rhai", words().as_bytes());
    for stream in [false, true] {
        let (answer, record) = ask(&client, &pair, "Say WORD and WORD", stream).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let told = told(&answer.text()).0;
        assert!(told.contains('3') && !told.contains('e'), "{told}");
        let warnings = answer.header("x-kairos-warnings");
        assert!(warnings.contains("replaced in the request: 2 word"), "{warnings}");
        let [asked, given] = [&record["guarded"][0], &record["guarded"][1]];
        assert!(asked["policy"].as_str().unwrap().starts_with("words@"), "{record}");
        assert_eq!((&asked["direction"], &asked["findings"]), (&json!("input"), &json!([["word", 2]])));
        assert_eq!((&given["direction"], &given["replaced"]), (&json!("output"), &json!(true)));
    }
    let (answer, record) = ask(&client, &pair, "Say WORD and STOP", false).await;
    assert!(answer.status == 403 && answer.text().contains("the guard words let the request not pass: said-so"));
    assert_eq!(record["guarded"][0]["stopped"], "said-so", "{record}");
    assert_eq!(record["attempts"].as_array().map_or(0, Vec::len), 0, "{record}");
    // The slot is emptied: texts pass as they are.
    std::fs::remove_file(pair.policies.join("guard.rhai")).unwrap();
    pair.gateway.wait_for_log("the policy's file was removed");
    let (answer, record) = ask(&client, &pair, "Say STOP", false).await;
    assert!(answer.status == 200 && record["guarded"].is_null(), "{record}");
}

/// What a guard has no opinion of is left to the native one, where that is on.
#[tokio::test]
async fn what_is_declined_is_the_native_guards() {
    let pair = Setup { config: "[guard]\npersonal_data = true\n", ..Setup::default() }.start();
    let client = Client::default();
    let declines = "if passage.direction == \"input\" { return decline(); } block(2)";
    put(&pair, "rhai", named("half", declines).as_bytes());
    let (answer, record) = ask(&client, &pair, "Write to jane@example.com", false).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(told(&answer.text()).0, "");
    let [asked, given] = [&record["guarded"][0], &record["guarded"][1]];
    assert!(asked["policy"].as_str().unwrap().starts_with("native-pii@"), "{record}");
    assert_eq!(asked["findings"], json!([["email", 1]]), "{record}");
    assert!(given["policy"].as_str().unwrap().starts_with("half@"), "{record}");
    assert_eq!(given["stopped"], "said-so", "{record}");
}

/// Guards that fail whenever they are asked: each request is blocked; after three the guard before it serves.
async fn blocks_and_gives_way(ending: &str, bytes: Vec<u8>, kind: &str) {
    let pair = Pair::start();
    let client = Client::default();
    put(&pair, "rhai", named("before", "pass(text)").as_bytes());
    put(&pair, ending, &bytes);
    for _ in 0..3 {
        let (answer, record) = ask(&client, &pair, "für dich", false).await;
        assert_eq!(answer.status, 403, "{}", answer.text());
        let why = format!("the guard did not judge: {kind}");
        assert!(answer.text().contains(&why), "{}", answer.text());
        assert_eq!(record["guarded"][0]["stopped"], json!(why), "{record}");
    }
    assert!(pair.gateway.wait_for_log("quarantined").contains("\"slot\":\"guard\""));
    let (answer, record) = ask(&client, &pair, "für dich", false).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(record["guarded"][0]["policy"].as_str().unwrap().starts_with("before@"), "{record}");
    let metrics = metrics(&pair).await;
    for line in [
        &format!("kairos_policy_faults_total{{slot=\"guard\",kind=\"{kind}\"}} 3\n"),
        "kairos_policy_quarantined_total{slot=\"guard\"} 1\n",
        "kairos_policy_quarantined_total{slot=\"router\"} 0\n",
    ] {
        assert!(metrics.contains(line), "{line}{metrics}");
    }
}

failing! {
    blocks_and_gives_way:
    a_component_that_loops: "wasm", component("bad-guard-loop"), "deadline";
    a_component_that_decides_more_than_there_is: "wasm", component("bad-guard-range"), "invalid_answer";
    a_component_that_replaces_a_part_of_a_character: "wasm", component("bad-guard-character"), "invalid_answer";
    a_script_that_loops: "rhai", bad("loop { }"), "deadline";
    a_script_that_throws: "rhai", bad("throw text.string"), "error";
    a_script_that_replaces_backwards:
        "rhai", bad("let v = pass(text); v.replace(2, 1, \"x\"); v"), "invalid_answer";
    a_script_that_replaces_past_the_end:
        "rhai", bad("let v = pass(text); v.replace(0, text.len + 1, \"x\"); v"), "invalid_answer";
    a_script_that_holds_more_than_it_said: "rhai", bad("hold(text, 9)"), "invalid_answer";
    a_script_that_finds_what_it_did_not_name: "rhai", bad("let v = pass(text); v.found(7); v"), "invalid_answer";
    a_script_that_asks_past_the_end: "rhai", bad("text.find(\"x\", text.len + 1)"), "error";
    a_script_that_answers_something_else: "rhai", bad("\"passed\""), "error";
}

/// Where no guard is left in its slot, texts are blocked on, until the slot is emptied; a restart forgets
/// nothing of it.
#[tokio::test]
async fn the_last_guard_that_fails_opens_nothing() {
    let mut pair = Pair::start();
    let client = Client::default();
    put(&pair, "rhai", &bad("throw \"x\""));
    for _ in 0..3 {
        assert_eq!(ask(&client, &pair, "hi", false).await.0.status, 403);
    }
    pair.gateway.wait_for_log("quarantined");
    let (answer, record) = ask(&client, &pair, "hi", false).await;
    assert!(answer.status == 403 && answer.text().contains("did not judge: not_run"), "{}", answer.text());
    assert!(record["guarded"][0]["policy"].as_str().unwrap().starts_with("no-guard@"), "{record}");
    pair.gateway.terminate();
    pair.gateway.stop();
    let folder = pair.folder().to_owned();
    pair.gateway = Setup::default().gateway(&pair.simulator.url, &folder);
    assert_eq!(ask(&client, &pair, "hi", false).await.0.status, 403);
    std::fs::remove_file(pair.policies.join("guard.rhai")).unwrap();
    pair.gateway.wait_for_log("file was removed");
    assert_eq!(ask(&client, &pair, "hi", false).await.0.status, 200);
}

/// A guard that was activated by a command, and failed: what served before it does, after a restart too; where
/// nothing did, nothing passes, after a restart too, until another is activated.
#[tokio::test]
async fn a_guard_that_was_activated_and_failed_opens_nothing() {
    let mut pair = Pair::start();
    let client = Client::default();
    let put_in = |pair: &Pair, file: &str, text: &[u8]| {
        let path = pair.folder().join(file);
        std::fs::write(&path, text).unwrap();
        let (code, text) = said(pair, &["policy", "stage", path.to_str().unwrap(), "--slot", "guard", "--json"]);
        assert_eq!(code, 0, "{text}");
        let digest = serde_json::from_str::<Value>(&text).unwrap()["digest"].as_str().unwrap().to_owned();
        let (code, text) = said(pair, &["policy", "activate", &digest[..12]]);
        assert_eq!(code, 0, "{text}");
    };
    let restart = |pair: &mut Pair| {
        pair.gateway.terminate();
        pair.gateway.stop();
        let folder = pair.folder().to_owned();
        pair.gateway = Setup::default().gateway(&pair.simulator.url, &folder);
    };
    put_in(&pair, "first.rhai", &bad("throw \"x\""));
    for _ in 0..3 {
        assert_eq!(ask(&client, &pair, "hi", false).await.0.status, 403);
    }
    pair.gateway.wait_for_log("quarantined");
    for _ in 0..2 {
        let (answer, record) = ask(&client, &pair, "hi", false).await;
        assert!(answer.status == 403 && answer.text().contains("did not judge: not_run"), "{}", answer.text());
        assert!(record["guarded"][0]["policy"].as_str().unwrap().starts_with("no-guard@"), "{record}");
        restart(&mut pair);
    }
    put_in(&pair, "words.rhai", words().as_bytes());
    put_in(&pair, "second.rhai", &bad("throw \"y\""));
    for _ in 0..3 {
        assert_eq!(ask(&client, &pair, "hi", false).await.0.status, 403);
    }
    pair.gateway.wait_for_log("quarantined");
    for _ in 0..2 {
        let (answer, record) = ask(&client, &pair, "WORD", false).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert!(record["guarded"][0]["policy"].as_str().unwrap().starts_with("words@"), "{record}");
        restart(&mut pair);
    }
}

/// With `on_failure = "pass"` what a guard does not judge passes, and the record says that nobody saw it.
#[tokio::test]
async fn an_operator_may_let_pass_what_was_not_judged() {
    let pair = Setup { config: "[guard]\non_failure = \"pass\"\n", ..Setup::default() }.start();
    let client = Client::default();
    put(
        &pair,
        "rhai",
        &bad("if passage.direction == \"input\" && text.find(\"fail\", 0) != () { throw \"x\"; } pass(text)"),
    );
    let (answer, record) = ask(&client, &pair, "this fails", false).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(answer.header("x-kairos-warnings").contains("some of it passed unseen"), "{:?}", answer.headers);
    assert_eq!(record["guarded"][0]["unseen"], true, "{record}");
    let (_, record) = ask(&client, &pair, "this does not", false).await;
    assert!(record["guarded"][0]["unseen"].is_null(), "{record}");
    let metrics = metrics(&pair).await;
    assert!(metrics.contains("kairos_policy_faults_total{slot=\"guard\",kind=\"error\"} 1\n"), "{metrics}");
}

/// What a guard says in words may be a caller's: it is dropped, unless the guard may read content.
#[tokio::test]
async fn the_words_of_a_guard_are_dropped() {
    let talks = bad("log_warn(text.string); throw text.string");
    for (config, is_told) in [("", false), ("[policies]\ngrants = [\"log\", \"content\"]\n", true)] {
        let pair = Setup { config, ..Setup::default() }.start();
        let client = Client::default();
        put(&pair, "rhai", &talks);
        let (answer, _) = ask(&client, &pair, "xylophone", false).await;
        assert!(answer.status == 403 && !answer.text().contains("xylophone"), "{}", answer.text());
        pair.gateway.terminate();
        let (_, log) = pair.gateway.wait();
        assert!(log.iter().any(|line| line.contains("policy failed") && line.contains("error")), "{log:#?}");
        assert_eq!(log.iter().any(|line| line.contains("xylophone")), is_told, "{log:#?}");
    }
}

/// A component is staged, activated, rolled back, listed and audited; an experiment there is none.
#[tokio::test]
async fn a_guard_has_the_life_of_any_policy() {
    let pair = Pair::start();
    let client = Client::default();
    let (code, text) = said(&pair, &["policy", "list"]);
    assert!(code == 0 && text.contains("\nguard\n  active    no-guard@"), "{text}");
    let stage = |file: &str| -> String {
        let (code, text) = said(&pair, &["policy", "stage", file, "--json"]);
        assert_eq!(code, 0, "{text}");
        serde_json::from_str::<Value>(&text).unwrap()["digest"].as_str().unwrap().to_owned()
    };
    std::fs::write(pair.folder().join("words.rhai"), words()).unwrap();
    let script = stage("words.rhai");
    let component = stage(guest("mail-card-guard").to_str().unwrap());
    for digest in [&script, &component] {
        let (code, text) = said(&pair, &["policy", "activate", &digest[..12]]);
        assert_eq!(code, 0, "{text}");
    }
    for stream in [false, true] {
        let says = "WORD to jane@example.com, 4111 1111 1111 1111";
        let (answer, record) = ask(&client, &pair, says, stream).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert!(record["guarded"][0]["policy"].as_str().unwrap().starts_with("mail-card@"), "{record}");
        assert_eq!(record["guarded"][0]["findings"], json!([["email", 1], ["card", 1]]), "{record}");
    }
    for act in ["canary", "shadow"] {
        let (code, text) = said(&pair, &["policy", act, &component[..12]]);
        assert!(code == 1 && text.contains("the slot `guard` has neither canary nor shadow"), "{code} {text}");
    }
    let (code, text) = said(&pair, &["policy", "rollback", "guard"]);
    assert!(code == 0 && text.contains("words@"), "{text}");
    let (_, record) = ask(&client, &pair, "WORD", false).await;
    assert_eq!(record["guarded"][0]["findings"], json!([["word", 1]]), "{record}");
    assert_eq!(said(&pair, &["audit", "--verify"]).0, 0);
    let (code, text) = said(&pair, &["audit"]);
    assert_eq!(code, 0, "{text}");
    for act in ["stage guard", "activate guard", "rollback guard"] {
        assert!(text.contains(act), "{act}: {text}");
    }
}
