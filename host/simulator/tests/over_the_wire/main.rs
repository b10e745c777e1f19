//! The simulator as clients meet it: over the wire, in this process.

// Helpers of tests are tests: clippy exempts only the functions marked as such.
#![allow(clippy::unwrap_used, clippy::panic)]

mod billing;
mod booking;
mod client;
mod errors;
mod families;
mod faults;
mod fixtures;
mod frames;
mod lookup;
mod robustness;
mod streams;
