//! Files that are no policies, or no good ones: each is refused for a reason of the closed list, the
//! message says what is wrong and what to do, and what served goes on serving.

use kairos_tests::http::{Client, chat};
use kairos_tests::process::{Pair, Setup};
use kairos_tests::raw::{Raw, TEXT, words};
use kairos_tests::{guest, policy};

/// A file, why it is refused, and words of the message and the hint.
struct Refused {
    what: &'static str,
    ending: &'static str,
    bytes: Vec<u8>,
    reason: &'static str,
    says: &'static [&'static str],
}

fn refused(what: &'static str, bytes: Vec<u8>, reason: &'static str, says: &'static [&'static str]) -> Refused {
    Refused { what, ending: "wasm", bytes, reason, says }
}

/// Puts each file in place, and sees that it changes nothing but what metrics say.
async fn are_refused(files: Vec<Refused>) {
    let pair = Setup { policy: Some(policy("score.rhai")), ..Setup::default() }.start();
    let mut counts = std::collections::BTreeMap::new();
    for Refused { what, ending, bytes, reason, says } in files {
        pair.put_policy(ending, &bytes);
        let refusal = pair.gateway.wait_for_log("policy refused");
        // One line, not too long, whatever the file holds.
        assert!(refusal.len() < 6_000, "{what}: {} bytes", refusal.len());
        for part in [&format!("\"reason\":\"{reason}\"") as &str].iter().chain(says) {
            assert!(refusal.contains(part), "{what}: no {part:?} in {refusal}");
        }
        serves_on(&pair, what).await;
        *counts.entry(reason).or_insert(0) += 1;
    }
    let metrics = Client::default().get(&format!("{}/metrics", pair.gateway.url)).await.text();
    for (reason, count) in counts {
        let line = format!("kairos_policy_refusals_total{{slot=\"router\",reason=\"{reason}\"}} {count}\n");
        assert!(metrics.contains(&line), "{line} {metrics}");
    }
    assert!(metrics.contains("kairos_policy_outdated{slot=\"router\"} 1"), "{metrics}");
    pair.put_policy("wasm", &std::fs::read(guest("fixed-first")).unwrap());
    pair.gateway.wait_for_log("a policy serves");
    let metrics = Client::default().get(&format!("{}/metrics", pair.gateway.url)).await.text();
    assert!(metrics.contains("kairos_policy_outdated{slot=\"router\"} 0"), "{metrics}");
    assert!(metrics.contains("kairos_policy_recoveries_total{slot=\"router\"} 1"), "{metrics}");
}

async fn serves_on(pair: &Pair, what: &str) {
    // Some refusals take their time; a connection that has waited may be closed by then.
    let client = Client::default();
    let url = format!("{}/v1/chat/completions", pair.gateway.url);
    let answer = client.post(&url, &[], &chat("auto", "hello")).await;
    assert_eq!(answer.status, 200, "{what}");
    assert!(answer.header("x-kairos-policy").starts_with("score@"), "{what}: {:?}", answer.headers);
}

/// The contract and the module that is built against it, changed.
fn changed(changes: &[(&'static str, &'static str)]) -> Vec<u8> {
    Raw { changes: changes.to_vec(), ..Raw::default() }.build()
}

/// A module with a further import.
fn imports(import: &str, changes: &[(&'static str, &'static str)]) -> Vec<u8> {
    Raw { imports: import.into(), changes: changes.to_vec(), ..Raw::default() }.build()
}

fn field(field: String) -> Vec<u8> {
    Raw { fields: field, ..Raw::default() }.build()
}

