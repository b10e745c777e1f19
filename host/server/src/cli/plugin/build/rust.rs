//! Rust: cargo makes a module, which is made a component here.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use wit_component::ComponentEncoder;

use super::super::super::Failed;
use super::super::project::Project;

/// It imports nothing: no WASI.
const TARGET: &str = "wasm32-unknown-unknown";

const INSTALL_RUST: &str = "Rust comes by rustup (on Debian: apt-get install rustup)";

/// Builds the module, and makes a component of it.
pub(super) fn component(project: &Project) -> Result<Vec<u8>, Failed> {
    has_target(project.folder())?;
    let path = module(project.folder())?;
    let failed = |error: &dyn std::fmt::Display| Failed::new(format!("{}: {error}", path.display()));
    let module = std::fs::read(&path).map_err(|error| failed(&error))?;
    let component = ComponentEncoder::default().validate(true).module(&module).and_then(|encoder| encoder.encode());
    component.map_err(|error| failed(&format_args!("{error:#}")))
}

fn has_target(folder: &Path) -> Result<(), Failed> {
    let asked =
        Command::new("rustc").args(["--print", "target-libdir", "--target", TARGET]).current_dir(folder).output();
    let asked =
        asked.map_err(|error| Failed::usage(format!("rustc could not be started: {error}\n  hint: {INSTALL_RUST}")))?;
    let libraries = String::from_utf8_lossy(&asked.stdout);
    if asked.status.success() && Path::new(libraries.trim()).is_dir() {
        return Ok(());
    }
    Err(Failed::usage(format!("Rust's target {TARGET} is not installed\n  hint: rustup target add {TARGET}")))
}

/// Has cargo build the module; it says itself where it is.
fn module(folder: &Path) -> Result<PathBuf, Failed> {
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--release", "--target", TARGET, "--message-format", "json-render-diagnostics"]);
    let ran = cargo.current_dir(folder).stderr(Stdio::inherit()).output();
    let ran =
        ran.map_err(|error| Failed::usage(format!("cargo could not be started: {error}\n  hint: {INSTALL_RUST}")))?;
    if !ran.status.success() {
        return Err(Failed::new(format!("cargo failed ({})", ran.status)));
    }
    let messages = String::from_utf8_lossy(&ran.stdout);
    // What was asked for comes after what it needs.
    let mut modules =
        messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()).filter_map(|message| {
            let is_module = message["target"]["crate_types"].as_array()?.iter().any(|kind| kind == "cdylib");
            message["filenames"][0].as_str().filter(|_| is_module).map(PathBuf::from)
        });
    modules
        .next_back()
        .ok_or_else(|| Failed::new("cargo built no module\n  hint: Cargo.toml needs [lib] crate-type = [\"cdylib\"]"))
}
