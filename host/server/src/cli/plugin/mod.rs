//! `kairos plugin`: for authors, who have a folder with a `plugin.toml`. What is done with the policy
//! that comes of it is `kairos policy`'s.

mod bench;
mod build;
mod check;
mod contract;
mod new;
mod pack;
mod project;
mod template;

use std::path::PathBuf;

use clap::Subcommand;
use kairos_sandbox::load::Loader;

use self::project::Project;
use super::{Failed, policy};
use crate::config::Flags;

/// Write a plugin: a policy that is a project of its own
#[derive(Debug, Subcommand)]
pub(super) enum Plugin {
    /// Begin a project: everything that building, testing and staging it needs, offline
    #[command(after_help = "\
Examples:
  kairos plugin new my-router --lang rust
  kairos plugin new my-router --lang python --dir plugins/mine
  kairos plugin new my-healer --lang rhai --world healer
  kairos plugin new my-guard --lang rust --world guard
  kairos plugin new my-observer --lang rhai --world observer

The folder has a README with the next commands, and tests that already pass. Nothing is written over.
Exit codes: 0 made, 1 it cannot be written, 2 wrong usage, or a file is there already")]
    New(new::New),
    /// Build it, and say what to do next
    #[command(after_help = "\
Examples:
  kairos plugin build
  kairos plugin build --dir plugins/mine

Rust needs the target wasm32-unknown-unknown, Python componentize-py, JavaScript componentize-js; what is
missing is said, with the command that installs it. A script needs no building.
Exit codes: 0 built, 1 it failed, 2 wrong usage, or a tool is missing")]
    Build(build::Build),
    /// Say what loading it would say: world, imports, size, tests, what a call costs
    #[command(after_help = "\
Examples:
  kairos plugin check
  kairos plugin check --dir plugins/mine --config /etc/kairos.toml --json

It is built first where its sources have changed. Imports must be among the `capabilities` of plugin.toml,
and these among the `grants` of kairos.toml.
Exit codes: 0 it would serve, 1 it would be refused, or the build failed, 2 wrong usage")]
    Check(check::Check),
    /// Run its tests, as `kairos policy test` does
    #[command(after_help = "\
Examples:
  kairos plugin test
  kairos plugin test --dir plugins/mine --json

The tests are in NAME.test.toml. It is built first where its sources have changed.
Exit codes: 0 all pass, 1 one fails, 2 there are none")]
    Test(check::Test),
    /// Measure its calls, beside those of the gateway's native default
    #[command(after_help = "\
Examples:
  kairos plugin bench
  kairos plugin bench --calls 100000 --json

Each is asked the questions that a policy is asked on trial, in turn. A figure is only good beside the
other one, of the same run.
Exit codes: 0 measured, 1 a call failed, 2 wrong usage")]
    Bench(bench::Bench),
    /// Make one file of it that carries its manifest and its tests
    #[command(after_help = "\
Examples:
  kairos plugin pack
  kairos policy stage dist/my-router.wasm

Wherever that file is loaded, its tests run. It is checked first: what would be refused is not packed.
Exit codes: 0 packed, 1 it would be refused, 2 wrong usage")]
    Pack(pack::Pack),
    /// Print which versions of the contract are served, and the hashes of their files: a part of wit/README.md
    Contract(contract::Contract),
}

impl Plugin {
    pub(super) fn run(self) -> Result<(), Failed> {
        match self {
            Self::New(new) => new.run(),
            Self::Build(build) => build.run(),
            Self::Check(check) => check.run(),
            Self::Test(test) => test.run(),
            Self::Bench(bench) => bench.run(),
            Self::Pack(pack) => pack.run(),
            Self::Contract(contract) => contract.run(),
        }
    }
}

/// Which project, and as which gateway looks at it.
#[derive(Debug, clap::Args)]
struct Given {
    /// The project's folder: where plugin.toml is
    #[arg(long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    /// Configuration file: what it grants and configures holds [default: kairos.toml, where there is one]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Given {
    /// The project, built, and what loads it: with what its manifest asks for, where the operator
    /// grants that.
    fn project(&self) -> Result<(Project, Loader), Failed> {
        let project = Project::open(&self.dir)?;
        let flags = Flags { config: self.config.clone(), ..Flags::default() };
        let config = super::read_config(&flags)?;
        let loader = policy::authors(policy::loader(&config, cache().as_deref())?);
        let grants = loader.grants.clone().asked(&project.manifest.capabilities);
        build::where_changed(&project)?;
        Ok((project, Loader { grants, ..loader }))
    }
}

/// Where compiled code is kept from one command to the next: an interpreter takes ten seconds to
/// compile. It is the user's own folder, never the project's: what lies there is run as it is.
fn cache() -> Option<PathBuf> {
    let folder = |name| std::env::var_os(name).map(PathBuf::from).filter(|folder| folder.is_absolute());
    let caches = folder("XDG_CACHE_HOME").or_else(|| folder("HOME").map(|home| home.join(".cache")))?;
    let cache = caches.join("kairos/compiled-policies");
    std::fs::create_dir_all(&cache).ok()?;
    Some(cache)
}
