//! What requests get of a slot: a policy, as the pipeline's type of its world. What is of one world is in
//! its own file.

mod evolution;
mod guard;
mod healer;
mod observer;
mod prompter;
mod router;

use std::sync::{Arc, Weak};

use kairos_pipeline::policy::{Answer, Fault, FaultKind, Identity, PolicyError, Question, bounded};

pub(crate) use self::evolution::Evolvers;
pub(crate) use self::guard::Guards;
pub(crate) use self::healer::Healers;
pub use self::observer::EventCounts;
pub(crate) use self::observer::Observers;
pub(crate) use self::prompter::Prompters;
pub(crate) use self::router::Routers;
use crate::answered::Answered;
use crate::generation::Generation;
use crate::host::PolicyHost;
use crate::lineup::Lineup;

/// A slot, as requests see it.
pub(crate) trait Front: Send + Sync {
    /// The native default: what serves where no policy does.
    fn native(&self) -> &Identity;

    /// Lets requests have what the lineup says. Whether another policy serves than before.
    fn publish(&self, lineup: &Lineup, host: &Weak<PolicyHost>) -> bool;
}

/// A generation as the pipeline asks it.
struct Published {
    generation: Arc<Generation>,
    host: Weak<PolicyHost>,
}

impl Published {
    fn new(generation: &Arc<Generation>, host: &Weak<PolicyHost>) -> Self {
        Self { generation: Arc::clone(generation), host: Weak::clone(host) }
    }

    fn ask(&self, question: Question<'_>) -> Result<Answer, PolicyError> {
        let host = self.host.upgrade();
        let now = host.as_ref().map_or(0, |host| (host.clock)());
        let (decided, repeat) = self.generation.ask(question, now);
        let repeat = repeat && !matches!(decided, Err(PolicyError::Fault(_)));
        if let Some(host) = host.filter(|_| repeat) {
            host.repeat(&self.generation, Answered::new(question, decided.clone()));
        }
        decided
    }
}

/// An error without what a policy says in words that sees what is written: they may be a caller's, or a model's.
fn without_words(error: PolicyError) -> PolicyError {
    const DROPPED: &str = "what it says of it is dropped, as it is not granted `content`";
    match error {
        PolicyError::Unavailable(_) => PolicyError::Unavailable(bounded(DROPPED.to_owned())),
        PolicyError::Fault(fault) if matches!(fault.kind, FaultKind::Error | FaultKind::Panic) => {
            PolicyError::Fault(Fault { message: DROPPED.to_owned(), ..fault })
        }
        other => other,
    }
}
