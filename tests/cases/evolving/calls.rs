//! Whom evaluators call: services that are listed, and models through a gateway that bills them.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use kairos_tests::component;
use kairos_tests::process::{Pair, Setup};
use serde_json::{Value, json};

use super::super::records::json_of;
use super::{put, says};

/// A service that answers every request by 200, and counts them.
fn service() -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (port, count) = (listener.local_addr().unwrap().port(), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&count);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            counted.fetch_add(1, Ordering::SeqCst);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok");
        }
    });
    (port, count)
}

/// Scores one case whose evaluator calls this address until it may not; gives its score's line, and the last, which
/// says how the run stands with its bounds.
fn run_of(url: &str, http: &str) -> (Value, Value) {
    let folder = tempfile::tempdir().unwrap();
    let config = format!("[policies]\ngrants = [\"log\", \"http\"]\n[policies.http]\n{http}\n");
    let config = put(folder.path(), "kairos.toml", config);
    let data = format!("{{\"id\": \"a\", \"url\": {url:?}, \"outcomes\": {{\"m\": {{}}}}}}\n");
    let data = put(folder.path(), "cases.jsonl", data);
    let path = put(folder.path(), "evaluator.wasm", component("bad-evaluator-caller"));
    let arguments = ["policy", "evaluate", &path, "--data", &data, "--config", &config, "--json"];
    let (code, text) = says(folder.path(), &arguments);
    assert_eq!(code, 0, "{text}");
    let line = |text: &str| serde_json::from_str(text).unwrap();
    (line(text.lines().next().unwrap()), line(text.lines().last().unwrap()))
}

fn calls(url: &str, http: &str) -> Value {
    run_of(url, http).0
}

/// A host that is listed as local is called, as often as may be; one that is not listed, or is near and listed
/// as if it were not, never is.
#[test]
fn only_what_is_listed_is_called() {
    let (port, count) = service();
    let url = format!("http://127.0.0.1:{port}/");
    let came = calls(&url, &format!("local_hosts = [\"{url}\"]").replace("/\"]", "\"]"));
    assert_eq!(came["metrics"]["calls"]["value"], 8, "{came}");
    assert_eq!(came["remark"], "over-limit: more than 8 requests in one call ([policies.http] calls)");
    assert_eq!(count.load(Ordering::SeqCst), 8);
    let host = url.trim_end_matches('/');
    for (url, http, says) in [
        (url.clone(), String::new(), "is not listed; to allow it, set `hosts = [".to_owned()),
        (url.clone(), format!("hosts = [\"{host}\"]"), "on this machine or in a private network".to_owned()),
        (
            format!("http://localhost:{port}/"),
            format!("hosts = [\"http://localhost:{port}\"]"),
            "localhost is at ".to_owned(),
        ),
        (
            "http://169.254.169.254/latest/meta-data/".to_owned(),
            "local_hosts = [\"http://169.254.169.254\"]".to_owned(),
            "an address that no policy may call".to_owned(),
        ),
        (
            "http://[::ffff:169.254.169.254]/".to_owned(),
            "hosts = [\"http://[::ffff:169.254.169.254]\"]".to_owned(),
            "an address that no policy may call".to_owned(),
        ),
    ] {
        let came = calls(&url, &http);
        let remark = came["remark"].as_str().unwrap();
        assert!(remark.starts_with("denied: ") && remark.contains(&says), "{remark}");
    }
    assert_eq!(count.load(Ordering::SeqCst), 8, "nobody else was called");
    // A run has bounds of its own, and says how it stands with them.
    let local = format!("local_hosts = [\"{host}\"]");
    let bounds = |more: &str| run_of(&url, &format!("{local}\n{more}")).1["bounds"].clone();
    let runs = bounds("run_calls = 3")["policies.http.run_calls"].clone();
    assert_eq!(runs, json!({"limit": "3", "used": "3", "refused": 1}));
    let bytes = bounds("bytes = 3")["policies.http.bytes"].clone();
    assert_eq!((&bytes["limit"], &bytes["refused"]), (&json!("3"), &json!(1)), "{bytes}");
}

