//! Repeats some calls on a fresh instance, off the request's path: a decision that depends on
//! anything but its input is found out.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Weak};
use std::thread;

use kairos_pipeline::policy::{Answer, Fault, FaultKind, Identity, PolicyError, Question};

use crate::answered::Answered;
use crate::generation::Generation;

/// Calls that may wait to be repeated; more are not repeated.
const WAITING: usize = 16;

/// A call to repeat, and what it gave.
pub(crate) struct Repeat {
    judge: Weak<dyn Judge>,
    generation: Arc<Generation>,
    answered: Answered,
}

impl Repeat {
    /// `judge` is told when it gives something else.
    pub(crate) fn new(judge: Weak<dyn Judge>, generation: &Arc<Generation>, answered: Answered) -> Self {
        Self { judge, generation: Arc::clone(generation), answered }
    }

    /// What is wrong, if the repetition gives something else.
    fn run(&self) -> Option<Fault> {
        let (question, given) = (self.answered.question(), &self.answered.given);
        let again = self.generation.ask_afresh(question);
        let says = |answer| is_comparable(answer, &question, self.generation.identity());
        let differs = says(given) && says(&again) && again != *given;
        let message = "a call that was repeated with the same input on a fresh instance gave another answer";
        differs.then(|| Fault::new(FaultKind::Impure, message))
    }
}

/// Whether an answer says something of a policy's purity. Failures have other reasons; so have answers
/// that are not valid: a plan with a chance that is not a number does not even equal itself.
fn is_comparable(answer: &Result<Answer, PolicyError>, question: &Question<'_>, policy: &Identity) -> bool {
    match answer {
        Ok(answer) => question.check(answer, policy).is_ok(),
        Err(error) => !matches!(error, PolicyError::NotRun(_) | PolicyError::Fault(_)),
    }
}

/// Whoever is told of an impure policy.
pub(crate) trait Judge: Send + Sync {
    fn impure(&self, generation: &Arc<Generation>, fault: &Fault);
}

/// Starts the repeating thread, which all slots share. It ends when all senders are gone.
pub(crate) fn start() -> std::io::Result<SyncSender<Repeat>> {
    let (sender, receiver): (_, Receiver<Repeat>) = sync_channel(WAITING);
    thread::Builder::new().name("policy-purity".to_owned()).stack_size(super::host::THREAD_STACK).spawn(move || {
        super::follow::lower_priority();
        for repeat in receiver {
            if let (Some(fault), Some(judge)) = (repeat.run(), repeat.judge.upgrade()) {
                judge.impure(&repeat.generation, &fault);
            }
        }
    })?;
    Ok(sender)
}

#[cfg(test)]
mod tests {
    use kairos_pipeline::policy::{Plan, World};

    use super::*;
    use crate::golden;

    #[test]
    fn an_answer_that_is_not_valid_says_nothing_of_purity() {
        let questions = golden::questions(World::Router);
        let question = questions[0].asked();
        let mut plan = Plan::in_order([0], 1);
        let policy = Identity::new("x", "0", Vec::new(), Vec::new());
        let says = |answer| is_comparable(&answer, &question, &policy);
        assert!(says(Ok(Answer::Plan(plan.clone()))) && says(Err(PolicyError::Declined)));
        plan.candidates[0].probability = f64::NAN;
        assert!(plan != plan.clone() && !says(Ok(Answer::Plan(plan))));
        assert!(!says(Err(PolicyError::NotRun(String::new()))));
    }
}
