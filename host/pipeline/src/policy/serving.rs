//! What a request is served by: the policy in place, and what is tried beside it.

use std::sync::Arc;

use super::{Identity, Plan, PolicyError, RouteInput, Router};

/// What a request is served by. It loads this once, and keeps it until it ends.
#[derive(Clone)]
pub struct Serving {
    /// The router that is in place.
    pub router: Arc<dyn Router>,
    /// One that decides a share of the requests instead.
    pub canary: Option<Canary>,
    /// One that is asked as well, and never followed.
    pub shadow: Option<Arc<dyn Shadow>>,
}

/// A router that decides a share of the requests, to be compared with the one in place.
#[derive(Clone)]
pub struct Canary {
    /// The router.
    pub router: Arc<dyn Router>,
    /// The number of the experiment.
    pub experiment: u64,
    /// The chance of a request, or of all that carry one value of `sticky`, to be decided by it.
    pub share: f64,
    /// The tag whose values stay in one arm.
    pub sticky: Option<Arc<str>>,
}

/// A router that is asked as well. What it answers is compared, never followed.
pub trait Shadow: Send + Sync {
    /// Who is asked.
    fn identity(&self) -> &Identity;

    /// Whether it is asked this time.
    fn wants(&self) -> bool;

    /// Asks it what was asked, marked with its own names, off the request's way. `given` is what the
    /// router in place answered.
    fn ask(&self, input: RouteInput<'_>, given: &Result<Plan, PolicyError>);
}

/// An arm of an experiment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Arm {
    /// What is in place decides.
    Baseline,
    /// What is tried decides.
    Canary,
}

impl Arm {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Baseline => "baseline",
            Self::Canary => "canary",
        }
    }
}

/// A request that is part of an experiment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Assigned {
    /// The number of the experiment.
    pub experiment: u64,
    /// A number that no other request of this run has.
    pub ticket: u64,
    /// The arm that was drawn.
    pub arm: Arm,
    /// The chance that the canary had.
    pub share: f64,
    /// Where arms go by the values of a tag: what stands for this value.
    pub unit: Option<u64>,
}

/// How a request of an experiment went.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Went {
    /// It failed for a reason that is not the caller's, or the policy did.
    pub failed: bool,
    /// From its arrival to the first byte of its answer, or to its end, in milliseconds.
    pub latency_ms: f64,
    /// What it cost, in picodollars.
    pub cost: u64,
}
