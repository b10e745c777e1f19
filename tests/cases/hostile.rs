//! Policies that loop, recurse, panic, take memory without end or answer nonsense: the request is
//! answered by the native default, the policy is quarantined, and the one before it serves.

mod counts;
mod guests;

use std::path::PathBuf;

use kairos_tests::http::{Answer, Client, chat};
use kairos_tests::process::{Pair, Setup};
use kairos_tests::{component, policy};

/// A request that is answered, whatever the policy does.
async fn ask(client: &Client, pair: &Pair) -> Answer {
    let answer = client.post(&format!("{}/v1/chat/completions", pair.gateway.url), &[], &chat("auto", "hello")).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer
}

/// Puts a policy in place and waits until it serves.
fn put(pair: &Pair, ending: &str, bytes: &[u8]) {
    pair.put_policy(ending, bytes);
    pair.gateway.wait_for_log("a policy serves");
}

/// What `/metrics` says.
struct Metrics(String);

impl Metrics {
    async fn read(client: &Client, pair: &Pair) -> Self {
        Self(client.get(&format!("{}/metrics", pair.gateway.url)).await.text())
    }

    /// A whole number.
    fn of(&self, series: &str) -> u64 {
        let value = self.0.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        value.unwrap_or_else(|| panic!("no {series} in {}", self.0)).parse().unwrap()
    }
}

/// A guest of the list fails three times, is quarantined, and gives way when its file changes.
async fn fails_and_is_replaced(name: &str) {
    let guest = guests::GUESTS.iter().find(|guest| guest.name == name).unwrap();
    let (bytes, kind) = ((guest.bytes)(), guest.kind);
    let pair = Setup { policy: Some(policy("score.rhai")), ..Setup::default() }.start();
    let client = Client::default();
    put(&pair, guest.ending, &bytes);
    for _ in 0..3 {
        let answer = ask(&client, &pair).await;
        assert!(answer.header("x-kairos-policy").starts_with("native-task@"), "{:?}", answer.headers);
        assert!(answer.header("x-kairos-warnings").contains(&format!(": {kind})")), "{:?}", answer.headers);
    }
    pair.gateway.wait_for_log("quarantined");
    let answer = ask(&client, &pair).await;
    assert!(answer.header("x-kairos-policy").starts_with("score@"), "{:?}", answer.headers);
    let metrics = Metrics::read(&client, &pair).await;
    assert_eq!(metrics.of(&format!("kairos_policy_faults_total{{slot=\"router\",kind=\"{kind}\"}}")), 3);
    assert_eq!(metrics.of("kairos_policy_quarantined_total{slot=\"router\"}"), 1);
    assert_eq!(metrics.of("kairos_policy_quarantined{slot=\"router\"}"), 1);
    assert_eq!(metrics.of("kairos_policy_outdated{slot=\"router\"}"), 1);
    assert_eq!(metrics.of("kairos_policy_recoveries_total{slot=\"router\"}"), 0);
    // The very same file is not loaded again; a changed one is.
    pair.put_policy(guest.ending, &bytes);
    pair.gateway.wait_for_log("this very file was quarantined");
    assert!(ask(&client, &pair).await.header("x-kairos-policy").starts_with("score@"));
    put(&pair, "rhai", b"fn route(ctx, features, models) { plan([0], 9) }");
    assert!(ask(&client, &pair).await.header("x-kairos-policy").starts_with("router@"));
    let metrics = Metrics::read(&client, &pair).await;
    assert_eq!(metrics.of("kairos_policy_refusals_total{slot=\"router\",reason=\"quarantined\"}"), 1);
    assert_eq!(metrics.of("kairos_policy_outdated{slot=\"router\"}"), 0);
    assert_eq!(metrics.of("kairos_policy_recoveries_total{slot=\"router\"}"), 1);
}

/// Each folder of guests, and the text that refers to it: none lies there without a test.
#[test]
fn every_guest_has_a_test() {
    let entries = |path: PathBuf| path.read_dir().unwrap().map(|entry| entry.unwrap().path());
    let root = kairos_tests::root();
    // Those of versions of the contract that there never was are the sandbox's own.
    let (mut folders, mut sources) =
        (vec![root.join("tests/cases"), root.join("host/sandbox/src/wasm/made_up")], String::new());
    while let Some(folder) = folders.pop() {
        for path in entries(folder) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                sources.push_str(&std::fs::read_to_string(path).unwrap());
            }
        }
    }
    let guests: Vec<_> = entries(root.join("tests/guests")).filter(|path| path.join("Cargo.toml").exists()).collect();
    assert!(guests.len() > 8, "{guests:?}");
    for guest in guests {
        let name = guest.file_name().unwrap().to_str().unwrap();
        // The kit is what they share.
        assert!(name == "kit" || sources.contains(&format!("\"{name}\"")), "no test names the guest {name}");
    }
}

