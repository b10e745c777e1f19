//! Policies with tests of their own: `kairos policy test`, and what a gateway makes of tests that fail.

mod wrong;

use std::path::Path;

use kairos_tests::http::{Client, chat};
use kairos_tests::process::{Pair, Setup, kairos, metrics, run};
use kairos_tests::{guest, policy};

/// Runs `kairos policy test` in a folder of these files: its exit code, and what it says.
fn tested(files: &[(&str, &[u8])], arguments: &[&str]) -> (i32, String) {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let output = kairos().args(["policy", "test"]).args(arguments).current_dir(folder.path()).output().unwrap();
    let said = [&output.stdout[..], &output.stderr].map(String::from_utf8_lossy).concat();
    (output.status.code().unwrap(), said)
}

/// A router that does something else for each team.
const TEAMS: &str = r#"fn describe() { #{ kv_schema: 1, reasons: #{ "1": "cheapest", "2": "in-a-hurry", "9": "after-hours" } } }
fn route(ctx, features, models) {
    log("a word of the policy");
    switch ctx.tags.team {
        "drawn" => plan([#{model: 0, probability: 0.25}, #{model: 1, probability: 0.75}], 1),
        "late" => plan([#{model: 0, probability: 0.0}, #{model: 1, probability: 1.0}, #{model: 2, probability: 0.0}], 1),
        "limited" => { let p = plan([0], 2); p.max_output_tokens = 500; p.max_cost = 7; p.cache_for(60); p }
        "configured" => plan([ctx.config.first.nested[1]], 1),
        "learned" => plan([models.find(kv_get("best"))], 1),
        "nothing" => decline(),
        "shut" => refuse(9),
        "broken" => plan([features.tsak], 1),
        "nonsense" => plan([99], 1),
        "endless" => { loop { } }
        _ => plan([1, 0], 1),
    }
}
"#;

const MODELS: &str =
    "as_of = \"2026-11-23\"\nregion = \"us-east-1\"\nmodels = [\"nova-lite\", \"nova-micro\", \"claude-sonnet-4-6\"]\n";

fn test(name: &str, says: &str) -> String {
    format!("[[test]]\nname = \"{name}\"\nrequest = {{ tags = {{ team = \"{name}\" }} }}\n{says}\n")
}

/// The forms of a policy are held to the same tests, wherever they lie.
#[test]
fn the_shipped_policies_pass_their_tests_in_both_forms() {
    for name in ["task", "score"] {
        let (script, tests) = (policy(&format!("{name}.rhai")), policy(&format!("{name}.test.toml")));
        let ran = run(&["policy", "test", script.to_str().unwrap()]);
        let said = String::from_utf8_lossy(&ran.stdout).into_owned();
        assert!(ran.status.success() && said.ends_with(".rhai: 10 tests passed\n"), "{said}");
        let component = std::fs::read(guest(&format!("{name}-router"))).unwrap();
        let file = format!("{name}.wasm");
        let tests_text = std::fs::read(&tests).unwrap();
        let (code, said) = tested(&[(&file, &component), (&format!("{name}.test.toml"), &tests_text)], &[&file]);
        assert_eq!((code, said), (0, format!("{file}: 10 tests passed\n")));
        let (code, said) = tested(&[(&file, &component)], &[&file, "--tests", tests.to_str().unwrap()]);
        assert_eq!((code, said), (0, format!("{file}: 10 tests passed\n")));
    }
}

#[test]
fn what_is_not_as_expected_is_said_test_by_test() {
    let tests = [
        MODELS.to_owned(),
        test("plain", "expect = { order = [\"nova-micro\", \"nova-lite\"], not = [\"claude\"], reason = 1 }"),
        test("first", "expect = { first = \"nova-lite\", reason = \"in-a-hurry\" }"),
        test(
            "order",
            "expect = { order = [\"nova-lite\"], not = [\"nova-lite\", \"nova-micro\"], reason = \"cheapst\" }",
        ),
        test("late", "expect = { order = [\"nova-micro\", \"nova-lite\", \"claude\"] }"),
        test(
            "drawn",
            "expect = { first = \"nova-micro\", probability = { nova-micro = 0.5, claude = 0.5, nova-lite = 0.25 } }",
        ),
        test("limited", "expect = { max_output_tokens = 400, max_cost = 8, cache = \"bypass\" }"),
        test("configured", "config = { first = { nested = [0, 2] } }\nexpect = { first = \"claude\" }"),
        test("learned", "kv = { best = \"claude\" }\nexpect = { first = \"claude\" }"),
        test("nothing", "expect = { first = \"nova-lite\" }"),
        test("shut", "expect = { refused = \"after-hour\" }"),
        test("broken", "expect = { declined = true }"),
        test("nonsense", "expect = { first = \"nova-lite\" }"),
        test("endless", "expect = { refused = 9 }"),
    ]
    .concat();
    let files: [(&str, &[u8]); 2] = [("x.rhai", TEAMS.as_bytes()), ("x.test.toml", tests.as_bytes())];
    let (code, said) = tested(&files, &["x.rhai"]);
    assert_eq!(code, 1);
    insta::assert_snapshot!(said, @r#"
    x.rhai: 9 of 13 tests failed
      x.test.toml:9  "first"
        first: amazon.nova-micro-v1:0, expected amazon.nova-lite-v1:0
        reason: 1 "cheapest", expected "in-a-hurry"
        the plan: amazon.nova-micro-v1:0 (1), amazon.nova-lite-v1:0 (0); reason 1 "cheapest"
      x.test.toml:13  "order"
        order: amazon.nova-micro-v1:0, amazon.nova-lite-v1:0, expected amazon.nova-lite-v1:0
        not: amazon.nova-lite-v1:0, amazon.nova-micro-v1:0 is in the plan
        reason: 1 "cheapest", expected "cheapst", which `describe` does not name; did you mean "cheapest"?
        the plan: amazon.nova-micro-v1:0 (1), amazon.nova-lite-v1:0 (0); reason 1 "cheapest"
      x.test.toml:21  "drawn"
        first: drawn by chances (see `probability`), expected amazon.nova-micro-v1:0
        probability of anthropic.claude-sonnet-4-6: 0, expected 0.5
        probability of amazon.nova-micro-v1:0: 0.75, expected 0.5
        the plan: amazon.nova-lite-v1:0 (0.25), amazon.nova-micro-v1:0 (0.75); reason 1 "cheapest"
      x.test.toml:25  "limited"
        max_output_tokens: 500, expected 400
        max_cost: 7, expected 8
        cache: 60, expected "bypass"
        the plan: amazon.nova-lite-v1:0 (1); reason 2 "in-a-hurry"; max_output_tokens 500; max_cost 7; cache 60
      x.test.toml:39  "nothing"
        a plan was expected
        the policy declined
      x.test.toml:43  "shut"
        reason: 9 "after-hours", expected "after-hour", which `describe` does not name; did you mean "after-hours"?
        the policy refused the request, reason 9 "after-hours"
      x.test.toml:47  "broken"
        the policy was expected to decline
        the policy failed: error: Unknown property 'tsak' - a getter is not registered for type 'Features' (line 12, column 36)
      x.test.toml:51  "nonsense"
        the plan is not valid: candidate 0 names model 99 of 3
        the plan: a model that is not on offer (1); reason 1 "cheapest"
      x.test.toml:55  "endless"
        the policy was expected to refuse the request
        the policy failed: deadline: over its deadline of 10ms or its 1000000 operations
    "#);
    let (code, said) = tested(&files, &["x.rhai", "--json"]);
    let rows: serde_json::Value = serde_json::from_str(&said).unwrap();
    let row = &rows[0];
    assert_eq!(
        (code, &row["file"], &row["tests_file"], &row["passed"]),
        (1, &"x.rhai".into(), &"x.test.toml".into(), &false.into())
    );
    let tests = row["tests"].as_array().unwrap();
    assert_eq!((tests.len(), &tests[0]["passed"], &tests[0]["wrong"]), (13, &true.into(), &serde_json::json!([])));
    assert_eq!(tests[1]["wrong"][0], "first: amazon.nova-micro-v1:0, expected amazon.nova-lite-v1:0");
    assert_eq!(tests[1]["line"], 9);
}

/// What has no tests has not passed.
#[test]
fn exit_codes_tell_failures_from_nothing_to_test() {
    let passes = format!("{MODELS}{}", test("plain", "expect = { first = \"nova-micro\" }"));
    let fails = format!("{MODELS}{}", test("plain", "expect = { first = \"nova-lite\" }"));
    let files: [(&str, &[u8]); 5] = [
        ("good.rhai", TEAMS.as_bytes()),
        ("good.test.toml", passes.as_bytes()),
        ("bad.rhai", TEAMS.as_bytes()),
        ("bad.test.toml", fails.as_bytes()),
        ("bare.rhai", TEAMS.as_bytes()),
    ];
    let mut report = String::new();
    for arguments in [
        &["good.rhai"] as &[&str],
        &["good.rhai", "bad.rhai", "bare.rhai"],
        &["good.rhai", "bare.rhai"],
        &["good.test.toml"],
        &["gone.rhai"],
        &["good.rhai", "--config", "gone.toml"],
    ] {
        let (code, said) = tested(&files, arguments);
        report.push_str(&format!("{} → {code}\n{said}\n", arguments.join(" ")));
    }
    insta::assert_snapshot!(report, @r#"
    good.rhai → 0
    good.rhai: 1 test passed

    good.rhai bad.rhai bare.rhai → 1
    good.rhai: 1 test passed
    bad.rhai: 1 of 1 test failed
      bad.test.toml:5  "plain"
        first: amazon.nova-micro-v1:0, expected amazon.nova-lite-v1:0
        the plan: amazon.nova-micro-v1:0 (1), amazon.nova-lite-v1:0 (0); reason 1 "cheapest"
    bare.rhai: it has no tests: there is no bare.test.toml

    good.rhai bare.rhai → 2
    good.rhai: 1 test passed
    bare.rhai: it has no tests: there is no bare.test.toml

    good.test.toml → 2
    kairos: good.test.toml is no policy; name the .rhai or .wasm file that it tests

    gone.rhai → 1
    gone.rhai: the file cannot be read: No such file or directory (os error 2)

    good.rhai --config gone.toml → 2
    kairos: gone.toml: the file cannot be read: No such file or directory (os error 2)
    "#);
    assert_eq!(tested(&files, &[]).0, 2);
}

/// Tests do not hold up the loading of policies: what needs more than its time is refused.
#[test]
fn tests_have_a_time() {
    let tests: String = (0..1_000)
        .map(|number| {
            let tags = "request = { tags = { team = \"endless\" } }";
            format!("[[test]]\nname = \"{number}\"\n{tags}\nexpect = {{ declined = true }}\n")
        })
        .collect();
    let tests = format!("{MODELS}{tests}");
    let config = "[policies]\ntest_seconds = 0.2\nscript_operations = 1000000000\n";
    let files: [(&str, &[u8]); 3] =
        [("x.rhai", TEAMS.as_bytes()), ("x.test.toml", tests.as_bytes()), ("k.toml", config.as_bytes())];
    let (code, said) = tested(&files, &["x.rhai", "--config", "k.toml"]);
    assert_eq!(code, 1);
    assert!(said.starts_with("x.rhai: its tests need more than 200ms of CPU time: "), "{said}");
    assert!(said.contains("hint: the time is `test_seconds` under [policies]"), "{said}");
}

/// The reference is what the gateway registers.
#[test]
fn the_reference_is_as_generated() {
    let printed = String::from_utf8(run(&["policy", "reference"]).stdout).unwrap();
    let file = std::fs::read_to_string(policy("REFERENCE.md")).unwrap();
    assert!(printed == file, "policies/REFERENCE.md is not what `kairos policy reference` prints: print it anew");
    for name in
        ["features.budget_used: float", "models[i].has(", "`worst_case_cost`", "a.at_most(b)", "p.max_cost = int"]
    {
        assert!(file.contains(name), "{name}");
    }
    assert!(file.contains("Capability `content`."), "{file}");
}

fn put_tests(pair: &Pair, text: &str) {
    let beside = pair.folder().join("next.toml");
    std::fs::write(&beside, text).unwrap();
    std::fs::rename(&beside, pair.policies.join("router.test.toml")).unwrap();
}

async fn decides(pair: &Pair, policy: &str) {
    let url = format!("{}/v1/chat/completions", pair.gateway.url);
    let answer = Client::default().post(&url, &[], &chat("auto", "hello")).await;
    assert!(answer.header("x-kairos-policy").starts_with(policy), "{:?}", answer.headers);
}

/// A policy whose tests fail does not serve, whichever of the two files changed; what serves serves on.
#[tokio::test]
async fn a_policy_that_fails_its_tests_does_not_serve() {
    let mut pair = Pair::start();
    let fails = format!(
        "{MODELS}[[test]]\nname = \"micro\"\nfeatures = {{ task = \"code\" }}\nexpect = {{ first = \"nova-micro\" }}\n"
    );
    let passes = fails.replace("first = \"nova-micro\"", "first = \"claude\"");
    // Tests alone: the policy that serves is held against them.
    put_tests(&pair, &fails);
    let refusal = pair.gateway.wait_for_log("policy refused");
    for part in [
        "\"reason\":\"failed_tests\"",
        "its one test fails: \\\"micro\\\" (router.test.toml:5): first: anthropic.claude-sonnet-4-6, expected amazon.nova-micro-v1:0",
        "kairos policy test router.rhai shows it",
    ] {
        assert!(refusal.contains(part), "{part}: {refusal}");
    }
    decides(&pair, "task@").await;
    let said = metrics(&pair).await;
    for line in [
        "kairos_policy_refusals_total{slot=\"router\",reason=\"failed_tests\"} 1\n",
        "kairos_policy_outdated{slot=\"router\"} 1\n",
    ] {
        assert!(said.contains(line), "{line}: {said}");
    }
    put_tests(&pair, &passes);
    assert!(pair.gateway.wait_for_log("serves already").contains("\"tests\":1"));
    assert!(metrics(&pair).await.contains("kairos_policy_outdated{slot=\"router\"} 0\n"));
    // A policy that does otherwise: its tests stand, until they are taken away.
    let other = b"fn describe() { #{ name: \"other\" } } fn route(ctx, features, models) { plan([0], 1) }";
    pair.put_policy("rhai", other);
    assert!(pair.gateway.wait_for_log("policy refused").contains("failed_tests"));
    decides(&pair, "task@").await;
    // A file of tests that cannot be read is no reason to serve untested, either.
    put_tests(&pair, "[[tets]]\n");
    let refusal = pair.gateway.wait_for_log("policy refused");
    assert!(
        refusal.contains("router.test.toml:1:3: there is no key \\\"tets\\\"; did you mean \\\"test\\\"?"),
        "{refusal}"
    );
    assert!(refusal.contains("/router.test.toml\",\"line\":1"), "{refusal}");
    decides(&pair, "task@").await;
    std::fs::remove_file(pair.policies.join("router.test.toml")).unwrap();
    pair.gateway.wait_for_log("a policy serves");
    decides(&pair, "other@").await;
    // A restart changes nothing of that. Where nothing served before, the native default does.
    put_tests(&pair, &fails);
    pair.gateway.wait_for_log("policy refused");
    for (is_known, serves) in [(true, "other@"), (false, "native-task@")] {
        pair.gateway.kill();
        if !is_known {
            std::fs::remove_dir_all(pair.folder().join("data")).unwrap();
        }
        pair.gateway = Setup::default().gateway(&pair.simulator.url, pair.folder());
        decides(&pair, serves).await;
        assert!(metrics(&pair).await.contains("kairos_policy_outdated{slot=\"router\"} 1\n"));
    }
}

/// What the first page shows works as it stands.
#[test]
fn the_readmes_policy_passes_the_readmes_tests() {
    let readme = std::fs::read_to_string(policy("README.md")).unwrap();
    let block = |fence: &str| readme.split(fence).nth(1).unwrap().split("```").next().unwrap().to_owned();
    let (script, tests) = (block("```rust\n"), block("```toml\n"));
    let files: [(&str, &[u8]); 2] = [("router.rhai", script.as_bytes()), ("router.test.toml", tests.as_bytes())];
    assert_eq!(tested(&files, &["router.rhai"]), (0, "router.rhai: 2 tests passed\n".to_owned()));
}

/// `policy check` says what loading would say, tests included.
#[test]
fn policy_check_runs_the_tests() {
    let said = |path: &Path| {
        let output = run(&["policy", "check", path.to_str().unwrap()]);
        (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, text) = said(&policy("task.rhai"));
    assert!(code == 0 && text.ends_with("(rhai); 10 tests passed\n"), "{text}");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("task.rhai");
    let changed = std::fs::read_to_string(policy("task.rhai")).unwrap().replace("first = claude;", "first = titan;");
    std::fs::write(&path, changed).unwrap();
    assert!(said(&path).1.ends_with("(rhai); it has no tests of its own\n"));
    std::fs::copy(policy("task.test.toml"), folder.path().join("task.test.toml")).unwrap();
    let (code, text) = said(&path);
    assert!(code == 1 && text.contains("task.rhai: 1 of its 10 tests fails: \"code goes to claude"), "{text}");
}
