//! A question that a policy has answered, kept to be asked again: of the same policy, or of another.

use kairos_pipeline::policy::{Answer, PolicyError, Question};

use crate::question::OwnedQuestion;

/// A question, and the answer.
pub(crate) struct Answered {
    question: OwnedQuestion,
    pub(crate) given: Result<Answer, PolicyError>,
}

impl Answered {
    pub(crate) fn new(question: Question<'_>, given: Result<Answer, PolicyError>) -> Self {
        Self { question: OwnedQuestion::of(question), given }
    }

    /// As a policy is asked it.
    pub(crate) fn question(&self) -> Question<'_> {
        self.question.asked()
    }
}
