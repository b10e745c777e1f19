//! The engine that a script runs in.

use rhai::packages::{
    ArithmeticPackage, BasicArrayPackage, BasicIteratorPackage, BasicMapPackage, BasicMathPackage, BasicStringPackage,
    LogicPackage, MoreStringPackage, Package as _,
};
use rhai::{Dynamic, Engine, OptimizationLevel};

use crate::limits::Limits;

/// Depths that a thread's stack holds with room to spare, optimised or not.
const CALL_LEVELS: usize = 24;
const EXPRESSION_DEPTH: usize = 64;
const FUNCTION_EXPRESSION_DEPTH: usize = 48;
/// What a script may hold.
const STRING_BYTES: usize = 64 * 1024;
const ARRAY_ITEMS: usize = 4_096;
const MAP_ITEMS: usize = 1_024;
const VARIABLES: usize = 256;
const FUNCTIONS: usize = 256;

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
    engine
        .disable_symbol("eval")
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
