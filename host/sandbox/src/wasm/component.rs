//! Reads a component's file before it is compiled: is it one, is it whole, which version of which
//! world is it for?

use kairos_pipeline::policy::World;
use wasmparser::{Encoding, Parser, Payload, Validator, WasmFeatures};

use super::minors::{self, Minor, PACKAGE};
use crate::capability::{Capability, Grants};
use crate::refusal::{Reason, Refusal};

/// What every world exports beside its judgement.
const LIFECYCLE: &str = "lifecycle";
/// What every plugin may import.
const TYPES: &str = "types";
/// What a prompter may.
const DRAFTS: &str = "drafts";
/// What an observer is told of.
const EVENTS: &str = "events";
/// What an evaluator judges, what it says, and what a mutator begins with.
const CASES: &str = "cases";
const FITNESS: &str = "fitness";
const GENOMES: &str = "genomes";

/// Magic number and version.
const HEADER_BYTES: usize = 8;
const COPY_IT_WHOLE: &str = "build it again, and copy it whole";

/// Checks a file's bytes, for the slot of a world: what it imports must be granted. Gives the version of the
/// contract that it is built for. Whether all within is valid is seen when it is compiled.
pub(super) fn check(bytes: &[u8], world: World, grants: &Grants) -> Result<&'static Minor, Refusal> {
    if !Parser::is_component(bytes) {
        return Err(not_a_component(bytes));
    }
    let (imports, exports) = names(bytes)?;
    let minor = minor_of(imports.iter().chain(&exports))?;
    let judgement = minor.adapter.judgement(world).ok_or_else(|| no_such_world(minor, world))?;
    for name in [judgement, LIFECYCLE] {
        if !exports_interface(&exports, name) {
            let message = format!("the component does not export {}", minor.name_of(name));
            return Err(Refusal::new(Reason::WrongWorld, message).hint(fits(minor, world, &exports)));
        }
    }
    imports.iter().try_for_each(|import| check_import(import, world, grants))?;
    Ok(minor)
}

/// Why a component does not compile, which for one that is not valid is where it is damaged. Only asked then: what
/// was compiled before is known to be valid, and to look again would take as long as all else of loading it.
pub(super) fn why_not_compiled(bytes: &[u8], error: &wasmtime::Error) -> Refusal {
    match Validator::new_with_features(WasmFeatures::default()).validate_all(bytes) {
        Err(error) => damaged(&error),
        Ok(_) => Refusal::new(Reason::NotCompiled, format!("the component does not compile: {error:#}")),
    }
}

fn exports_interface(exports: &[String], name: &str) -> bool {
    exports.iter().any(|export| interface(export) == Some(name))
}

/// What a slot takes, and which one takes this component.
fn fits(minor: &Minor, world: World, exports: &[String]) -> String {
    let slot = world.name();
    let takes = format!("the slot `{slot}` takes components of the world `{}`", minor.name_of(slot));
    match judged(minor, exports).filter(|other| *other != world).map(World::name) {
        Some(other) => {
            format!("{takes}; this one is of the world `{other}`: name it {other}.wasm, or stage it for that slot")
        }
        None => format!("{takes}; this one exports: {}", list(exports)),
    }
}

/// The world whose judgement a component has; none: it has none, or is no component.
pub(crate) fn judges(bytes: &[u8]) -> Option<World> {
    if !Parser::is_component(bytes) {
        return None;
    }
    let (_, exports) = names(bytes).ok()?;
    judged(minor_of(exports.iter()).ok()?, &exports)
}

/// The world of a minor whose judgement is exported.
fn judged(minor: &Minor, exports: &[String]) -> Option<World> {
    let exports =
        |world: &World| minor.adapter.judgement(*world).is_some_and(|judgement| exports_interface(exports, judgement));
    World::ALL.into_iter().find(exports)
}

fn not_a_component(bytes: &[u8]) -> Refusal {
    if Parser::is_core_wasm(bytes) {
        return Refusal::new(Reason::NotAPolicy, "this is a core WebAssembly module, not a component")
            .hint("make a component of it with `wasm-tools component new`, or build with the `plugins/` workspace");
    }
    if b"\0asm".starts_with(bytes) || (bytes.starts_with(b"\0asm") && bytes.len() < HEADER_BYTES) {
        let message = format!("the file ends after {} bytes, within the header of a component", bytes.len());
        return Refusal::new(Reason::Damaged, message).hint(COPY_IT_WHOLE);
    }
    Refusal::new(Reason::NotAPolicy, "this is not WebAssembly: it does not begin with \\0asm")
        .hint("a file that ends in .wasm is a WebAssembly component; a script ends in .rhai")
}

fn damaged(error: &wasmparser::BinaryReaderError) -> Refusal {
    let message = format!("the component is damaged at byte {}: {}", error.offset(), error.message());
    Refusal::new(Reason::Damaged, message).hint(COPY_IT_WHOLE)
}

