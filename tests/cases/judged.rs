//! What healers, prompters and guards judged is asked again by `kairos explain`: after their policies were
//! replaced and the gateway restarted, where what they judged is kept, else it is said why not.

use kairos_tests::http::{Client, chat};
use kairos_tests::process::{Pair, Setup, said};
use kairos_tests::{component, count, policy};
use serde_json::{Value, json};

use super::records::json_of;

const NOVA: &str = "amazon.nova-lite-v1:0";

/// Changes each request a little, by what it reads.
const POLITE: &str = r#"fn describe() { #{ name: "polite", reasons: #{ "1": "polite", "2": "rude" } } }
fn render(ctx, features, models, first, draft) {
    if "shut" in ctx.tags { return refuse(2); }
    if "shy" in ctx.tags { return decline(); }
    let changed = edits(1);
    changed.system_after(`Be brief about ${draft.messages} messages to ${models.len} models.`);
    changed.temperature = 0.3;
    changed
}
"#;

/// Elsewhere, with the limits that it works out.
const CALM: &str = r#"fn describe() { #{ name: "calm", reasons: #{ "1": "calm", "2": "tired" } } }
fn heal(ctx, features, failure, history, models) {
    if "tired" in ctx.tags { return refuse(2); }
    if "shy" in ctx.tags { return decline(); }
    if history.len == 0 { retry(0, 1, 1, 1) } else { next(1) }
}
"#;

/// Replaces what it finds, blocks what it may not let pass, and has no opinion of system prompts.
const WORDS: &str = r#"fn describe() { #{ name: "words", hold_back: 8, reasons: #{ "1": "word", "2": "said-so" } } }
fn inspect(ctx, passage, state, text, last) {
    if passage.origin == "system" { return decline(); }
    let verdict = if last { pass(text) } else { hold(text, 8) };
    let find = if passage.direction == "input" { "WORD" } else { "e" };
    if passage.direction == "input" && text.find("STOP", 0) != () {
        verdict = block(2);
        verdict.found(2);
        return verdict;
    }
    let at = text.find(find, 0);
    while at != () && at < verdict.decided {
        verdict.replace(at, at + find.len, "3");
        verdict.found(1);
        at = text.find(find, at + find.len);
    }
    verdict
}
"#;

fn put(pair: &Pair, file: &str, bytes: &[u8]) {
    pair.put(file, bytes);
    pair.gateway.wait_for_log("a policy serves");
}

/// Has so many calls of Nova Lite, which goes first, throttled.
async fn throttle(client: &Client, pair: &Pair, times: usize) {
    let faults = json!([{"model": NOVA, "fault": "ThrottlingException", "times": times}]);
    let answer = client.send("PUT", &format!("{}/sim/v1/faults", pair.simulator.url), &[], faults.to_string()).await;
    assert!(answer.status.is_success(), "{}", answer.text());
}

/// A request with tags and a text; its id.
async fn ask(client: &Client, pair: &Pair, tag: &str, text: &str, stream: bool) -> String {
    let mut body = chat("auto", text);
    body["stream"] = json!(stream);
    let messages = body["messages"].as_array_mut().unwrap();
    messages.insert(0, json!({"role": "system", "content": "You are terse."}));
    let url = format!("{}/v1/chat/completions", pair.gateway.url);
    let answer = client.post(&url, &[("x-kairos-tags", &format!("{tag}=yes"))], &body).await;
    answer.header("x-kairos-request-id").to_owned()
}

fn worlds(judged: &Value) -> Vec<String> {
    let judged = judged.as_array().unwrap().iter();
    judged.map(|one| format!("{} {}", one["world"].as_str().unwrap(), one["verdict"].as_str().unwrap())).collect()
}