/// Log lines and metrics by the hundred are cut off and counted; what is written forges nothing, and
/// the policy serves on.
#[tokio::test]
async fn floods_are_cut_off_and_counted() {
    // It is about bounds, not about time: unoptimised, a flood takes most of the usual deadline.
    let config = "[policies]\ndeadline_ms = 1000\n";
    let pair = Setup { policy: Some(policy("score.rhai")), config, ..Setup::default() }.start();
    let client = Client::default();
    let script = r#"fn route(ctx, features, models) {
        if !("team" in ctx.tags) {
            for n in 0..100 { log("flood\n forged" + n); metric_add("name_" + n, 1); metric_add("forged\"} 1\nforged", 1); }
            metric_set("not_a_number", 0.0 / 0.0);
            for n in 0..64 { kv_get("key " + n); }
        }
        plan([0], 1)
    }"#;
    let mut before = (0, 0);
    for (ending, bytes, plugin) in [("wasm", component("bad-flood"), "bad-flood"), ("rhai", script.into(), "router")] {
        put(&pair, ending, &bytes);
        pair.gateway.log_so_far();
        let answer = ask(&client, &pair).await;
        assert!(answer.header("x-kairos-policy").starts_with(plugin), "{:?}", answer.headers);
        let metrics = Metrics::read(&client, &pair).await;
        let now = (
            metrics.of("kairos_plugin_dropped_total{what=\"log\"}"),
            metrics.of("kairos_plugin_dropped_total{what=\"metrics\"}"),
        );
        // 16 lines and 32 names of 100 are kept; names that are none, and what is no number, are not.
        assert_eq!((now.0 - before.0, now.1 - before.1), (84, 68 + 100 + 1), "{ending}");
        before = now;
        let names = metrics.0.lines().filter(|line| line.starts_with("kairos_plugin_counter_total{")).count();
        assert_eq!(names, 32, "{ending}");
        assert!(!metrics.0.contains("forged"), "{}", metrics.0);
        // The request's own line comes after those of its policy.
        let mut lines = vec![pair.gateway.wait_for_log("flood ")];
        lines.extend((1..16).map(|_| pair.gateway.wait_for_log("flood ")));
        assert!(lines.iter().all(|line| line.len() < 1_400 && !line.contains("\\n")), "{lines:?}");
        assert!(!pair.gateway.wait_for_log("\"request\"").contains("forged"));
    }
}

/// While one request finds out that the policy loops, others are answered.
#[tokio::test(flavor = "multi_thread")]
async fn others_are_served_while_a_policy_loops() {
    let pair = Setup { policy: Some(policy("task.rhai")), ..Setup::default() }.start();
    let client = Client::default();
    put(&pair, "wasm", &component("bad-loop"));
    let requests = (0..64).map(|_| {
        let (client, url) = (client.clone(), format!("{}/v1/chat/completions", pair.gateway.url));
        tokio::spawn(async move { client.post(&url, &[], &chat("auto", "hello")).await })
    });
    let requests: Vec<_> = requests.collect();
    let mut by_policy = std::collections::BTreeMap::new();
    for request in requests {
        let answer = request.await.unwrap();
        assert_eq!(answer.status, 200);
        let policy = answer.header("x-kairos-policy").split('@').next().unwrap().to_owned();
        *by_policy.entry(policy).or_insert(0) += 1;
    }
    // None was answered by the looping policy; few were held up by it.
    assert!(by_policy.keys().all(|policy| policy == "native-task" || policy == "task"), "{by_policy:?}");
    let metrics = client.get(&format!("{}/metrics", pair.gateway.url)).await.text();
    let faults = metrics
        .lines()
        .find_map(|line| line.strip_prefix("kairos_policy_faults_total{slot=\"router\",kind=\"deadline\"} "));
    // A fault for each thread that was in a call when the first was found out, then one at a time.
    let threads = std::thread::available_parallelism().unwrap().get();
    let faults: usize = faults.unwrap().parse().unwrap();
    assert!(faults <= threads.max(1) + 3, "{faults} requests were held up");
}

/// A policy that keeps state between calls is found out by repeating some of them.
#[tokio::test]
async fn a_policy_with_a_memory_is_found_out() {
    let config = "[policies]\npurity_sample = 150\n";
    let pair = Setup { policy: Some(policy("score.rhai")), config, ..Setup::default() }.start();
    let client = Client::default();
    put(&pair, "wasm", &component("bad-state"));
    let mut served = 0;
    loop {
        let answer = ask(&client, &pair).await;
        if answer.header("x-kairos-policy").starts_with("score@") {
            break;
        }
        assert!(answer.header("x-kairos-policy").starts_with("bad-state@"));
        served += 1;
        assert!(served < 20_000, "a policy with a memory was not found out");
    }
    assert!(pair.gateway.wait_for_log("quarantined").contains("impure"));
}

