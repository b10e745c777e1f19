//! Observers: what they learn of ended requests is read by routers, survives restarts, and is nobody's
//! trouble when they fail.

use kairos_tests::http::{Answer, Client, chat};
use kairos_tests::process::{Pair, Setup, metrics, run, said};
use kairos_tests::{component, policy};
use rusqlite::{Connection, OptionalExtension as _};
use serde_json::json;

use super::records::json_of;

/// The model that is the fastest by the catalogue.
const FAST: &str = "amazon.nova-micro-v1:0";

/// Requests after which a test gives up waiting.
const MANY: usize = 500;

/// An observer that calls itself so, and does this.
fn named(name: &str, observe: &str) -> Vec<u8> {
    let describe = format!("fn describe() {{ #{{ name: \"{name}\", kv: \"tested\", kv_schema: 1 }} }}");
    format!("{describe}\nfn observe(ctx, at, missed, event) {{ {observe} }}\n").into_bytes()
}

/// Counts events.
fn counts() -> Vec<u8> {
    named("counts", "let n = kv_get(\"n\"); kv_set(\"n\", `${if n == () { 1 } else { parse_int(n) + 1 }}`);")
}

/// Puts an observer in place and waits until it serves.
fn put(pair: &Pair, ending: &str, bytes: &[u8]) {
    pair.put(&format!("observer.{ending}"), bytes);
    pair.gateway.wait_for_log("a policy serves");
}

/// A request that is answered, whatever observers do.
async fn ask(client: &Client, pair: &Pair) -> Answer {
    let answer = client.post(&format!("{}/v1/chat/completions", pair.gateway.url), &[], &chat("auto", "hello")).await;
    assert_eq!((answer.status.as_u16(), answer.header("x-kairos-warnings")), (200, ""), "{}", answer.text());
    answer
}

/// A number of `/metrics`.
async fn number(pair: &Pair, series: &str) -> u64 {
    let text = metrics(pair).await;
    let value = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    value.unwrap_or_else(|| panic!("no {series} in {text}")).parse().unwrap()
}

/// Looks until the observer was told of so many events and what it learned is published.
async fn told(pair: &Pair, events: u64) {
    while number(pair, "kairos_observer_events_total").await < events
        || number(pair, "kairos_bound_used{bound=\"observer.queue\"}").await > 0
    {}
}

/// What a space holds under a key.
fn learned(pair: &Pair, space: &str, key: &str) -> Option<String> {
    let shown = json_of(pair, &["kv", "show", space]);
    let values = shown["values"].as_array()?;
    let found = values.iter().find(|one| one["key"] == key)?;
    Some(found["value"].as_str().unwrap().to_owned())
}

/// Has all calls of the model fail that the catalogue calls the fastest.
async fn fail(client: &Client, pair: &Pair) {
    let faults = json!([{"model": FAST, "fault": "InternalServerException", "times": 1_000}]);
    let answer = client.send("PUT", &format!("{}/sim/v1/faults", pair.simulator.url), &[], faults.to_string()).await;
    assert!(answer.status.is_success(), "{}", answer.text());
}

/// Asks until another model is tried first; gives the request's id.
async fn asks_until_it_moves_away(client: &Client, pair: &Pair) -> String {
    for _ in 0..MANY {
        let answer = ask(client, pair).await;
        let id = answer.header("x-kairos-request-id").to_owned();
        let record = client.get(&format!("{}/v1/requests/{id}", pair.gateway.url)).await.json();
        if record["decision"]["order"][0] != FAST {
            return id;
        }
    }
    panic!("after {MANY} requests the router still tries what fails");
}

