//! Which arm of an experiment a request is in, and how it went there.
//!
//! The arm is drawn here, by a keyed hash of what the caller does not choose: the request's id, which is
//! minted by Kairos. Where an operator asks for arms by the values of a tag, it is the value, of requests
//! that carry the tag: whoever can set it can then try values until he likes the arm, but not name one.

use std::sync::Arc;

use crate::draw;
use crate::exchange::Exchange;
use crate::gateway::Gateway;
use crate::policy::{Arm, Assigned, Router, Serving};
use crate::record::ExperimentRecord;

/// Draws the arm, where there is an experiment. Gives the router that decides.
pub(crate) fn draw<'a>(gateway: &Gateway, exchange: &mut Exchange, serving: &'a Serving) -> &'a Arc<dyn Router> {
    let Some(canary) = &serving.canary else { return &serving.router };
    let (salt, experiment) = (&gateway.settings.draw_salt, canary.experiment);
    let value = canary.sticky.as_deref().and_then(|tag| exchange.tags.iter().find(|(name, _)| name == tag));
    let hash = match value {
        None => keyed(salt, experiment, [b"request", exchange.id.as_bytes()]),
        Some((_, value)) => keyed(salt, experiment, [b"tag", value.as_bytes()]),
    };
    let arm = if draw::fraction(hash) < canary.share { Arm::Canary } else { Arm::Baseline };
    let assigned = Assigned {
        experiment,
        ticket: gateway.policies.ticket(),
        arm,
        share: canary.share,
        unit: value.is_some().then_some(hash),
    };
    gateway.policies.assigned(&assigned);
    exchange.assigned = Some(assigned);
    match arm {
        Arm::Canary => &canary.router,
        Arm::Baseline => &serving.router,
    }
}

/// A number that follows from these, and that nobody without the salt foresees.
fn keyed(salt: &[u8; 32], experiment: u64, [kind, unit]: [&[u8]; 2]) -> u64 {
    let length = [kind.len().to_le_bytes()[0]];
    draw::keyed(salt, &[b"kairos-canary", &experiment.to_be_bytes(), &length, kind, unit])
}

/// What a record says of it.
pub(crate) fn record(assigned: &Assigned) -> ExperimentRecord {
    let unit = assigned.unit.map(|unit| format!("{unit:016x}").into());
    ExperimentRecord { id: assigned.experiment, arm: assigned.arm.name(), share: assigned.share, unit }
}

/// How requests end by what the caller did, as far as that shows only once they are routed.
const CALLERS: [&str; 7] = [
    "client_left",
    "invalid_json",
    "invalid_value",
    "unknown_parameter",
    "unsupported_parameter",
    "model_ended",
    "unpriced",
];

/// Whether an end of this name counts against the policy in whose arm it came.
///
/// All do but what the caller did: leaving, or asking for what no model gives. A refusal by the policy
/// counts, as one that refuses everything would otherwise be cheap and fast; so does a limit on spending
/// that is passed, and a request that Bedrock calls wrong, since the policy chose the model that
/// was asked and the limits it was asked with. What callers do wrong they do in both arms alike.
pub(crate) fn is_failure(status: &str) -> bool {
    status != "ok" && !CALLERS.contains(&status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arms_follow_the_share_and_the_experiment() {
        let salt = [3; 32];
        let point = |experiment, unit: u32| keyed(&salt, experiment, [b"tag", &unit.to_le_bytes()]) >> 11;
        let below = |experiment: u64, share: f64| {
            let bound = (share * (1u64 << 53) as f64) as u64;
            (0..20_000).filter(move |unit| point(experiment, *unit) < bound).collect::<Vec<_>>()
        };
        let (few, more, others) = (below(1, 0.05), below(1, 0.25), below(2, 0.05));
        assert!((900..1_100).contains(&few.len()) && (900..1_100).contains(&others.len()), "{}", few.len());
        assert!(few.iter().all(|unit| more.contains(unit)), "who is in stays in when the share grows");
        let in_both = few.iter().filter(|unit| others.contains(unit)).count();
        assert!(in_both < 100, "another experiment draws anew: {in_both}");
        assert_ne!(keyed(&salt, 1, [b"tag", b"x"]), keyed(&salt, 1, [b"request", b"x"]));
        assert_ne!(keyed(&salt, 1, [b"tag", b"x"]), keyed(&[4; 32], 1, [b"tag", b"x"]));
    }

    #[test]
    fn what_the_caller_did_does_not_count_against_a_policy() {
        for status in ["ok", "client_left", "invalid_json", "invalid_value", "unsupported_parameter", "model_ended"] {
            assert!(!is_failure(status), "{status}");
        }
        for status in ["refused_by_policy", "throttled", "upstream_timeout", "rejected_by_bedrock", "internal_error"] {
            assert!(is_failure(status), "{status}");
        }
    }
}
