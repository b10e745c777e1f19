//! The slots of the evaluator and of the mutator. No request asks them: what is in place is what a run begins
//! with.

use std::sync::{Arc, Weak};

use arc_swap::ArcSwap;
use kairos_pipeline::policy::Identity;

use super::Front;
use crate::host::PolicyHost;
use crate::lineup::Lineup;

/// Who is in place in such a slot.
pub(crate) struct Evolvers {
    native: Identity,
    /// Its label.
    serving: ArcSwap<Arc<str>>,
}

impl Evolvers {
    /// The native default is in place.
    pub(crate) fn new(native: &Identity) -> Self {
        Self { native: native.clone(), serving: ArcSwap::from_pointee(Arc::clone(native.label())) }
    }
}

impl Front for Evolvers {
    fn native(&self) -> &Identity {
        &self.native
    }

    fn publish(&self, lineup: &Lineup, _: &Weak<PolicyHost>) -> bool {
        let current = lineup.current.as_ref().map_or(&self.native, |current| current.identity());
        let before = self.serving.swap(Arc::new(Arc::clone(current.label())));
        **before != **current.label()
    }
}
