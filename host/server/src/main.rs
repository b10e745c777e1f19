//! `kairos`: the process. Command line, HTTP, telemetry.

mod assemble;
mod cli;
mod config;
mod edge;
mod keys;
mod log;
mod telemetry;

use std::process::ExitCode;

use clap::Parser as _;

/// Requests are put together on one thread and their rows written by another: the system's allocator
/// takes twice as long for that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::run(cli::Cli::parse())
}
