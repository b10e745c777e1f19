//! Policies that loop, recurse, panic, take memory without end or answer nonsense: the request is
//! answered by the native default, the policy is quarantined, and the one before it serves.

use kairos_tests::http::{Answer, Client, chat};
use kairos_tests::process::{Pair, Setup};
use kairos_tests::{guest, policy};

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

async fn fails_and_is_replaced(ending: &str, bytes: &[u8], kind: &str) {
    let pair = Setup { policy: Some(policy("score.rhai")), ..Setup::default() }.start();
    let client = Client::default();
    put(&pair, ending, bytes);
    for _ in 0..3 {
        let answer = ask(&client, &pair).await;
        assert!(answer.header("x-kairos-policy").starts_with("native-task@"), "{:?}", answer.headers);
        assert!(answer.header("x-kairos-warnings").contains(kind), "{:?}", answer.headers);
    }
    pair.gateway.wait_for_log("quarantined");
    let answer = ask(&client, &pair).await;
    assert!(answer.header("x-kairos-policy").starts_with("score@"), "{:?}", answer.headers);
    let metrics = client.get(&format!("{}/metrics", pair.gateway.url)).await.text();
    assert!(metrics.contains(&format!("kairos_policy_faults_total{{kind=\"{kind}\"}} 3")), "{metrics}");
    assert!(metrics.contains("kairos_policy_quarantined_total 1"), "{metrics}");
    // The very same file is not loaded again; a changed one is.
    pair.put_policy(ending, bytes);
    pair.gateway.wait_for_log("this very file was quarantined");
    assert!(ask(&client, &pair).await.header("x-kairos-policy").starts_with("score@"));
    put(&pair, "rhai", b"fn route(ctx, features, models) { plan([0], 9) }");
    assert!(ask(&client, &pair).await.header("x-kairos-policy").starts_with("router@"));
}

macro_rules! hostile {
    ($($name:ident: $ending:literal, $bytes:expr, $kind:literal;)*) => {
        $(#[tokio::test]
        async fn $name() {
            fails_and_is_replaced($ending, &$bytes, $kind).await;
        })*
    };
}

fn component(name: &str) -> Vec<u8> {
    std::fs::read(guest(name)).unwrap()
}

/// A script that behaves on trial only.
fn script(bad: &str) -> Vec<u8> {
    format!("{bad}\nfn route(ctx, features, models) {{ if \"team\" in ctx.tags {{ plan([0], 1) }} else {{ bad(0, models) }} }}").into_bytes()
}

hostile! {
    a_component_that_loops: "wasm", component("bad-loop"), "deadline";
    a_component_that_recurses: "wasm", component("bad-recursion"), "stack_overflow";
    a_component_that_panics: "wasm", component("bad-panic"), "panic";
    a_component_that_takes_memory: "wasm", component("bad-memory"), "memory";
    a_component_that_answers_nonsense: "wasm", component("bad-plan"), "invalid_plan";
    a_script_that_loops: "rhai", script("fn bad(n, m) { loop { n += 1; } }"), "deadline";
    a_script_that_recurses: "rhai", script("fn bad(n, m) { bad(n + 1, m) }"), "stack_overflow";
    a_script_that_throws: "rhai", script("fn bad(n, m) { throw \"no model is good enough\" }"), "error";
    a_script_that_takes_memory: "rhai", script("fn bad(n, m) { let text = \"x\"; loop { text += text; } }"), "memory";
    a_script_that_answers_nonsense: "rhai", script("fn bad(n, m) { plan([m.len], 1) }"), "invalid_plan";
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
    let faults = metrics.lines().find_map(|line| line.strip_prefix("kairos_policy_faults_total{kind=\"deadline\"} "));
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
