//! Builds guests: Rust for `wasm32-unknown-unknown`, which imports nothing, then made components.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use wit_component::ComponentEncoder;

use crate::process::{Failed, cargo, run};
use crate::root;

const TARGET: &str = "wasm32-unknown-unknown";

/// Workspaces of guests.
const WORKSPACES: [&str; 2] = ["plugins", "tests/guests"];

/// Builds the plugins, and the guests of the tests, into `target/guests`.
pub(crate) fn build() -> Result<(), Failed> {
    add_target()?;
    let into = root().join("target/guests");
    fs::create_dir_all(&into).map_err(Failed::at(&into))?;
    for workspace in WORKSPACES {
        run(guest_cargo(workspace).args(["build", "--release", "--quiet"]))?;
        componentise(&target_folder(workspace).join(TARGET).join("release"), &into)?;
    }
    Ok(())
}

/// Checks the format of the guests, and lints them.
pub(crate) fn lint() -> Result<(), Failed> {
    for workspace in WORKSPACES {
        run(guest_cargo(workspace).args(["fmt", "--all", "--check"]))?;
        run(guest_cargo(workspace).args(["clippy", "--release", "--quiet", "--", "-D", "warnings"]))?;
    }
    Ok(())
}

/// Runs what the plugins and their SDK test without a host.
pub(crate) fn test() -> Result<(), Failed> {
    // The folder builds for components otherwise.
    run(native_cargo("plugins").args(["test", "--release", "--target", "host-tuple", "--quiet"]))
}

/// Cargo, in a workspace of guests.
fn guest_cargo(workspace: &str) -> Command {
    let mut command = native_cargo(workspace);
    command.env("CARGO_BUILD_TARGET", TARGET);
    command
}

/// The same, for this machine.
fn native_cargo(workspace: &str) -> Command {
    let mut command = cargo();
    command.current_dir(root().join(workspace)).env("CARGO_TARGET_DIR", target_folder(workspace));
    command
}

fn target_folder(workspace: &str) -> PathBuf {
    root().join("target").join("wasm").join(workspace.replace('/', "-"))
}

/// Makes a component of each module in a folder.
fn componentise(modules: &Path, into: &Path) -> Result<(), Failed> {
    let entries = fs::read_dir(modules).map_err(Failed::at(modules))?;
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.extension().is_none_or(|ending| ending != "wasm") {
            continue;
        }
        let failed = |error: &dyn std::fmt::Display| Failed(format!("{}: {error}", path.display()));
        let module = fs::read(&path).map_err(|error| failed(&error))?;
        let component = ComponentEncoder::default()
            .validate(true)
            .module(&module)
            .and_then(|encoder| encoder.encode())
            .map_err(|error| failed(&format_args!("{error:#}")))?;
        let name = path.file_name().map(|name| name.to_string_lossy().replace('_', "-")).unwrap_or_default();
        let target = into.join(name);
        // Unchanged files keep their time: nothing that depends on them is built again.
        if fs::read(&target).ok().as_deref() != Some(&component) {
            fs::write(&target, component).map_err(|error| failed(&error))?;
        }
    }
    Ok(())
}

fn add_target() -> Result<(), Failed> {
    let sysroot = Command::new("rustc").args(["--print", "sysroot"]).output();
    let sysroot = sysroot.map_err(|error| Failed(format!("rustc could not be started: {error}")))?;
    let sysroot = String::from_utf8_lossy(&sysroot.stdout).trim().to_owned();
    if Path::new(&sysroot).join("lib/rustlib").join(TARGET).is_dir() {
        return Ok(());
    }
    eprintln!("xtask: adding the Rust target {TARGET} …");
    run(Command::new("rustup").args(["target", "add", TARGET])).map_err(|failed| {
        Failed(format!("{failed}\n  hint: the guests need the Rust target {TARGET}; where rustup is not used, install it with your packages"))
    })
}
