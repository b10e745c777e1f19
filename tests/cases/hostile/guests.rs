//! Policies that behave on trial and misbehave when they serve, and what kind of fault each is.

use kairos_tests::component;
use kairos_tests::raw::{BAD, Raw, TEXT, words};

/// A policy that fails whenever it is called.
pub(super) struct Guest {
    /// The test of its name.
    pub(super) name: &'static str,
    /// `wasm` or `rhai`.
    pub(super) ending: &'static str,
    /// Its file.
    pub(super) bytes: fn() -> Vec<u8>,
    /// The kind of its faults.
    pub(super) kind: &'static str,
}

/// A list of guests, and a test of each.
macro_rules! guests {
    ($($name:ident: $ending:literal, $bytes:expr, $kind:literal;)*) => {
        /// All of them.
        pub(super) const GUESTS: &[Guest] =
            &[$(Guest { name: stringify!($name), ending: $ending, bytes: || $bytes, kind: $kind }),*];

        mod each {
            $(#[tokio::test]
            async fn $name() {
                super::super::fails_and_is_replaced(stringify!($name)).await;
            })*
        }
    };
}

/// A component that is not built from source.
fn raw(raw: &Raw) -> Vec<u8> {
    raw.build()
}

/// A script that behaves on trial only.
fn script(bad: &str) -> Vec<u8> {
    format!(
        "fn bad(n, m) {{ {bad} }}\nfn route(ctx, features, models) {{ if \"team\" in ctx.tags {{ plan([0], 1) }} else {{ bad(0, models) }} }}"
    )
    .into_bytes()
}

/// Reads keys of what was learned, one by one.
fn reads_keys(count: u32) -> Vec<u8> {
    let get = "(import \"kairos:plugin/kv@0.1.0\" \"get\" (func $get (param i32 i32 i32)))";
    let read = format!("(call $get (i32.const {TEXT}) (i32.const 3) (i32.const 32))").repeat(count as usize);
    raw(&Raw {
        imports: get.into(),
        bad: format!("{read} (call $drop (local.get $request)) (i32.const 192)"),
        ..Raw::default()
    })
}

/// Asks for text when the place that it gives for it is out of its memory.
fn gives_a_place_beyond_its_memory() -> Vec<u8> {
    let asked_model =
        "(import \"kairos:plugin/types@0.1.0\" \"[method]request.asked-model\" (func $asked (param i32 i32)))";
    let bad = "(global.set $next (i32.const 0x7fff0000)) (call $asked (local.get $request) (i32.const 32)) unreachable";
    raw(&Raw { imports: asked_model.into(), bad: bad.into(), ..Raw::default() })
}

const NO_END: &str = "(loop $again (br $again)) (unreachable)";
const DENIED_TABLE: &str = "(if (i32.eq (table.grow $t (ref.null func) (i32.const 30000)) (i32.const -1)) (then (unreachable))) (i32.const 192)";

