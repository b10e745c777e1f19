//! The prompter's slot, as requests see it. Where nothing is in it, requests go as they are; where every
//! prompter of it has failed, that is not as if none had ever been there.

use std::sync::{Arc, Weak};

use arc_swap::ArcSwap;
use kairos_pipeline::policy::{Edits, Identity, PolicyError, PromptInput, Prompter, Question};

use super::{Front, Published, without_words};
use crate::host::PolicyHost;
use crate::lineup::Lineup;

/// What serves requests as a prompter.
pub(crate) struct Prompters {
    native: Identity,
    serving: ArcSwap<Option<Arc<dyn Prompter>>>,
}

impl Prompters {
    /// Nothing is in the slot.
    pub(crate) fn new() -> Self {
        let native = Identity::new("no-prompter", env!("CARGO_PKG_VERSION"), Vec::new(), Vec::new());
        Self { native, serving: ArcSwap::from_pointee(None) }
    }

    pub(crate) fn prompter(&self) -> Option<Arc<dyn Prompter>> {
        Option::clone(&self.serving.load())
    }
}

impl Prompter for Published {
    fn identity(&self) -> &Identity {
        self.generation.identity()
    }

    fn render(&self, input: PromptInput<'_>) -> Result<Edits, PolicyError> {
        let given = self.ask(Question::Render(input));
        let given = if self.generation.reports().is_mute() { given.map_err(without_words) } else { given };
        given?.edits()
    }
}

/// Stands in the slot where every prompter of it has failed.
struct Lost(Identity);

impl Prompter for Lost {
    fn identity(&self) -> &Identity {
        &self.0
    }

    fn render(&self, _: PromptInput<'_>) -> Result<Edits, PolicyError> {
        Err(PolicyError::NotRun("every prompter of the slot was taken out of service".to_owned()))
    }
}

impl Front for Prompters {
    fn native(&self) -> &Identity {
        &self.native
    }

    fn publish(&self, lineup: &Lineup, host: &Weak<PolicyHost>) -> bool {
        let next: Option<Arc<dyn Prompter>> = match &lineup.current {
            Some(generation) => Some(Arc::new(Published::new(generation, host))),
            None if lineup.is_lost => {
                Some(Arc::new(Lost(Identity::new("no-prompter", "lost", Vec::new(), Vec::new()))))
            }
            None => None,
        };
        let label = |one: &Option<Arc<dyn Prompter>>| one.as_ref().map(|one| Arc::clone(one.identity().label()));
        if label(&self.serving.load()) == label(&next) {
            return false;
        }
        if lineup.is_lost {
            tracing::error!(
                "no prompter is left in its slot: requests are treated as [prompter] on_failure says, until another is \
                 put there or the slot is emptied"
            );
        }
        self.serving.store(Arc::new(next));
        true
    }
}
