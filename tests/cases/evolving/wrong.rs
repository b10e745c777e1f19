//! What is refused of evaluators and mutators, and how; and that bad ones end their run only.

use kairos_tests::component;

use super::{DATA, put, says};

/// Checks files, each a policy of the slot that its name says, by this configuration.
fn checked(files: &[(&str, &str)], config: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let config = put(folder.path(), "kairos.toml", config);
    let mut told = String::new();
    for (file, text) in files {
        let path = put(folder.path(), file, text);
        told.push_str(&says(folder.path(), &["policy", "check", &path, "--config", &config]).1);
    }
    told
}

/// What these worlds may not, what only they may, and what is not granted, is told with what to set.
#[test]
fn what_is_not_granted_or_not_theirs_is_told() {
    let score = |body: &str| format!("fn score(ctx, item, outcome) {{ {body} }}");
    let asks = score("http_send(#{ url: \"https://api.test/\" }); let s = score(); s.metric(\"a\", \"share\", 1); s");
    let calls = "fn describe() { #{ reasons: #{ \"1\": \"x\" } } }\nfn propose(ctx, genome, evidence, seed) { model_call(#{ model: \"nova-lite\", prompt: \"x\", max_output_tokens: 1 }); [] }";
    let of_all =
        "[policies]\ngrants = [\"log\", \"metrics\", \"kv\", \"kv-write\", \"content\", \"http\", \"model\"]\n";
    let mut told = checked(&[("evaluator.rhai", &asks), ("mutator.rhai", calls)], "");
    told.push_str(&checked(
        &[
            ("evaluator.rhai", &asks),
            ("mutator.rhai", calls),
            (
                "router.rhai",
                "fn route(ctx, features, models) { http_send(#{ url: \"https://api.test/\" }); plan([0], 1) }",
            ),
            ("evaluator.rhai", &score("kv_get(\"a\"); decline()")),
            ("mutator.rhai", "fn propose(ctx, genome, evidence, seed) { ctx.prompt }"),
            ("evaluator.rhai", "fn propose(ctx, genome, evidence, seed) { [] }"),
            ("evaluator.rhai", "fn score(item, outcome) { }"),
            ("evaluator.rhai", &score("let s = score(); s.metric(\"Bad\", \"share\", 1); s")),
            ("evaluator.rhai", &score("let s = score(); s.metric(\"a\", \"shares\", 1); s")),
            ("evaluator.rhai", &score("score()")),
            (
                "mutator.rhai",
                "fn propose(ctx, genome, evidence, seed) { let p = proposal(1); p.replace(\"a\", \"b\"); [p] }",
            ),
            ("mutator.rhai", "fn propose(ctx, genome, evidence, seed) { [1] }"),
        ],
        of_all,
    ));
    insta::assert_snapshot!(told);
}

