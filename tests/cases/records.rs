//! What is kept on disk of requests: explained after restarts and swaps, without the words of callers,
//! and what callers thought of the answers.

use kairos_tests::http::{Answer, Client, chat};
use kairos_tests::process::{Pair, Setup, kairos, on_data, said};
use kairos_tests::{count, guest};
use serde_json::{Value, json};

/// What a command prints with `--json`, whatever its exit code.
pub(super) fn json_of(pair: &Pair, arguments: &[&str]) -> Value {
    let output = on_data(pair, &[arguments, &["--json"]].concat());
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

/// Asks for a model; the id of the request, and the answer.
pub(super) async fn ask(client: &Client, pair: &Pair, headers: &[(&str, &str)], prompt: &str) -> (String, Answer) {
    let url = format!("{}/v1/chat/completions", pair.gateway.url);
    let answer = client.post(&url, headers, &chat("auto", prompt)).await;
    (answer.header("x-kairos-request-id").to_owned(), answer)
}

/// Decides, refuses, declines, draws and fails, as the caller's tags say.
const MOODY: &str = r#"fn describe() { #{ name: "moody", reasons: #{ "1": "drawn", "2": "by-price", "9": "after-hours" } } }
fn route(ctx, features, models) {
    switch ctx.tags.mood {
        "drawn" => plan([#{model: 0, probability: 0.1}, #{model: 1, probability: 0.7}, #{model: 2, probability: 0.2}], 1),
        "cheap" => { let p = plan((0.0 - models.worst_case_cost).ranked(), 2); p.max_output_tokens = 300; p }
        "poor" => { let p = plan([0], 2); p.max_cost = 1; p }
        "shut" => refuse(9),
        "nothing" => decline(),
        "broken" => plan([features.tsak], 1),
        "endless" => { loop { } }
        "curious" => plan([if ctx.prompt.len > 5 { 0 } else { 1 }], 1),
        _ => plan([0], ctx.config.reason),
    }
}
"#;

/// The policy's code of its tests' moods, with what they come to.
const MOODS: [(&str, u16); 7] =
    [("drawn", 200), ("cheap", 200), ("poor", 403), ("shut", 403), ("nothing", 200), ("broken", 200), ("calm", 200)];

#[tokio::test]
async fn decisions_are_explained() {
    let config = "[policies]\nfaults = 1000\ngrants = [\"log\", \"content\"]\n[policies.config.router]\nreason = 2\n";
    let setup = Setup { config, ..Setup::default() };
    let mut pair = setup.start();
    pair.put_policy("rhai", MOODY.as_bytes());
    pair.gateway.wait_for_log("moody@");
    let client = Client::default();
    let mut ids = Vec::new();
    for (mood, status) in MOODS.into_iter().chain([("endless", 200), ("curious", 200)]) {
        let (id, answer) = ask(&client, &pair, &[("x-kairos-tags", &format!("mood={mood}"))], "How are you?").await;
        assert_eq!(answer.status.as_u16(), status, "{mood}: {}", answer.text());
        ids.push((mood, id));
    }
    // Asked at once: the record comes a moment after the answer.
    let (code, text) = said(&pair, &["explain", &ids[0].1]);
    assert_eq!((code, text.lines().last()), (0, Some("decided again: identical")), "{text}");
    // All that has ended is on disk then.
    pair.gateway.stop();
    for (mood, id) in &ids {
        let explained = json_of(&pair, &["explain", id]);
        let again = &explained["again"];
        let why = again["why"].as_str().unwrap_or_default();
        match *mood {
            "endless" => {
                assert!(why.contains("did not decide (deadline), and that is no matter of its input"), "{again}");
            }
            "curious" => assert!(why.contains("reads what was said, and that is not kept"), "{again}"),
            _ => assert_eq!(again["verdict"], "identical", "{mood}: {again}"),
        }
        if *mood == "cheap" {
            assert_eq!(explained["asked"]["given"]["plan"]["max_output_tokens"], 300);
            assert_eq!(explained["asked"]["loaded_with"]["config"]["reason"], 2);
        }
    }
    let (code, all) = said(&pair, &["explain", "--all"]);
    assert_eq!(code, 1);
    assert!(all.starts_with("9 decisions: 7 identical, 0 differ\n"), "{all}");
    // A decision becomes a test of its policy, which passes it; another fails it.
    std::fs::write(pair.folder().join("moody.rhai"), MOODY).unwrap();
    for (mood, id) in ids.iter().filter(|(mood, _)| ["drawn", "cheap", "poor", "shut", "calm"].contains(mood)) {
        let (code, test) = said(&pair, &["explain", id, "--as-test"]);
        assert_eq!(code, 0, "{test}");
        std::fs::write(pair.folder().join("moody.test.toml"), &test).unwrap();
        let mut command = kairos();
        let tested = command.args(["policy", "test", "moody.rhai"]).current_dir(pair.folder()).output().unwrap();
        assert!(tested.status.success(), "{mood}: {tested:?}\n{test}");
        let (before, expect) = test.split_once(".expect]").unwrap();
        let other = expect.replace("reason = ", "reason = 7").replace("refused = ", "refused = 7");
        std::fs::write(pair.folder().join("moody.test.toml"), format!("{before}.expect]{other}")).unwrap();
        let tested = command.output().unwrap();
        assert!(!tested.status.success(), "{mood}: {tested:?}");
    }
    // A few digits are enough, and what is not there is told.
    let (code, text) = said(&pair, &["explain", &ids[1].1[..18]]);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("decided      by moody@") && text.contains(", reason 2 \"by-price\"\n"), "{text}");
    let (code, text) = said(&pair, &["explain", "0193f3a1-7c5e-7b62-8f5d-2a4f6f0c1d2e"]);
    assert!(
        code == 2 && text.contains("no record of the request") && text.contains("the oldest that is kept is of"),
        "{text}"
    );
    let (code, text) = said(&pair, &["explain", "yesterday"]);
    assert!(code == 2 && text.contains("x-kairos-request-id has it"), "{text}");
}

/// A policy whose answers change although its input does not is found out when it is asked again, if it
/// was not before.
#[tokio::test]
async fn a_policy_that_keeps_state_is_told_when_it_is_asked_again() {
    let setup =
        Setup { config: "[policies]\npurity_sample = 100000\n", policy: Some(guest("bad-state")), ..Setup::default() };
    let mut pair = setup.start();
    let client = Client::default();
    for _ in 0..150 {
        ask(&client, &pair, &[], "hello").await;
    }
    pair.gateway.stop();
    let all = json_of(&pair, &["explain", "--all"]);
    let differ = all["differ"].as_array().unwrap();
    assert!(!differ.is_empty() && all["identical"].as_u64().unwrap() > 0, "{all}");
    assert!(differ[0]["what"].as_str().unwrap().contains("reason 0"), "{all}");
    let (code, text) = said(&pair, &["explain", differ[0]["request_id"].as_str().unwrap()]);
    assert!(
        code == 1 && text.contains("decided again: DIFFERS: then models 0 (1), reason 1, now models 0 (1), reason 0"),
        "{text}"
    );
}

#[tokio::test]
async fn words_of_callers_are_kept_only_when_they_are_to_be() {
    let said = "the duck-billed platypus, billed to platypus@example.com";
    let not_kept = "that is not kept (`content`";
    let redacted = "that is kept redacted only (`content`";
    for (content, has_words, has_address, why) in
        [("none", false, false, Some(not_kept)), ("redacted", true, false, Some(redacted)), ("full", true, true, None)]
    {
        // It throws what it reads: its message goes into the log, and nowhere else.
        let config = format!("[policies]\ngrants = [\"content\"]\n[records]\ncontent = \"{content}\"\n");
        let setup = Setup { config: &config, ..Setup::default() };
        let mut pair = setup.start();
        pair.put_policy("rhai", b"fn route(ctx, features, models) { if ctx.tags.act == \"throw\" { throw ctx.prompt } if ctx.prompt.contains(\"duck\") { plan([1], 1) } else { plan([0], 1) } }");
        pair.gateway.wait_for_log("a policy serves");
        let client = Client::default();
        let (thrown, _) = ask(&client, &pair, &[("x-kairos-tags", "act=throw")], said).await;
        let (read, _) = ask(&client, &pair, &[], said).await;
        pair.gateway.stop();
        let mut bytes = Vec::new();
        for file in std::fs::read_dir(pair.folder().join("data")).unwrap() {
            let path = file.unwrap().path();
            if path.is_file() {
                bytes.extend(std::fs::read(path).unwrap());
            }
        }
        let holds = |text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
        assert_eq!((holds("duck-billed"), holds("platypus@example")), (has_words, has_address), "{content}");
        for id in [thrown, read] {
            let again = json_of(&pair, &["explain", &id])["again"].clone();
            assert_eq!(again["verdict"], if why.is_none() { "identical" } else { "not_executed" }, "{again}");
            assert!(why.is_none_or(|why| again.to_string().contains(why)), "{again}");
        }
    }
}

#[tokio::test]
async fn records_outlive_the_memory_and_the_process() {
    let setup = Setup { config: "[limits]\nrecords = 1\n", ..Setup::default() };
    let mut pair = setup.start();
    let client = Client::default();
    let (first, _) = ask(&client, &pair, &[], "hello").await;
    let (second, _) = ask(&client, &pair, &[], "hello").await;
    let before = client.get(&format!("{}/v1/requests/{second}", pair.gateway.url)).await.json();
    // Whoever rates an answer is answered once what came before is on disk.
    let rated = rate(&client, &pair, json!({"request_id": second, "metric": "good", "value": 0.5})).await;
    assert_eq!((rated.status.as_u16(), rated.json()["status"].clone()), (200, json!("recorded")));
    assert_eq!(client.get(&format!("{}/v1/requests/{first}", pair.gateway.url)).await.json()["request_id"], first);
    pair.gateway.kill();
    pair.gateway = setup.gateway(&pair.simulator.url, pair.folder());
    let after = client.get(&format!("{}/v1/requests/{second}", pair.gateway.url)).await.json();
    assert_eq!(before, after);
    let metrics = client.get(&format!("{}/metrics", pair.gateway.url)).await.text();
    for name in ["kairos_bound_limit{bound=\"records.bytes\"} 1073741824", "kairos_records_failed_total 0"] {
        assert!(metrics.contains(name), "{name}: {metrics}");
    }
    // A file that cannot be used is no reason not to serve.
    pair.gateway.kill();
    std::fs::write(pair.folder().join("data/records.sqlite"), [0x55; 4096]).unwrap();
    let _ = std::fs::remove_file(pair.folder().join("data/records.sqlite-wal"));
    pair.gateway = setup.gateway(&pair.simulator.url, pair.folder());
    assert!(pair.folder().join("data/records.sqlite.aside").exists());
    let (_, answer) = ask(&client, &pair, &[], "hello").await;
    assert_eq!(answer.status, 200);
}

async fn rate(client: &Client, pair: &Pair, body: Value) -> Answer {
    client.post(&format!("{}/v1/feedback", pair.gateway.url), &[], &body).await
}

#[tokio::test]
async fn feedback_is_checked_kept_and_told() {
    let setup = Setup::default();
    let mut pair = setup.start();
    let client = Client::default();
    // At once after the last of a stream, whose record is written when its usage has come.
    let mut streamed = chat("auto", "hello");
    streamed["stream"] = true.into();
    let url = format!("{}/v1/chat/completions", pair.gateway.url);
    let id = client.post(&url, &[], &streamed).await.header("x-kairos-request-id").to_owned();
    let said_of = |metric: &str, value: Value| json!({"request_id": id, "metric": metric, "value": value});
    for (metric, value, status) in [("good", 1.0, "recorded"), ("good", 1.0, "unchanged"), ("good", 0.0, "replaced")] {
        let rated = rate(&client, &pair, said_of(metric, value.into())).await;
        assert_eq!((rated.status.as_u16(), &rated.json()["status"]), (200, &json!(status)), "{}", rated.text());
    }
    let unknown = "0193f3a1-7c5e-7b62-8f5d-2a4f6f0c1d2e";
    for (body, status, says) in [
        (said_of("Good", 1.0.into()), 400, "a metric's name has 1 to 64 characters of a-z, 0-9 and _"),
        (said_of("good", 1.5.into()), 400, "a value is from 0, the worst, to 1, the best"),
        (said_of("good", "high".into()), 400, "value"),
        (json!({"request_id": id, "metric": "good", "value": 1, "why": "so"}), 400, "unknown field `why`"),
        (json!({"request_id": "mine", "metric": "good", "value": 1}), 400, "the header x-kairos-request-id has it"),
        (json!({"request_id": unknown, "metric": "good", "value": 1}), 404, "no request of this id has ended"),
    ] {
        let answer = rate(&client, &pair, body).await;
        assert_eq!(answer.status.as_u16(), status, "{}", answer.text());
        assert!(answer.text().contains(says), "{says}: {}", answer.text());
    }
    for n in 1..16 {
        assert_eq!(rate(&client, &pair, said_of(&format!("metric_{n}"), 0.5.into())).await.status, 200);
    }
    let one_more = rate(&client, &pair, said_of("metric_16", 0.5.into())).await;
    assert!(one_more.status == 400 && one_more.text().contains("16 metrics"), "{}", one_more.text());
    pair.gateway.stop();
    let feedback = &json_of(&pair, &["explain", &id])["feedback"];
    assert_eq!((feedback.as_object().unwrap().len(), &feedback["good"]), (16, &json!(0.0)));
}

#[tokio::test]
async fn records_can_be_switched_off() {
    let setup = Setup { config: "[records]\nenabled = false\n", ..Setup::default() };
    let pair = setup.start();
    let client = Client::default();
    let (id, _) = ask(&client, &pair, &[], "hello").await;
    assert_eq!(client.get(&format!("{}/v1/requests/{id}", pair.gateway.url)).await.json()["status"], "ok");
    let rated = rate(&client, &pair, json!({"request_id": id, "metric": "good", "value": 1})).await;
    assert!(rated.status == 404 && rated.text().contains("`enabled` under [records]"), "{}", rated.text());
    assert!(!pair.folder().join("data/records.sqlite").exists());
    let (code, text) = said(&pair, &["explain", &id]);
    assert!(code == 1 && text.contains("no records are here"), "{text}");
}

mod counts {
    use super::*;

    /// Decisions of scripts and components, of the native default in place of policies that fail, drawn
    /// and certain, over swaps, restarts and kills: all are explained.
    #[tokio::test]
    async fn every_recorded_decision_is_explained() {
        let counted = count("explained decisions", 10_000);
        let config = "[policies]\nfaults = 1000\n[policies.config.router]\nreason = 2\n";
        let setup = Setup { config, ..Setup::default() };
        let mut pair = setup.start();
        let component = std::fs::read(guest("score-router")).unwrap();
        let client = Client::default();
        let rounds = 8;
        for round in 0..rounds {
            match round % 4 {
                0 => {
                    pair.put_policy("rhai", format!("{MOODY}// {round}\n").as_bytes());
                    pair.gateway.wait_for_log("a policy serves");
                }
                1 => {
                    let _ = std::fs::remove_file(pair.policies.join("router.rhai"));
                    pair.put_policy("wasm", &component);
                    pair.gateway.wait_for_log("a policy serves");
                }
                2 => {
                    pair.gateway.kill();
                    pair.gateway = setup.gateway(&pair.simulator.url, pair.folder());
                }
                _ => {
                    std::fs::remove_file(pair.policies.join("router.wasm")).unwrap();
                    pair.put_policy("rhai", include_bytes!("../../policies/task.rhai"));
                    pair.gateway.wait_for_log("a policy serves");
                }
            }
            let each = counted.times() / rounds;
            let ask_some = |first: usize| {
                let (client, pair) = (&client, &pair);
                async move {
                    for n in (first..each).step_by(8) {
                        let mood = MOODS[n % MOODS.len()].0;
                        let (task, limit) =
                            (["code", "analysis", "classification"][n % 3], (100 + n % 900).to_string());
                        let headers = [
                            ("x-kairos-tags", format!("mood={mood}")),
                            ("x-kairos-task", task.to_owned()),
                            ("x-kairos-max-latency-ms", limit),
                            ("x-kairos-cost-sensitivity", format!("0.{}", n % 97)),
                        ];
                        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
                        ask(client, pair, &headers, &"word ".repeat(n % 50)).await;
                    }
                }
            };
            futures_util::future::join_all((0..8).map(ask_some)).await;
        }
        pair.gateway.stop();
        let all = json_of(&pair, &["explain", "--all"]);
        // What ended in the last moments before a kill is not on disk.
        let decisions = all["decisions"].as_u64().unwrap();
        assert!(decisions as usize > counted.times() * 3 / 5, "{all}");
        assert_eq!(all["identical"], decisions, "{all}");
        counted.passed(&format!("{decisions} decisions on disk, all identical"));
    }
}
