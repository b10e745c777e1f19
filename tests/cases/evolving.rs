//! Evaluators and mutators: what they say of data, what they propose, whom they may call, and that they hurt
//! nobody but their own run.

mod calls;
mod wrong;

use std::path::{Path, PathBuf};

use kairos_tests::process::run;
use kairos_tests::{guest, policy};
use serde_json::Value;

/// A data set: two cases, two models, one outcome of which nothing is known.
const DATA: &str = r#"
{"id": "a", "prompt": "2 + 2", "expected": "4", "outcomes": {"one": {"text": "4", "cost": "0.000001", "latency_ms": 100}, "two": {"quality": 0.5, "cost": 0.000002}}}
{"id": "b", "prompt": "3 + 3", "expected": "6", "level": 7, "outcomes": {"one": {"failure": "throttled"}, "two": {"quality": 1}}}

{"prompt": "why?", "outcomes": {"one": {}}}
"#;

/// Runs a command in a folder of its own; gives its exit code, and what it says.
fn says(folder: &Path, arguments: &[&str]) -> (i32, String) {
    let output = run(arguments);
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).replace(&format!("{}/", folder.display()), "");
    (output.status.code().unwrap_or(-1), text)
}

fn put(folder: &Path, file: &str, text: impl AsRef<[u8]>) -> String {
    let path = folder.join(file);
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

fn forms(script: &str, component: &str) -> [Option<PathBuf>; 3] {
    [None, Some(policy(script)), Some(guest(component))]
}

/// The native evaluator, the script and the component say the same of the same data, and a mutator takes what
/// they find as evidence.
#[test]
fn a_data_set_is_scored_and_what_went_badly_is_evidence() {
    let folder = tempfile::tempdir().unwrap();
    let data = put(folder.path(), "cases.jsonl", DATA);
    let evidence = folder.path().join("evidence.json").display().to_string();
    let mut all: Vec<Vec<Value>> = Vec::new();
    for form in forms("quality.rhai", "quality-evaluator") {
        let mut arguments = vec!["policy", "evaluate", "--data", &data, "--evidence", &evidence, "--json"];
        let file = form.map(|file| file.display().to_string());
        arguments.extend(file.as_deref());
        let (code, text) = says(folder.path(), &arguments);
        assert_eq!(code, 0, "{text}");
        let mut lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert!(lines.last_mut().unwrap()["policy"].take().as_str().unwrap().starts_with("quality@"));
        all.push(lines);
    }
    assert!(all[0] == all[1] && all[1] == all[2], "{all:#?}");
    insta::assert_snapshot!(all[0].iter().map(Value::to_string).collect::<Vec<_>>().join("\n"));
    let found: Value = serde_json::from_slice(&std::fs::read(&evidence).unwrap()).unwrap();
    assert_eq!(found["weaknesses"][0]["id"], "b");
    let (code, text) = says(folder.path(), &["policy", "evaluate", "--data", &data, "--model", "two", "--limit", "2"]);
    assert_eq!(code, 0, "{text}");
    let text = text.split_once(':').unwrap().1.to_owned();
    insta::assert_snapshot!(text, @r"
     2 outcomes scored
    all
      cost                          0.000002000000 USD ↓  n = 1
      of_best                                   1.0000 ↑  n = 2
      quality                                   0.7500 ↑  n = 2
    ");
    let genome = put(folder.path(), "prompt.txt", "Be kind.\nAnswer in 20 words.\n");
    let (code, text) =
        says(folder.path(), &["policy", "propose", "--genome", &genome, "--evidence", &evidence, "--seed", "4"]);
    assert!(code == 0 && text.contains("-Answer in 20 words.\n+Answer in "), "{text}");
}

/// The three forms of the mutator propose the same for the same seed, and another seed proposes something else.
#[test]
fn a_seed_is_all_the_randomness_there_is() {
    let folder = tempfile::tempdir().unwrap();
    let one = put(folder.path(), "router.rhai", "const SHARE = 0.25;\nconst MODELS = 3;\n");
    let two = put(folder.path(), "prompt.txt", "In 20 words, not 30.");
    let propose = |form: &Option<PathBuf>, seed: &str| {
        let mut arguments = vec!["policy", "propose", "--json", "--seed", seed];
        let file = form.as_ref().map(|file| file.display().to_string());
        arguments.extend(file.as_deref());
        arguments.extend(["--genome", &one, &two]);
        let (code, text) = says(folder.path(), &arguments);
        assert_eq!(code, 0, "{text}");
        let mut came: Value = serde_json::from_str(&text).unwrap();
        assert!(came["policy"].take().as_str().unwrap().starts_with("numbers@"));
        came
    };
    let forms = forms("numbers.rhai", "numbers-mutator");
    for seed in ["0", "7", "9007199254740991"] {
        let [native, script, component] = forms.each_ref().map(|form| propose(form, seed));
        assert!(native == script && script == component, "{native:#} {script:#} {component:#}");
    }
    assert_ne!(propose(&forms[0], "1"), propose(&forms[0], "2"));
    let (code, text) = says(folder.path(), &["policy", "propose", "--genome", &one, "--seed", "7"]);
    assert_eq!(code, 0, "{text}");
    insta::assert_snapshot!(text.split_once(':').unwrap().1);
}

/// Evaluators and mutators in their slots are looked at as others are, and kept.
#[tokio::test]
async fn the_slots_are_filled_and_emptied() {
    use kairos_tests::process::{Pair, said};
    let pair = Pair::start();
    for (slot, file) in [("evaluator", "quality.rhai"), ("mutator", "numbers.rhai")] {
        let (code, text) = said(&pair, &["policy", "stage", policy(file).to_str().unwrap()]);
        assert!(code == 0, "{text}");
        pair.put(&format!("{slot}.rhai"), &std::fs::read(policy(file)).unwrap());
        pair.gateway.wait_for_log("a policy serves");
        let (code, text) = said(&pair, &["policy", "show", slot]);
        let name = file.trim_end_matches(".rhai");
        assert!(code == 0 && text.contains(&format!("active    {name}@")), "{text}");
        std::fs::remove_file(pair.policies.join(format!("{slot}.rhai"))).unwrap();
        pair.gateway.wait_for_log("the policy's file was removed");
        let (code, text) = said(&pair, &["policy", "show", slot]);
        assert!(code == 0 && text.contains("native"), "{text}");
    }
}