/// A component that calls others is refused where nobody grants it, and told what to set.
#[test]
fn a_component_that_calls_others_needs_a_grant() {
    let folder = tempfile::tempdir().unwrap();
    let path = put(folder.path(), "evaluator.wasm", component("bad-evaluator-caller"));
    let (code, text) = says(folder.path(), &["policy", "check", &path]);
    insta::assert_snapshot!(format!("{code} {text}"), @r#"
    1 evaluator.wasm: the component imports `http`, which is not granted
      hint: to grant it, set `grants = ["log", "metrics", "kv", "kv-write", "http"]` under [policies] in kairos.toml
    "#);
    // Renamed to another slot, it is told where it belongs.
    let path = put(folder.path(), "router.wasm", component("bad-evaluator-caller"));
    let (_, text) = says(folder.path(), &["policy", "check", &path]);
    assert!(text.contains("this one is of the world `evaluator`"), "{text}");
}

/// Wrong tests are told with their place; calls are scripted, and strict.
#[test]
fn wrong_tests_are_told_with_their_place() {
    let folder = tempfile::tempdir().unwrap();
    let config = put(folder.path(), "kairos.toml", "[policies]\ngrants = [\"http\", \"model\"]\n");
    let script = r#"
fn score(ctx, item, outcome) {
    let seen = http_send(#{ method: "post", url: "https://api.test/" + item.id, body: outcome.text(0) });
    if seen.error != () { throw seen.error + ": " + seen.message; }
    let judged = model_call(#{ model: "nova-lite", system: "Judge.", prompt: seen.body, max_output_tokens: 5 });
    if "error" in judged { decline(); }
    let s = score();
    s.metric("judged", "quality", parse_float(judged.text));
    s.metric("cost", "cost", judged.cost);
    s
}"#;
    let path = put(folder.path(), "evaluator.rhai", script);
    let seen =
        "http = [{ method = \"post\", url = \"https://api.test/1\", body = \"Oslo\", status = 200, reply = \"so\" }]";
    let model = "model = [{ model = \"nova-lite\", prompt = \"so\", text = \"0.5\", cost = 3 }]";
    let mut told = String::new();
    for says_it in [
        format!("{seen}\n{model}\nexpect = {{ metrics = {{ judged = 0.5, cost = 3 }} }}"),
        format!("{seen}\nmodel = [{{ model = \"nova-lite\", error = \"refused\" }}]\nexpect = {{ declined = true }}"),
        format!("{seen}\nexpect = {{ metrics = {{ judged = 0.5 }} }}"),
        format!("{model}\nexpect = {{ metrics = {{ judged = 0.5 }} }}"),
        "http = [{ method = \"post\", url = \"https://api.test/1\", error = \"denied\" }]\nexpect = { declined = true }".to_owned(),
        format!("{seen}\n{model}\nexpect = {{ metrics = {{ judged = 0.75, other = 1 }}, remark = \"x\" }}"),
        format!("{seen}\nmodel = [{{ model = \"nova-lite\", text = \"1.0\" }}, {{ model = \"nova-pro\", text = \"x\" }}]\nexpect = {{ metrics = {{ judged = 1, cost = 0 }} }}"),
        "http = [{ url = \"https://api.test/1\" }]\nexpect = { declined = true }".to_owned(),
        "http = [{ method = \"post\", status = 200 }]\nexpect = { declined = true }".to_owned(),
        "model = [{ text = \"x\" }]\nexpect = { declined = true }".to_owned(),
        "model = [{ model = \"x\", error = \"gone\" }]\nexpect = { declined = true }".to_owned(),
        "expect = {}".to_owned(),
    ] {
        let test = format!("[[test]]\nname = \"x\"\ncase = {{ id = \"1\" }}\noutcome = {{ text = \"Oslo\" }}\n{says_it}\n");
        put(folder.path(), "evaluator.test.toml", test);
        told.push_str(&says(folder.path(), &["policy", "test", &path, "--config", &config]).1);
    }
    insta::assert_snapshot!(told);
}

/// An evaluator that misbehaves: its scores fail, the run is given up after three, and says why.
fn fails(guest: &str, config: &str, says_why: &str) {
    let folder = tempfile::tempdir().unwrap();
    let (config, data) = (put(folder.path(), "kairos.toml", config), put(folder.path(), "cases.jsonl", DATA.repeat(3)));
    let path = put(folder.path(), "evaluator.wasm", component(guest));
    let (code, text) = says(folder.path(), &["policy", "evaluate", &path, "--data", &data, "--config", &config]);
    assert!(code == 1 && text.contains("given up: 3 scores failed, first a with one: "), "{text}");
    assert!(text.contains(says_why), "{text}");
}

#[test]
fn an_evaluator_that_loops_is_stopped() {
    fails("bad-evaluator-loop", "[evaluator]\ndeadline_ms = 20\n", "over its deadline of 20ms");
}

#[test]
fn an_evaluator_that_panics_is_given_up() {
    fails("bad-evaluator-panic", "", "this is no trial");
}

#[test]
fn an_evaluator_that_gives_no_number_is_given_up() {
    fails("bad-evaluator-nan", "", "its answer is not valid: the metric good is NaN");
}

#[test]
fn an_evaluator_that_changes_what_it_measures_is_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let cases = (0..8).map(|place| {
        format!("{{\"id\": \"c{place}\", \"prompt\": \"{}\", \"outcomes\": {{\"m\": {{}}}}}}\n", "x".repeat(place))
    });
    let data = put(folder.path(), "cases.jsonl", cases.collect::<String>());
    let path = put(folder.path(), "evaluator.wasm", component("bad-evaluator-measure"));
    let (code, text) = says(folder.path(), &["policy", "evaluate", &path, "--data", &data]);
    assert!(code == 1 && text.contains("the metric good was a `share` before, and is a `count` now"), "{text}");
}

#[test]
fn mutators_that_misbehave_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let genome = put(folder.path(), "s.txt", "a text");
    let propose = |guest: &str, seed: &str| {
        let path = put(folder.path(), "mutator.wasm", component(guest));
        let (code, text) = says(folder.path(), &["policy", "propose", &path, "--genome", &genome, "--seed", seed]);
        format!("{code} {}", text.split_once(": ").map_or(text.as_str(), |(_, rest)| rest))
    };
    insta::assert_snapshot!(propose("bad-mutator-edits", "1"));
    let flood = propose("bad-mutator-flood", "13");
    assert!(flood.starts_with("1 ") && flood.contains("there are 17 proposals; 16 are allowed"), "{flood}");
    let memory = propose("bad-mutator-memory", "13");
    assert!(memory.starts_with("1 ") && memory.contains("more than 16777216 bytes of memory"), "{memory}");
}

/// Data and evidence that are wrong are told with their place.
#[test]
fn wrong_data_is_told_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let config = put(folder.path(), "kairos.toml", "[evaluator]\ncase_bytes = 200\ncases = 2\n");
    let mut told = String::new();
    for data in [
        "",
        "{\"id\": 1}\n{\"id\": ",
        "{\"id\": []}",
        "{\"outcomes\": {\"m\": {\"quality\": 2}}}",
        "{\"outcomes\": {\"m\": {\"cost\": -1}}}",
        "{\"outcomes\": {\"m\": {\"failure\": \"tired\"}}}",
        "{\"outcomes\": {\"m\": {\"colour\": 1}}}",
        "{}\n{}\n{}",
        &format!("{{\"prompt\": \"{}\"}}", "x".repeat(200)),
    ] {
        let data = put(folder.path(), "cases.jsonl", data);
        let (code, text) = says(folder.path(), &["policy", "evaluate", "--data", &data, "--config", &config]);
        told.push_str(&format!("{code} {text}"));
    }
    let genome = put(folder.path(), "s.txt", "a text");
    for evidence in [
        "[]",
        "{\"metrics\": [{\"name\": \"q\", \"measure\": \"beauty\", \"mean\": 1, \"n\": 1}]}",
        "{\"metrics\": [{\"name\": \"q\", \"measure\": \"quality\", \"mean\": 2, \"n\": 1}]}",
        "{\"notice\": []}",
    ] {
        let evidence = put(folder.path(), "evidence.json", evidence);
        let arguments = ["policy", "propose", "--genome", &genome, "--evidence", &evidence, "--seed", "1"];
        let (code, text) = says(folder.path(), &arguments);
        told.push_str(&format!("{code} {text}"));
    }
    let twice = ["policy", "propose", "--genome", &genome, &genome, "--seed", "1"];
    told.push_str(&says(folder.path(), &twice).1);
    insta::assert_snapshot!(told);
}
