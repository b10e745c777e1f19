//! Step 4: the policy decides which models answer, and in what order.

use std::sync::Arc;

use kairos_dialects::{Failure, Kind};

use crate::arm;
use crate::decode::Decoded;
use crate::draw;
use crate::exchange::Exchange;
use crate::gateway::Gateway;
use crate::observe::{self, Observed};
use crate::offer::{self, Offers};
use crate::policy::{Candidate, Identity, Offer, Plan, PolicyError, RequestInfo, RouteInput, Router, Undecided, World};
use crate::record::{Asked, DecisionRecord, Given, InsteadOf};
use crate::request::RequestId;

/// What was decided.
pub(crate) struct Decision {
    /// Indices of the catalogue's targets, in the order to try.
    pub(crate) order: Vec<usize>,
    /// The output limit that the plan sets.
    pub(crate) max_output_tokens: Option<u32>,
    /// The most that a candidate may cost, in picodollars.
    pub(crate) max_cost: Option<u64>,
    /// The targets that the policy was offered, and the operator's fallbacks.
    pub(crate) targets: Vec<usize>,
    /// What of the request is not a number.
    pub(crate) info: Arc<RequestInfo>,
}

pub(crate) fn route(
    gateway: &Gateway,
    exchange: &mut Exchange,
    request: &Decoded,
    mut offers: Offers,
) -> Result<Decision, Failure> {
    let serving = gateway.policies.serving();
    let router = arm::draw(gateway, exchange, &serving);
    let answered = ask(router, exchange, &mut offers);
    if let Some(shadow) = serving.shadow.as_ref().filter(|shadow| shadow.wants()) {
        let models = marked(shadow.identity(), exchange, &offers);
        shadow.ask(RouteInput { request: &offers.info, features: &offers.features, models: &models }, &answered);
    }
    let (plan, decided_by, before) = match answered {
        Ok(plan) => (plan, router, None),
        Err(PolicyError::Refused(reason)) => {
            let given = (Arc::clone(router.identity().label()), reason, None);
            observe(gateway, exchange, request, &offers, &[], given);
            keep(gateway, exchange, offers, &**router, None, || Given::Refused(reason), None);
            return Err(refused(router.identity(), reason));
        }
        Err(error) => {
            exchange.policy_failed = error != PolicyError::Declined;
            if let PolicyError::Fault(fault) = &error {
                gateway.policies.failed(World::Router, router.identity(), fault);
            }
            let before = InsteadOf { policy: Arc::clone(router.identity().label()), outcome: Undecided::of(&error) };
            let why = format!("{}: {}", before.policy, before.outcome.name());
            exchange.record.warnings.push(format!("the policy did not decide, the native default did ({why})"));
            let plan = ask(&gateway.native, exchange, &mut offers)
                .map_err(|error| Failure::new(Kind::Internal, format!("the native router gave no plan: {error}")))?;
            (plan, &gateway.native, Some((before, Arc::clone(router.identity().setting()))))
        }
    };
    let drawn = triable(&plan, offers.features.named, &offers.facts)
        .map(|candidates| Drawn::of(&candidates, || uniform(&gateway.settings.draw_salt, exchange.id)));
    let Some(drawn) = drawn else {
        let given = (Arc::clone(decided_by.identity().label()), plan.reason, None);
        observe(gateway, exchange, request, &offers, &[], given);
        keep(gateway, exchange, offers, &**decided_by, before, || Given::Plan(plan), None);
        let message = "the policy's cost limit leaves no model that could answer this request";
        return Err(Failure::new(Kind::RefusedByPolicy, message));
    };
    let id_of = |index: &u32| Arc::clone(&offers.info.model_ids[*index as usize]);
    let order_ids = drawn.order.iter().map(id_of).collect();
    let mut order: Vec<usize> = drawn.order.iter().map(|index| offers.targets[*index as usize]).collect();
    let planned = order.len();
    add_fallbacks(exchange, request, plan.max_cost, &mut order);
    let model_id = |&target: &usize| Arc::clone(&exchange.catalogue.model_of(target).id);
    let fallback = order[planned..].iter().map(model_id).collect();
    exchange.decided(DecisionRecord {
        policy: Arc::clone(decided_by.identity().label()),
        reason: plan.reason,
        reason_name: decided_by.identity().reason(plan.reason).cloned(),
        offered: Arc::clone(&offers.info.model_ids),
        order: order_ids,
        fallback,
        propensity: drawn.propensity,
        instead_of: before.as_ref().map(|(before, _)| before.clone()),
        experiment: exchange.assigned.as_ref().map(arm::record),
    });
    let Plan { max_output_tokens, max_cost, reason, .. } = plan;
    let first = drawn.order.first().map(|first| (*first, drawn.propensity));
    let given = (Arc::clone(decided_by.identity().label()), reason, first);
    observe(gateway, exchange, request, &offers, &order[planned..], given);
    let info = Arc::clone(&offers.info);
    let mut targets = std::mem::take(&mut offers.targets);
    for target in &order[planned..] {
        if !targets.contains(target) {
            targets.push(*target);
        }
    }
    keep(gateway, exchange, offers, &**decided_by, before, || Given::Plan(plan), drawn.point);
    Ok(Decision { order, max_output_tokens, max_cost, targets, info })
}

