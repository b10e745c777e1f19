//! What the host needs of one minor of the contract, in the pipeline's types. Each minor has one adapter; all
//! else here knows none of them.

use kairos_pipeline::policy::{Answer, PolicyError, Question, World};
use wasmtime::component::{Instance, InstancePre, Linker};
use wasmtime::{Result, Store};

use super::host::HostState;
use crate::capability::Grants;

/// How components of one minor are linked and asked.
pub(super) trait Adapter: Sync {
    /// The interface that a world judges by; none: the minor does not have that world.
    fn judgement(&self, world: World) -> Option<&'static str>;

    /// Gives a component of a world what it may import.
    fn link(&self, linker: &mut Linker<HostState>, world: World, grants: &Grants) -> Result<()>;

    /// Where a component's exports are. An error: they are of other types than the minor's.
    fn find(&self, pre: &InstancePre<HostState>, world: World) -> Result<Box<dyn Exports>>;
}

/// Where a component's exports are: found once for all of its instances.
pub(super) trait Exports: Send + Sync {
    /// Those of an instance.
    fn load(&self, store: &mut Store<HostState>, instance: &Instance) -> Result<Box<dyn Plugin>>;
}

/// The exports of an instance. An outer error is a trap, or the host's.
pub(super) trait Plugin: Send {
    /// Hands over the operator's configuration.
    fn init(&self, store: &mut Store<HostState>, config: &str) -> Result<Result<(), PolicyError>>;

    /// What it says of itself.
    fn describe(&self, store: &mut Store<HostState>) -> Result<Description>;

    /// Asks it.
    fn ask(&self, store: &mut Store<HostState>, question: Question<'_>) -> Result<Result<Answer, PolicyError>>;
}

/// What a component says of itself, not yet looked at.
#[derive(Clone, Debug, Default)]
pub(super) struct Description {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) reasons: Vec<(u32, String)>,
    pub(super) names: Vec<String>,
    pub(super) kv_schema: u32,
    pub(super) notes: Vec<(String, String)>,
}