#[tokio::test]
async fn judgements_are_asked_again() {
    let config = "[records]\ncontent = \"full\"\n[guard]\npersonal_data = true\n";
    let setup = Setup { config, policy: Some(policy("task.rhai")), ..Setup::default() };
    let mut pair = setup.start();
    let client = Client::default();
    put(&pair, "prompter.rhai", POLITE.as_bytes());
    put(&pair, "healer.rhai", CALM.as_bytes());
    put(&pair, "guard.rhai", WORDS.as_bytes());
    throttle(&client, &pair, 2).await;
    let whole = ask(&client, &pair, "plain", "Say WORD to jane@example.com", false).await;
    let streamed = ask(&client, &pair, "plain", "Say WORD and WORD", true).await;
    let blocked = ask(&client, &pair, "plain", "STOP it", false).await;
    let shut = ask(&client, &pair, "shut", "hello", false).await;
    throttle(&client, &pair, 1).await;
    let shy = ask(&client, &pair, "shy", "hello", false).await;
    throttle(&client, &pair, 1).await;
    let tired = ask(&client, &pair, "tired", "hello", true).await;
    // Others are in their place, and the gateway has started anew.
    put(&pair, "healer.rhai", b"fn heal(ctx, features, failure, history, models) { next(7) }");
    std::fs::remove_file(pair.policies.join("guard.rhai")).unwrap();
    pair.gateway.wait_for_log("the policy's file was removed");
    pair.gateway.stop();
    for id in [&whole, &streamed, &blocked, &shut, &shy, &tired] {
        let explained = json_of(&pair, &["explain", id]);
        let judged = worlds(&explained["judged_again"]);
        assert!(!judged.is_empty() && judged.iter().all(|one| one.ends_with(" identical")), "{explained:#}");
        let count = |world: &str| judged.iter().filter(|one| one.starts_with(world)).count();
        assert_eq!(count("prompter"), 1, "{judged:?}");
        let healed = if *id == whole || *id == shy { 2 } else { usize::from(*id == tired) };
        assert_eq!(count("healer"), healed, "{judged:?}");
        // Of the system prompt nothing is said by the guard in place, and the native one judges.
        let least = if *id == whole || *id == streamed { 4 } else { usize::from(*id != shut) };
        assert!(count("guard") >= least, "{judged:?}");
    }
    let (code, text) = said(&pair, &["explain", &shy]);
    assert_eq!(code, 0, "{text}");
    assert!(
        text.contains("judged again: healer calm@") && text.contains("judged again: healer native-backoff@"),
        "{text}"
    );
    assert!(text.contains("judged again: guard native-pii@0.1.0: identical\n"), "{text}");
    let (code, text) = said(&pair, &["explain", "--all"]);
    assert!(code == 0 && text.contains("6 decisions: 6 identical") && text.contains(" other judgements: "), "{text}");
    // Another of their world is asked what they were.
    let replay = |file: &str, text: &str| {
        std::fs::write(pair.folder().join(file), text).unwrap();
        said(&pair, &["replay", "--policy", file])
    };
    let (code, text) = replay("calm.rhai", CALM);
    assert!(code == 0 && text.contains("over 4 judgements of a healer from "), "{text}");
    // Where it declines, the native default's word held.
    assert!(text.contains("the same 3 (75.0 %) · another 1 (25.0 %)"), "{text}");
    assert!(text.contains("1 × next, reason 1 → no decision (declined)"), "{text}");
    let (code, text) = replay("other.rhai", &CALM.replace("retry(0, 1, 1, 1)", "retry(0, 9, 9, 1)"));
    let change = "1 × retry after 0 ms and up to 1 ms, at most 1 ms, reason 1 → retry after 0 ms and up to 9 ms";
    assert!(
        code == 0 && text.contains(change) && text.contains("is unknown: what follows it was never done"),
        "{text}"
    );
    let (code, text) = replay("polite.rhai", POLITE);
    assert!(
        code == 0 && text.contains("over 6 judgements of a prompter") && text.contains("the same 6 (100.0 %)"),
        "{text}"
    );
    let (code, text) = replay("words.rhai", WORDS);
    assert!(code == 0 && text.contains(" judgements of a guard from "), "{text}");
    let observer = "fn observe(ctx, at, missed, event) { }";
    let (code, text) = replay("observer.rhai", observer);
    assert!(code == 2 && text.contains("there is nothing to replay"), "{code} {text}");
    // What differs is told, without the words.
    let database = rusqlite::Connection::open(pair.folder().join("data/records.sqlite")).unwrap();
    let changed = [
        ("healer", "\"reason\":1", "\"reason\":2"),
        ("prompter", "Be brief about", "Be long about"),
        ("guard", "Say 3 to", "Say WORD to"),
    ];
    for (world, from, to) in changed {
        let change = "UPDATE judgement SET body = replace(body, ?1, ?2) WHERE world = ?3";
        assert!(database.execute(change, [from, to, world]).unwrap() > 0);
    }
    let (code, text) = said(&pair, &["explain", &whole]);
    let lines: Vec<_> = text.lines().filter(|line| line.contains("DIFFERS")).collect();
    let of = |what: &str| lines.iter().any(|line| line.contains(what));
    assert!(code == 1 && lines.len() >= 3, "{text}");
    assert!(
        of("healer calm@") && of("then retry after 0 ms and up to 1 ms, at most 1 ms, reason 2, now retry"),
        "{text}"
    );
    assert!(of("a change of system-after, temperature, reason 1, now a change of"), "{text}");
    assert!(of("with other texts or numbers") && of(" bytes passed, found 1 of code 1"), "{text}");
    assert!(!text.contains("Be long") && !text.contains("jane@"), "{text}");
}

