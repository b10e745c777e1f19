//! Healers that do not get so far: in the wrong slot, or with tests that are wrong.

use kairos_tests::process::{Pair, run};
use kairos_tests::{guest, policy};

use super::named;

/// A policy of one world in the slot of the other is refused, and told which slot it fits.
#[tokio::test]
async fn a_policy_of_another_world_is_told_its_slot() {
    let pair = Pair::start();
    let component = |name: &str| std::fs::read(guest(name)).unwrap();
    let router = "fn route(ctx, features, models) { plan([0], 1) }";
    for (file, bytes, says) in [
        ("healer.rhai", router.into(), ["there is no function `heal`; there is `route`", "name the file router.rhai"]),
        (
            "router.rhai",
            named("x", "next(1)").into_bytes(),
            ["there is no function `route`; there is `heal`", "name the file healer.rhai"],
        ),
        (
            "healer.wasm",
            component("task-router"),
            ["does not export kairos:plugin/healing@0.1.0", "of the world `router`: name it router.wasm"],
        ),
        (
            "router.wasm",
            component("backoff-healer"),
            ["does not export kairos:plugin/routing@0.1.0", "of the world `healer`: name it healer.wasm"],
        ),
    ] {
        pair.put(file, &bytes);
        let refusal = pair.gateway.wait_for_log("policy refused");
        assert!(refusal.contains("\"reason\":\"wrong_world\"") && refusal.contains(file), "{refusal}");
        assert!(says.iter().all(|part| refusal.contains(part)), "{refusal}");
    }
}

/// What `kairos policy test` says of a healer with these tests.
fn tested(tests: &str) -> (i32, String) {
    let folder = tempfile::tempdir().unwrap();
    let (file, text) = (folder.path().join("x.rhai"), std::fs::read_to_string(policy("backoff.rhai")).unwrap());
    std::fs::write(&file, text).unwrap();
    std::fs::write(folder.path().join("x.test.toml"), tests).unwrap();
    let output = run(&["policy", "test", file.to_str().unwrap()]);
    let said = [&output.stdout[..], &output.stderr].map(String::from_utf8_lossy).concat();
    (output.status.code().unwrap(), said.replace(folder.path().to_str().unwrap(), ""))
}

const MODELS: &str =
    "as_of = \"2026-11-23\"\nregion = \"us-east-1\"\nmodels = [\"nova-lite\", \"nova-pro\"]\n[[test]]\nname = \"it\"\n";

/// Each wrong file of tests, and the place and words of what is wrong.
#[test]
fn wrong_tests_are_told_with_their_place() {
    let failure = "failure = { kind = \"throttled\", model = \"nova-lite\", left = [\"nova-pro\"] }\n";
    let expects = |says: &str| format!("{failure}expect = {{ {says} }}\n");
    let files = [
        "expect = { action = \"next\" }\n".to_owned(),
        format!("{failure}histroy = []\nexpect = {{ action = \"next\" }}\n"),
        expects("").replace("throttled", "throtled"),
        expects("action = \"next\"").replace("kind = \"throttled\", ", ""),
        expects("action = \"next\"").replace("model = \"nova-lite\"", "model = \"nova-micro\""),
        expects("action = \"next\"").replace("left =", "lefts ="),
        expects("action = \"next\"").replace("left =", "status = 65536, left ="),
        format!("{failure}history = [{{ kind = \"server\" }}]\nexpect = {{ action = \"next\" }}\n"),
        format!("{failure}can = [\"refresh\"]\nexpect = {{ action = \"next\" }}\n"),
        expects(""),
        expects("action = \"nxt\""),
        expects("first = \"nova-pro\""),
        expects("action = \"retry\", wait = {}"),
        expects("action = \"retry\", wait = { most = 5 }"),
        expects("action = \"retry\", wait = { cap = 5 }, at_once = true"),
        expects("at_once = false"),
        expects("action = \"next\", declined = true"),
        // Well written, and not so.
        expects("action = \"retry\", wait = { cap = 5 }, reason = \"agian\""),
        expects("model = \"nova-pro\", max_output_tokens = 5"),
        expects("declined = true"),
        expects("refused = \"tried\""),
    ];
    let mut report = String::new();
    for text in files {
        let (code, said) = tested(&format!("{MODELS}{text}"));
        assert_eq!(code, 1, "{said}");
        report.push_str(&said);
    }
    insta::assert_snapshot!(report);
}

#[test]
fn the_healer_that_ships_passes_its_tests() {
    let script = policy("backoff.rhai");
    let output = run(&["policy", "test", script.to_str().unwrap()]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("11 tests passed"), "{said}");
    let tests = policy("backoff.test.toml");
    let component = guest("backoff-healer");
    let output = run(&["policy", "test", component.to_str().unwrap(), "--tests", tests.to_str().unwrap()]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("11 tests passed"), "{said}");
}
