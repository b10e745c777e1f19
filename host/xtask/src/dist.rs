//! Kairos as it is shipped: optimised for what gateways do, by the notes of a run.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::{Failed, cargo, run};
use crate::{guests, root};

/// Which code ran how often.
fn profile() -> PathBuf {
    root().join("target/dist.profdata")
}

/// Builds what is shipped, with a profile made anew.
///
/// A request runs through several hundred kilobytes of code, each piece once, which no processor has at hand. With a
/// profile what runs lies together, what does not lies elsewhere, and is small. Measured in host/PERFORMANCE.md.
pub(crate) fn build() -> Result<(), Failed> {
    take_notes()?;
    optimise(&["kairos"])
}

/// Builds the benchmarks, and what they measure, in the same way; by the profile that there is, if there is one: when
/// it is older than the program, it says less of it, and nothing wrong.
pub(crate) fn build_benchmarks() -> Result<(), Failed> {
    if !profile().exists() {
        take_notes()?;
    }
    optimise(&["kairos", "kairos-bench"])
}

/// Makes the profile.
fn take_notes() -> Result<(), Failed> {
    let profdata = profdata()?;
    guests::build()?;
    let notes = root().join("target/dist-notes");
    // What an earlier program wrote down says nothing of this one.
    if notes.exists() {
        fs::remove_dir_all(&notes).map_err(Failed::at(&notes))?;
    }
    eprintln!("xtask: building what takes notes of what it does: some twenty-five minutes on two cores …");
    let taking = build_with(&format!("-Cprofile-generate={}", notes.display()), &["kairos"])?.join("kairos");
    eprintln!("xtask: having it do what gateways do …");
    let mut training = Command::new("python3");
    training.arg(root().join("host/xtask/train.py")).arg(taking);
    run(training.arg(root().join("target/guests")).arg(root().join("policies")).arg(&notes))?;
    run(Command::new(profdata).arg("merge").arg("-o").arg(profile()).arg(&notes))
}

/// Builds programs by the profile, into `target/dist`.
fn optimise(programs: &[&str]) -> Result<(), Failed> {
    eprintln!("xtask: building by its notes: as long again, the first time …");
    let built = build_with(&format!("-Cprofile-use={}", profile().display()), programs)?;
    let folder = root().join("target/dist");
    fs::create_dir_all(&folder).map_err(Failed::at(&folder))?;
    for program in programs {
        let (from, to, new) = (built.join(program), folder.join(program), folder.join(format!("{program}.new")));
        // Written beside it and renamed: the one before may be running.
        fs::copy(&from, &new).map_err(Failed::at(&from))?;
        fs::rename(&new, &to).map_err(Failed::at(&to))?;
        println!("{}", to.display());
    }
    Ok(())
}

/// Builds programs, with a flag for all their code, but not for what runs while building: that is for the machine
/// itself, and they for one that is named. Gives their folder.
fn build_with(flag: &str, programs: &[&str]) -> Result<PathBuf, Failed> {
    let machine = asked_of_rustc("host-tuple")?;
    let target = root().join("target");
    let mut build = cargo();
    build.args(["build", "--profile", "dist", "--quiet", "--workspace", "--target", &machine]);
    programs.iter().for_each(|program| {
        build.args(["--bin", program]);
    });
    run(build.env("CARGO_TARGET_DIR", &target).env("CARGO_ENCODED_RUSTFLAGS", flag))?;
    Ok(target.join(machine).join("dist"))
}

/// The program that puts notes together, which is a component of Rust's.
fn profdata() -> Result<PathBuf, Failed> {
    let sysroot = asked_of_rustc("target-libdir")?;
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

fn asked_of_rustc(what: &str) -> Result<String, Failed> {
    let output = Command::new("rustc").args(["--print", what]).current_dir(root()).output();
    let output = output.map_err(|error| Failed(format!("rustc could not be started: {error}")))?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
