//! Which estimates a bill settles: those of a key and model on a day whose sum follows from it. Where
//! several keys share what is left, nobody knows who had which part of it, and none is made up.

use kairos_store::ledger::Correction;

use super::compare::{Cell, Comparison};
use super::whose::Whose;

/// Estimates that a bill does not settle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    /// On which day.
    pub(crate) day: i32,
    /// Of which model.
    pub(crate) whose: Whose,
    /// Why not.
    pub(crate) why: &'static str,
}

/// What follows of a comparison.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Settlement {
    /// Estimates that become what the bill says.
    pub(crate) corrections: Vec<Correction>,
    /// Those that stay.
    pub(crate) kept: Vec<Kept>,
}

/// Looks which estimates a bill settles. `why` is written beside them.
pub(crate) fn settle(comparison: &Comparison, why: &str) -> Settlement {
    let mut settlement = Settlement::default();
    for cell in comparison.cells.iter().filter(|cell| !cell.ledger.estimates.is_empty()) {
        let guarded = comparison.cells.iter().find(|other| other.day == cell.day && other.whose == Whose::Guardrails);
        let are_guardrails_clear = guarded.is_none_or(|guarded| guarded.difference().abs() <= guarded.rounding());
        let is_unclear = |other: &Cell| other.day == cell.day && matches!(other.whose, Whose::Unknown(_));
        let clear = if comparison.cells.iter().any(is_unclear) {
            Err("lines of that day are of unknown usage types, and may be of this model")
        } else if are_guardrails_clear {
            Ok(())
        } else {
            Err("guardrail units of that day are not clear, and estimates may hold some")
        };
        match clear.and_then(|()| amounts(cell)) {
            Ok(amounts) => {
                let rows = cell.ledger.estimates.iter().zip(amounts).map(|((tuple, estimates), amount)| Correction {
                    tuple: tuple.clone(),
                    team: estimates.team.clone().flatten(),
                    replaced: u64::try_from(estimates.high).unwrap_or(u64::MAX),
                    amount,
                    why: why.to_owned(),
                });
                settlement.corrections.extend(rows);
            }
            Err(why) => settlement.kept.push(Kept { day: cell.day, whose: cell.whose.clone(), why }),
        }
    }
    settlement
}

/// What each key's estimates come to, or why that does not follow.
fn amounts(cell: &Cell) -> Result<Vec<u64>, &'static str> {
    let ledger = &cell.ledger;
    if ledger.open > 0 {
        return Err("attempts are under way");
    }
    if ledger.late.0 > 0 {
        return Err("the bill ends before the day does");
    }
    if ledger.near_midnight.1 > 0 {
        return Err("requests near midnight may be on the bill of the other day");
    }
    // No line is not a line of nothing: a part of the bill may be missing.
    if cell.bill.lines == 0 {
        return Err("the bill has no line of this model on that day");
    }
    if !cell.lacking().is_empty() {
        return Err("the bill has fewer tokens than the attempts that are settled: a part of it is missing");
    }
    let estimates: Vec<_> = ledger.estimates.values().collect();
    let low: i128 = estimates.iter().map(|of| of.low).sum();
    let high: i128 = estimates.iter().map(|of| of.high).sum();
    let left = cell.bill.cost - (ledger.charged - high);
    let rounding = cell.rounding();
    if left < low - rounding || left > high + rounding {
        return Err("the bill is outside of what they can be: something else differs, too");
    }
    let whole = |amount: i128| u64::try_from(amount).unwrap_or(0);
    match estimates[..] {
        [_] => Ok(vec![whole(left.clamp(low, high))]),
        _ if left <= low + rounding && low + rounding < high => Ok(estimates.iter().map(|of| whole(of.low)).collect()),
        _ if left >= high - rounding && high - rounding > low => {
            Ok(estimates.iter().map(|of| whole(of.high)).collect())
        }
        _ => Err(
            "several keys, or models, share what is left, and the bill does not say who had which part; an application inference profile for each would",
        ),
    }
}