/// Begins to gather what an observer is told, where one serves. `fallbacks` are the operator's.
fn observe(
    gateway: &Gateway,
    exchange: &mut Exchange,
    request: &Decoded,
    offers: &Offers,
    fallbacks: &[usize],
    given: observe::Given,
) {
    let Some(watcher) = gateway.policies.observer() else { return };
    let beside: Vec<usize> = fallbacks.iter().copied().filter(|target| !offers.targets.contains(target)).collect();
    let facts = match &beside[..] {
        [] => Some(Vec::new()),
        _ => offer::afresh(gateway, exchange, request, beside.clone()).ok().map(|offers| offers.facts),
    };
    // What has no price is told of no more than it is offered.
    let others = facts.as_ref().map_or((&[][..], &[][..]), |facts| (&beside[..], &facts[..]));
    exchange.observed = Some(Box::new(Observed::new(watcher, exchange, offers, others, given)));
}

/// Takes down what was asked and answered, where somebody keeps it.
fn keep(
    gateway: &Gateway,
    exchange: &mut Exchange,
    offers: Offers,
    decided_by: &dyn Router,
    before: Option<(InsteadOf, Arc<str>)>,
    given: impl FnOnce() -> Given,
    draw: Option<f64>,
) {
    if gateway.recorder.is_none() {
        return;
    }
    let identity = decided_by.identity();
    exchange.asked = Some(Box::new(Asked {
        policy: Arc::clone(identity.label()),
        setting: Arc::clone(identity.setting()),
        before,
        catalogue: Arc::clone(&exchange.catalogue),
        request: offers.info,
        features: offers.features,
        models: offers.facts,
        given: given(),
        draw,
    }));
}

/// What the operator wants tried once the plan's candidates have failed: models that fit, that have a
/// price within the policy's limit, that the key may use, and that are not in the plan.
fn add_fallbacks(exchange: &Exchange, request: &Decoded, max_cost: Option<u64>, order: &mut Vec<usize>) {
    let catalogue = &exchange.catalogue;
    if catalogue.fallback.is_empty() || !request.takes_any_model() {
        return;
    }
    for &target in &catalogue.fallback {
        let model = catalogue.targets[target].model;
        let planned = order.iter().any(|&other| catalogue.targets[other].model == model);
        let affordable = || {
            let worst = offer::worst(catalogue, target, request, exchange.day());
            worst.is_ok_and(|worst| max_cost.is_none_or(|most| worst.amount.0 <= most))
        };
        if !planned && exchange.allows(target) && offer::fits(catalogue, target, request) && affordable() {
            order.push(target);
        }
    }
}

/// The policy refuses the request.
pub(crate) fn refused(identity: &Identity, reason: u32) -> Failure {
    let name = identity.reason(reason).map_or(String::new(), |name| format!(" ({name})"));
    let message = format!("the policy {} refused the request, reason {reason}{name}", identity.name);
    Failure::new(Kind::RefusedByPolicy, message)
}

/// Asks one router, and checks what it says.
fn ask(router: &Arc<dyn Router>, exchange: &Exchange, offers: &mut Offers) -> Result<Plan, PolicyError> {
    let Offers { targets, facts, features, info } = offers;
    mark(router.identity(), exchange, targets, facts);
    router.route(RouteInput { request: info, features, models: facts })?.checked(facts.len())
}

