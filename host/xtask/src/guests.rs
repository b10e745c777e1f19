//! Builds guests: Rust for `wasm32-unknown-unknown`, which imports nothing, then made components.

use std::fs;
use std::path::Path;
use std::process::Command;

use wit_component::ComponentEncoder;

use crate::process::{Failed, cargo, run};
use crate::root;

const TARGET: &str = "wasm32-unknown-unknown";

/// Builds the plugins, and the guests of the tests, into `target/guests`.
pub(crate) fn build() -> Result<(), Failed> {
    add_target()?;
    let into = root().join("target/guests");
    fs::create_dir_all(&into).map_err(|error| Failed(format!("{}: {error}", into.display())))?;
    for workspace in ["plugins", "tests/guests"] {
        let folder = root().join(workspace);
        if !folder.join("Cargo.toml").exists() {
            continue;
        }
        let built = root().join("target").join("wasm").join(workspace.replace('/', "-"));
        let mut command = cargo();
        command.args(["build", "--release", "--quiet", "--locked", "--target-dir"]).arg(&built).current_dir(&folder);
        run(&mut command)?;
        componentise(&built.join(TARGET).join("release"), &into)?;
    }
    Ok(())
}

/// Makes a component of each module in a folder.
fn componentise(modules: &Path, into: &Path) -> Result<(), Failed> {
    let entries = fs::read_dir(modules).map_err(|error| Failed(format!("{}: {error}", modules.display())))?;
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
