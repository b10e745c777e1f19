//! What of components is of one world: the interface that judges, and its types.

mod healer;
mod router;

use kairos_pipeline::policy::{Answer, Question, World};
use wasmtime::component::{Instance, InstancePre, Resource};
use wasmtime::{Result, Store};

use super::bindings::types::{Features, Model, PluginError};
use super::bindings::{healing, routing};
use super::host::{HostState, RequestHandle};

/// What every judgement is asked with.
type About<'a> = (Resource<RequestHandle>, Features, &'a [Model]);

/// The interface that a world judges by.
pub(super) fn judgement(world: World) -> &'static str {
    match world {
        World::Router => "routing",
        World::Healer => "healing",
    }
}

/// Where a component's judgement is.
#[derive(Clone)]
pub(super) enum JudgeIndices {
    Router(routing::GuestIndices),
    Healer(healing::GuestIndices),
}

/// The judgement of an instance.
pub(super) enum Judge {
    Router(routing::Guest),
    Healer(healing::Guest),
}

impl JudgeIndices {
    pub(super) fn find(pre: &InstancePre<HostState>, world: World) -> Result<Self> {
        Ok(match world {
            World::Router => Self::Router(routing::GuestIndices::new(pre)?),
            World::Healer => Self::Healer(healing::GuestIndices::new(pre)?),
        })
    }

    pub(super) fn load(&self, store: &mut Store<HostState>, instance: &Instance) -> Result<Judge> {
        Ok(match self {
            Self::Router(indices) => Judge::Router(indices.load(store, instance)?),
            Self::Healer(indices) => Judge::Healer(indices.load(store, instance)?),
        })
    }
}

impl Judge {
    /// Asks it. An error is a trap, or the host's.
    pub(super) fn ask(
        &self,
        store: &mut Store<HostState>,
        question: Question<'_>,
        about: About<'_>,
    ) -> Result<Result<Answer, PluginError>> {
        match (self, question) {
            (Self::Router(guest), Question::Route(_)) => router::ask(guest, store, about),
            (Self::Healer(guest), Question::Heal(input)) => healer::ask(guest, store, input, about),
            _ => wasmtime::bail!("the component is of another world than the question"),
        }
    }
}