#[tokio::test]
async fn a_refused_file_changes_nothing_and_a_removed_one_gives_way() {
    let pair = Setup { policy: Some(policy("score.rhai")), ..Setup::default() }.start();
    let client = Client::default();
    pair.put_policy("rhai", b"fn route(ctx, features, models) {\n  plan([0], 1\n}");
    let refusal = pair.gateway.wait_for_log("policy refused");
    for part in ["router.rhai:3:1", "\"line\":3", "\"column\":1", "hint"] {
        assert!(refusal.contains(part), "{part}: {refusal}");
    }
    assert!(ask(&client, &pair).await.header("x-kairos-policy").starts_with("score@"));
    std::fs::remove_file(pair.policies.join("router.rhai")).unwrap();
    put(&pair, "wasm", &component("fixed-second"));
    assert!(ask(&client, &pair).await.header("x-kairos-policy").starts_with("fixed-second@"));
    std::fs::remove_file(pair.policies.join("router.wasm")).unwrap();
    pair.gateway.wait_for_log("the policy's file was removed");
    assert!(ask(&client, &pair).await.header("x-kairos-policy").starts_with("native-task@"));
    std::fs::write(pair.policies.join("task.rhai"), "x").unwrap();
    put(&pair, "rhai", &std::fs::read(policy("task.rhai")).unwrap());
}

/// Values that no limit of the script engine counts cannot be made: each of these took the process
/// down, or its memory.
#[tokio::test]
async fn scripts_cannot_hide_values_from_their_limits() {
    let pair = Setup { policy: Some(policy("score.rhai")), ..Setup::default() }.start();
    let client = Client::default();
    let hidden = [
        "let x = 0; for i in 0..100000 { let y = x; let f = || y; x = f; }",
        "let f = Fn(\"x\"); for i in 0..25 { f = f.curry(f); }",
        "let x = #{}; let f = || x; x.f = f;",
        "let s = \"a\"; s.pad(60000, 'a'); s.replace(\"a\", s);",
    ];
    for hidden in hidden {
        for place in ["describe", "route"] {
            let (describes, routes) = if place == "describe" { (hidden, "") } else { ("", hidden) };
            let script = format!(
                "fn describe() {{ {describes} #{{ name: \"hidden\" }} }}\nfn route(ctx, features, models) {{ {routes} plan([0], 1) }}"
            );
            pair.put_policy("rhai", script.as_bytes());
            let refusal = pair.gateway.wait_for_log("policy refused");
            assert!(refusal.contains("router.rhai"), "{refusal}");
        }
    }
    assert!(ask(&client, &pair).await.header("x-kairos-policy").starts_with("score@"));
}

/// Files that are no policies change nothing, whatever else lies in the folder; and a folder that is
/// named relatively is watched like any other.
#[tokio::test]
async fn what_serves_is_what_was_put_there_last() {
    let pair = Setup { policy: Some(policy("score.rhai")), ..Setup::default() }.start();
    let client = Client::default();
    let at = &pair.policies;
    // An older file that is moved in serves; a stranger beside it does not bring the newer one back.
    let old = pair.folder().join("old.wasm");
    std::fs::write(&old, component("fixed-second")).unwrap();
    let long_ago = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
    std::fs::File::options().write(true).open(&old).unwrap().set_modified(long_ago).unwrap();
    std::fs::rename(&old, at.join("router.wasm")).unwrap();
    pair.gateway.wait_for_log("a policy serves");
    std::fs::write(at.join("notes.txt"), "remember the milk").unwrap();
    std::fs::write(at.join("router.rhai.swp"), "x").unwrap();
    std::fs::remove_file(at.join("router.wasm")).unwrap();
    pair.gateway.wait_for_log("a policy serves");
    assert!(ask(&client, &pair).await.header("x-kairos-policy").starts_with("score@"));
    std::fs::remove_file(at.join("router.rhai")).unwrap();
    pair.gateway.wait_for_log("the policy's file was removed");
    assert!(ask(&client, &pair).await.header("x-kairos-policy").starts_with("native-task@"));
}

/// Components can be swapped in and taken out without end: what they kept ready is given back.
#[tokio::test]
async fn places_of_components_come_back() {
    let pair = Setup { policy: Some(policy("score.rhai")), ..Setup::default() }.start();
    let client = Client::default();
    for round in 0..40 {
        put(&pair, "wasm", &component(if round % 2 == 0 { "fixed-first" } else { "fixed-second" }));
        std::fs::remove_file(pair.policies.join("router.wasm")).unwrap();
        pair.gateway.wait_for_log("a policy serves");
    }
    assert!(ask(&client, &pair).await.header("x-kairos-policy").starts_with("score@"));
}
