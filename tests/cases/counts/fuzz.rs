//! Files that nobody would write: scripts of random words, shipped policies with pieces torn out, bytes
//! changed in components, components whose code is drawn at random. Each is refused or contained, and
//! what loads the next one is as before.
//!
//! The same files every time: one that is found to be harmful stays found.

use std::collections::BTreeMap;
use std::path::Path;

use kairos_pipeline::policy::World;
use kairos_sandbox::load::Loader;
use kairos_tests::raw::{BAD, Raw, words};
use kairos_tests::{count, guest, policy};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, TestRng, TestRunner};

use crate::cases::agreement::loader;

/// Bounds that make what hangs hang shortly.
fn short() -> Loader {
    let mut loader = loader();
    let limits = std::sync::Arc::make_mut(&mut loader.limits);
    (limits.deadline, limits.init_deadline) =
        (std::time::Duration::from_millis(3), std::time::Duration::from_millis(10));
    limits.script_operations = 20_000;
    loader
}

/// Loads a file, which asks it its trial questions where it comes to that. Why it was refused, if it was.
fn load(loader: &Loader, file: &str, bytes: Vec<u8>) -> Option<&'static str> {
    let version = loader.version(World::Router, file, bytes, None).unwrap();
    let refusal = loader.load_version(Path::new(file), &version).err()?;
    let says = refusal.explain(file);
    assert!(!says.contains("a fault of Kairos"), "{says}");
    Some(refusal.reason.name())
}

/// How many were refused, by reason.
type Refused = BTreeMap<&'static str, usize>;

/// Draws so many files, and loads each.
fn rounds<T: std::fmt::Debug>(
    times: usize,
    files: impl Strategy<Value = T>,
    each: impl Fn(T) -> Option<&'static str>,
) -> Refused {
    let mut runner = TestRunner::new_with_rng(Config::default(), TestRng::deterministic_rng(Default::default()));
    let mut refused = Refused::new();
    for _ in 0..times {
        let file = files.new_tree(&mut runner).unwrap().current();
        *refused.entry(each(file).unwrap_or("loaded")).or_default() += 1;
    }
    refused
}

/// On a stack as policies have it.
fn on_a_policys_stack(work: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(kairos_sandbox::host::THREAD_STACK);
        thread.spawn_scoped(scope, work).unwrap().join().unwrap();
    });
}

/// Words of scripts: those that mean something, and those that should not.
fn word() -> impl Strategy<Value = String> {
    let known = [
        "fn",
        "route",
        "describe",
        "(",
        ")",
        "{",
        "}",
        "[",
        "]",
        "#{",
        ";",
        ",",
        ".",
        "=",
        "==",
        "+",
        "-",
        "*",
        "/",
        "%",
        "**",
        "<<",
        ">>",
        "&&",
        "||",
        "!",
        "|",
        "..",
        "..=",
        "?",
        "??",
        "if",
        "else",
        "while",
        "loop",
        "for",
        "in",
        "do",
        "until",
        "break",
        "continue",
        "return",
        "throw",
        "try",
        "catch",
        "let",
        "const",
        "switch",
        "=>",
        "_",
        "this",
        "global",
        "import",
        "export",
        "as",
        "private",
        "Fn",
        "call",
        "curry",
        "eval",
        "is_def_fn",
        "ctx",
        "features",
        "models",
        "x",
        "y",
        "plan",
        "decline",
        "refuse",
        "len",
        "models.len",
        "models[0]",
        "models.output_price",
        "top",
        "column",
        "find",
        "ctx.prompt",
        "ctx.tags",
        "kv_get",
        "log",
        "metric_add",
        "features.task",
        "features.named",
        "pad",
        "split",
        "replace",
        "sub_string",
        "chars",
        "extend",
        "push",
        "sort",
        "reduce",
        "to_string",
        "parse_int",
        "type_of",
        "sleep",
        "timestamp",
        "true",
        "false",
        "()",
        "0",
        "1",
        "-1",
        "9223372036854775807",
        "-9223372036854775808",
        "1e308",
        "0.0",
        "\"a\"",
        "`${x}`",
        "'c'",
        "/*",
        "*/",
        "//",
        "\n",
        "\"",
        "`",
        "\\",
        "\u{0}",
        "\u{feff}",
        "é",
        "🦀",
        "@",
        "$",
        "~",
    ];
    prop_oneof![
        8 => prop::sample::select(known.to_vec()).prop_map(str::to_owned),
        1 => any::<i64>().prop_map(|number| number.to_string()),
        1 => "\\PC{0,6}",
    ]
}

