//! A question that a policy has answered, kept to be asked again: of the same policy, or of another.

use std::sync::Arc;

use kairos_pipeline::policy::{Features, Offer, Plan, PolicyError, RequestInfo, RouteInput};

/// A question, and the answer.
pub(crate) struct Answered {
    request: Arc<RequestInfo>,
    features: Features,
    models: Vec<Offer>,
    pub(crate) given: Result<Plan, PolicyError>,
}

impl Answered {
    pub(crate) fn new(input: RouteInput<'_>, given: &Result<Plan, PolicyError>) -> Self {
        Self {
            request: Arc::clone(input.request),
            features: *input.features,
            models: input.models.to_vec(),
            given: given.clone(),
        }
    }

    /// As a policy is asked it.
    pub(crate) fn input(&self) -> RouteInput<'_> {
        RouteInput { request: &self.request, features: &self.features, models: &self.models }
    }
}
