//! Kairos as it is shipped: optimised for what gateways do, by the notes of a run.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::{Failed, cargo, run};
use crate::{guests, root};

/// Where the program is put.
fn program() -> PathBuf {
    root().join("target/dist/kairos")
}

/// Which code ran how often.
fn profile() -> PathBuf {
    root().join("target/dist.profdata")
}

/// Builds the program, with a profile made anew.
///
/// A request runs through several hundred kilobytes of code, each piece once, which no processor has at hand. With a
/// profile what runs lies together, what does not lies elsewhere, and is small. Measured in host/PERFORMANCE.md.
pub(crate) fn build() -> Result<(), Failed> {
    let profdata = tools()?;
    guests::build()?;
    let notes = root().join("target/dist-notes");
    // What an earlier program wrote down says nothing of this one.
    if notes.exists() {
        fs::remove_dir_all(&notes).map_err(Failed::at(&notes))?;
    }
    eprintln!("xtask: building what takes notes: some twenty minutes on two cores …");
    let taking = build_with(&format!("-Cprofile-generate={}", notes.display()))?;
    eprintln!("xtask: taking notes, a minute …");
    let mut training = Command::new("python3");
    training.arg(root().join("host/xtask/train.py")).arg(taking);
    run(training.arg(root().join("target/guests")).arg(root().join("policies")).arg(&notes))?;
    run(Command::new(profdata).arg("merge").arg("-o").arg(profile()).arg(&notes))?;
    optimise()
}

/// Builds the program by the profile that there is, or with a new one: a profile that is older than the program says
/// less of it, and nothing wrong.
pub(crate) fn build_again() -> Result<(), Failed> {
    if profile().exists() { optimise() } else { build() }
}

fn optimise() -> Result<(), Failed> {
    eprintln!("xtask: building by these notes: some twenty minutes more, the first time …");
    let built = build_with(&format!("-Cprofile-use={}", profile().display()))?;
    let program = program();
    let folder = program.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(Failed::at(folder))?;
    // Written beside it and renamed: who runs the one before it runs on.
    let new = program.with_extension("new");
    fs::copy(&built, &new).map_err(Failed::at(&built))?;
    fs::rename(&new, &program).map_err(Failed::at(&program))?;
    println!("{}", program.display());
    Ok(())
}

/// Builds with a flag for all code, but not for what runs while building: that is for the machine itself, which is
/// named as the target.
fn build_with(flag: &str) -> Result<PathBuf, Failed> {
    let target = asked_of_rustc(&["--print", "host-tuple"])?;
    let mut build = cargo();
    build.args(["build", "--profile", "dist", "--quiet", "--workspace", "--bin", "kairos", "--target", &target]);
    run(build.env("CARGO_TARGET_DIR", root().join("target")).env("CARGO_ENCODED_RUSTFLAGS", flag))?;
    Ok(root().join("target").join(target).join("dist/kairos"))
}

/// The program that puts notes together, which is a component of Rust's.
fn tools() -> Result<PathBuf, Failed> {
    let sysroot = asked_of_rustc(&["--print", "target-libdir"])?;
    let tool = Path::new(&sysroot).with_file_name("bin").join("llvm-profdata");
    if !tool.exists() {
        eprintln!("xtask: adding Rust's component llvm-tools …");
        run(Command::new("rustup").args(["component", "add", "llvm-tools"])).map_err(|failed| {
            Failed(format!(
                "{failed}\n  hint: {} is needed; where rustup is not used, install it with your packages",
                tool.display()
            ))
        })?;
    }
    Ok(tool)
}

fn asked_of_rustc(arguments: &[&str]) -> Result<String, Failed> {
    let output = Command::new("rustc").args(arguments).current_dir(root()).output();
    let output = output.map_err(|error| Failed(format!("rustc could not be started: {error}")))?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
