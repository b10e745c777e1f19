//! Step 4: the policy decides which models answer, and in what order.

use std::sync::Arc;

use hmac::{Hmac, KeyInit as _, Mac as _};
use kairos_dialects::{Failure, Kind};
use sha2::Sha256;

use crate::arm;
use crate::decode::Decoded;
use crate::exchange::Exchange;
use crate::gateway::Gateway;
use crate::models::Catalogue;
use crate::offer::{self, Offers};
use crate::policy::{Candidate, Fault, FaultKind, Identity, Offer, Plan, PolicyError, RouteInput, Router};
use crate::record::DecisionRecord;
use crate::request::RequestId;

/// What was decided.
pub(crate) struct Decision {
    /// Indices of the catalogue's targets, in the order to try.
    pub(crate) order: Vec<usize>,
    /// The output limit that the plan sets.
    pub(crate) max_output_tokens: Option<u32>,
}

pub(crate) fn route(
    gateway: &Gateway,
    exchange: &mut Exchange,
    request: &Decoded,
    offers: &Offers,
) -> Result<Decision, Failure> {
    let serving = gateway.policies.serving();
    let router = arm::draw(gateway, exchange, &serving);
    let answered = ask(router, exchange, offers);
    if let Some(shadow) = serving.shadow.as_ref().filter(|shadow| shadow.wants()) {
        let models = marked(shadow.identity(), exchange, offers);
        shadow.ask(RouteInput { request: &offers.info, features: &offers.features, models: &models }, &answered);
    }
    let (plan, decided_by, instead_of) = match answered {
        Ok(plan) => (plan, router, None),
        Err(PolicyError::Refused(reason)) => return Err(refused(&**router, reason)),
        Err(error) => {
            exchange.policy_failed = error != PolicyError::Declined;
            if let PolicyError::Fault(fault) = &error {
                gateway.policies.failed(router, fault);
            }
            let why = format!("{}: {error}", router.identity().label());
            exchange.record.warnings.push(format!("the policy did not decide, the native default did ({why})"));
            let plan = ask(&gateway.native, exchange, offers)
                .map_err(|error| Failure::new(Kind::Internal, format!("the native router gave no plan: {error}")))?;
            (plan, &gateway.native, Some(why))
        }
    };
    let candidates = triable(&plan, offers)?;
    let (order, propensity) = draw(&candidates, &gateway.settings.draw_salt, exchange.id);
    let id_of = |index: &u32| Arc::clone(&offers.info.model_ids[*index as usize]);
    let order_ids = order.iter().map(id_of).collect();
    let mut order: Vec<usize> = order.into_iter().map(|index| offers.targets[index as usize]).collect();
    let planned = order.len();
    add_fallbacks(&exchange.catalogue, request, plan.max_cost, &mut order);
    let model_id = |&target: &usize| Arc::clone(&exchange.catalogue.model_of(target).id);
    let fallback = order[planned..].iter().map(model_id).collect();
    exchange.decided(DecisionRecord {
        policy: Arc::clone(decided_by.identity().label()),
        reason: plan.reason,
        reason_name: decided_by.identity().reason(plan.reason).cloned(),
        offered: Arc::clone(&offers.info.model_ids),
        order: order_ids,
        fallback,
        propensity,
        instead_of,
        experiment: exchange.assigned.as_ref().map(arm::record),
    });
    Ok(Decision { order, max_output_tokens: plan.max_output_tokens })
}

/// What the operator wants tried once the plan's candidates have failed: models that fit, that have a
/// price within the policy's limit, and that are not in the plan.
fn add_fallbacks(catalogue: &Catalogue, request: &Decoded, max_cost: Option<u64>, order: &mut Vec<usize>) {
    if catalogue.fallback.is_empty() || !request.takes_any_model() {
        return;
    }
    for &target in &catalogue.fallback {
        let model = catalogue.targets[target].model;
        let planned = order.iter().any(|&other| catalogue.targets[other].model == model);
        let affordable = || {
            let worst = offer::worst(catalogue, &catalogue.targets[target], request);
            worst.is_ok_and(|worst| max_cost.is_none_or(|most| worst.0 <= most))
        };
        if !planned && offer::fits(catalogue, target, request) && affordable() {
            order.push(target);
        }
    }
}

fn refused(router: &dyn Router, reason: u32) -> Failure {
    let name = router.identity().reason(reason).map_or(String::new(), |name| format!(" ({name})"));
    let message = format!("the policy {} refused the request, reason {reason}{name}", router.identity().name);
    Failure::new(Kind::RefusedByPolicy, message)
}

