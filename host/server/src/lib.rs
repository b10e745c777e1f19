//! `kairos`: the process. Command line, HTTP, telemetry.
//!
//! A library only so that tests can run it on a disk of their own: [`run`] is all of it.

mod admin;
mod alerts;
mod assemble;
mod bill;
mod bounds;
mod budgets;
mod cli;
mod config;
mod edge;
mod jobs;
mod keys;
mod log;
mod memory;
mod outside;
mod prices;
mod profiles;
mod replay;
mod secret_file;
mod signers;
mod spend;
mod telemetry;

use std::process::ExitCode;

use clap::Parser as _;

/// Reads the command line, and does what it says.
pub fn run() -> ExitCode {
    cli::run(cli::Cli::parse())
}

/// The same, by a clock of the caller's that gives milliseconds since 1970: for tests of clocks that jump.
pub fn run_by(clock: fn() -> u64) -> ExitCode {
    assemble::set_clock(clock);
    run()
}
