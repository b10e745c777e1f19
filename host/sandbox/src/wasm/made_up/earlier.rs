//! The adapter of a version before 0.1.

use kairos_pipeline::policy::{
    self as internal, Answer, CacheDirective, Candidate, Fault, FaultKind, Plan, PolicyError, Question, World,
};
use wasmtime::component::{HasSelf, Instance, InstancePre, Linker, Resource};
use wasmtime::{Result, Store};

use self::exports::kairos::plugin::{lifecycle, routing};
use self::kairos::plugin::{log, types};
use super::super::adapter::{Adapter, Description, Exports, Plugin};
use super::super::bindings::kairos::plugin::log as newer_log;
use super::super::bindings::same_order;
use super::super::host::{HostState, RequestHandle};
use super::super::minors::Minor;
use crate::capability::{Capability, Grants};

wasmtime::component::bindgen!({
    path: "../../tests/guests/made-up/v0.0",
    world: "router",
    with: { "kairos:plugin/types.request": super::super::host::RequestHandle },
    imports: { default: trappable },
});

/// Version 0.0.
pub(in super::super) const EARLIER: Minor = Minor { number: "0.0", package: "0.0.9", since: "0.0.1", adapter: &V0_0 };

struct V0_0;

struct Indices(lifecycle::GuestIndices, routing::GuestIndices);
struct Guest(lifecycle::Guest, routing::Guest);

impl Adapter for V0_0 {
    fn judgement(&self, world: World) -> Option<&'static str> {
        (world == World::Router).then_some("routing")
    }

    fn link(&self, linker: &mut Linker<HostState>, _: World, grants: &Grants) -> Result<()> {
        types::add_to_linker::<_, HasSelf<HostState>>(linker, |state| state)?;
        if grants.has(Capability::Log) {
            log::add_to_linker::<_, HasSelf<HostState>>(linker, |state| state)?;
        }
        Ok(())
    }

    fn find(&self, pre: &InstancePre<HostState>, _: World) -> Result<Box<dyn Exports>> {
        Ok(Box::new(Indices(lifecycle::GuestIndices::new(pre)?, routing::GuestIndices::new(pre)?)))
    }
}

impl Exports for Indices {
    fn load(&self, store: &mut Store<HostState>, instance: &Instance) -> Result<Box<dyn Plugin>> {
        Ok(Box::new(Guest(self.0.load(&mut *store, instance)?, self.1.load(store, instance)?)))
    }
}

impl Plugin for Guest {
    fn init(&self, store: &mut Store<HostState>, config: &str) -> Result<Result<(), PolicyError>> {
        let fault = |message: String| PolicyError::Fault(Fault::new(FaultKind::Error, message));
        Ok(self.0.call_init(store, config)?.map_err(fault))
    }

    fn describe(&self, store: &mut Store<HostState>) -> Result<Description> {
        let lifecycle::Description { name, version, reasons } = self.0.call_describe(store)?;
        Ok(Description { name, version, reasons: (1..).zip(reasons).collect(), ..Description::default() })
    }

    fn ask(&self, store: &mut Store<HostState>, question: Question<'_>) -> Result<Result<Answer, PolicyError>> {
        let Question::Route(input) = question else { wasmtime::bail!("0.0 has routers only") };
        let models: Vec<_> = input.models.iter().map(model).collect();
        let decided = self.1.call_route(store, Resource::new_borrow(0), features(input.features), &models)?;
        Ok(decided.map(|decided| Answer::Plan(plan(decided))).map_err(plugin_error))
    }
}

fn features(features: &internal::Features) -> types::Features {
    types::Features {
        complexity: same_order!(features.complexity, types::Complexity, [Low, Medium, High]),
        estimated_tokens: features.estimated_tokens,
    }
}

fn model(offer: &internal::Offer) -> types::Model {
    types::Model { worst_case_cost: offer.worst_case_cost, latency_ms: offer.latency_ms }
}

/// It had no chances: the first is tried first.
fn plan(plan: routing::Plan) -> Plan {
    let candidate = |(place, model)| Candidate { model, probability: if place == 0 { 1.0 } else { 0.0 } };
    Plan {
        candidates: plan.models.into_iter().enumerate().map(candidate).collect(),
        max_output_tokens: plan.max_output_tokens,
        max_cost: None,
        cache: CacheDirective::Default,
        reason: plan.reason,
        settings: Vec::new(),
    }
}

fn plugin_error(error: types::PluginError) -> PolicyError {
    match error {
        types::PluginError::Declined => PolicyError::Declined,
        types::PluginError::Refused(reason) => PolicyError::Refused(reason),
        types::PluginError::Internal(what) => PolicyError::Fault(Fault::new(FaultKind::Error, what)),
    }
}

impl types::Host for HostState {}

impl types::HostRequest for HostState {
    fn model_ids(&mut self, _: Resource<RequestHandle>) -> Result<Vec<String>> {
        Ok(self.request()?.model_ids.iter().map(|id| id.to_string()).collect())
    }

    fn drop(&mut self, _: Resource<RequestHandle>) -> Result<()> {
        Ok(())
    }
}

/// It knew no levels.
impl log::Host for HostState {
    fn write(&mut self, message: String) -> Result<()> {
        newer_log::Host::write(self, newer_log::Level::Info, message)
    }
}
