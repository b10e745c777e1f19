//! From what Bedrock says of a call to how its row in the ledger ends.

use kairos_dialects::answer::Served;
use kairos_dialects::outline::Outline;
use kairos_dialects::{Failure, Needs};

use crate::ledger::Ending;
use crate::models::{Answering, Catalogue, Target};
use crate::money::Picodollars;
use crate::price::{Day, PriceError, cost};

/// The ending of a call that was answered. The price that counts is that of what was served: the
/// tier that the answer names, the model that a prompt router chose; on the day of the reservation.
pub(crate) fn answered(
    catalogue: &Catalogue,
    target: &Target,
    outline: &Outline,
    served: &Served,
    (worst, day): (Picodollars, Day),
) -> Ending {
    let unknown = |why| Ending::Estimated { low: Picodollars::ZERO, high: worst, usage: served.usage, why };
    let Some(usage) = served.usage else { return unknown("the answer states no usage") };
    if let Some(why) = served.unpriced {
        return unknown(why);
    }
    let target = match served.invoked_model.as_deref() {
        None => target,
        Some(invoked) => match catalogue.answering(last_part(invoked)) {
            Answering::Target { target, ended: None } => &catalogue.targets[target],
            _ => return unknown("the model that was invoked has no known price"),
        },
    };
    let tier = served.tier.unwrap_or(outline.service_tier);
    let prices = catalogue.prices(target, day);
    let priced = match cost(&usage, tier, &prices) {
        Ok(priced) => priced,
        Err(PriceError::Unit(_)) => return unknown("what was used beside tokens has no known price"),
        Err(_) => return unknown("the service tier that was used has no known price"),
    };
    if priced.unpriced {
        let (low, high) = (priced.low, priced.amount);
        return Ending::Estimated { low, high, usage: Some(usage), why: "it has no known price" };
    }
    // What the answer leaves open of what was used bounds it from below, whatever else is not stated.
    let low = match &served.at_least {
        Some(least) => cost(least, tier, &prices).map_or(Picodollars::ZERO, |least| least.low),
        None => priced.low,
    };
    if outline.needs.contains(Needs::GUARDRAILS) && usage.guardrail.is_nothing() {
        // Units are only stated where the guardrail's trace was asked for.
        let high = priced.amount.max(worst);
        return Ending::Estimated { low, high, usage: Some(usage), why: "the guardrail's units are not stated" };
    }
    if served.at_least.is_some() {
        return Ending::Estimated {
            low,
            high: priced.amount,
            usage: Some(usage),
            why: "the answer does not say how much is billed",
        };
    }
    if priced.is_exact() {
        Ending::Settled { cost: priced.amount, usage }
    } else {
        Ending::Estimated { low: priced.low, high: priced.amount, usage: Some(usage), why: "a part has no known price" }
    }
}

/// The ending of an attempt that failed.
pub(crate) fn failed(failure: &Failure, worst: Picodollars) -> Ending {
    if failure.unbilled {
        Ending::Voided { why: failure.kind.name() }
    } else {
        Ending::Estimated { low: Picodollars::ZERO, high: worst, usage: None, why: failure.kind.name() }
    }
}

/// A model's id at the end of an ARN, or the id itself.
fn last_part(id: &str) -> &str {
    if id.starts_with("arn:") { id.rsplit('/').next().unwrap_or(id) } else { id }
}