/// Asks one router, and checks what it says.
fn ask(router: &Arc<dyn Router>, exchange: &Exchange, offers: &Offers) -> Result<Plan, PolicyError> {
    let models = marked(router.identity(), exchange, offers);
    let plan = router.route(RouteInput { request: &offers.info, features: &offers.features, models: &models })?;
    plan.check(models.len()).map_err(|message| PolicyError::Fault(Fault::new(FaultKind::InvalidPlan, message)))?;
    Ok(plan)
}

/// The models on offer, with the names that a policy asks about.
fn marked(identity: &Identity, exchange: &Exchange, offers: &Offers) -> Vec<Offer> {
    let mut models = offers.facts.clone();
    exchange.catalogue.mark_names(&identity.model_names, &offers.targets, &mut models);
    models
}

/// The candidates that can be tried, their chances scaled to 1. A model that the caller named comes
/// first for certain.
fn triable(plan: &Plan, offers: &Offers) -> Result<Vec<Candidate>, Failure> {
    let named = offers.features.named;
    let affordable = |index: u32| plan.max_cost.is_none_or(|most| offers.facts[index as usize].worst_case_cost <= most);
    let mut candidates: Vec<Candidate> = plan
        .candidates
        .iter()
        .copied()
        .filter(|candidate| affordable(candidate.model) || Some(candidate.model) == named)
        .collect();
    if let Some(named) = named {
        candidates.retain(|candidate| candidate.model != named);
        candidates.iter_mut().for_each(|candidate| candidate.probability = 0.0);
        candidates.insert(0, Candidate { model: named, probability: 1.0 });
    }
    let sum: f64 = candidates.iter().map(|candidate| candidate.probability).sum();
    match candidates.first_mut() {
        None => {
            let message = "the policy's cost limit leaves no model that could answer this request";
            return Err(Failure::new(Kind::RefusedByPolicy, message));
        }
        // Only those of chance 0 are left: the first of them it is.
        Some(first) if sum <= 0.0 => first.probability = 1.0,
        Some(_) => candidates.iter_mut().for_each(|candidate| candidate.probability /= sum),
    }
    Ok(candidates)
}

/// Draws which candidate is first. Gives the order to try and the chance that the first had.
fn draw(candidates: &[Candidate], salt: &[u8; 32], id: RequestId) -> (Vec<u32>, f64) {
    let certain = candidates.iter().position(|candidate| candidate.probability >= 1.0);
    let first = certain.unwrap_or_else(|| {
        let point = uniform(salt, id);
        let mut below = 0.0;
        let drawn = candidates.iter().position(|candidate| {
            below += candidate.probability;
            candidate.probability > 0.0 && point < below
        });
        // Rounding can leave a sliver above the last sum.
        drawn.or_else(|| candidates.iter().rposition(|candidate| candidate.probability > 0.0)).unwrap_or(0)
    });
    let rest = candidates.iter().enumerate().filter(|(place, _)| *place != first).map(|(_, candidate)| candidate.model);
    (std::iter::once(candidates[first].model).chain(rest).collect(), candidates[first].probability)
}

/// A number in [0, 1) that follows from the request's id, and that nobody without the salt foresees.
fn uniform(salt: &[u8; 32], id: RequestId) -> f64 {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(salt) else { return 0.0 };
    mac.update(id.as_bytes());
    let digest = mac.finalize().into_bytes();
    let mut bytes = [0u8; 8];
    bytes.copy_from_slice(&digest[..8]);
    (u64::from_be_bytes(bytes) >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidates(list: &[(u32, f64)]) -> Vec<Candidate> {
        list.iter().map(|&(model, probability)| Candidate { model, probability }).collect()
    }

    #[test]
    fn draws_follow_the_chances_and_the_rest_keep_their_order() {
        let salt = [7; 32];
        let plan = candidates(&[(4, 0.25), (2, 0.0), (3, 0.75)]);
        let mut firsts = [0u32; 5];
        for _ in 0..4000 {
            let (order, propensity) = draw(&plan, &salt, RequestId::mint());
            firsts[order[0] as usize] += 1;
            let expected: (&[u32], f64) = if order[0] == 4 { (&[4, 2, 3], 0.25) } else { (&[3, 4, 2], 0.75) };
            assert_eq!((&order[..], propensity), expected);
        }
        assert_eq!(firsts[2], 0);
        // Three standard deviations of a binomial count.
        assert!((918..=1082).contains(&firsts[4]), "{firsts:?}");
        let id = RequestId::mint();
        assert_eq!(draw(&plan, &salt, id), draw(&plan, &salt, id));
        assert_eq!(draw(&candidates(&[(1, 0.0), (0, 1.0)]), &salt, id), (vec![0, 1], 1.0));
    }
}
