//! The guard's slot, as requests see it. Experiments and shadows are of whole requests, as for healers.
//!
//! Where every guard of the slot has failed, nobody judges: that is not as if none had ever been there, and
//! each text is treated as one whose guard fails.

use std::sync::{Arc, Weak};

use arc_swap::ArcSwap;
use kairos_pipeline::policy::{Guard, Identity, InspectInput, PolicyError, Question, Verdict};

use super::{Front, Published, without_words};
use crate::host::PolicyHost;
use crate::lineup::Lineup;

/// What serves requests as a guard.
pub(crate) struct Guards {
    /// The native one, or that there is none.
    native: Identity,
    serving: ArcSwap<Option<Arc<dyn Guard>>>,
}

impl Guards {
    /// Nothing is in the slot: the native guard judges, where the operator has it on.
    pub(crate) fn new(native: Option<&dyn Guard>) -> Self {
        let none = || Identity::new("no-guard", env!("CARGO_PKG_VERSION"), Vec::new(), Vec::new());
        let native = native.map_or_else(none, |native| native.identity().clone());
        Self { native, serving: ArcSwap::from_pointee(None) }
    }

    pub(crate) fn guard(&self) -> Option<Arc<dyn Guard>> {
        Option::clone(&self.serving.load())
    }
}

impl Guard for Published {
    fn identity(&self) -> &Identity {
        self.generation.identity()
    }

    fn hold_back(&self) -> usize {
        self.identity().hold_back()
    }

    fn inspect(&self, input: InspectInput<'_>) -> Result<Verdict, PolicyError> {
        let given = self.ask(Question::Inspect(input));
        let given = if self.generation.reports().is_mute() { given.map_err(without_words) } else { given };
        given?.verdict()
    }
}

/// Stands in the slot where every guard of it has failed.
struct Lost(Identity);

impl Guard for Lost {
    fn identity(&self) -> &Identity {
        &self.0
    }

    fn hold_back(&self) -> usize {
        0
    }

    fn inspect(&self, _: InspectInput<'_>) -> Result<Verdict, PolicyError> {
        Err(PolicyError::NotRun("every guard of the slot was taken out of service".to_owned()))
    }
}

impl Front for Guards {
    fn native(&self) -> &Identity {
        &self.native
    }

    fn publish(&self, lineup: &Lineup, host: &Weak<PolicyHost>) -> bool {
        let next: Option<Arc<dyn Guard>> = match &lineup.current {
            Some(generation) => Some(Arc::new(Published::new(generation, host))),
            None if lineup.is_lost => {
                let identity = Identity::new("no-guard", "lost", Vec::new(), Vec::new());
                Some(Arc::new(Lost(identity)))
            }
            None => None,
        };
        let label = |guard: &Option<Arc<dyn Guard>>| guard.as_ref().map(|guard| Arc::clone(guard.identity().label()));
        if label(&self.serving.load()) == label(&next) {
            return false;
        }
        if lineup.is_lost {
            tracing::error!(
                "no guard is left in its slot: texts are treated as [guard] on_failure says, until another is put there \
                 or the slot is emptied"
            );
        }
        self.serving.store(Arc::new(next));
        true
    }
}
