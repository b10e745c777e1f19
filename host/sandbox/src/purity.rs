//! Repeats some calls on a fresh instance, off the request's path: a decision that depends on
//! anything but its input is found out.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Weak};
use std::thread;

use kairos_pipeline::policy::{Fault, FaultKind, Plan, PolicyError, RouteInput};

use crate::answered::Answered;
use crate::generation::Generation;

/// Calls that may wait to be repeated; more are not repeated.
const WAITING: usize = 16;

/// A call to repeat, and what it gave.
pub(crate) struct Repeat {
    generation: Arc<Generation>,
    answered: Answered,
}

impl Repeat {
    pub(crate) fn new(generation: &Arc<Generation>, input: RouteInput<'_>, given: &Result<Plan, PolicyError>) -> Self {
        Self { generation: Arc::clone(generation), answered: Answered::new(input, given) }
    }

    /// What is wrong, if the repetition gives something else.
    fn run(&self) -> Option<Fault> {
        let (input, given) = (self.answered.input(), &self.answered.given);
        let again = self.generation.route_afresh(input);
        let comparable = |answer: &Result<Plan, PolicyError>| is_comparable(answer, input.models.len());
        let differs = comparable(given) && comparable(&again) && again != *given;
        let message = "a call that was repeated with the same input on a fresh instance gave another plan";
        differs.then(|| Fault::new(FaultKind::Impure, message))
    }
}

/// Whether an answer says something of a policy's purity. Failures have other reasons; so have plans
/// that are not valid: one with a chance that is not a number does not even equal itself.
fn is_comparable(answer: &Result<Plan, PolicyError>, models: usize) -> bool {
    match answer {
        Ok(plan) => plan.check(models).is_ok(),
        Err(error) => !matches!(error, PolicyError::NotRun(_) | PolicyError::Fault(_)),
    }
}

/// Whoever is told of an impure policy.
pub(crate) trait Judge: Send + Sync {
    fn impure(&self, generation: &Arc<Generation>, fault: &Fault);
}

/// Starts the repeating thread. It ends when all senders are gone.
pub(crate) fn start<J: Judge + 'static>(judge: Weak<J>) -> std::io::Result<SyncSender<Repeat>> {
    let (sender, receiver): (_, Receiver<Repeat>) = sync_channel(WAITING);
    thread::Builder::new().name("policy-purity".to_owned()).stack_size(super::host::THREAD_STACK).spawn(move || {
        super::follow::lower_priority();
        for repeat in receiver {
            if let (Some(fault), Some(judge)) = (repeat.run(), judge.upgrade()) {
                judge.impure(&repeat.generation, &fault);
            }
        }
    })?;
    Ok(sender)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_that_is_not_valid_says_nothing_of_purity() {
        let mut plan = Plan::in_order([0], 1);
        assert!(is_comparable(&Ok(plan.clone()), 1) && is_comparable(&Err(PolicyError::Declined), 1));
        plan.candidates[0].probability = f64::NAN;
        assert!(plan != plan.clone() && !is_comparable(&Ok(plan), 1));
        assert!(!is_comparable(&Err(PolicyError::NotRun(String::new())), 1));
    }
}
