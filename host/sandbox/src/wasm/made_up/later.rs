//! The adapter of a version after 0.1.

use kairos_pipeline::policy::{
    self as internal, Answer, CacheDirective, Candidate, Complexity, Fault, FaultKind, Plan, PolicyError, Question,
    World, bounded,
};
use wasmtime::component::{HasSelf, Instance, InstancePre, Linker, Resource};
use wasmtime::{Result, Store};

use self::exports::kairos::plugin::{lifecycle, routing};
use self::kairos::plugin::{log, types};
use super::super::adapter::{Adapter, Description, Exports, Plugin};
use super::super::bindings::kairos::plugin::log as older_log;
use super::super::host::{HostState, RequestHandle};
use super::super::minors::Minor;
use crate::capability::{Capability, Grants};

wasmtime::component::bindgen!({
    path: "../../tests/guests/made-up/v0.2",
    world: "router",
    with: { "kairos:plugin/types.request": super::super::host::RequestHandle },
    imports: { default: trappable },
});

/// Version 0.2.
pub(in super::super) const LATER: Minor = Minor { number: "0.2", package: "0.2.0", since: "0.3.0", adapter: &V0_2 };

struct V0_2;

struct Indices(lifecycle::GuestIndices, routing::GuestIndices);
struct Guest(lifecycle::Guest, routing::Guest);

impl Adapter for V0_2 {
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
        Ok(self.0.call_init(store, config)?.map_err(plugin_error))
    }

    fn describe(&self, store: &mut Store<HostState>) -> Result<Description> {
        let lifecycle::Description { name, version, reasons } = self.0.call_describe(store)?;
        let reasons = reasons.into_iter().map(|reason| (reason.code, reason.name)).collect();
        Ok(Description { name, version, reasons, ..Description::default() })
    }

    fn ask(&self, store: &mut Store<HostState>, question: Question<'_>) -> Result<Result<Answer, PolicyError>> {
        let Question::Route(input) = question else { wasmtime::bail!("this 0.2 has routers only") };
        let models: Vec<_> = input.models.iter().map(model).collect();
        let decided = self.1.call_route(store, Resource::new_borrow(0), features(input.features), &models)?;
        Ok(decided.map(|decided| Answer::Plan(plan(decided))).map_err(plugin_error))
    }
}

fn features(features: &internal::Features) -> types::Features {
    types::Features {
        difficulty: match features.complexity {
            Complexity::Low => 0.0,
            Complexity::Medium => 0.5,
            Complexity::High => 1.0,
        },
        estimated_tokens: features.estimated_tokens,
        max_output_tokens: features.max_output_tokens,
    }
}

fn model(offer: &internal::Offer) -> types::Model {
    let latency = types::Latency { typical_ms: offer.latency_ms, worst_ms: None };
    types::Model { cost: offer.worst_case_cost, latency }
}

fn plan(plan: routing::Plan) -> Plan {
    let candidate = |candidate: routing::Candidate| Candidate {
        model: candidate.model,
        probability: f64::from(candidate.share) / 1_000_000.0,
    };
    Plan {
        candidates: plan.candidates.into_iter().map(candidate).collect(),
        max_output_tokens: plan.limits.output_tokens,
        max_cost: plan.limits.cost,
        cache: CacheDirective::Default,
        reason: plan.reason,
        settings: Vec::new(),
    }
}

fn plugin_error(error: types::PluginError) -> PolicyError {
    let fault = |message: String| PolicyError::Fault(Fault::new(FaultKind::Error, message));
    match error {
        types::PluginError::Declined => PolicyError::Declined,
        types::PluginError::Refused(refusal) => PolicyError::Refused(refusal.code),
        types::PluginError::Unavailable(what) => PolicyError::Unavailable(bounded(what)),
        types::PluginError::InvalidInput(what) => fault(format!("invalid input: {what}")),
        types::PluginError::Internal(what) => fault(what),
    }
}

impl types::Host for HostState {}

impl types::HostRequest for HostState {
    fn models(&mut self, _: Resource<RequestHandle>) -> Result<Vec<String>> {
        Ok(self.request()?.model_ids.iter().map(|id| id.to_string()).collect())
    }

    fn drop(&mut self, _: Resource<RequestHandle>) -> Result<()> {
        Ok(())
    }
}

/// Fields follow the text.
impl log::Host for HostState {
    fn write(&mut self, level: log::Level, message: String, fields: Vec<(String, String)>) -> Result<()> {
        let level = match level {
            log::Level::Debug => older_log::Level::Debug,
            log::Level::Info => older_log::Level::Info,
            log::Level::Warn => older_log::Level::Warn,
            log::Level::Error => older_log::Level::Error,
        };
        let line = fields.iter().fold(message, |line, (name, value)| format!("{line} {name}={value}"));
        older_log::Host::write(self, level, line)
    }
}
