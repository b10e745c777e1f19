//! Decisions that were recorded, decided again: by the policy that decided them (`kairos explain`), or by
//! another (`kairos replay`). Reads the data folder only, beside the gateway that writes it.

mod again;
mod compare;
mod estimate;
mod judged;
mod others;
mod past;
mod run;

pub(crate) use self::again::{Again, again};
pub(crate) use self::estimate::Estimate;
pub(crate) use self::judged::judged_again;
pub(crate) use self::others::{OthersReport, replay as replay_others};
pub(crate) use self::past::{Decider, Judge, Past};
pub(crate) use self::run::{MEASURES, Replay, Report, Selection};