#[tokio::test]
async fn what_is_not_a_whole_component() {
    let whole = std::fs::read(guest("fixed-first")).unwrap();
    let mut files = vec![
        refused("nothing", Vec::new(), "damaged", &["ends after 0 bytes", "copy it whole"]),
        refused("half a header", whole[..6].to_vec(), "damaged", &["ends after 6 bytes", "copy it whole"]),
        refused(
            "a core module",
            wat::parse_str("(module)").unwrap(),
            "not_a_policy",
            &["a core WebAssembly module, not a component", "wasm-tools component new"],
        ),
        refused("text", b"fn route() {}".to_vec(), "not_a_policy", &["not WebAssembly", "ends in .rhai"]),
    ];
    for part in 1..16 {
        let mut bytes = whole[..whole.len() * part / 16].to_vec();
        // What ends where a section does is a whole component, of fewer sections.
        if wasmparser::validate(&bytes).is_ok() {
            bytes.pop();
        }
        files.push(refused("a part", bytes, "damaged", &["damaged at byte", "copy it whole"]));
    }
    are_refused(files).await;
}

#[tokio::test]
async fn what_is_built_against_another_contract() {
    let route =
        "route: func(ctx: borrow<request>, features: features, models: list<model>) -> result<plan, plugin-error>;";
    let renamed = changed(&[("kairos:plugin", "other:plugin")]);
    let clock = ("world raw {", "interface clock { now: func() -> u64; }\nworld raw { import clock;");
    let flush = (
        "    write: func(level: level, message: string);",
        "    write: func(level: level, message: string); flush: func();",
    );
    let wider =
        ("    write: func(level: level, message: string);", "    write: func(level: level, message: string) -> u32;");
    are_refused(vec![
        refused("a later minor", changed(&[("@0.1.0", "@0.2.0")]), "wrong_version", &[
            "built for version 0.2.0 of the contract",
            "this gateway serves version 0.1; build the component against wit/v0.1",
        ]),
        refused("an earlier one", changed(&[("@0.1.0", "@0.0.9")]), "wrong_version", &["version 0.0.9", "serves version 0.1"]),
        refused("a major", changed(&[("@0.1.0", "@1.0.0")]), "wrong_version", &["version 1.0.0", "serves version 0.1"]),
        refused("another package", renamed, "wrong_world", &[
            "does not export kairos:plugin/routing@0.1.0",
            "the slot `router` takes components of the world `kairos:plugin/router@0.1.0`; this one exports: other:plugin/lifecycle@0.1.0",
        ]),
        refused("a route of another type", changed(&[(route, "route: func(ctx: borrow<request>, features: features, models: list<model>) -> result<features, plugin-error>;")]), "wrong_world", &[
            "does not fit the world `router`",
            "of version 0.1: ",
        ]),
        refused(
            "an interface that there is not",
            imports("(import \"kairos:plugin/clock@0.1.0\" \"now\" (func (result i64)))", &[clock]),
            "unknown_import",
            &["imports kairos:plugin/clock@0.1.0, which the contract does not have", "wit/README.md"],
        ),
        refused(
            "a function that there is not",
            imports("(import \"kairos:plugin/log@0.1.0\" \"flush\" (func))", &[flush]),
            "wrong_world",
            &["does not fit the world `router`", "build the component against wit/v0.1 as it is"],
        ),
        refused(
            "a function of another type",
            imports("(import \"kairos:plugin/log@0.1.0\" \"write\" (func (param i32 i32 i32) (result i32)))", &[wider]),
            "wrong_world",
            &["does not fit the world `router`"],
        ),
        refused("what is not granted", std::fs::read(guest("talkative")).unwrap(), "not_granted", &[
            "imports `content`, which is not granted",
            "grants = [",
        ]),
    ])
    .await;
}

