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

fn main() -> ExitCode {
    cli::run(cli::Cli::parse())
}