/// Names of imports and exports of the component itself, not of those within: interfaces with their
/// versions.
pub fn names(bytes: &[u8]) -> Result<(Vec<String>, Vec<String>), Refusal> {
    let damaged = |error| damaged(&error);
    let (mut imports, mut exports, mut depth) = (Vec::new(), Vec::new(), 0usize);
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.map_err(damaged)? {
            Payload::Version { encoding: Encoding::Component | Encoding::Module, .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(section) if depth == 1 => {
                for import in section {
                    imports.push(import.map_err(damaged)?.name.name.to_owned());
                }
            }
            Payload::ComponentExportSection(section) if depth == 1 => {
                for export in section {
                    exports.push(export.map_err(damaged)?.name.name.to_owned());
                }
            }
            _ => {}
        }
    }
    Ok((imports, exports))
}

/// The interface of ours that a name stands for.
fn interface(name: &str) -> Option<&str> {
    let (interface, _) = name.strip_prefix(PACKAGE)?.split_once('@')?;
    Some(interface)
}

/// The minor that all names of ours are of; the newest where there is none. A patch version may differ,
/// anything above it may not.
fn minor_of<'a>(names: impl Iterator<Item = &'a String>) -> Result<&'static Minor, Refusal> {
    let mut found: Option<(&Minor, &str)> = None;
    for name in names {
        let version = name.strip_prefix(PACKAGE).and_then(|rest| rest.split_once('@')).map(|(_, version)| version);
        let Some(version) = version else { continue };
        let minor = Minor::of(version).ok_or_else(|| not_served(name, version))?;
        match found {
            Some((known, first)) if known.number != minor.number => return Err(mixed(first, name)),
            _ => found = Some((minor, name)),
        }
    }
    Ok(found.map_or_else(Minor::current, |(minor, _)| minor))
}

fn not_served(name: &str, version: &str) -> Refusal {
    let message = format!("the component is built for version {version} of the contract ({name})");
    let (served, newest) = (minors::served(), Minor::current().number);
    Refusal::new(Reason::WrongVersion, message)
        .hint(format!("this gateway serves {served}; build the component against wit/v{newest}"))
}

fn mixed(first: &str, second: &str) -> Refusal {
    let message = format!("the component is built for two versions of the contract at once ({first}, {second})");
    Refusal::new(Reason::WrongVersion, message)
        .hint(format!("build all of it against one folder: this gateway serves {}", minors::served()))
}

fn no_such_world(minor: &Minor, world: World) -> Refusal {
    let (number, world) = (minor.number, world.name());
    let message = format!("version {number} of the contract, which the component is built for, has no world `{world}`");
    let worlds: Vec<_> = minor.worlds().map(World::name).collect();
    Refusal::new(Reason::WrongVersion, message).hint(format!(
        "its worlds are: {}; build the component against wit/v{}",
        worlds.join(", "),
        Minor::current().number
    ))
}

fn check_import(import: &str, world: World, grants: &Grants) -> Result<(), Refusal> {
    match interface(import) {
        Some(TYPES) => Ok(()),
        Some(DRAFTS) if world == World::Prompter => Ok(()),
        Some(EVENTS) if world == World::Observer => Ok(()),
        Some(EVENTS) => Err(unknown(format!("the component imports {import}, which is for observers only"))
            .hint(format!("{} is told of no events", world.policy()))),
        Some(CASES) if world == World::Evaluator => Ok(()),
        Some(FITNESS) if world.is_of_evolution() => Ok(()),
        Some(GENOMES) if world == World::Mutator => Ok(()),
        Some(CASES | FITNESS | GENOMES) => {
            Err(unknown(format!("the component imports {import}, which is for evaluators or mutators only"))
                .hint(format!("{} is shown neither cases nor genomes", world.policy())))
        }
        Some(name) => match Capability::from_name(name) {
            Some(capability) if grants.has(capability) => Ok(()),
            Some(capability) => {
                let message = format!("the component imports `{capability}`, which {}", grants.why_not(capability));
                Err(Refusal::new(Reason::NotGranted, message).hint(grants.hint(capability)))
            }
            None => Err(unknown(format!("the component imports {import}, which the contract does not have"))
                .hint("wit/README.md lists the interfaces")),
        },
        None if import.starts_with("wasi:") => Err(unknown(format!("the component imports {import}")).hint(
            "deciding worlds have no WASI: no clock, randomness or I/O. In Rust, build for wasm32-unknown-unknown",
        )),
        None => Err(unknown(format!("the component imports {import}, which this gateway does not have"))
            .hint("wit/README.md lists what a plugin may import")),
    }
}

fn unknown(message: String) -> Refusal {
    Refusal::new(Reason::UnknownImport, message)
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
}
