//! A router's call, and its plan.

use kairos_pipeline::policy::{Answer, CacheDirective, Candidate, Plan, RouteInput};
use wasmtime::{Result, Store};

use super::super::bindings::{FeaturesRow, ModelRow, routing};
use super::super::typed::{Exported, Function};
use super::{HostState, PluginError, Request, shown};

/// `route`, as the contract has it.
pub(in super::super) struct Judgement;

impl Function for Judgement {
    const INTERFACE: &'static str = "kairos:plugin/routing@0.1.0";
    const NAME: &'static str = "route";
    type Parameters<'a> = (Request, FeaturesRow, &'a [ModelRow]);
    type Answer = std::result::Result<routing::Plan, PluginError>;
}

pub(super) fn ask(
    exported: &Exported<Judgement>,
    store: &mut Store<HostState>,
    input: RouteInput<'_>,
    request: Request,
) -> Result<Result<Answer, PluginError>> {
    let (features, models) = shown(store, input.features, input.models);
    let decided = exported.call(store, (request, features, &models))?;
    store.data_mut().rows = models;
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