/// Expressions and statements that fit together more often than words do.
fn expression() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("x".to_owned()),
        Just("models".to_owned()),
        Just("ctx".to_owned()),
        Just("features".to_owned()),
        Just("models.len".to_owned()),
        Just("[]".to_owned()),
        Just("#{}".to_owned()),
        Just("\"text\"".to_owned()),
        prop::sample::select(vec![i64::MAX, i64::MIN, 0, 1, -1, 63, 64, 4_096]).prop_map(|number| number.to_string()),
        Just("1.0 / 0.0".to_owned()),
        Just("()".to_owned()),
    ];
    leaf.prop_recursive(6, 48, 3, |inner| {
        let operator = prop::sample::select(vec![
            "+", "-", "*", "/", "%", "**", "<<", ">>", "==", "<", "&&", "|", "^", "in", "??",
        ]);
        let method = prop::sample::select(vec![
            "push",
            "pad",
            "insert",
            "extend",
            "split",
            "replace",
            "sub_string",
            "index_of",
            "to_string",
            "top",
            "column",
            "chop",
            "truncate",
            "splice",
            "drain",
            "retain",
            "sort",
            "reduce",
            "map",
            "filter",
            "abs",
            "to_int",
            "exp",
            "len",
        ]);
        prop_oneof![
            (inner.clone(), operator, inner.clone())
                .prop_map(|(left, operator, right)| format!("({left} {operator} {right})")),
            (inner.clone(), method, inner.clone()).prop_map(|(on, method, with)| format!("({on}).{method}({with})")),
            (inner.clone(), inner.clone()).prop_map(|(list, at)| format!("({list})[{at}]")),
            (inner.clone(), inner.clone()).prop_map(|(one, other)| format!("[{one}, {other}]")),
            (inner.clone(), inner.clone()).prop_map(|(one, other)| format!("#{{a: {one}, b: {other}}}")),
            (inner.clone(), inner.clone(), inner.clone())
                .prop_map(|(test, yes, no)| format!("if {test} == () {{ {yes} }} else {{ {no} }}")),
            inner.clone().prop_map(|inner| format!("{{ let x = {inner}; while true {{ x = [x, x]; }} x }}")),
            inner
                .clone()
                .prop_map(|inner| format!("{{ let s = \"ab\"; loop {{ s += s; if s == {inner} {{ break; }} }} s }}")),
            inner.clone().prop_map(|inner| format!("route({inner}, x, x)")),
            inner.clone().prop_map(|inner| format!("plan([{inner}], {inner})")),
            inner.prop_map(|inner| format!("switch {inner} {{ 0..9 => 1, _ => {inner} }}")),
        ]
    })
}

/// A file with pieces torn out, doubled, moved, or changed.
fn torn(whole: Vec<u8>) -> impl Strategy<Value = Vec<u8>> {
    let length = whole.len();
    let change = (0..5u8, 0..length, 0..length, 1..64usize, any::<u8>());
    prop::collection::vec(change, 1..6).prop_map(move |changes| {
        let mut bytes = whole.clone();
        for (kind, at, to, length, byte) in changes {
            let (at, to) = (at.min(bytes.len()), to.min(bytes.len()));
            let end = (at + length).min(bytes.len());
            match kind {
                0 => drop(bytes.drain(at..end)),
                1 => {
                    let piece = bytes[at..end].to_vec();
                    bytes.splice(to..to, piece);
                }
                2 if at < bytes.len() => bytes[at] = byte,
                3 if at < bytes.len() => bytes[at] ^= 1 << (byte % 8),
                _ => bytes.truncate(at),
            }
            if bytes.is_empty() {
                break;
            }
        }
        bytes
    })
}

#[test]
fn no_script_harms_who_loads_it() {
    on_a_policys_stack(|| {
        let scripts = count("scripts that nobody would write", 20_000);
        let loader = short();
        let words = prop::collection::vec(word(), 0..60).prop_map(|words| words.join(" ").into_bytes());
        let body = |inner: String| format!("fn route(ctx, features, models) {{ let x = 1; {inner} }}").into_bytes();
        let within = prop::collection::vec(word(), 0..40).prop_map(move |words| body(words.join(" ")));
        let shipped = std::fs::read(policy("score.rhai")).unwrap();
        let files = prop_oneof![1 => words, 2 => within, 4 => expression().prop_map(body), 3 => torn(shipped.clone())];
        let refused = rounds(scripts.times(), files, |bytes| load(&loader, "router.rhai", bytes));
        assert_eq!(load(&loader, "router.rhai", shipped), None, "a good script is refused afterwards");
        scripts.passed(&format!("{refused:?}"));
    });
}

#[test]
fn no_damaged_component_harms_who_loads_it() {
    on_a_policys_stack(|| {
        let components = count("damaged components", 20_000);
        let loader = short();
        let shipped = std::fs::read(guest("fixed-first")).unwrap();
        let refused = rounds(components.times(), torn(shipped.clone()), |bytes| load(&loader, "router.wasm", bytes));
        assert_eq!(load(&loader, "router.wasm", shipped), None, "a good component is refused afterwards");
        assert_eq!(loader.wasm.instances(), 0);
        components.passed(&format!("{refused:?}"));
    });
}

