//! A number for each model on offer: what scripts calculate with.
//!
//! A thin script works on columns: `models.has("speed") * 0.4 + models.latency_ms.at_most(500) * 0.2`.
//! One call does for all models what a loop in a script would take a hundred operations for. The
//! order of operations is the script's: each model's number is what the same formula gives for it.

use rhai::{Array, Dynamic};

use super::table::{Api, Fallible};

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
    ($api:expr, $symbol:literal, $signature:literal, $doc:literal, $apply:expr) => {{
        let apply: fn(f64, f64) -> f64 = $apply;
        $api.operator($signature, $doc)
            .also($symbol, move |a: &mut Column, b: Column| a.zip(&b, apply))
            .also($symbol, move |a: &mut Column, b: f64| a.map(|value| apply(value, b)))
            .also($symbol, move |a: &mut Column, b: i64| a.map(|value| apply(value, b as f64)))
            .also($symbol, move |a: f64, b: Column| b.map(|value| apply(a, value)))
            .also($symbol, move |a: i64, b: Column| b.map(|value| apply(a as f64, value)));
    }};
}

/// 1 where it holds, 0 elsewhere.
fn mask(holds: bool) -> f64 {
    f64::from(u8::from(holds))
}

pub(super) fn register(api: &mut Api<'_>) {
    api.section(
        "Columns",
        "An operation works on all models at once. In what has two, `a` and `b` are columns, or one of them is a \
         number; what is not known (`cache_read_price`, `quota_left`) has no rank until `a.only(a.equals(a), 1e300)` \
         puts a number in its place.",
    );
    operator!(api, "+", "a + b", "Sums.", |a, b| a + b);
    operator!(api, "-", "a - b", "Differences.", |a, b| a - b);
    operator!(api, "*", "a * b", "Products.", |a, b| a * b);
    operator!(api, "/", "a / b", "Quotients.", |a, b| a / b);
    operator!(api, "min", "a.min(b)", "The lesser of both, for each model.", f64::min);
    operator!(api, "max", "a.max(b)", "The greater.", f64::max);
    operator!(api, "at_most", "a.at_most(b)", "1 where `a <= b`, 0 elsewhere.", |a, b| mask(a <= b));
    operator!(api, "at_least", "a.at_least(b)", "1 where `a >= b`, 0 elsewhere.", |a, b| mask(a >= b));
    operator!(api, "equals", "a.equals(b)", "1 where both are equal, 0 elsewhere.", |a, b| mask(a == b));
    register_methods(api);
}

fn register_methods(api: &mut Api<'_>) {
    api.of::<Column>("Column", "a")
        .function(
            "only(mask: column, other: float) -> column",
            "`a` where the mask is not 0, `other` elsewhere.",
            |column: &mut Column, mask: Column, other: f64| {
                column.zip(&mask, |value, keep| if keep != 0.0 { value } else { other })
            },
        )
        .function("best() -> int?", "Index of the highest; of equals the lowest index.", |column: &mut Column| {
            column.ranked().first().map_or(Dynamic::UNIT, |&index| (index as i64).into())
        })
        .function(
            "top(count: int) -> array",
            "Indices of the highest, highest first; of equals the lowest index first.",
            |column: &mut Column, count: i64| {
                indices(column.ranked().into_iter().take(usize::try_from(count).unwrap_or(0)))
            },
        )
        .function("ranked() -> array", "All indices, likewise.", |column: &mut Column| indices(column.ranked()))
        .function("highest() -> float", "The highest number.", |column: &mut Column| {
            column.0.iter().copied().fold(f64::NEG_INFINITY, f64::max)
        })
        .function("lowest() -> float", "The lowest number.", |column: &mut Column| {
            column.0.iter().copied().fold(f64::INFINITY, f64::min)
        })
        .function("where_set() -> array", "Indices where it is not 0.", |column: &mut Column| {
            indices(column.0.iter().enumerate().filter(|(_, value)| **value != 0.0).map(|(index, _)| index))
        })
        .property("len: int", "How many models there are.", |column: &mut Column| column.0.len() as i64)
        .index("[i]", "The number of one model.", |column: &mut Column, index| {
            let at = usize::try_from(index).ok().and_then(|index| column.0.get(index));
            Ok(*at.ok_or_else(|| format!("model {index} of {}", column.0.len()))?)
        })
        .function("to_array() -> array", "The numbers, as an array.", |column: &mut Column| -> Array {
            column.0.iter().map(|&value| Dynamic::from_float(value)).collect()
        });
}
