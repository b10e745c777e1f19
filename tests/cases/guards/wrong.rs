//! Guards that do not get so far: wrong in what they say of themselves, in what the cuts of a text do to them,
//! or in their tests.

use kairos_tests::process::{Pair, run};
use kairos_tests::{guest, policy};

use super::named;

/// Each is refused when it is loaded, and told why.
#[tokio::test]
async fn what_no_guard_may_be_is_refused() {
    let pair = Pair::start();
    let router = "fn describe() { #{ hold_back: 8 } } fn route(ctx, features, models) { plan([0], 1) }";
    let replaces = "let v = pass(text); let at = text.find(\"example\", 0); \
                    if at != () { v.replace(at, at + 7, \"x\"); } v";
    for (file, bytes, reason, says) in [
        ("router.rhai", router.to_owned(), "bad_description", "\"hold_back\", which is not known of a router"),
        ("guard.rhai", named("x", "pass(text)").replace(": 8", ": 4097"), "bad_description", "from 0 to 4096"),
        ("guard.rhai", named("x", "pass(text)").replace(": 8", ": -1"), "bad_description", "from 0 to 4096"),
        ("guard.rhai", named("x", replaces), "failed_trial", "of the same in parts of 5 bytes"),
        ("guard.rhai", named("x", "hold(text, 8)"), "failed_trial", "are undecided at the end of the text"),
        ("guard.rhai", named("x", "pass(text)").replace("state, ", ""), "wrong_world", "takes 4 parameters, not 5"),
        ("guard.rhai", "fn heal(a, b, c, d, e) { next(1) }".to_owned(), "wrong_world", "`heal` is a healer's"),
    ] {
        pair.put(file, bytes.as_bytes());
        let refusal = pair.gateway.wait_for_log("policy refused");
        assert!(refusal.contains(&format!("\"reason\":\"{reason}\"")), "{refusal}");
        assert!(refusal.contains(&says.replace('"', "\\\"")), "{says}: {refusal}");
    }
}

/// What `kairos policy test` says of the guard that ships with these tests.
fn tested(tests: &str) -> (i32, String) {
    let folder = tempfile::tempdir().unwrap();
    let (file, text) = (folder.path().join("x.rhai"), std::fs::read_to_string(policy("secrets.rhai")).unwrap());
    std::fs::write(&file, text).unwrap();
    std::fs::write(folder.path().join("x.test.toml"), tests).unwrap();
    let output = run(&["policy", "test", file.to_str().unwrap()]);
    let said = [&output.stdout[..], &output.stderr].map(String::from_utf8_lossy).concat();
    (output.status.code().unwrap(), said.replace(folder.path().to_str().unwrap(), ""))
}

/// Each wrong file of tests, and the place and words of what is wrong.
#[test]
fn wrong_tests_are_told_with_their_place() {
    let of = |expects: &str| format!("text = \"AKIA0123456789abcdef, x\"\nexpect = {{ {expects} }}\n");
    let mut report = String::new();
    for text in [
        "expect = { text = \"x\" }\n".to_owned(),
        of("").replace("text =", "txt ="),
        of(""),
        of("text = \"x\"").replace("text = \"AKIA", "origin = \"usr\"\ntext = \"AKIA"),
        of("text = \"x\"").replace("text = \"AKIA", "direction = \"in\"\ntext = \"AKIA"),
        of("first = \"nova-lite\""),
        // Well written, and not so.
        of("text = \"[SECRET], y\", found = { secret = 2 }"),
        of("found = {}"),
        of("blocked = \"private-key\""),
        of("declined = true"),
        of("refused = \"private-key\""),
        "text = \"PRIVATE KEY-----\"\nexpect = { blocked = \"secret\" }\n".to_owned(),
        "text = \"PRIVATE KEY-----\"\nexpect = { text = \"\" }\n".to_owned(),
    ] {
        let (code, said) = tested(&format!("[[test]]\nname = \"it\"\n{text}"));
        assert_eq!(code, 1, "{said}");
        report.push_str(&said);
    }
    insta::assert_snapshot!(report);
}

#[test]
fn the_guards_that_ship_pass_their_tests() {
    let script = policy("secrets.rhai");
    let output = run(&["policy", "test", script.to_str().unwrap()]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("7 tests passed"), "{said}");
    let component = guest("mail-card-guard");
    let tests = policy("../plugins/mail-card-guard/mail-card-guard.test.toml");
    let output = run(&["policy", "test", component.to_str().unwrap(), "--tests", tests.to_str().unwrap()]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("5 tests passed"), "{said}");
}
