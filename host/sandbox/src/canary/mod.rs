//! Experiments: a version decides a share of the requests, and is compared with the one in place until
//! it is worse, or is shown to be as good, or somebody ends it.
//!
//! `experiment` is what is registered, measured and decided, `order` the order in which requests count,
//! `report` what is said of it; `run` is the thread that does it beside requests, `acts` what begins and ends
//! it.

mod acts;
mod experiment;
mod order;
mod report;
mod run;

pub use self::experiment::{Experiment, Plan, Rule, Variable, Verdict, What};
pub use self::report::{Measure, Report};
pub(crate) use self::run::{Told, Trials, start};