/// Marks the models on offer with the names that a policy asks about.
pub(crate) fn mark(identity: &Identity, exchange: &Exchange, targets: &[usize], facts: &mut [Offer]) {
    facts.iter_mut().for_each(|offer| offer.names = 0);
    exchange.catalogue.mark_names(&identity.model_names, targets, facts);
}

/// The same, of a copy of them.
fn marked(identity: &Identity, exchange: &Exchange, offers: &Offers) -> Vec<Offer> {
    let mut facts = offers.facts.clone();
    mark(identity, exchange, &offers.targets, &mut facts);
    facts
}

/// The candidates of a plan that can be tried, their chances scaled to 1; none where the plan's cost
/// limit leaves none. A model that the caller named comes first for certain.
pub fn triable(plan: &Plan, named: Option<u32>, models: &[Offer]) -> Option<Vec<Candidate>> {
    let affordable = |index: u32| plan.max_cost.is_none_or(|most| models[index as usize].worst_case_cost <= most);
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
    match candidates.first_mut()? {
        // Only those of chance 0 are left: the first of them it is.
        first if sum <= 0.0 => first.probability = 1.0,
        _ => candidates.iter_mut().for_each(|candidate| candidate.probability /= sum),
    }
    Some(candidates)
}

/// Which candidate is first.
#[derive(Clone, Debug, PartialEq)]
pub struct Drawn {
    /// Indices of the models on offer, in the order to try.
    pub order: Vec<u32>,
    /// The chance that the first had.
    pub propensity: f64,
    /// The number in [0, 1) that decided; none where there was one candidate that could be first.
    pub point: Option<f64>,
}

impl Drawn {
    /// Draws among triable candidates. `point` gives a number in [0, 1).
    pub fn of(candidates: &[Candidate], point: impl FnOnce() -> f64) -> Self {
        let certain = candidates.iter().position(|candidate| candidate.probability >= 1.0);
        let point = certain.is_none().then(point);
        let first = certain.unwrap_or_else(|| {
            let mut below = 0.0;
            let drawn = candidates.iter().position(|candidate| {
                below += candidate.probability;
                candidate.probability > 0.0 && point.is_some_and(|point| point < below)
            });
            // Rounding can leave a sliver above the last sum.
            drawn.or_else(|| candidates.iter().rposition(|candidate| candidate.probability > 0.0)).unwrap_or(0)
        });
        let Candidate { model, probability } = candidates[first];
        Self { order: Self::first(candidates, model), propensity: probability, point }
    }

    /// The order to try where this model is first: the others keep theirs.
    pub fn first(candidates: &[Candidate], model: u32) -> Vec<u32> {
        let rest = candidates.iter().map(|candidate| candidate.model).filter(|other| *other != model);
        std::iter::once(model).chain(rest).collect()
    }
}

/// A number in [0, 1) that follows from the request's id, and that nobody without the salt foresees.
fn uniform(salt: &[u8; 32], id: RequestId) -> f64 {
    draw::fraction(draw::keyed(salt, &[id.as_bytes()]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidates(list: &[(u32, f64)]) -> Vec<Candidate> {
        list.iter().map(|&(model, probability)| Candidate { model, probability }).collect()
    }

    #[test]
    fn draws_follow_the_chances_and_the_rest_keep_their_order() {
        let draw = |plan: &[Candidate], id| Drawn::of(plan, || uniform(&[7; 32], id));
        let plan = candidates(&[(4, 0.25), (2, 0.0), (3, 0.75)]);
        let mut firsts = [0u32; 5];
        for _ in 0..4000 {
            let drawn = draw(&plan, RequestId::mint());
            firsts[drawn.order[0] as usize] += 1;
            let expected: (&[u32], f64) = if drawn.order[0] == 4 { (&[4, 2, 3], 0.25) } else { (&[3, 4, 2], 0.75) };
            assert_eq!((&drawn.order[..], drawn.propensity), expected);
            // Who knows the point finds the same.
            assert_eq!(Drawn::of(&plan, || drawn.point.unwrap()), drawn);
        }
        assert_eq!(firsts[2], 0);
        // Three standard deviations of a binomial count.
        assert!((918..=1082).contains(&firsts[4]), "{firsts:?}");
        let id = RequestId::mint();
        assert_eq!(draw(&plan, id), draw(&plan, id));
        let certain = Drawn { order: vec![0, 1], propensity: 1.0, point: None };
        assert_eq!(draw(&candidates(&[(1, 0.0), (0, 1.0)]), id), certain);
    }
}
