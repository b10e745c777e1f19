//! The engine that a script runs in.

use rhai::packages::{
    ArithmeticPackage, BasicArrayPackage, BasicIteratorPackage, BasicMapPackage, BasicMathPackage, BasicStringPackage,
    LogicPackage, MoreStringPackage, Package as _,
};
use rhai::{Array, Dynamic, Engine, EvalAltResult, ImmutableString, Map, OptimizationLevel, Position};

use crate::limits::Limits;

/// Depths that a thread's stack holds with room to spare, optimised or not.
const CALL_LEVELS: usize = 24;
const EXPRESSION_DEPTH: usize = 64;
const FUNCTION_EXPRESSION_DEPTH: usize = 48;
/// What a script may hold.
const STRING_BYTES: usize = 64 * 1024;
const ARRAY_ITEMS: usize = 4_096;
const MAP_ITEMS: usize = 1_024;
const VARIABLES: usize = 64;
const FUNCTIONS: usize = 256;

/// Functions that make more than they take: within bounds, which Rhai checks only afterwards, or by
/// sums that overflow.
fn bound_growth(engine: &mut Engine) {
    fn replaced(text: &mut ImmutableString, find: &str, with: &str) -> Result<(), Box<EvalAltResult>> {
        let found = if find.is_empty() { text.len() + 1 } else { text.matches(find).count() };
        if text.len().saturating_add(found.saturating_mul(with.len())) > STRING_BYTES {
            return Err(Box::new(EvalAltResult::ErrorDataTooLarge("Length of string".into(), Position::NONE)));
        }
        *text = text.replace(find, with).into();
        Ok(())
    }
    /// A count that no array can have must not come near the allocator: it ends the process.
    fn padded(array: &mut Array, count: i64, item: Dynamic) -> Result<(), Box<EvalAltResult>> {
        let count = usize::try_from(count).unwrap_or(0);
        let added = count.saturating_sub(array.len());
        if added.saturating_mul(items(&item)) > ARRAY_ITEMS {
            return Err(Box::new(EvalAltResult::ErrorDataTooLarge("Size of array/BLOB".into(), Position::NONE)));
        }
        array.resize(count.max(array.len()), item);
        Ok(())
    }
    /// No more pieces than an array may well hold: what is left is the last piece, or, where words are
    /// split off at white space, left out.
    fn pieces<'a>(parts: impl Iterator<Item = &'a str>) -> Array {
        parts.map(|part| Dynamic::from(part.to_owned())).collect()
    }
    engine
        .register_fn("pad", padded)
        .register_fn("replace", |text: &mut ImmutableString, find: &str, with: &str| replaced(text, find, with))
        .register_fn("replace", |text: &mut ImmutableString, find: char, with: &str| {
            replaced(text, find.encode_utf8(&mut [0; 4]), with)
        })
        .register_fn("replace", |text: &mut ImmutableString, find: &str, with: char| {
            replaced(text, find, with.encode_utf8(&mut [0; 4]))
        })
        .register_fn("replace", |text: &mut ImmutableString, find: char, with: char| {
            replaced(text, find.encode_utf8(&mut [0; 4]), with.encode_utf8(&mut [0; 4]))
        })
        .register_fn("split", |text: &mut ImmutableString, by: &str| pieces(text.splitn(ARRAY_ITEMS / 2, by)))
        .register_fn("split", |text: &mut ImmutableString, by: char| pieces(text.splitn(ARRAY_ITEMS / 2, by)))
        .register_fn("split", |text: &mut ImmutableString| pieces(text.split_whitespace().take(ARRAY_ITEMS / 2)));
}

/// A value and all that are in it.
fn items(value: &Dynamic) -> usize {
    if let Some(array) = value.read_lock::<Array>() {
        1 + array.iter().map(items).sum::<usize>()
    } else if let Some(map) = value.read_lock::<Map>() {
        1 + map.values().map(items).sum::<usize>()
    } else {
        1
    }
}

/// An engine with every limit set. `is_over` is asked now and then whether the call must stop.
pub(super) fn bounded(limits: &Limits, is_over: impl Fn(u64) -> bool + Send + Sync + 'static) -> Engine {
    let mut engine = Engine::new_raw();
    // By name, not the core package: that one sleeps, tells the time and prints.
    ArithmeticPackage::new().register_into_engine(&mut engine);
    LogicPackage::new().register_into_engine(&mut engine);
    BasicMathPackage::new().register_into_engine(&mut engine);
    BasicArrayPackage::new().register_into_engine(&mut engine);
    BasicMapPackage::new().register_into_engine(&mut engine);
    BasicStringPackage::new().register_into_engine(&mut engine);
    MoreStringPackage::new().register_into_engine(&mut engine);
    BasicIteratorPackage::new().register_into_engine(&mut engine);
    bound_growth(&mut engine);
    engine
        .disable_symbol("eval")
        // Function pointers hold values that no limit counts: chains of them fill memory and stack.
        .disable_symbol("Fn")
        .disable_symbol("curry")
        .set_strict_variables(true)
        .set_optimization_level(OptimizationLevel::Simple)
        .set_max_operations(limits.script_operations)
        .set_max_call_levels(CALL_LEVELS)
        .set_max_expr_depths(EXPRESSION_DEPTH, FUNCTION_EXPRESSION_DEPTH)
        .set_max_string_size(STRING_BYTES)
        .set_max_array_size(ARRAY_ITEMS)
        .set_max_map_size(MAP_ITEMS)
        .set_max_variables(VARIABLES)
        .set_max_functions(FUNCTIONS)
        .on_print(|_| {})
        .on_debug(|_, _, _| {})
        .on_progress(move |operations| is_over(operations).then_some(Dynamic::UNIT));
    engine
}
