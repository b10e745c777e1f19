//! Benchmarks. `cargo xtask bench` builds everything in release and runs them.
//!
//! What is compared is measured in one run, turn by turn, and told as a ratio: the machine's own
//! speed drifts by a third within minutes, ratios do not.
//!
//! A failure of the set-up panics with what to do: nothing here serves anybody.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod account;
mod calls;
mod decoder;
mod gateway;
mod ledger;
mod load;
mod measure;
mod proxy;
mod upstream;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// The gateway's own: what is measured here by itself is measured as it runs there.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Debug, Parser)]
#[command(name = "kairos-bench", about = "Benchmarks of Kairos, as ratios within one run")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// All of them
    All(gateway::Options),
    /// The gateway beside a bare proxy and no proxy at all
    Gateway(gateway::Options),
    /// What keys, budgets and rates add to a request
    Money(gateway::Options),
    /// Calls of a router: native, script, component; and swaps of one
    Calls(calls::Options),
    /// Durable settlements of the ledger, beside the disk's own sync
    Ledger,
    /// The event stream's decoder
    Decoder,
    /// A bare proxy: bytes in, bytes out
    Proxy {
        /// Where requests go
        #[arg(long)]
        upstream: SocketAddr,
    },
    /// A Bedrock that answers the same, at once
    Upstream {
        /// Milliseconds before each answer
        #[arg(long, default_value_t = 0)]
        delay_ms: u64,
    },
}

fn main() {
    match Cli::parse().command {
        Command::All(options) => {
            gateway::run(&options);
            gateway::money(&options);
            calls::run(&guests(), &calls::Options::default());
            decoder::run();
            ledger::run();
        }
        Command::Gateway(options) => gateway::run(&options),
        Command::Money(options) => gateway::money(&options),
        Command::Calls(options) => calls::run(&guests(), &options),
        Command::Ledger => ledger::run(),
        Command::Decoder => decoder::run(),
        Command::Proxy { upstream } => proxy::run(upstream),
        Command::Upstream { delay_ms } => upstream::run(delay_ms),
    }
}

/// The top of the checkout.
fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().to_owned()
}

/// Where `cargo xtask guests` puts what it builds.
fn guests() -> PathBuf {
    root().join("target/guests")
}
