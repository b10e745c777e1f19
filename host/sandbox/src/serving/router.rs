//! The router's slot, as requests see it.

use std::sync::{Arc, Weak};

use arc_swap::ArcSwap;
use kairos_pipeline::policy::{Canary, Identity, Plan, PolicyError, Question, RouteInput, Router, Serving, Shadow};

use super::{Front, Published};
use crate::generation::Generation;
use crate::host::PolicyHost;
use crate::lineup::Lineup;

/// What serves requests as a router, and what is tried beside it.
pub(crate) struct Routers {
    native: Arc<dyn Router>,
    serving: ArcSwap<Serving>,
}

impl Routers {
    /// The native default serves.
    pub(crate) fn new(native: Arc<dyn Router>) -> Self {
        let serving = Serving { router: Arc::clone(&native), canary: None, shadow: None };
        Self { native, serving: ArcSwap::from_pointee(serving) }
    }

    pub(crate) fn serving(&self) -> Arc<Serving> {
        self.serving.load_full()
    }
}

impl Router for Published {
    fn identity(&self) -> &Identity {
        self.generation.identity()
    }

    fn route(&self, input: RouteInput<'_>) -> Result<Plan, PolicyError> {
        self.ask(Question::Route(input))?.plan()
    }
}

impl Front for Routers {
    fn native(&self) -> &Identity {
        self.native.identity()
    }

    fn publish(&self, lineup: &Lineup, host: &Weak<PolicyHost>) -> bool {
        let identity = lineup.current.as_ref().map_or_else(|| self.native(), |current| current.identity());
        let serving = self.serving.load();
        let serves = serving.router.identity().label() == identity.label();
        if serves && is_as_before(&serving, lineup) {
            return false;
        }
        let router_of = |generation: &Arc<Generation>| Arc::new(Published::new(generation, host)) as Arc<dyn Router>;
        let router = match &lineup.current {
            _ if serves => Arc::clone(&serving.router),
            Some(generation) => router_of(generation),
            None => Arc::clone(&self.native),
        };
        let canary = lineup.canary.as_ref().map(|canary| Canary {
            router: router_of(&canary.generation),
            experiment: canary.experiment,
            share: canary.share,
            sticky: canary.sticky.clone(),
        });
        let shadow = lineup.shadow.clone().map(|watch| watch as Arc<dyn Shadow>);
        self.serving.store(Arc::new(Serving { router, canary, shadow }));
        !serves
    }
}

/// Whether requests get what the lineup says already, apart from what is in place.
fn is_as_before(serving: &Serving, lineup: &Lineup) -> bool {
    let shares = |experiment, share: f64| (experiment, share.to_bits());
    let canary = lineup.canary.as_ref().map(|canary| shares(canary.experiment, canary.share));
    let shadow = lineup.shadow.as_ref().map(Arc::as_ptr).map(<*const _>::cast::<()>);
    serving.canary.as_ref().map(|canary| shares(canary.experiment, canary.share)) == canary
        && serving.shadow.as_ref().map(Arc::as_ptr).map(<*const _>::cast::<()>) == shadow
}
