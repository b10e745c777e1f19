//! What another policy would have done with a recorded request, and how much can be known of what would
//! have come of it.

use kairos_pipeline::policy::{CacheDirective, Plan};
use kairos_pipeline::record::Given;
use kairos_pipeline::route::{Drawn, triable};
use kairos_store::records::{Question, Row};
use serde_json::Value;

/// What is done with a request: the models in the order in which they are tried, within these limits.
/// Not the first alone: where it fails, the others matter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Action {
    /// Indices of the models on offer.
    pub(super) order: Vec<u32>,
    limits: (Option<u32>, Option<u64>, CacheDirective),
}

/// What a policy does with a request, each with its chance. One that is certain but where it explores.
/// None: no model is tried.
pub(super) type Actions = Vec<(Option<Action>, f64)>;

/// What a policy's answer comes to.
pub(super) fn actions(given: &Given, question: &Question) -> Actions {
    let refused = vec![(None, 1.0)];
    let Given::Plan(plan) = given else { return refused };
    let Some(candidates) = triable(plan, question.features.named, &question.models) else { return refused };
    let Plan { max_output_tokens, max_cost, cache, .. } = *plan;
    let possible = candidates.iter().filter(|candidate| candidate.probability > 0.0);
    let firsts = possible.map(|first| {
        // The order that comes of this one being drawn.
        let drawn = Drawn::first(&candidates, first.model);
        (Some(Action { order: drawn, limits: (max_output_tokens, max_cost, cache) }), first.probability)
    });
    firsts.collect()
}

/// What came of a request. Numbers are of the request as a whole.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Outcome {
    /// US dollars, an upper bound where a part is estimated.
    pub(super) cost: f64,
    /// 1 where it failed for a reason that is not the caller's, else 0.
    pub(super) error: f64,
    /// Milliseconds to its end.
    pub(super) latency: f64,
    /// Whether the first attempt answered.
    pub(super) at_once: bool,
    /// Whether the model that was drawn first was tried first.
    pub(super) as_drawn: bool,
    /// The caller left before the end: it took no longer, and did not fail.
    pub(super) left: bool,
}

impl Outcome {
    /// What a record says.
    pub(super) fn of(row: &Row) -> Self {
        let body = &row.body;
        let status = body["status"].as_str().unwrap_or_default();
        let attempts = body["attempts"].as_array().map_or(0, Vec::len);
        Self {
            cost: number(&body["cost_usd"]),
            error: f64::from(u8::from(!matches!(status, "ok" | "client_left"))),
            latency: number(&body["duration_ms"]),
            at_once: status == "ok" && attempts == 1,
            as_drawn: body["prompted"]["first_left_out"] != true,
            left: status == "client_left",
        }
    }
}

/// A number, also where it is written as text, as exact amounts are.
pub(super) fn number(value: &Value) -> f64 {
    value.as_f64().or_else(|| value.as_str()?.parse().ok()).unwrap_or(0.0)
}

/// How much is known of a request that another policy would have decided.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Known {
    /// The same would have come of it: the policies do the same here, or differ only in what came after
    /// the attempt that answered.
    Observed,
    /// The policy would have refused it: it would have cost nothing, and failed.
    Refused,
    /// What would have come of it on average follows from how likely the actions were, and are.
    Estimated(Vec<Weighed>),
    /// What was done tells nothing of what would have come of it.
    Unknown,
}

/// An action, with its chance under the policy that is replayed and the one that decided.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Weighed {
    /// The model that is tried first.
    pub(super) first: u32,
    /// The chance that the replayed policy gives it.
    pub(super) now: f64,
    /// The chance that it had.
    pub(super) then: f64,
    /// Whether it is what was done.
    pub(super) is_taken: bool,
}

/// The most that one record may count for: where an action is likelier than that by comparison, what
/// would have come of it is unknown.
pub(super) const MOST_WEIGHT: f64 = 20.0;
/// Chances that differ by less are equal: they are quotients of sums.
const ROUNDING: f64 = 1e-12;