/// Deadlines of two seconds of CPU time each: the gateway answers meanwhile.
#[tokio::test]
async fn what_does_not_start_within_its_bounds() {
    const NO_END: &str = "(loop $again (br $again))";
    let start = || Raw { fields: format!("(func $start {NO_END}) (start $start)"), ..Raw::default() }.build();
    let init = |init: &str| Raw { init: init.into(), ..Raw::default() }.build();
    let unable = Raw { data: vec![(128, words(&[1, 4, TEXT, 3]))], ..Raw::default() }.build();
    are_refused(vec![
        refused("a start that loops", start(), "not_started", &["does not start: deadline"]),
        refused("an init that loops", init(NO_END), "not_started", &["does not start: deadline"]),
        refused("an init that traps", init("unreachable"), "not_started", &["does not start: panic"]),
        refused("an init that recurses", init("(drop (call $recurse))"), "not_started", &["stack_overflow"]),
        refused(
            "an init that grows",
            init("(drop (memory.grow (i32.const 9999)))"),
            "not_started",
            &["does not start: memory: more than 16777216 bytes"],
        ),
        refused("an init that cannot", unable, "not_started", &["does not start: error: raw"]),
        refused(
            "a memory that is too large",
            Raw { memory: "300".into(), ..Raw::default() }.build(),
            "not_started",
            &["more than 16777216 bytes of memory"],
        ),
        refused("4 GiB", Raw { memory: "65536".into(), ..Raw::default() }.build(), "not_compiled", &["memory"]),
        refused("many memories", field("(memory 1)".repeat(8)), "not_compiled", &["memories"]),
        refused("many tables", field("(table 1 funcref)".repeat(100)), "not_compiled", &["tables"]),
        refused("a table of a million", field("(table 1000000 funcref)".into()), "not_compiled", &["table"]),
    ])
    .await;
}

#[tokio::test]
async fn what_says_nonsense_of_itself() {
    let described = |at: usize, words: [u32; 2], data: Vec<(u32, Vec<u8>)>, memory: &str| {
        let mut raw = Raw { data, memory: memory.into(), ..Raw::default() };
        raw.description[at..at + 2].copy_from_slice(&words);
        raw.build()
    };
    let text = |at: usize, text: &[u8]| described(at, [5000, text.len() as u32], vec![(5000, text.to_vec())], "2");
    // A model name in a list of one, and a note.
    let list = |at: usize, item: Vec<u8>, text: &[u8]| {
        described(at, [6000, 1], vec![(5000, text.to_vec()), (6000, item)], "2")
    };
    let hang = Raw { describe: "(loop $again (br $again))".into(), ..Raw::default() }.build();
    let trap = Raw { describe: "unreachable".into(), ..Raw::default() }.build();
    let reason = "bad_description";
    are_refused(vec![
        refused("a describe that loops", hang, reason, &["`describe` failed: deadline"]),
        refused("one that traps", trap, reason, &["`describe` failed: panic"]),
        refused("no name", described(0, [TEXT, 0], Vec::new(), "2"), reason, &["a name that is not 1 to 64"]),
        refused("a name of lines", text(0, b"raw\n{\"level\":\"INFO\"}"), reason, &["a name that is not 1 to 64"]),
        refused("a name for metrics", text(0, b"raw\"} 1"), reason, &["a name that is not 1 to 64"]),
        refused("a name that is no text", text(0, &[0xc3, 0x28]), reason, &["`describe` failed: trap", "utf-8"]),
        refused("a name beyond memory", described(0, [0x7fff_ffff, 9], Vec::new(), "2"), reason, &["failed: trap"]),
        refused(
            "a name of half a megabyte",
            described(0, [2 << 16, 1 << 19], Vec::new(), "20"),
            reason,
            &["a name that is not 1 to 64"],
        ),
        refused(
            "one of two megabytes",
            described(0, [0, 2 << 20], Vec::new(), "40"),
            reason,
            &["`describe` failed: trap"],
        ),
        refused("a version of lines", text(2, b"1\n2"), reason, &["a version or reason"]),
        refused(
            "reasons without end",
            described(4, [1 << 16, 5_000], Vec::new(), "2"),
            reason,
            &["more than 64 reasons"],
        ),
        refused("a reason that is long", list(4, words(&[1, 4096, 65]), b""), reason, &["a version or reason"]),
        refused(
            "a model name of lines",
            list(6, words(&[5000, 3]), b"a\nb"),
            reason,
            &["a model name that is longer than 256"],
        ),
        refused(
            "a model name that is long",
            list(6, words(&[8192, 257]), b""),
            reason,
            &["a model name that is longer"],
        ),
        refused(
            "a note",
            list(9, words(&[5000, 4, 5000, 4]), b"no\nt"),
            reason,
            &["which this version of the gateway does not know"],
        ),
        refused(
            "a long note",
            list(9, words(&[1 << 16, 60_000, 5000, 0]), b""),
            reason,
            &["describe` says something of"],
        ),
    ])
    .await;
}