/// What is learned moves the router, is the same after a restart, is explained after it has moved on, and can
/// be looked at and emptied.
async fn learns(observer: (&str, Vec<u8>), router: (&str, Vec<u8>)) {
    let mut pair = Setup::default().start();
    let client = Client::default();
    put(&pair, observer.0, &observer.1);
    pair.put_policy(router.0, &router.1);
    pair.gateway.wait_for_log("a policy serves");
    let answer = ask(&client, &pair).await;
    let by_catalogue = answer.header("x-kairos-request-id").to_owned();
    assert_eq!(answer.header("x-kairos-model"), FAST);
    assert!(answer.header("x-kairos-policy").starts_with("latency-router@"), "{:?}", answer.headers);
    fail(&client, &pair).await;
    let moved = asks_until_it_moves_away(&client, &pair).await;
    let record = client.get(&format!("{}/v1/requests/{moved}", pair.gateway.url)).await.json();
    assert_eq!(record["decision"]["reason_name"], "learned", "{record}");
    // After a restart it decides as before.
    pair.gateway.stop();
    let folder = pair.folder().to_owned();
    pair.gateway = Setup::default().gateway(&pair.simulator.url, &folder);
    let answer = ask(&client, &pair).await;
    assert_ne!(answer.header("x-kairos-model"), FAST);
    assert_eq!(answer.header("x-kairos-attempts"), "1");
    // Both are explained with what was read then, though another state is learned since.
    for id in [&by_catalogue, &moved] {
        let explained = json_of(&pair, &["explain", id]);
        assert_eq!(explained["again"]["verdict"], "identical", "{explained}");
        let read = explained["asked"]["learned"].as_array().unwrap();
        assert_eq!(read[0]["space"], "latency@1", "{explained}");
    }
    let (code, text) = said(&pair, &["explain", &moved]);
    assert!(code == 0 && text.contains(&format!("read         general/{FAST} of latency@1: ")), "{text}");
    looked_at_and_emptied(&client, &pair).await;
}

async fn looked_at_and_emptied(client: &Client, pair: &Pair) {
    let listed = json_of(pair, &["kv", "list"]);
    let spaces = listed["spaces"].as_array().unwrap();
    assert!(spaces.len() == 1 && spaces[0]["space"] == "latency@1", "{listed}");
    let (code, text) = said(pair, &["kv", "show", "latency"]);
    assert!(code == 0 && text.contains(&format!("  general/{FAST}  ")), "{text}");
    let (code, text) = said(pair, &["kv", "show", "latencies"]);
    assert!(code == 2 && text.contains("nothing was learned under \"latencies\"; `kairos kv list`"), "{code} {text}");
    let (code, text) = said(pair, &["kv", "clear", "latency@1", "--why", "a test wants it so"]);
    assert!(code == 0 && text.starts_with("emptied: latency@1 "), "{code} {text}");
    let (code, text) = said(pair, &["audit", "--last", "1"]);
    assert!(code == 0 && text.contains("clear observer: a test wants it so\n    latency@1: "), "{text}");
    let answer = ask(client, pair).await;
    let id = answer.header("x-kairos-request-id");
    let record = client.get(&format!("{}/v1/requests/{id}", pair.gateway.url)).await.json();
    assert_eq!(record["decision"]["reason_name"], "by-catalogue", "{record}");
    // Without the token nothing is emptied.
    let url = format!("{}/admin/v1/kv/latency@1/clear", pair.gateway.url);
    assert_eq!(client.post(&url, &[], &json!({})).await.status, 401);
}

#[tokio::test]
async fn scripts_learn_where_not_to_go() {
    let read = |name: &str| ("rhai", std::fs::read(policy(name)).unwrap());
    learns(read("latency-observer.rhai"), read("latency-router.rhai")).await;
}

#[tokio::test]
async fn components_learn_where_not_to_go() {
    learns(("wasm", component("latency-observer")), ("wasm", component("latency-router"))).await;
}