guests! {
    a_component_that_loops: "wasm", component("bad-loop"), "deadline";
    a_component_that_recurses: "wasm", component("bad-recursion"), "stack_overflow";
    a_component_that_panics: "wasm", component("bad-panic"), "panic";
    a_component_that_takes_memory: "wasm", component("bad-memory"), "memory";
    a_component_that_answers_nonsense: "wasm", component("bad-plan"), "invalid_plan";
    a_component_that_takes_4_gib_at_once: "wasm",
        Raw::does("(drop (memory.grow (i32.const 65534))) (i32.const 192)"), "memory";
    a_component_that_takes_a_large_table: "wasm",
        raw(&Raw { fields: "(table $t 1 funcref)".into(), bad: DENIED_TABLE.into(), ..Raw::default() }), "panic";
    a_component_that_loops_in_machine_code: "wasm", Raw::does(NO_END), "deadline";
    a_component_that_recurses_without_a_frame: "wasm", Raw::does("(call $recurse)"), "stack_overflow";
    a_component_that_divides_by_zero: "wasm", Raw::does("(i32.div_u (i32.const 1) (i32.const 0))"), "trap";
    a_component_that_reads_beyond_its_memory: "wasm", Raw::does("(i32.load (i32.const 0x7fffffff))"), "trap";
    a_component_that_keeps_the_request: "wasm", Raw::does("(i32.const 192)"), "trap";
    a_component_whose_answer_is_beyond_its_memory: "wasm",
        Raw::does("(call $drop (local.get $request)) (i32.const 0x7ffffff8)"), "trap";
    a_component_whose_answer_is_not_aligned: "wasm",
        Raw::does("(call $drop (local.get $request)) (i32.const 193)"), "trap";
    a_component_whose_list_is_beyond_its_memory: "wasm", Raw::candidates_at(0xffff_fff0, 10), "trap";
    a_component_whose_list_is_longer_than_memory: "wasm", Raw::candidates_at(384, u32::MAX), "trap";
    a_component_whose_list_is_not_aligned: "wasm", Raw::candidates_at(385, 1), "trap";
    a_component_that_gives_a_place_beyond_its_memory: "wasm", gives_a_place_beyond_its_memory(), "trap";
    a_component_that_hands_over_more_than_it_may: "wasm",
        raw(&Raw { memory: "64".into(), data: vec![(BAD, words(&[0, 0, 384, 200_000]))], ..Raw::default() }), "trap";
    a_component_that_answers_what_is_no_answer: "wasm", Raw::answers(words(&[2])), "trap";
    a_component_whose_error_is_none: "wasm", Raw::error(9, TEXT, 3), "trap";
    a_component_whose_error_is_no_text: "wasm",
        raw(&Raw { data: vec![(BAD, words(&[1, 0, 4, 5000, 2])), (5000, vec![0xff, 0xfe])], ..Raw::default() }), "trap";
    a_component_whose_error_is_long_and_not_printable: "wasm", raw(&Raw { data: vec![(BAD, words(&[1, 0, 4, 5000, 3000])), (5000, b"x\n".repeat(1_500))], ..Raw::default() }), "error";
    a_component_that_plans_thousands: "wasm", Raw::candidates_at(384, 5_000), "invalid_plan";
    a_component_that_plans_nothing: "wasm", Raw::candidates_at(384, 0), "invalid_plan";
    a_component_with_a_chance_that_is_not_a_number: "wasm",
        Raw::candidates(&[(0, f64::from_bits(0x7ff4_dead_beef_0001))]), "invalid_plan";
    a_component_with_an_infinite_chance: "wasm", Raw::candidates(&[(0, f64::INFINITY)]), "invalid_plan";
    a_component_with_a_negative_chance: "wasm", Raw::candidates(&[(0, 1.5), (1, -0.5)]), "invalid_plan";
    a_component_with_chances_that_do_not_add_up: "wasm", Raw::candidates(&[(0, 0.5), (1, 0.4)]), "invalid_plan";
    a_component_with_a_model_twice: "wasm", Raw::candidates(&[(0, 0.5), (0, 0.5)]), "invalid_plan";
    a_component_with_a_model_of_four_billion: "wasm", Raw::candidates(&[(u32::MAX, 1.0)]), "invalid_plan";
    a_component_that_reads_keys_without_end: "wasm", reads_keys(65), "trap";
    a_script_that_loops: "rhai", script("loop { n += 1; }"), "deadline";
    a_script_that_recurses: "rhai", script("bad(n + 1, m)"), "stack_overflow";
    a_script_that_recurses_through_a_list: "rhai", script("[n].map(|x| bad(x + 1, 0))"), "stack_overflow";
    a_script_that_throws: "rhai", script("throw \"no model is good enough\""), "error";
    a_script_that_throws_a_book: "rhai", script("let s = \"\\n\"; s.pad(60000, 'x'); throw s"), "error";
    a_script_that_takes_memory: "rhai", script("let text = \"x\"; loop { text += text; }"), "memory";
    a_script_that_takes_all_memory_at_once: "rhai",
        script("let a = []; a.pad(4095, 0); let b = []; b.pad(4503599627370496, a); plan(b, 1)"), "memory";
    a_script_that_hoards: "rhai",
        script("let l = []; let s = \"\"; s.pad(60000, 'x'); loop { l.push(s + n); n += 1; }"), "memory";
    a_script_that_answers_nonsense: "rhai", script("plan([m.len], 1)"), "invalid_plan";
    a_script_that_answers_something_else: "rhai", script("\"the first, please\""), "error";
    a_script_that_plans_thousands: "rhai", script("let a = []; a.pad(4096, 0); plan(a, 1)"), "invalid_plan";
    a_script_with_a_chance_that_is_not_a_number: "rhai",
        script("plan([#{ model: 0, probability: 0.0 / 0.0 }], 1)"), "invalid_plan";
    a_script_with_a_model_below_zero: "rhai", script("plan([-1], 1)"), "error";
    a_script_that_reads_keys_without_end: "rhai", script("loop { kv_get(\"k\" + n); n += 1; }"), "error";
    a_script_with_a_counter_that_falls: "rhai", script("metric_add(\"falls\", -1); plan([0], 1)"), "error";
}