/// Functions by the thousand are compiled at low priority, while requests are answered; and serve.
#[tokio::test]
async fn many_functions_hold_nobody_up() {
    let pair = Setup { policy: Some(policy("score.rhai")), ..Setup::default() }.start();
    let client = Client::default();
    let functions: String = (0..2_000)
        .map(|n| format!("(func (param i32) (result i32) (i32.add (local.get 0) (i32.const {n})))"))
        .collect();
    let answers_well = "(call $drop (local.get $request)) (i32.const 192)".to_owned();
    pair.put_policy("wasm", &Raw { fields: functions, bad: answers_well, ..Raw::default() }.build());
    let url = format!("{}/v1/chat/completions", pair.gateway.url);
    for _ in 0..20 {
        assert_eq!(client.post(&url, &[], &chat("auto", "hello")).await.status, 200);
    }
    pair.gateway.wait_for_log("a policy serves");
    let answer = Client::default().post(&url, &[], &chat("auto", "hello")).await;
    assert!(answer.header("x-kairos-policy").starts_with("raw@"), "{:?}", answer.headers);
}

#[tokio::test]
async fn scripts_that_are_none() {
    let script = |what, text: &str, reason, says| Refused {
        what,
        ending: "rhai",
        bytes: text.as_bytes().to_vec(),
        reason,
        says,
    };
    let route = "fn route(ctx, features, models) { plan([0], 1) }";
    let described = |inner: &str| format!("fn describe() {{ {inner} }}\n{route}");
    are_refused(vec![
        script("half a script", "fn route(ctx, features, models) {", "syntax", &["router.rhai:1:", "hint"]),
        script(
            "no route",
            "fn rout(ctx, features, models) { plan([0], 1) }",
            "wrong_world",
            &["there is `rout`", "a router has"],
        ),
        script("too few parameters", "fn route(ctx) { plan([0], 1) }", "wrong_world", &["takes 1 parameters, not 3"]),
        script("too large", &format!("{route}//{}", "x".repeat(300_000)), "too_large", &["more than 262144 bytes"]),
        Refused {
            what: "no text",
            ending: "rhai",
            bytes: vec![b'/', b'/', 0xff],
            reason: "not_a_policy",
            says: &["byte at offset 2"],
        },
        script("a describe that loops", &described("loop {}"), "bad_description", &["`describe` failed"]),
        script("a describe that gives text", &described("\"x\""), "bad_description", &["`describe` failed"]),
        script(
            "a name of lines",
            &described("#{ name: \"a\\nb\" }"),
            "bad_description",
            &["a name that is not 1 to 64"],
        ),
        script(
            "reasons without end",
            &described("let r = #{}; for n in 0..100 { r[\"\" + n] = \"x\"; } #{ reasons: r }"),
            "bad_description",
            &["100 reasons; 64 are allowed"],
        ),
        script(
            "a route that loops",
            "fn route(ctx, features, models) { loop {} }",
            "failed_trial",
            &["fails: deadline"],
        ),
        script(
            "a route that fails",
            "fn route(ctx, features, models) { plan([1], 1) }",
            "failed_trial",
            &["plan that is not valid"],
        ),
        script(
            "deep nesting",
            &format!("fn route(a, b, c) {{ {}1{} }}", "(".repeat(9_999), ")".repeat(9_999)),
            "syntax",
            &["hint"],
        ),
    ])
    .await;
}