/// A policy that reads other keys than those that were read is not guessed at.
#[tokio::test]
async fn what_was_not_read_then_is_unknown_to_another_policy() {
    let pair = Setup { policy: Some(policy("latency-router.rhai")), ..Setup::default() }.start();
    let client = Client::default();
    put(&pair, "rhai", &std::fs::read(policy("latency-observer.rhai")).unwrap());
    let id = ask(&client, &pair).await.header("x-kairos-request-id").to_owned();
    assert_eq!(said(&pair, &["explain", &id]).0, 0);
    let reads = |key: &str| {
        format!(
            "fn describe() {{ #{{ kv: \"latency\", kv_schema: 1 }} }}\nfn route(ctx, features, models) {{ kv_get({key}); plan([0], 1) }}"
        )
    };
    let replay = |key: &str| {
        let file = pair.folder().join("next.rhai");
        std::fs::write(&file, reads(key)).unwrap();
        said(&pair, &["replay", "--policy", file.to_str().unwrap(), "--since", "1h"])
    };
    let (code, text) = replay("\"general/\" + ctx.model_ids[0]");
    assert!(code == 0 && !text.contains("not replayed"), "{text}");
    let (code, text) = replay("\"another\"");
    let why = "1 request not replayed: the policy reads what was learned, and not all of it is kept: it was not read when the request was decided";
    assert!(code == 1 && text.contains(why), "{text}");
}

/// What is long is kept once, however many requests read it; of what is more than is kept, explain says so.
#[tokio::test]
async fn what_is_long_is_kept_once_and_what_is_too_much_is_told() {
    let writes = named("writes", "let v = \"\"; v.pad(1000, 'v'); for n in 0..20 { kv_set(`k${n}`, v + n); }");
    let reads = r#"fn describe() { #{ kv: "tested", kv_schema: 1 } }
        fn route(ctx, features, models) { for n in 0..parse_int(ctx.tags.keys) { kv_get("k" + n); } plan([0], 1) }"#;
    let mut pair = Setup::default().start();
    pair.put_policy("rhai", reads.replace("ctx.tags.keys", "ctx.tags.get(\"keys\") ?? \"0\"").as_bytes());
    pair.gateway.wait_for_log("a policy serves");
    let client = Client::default();
    put(&pair, "rhai", &writes);
    let url = format!("{}/v1/chat/completions", pair.gateway.url);
    let mut ids = Vec::new();
    for keys in ["0", "10", "10", "20"] {
        let answer = client.post(&url, &[("x-kairos-tags", &format!("keys={keys}"))], &chat("auto", "hello")).await;
        ids.push(answer.header("x-kairos-request-id").to_owned());
        told(&pair, ids.len() as u64).await;
    }
    pair.gateway.stop();
    for id in &ids[..3] {
        assert_eq!(json_of(&pair, &["explain", id])["again"]["verdict"], "identical");
    }
    let explained = json_of(&pair, &["explain", &ids[3]]);
    let why =
        "the policy reads what was learned, and not all of it is kept: more was read than is kept of a request, 16 KiB";
    assert_eq!(explained["again"]["why"], why, "{explained}");
    let connection = Connection::open(pair.folder().join("data/records.sqlite")).unwrap();
    let long = "SELECT count(*) FROM snapshot WHERE length(body) BETWEEN 2000 AND 2100";
    assert_eq!(connection.query_row(long, [], |row| row.get::<_, i64>(0)).unwrap(), 16, "of 20, that fit one record");
}

/// What is on disk before a kill is there after it, and the gateway serves on.
#[tokio::test]
async fn a_kill_loses_no_more_than_the_last_moment() {
    let mut pair = Setup::default().start();
    let client = Client::default();
    put(&pair, "rhai", &counts());
    for _ in 0..5 {
        ask(&client, &pair).await;
    }
    let file = pair.folder().join("data/learned.sqlite");
    let written = || -> Option<u64> {
        let connection = Connection::open(&file).unwrap();
        let found =
            connection.query_row("SELECT value FROM learned WHERE key = 'n'", [], |row| row.get::<_, Vec<u8>>(0));
        found.optional().unwrap().map(|value| String::from_utf8(value).unwrap().parse().unwrap())
    };
    // It comes to the disk by itself.
    while written() != Some(5) {}
    ask(&client, &pair).await;
    pair.gateway.kill();
    let folder = pair.folder().to_owned();
    pair.gateway = Setup::default().gateway(&pair.simulator.url, &folder);
    let found: u64 = learned(&pair, "tested", "n").unwrap().parse().unwrap();
    assert!((5..=6).contains(&found), "{found}");
    ask(&client, &pair).await;
    told(&pair, 1).await;
    assert_eq!(learned(&pair, "tested", "n"), Some((found + 1).to_string()));
    // A file that is no database begins anew, and stops nobody.
    pair.gateway.stop();
    std::fs::write(
        &file,
        "not what SQLite writes, and longer than its header of a hundred bytes is; so it is not taken for an empty one",
    )
    .unwrap();
    pair.gateway = Setup::default().gateway(&pair.simulator.url, &folder);
    ask(&client, &pair).await;
    told(&pair, 1).await;
    assert_eq!(learned(&pair, "tested", "n"), Some("1".to_owned()));
    assert!(folder.join("data/learned.sqlite.aside").exists());
}

