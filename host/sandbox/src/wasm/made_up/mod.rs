//! Two versions of the contract that there never was, served beside 0.1 in tests only: that another minor is a
//! folder (`tests/guests/made-up`), a module with its bindings, and an adapter (here both in one file each).

mod earlier;
mod later;
mod tests;

pub(super) use earlier::EARLIER;
pub(super) use later::LATER;
