//! The command line.

// Before all others: its macros hold for them.
#[macro_use]
mod out;

mod audit;
mod budget;
mod demo;
mod doctor;
mod explain;
mod gateway;
mod key;
mod kv;
mod ledger;
mod models;
mod oci;
mod plugin;
mod policy;
mod prompt;
mod records;
mod replay;
mod serve;
mod simulate;
mod try_lines;

use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use tokio::runtime::Builder;

use self::serve::Stopped;
use crate::assemble::AssemblyError;
use crate::config::{Config, Flags, age};
use crate::log::{self, LogFormat};

/// An inference gateway for AWS Bedrock whose every judgement is a policy that you can swap.
#[derive(Debug, Parser)]
#[command(
    name = "kairos",
    version,
    propagate_version = true,
    arg_required_else_help = true,
    after_help = "\
Examples:
  kairos demo                              try it: no AWS account needed
  kairos serve --policies ./policies       serve Bedrock in the region of your AWS environment
  kairos plugin new my-router --lang rust  write a policy of your own; rhai, python, js likewise
  kairos policy check ./policies/router.rhai
  kairos policy test ./policies/router.rhai
  kairos policy stage ./cheaper.rhai       ready to serve; `kairos policy rollback` takes a step back
  kairos prompt render support --var question=Where?
  kairos key create search --models nova-lite --expires 90d
  kairos models --check-access             which models there are, and which you may call
  kairos doctor                            where each setting came from, what is wrong, what to do

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 refused by policy"
)]
pub(crate) struct Cli {
    /// How log lines look [default: text on a terminal, else json]
    #[arg(long, global = true, value_enum, value_name = "FORMAT")]
    log_format: Option<LogFormat>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a simulated Bedrock and the gateway in front of it, and say what to try
    Demo(demo::Demo),
    /// Run the gateway
    Serve(serve::Serve),
    /// Run a simulated Bedrock: real wire and signatures, invented answers, its own bill
    Simulate(simulate::Simulate),
    /// List the models: what is asked for, what answers, what it costs
    Models(models::Models),
    /// Work with policies
    #[command(subcommand)]
    Policy(policy::Policy),
    /// Write a plugin: begin, build, test, check, measure and pack it
    #[command(subcommand)]
    Plugin(plugin::Plugin),
    /// Look at templates: what there is, what each says, what it comes to
    #[command(subcommand)]
    Prompt(prompt::PromptCommand),
    /// Say who did what with policies, when and why
    Audit(audit::Audit),
    /// Say why a request went where it went, and whether its policy would decide the same again
    Explain(explain::Explain),
    /// Ask another policy what it would have done with the requests that are recorded
    Replay(replay::ReplayCommand),
    /// Take records of requests out for good
    #[command(subcommand)]
    Records(records::Records),
    /// Say where each setting came from, what is wrong, and what to do
    Doctor(doctor::Doctor),
    /// Give callers keys of their own, and take them back
    #[command(subcommand)]
    Key(key::Key),
    /// Say what is left of budgets
    #[command(subcommand)]
    Budget(budget::Budget),
    /// Look into what observers have learned, or empty it
    #[command(subcommand)]
    Kv(kv::Kv),
    /// Look into the ledger: what was spent, and whether its rows are whole
    #[command(subcommand)]
    Ledger(ledger::Ledger),
}

/// Why a command failed.
#[derive(Debug)]
pub(crate) struct Failed {
    message: String,
    code: u8,
}

impl Failed {
    fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: 1 }
    }

    /// Wrong usage: nothing was tried.
    fn usage(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: 2 }
    }
}

impl Failed {
    /// The gateway refused.
    fn refused(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: 3 }
    }
}

impl From<AssemblyError> for Failed {
    fn from(error: AssemblyError) -> Self {
        Self::new(error.0)
    }
}

/// Runs a command.
pub(crate) fn run(cli: Cli) -> ExitCode {
    let log = log::start(cli.log_format);
    let done = match cli.command {
        Command::Demo(demo) => on_runtime(demo.run()).and_then(Stopped::finish),
        // Connections are served on threads of their own.
        Command::Serve(serve) => on(&mut Builder::new_current_thread(), serve.run()).and_then(Stopped::finish),
        Command::Simulate(simulate) => on_runtime(simulate.run()),
        Command::Models(models) => on_runtime(models.run()),
        Command::Doctor(doctor) => on_runtime(doctor.run()),
        Command::Policy(policy) => policy.run(),
        Command::Plugin(plugin) => plugin.run(),
        Command::Prompt(prompt) => prompt.run(),
        Command::Audit(audit) => audit.run(),
        Command::Explain(explain) => explain.run(),
        Command::Replay(replay) => replay.run(),
        Command::Records(records) => records.run(),
        Command::Key(key) => key.run(),
        Command::Budget(budget) => budget.run(),
        Command::Kv(kv) => kv.run(),
        Command::Ledger(ledger) => ledger.run(),
    };
    // Log lines are out before the last word.
    drop(log);
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failed) => {
            if !failed.message.is_empty() {
                eprintln!("kairos: {}", failed.message);
            }
            ExitCode::from(failed.code)
        }
    }
}

/// Time for tasks to end that were told to: what they hold of the ledger ends with them.
const LAST_TASKS: Duration = Duration::from_secs(2);

/// The configuration that these flags, the environment and the file come to.
fn read_config(flags: &Flags) -> Result<Config, Failed> {
    Config::read(flags, |name| std::env::var(name).ok()).map_err(|error| Failed::usage(error.to_string()))
}

/// `1 test`, `2 tests`.
fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// As much of a digest as people read, and as names a version.
fn short(digest: &str) -> &str {
    digest.get(..12).unwrap_or(digest)
}

fn on_runtime<T>(work: impl Future<Output = Result<T, Failed>>) -> Result<T, Failed> {
    on(Builder::new_multi_thread().thread_name("kairos"), work)
}

fn on<T>(runtime: &mut Builder, work: impl Future<Output = Result<T, Failed>>) -> Result<T, Failed> {
    let runtime =
        runtime.enable_all().build().map_err(|error| Failed::new(format!("the runtime cannot start: {error}")))?;
    let done = runtime.block_on(Box::pin(work));
    runtime.shutdown_timeout(LAST_TASKS);
    done
}

/// Resolves when the process is told to stop.
async fn told_to_stop() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

/// Says that a server is ready. Whoever starts one waits for this line.
fn say_listening(address: std::net::SocketAddr) {
    use std::io::Write as _;
    let mut out = std::io::stdout();
    // Nobody to tell is no reason not to serve.
    let _ = writeln!(out, "listening on http://{address}").and_then(|()| out.flush());
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_sound() {
        super::Cli::command().debug_assert();
    }
}
