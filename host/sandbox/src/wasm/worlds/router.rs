//! A router's call, and its plan.

use kairos_pipeline::policy::{Answer, CacheDirective, Candidate, Plan, RouteInput};
use wasmtime::{Result, Store};

use super::super::bindings::routing;
use super::{HostState, PluginError, Request, shown};

pub(super) fn ask(
    guest: &routing::Guest,
    store: &mut Store<HostState>,
    input: RouteInput<'_>,
    request: Request,
) -> Result<Result<Answer, PluginError>> {
    let (features, models) = shown(input.features, input.models);
    let decided = guest.call_route(store, request, features, &models)?;
    Ok(decided.map(|decided| Answer::Plan(plan(decided))))
}

fn plan(plan: routing::Plan) -> Plan {
    let candidate =
        |candidate: routing::Candidate| Candidate { model: candidate.model, probability: candidate.probability };
    Plan {
        candidates: plan.candidates.into_iter().map(candidate).collect(),
        max_output_tokens: plan.max_output_tokens,
        max_cost: plan.max_cost,
        cache: match plan.cache {
            routing::CacheDirective::Default => CacheDirective::Default,
            routing::CacheDirective::Bypass => CacheDirective::Bypass,
            routing::CacheDirective::TtlSeconds(seconds) => CacheDirective::TtlSeconds(seconds),
        },
        reason: plan.reason,
        settings: plan.settings,
    }
}