/// A script that behaves on trial only.
fn bad(observe: &str) -> Vec<u8> {
    named("bad", &format!("if \"team\" in ctx.tags {{ return; }} {observe}"))
}

/// Observers that fail whenever they are told of something: no request notices, nothing of it is learned, and
/// after three faults the one before it is told.
async fn fails_and_gives_way(ending: &str, bytes: Vec<u8>, kind: &str) {
    let pair = Pair::start();
    let client = Client::default();
    put(&pair, "rhai", &counts());
    put(&pair, ending, &bytes);
    for _ in 0..3 {
        let answer = ask(&client, &pair).await;
        assert!(answer.header("x-kairos-policy").starts_with("task@"));
    }
    assert!(pair.gateway.wait_for_log("quarantined").contains("\"slot\":\"observer\""));
    ask(&client, &pair).await;
    told(&pair, 4).await;
    assert_eq!(learned(&pair, "tested", "n"), Some("1".to_owned()), "the one before counts again");
    let listed = json_of(&pair, &["kv", "list"]);
    assert_eq!(listed["spaces"].as_array().map(Vec::len), Some(1), "a call that fails writes nothing: {listed}");
    assert_eq!(listed["spaces"][0]["keys"], 1, "{listed}");
    let metrics = metrics(&pair).await;
    for line in [
        &format!("kairos_policy_faults_total{{slot=\"observer\",kind=\"{kind}\"}} 3\n"),
        "kairos_policy_quarantined_total{slot=\"observer\"} 1\n",
        "kairos_policy_quarantined_total{slot=\"router\"} 0\n",
        "kairos_kv_keys{space=\"tested@1\"} 1\n",
    ] {
        assert!(metrics.contains(line), "{line}{metrics}");
    }
}

failing! {
    fails_and_gives_way:
    a_component_that_loops: "wasm", component("bad-observer-loop"), "deadline";
    a_component_that_writes_and_panics: "wasm", component("bad-observer-trap"), "panic";
    a_component_that_floods: "wasm", component("bad-observer-flood"), "trap";
    a_component_with_a_huge_value: "wasm", component("bad-observer-huge"), "trap";
    a_script_that_loops: "rhai", bad("kv_set(\"before\", \"the loop\"); loop { }"), "deadline";
    a_script_that_writes_and_throws: "rhai", bad("kv_set(\"before\", \"the end\"); throw \"it is over\""), "error";
    a_script_that_floods: "rhai", bad("for n in 0..65 { kv_set(`key ${n}`, \"flood\"); }"), "error";
    a_script_that_deletes_without_end: "rhai", bad("loop { kv_delete(\"n\"); }"), "error";
    a_script_with_an_empty_key: "rhai", bad("kv_set(\"\", \"x\");"), "error";
    a_script_with_a_key_that_is_too_long: "rhai", bad("let k = \"\"; k.pad(257, 'k'); kv_set(k, \"x\");"), "error";
    a_script_that_reads_without_end: "rhai", bad("for n in 0..65 { kv_get(`key ${n}`); }"), "error";
}

/// An observer that remembers what it does not write is found out by repeating some calls on the same state.
#[tokio::test]
async fn an_observer_with_a_memory_is_found_out() {
    let pair = Pair::start();
    let client = Client::default();
    put(&pair, "wasm", &component("bad-observer-state"));
    for asked in 0.. {
        ask(&client, &pair).await;
        if metrics(&pair).await.contains("kairos_policy_quarantined_total{slot=\"observer\"} 1\n") {
            break;
        }
        assert!(asked < MANY, "it was not found out");
    }
    let line = pair.gateway.wait_for_log("quarantined");
    assert!(line.contains("impure") && line.contains("\"slot\":\"observer\""), "{line}");
}

