//! The adapter of version 0.1 of the contract.

use kairos_pipeline::policy::{Answer, PolicyError, Question, World};
use wasmtime::component::{HasSelf, Instance, InstancePre, Linker, Resource};
use wasmtime::{Result, Store};

use super::adapter::{Adapter, Description, Exports, Plugin};
use super::bindings::kairos::plugin::{
    cases, content, drafts, events, fitness, genomes, http, kv, kv_write, log, metrics, model, types,
};
use super::bindings::types::PluginError;
use super::bindings::{self, lifecycle};
use super::host::HostState;
use super::typed::{Exported, Found, Function};
use super::worlds::{Judge, JudgeIndices, judgement};
use crate::capability::{Capability, Grants};

const LIFECYCLE: &str = "kairos:plugin/lifecycle@0.1.0";

/// Version 0.1.
pub(super) struct V0_1;

/// Where a component's exports are: what every world has, and its judgement.
struct Indices {
    init: Found<Init>,
    describe: Found<Describe>,
    judge: JudgeIndices,
}

/// `init`, as the contract has it.
struct Init;
/// `describe`, likewise.
struct Describe;

impl Function for Init {
    const INTERFACE: &'static str = LIFECYCLE;
    const NAME: &'static str = "init";
    type Parameters<'a> = (&'a str,);
    type Answer = std::result::Result<(), PluginError>;
}

impl Function for Describe {
    const INTERFACE: &'static str = LIFECYCLE;
    const NAME: &'static str = "describe";
    type Parameters<'a> = ();
    type Answer = lifecycle::Description;
}

/// The same of an instance.
struct Guest {
    init: Exported<Init>,
    describe: Exported<Describe>,
    judge: Judge,
}

impl Adapter for V0_1 {
    fn judgement(&self, world: World) -> Option<&'static str> {
        Some(judgement(world))
    }

    fn link(&self, linker: &mut Linker<HostState>, world: World, grants: &Grants) -> Result<()> {
        type Own = HasSelf<HostState>;
        types::add_to_linker::<_, Own>(linker, |state| state)?;
        if world == World::Prompter {
            drafts::add_to_linker::<_, Own>(linker, |state| state)?;
        }
        if world == World::Observer {
            events::add_to_linker::<_, Own>(linker, |state| state)?;
        }
        if world.is_of_evolution() {
            fitness::add_to_linker::<_, Own>(linker, |state| state)?;
        }
        if world == World::Evaluator {
            cases::add_to_linker::<_, Own>(linker, |state| state)?;
        }
        if world == World::Mutator {
            genomes::add_to_linker::<_, Own>(linker, |state| state)?;
        }
        for capability in Capability::ALL.into_iter().filter(|capability| grants.has(*capability)) {
            match capability {
                Capability::Log => log::add_to_linker::<_, Own>(linker, |state| state)?,
                Capability::Metrics => metrics::add_to_linker::<_, Own>(linker, |state| state)?,
                Capability::Kv => kv::add_to_linker::<_, Own>(linker, |state| state)?,
                Capability::KvWrite => kv_write::add_to_linker::<_, Own>(linker, |state| state)?,
                Capability::Content => content::add_to_linker::<_, Own>(linker, |state| state)?,
                Capability::Http => http::add_to_linker::<_, Own>(linker, |state| state)?,
                Capability::Model => model::add_to_linker::<_, Own>(linker, |state| state)?,
            }
        }
        Ok(())
    }

    fn find(&self, pre: &InstancePre<HostState>, world: World) -> Result<Box<dyn Exports>> {
        let (init, describe) = (Found::of(pre)?, Found::of(pre)?);
        Ok(Box::new(Indices { init, describe, judge: JudgeIndices::find(pre, world)? }))
    }
}

impl Exports for Indices {
    fn load(&self, store: &mut Store<HostState>, instance: &Instance) -> Result<Box<dyn Plugin>> {
        let (init, describe) = (self.init.load(store, instance)?, self.describe.load(store, instance)?);
        Ok(Box::new(Guest { init, describe, judge: self.judge.load(store, instance)? }))
    }
}

impl Plugin for Guest {
    fn init(&self, store: &mut Store<HostState>, config: &str) -> Result<Result<(), PolicyError>> {
        Ok(self.init.call(store, (config,))?.map_err(bindings::plugin_error))
    }

    fn describe(&self, store: &mut Store<HostState>) -> Result<Description> {
        let described = self.describe.call(store, ())?;
        let lifecycle::Description { name, version, reasons, names, kv_schema, notes } = described;
        Ok(Description { name, version, reasons, names, kv_schema, notes })
    }

    fn ask(&self, store: &mut Store<HostState>, question: Question<'_>) -> Result<Result<Answer, PolicyError>> {
        // There is one request in a call: the handle needs no table to be found by.
        let decided = self.judge.ask(store, question, Resource::new_borrow(0))?;
        Ok(decided.map_err(bindings::plugin_error))
    }
}
