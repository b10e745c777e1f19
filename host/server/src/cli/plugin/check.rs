//! `kairos plugin check` and `test`.

use kairos_sandbox::generation::Generation;
use kairos_sandbox::load::Loader;
use kairos_sandbox::refusal::Refusal;
use kairos_sandbox::versions::Version;
use kairos_sandbox::wasm::{Minor, interfaces};
use serde::Serialize;

use super::super::{Failed, policy};
use super::Given;
use super::bench::{self, Cost};
use super::project::Project;

/// Calls that are measured.
const CALLS: u32 = 1_000;

/// What every component imports, and nobody need ask for.
const TYPES: &str = "kairos:plugin/types@";

#[derive(Debug, clap::Args)]
pub(crate) struct Check {
    #[command(flatten)]
    given: Given,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Test {
    #[command(flatten)]
    given: Given,
}

/// What is known of a plugin beside what any policy's check says.
#[derive(Serialize)]
struct Facts {
    world: String,
    /// The version of the contract that it is built for, and what becomes of that.
    contract: Option<Served>,
    imports: Vec<String>,
    asked: Vec<&'static str>,
    bytes: usize,
    call: Cost,
}

/// A version of the contract that is served.
#[derive(Serialize)]
struct Served {
    version: &'static str,
    /// `current` or `frozen`.
    state: &'static str,
}

impl Served {
    fn of(version: &str) -> Option<Self> {
        Minor::of(version).map(|minor| Self { version: minor.number, state: minor.state() })
    }

    fn text(&self) -> String {
        let Self { version, state } = self;
        match Minor::current().number {
            newest if newest == *version => format!("{version}, {state}"),
            newest => format!("{version}, {state}: the newest is {newest}"),
        }
    }
}

impl Check {
    pub(super) fn run(self) -> Result<(), Failed> {
        let (project, loader) = self.given.project()?;
        let file = project.policy();
        let shown = file.display().to_string();
        let found = policy::on_a_loaders_thread(move || {
            load(&project, &loader).map(|generation| {
                let facts = facts(&project, &generation);
                (generation, facts)
            })
        })?;
        let (generation, facts) = match found {
            Ok((generation, facts)) => (Ok(generation), Some(facts?)),
            Err(refusal) => (Err(refusal), None),
        };
        policy::say(
            &file,
            &shown,
            generation,
            self.given.json,
            facts.as_ref(),
            &facts.as_ref().map_or_else(String::new, text),
        )
    }
}

impl Test {
    pub(super) fn run(self) -> Result<(), Failed> {
        let (project, loader) = self.given.project()?;
        policy::run_tests(loader, vec![(project.policy(), project.tests())], self.given.json)
    }
}

/// Loads what was built with its tests, as a gateway does.
pub(super) fn load(project: &Project, loader: &Loader) -> Result<Generation, Refusal> {
    let policy = project.policy();
    let world = project.manifest.world;
    let version = Version { world, ..loader.read_with(&policy, &project.tests())? };
    let generation = loader.load_version(&policy, &version)?;
    project.manifest.is_of(generation.identity(), world)?;
    Ok(generation)
}

fn facts(project: &Project, generation: &Generation) -> Result<Facts, Failed> {
    let file = project.policy();
    let bytes = std::fs::read(&file).map_err(|error| Failed::new(format!("{}: {error}", file.display())))?;
    let world = project.manifest.world.name();
    let (imports, exports) = interfaces(&bytes).unwrap_or_default();
    let version = exports.iter().find_map(|export| export.rsplit_once('@')).map_or("", |(_, version)| version);
    Ok(Facts {
        world: if version.is_empty() { world.to_owned() } else { format!("kairos:plugin/{world}@{version}") },
        contract: Served::of(version),
        imports: imports.into_iter().filter(|import| !import.starts_with(TYPES)).collect(),
        asked: project.manifest.capabilities.iter().map(|asked| asked.name()).collect(),
        bytes: bytes.len(),
        call: bench::plugin(generation, CALLS)?,
    })
}

fn text(facts: &Facts) -> String {
    let list = |names: Vec<&str>| if names.is_empty() { "nothing".to_owned() } else { names.join(", ") };
    let Facts { world, contract, imports, asked, bytes, call } = facts;
    let contract = contract.as_ref().map_or_else(String::new, |served| format!("\n  contract {}", served.text()));
    let imports = list(imports.iter().map(String::as_str).collect());
    let (asked, call) = (list(asked.clone()), call.text());
    format!(
        "\n  world    {world}{contract}\n  imports  {imports}\n  asks for {asked}\n  size     {bytes} bytes\n  a call   {call}"
    )
}