/// What was done, and what could have been done.
pub(super) struct Then<'a> {
    /// What could have been, each with its chance: in an experiment, by either arm.
    pub(super) possible: &'a Actions,
    /// What was.
    pub(super) taken: Option<Action>,
}

/// The action that was taken: among those of the policy that decided, the one whose order was tried.
pub(super) fn taken(actions: &Actions, order: &[u32]) -> Option<Action> {
    let possible = actions.iter().filter_map(|(action, _)| action.as_ref());
    possible.into_iter().find(|action| action.order == order).cloned()
}

/// Says what is known. Which of these a record is, follows from what it was about, and not from what was
/// drawn for it: what is left out because of a draw would make the rest say something else.
pub(super) fn compare(now: &Actions, then: &Then<'_>, question: &Question, outcome: &Outcome) -> Known {
    let Then { possible: then, taken } = then;
    let chance = |actions: &Actions, of: &Option<Action>| -> f64 {
        actions.iter().filter(|(action, _)| action == of).map(|(_, chance)| chance).sum()
    };
    let is_same = now.iter().all(|(action, chance_now)| (chance(then, action) - chance_now).abs() < ROUNDING);
    if is_same && now.len() == then.len() {
        return Known::Observed;
    }
    if matches!(now[..], [(None, _)]) {
        return Known::Refused;
    }
    // What came of it is another model's than the one that was decided for.
    if !outcome.as_drawn {
        return Known::Unknown;
    }
    // What did not decide for another reason than what it was asked may have decided otherwise.
    if question.before.as_ref().is_some_and(|(before, _)| !before.outcome.is_of_the_question()) {
        return Known::Unknown;
    }
    if let ([(Some(now), _)], [(Some(then), _)]) = (&now[..], &then[..])
        && now.limits == then.limits
        && now.order.first() == then.order.first()
        && outcome.at_once
    {
        return Known::Observed;
    }
    let weigh = |action: &Action, now: f64, then: f64| Weighed {
        first: action.order[0],
        now,
        then,
        is_taken: taken.as_ref() == Some(action),
    };
    let mut weighed = Vec::with_capacity(now.len() + then.len());
    for (action, chance_now) in now {
        let (chance_then, Some(action)) = (chance(then, action), action) else { return Known::Unknown };
        if chance_then <= 0.0 || chance_now / chance_then > MOST_WEIGHT {
            return Known::Unknown;
        }
        weighed.push(weigh(action, *chance_now, chance_then));
    }
    for (action, chance_then) in then.iter() {
        if let Some(action) = action.as_ref().filter(|_| chance(now, action) == 0.0) {
            weighed.push(weigh(action, 0.0, *chance_then));
        }
    }
    // Were what was done not among what could be done, the chances would not be those of then.
    if weighed.iter().filter(|one| one.is_taken).count() == 1 { Known::Estimated(weighed) } else { Known::Unknown }
}

/// What either of two arms does, where the second has this share.
pub(super) fn mixed(baseline: Actions, canary: Actions, share: f64) -> Actions {
    let mut mixed: Actions = Vec::with_capacity(baseline.len() + canary.len());
    let weighed = baseline.into_iter().map(|(action, chance)| (action, chance * (1.0 - share)));
    for (action, chance) in weighed.chain(canary.into_iter().map(|(action, chance)| (action, chance * share))) {
        match mixed.iter_mut().find(|(known, _)| *known == action) {
            Some((_, known)) => *known += chance,
            None => mixed.push((action, chance)),
        }
    }
    mixed
}

/// Within which bounds the difference to what was observed lies, where it is unknown: cost, then errors.
/// Each of the models that would be tried may cost all that the request can cost there.
pub(super) fn bounds(now: &Actions, question: &Question, outcome: &Outcome) -> [(f64, f64); 2] {
    let worst = |action: &Action| -> f64 {
        action.order.iter().map(|&model| question.models[model as usize].worst_case_cost as f64 / 1e12).sum()
    };
    let most = now.iter().filter_map(|(action, _)| action.as_ref().map(worst)).fold(0.0, f64::max);
    [(-outcome.cost, (most - outcome.cost).max(0.0)), (-outcome.error, 1.0 - outcome.error)]
}

#[cfg(test)]
mod tests;
