//! A number for each model on offer: what scripts calculate with.
//!
//! A thin script works on columns: `models.has("speed") * 0.4 + models.latency_ms.at_most(500) * 0.2`.
//! One call does for all models what a loop in a script would take a hundred operations for. The
//! order of operations is the script's: each model's number is what the same formula gives for it.

use rhai::{Array, Dynamic, Engine, EvalAltResult};

type Fallible<T> = Result<T, Box<EvalAltResult>>;

/// A number for each model, in the order of the offers.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Column(pub(super) Vec<f64>);

impl Column {
    fn map(&self, change: impl Fn(f64) -> f64) -> Self {
        Self(self.0.iter().map(|&value| change(value)).collect())
    }

    fn zip(&self, other: &Self, join: impl Fn(f64, f64) -> f64) -> Fallible<Self> {
        if self.0.len() != other.0.len() {
            return Err(format!("a column of {} models meets one of {}", self.0.len(), other.0.len()).into());
        }
        Ok(Self(self.0.iter().zip(&other.0).map(|(&a, &b)| join(a, b)).collect()))
    }

    /// Indices by value, highest first; of equals the lowest index first.
    fn ranked(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.0.len()).collect();
        order.sort_by(|&a, &b| self.0[b].total_cmp(&self.0[a]));
        order
    }
}

fn indices(order: impl IntoIterator<Item = usize>) -> Array {
    order.into_iter().map(|index| Dynamic::from_int(index as i64)).collect()
}

/// Registers an operator between columns and numbers.
macro_rules! operator {
    ($engine:expr, $symbol:literal, $apply:expr) => {{
        let apply: fn(f64, f64) -> f64 = $apply;
        $engine
            .register_fn($symbol, move |a: &mut Column, b: Column| a.zip(&b, apply))
            .register_fn($symbol, move |a: &mut Column, b: f64| a.map(|value| apply(value, b)))
            .register_fn($symbol, move |a: &mut Column, b: i64| a.map(|value| apply(value, b as f64)))
            .register_fn($symbol, move |a: f64, b: Column| b.map(|value| apply(a, value)))
            .register_fn($symbol, move |a: i64, b: Column| b.map(|value| apply(a as f64, value)));
    }};
}

pub(super) fn register(engine: &mut Engine) {
    engine.register_type_with_name::<Column>("Column");
    operator!(engine, "+", |a, b| a + b);
    operator!(engine, "-", |a, b| a - b);
    operator!(engine, "*", |a, b| a * b);
    operator!(engine, "/", |a, b| a / b);
    operator!(engine, "min", f64::min);
    operator!(engine, "max", f64::max);
    // 1 where it holds, 0 elsewhere.
    operator!(engine, "at_most", |a, b| f64::from(u8::from(a <= b)));
    operator!(engine, "at_least", |a, b| f64::from(u8::from(a >= b)));
    operator!(engine, "equals", |a, b| f64::from(u8::from(a == b)));
    engine
        .register_get("len", |column: &mut Column| column.0.len() as i64)
        .register_indexer_get(|column: &mut Column, index: i64| -> Fallible<f64> {
            let at = usize::try_from(index).ok().and_then(|index| column.0.get(index));
            at.copied().ok_or_else(|| format!("model {index} of {}", column.0.len()).into())
        })
        .register_fn("to_array", |column: &mut Column| -> Array {
            column.0.iter().map(|&value| Dynamic::from_float(value)).collect()
        })
        .register_fn("ranked", |column: &mut Column| indices(column.ranked()))
        .register_fn("top", |column: &mut Column, count: i64| {
            indices(column.ranked().into_iter().take(usize::try_from(count).unwrap_or(0)))
        })
        .register_fn("best", |column: &mut Column| {
            column.ranked().first().map_or(Dynamic::UNIT, |&index| (index as i64).into())
        })
        .register_fn("highest", |column: &mut Column| column.0.iter().copied().fold(f64::NEG_INFINITY, f64::max))
        .register_fn("lowest", |column: &mut Column| column.0.iter().copied().fold(f64::INFINITY, f64::min))
        // Indices where the column is not 0.
        .register_fn("where_set", |column: &mut Column| {
            indices(column.0.iter().enumerate().filter(|(_, value)| **value != 0.0).map(|(index, _)| index))
        })
        // This column's value where `mask` is not 0, `other` elsewhere.
        .register_fn("only", |column: &mut Column, mask: Column, other: f64| {
            column.zip(&mask, |value, keep| if keep != 0.0 { value } else { other })
        });
}