/// Without the words, what is numbers only is asked again, and for the rest it is said why not.
#[tokio::test]
async fn what_is_not_kept_is_not_judged_again() {
    let setup = Setup { policy: Some(policy("task.rhai")), ..Setup::default() };
    let mut pair = setup.start();
    let client = Client::default();
    put(&pair, "prompter.rhai", POLITE.as_bytes());
    put(&pair, "healer.rhai", CALM.as_bytes());
    put(&pair, "guard.rhai", WORDS.as_bytes());
    throttle(&client, &pair, 1).await;
    let id = ask(&client, &pair, "plain", "Say WORD to jane@example.com", false).await;
    pair.gateway.stop();
    let explained = json_of(&pair, &["explain", &id]);
    let judged = worlds(&explained["judged_again"]);
    assert_eq!(judged, ["healer identical", "prompter not_executed", "guard not_executed"], "{explained:#}");
    let (code, text) = said(&pair, &["explain", &id]);
    assert!(
        code == 0 && text.contains("not judged again: guard: what it judged is not kept (`content` under"),
        "{text}"
    );
    let (code, text) = said(&pair, &["explain", "--all"]);
    assert!(code == 0 && text.contains("1 other judgement: 1 identical, 0 differ\n"), "{text}");
    assert!(text.contains("of 1 request not judged again: prompter: what it read is not kept"), "{text}");
    let kept = std::fs::read(pair.folder().join("data/records.sqlite")).unwrap();
    assert!(!kept.windows(5).any(|part| part == b"jane@"));
}

mod counts {
    use super::*;

    /// Judgements of all worlds, of scripts, components and native ones, whole and streamed, over swaps and a
    /// restart: all are alike when they are asked for again.
    #[tokio::test]
    async fn every_recorded_judgement_is_explained() {
        let counted = count("explained judgements beside routes", 10_000);
        let config = "[records]\ncontent = \"full\"\n[guard]\npersonal_data = true\n[policies]\nfaults = 1000\n";
        let setup = Setup { config, policy: Some(policy("task.rhai")), ..Setup::default() };
        let mut pair = setup.start();
        let client = Client::default();
        put(&pair, "prompter.rhai", POLITE.as_bytes());
        // A request has five judgements or more.
        let each = counted.times() / 5 / 4;
        for round in 0..4 {
            match round {
                0 => put(&pair, "healer.rhai", CALM.as_bytes()),
                1 => put(&pair, "guard.wasm", &component("mail-card-guard")),
                2 => {
                    std::fs::remove_file(pair.policies.join("healer.rhai")).unwrap();
                    put(&pair, "healer.wasm", &component("backoff-healer"));
                    put(&pair, "guard.rhai", WORDS.as_bytes());
                }
                _ => {
                    pair.gateway.stop();
                    pair.gateway = setup.gateway(&pair.simulator.url, pair.folder());
                }
            }
            throttle(&client, &pair, 1_000_000).await;
            for number in 0..each {
                let tag = ["plain", "shy", "plain", "tired", "plain", "shut"][number % 6];
                let text = format!(
                    "WORD {number} to jane{number}@example.com and 4111 1111 1111 1111 {}",
                    "x ".repeat(number % 40)
                );
                let text = if number % 7 == 6 { "STOP".to_owned() } else { text };
                ask(&client, &pair, tag, &text, number % 2 == 0).await;
            }
        }
        pair.gateway.stop();
        let all = json_of(&pair, &["explain", "--all"]);
        let judgements = &all["judgements"];
        let judged = judgements["judged"].as_u64().unwrap();
        assert!(judged as usize > counted.times() * 3 / 5, "{judged}: {judgements:#}");
        assert_eq!(
            (judgements["identical"].as_u64(), &judgements["not_kept"]),
            (Some(judged), &json!({})),
            "{judgements:#}"
        );
        counted.passed(&format!("{judged} judgements on disk, all identical"));
    }
}
