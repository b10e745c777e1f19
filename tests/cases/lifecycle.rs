//! The life of a policy: staged, activated, rolled back and retired while the gateway serves, by
//! command and over HTTP; beside the watched folder, and across restarts and kills.

mod changes;
mod kept;

use std::path::Path;
use std::process::Output;

use kairos_tests::http::{Client, chat};
use kairos_tests::process::{Pair, Setup, ended, kairos};
use kairos_tests::{another, guest};
use serde_json::Value;

/// A policy that calls itself so, and sends everything to the first model.
fn named(name: &str) -> String {
    format!("fn describe() {{ #{{ name: \"{name}\" }} }}\nfn route(ctx, features, models) {{ plan([0], 1) }}\n")
}

/// A command against the gateway of a pair.
fn command(pair: &Pair, arguments: &[&str]) -> Output {
    let data = pair.folder().join("data");
    kairos().args(arguments).arg("--data").arg(data).current_dir(pair.folder()).env("USER", "ada").output().unwrap()
}

/// Its exit code, and what it says; digests cut to their first characters.
fn said(pair: &Pair, arguments: &[&str]) -> (i32, String) {
    ended(&command(pair, arguments))
}

/// What a command prints with `--json`, which is to succeed.
fn json(pair: &Pair, arguments: &[&str]) -> Value {
    let output = command(pair, &[arguments, &["--json"]].concat());
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Writes a policy into the pair's folder.
fn write(pair: &Pair, file: &str, text: &str) {
    std::fs::write(pair.folder().join(file), text).unwrap();
}

/// Stages a policy of this name; gives its digest.
fn stage(pair: &Pair, name: &str) -> String {
    let file = format!("{name}.rhai");
    write(pair, &file, &named(name));
    json(pair, &["policy", "stage", &file])["digest"].as_str().unwrap().to_owned()
}

/// The name of the policy that decides a request.
async fn serves(pair: &Pair) -> String {
    let url = format!("{}/v1/chat/completions", pair.gateway.url);
    let answer = Client::default().post(&url, &[], &chat("auto", "hello")).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.header("x-kairos-policy").split('@').next().unwrap().to_owned()
}

/// Ends the gateway as nothing it could prepare for, and starts it again in its folder.
fn kill_and_start(setup: &Setup<'_>, pair: &mut Pair) {
    pair.gateway.kill();
    let folder = pair.folder().to_owned();
    pair.gateway = setup.gateway(&pair.simulator.url, &folder);
}

/// Each version of a list with its role, as `name role`.
fn roles(pair: &Pair) -> Vec<String> {
    let list = json(pair, &["policy", "list"]);
    let versions = list["slots"][0]["versions"].as_array().unwrap().iter();
    let name = |version: &Value| version["policy"].as_str().unwrap().split('@').next().unwrap().to_owned();
    versions.map(|version| format!("{} {}", name(version), version["role"].as_str().unwrap())).collect()
}

#[tokio::test]
async fn the_whole_circle_by_command() {
    let pair = Setup::default().start();
    let (code, text) = said(&pair, &["policy", "list"]);
    assert!(code == 0 && text.starts_with("router\n  active    native-task@"), "{text}");
    // One with a test of its own, which is found beside it.
    write(&pair, "first.rhai", &named("first"));
    let tests = "as_of = \"2026-11-23\"\nregion = \"us-east-1\"\nmodels = [\"nova-lite\"]\n[[test]]\nname = \"any\"\nexpect = { first = \"nova-lite\" }\n";
    write(&pair, "first.test.toml", tests);
    let (code, text) = said(&pair, &["policy", "stage", "first.rhai", "--why", "cheaper"]);
    let digest = text.split(['@', ' ']).nth(1).unwrap().to_owned();
    let expected =
        format!("first@{digest} is staged; 1 test passed\n  kairos policy activate {digest} lets it serve\n");
    assert_eq!((code, text), (0, expected));
    assert_eq!((serves(&pair).await.as_str(), roles(&pair)), ("native-task", vec!["first staged".to_owned()]));
    let activated = said(&pair, &["policy", "activate", &digest[..6]]);
    assert_eq!(activated, (0, format!("first@{digest} serves\n")));
    assert_eq!(said(&pair, &["policy", "activate", &digest]), (0, format!("first@{digest} serves already\n")));
    let (second, third) = (stage(&pair, "second"), stage(&pair, "third"));
    for digest in [&second, &third] {
        json(&pair, &["policy", "activate", digest]);
    }
    assert_eq!(roles(&pair), ["third active", "second previous", "first previous"]);
    // Back, twice; what served stays ready.
    assert_eq!(said(&pair, &["policy", "rollback"]), (0, format!("second@{} serves again\n", &second[..12])));
    assert_eq!(serves(&pair).await, "second");
    json(&pair, &["policy", "rollback", "router"]);
    assert_eq!(roles(&pair), ["first active", "second staged", "third staged"]);
    let (code, text) = said(&pair, &["policy", "rollback"]);
    let nothing = "kairos: no version served before what serves now: there is nothing to roll back to\n";
    assert_eq!((code, text.as_str()), (1, nothing));
    // What is retired is kept, and can serve again.
    let retired = said(&pair, &["policy", "retire", &third]);
    assert_eq!(retired, (0, format!("third@{} is retired\n", &third[..12])));
    let (code, text) = said(&pair, &["policy", "retire", &third]);
    assert!(code == 1 && text.contains("is neither staged nor one of those that served before"), "{text}");
    let (code, text) = said(&pair, &["policy", "retire", &digest]);
    assert!(code == 1 && text.contains("serves: activate another or roll back first"), "{text}");
    json(&pair, &["policy", "activate", &third]);
    assert_eq!((serves(&pair).await.as_str(), roles(&pair).len()), ("third", 3));
    let shown = json(&pair, &["policy", "show", &digest]);
    assert_eq!((&shown["text"], &shown["tests"]), (&named("first").into(), &tests.into()));
    assert_eq!((&shown["role"], &shown["file"]), (&"previous".into(), &"first.rhai".into()));
    let (code, text) = said(&pair, &["policy", "show", &digest]);
    assert!(code == 0 && text.ends_with("expect = { first = \"nova-lite\" }\n"), "{text}");
    let (_, text) = said(&pair, &["policy", "show", "router"]);
    assert!(text.contains("  active    third@") && text.contains("kept, the newest first:"), "{text}");
    // Who did what, and why.
    let acts = json(&pair, &["audit"]);
    let acts = acts.as_array().unwrap();
    let kinds: Vec<_> = acts.iter().rev().map(|act| act["act"].as_str().unwrap()).collect();
    let expected = "stage activate stage stage activate activate rollback rollback retire activate";
    assert_eq!(kinds.join(" "), expected);
    let first = acts.last().unwrap();
    assert_eq!([&first["actor"], &first["claimed"], &first["why"]], ["admin", "ada", "cheaper"]);
    assert_eq!(json(&pair, &["audit", "--verify"])["rows"], acts.len());
}

/// What a command needs, and what it says without.
#[tokio::test]
async fn what_is_wrong_with_a_command_is_said() {
    let mut pair = Setup::default().start();
    let digest = stage(&pair, "first");
    let refused = |text: &str| {
        write(&pair, "broken.rhai", text);
        said(&pair, &["policy", "stage", "broken.rhai"])
    };
    let (code, text) = refused("fn route(ctx, features, models) {\n  plan([0], 1\n}");
    assert!(code == 3 && text.starts_with("kairos: broken.rhai:3:1: ") && text.contains("\n  hint: "), "{code} {text}");
    write(&pair, "broken.test.toml", "[[test]]\n");
    let (code, text) = refused(&named("first"));
    assert!(code == 3 && text.starts_with("kairos: broken.test.toml:1:1: "), "{code} {text}");
    for (arguments, code, says) in [
        (&["policy", "activate", "abc"][..], 2, "is not the beginning of a digest"),
        (&["policy", "activate", "abcdef"], 2, "no version's digest begins with abcdef"),
        (&["policy", "activate", "ABCDEF"], 2, "is not the beginning of a digest"),
        (&["policy", "activate", &digest, "--slot", "rooter"], 2, "there is no slot \"rooter\"; there are router"),
        (&["policy", "stage", "nowhere.rhai"], 2, "nowhere.rhai: No such file"),
        (&["policy", "stage", "kairos.toml"], 3, "is not that of a policy"),
        (&["policy", "list", "--url", "https://example"], 2, "begins with http://"),
        (&["policy", "list", "--url", "http://127.0.0.1:1"], 1, "no gateway answers at http://127.0.0.1:1"),
    ] {
        let (ended, text) = said(&pair, arguments);
        assert!(ended == code && text.contains(says), "{arguments:?}: {ended} {text}");
    }
    // Of two versions that begin alike neither is meant.
    let twin = format!("{}{}", &digest[..6], "0".repeat(58));
    let database = rusqlite::Connection::open(pair.folder().join("data/policies.sqlite")).unwrap();
    let insert = "INSERT INTO version (slot, digest, name, engine, file, bytes, added_ms) VALUES ('router', ?1, 'twin', 'rhai', 'twin.rhai', x'', 0)";
    database.execute(insert, [&twin]).unwrap();
    let (code, text) = said(&pair, &["policy", "activate", &digest[..6]]);
    assert!(code == 2 && text.contains(&digest) && text.contains(&twin), "{code} {text}");
    json(&pair, &["policy", "activate", &digest[..12]]);
    assert_eq!(serves(&pair).await, "first");
    // A gateway that has ended is not looked for; of one that was killed it is said that nobody answers.
    pair.gateway.kill();
    let (code, text) = said(&pair, &["policy", "list"]);
    assert!(code == 1 && text.contains("no gateway answers at http://127.0.0.1:"), "{text}");
    let folder = pair.folder().to_owned();
    pair.gateway = Setup::default().gateway(&pair.simulator.url, &folder);
    pair.gateway.terminate();
    while folder.join("data/gateway.json").exists() {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    let (code, text) = said(&pair, &["policy", "list"]);
    assert!(code == 1 && text.contains("no gateway runs on "), "{text}");
    let elsewhere = tempfile::tempdir().unwrap();
    let output = kairos().args(["policy", "list", "--data"]).arg(elsewhere.path()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && text.contains("no gateway runs on "), "{text}");
}

/// What is in the folder while the gateway is stopped, and what serves then.
enum Meanwhile {
    Nothing,
    /// The file is put there anew, with other bytes.
    Changed,
    Removed,
}

/// The folder and commands are both acts, and the last holds, also when the gateway is killed right
/// after it and started again.
#[tokio::test]
async fn the_last_act_holds_across_kills() {
    let activate: &[&str] = &["activate"];
    let back: &[&str] = &["activate", "rollback"];
    let put: &[&str] = &["activate", "put"];
    let taken_away: &[&str] = &["activate", "remove"];
    for (acts, meanwhile, after) in [
        (&[][..], Meanwhile::Nothing, "folder"),
        (&[], Meanwhile::Changed, "changed"),
        (&[], Meanwhile::Removed, "native-task"),
        (&["remove"], Meanwhile::Nothing, "native-task"),
        (&["remove", "rollback"], Meanwhile::Nothing, "folder"),
        (activate, Meanwhile::Nothing, "staged"),
        (activate, Meanwhile::Changed, "changed"),
        (activate, Meanwhile::Removed, "staged"),
        (back, Meanwhile::Nothing, "folder"),
        (back, Meanwhile::Removed, "native-task"),
        (put, Meanwhile::Nothing, "folder"),
        (taken_away, Meanwhile::Nothing, "staged"),
    ] {
        let setup = Setup::default();
        let mut pair = setup.start();
        pair.put_policy("rhai", named("folder").as_bytes());
        pair.gateway.wait_for_log("a policy serves");
        let staged = stage(&pair, "staged");
        let file = pair.policies.join("router.rhai");
        for act in acts {
            let before = serves(&pair).await;
            match *act {
                "activate" => drop(json(&pair, &["policy", "activate", &staged])),
                "rollback" => drop(json(&pair, &["policy", "rollback"])),
                "put" => {
                    pair.gateway.log_so_far();
                    pair.put_policy("rhai", named("folder").as_bytes());
                    pair.gateway.wait_for_log("a policy serves");
                }
                _ => {
                    std::fs::remove_file(&file).unwrap();
                    pair.gateway.wait_for_log("file was removed");
                }
            }
            let now = serves(&pair).await;
            kill_and_start(&setup, &mut pair);
            assert_eq!(serves(&pair).await, now, "{acts:?}: {act} after {before}");
        }
        pair.gateway.kill();
        match meanwhile {
            Meanwhile::Nothing => {}
            Meanwhile::Changed => pair.put_policy("rhai", named("changed").as_bytes()),
            Meanwhile::Removed => std::fs::remove_file(&file).unwrap(),
        }
        kill_and_start(&setup, &mut pair);
        assert_eq!(serves(&pair).await, after, "{acts:?}");
        assert_eq!(json(&pair, &["audit", "--verify"])["whole"], true);
    }
}

/// Going back needs nothing but what is in memory: here what is kept on disk is lost.
#[tokio::test]
async fn a_rollback_loads_nothing() {
    let pair = Setup::default().start();
    std::fs::copy(guest("fixed-first"), pair.folder().join("wasm.wasm")).unwrap();
    let component = json(&pair, &["policy", "stage", "wasm.wasm"])["digest"].as_str().unwrap().to_owned();
    let script = stage(&pair, "script");
    for digest in [&component, &script] {
        json(&pair, &["policy", "activate", digest]);
    }
    let database = rusqlite::Connection::open(pair.folder().join("data/policies.sqlite")).unwrap();
    assert_eq!(database.execute("DELETE FROM version", []).unwrap(), 2);
    json(&pair, &["policy", "rollback"]);
    assert_eq!(serves(&pair).await, "fixed-first");
    let (code, text) = said(&pair, &["policy", "activate", &script]);
    assert!(code == 2 && text.contains("no version's digest begins with"), "{text}");
}

/// So many versions are kept ready; the oldest gives way, and can still be activated.
#[tokio::test]
async fn the_oldest_that_is_ready_gives_way() {
    let pair = Setup::default().start();
    let digests: Vec<_> = (0..9).map(|number| stage(&pair, &format!("v{number}"))).collect();
    let ready = roles(&pair);
    assert_eq!((ready.len(), ready[0].as_str(), ready[7].as_str()), (8, "v8 staged", "v1 staged"));
    json(&pair, &["policy", "activate", &digests[0]]);
    assert_eq!((serves(&pair).await.as_str(), roles(&pair).len()), ("v0", 9));
}

/// A version that failed while it served is not let serve again, and a restart does not forget it.
#[tokio::test]
async fn what_was_quarantined_is_not_activated() {
    let setup = Setup::default();
    let mut pair = setup.start();
    let healthy = stage(&pair, "healthy");
    json(&pair, &["policy", "activate", &healthy]);
    write(
        &pair,
        "bad.rhai",
        "fn route(ctx, features, models) { if features.text_bytes == 5 { throw \"no\" } plan([0], 1) }",
    );
    let bad = json(&pair, &["policy", "stage", "bad.rhai"])["digest"].as_str().unwrap().to_owned();
    json(&pair, &["policy", "activate", &bad]);
    for _ in 0..3 {
        assert_eq!(serves(&pair).await, "native-task");
    }
    pair.gateway.wait_for_log("quarantined until");
    assert_eq!(serves(&pair).await, "healthy");
    let quarantines = |pair: &Pair| {
        let acts = json(pair, &["audit"]);
        acts.as_array().unwrap().iter().filter(|act| act["act"] == "quarantine" && act["actor"] == "kairos").count()
    };
    // It is written down by a thread that no request waits for.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while quarantines(&pair) == 0 {
        assert!(std::time::Instant::now() < deadline, "the quarantine was not written down");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    for _ in 0..2 {
        for act in ["activate", "stage"] {
            let what = if act == "stage" { "bad.rhai" } else { &bad };
            let (code, text) = said(&pair, &["policy", act, what]);
            assert!(code == 3 && text.contains("was quarantined after it failed"), "{code} {text}");
        }
        assert_eq!(serves(&pair).await, "healthy");
        kill_and_start(&setup, &mut pair);
        assert_eq!(serves(&pair).await, "healthy");
    }
}

/// A version that is not granted any more what it asks for does not serve after a restart; the one
/// before it does.
#[tokio::test]
async fn a_version_that_no_longer_loads_gives_way() {
    let granted = Setup { config: "[policies]\ngrants = [\"log\", \"content\"]\n", ..Setup::default() };
    let mut pair = granted.start();
    let plain = stage(&pair, "plain");
    let reads = "fn route(ctx, features, models) { if ctx.prompt == \"never\" { plan([0], 2) } else { plan([0], 1) } }";
    write(&pair, "reads.rhai", reads);
    let reading = json(&pair, &["policy", "stage", "reads.rhai"])["digest"].as_str().unwrap().to_owned();
    for digest in [&plain, &reading] {
        json(&pair, &["policy", "activate", digest]);
    }
    assert_eq!(serves(&pair).await, "router");
    kill_and_start(&Setup { config: "[policies]\ngrants = [\"log\"]\n", ..Setup::default() }, &mut pair);
    assert_eq!(serves(&pair).await, "plain");
    let refusal = json(&pair, &["policy", "list"])["slots"][0]["refusal"].as_str().unwrap().to_owned();
    assert!(refusal.starts_with("reads.rhai"), "{refusal}");
    kill_and_start(&granted, &mut pair);
    assert_eq!(serves(&pair).await, "router");
}

/// Rows that were edited are noticed, also beside a gateway that runs.
#[tokio::test]
async fn an_edited_audit_log_is_noticed() {
    let pair = Setup::default().start();
    let digest = stage(&pair, "first");
    json(&pair, &["policy", "activate", &digest]);
    assert_eq!(said(&pair, &["audit", "--verify"]), (0, "whole: 2 rows\n".to_owned()));
    let database = rusqlite::Connection::open(pair.folder().join("data/policies.sqlite")).unwrap();
    database.execute("UPDATE audit SET claimed = 'eve' WHERE seq = 1", []).unwrap();
    let damaged = "kairos: the audit log is damaged: row 1 is not as it was written\n";
    assert_eq!(said(&pair, &["audit", "--verify"]), (1, damaged.to_owned()));
    let output = command(&pair, &["audit", "--verify", "--json"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), &report["whole"]), (Some(1), &false.into()));
}

/// What a policy of this number is, for tests that need many.
fn variant(number: usize) -> Vec<u8> {
    another("rhai", named("variant").as_bytes(), number)
}

/// The token that the gateway made.
fn token(data: &Path) -> String {
    std::fs::read_to_string(data.join("admin-token")).unwrap().trim().to_owned()
}
