//! Another policy, asked what it would have done with what is recorded: what is the same, what can be
//! estimated, and what nothing is known of.

use kairos_tests::http::Client;
use kairos_tests::policy;
use kairos_tests::process::{Pair, Setup, said};

use super::records::{ask, json_of};

/// Sends nine of ten to the cheapest, the rest to another, by a draw of the host.
const EXPLORES: &str = r#"fn describe() { #{ name: "explores" } }
fn route(ctx, features, models) {
    if models.len < 2 { return plan([0], 1); }
    if ctx.tags.certain == "yes" { return plan([0, 1], 1); }
    plan([#{model: 0, probability: 0.8}, #{model: 1, probability: 0.2}], 1)
}
"#;

/// The same, always to the other.
const OTHER: &str = r#"fn describe() { #{ name: "other" } }
fn route(ctx, features, models) {
    if models.len < 2 { return plan([0], 1); }
    switch ctx.tags.team {
        "shut" => refuse(4),
        "shy" => decline(),
        "curious" => plan([if ctx.prompt.len > 3 { 0 } else { 1 }], 1),
        _ => plan([1, 0], 1),
    }
}
"#;

/// A gateway that has served so many requests by the exploring policy, and has stopped.
async fn served(requests: usize, headers: impl Fn(usize) -> String) -> Pair {
    let config = "[policies]\ndeadline_ms = 2000\ngrants = [\"content\"]\n[models]\nauto = [\"nova-micro\", \"nova-pro\"]\nas_of = \"2026-11-23\"\n";
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("explores.rhai");
    std::fs::write(&file, EXPLORES).unwrap();
    let setup = Setup { config, policy: Some(file), ..Setup::default() };
    let mut pair = setup.start();
    let client = Client::default();
    for n in 0..requests {
        let (_, answer) = ask(&client, &pair, &[("x-kairos-tags", &headers(n))], "Tell me of whales").await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    pair.gateway.stop();
    pair
}

#[tokio::test]
async fn the_policy_that_served_would_do_the_same() {
    let pair = served(60, |n| format!("certain={}", if n % 2 == 0 { "yes" } else { "no" })).await;
    std::fs::write(pair.folder().join("again.rhai"), EXPLORES).unwrap();
    let report = json_of(&pair, &["replay", "--policy", "again.rhai"]);
    assert_eq!([&report["decisions"], &report["same"], &report["observed"]], [60, 60, 60], "{report}");
    for measure in ["cost", "errors"] {
        assert_eq!(report["differences"][measure]["all"], serde_json::json!({"low": 0.0, "high": 0.0}));
    }
    assert!(report["projected_usd"]["then"].as_f64().unwrap() > 0.0);
    // The version that served is known by its digest.
    let digest = report["policy"].as_str().unwrap().split_once('@').unwrap().1;
    let (code, text) = said(&pair, &["replay", "--policy", &digest[..8]]);
    assert!(code == 0 && text.contains("decisions   the same 60 (100.0 %)"), "{text}");
}

#[tokio::test]
async fn what_was_never_done_is_unknown_and_what_was_explored_is_estimated() {
    let pair = served(600, |n| match n % 30 {
        0 => "certain=yes".to_owned(),
        1 => "team=shut".to_owned(),
        2 => "team=shy".to_owned(),
        3 => "team=curious".to_owned(),
        _ => "certain=no".to_owned(),
    })
    .await;
    std::fs::write(pair.folder().join("other.rhai"), OTHER).unwrap();
    let report = json_of(&pair, &["replay", "--policy", "other.rhai"]);
    // Declined: the native default's plan, which has other models behind its first, or another first.
    assert_eq!([&report["decisions"], &report["undecided"]["declined"], &report["refused"]], [580, 20, 20], "{report}");
    assert_eq!(report["not_replayed"]["the policy reads what was said, and that is not kept"], 20, "{report}");
    let [observed, estimated, unknown] =
        ["observed", "estimated", "unknown"].map(|name| report[name].as_u64().unwrap());
    assert_eq!(observed + estimated + unknown, 580);
    assert!((520..=540).contains(&estimated) && unknown >= 20 && observed >= 20, "{report}");
    let cost = &report["differences"]["cost"];
    let of = |name: &str, end: &str| cost[name][end].as_f64().unwrap();
    // nova-pro costs more, and all of it is more than nine tenths of a tenth.
    assert!(of("estimated", "mean") > 0.0, "{cost}");
    assert!(of("estimated", "low") < of("estimated", "mean") && of("estimated", "mean") < of("estimated", "high"));
    assert!(of("unknown", "low") < 0.0 && of("unknown", "high") > 0.0);
    assert!(report["projected_usd"]["now"].as_f64() > report["projected_usd"]["then"].as_f64(), "{report}");
    let (code, text) = said(&pair, &["replay", "--policy", "other.rhai", "--limit", "100"]);
    assert!(
        code == 0 && text.contains("too few to say") && text.contains("amazon.nova-micro-v1:0 → amazon.nova-pro-v1:0"),
        "{text}"
    );
    // Only a part of them, and a policy of the project.
    let task = policy("task.rhai");
    let (code, text) = said(&pair, &["replay", "--policy", task.to_str().unwrap(), "--key", "nobody"]);
    assert!(code == 1 && text.contains("no decision is recorded that fits"), "{text}");
}

/// While a canary decides a share, either could have decided each request: what the canary would do with
/// all of them is estimated from all of them.
#[tokio::test]
async fn a_canary_makes_what_it_does_known() {
    // So much to learn that the canary, which is dearer, is not rolled back meanwhile.
    let config = "[models]\nauto = [\"nova-micro\", \"nova-pro\"]\nas_of = \"2026-11-23\"\n\
                  [policies]\ndeadline_ms = 2000\n[policies.canary]\nlearned = 1000\n";
    let mut pair = Setup { config, ..Setup::default() }.start();
    let policy = |name: &str, order: &str| {
        let route = format!("if models.len < 2 {{ plan([0], 1) }} else {{ plan({order}, 1) }}");
        let text =
            format!("fn describe() {{ #{{ name: \"{name}\" }} }}\nfn route(ctx, features, models) {{ {route} }}\n");
        std::fs::write(pair.folder().join(format!("{name}.rhai")), text).unwrap();
        json_of(&pair, &["policy", "stage", &format!("{name}.rhai")])["digest"].as_str().unwrap().to_owned()
    };
    let (cheap, dear) = (policy("cheap", "[0, 1]"), policy("dear", "[1, 0]"));
    json_of(&pair, &["policy", "activate", &cheap]);
    json_of(&pair, &["policy", "canary", &dear, "--share", "0.3"]);
    let client = Client::default();
    for _ in 0..300 {
        let (_, answer) = ask(&client, &pair, &[], "Tell me of whales").await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    pair.gateway.stop();
    for (digest, sign) in [(&dear, 1.0), (&cheap, -1.0)] {
        let report = json_of(&pair, &["replay", "--policy", digest]);
        assert_eq!([&report["estimated"], &report["unknown"]], [300, 0], "{report}");
        let mean = report["differences"]["cost"]["estimated"]["mean"].as_f64().unwrap();
        assert!(mean * sign > 0.0, "{report}");
    }
    let (code, all) = said(&pair, &["explain", "--all"]);
    assert_eq!((code, all.as_str()), (0, "300 decisions: 300 identical, 0 differ\n"));
}

#[tokio::test]
async fn what_cannot_be_replayed_is_told() {
    let pair = served(1, |_| "certain=yes".to_owned()).await;
    for (arguments, code, says) in [
        (&["--policy", "nothing.rhai"][..], 2, "there is no file nothing.rhai, and it is no digest"),
        (&["--policy", "abcdef12"], 2, "no version begins with abcdef12"),
        (&["--policy", "native", "--since", "soon"], 2, "a number and a unit are expected"),
        (&["--policy", "native", "--task", "poetry"], 1, "no decision is recorded that fits"),
        (&["--policy", "kairos.toml"], 3, "is not that of a policy"),
    ] {
        let (was, text) = said(&pair, &[&["replay"], arguments].concat());
        assert!(was == code && text.contains(says), "{arguments:?}: {was} {text}");
    }
}