/// Numbers that are too large, or just so.
fn number() -> impl Strategy<Value = String> {
    let odd = [
        0,
        1,
        4,
        7,
        8,
        16,
        64,
        192,
        320,
        384,
        4_096,
        8_192,
        65_535,
        65_536,
        131_071,
        131_072,
        0x7fff_ffff,
        u32::MAX,
        u32::MAX - 3,
    ];
    prop::sample::select(odd.to_vec()).prop_map(|number| format!("(i32.const {})", number as i32))
}

/// Code that gives a number, of whatever instructions.
fn code() -> impl Strategy<Value = String> {
    number().prop_recursive(6, 64, 3, |inner| {
        let two = prop::sample::select(vec![
            "add", "sub", "mul", "div_s", "div_u", "rem_u", "shl", "rotl", "and", "xor", "lt_u",
        ]);
        let load = prop::sample::select(vec!["i32.load", "i32.load8_u", "i32.load16_s align=1"]);
        prop_oneof![
            (two, inner.clone(), inner.clone()).prop_map(|(two, one, other)| format!("(i32.{two} {one} {other})")),
            (load, inner.clone()).prop_map(|(load, at)| format!("({load} {at})")),
            inner.clone().prop_map(|pages| format!("(memory.grow {pages})")),
            (inner.clone(), inner.clone())
                .prop_map(|(at, then)| format!("(block (result i32) (i32.store {at} {then}) {then})")),
            (inner.clone(), inner.clone(), inner.clone()).prop_map(|(to, from, length)| format!(
                "(block (result i32) (memory.copy {to} {from} {length}) {length})"
            )),
            (inner.clone(), inner.clone(), inner.clone()).prop_map(|(at, byte, length)| format!(
                "(block (result i32) (memory.fill {at} {byte} {length}) {byte})"
            )),
            (inner.clone(), inner.clone(), inner.clone())
                .prop_map(|(test, yes, no)| format!("(if (result i32) {test} (then {yes}) (else {no}))")),
            (inner.clone(), inner.clone())
                .prop_map(|(test, then)| format!("(block (result i32) (loop (br_if 0 {test})) {then})")),
            inner.clone().prop_map(|then| format!("(block (result i32) (drop (call $recurse)) {then})")),
            inner.clone().prop_map(|next| format!("(block (result i32) (global.set $next {next}) {next})")),
            (inner.clone(), inner.clone())
                .prop_map(|(handle, at)| format!("(block (result i32) (call $tags {handle} {at}) {at})")),
            (inner.clone(), inner.clone())
                .prop_map(|(handle, at)| format!("(block (result i32) (call $ids {handle} {at}) {at})")),
            (inner.clone(), inner.clone(), inner.clone())
                .prop_map(|(at, length, to)| format!("(block (result i32) (call $get {at} {length} {to}) {to})")),
            (inner.clone(), inner.clone(), inner.clone()).prop_map(|(level, at, length)| format!(
                "(block (result i32) (call $write {level} {at} {length}) {at})"
            )),
            inner.clone().prop_map(|handle| format!("(block (result i32) (call $drop {handle}) {handle})")),
            inner.prop_map(|answer| format!("(return {answer})")),
        ]
    })
}

const IMPORTS: &str = r#"
  (import "kairos:plugin/types@0.1.0" "[method]request.model-ids" (func $ids (param i32 i32)))
  (import "kairos:plugin/kv@0.1.0" "get" (func $get (param i32 i32 i32)))
  (import "kairos:plugin/log@0.1.0" "write" (func $write (param i32 i32 i32)))"#;

#[test]
fn no_code_harms_who_loads_it() {
    on_a_policys_stack(|| {
        let components = count("components of random code", 500);
        let loader = short();
        let answer = prop::collection::vec(prop_oneof![Just(0u32), Just(1), Just(u32::MAX), 0..70_000u32], 16);
        let files = (code(), code(), code(), answer, prop::bool::weighted(0.2));
        let refused = rounds(components.times(), files, |(route, init, describe, answer, early)| {
            let dropped = |code: &str| if early { format!("(drop {code})") } else { String::new() };
            let raw = Raw {
                imports: IMPORTS.into(),
                bad: format!("{route}\n(drop)\n(i32.const {BAD})"),
                init: dropped(&init),
                describe: dropped(&describe),
                data: vec![(BAD, words(&answer))],
                // On trial, too: that is when it is asked here.
                changes: vec![("(i32.eqz (i32.load (i32.const 20)))", "(i32.const 1)")],
                ..Raw::default()
            };
            load(&loader, "router.wasm", raw.build())
        });
        let shipped = std::fs::read(guest("fixed-first")).unwrap();
        assert_eq!(load(&loader, "router.wasm", shipped), None, "a good component is refused afterwards");
        assert_eq!(loader.wasm.instances(), 0);
        components.passed(&format!("{refused:?}"));
    });
}
