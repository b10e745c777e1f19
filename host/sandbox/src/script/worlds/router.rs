//! A router's plan, as scripts make it.

use kairos_pipeline::policy::{CacheDirective, Candidate, MAX_OFFERS, Plan, RouteInput};
use rhai::{Array, Dynamic, Map};

use super::super::api::{Ctx, code};
use super::super::policy::Script;
use super::super::table::{Api, Fallible};
use super::{Judgement, shown};

pub(super) const JUDGEMENT: Judgement = Judgement {
    function: "route",
    parameters: 3,
    hint: "a router has `fn route(ctx, features, models) { … }`, which gives plan([index, …], reason)",
};

pub(super) fn call(script: &Script, input: RouteInput<'_>, ctx: Ctx) -> Fallible<Plan> {
    let (features, models) = shown(input.request, input.features, input.models);
    script.call(JUDGEMENT.function, (ctx, features, models))
}

pub(super) fn register(api: &mut Api<'_>) {
    api.section("A router's answer", "A plan `p`.")
        .function("plan(models: array, reason: int) -> plan", PLAN, make_plan)
        .function(
            "distinct(models: array) -> array",
            "The indices in their order, each once; `()` is left out. For plans put together of several lists.",
            distinct,
        )
        .of::<Plan>("Plan", "p")
        .setter("max_output_tokens = int", "Lowers the request's output limit, never raises it.", limit_output)
        .setter("max_cost = int", "Leaves out models whose worst case costs more, in picodollars.", limit_cost)
        .function("bypass_cache()", BYPASS, |plan: &mut Plan| plan.cache = CacheDirective::Bypass)
        .function(
            "cache_for(seconds: int)",
            "The answer is kept for so long; likewise.",
            |plan: &mut Plan, seconds: i64| -> Fallible<()> {
                plan.cache = CacheDirective::TtlSeconds(code(seconds)?);
                Ok(())
            },
        );
}

const PLAN: &str = "Models to try, in order: indices, or `#{model: 2, probability: 0.9}`, by which the host draws \
    who is first. `reason` is a code that `describe` names.";
const BYPASS: &str = "The response cache is neither looked into nor filled. Recorded; takes effect once there is one.";

fn limit_output(plan: &mut Plan, limit: i64) -> Fallible<()> {
    plan.max_output_tokens = Some(code(limit)?);
    Ok(())
}

fn limit_cost(plan: &mut Plan, picodollars: i64) -> Fallible<()> {
    let most = u64::try_from(picodollars).map_err(|_| format!("max_cost is {picodollars}; it is not negative"))?;
    plan.max_cost = Some(most);
    Ok(())
}

fn make_plan(models: Array, reason: i64) -> Fallible<Plan> {
    // One more than can be right says that it is wrong; thousands would only be kept.
    let mut plan = Plan { reason: code(reason)?, ..Plan::default() };
    for (place, model) in models.into_iter().enumerate().take(MAX_OFFERS + 1) {
        plan.candidates.push(candidate(place, model)?);
    }
    Ok(plan)
}

fn distinct(models: Array) -> Fallible<Array> {
    let mut found = Array::with_capacity(models.len().min(MAX_OFFERS));
    for model in models.into_iter().filter(|model| !model.is_unit()) {
        let index = model.as_int().map_err(|kind| format!("an index of a model is an int, not {kind}"))?;
        if !found.iter().any(|known: &Dynamic| known.as_int() == Ok(index)) {
            found.push(model);
        }
        // One more than can be right says that it is wrong.
        if found.len() > MAX_OFFERS {
            break;
        }
    }
    Ok(found)
}

/// An index, which is tried in its turn, or `#{model: index, probability: chance}`. The first of
/// plain indices is tried first for certain.
fn candidate(place: usize, model: Dynamic) -> Fallible<Candidate> {
    if let Ok(index) = model.as_int() {
        return Ok(Candidate { model: code(index)?, probability: if place == 0 { 1.0 } else { 0.0 } });
    }
    let kind = model.type_name();
    let Some(map) = model.try_cast::<Map>() else {
        return Err(format!(
            "candidate {place} is {kind}; an index, or #{{model: index, probability: chance}}, is needed"
        )
        .into());
    };
    let index = map.get("model").and_then(|value| value.as_int().ok());
    let chance = map
        .get("probability")
        .and_then(|value| value.as_float().ok().or_else(|| value.as_int().ok().map(|whole| whole as f64)));
    match (index, chance, map.len()) {
        (Some(index), Some(probability), 2) => Ok(Candidate { model: code(index)?, probability }),
        _ => {
            Err(format!("candidate {place} needs `model`, an index, and `probability`, a number, and nothing else")
                .into())
        }
    }
}
