//! A question that is kept: to be asked later, or again, of the same policy or of another.

use std::sync::Arc;

use kairos_pipeline::policy::{
    FailedAttempt, FailureFacts, Features, HealInput, Offer, Question, RequestInfo, RouteInput,
};

/// A question of any world, owned.
#[derive(Clone, Debug)]
pub(crate) struct OwnedQuestion {
    /// What of the request is not a number.
    pub(crate) request: Arc<RequestInfo>,
    /// What the host knows of it.
    pub(crate) features: Features,
    /// The models.
    pub(crate) models: Vec<Offer>,
    /// What is asked.
    pub(crate) what: What,
}

/// What a question of a world is asked with beside the request and the models.
#[derive(Clone, Debug)]
pub(crate) enum What {
    /// Which models may answer?
    Route,
    /// What follows this failure, after these attempts?
    Heal(Box<FailureFacts>, Vec<FailedAttempt>),
}

impl OwnedQuestion {
    /// The same, kept.
    pub(crate) fn of(question: Question<'_>) -> Self {
        let (request, features, models) = question.about();
        let what = match question {
            Question::Route(_) => What::Route,
            Question::Heal(HealInput { failure, history, .. }) => {
                What::Heal(Box::new(failure.clone()), history.to_vec())
            }
        };
        Self { request: Arc::clone(request), features: *features, models: models.to_vec(), what }
    }

    /// As a policy is asked it.
    pub(crate) fn asked(&self) -> Question<'_> {
        let Self { request, features, models, what } = self;
        match what {
            What::Route => Question::Route(RouteInput { request, features, models }),
            What::Heal(failure, history) => Question::Heal(HealInput { request, features, failure, history, models }),
        }
    }
}
