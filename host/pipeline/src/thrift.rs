//! What becomes of requests while a budget that refuses nothing is used up: the native part of saving.
//! Policies see the budget among the features, and may save more, and earlier.

use std::time::Duration;

use kairos_dialects::{Failure, Kind};

use crate::decode::Decoded;
use crate::ledger::Degraded;
use crate::money::Picodollars;
use crate::policy::Priority;

/// How many models a policy is offered then.
const CHEAPEST: usize = 3;

/// What can wait, waits.
pub(crate) fn admit(degraded: &Degraded, request: &Decoded) -> Result<(), Failure> {
    let Degraded { budget, resets_ms } = degraded;
    if request.hints.priority != Some(Priority::Low) {
        return Ok(());
    }
    let message = format!("the budget {budget:?} is used up: requests of low priority wait until it begins anew");
    let retry_after = Some(Duration::from_millis(*resets_ms));
    Err(Failure { retry_after, ..Failure::new(Kind::BudgetExceeded, message) })
}

/// What a caller is told who left the choice to the gateway.
pub(crate) fn told(degraded: &Degraded) -> String {
    format!("the budget {:?} is used up: only the cheapest models are offered", degraded.budget)
}

/// The cheapest of these, by the most that the request can cost there, in the order in which they came.
pub(crate) fn cheapest(
    priced: impl Iterator<Item = (usize, Picodollars)>,
) -> impl Iterator<Item = (usize, Picodollars)> {
    let mut found: Vec<_> = priced.enumerate().collect();
    found.sort_by_key(|(place, (_, worst))| (*worst, *place));
    found.truncate(CHEAPEST);
    found.sort_by_key(|(place, _)| *place);
    found.into_iter().map(|(_, offer)| offer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cheapest_stay_in_their_order() {
        let priced = [(7, 50), (3, 10), (9, 40), (1, 20), (2, 20)].map(|(target, worst)| (target, Picodollars(worst)));
        let kept: Vec<_> = cheapest(priced.into_iter()).map(|(target, _)| target).collect();
        assert_eq!(kept, [3, 1, 2]);
        assert_eq!(cheapest(priced.into_iter().take(2)).count(), 2);
    }
}
