//! The healer's slot, as requests see it. An experiment is of whole requests, and so is a shadow: neither is
//! of healers.

use std::sync::{Arc, Weak};

use arc_swap::ArcSwap;
use kairos_pipeline::policy::{HealInput, Healer, Identity, PolicyError, Question, Remedy};

use super::{Front, Published};
use crate::host::PolicyHost;
use crate::lineup::Lineup;

/// What serves requests as a healer.
pub(crate) struct Healers {
    native: Arc<dyn Healer>,
    serving: ArcSwap<Arc<dyn Healer>>,
}

impl Healers {
    /// The native default serves.
    pub(crate) fn new(native: Arc<dyn Healer>) -> Self {
        Self { serving: ArcSwap::from_pointee(Arc::clone(&native)), native }
    }

    pub(crate) fn healer(&self) -> Arc<dyn Healer> {
        Arc::clone(&self.serving.load())
    }
}

impl Healer for Published {
    fn identity(&self) -> &Identity {
        self.generation.identity()
    }

    fn heal(&self, input: HealInput<'_>) -> Result<Remedy, PolicyError> {
        self.ask(Question::Heal(input))?.remedy()
    }
}

impl Front for Healers {
    fn native(&self) -> &Identity {
        self.native.identity()
    }

    fn publish(&self, lineup: &Lineup, host: &Weak<PolicyHost>) -> bool {
        let next: Arc<dyn Healer> = match &lineup.current {
            Some(generation) => Arc::new(Published::new(generation, host)),
            None => Arc::clone(&self.native),
        };
        if self.serving.load().identity().label() == next.identity().label() {
            return false;
        }
        self.serving.store(Arc::new(next));
        true
    }
}