/// More events than may wait are left out and counted, the observer is told how many, and no request waits.
#[tokio::test]
async fn what_is_too_much_is_left_out_and_counted() {
    let config = "[observer]\nqueue = 1\n";
    let pair = Setup { config, policy: Some(policy("task.rhai")), ..Setup::default() }.start();
    let client = Client::default();
    let slow = named(
        "slow",
        "for i in 0..50000 { } let m = kv_get(\"missed\"); kv_set(\"missed\", `${if m == () { missed } else { parse_int(m) + missed }}`);",
    );
    put(&pair, "rhai", &slow);
    const REQUESTS: u64 = 60;
    for _ in 0..REQUESTS / 20 {
        let together = (0..20).map(|_| ask(&client, &pair));
        futures_util::future::join_all(together).await;
    }
    let refused = "kairos_bound_refused_total{bound=\"observer.queue\"}";
    while number(&pair, "kairos_observer_events_total").await + number(&pair, refused).await < REQUESTS {}
    let missed = number(&pair, refused).await;
    assert!(missed > 0);
    // The next call is told of what was missed last.
    ask(&client, &pair).await;
    told(&pair, REQUESTS - missed + 1).await;
    assert_eq!(learned(&pair, "tested", "missed"), Some(missed.to_string()));
}

/// The first rating of a metric is told, with the request that it is about; nothing else of it.
#[tokio::test]
async fn ratings_are_told_once() {
    let config = "[observer]\nremembered = 1\n";
    let pair = Setup { config, policy: Some(policy("task.rhai")), ..Setup::default() }.start();
    let client = Client::default();
    let notes = named(
        "notes",
        "if event.kind == \"rated\" { kv_set(event.metric, `${event.value} ${event.attempts.len} ${event.ending} ${missed}`); }",
    );
    put(&pair, "rhai", &notes);
    let forgotten = ask(&client, &pair).await.header("x-kairos-request-id").to_owned();
    let id = ask(&client, &pair).await.header("x-kairos-request-id").to_owned();
    let rate = |id: &str, metric: &str, value: f64| {
        let body = json!({"request_id": id, "metric": metric, "value": value});
        let (client, url) = (client.clone(), format!("{}/v1/feedback", pair.gateway.url));
        async move { client.post(&url, &[], &body).await.json() }
    };
    assert_eq!(rate(&forgotten, "quality", 0.1).await["status"], "recorded");
    assert_eq!(rate(&id, "quality", 0.5).await["status"], "recorded");
    assert_eq!(rate(&id, "quality", 1.0).await["status"], "replaced");
    assert_eq!(rate(&id, "speed", 0.25).await["status"], "recorded");
    told(&pair, 4).await;
    assert_eq!(learned(&pair, "tested", "quality"), Some("0.5 1 answered 1".to_owned()));
    assert_eq!(learned(&pair, "tested", "speed"), Some("0.25 1 answered 0".to_owned()));
}

/// A space that is full takes nothing more, says so, and is counted.
#[tokio::test]
async fn a_full_space_takes_no_more() {
    let config = "[policies.kv]\nkeys = 2\n";
    let pair = Setup { config, policy: Some(policy("task.rhai")), ..Setup::default() }.start();
    let client = Client::default();
    let fills = named(
        "fills",
        "if \"team\" in ctx.tags { return; } let got = \"\"; for key in [\"a\", \"b\", \"c\"] { got += kv_set(key, \"v\"); } kv_delete(\"b\"); got += kv_set(\"got\", got);",
    );
    put(&pair, "rhai", &fills);
    ask(&client, &pair).await;
    told(&pair, 1).await;
    assert_eq!(learned(&pair, "tested", "got"), Some("truetruefalse".to_owned()));
    assert_eq!(learned(&pair, "tested", "b"), None);
    assert_eq!(number(&pair, "kairos_plugin_dropped_total{what=\"kv\"}").await, 1);
}