/// A judge that calls a model: through the gateway, whose ledger has each call; within what the run may spend.
#[tokio::test]
async fn models_are_called_through_the_gateway_and_within_what_a_run_may_spend() {
    let pair = Pair::start();
    let folder = tempfile::tempdir().unwrap();
    let judge = "fn score(ctx, item, outcome) {\n    let s = score();\n    let judged = model_call(#{ model: \"nova-lite\", prompt: `Judge ${outcome.text_bytes} bytes`, max_output_tokens: 16 });\n    if \"error\" in judged { s.metric(\"refused\", \"count\", 1); s.remark(judged.error + \": \" + judged.message); return s; }\n    s.metric(\"cost\", \"cost\", judged.cost);\n    s.metric(\"bytes\", \"count\", judged.text.len);\n    s\n}\n";
    let path = put(folder.path(), "evaluator.rhai", judge);
    let cases: String = (0..3)
        .map(|place| format!("{{\"id\": \"c{place}\", \"outcomes\": {{\"m\": {{\"text\": \"x\"}}}}}}\n"))
        .collect();
    let data = put(folder.path(), "cases.jsonl", cases);
    let ran = |config: &str, gateway: Option<&str>| {
        let config = put(folder.path(), "kairos.toml", format!("[policies]\ngrants = [\"model\"]\n{config}"));
        let mut arguments = vec!["policy", "evaluate", &path, "--data", &data, "--config", &config, "--json"];
        arguments.extend(gateway.into_iter().flat_map(|url| ["--gateway", url]));
        let (code, text) = says(folder.path(), &arguments);
        assert_eq!(code, 0, "{text}");
        text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).collect::<Vec<_>>()
    };
    let url = pair.gateway.url.clone();
    let lines = ran("", Some(&url));
    let cost: u64 = lines[..3].iter().map(|line| line["metrics"]["cost"]["value"].as_u64().unwrap()).sum();
    assert!(cost > 0, "{lines:?}");
    let spent = lines[3]["spent"].as_str().unwrap();
    let dollars = kairos_pipeline::money::dollars(cost.into());
    assert_eq!(spent, format!("3 calls of models cost {dollars} USD"));
    // The last rows follow their answers.
    let ledger = loop {
        let shown = json_of(&pair, &["ledger", "show"]);
        if shown["attempts"] == 3 {
            break shown;
        }
    };
    assert!(ledger.to_string().contains(&dollars), "{ledger}");
    // A run that may spend next to nothing calls nobody, and says so.
    let lines = ran("[policies.model]\nrun_usd = \"0.00000001\"\n", Some(&url));
    for line in &lines[..3] {
        let remark = line["remark"].as_str().unwrap();
        assert!(remark.starts_with("over-limit: the call may cost ") && remark.contains("run_usd"), "{remark}");
    }
    assert_eq!(lines[3]["spent"], Value::Null);
    let bounds = &lines[3]["bounds"];
    assert_eq!(bounds["policies.model.run_usd"], json!({"limit": "0.00000001", "used": "0", "refused": 3}), "{bounds}");
    let lines = ran("[policies.model]\nrun_calls = 1\n", Some(&url));
    assert!(lines[1]["remark"].as_str().unwrap().contains("run_calls"), "{lines:?}");
    let runs = &lines[3]["bounds"]["policies.model.run_calls"];
    assert_eq!(*runs, json!({"limit": "1", "used": "1", "refused": 2}), "{lines:?}");
    // Without a gateway, and with one that is not there.
    assert!(ran("", None)[0]["remark"].as_str().unwrap().starts_with("unavailable: no gateway was named"));
    let gone = ran("", Some("http://127.0.0.1:1"));
    assert!(gone[0]["remark"].as_str().unwrap().starts_with("unavailable: no gateway answers at "), "{gone:?}");
    assert!(gone[3]["spent"].as_str().unwrap().ends_with("cost 0 USD"), "what was not sent cost nothing");
}

/// A gateway that wants a key refuses who has none, and that costs nothing; one who has it is served.
#[tokio::test]
async fn a_gateway_is_called_with_a_key() {
    let config = "[auth]\nbearer_key = \"0123456789abcdef\"\n";
    let pair = Setup { config, ..Setup::default() }.start();
    let folder = tempfile::tempdir().unwrap();
    let judge = "fn score(ctx, item, outcome) { let s = score(); let j = model_call(#{ model: \"nova-lite\", prompt: \"x\", max_output_tokens: 4 }); s.metric(\"ok\", \"share\", if \"error\" in j { 0 } else { 1 }); if \"error\" in j { s.remark(j.error + \": \" + j.message); } s }";
    let path = put(folder.path(), "evaluator.rhai", judge);
    let data = put(folder.path(), "cases.jsonl", "{\"outcomes\": {\"m\": {}}}\n");
    let config = put(folder.path(), "kairos.toml", "[policies]\ngrants = [\"model\"]\n");
    let url = pair.gateway.url.clone();
    let arguments = ["policy", "evaluate", &path, "--data", &data, "--config", &config, "--json", "--gateway", &url];
    let (_, text) = says(folder.path(), &arguments);
    assert!(text.contains("refused: the gateway answers 401") && text.contains("cost 0 USD"), "{text}");
    let (_, text) = says(folder.path(), &[&arguments[..], &["--key", "0123456789abcdef"]].concat());
    assert!(text.contains("\"ok\":{\"measure\":\"share\",\"value\":1.0}"), "{text}");
    assert!(!text.contains("0123456789abcdef"), "a key is never said");
}
