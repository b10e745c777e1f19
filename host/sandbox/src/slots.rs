//! All slots: a host for each world, over one loader and one record of what was so.

use std::sync::Arc;
use std::time::Duration;

use kairos_pipeline::evaluators::Quality;
use kairos_pipeline::learned::{Learned, Snapshot, SpaceId};
use kairos_pipeline::mutators::Numbers;
use kairos_pipeline::policy::{
    Assigned, Evaluator as _, Fault, Guard, Healer, Identity, Mutator as _, Policies, Prompter, Router, Serving,
    Watcher, Went, World,
};
use kairos_pipeline::request::RequestId;

use crate::acts::ActError;
use crate::canary::Told;
use crate::host::{Clock, Helpers, PolicyHost};
use crate::load::Loader;
use crate::reports::Dropped;
pub use crate::serving::EventCounts;
use crate::serving::{Evolvers, Front, Guards, Healers, Observers, Prompters, Routers};
use crate::versions::{Act, By, Versions};

/// What serves where no policy does, by world.
pub struct Natives {
    /// The router.
    pub router: Arc<dyn Router>,
    /// The healer.
    pub healer: Arc<dyn Healer>,
    /// The guard; none: texts pass as they are.
    pub guard: Option<Arc<dyn Guard>>,
}

/// Keeps the policies of all slots.
pub struct Slots {
    /// In the order of [`World::ALL`].
    hosts: Vec<Arc<PolicyHost>>,
    routers: Arc<Routers>,
    healers: Arc<Healers>,
    guards: Arc<Guards>,
    prompters: Arc<Prompters>,
    observers: Arc<Observers>,
    learned: Arc<Learned>,
    loader: Loader,
    helpers: Helpers,
}

impl Slots {
    /// Slots where the native defaults serve, until [`Slots::restore`] or the folder says otherwise.
    pub fn new(
        loader: Loader,
        natives: Natives,
        clock: &Clock,
        versions: &Arc<dyn Versions>,
        (learned, unix_ms): (&Arc<Learned>, &Clock),
    ) -> std::io::Result<Arc<Self>> {
        let routers = Arc::new(Routers::new(natives.router));
        let healers = Arc::new(Healers::new(natives.healer));
        let guards = Arc::new(Guards::new(natives.guard.as_deref()));
        let prompters = Arc::new(Prompters::new());
        let (waiting, remembered) = (loader.limits.events, loader.limits.remembered);
        let observers = Observers::start(learned, unix_ms, waiting, remembered)?;
        let helpers = Helpers::start()?;
        let host = |world: World| {
            let front: Arc<dyn Front> = match world {
                World::Router => Arc::clone(&routers) as _,
                World::Healer => Arc::clone(&healers) as _,
                World::Guard => Arc::clone(&guards) as _,
                World::Prompter => Arc::clone(&prompters) as _,
                World::Observer => Arc::clone(&observers) as _,
                World::Evaluator => Arc::new(Evolvers::new(Quality::default().identity())),
                World::Mutator => Arc::new(Evolvers::new(Numbers::default().identity())),
            };
            let (clock, versions) = (Arc::clone(clock), Arc::clone(versions));
            PolicyHost::new(loader.clone(), world, front, clock, versions, helpers.clone())
        };
        let hosts = World::ALL.into_iter().map(host).collect::<Result<_, _>>()?;
        let learned = Arc::clone(learned);
        Ok(Arc::new(Self { hosts, routers, healers, guards, prompters, observers, learned, loader, helpers }))
    }

    /// The host of a slot.
    pub fn of(&self, world: World) -> &Arc<PolicyHost> {
        &self.hosts[world as usize]
    }

    /// The hosts of all slots, in the order of [`World::ALL`].
    pub fn all(&self) -> impl Iterator<Item = &Arc<PolicyHost>> {
        self.hosts.iter()
    }

    /// What policies reported over their bounds.
    pub fn dropped(&self) -> &Dropped {
        &self.loader.dropped
    }

    /// Instances of components that there may be, and that there are.
    pub fn instances(&self) -> (u32, u64) {
        (self.loader.limits.instances, self.loader.wasm.instances())
    }

    /// Takes up what the last run left, in every slot.
    pub fn restore(&self) -> Result<(), String> {
        self.all().try_for_each(|host| host.restore())
    }

    /// A caller has said something of the answer to a request that was part of an experiment, by a metric,
    /// within 0 and 1. To be told of each request and metric once: what is said first counts. The request's
    /// ticket does not matter.
    pub fn rated(&self, assigned: &Assigned, metric: &str, value: f64) {
        self.of(World::Router).rated(assigned, metric, value);
    }

    /// The same, of any request: for the observer, where one serves.
    pub fn rated_request(&self, id: RequestId, metric: &str, value: f64) {
        self.observers.rated(id, metric, value);
    }

    /// What was learned.
    pub fn learned(&self) -> &Arc<Learned> {
        &self.learned
    }

    /// Empties a space of what was learned; whether it was there. Written down first.
    pub fn clear_learned(&self, space: &SpaceId, by: &By) -> Result<bool, ActError> {
        let host = self.of(World::Observer);
        let _acting = host.begin();
        let latest = self.learned.latest();
        let Some(held) = latest.space(space) else { return Ok(false) };
        let detail = format!("{space}: {} keys, {} bytes", held.keys(), held.bytes());
        let act = Act { by, what: "clear", slot: host.slot(), digest: None, detail: Some(&detail) };
        host.act(&act, None, |_| {}).map_err(ActError::Store)?;
        Ok(self.learned.clear(space))
    }

    /// What there is of events for the observer.
    pub fn events(&self) -> EventCounts {
        self.observers.counts()
    }

    /// Waits until all that requests have told of experiments so far is counted and written down, what was taken
    /// out of service too, and until the observer was told of all that waits, for so long at most.
    pub fn settle(&self, patience: Duration) {
        self.of(World::Router).settle();
        if !self.helpers.settle(patience) {
            tracing::error!(
                "not all quarantines are written down: the next start serves what failed until it fails again"
            );
        }
        if !self.observers.settle(patience) {
            tracing::warn!(waiting = self.events().waiting, "the observer was not told of the last events");
        }
    }
}

impl Policies for Slots {
    fn serving(&self) -> Arc<Serving> {
        self.routers.serving()
    }

    fn healer(&self) -> Arc<dyn Healer> {
        self.healers.healer()
    }

    fn guard(&self) -> Option<Arc<dyn Guard>> {
        self.guards.guard()
    }

    fn prompter(&self) -> Option<Arc<dyn Prompter>> {
        self.prompters.prompter()
    }

    fn observer(&self) -> Option<Arc<dyn Watcher>> {
        self.observers.watcher()
    }

    fn learned(&self) -> Arc<Snapshot> {
        self.learned.snapshot()
    }

    fn failed(&self, world: World, policy: &Identity, fault: &Fault) {
        self.of(world).failed_generation(policy, fault);
    }

    fn ticket(&self) -> u64 {
        self.of(World::Router).trials.ticket()
    }

    fn assigned(&self, assigned: &Assigned) {
        self.of(World::Router).trials.tell(Told::Assigned(*assigned));
    }

    fn ended(&self, assigned: &Assigned, went: Went) {
        self.of(World::Router).trials.tell(Told::Ended(*assigned, went));
    }
}