/// What only an observer may, and what it may not, is told when a policy is looked at.
#[test]
fn what_is_not_an_observers_and_what_is_nobody_elses_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let mut told = String::new();
    for (file, text) in [
        ("router.rhai", "fn route(ctx, features, models) { kv_set(\"a\", \"b\"); plan([0], 1) }"),
        ("observer.rhai", "fn observe(ctx, at, missed, event) { ctx.prompt }"),
        ("unnamed.rhai", "fn observe(ctx, at, missed, event) { kv_set(\"a\", \"b\") }"),
        ("observer.rhai", "fn observe(ctx, event) { }"),
        ("observer.rhai", "fn describe() { #{ kv: \"A b\", kv_schema: 1 } }\nfn observe(ctx, at, missed, event) { }"),
        ("observer.rhai", "fn describe() { #{ kv_schema: -1 } }\nfn observe(ctx, at, missed, event) { }"),
        ("observer.rhai", "fn describe() { #{ hold_back: 1 } }\nfn observe(ctx, at, missed, event) { }"),
    ] {
        let path = folder.path().join(file);
        std::fs::write(&path, text).unwrap();
        let output = run(&["policy", "check", path.to_str().unwrap()]);
        let text = String::from_utf8_lossy(&output.stdout).replace(&format!("{}/", folder.path().display()), "");
        told.push_str(&text);
    }
    insta::assert_snapshot!(told);
}

/// A wrong test of an observer is told with its place; one that expects something else, with what is written.
#[test]
fn wrong_tests_are_told_with_their_place() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("x.rhai");
    std::fs::write(&script, counts()).unwrap();
    let head = "as_of = \"2026-11-23\"\nregion = \"us-east-1\"\nmodels = [\"nova-lite\"]\n[[test]]\nname = \"x\"\n";
    let mut told = String::new();
    for says in [
        "expect = { writes = {} }",
        "event = {}\nexpect = { writes = { n = 1 } }",
        "event = {}\nexpect = { writes = { n = true } }",
        "event = { metric = \"x\" }\nexpect = { writes = {} }",
        "event = { attempts = [{ model = \"nova-pro\" }] }\nexpect = { writes = {} }",
        "event = { attempts = [{ duration_ms = 1 }] }\nexpect = { writes = {} }",
        "event = { ending = \"answerd\" }\nexpect = { writes = {} }",
        "event = {}\nexpect = { writes = { n = \"2\", m = false } }",
        "event = {}\nexpect = { writes = {} }",
        "event = {}\nkv = { n = \"1\" }\nexpect = { writes = { n = \"2\" } }",
    ] {
        std::fs::write(folder.path().join("x.test.toml"), format!("{head}{says}\n")).unwrap();
        let output = run(&["policy", "test", script.to_str().unwrap()]);
        told.push_str(&String::from_utf8_lossy(&output.stdout).replace(&format!("{}/", folder.path().display()), ""));
    }
    insta::assert_snapshot!(told);
}

/// With nothing in the slot nothing is gathered, and what was is let go.
#[tokio::test]
async fn an_empty_slot_holds_nothing() {
    let pair = Pair::start();
    let client = Client::default();
    put(&pair, "rhai", &counts());
    ask(&client, &pair).await;
    told(&pair, 1).await;
    assert_eq!(number(&pair, "kairos_bound_used{bound=\"observer.remembered\"}").await, 1);
    std::fs::remove_file(pair.policies.join("observer.rhai")).unwrap();
    pair.gateway.wait_for_log("the policy's file was removed");
    ask(&client, &pair).await;
    assert_eq!(number(&pair, "kairos_bound_used{bound=\"observer.remembered\"}").await, 0);
    assert_eq!(number(&pair, "kairos_observer_events_total").await, 1);
    let (code, text) = said(&pair, &["policy", "list"]);
    assert!(code == 0 && text.contains("\nobserver\n  active    no-observer@"), "{text}");
    // What was learned stays.
    assert_eq!(learned(&pair, "tested", "n"), Some("1".to_owned()));
}
