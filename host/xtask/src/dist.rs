//! Kairos as it is shipped: optimised for what gateways do, by the notes of a run, and laid out by those of another.

use std::fs::{self, File};
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
    let taking = build_with(&[format!("-Cprofile-generate={}", notes.display())], &["kairos"])?.join("kairos");
    train(&taking, &taking, &notes)?;
    run(Command::new(profdata).arg("merge").arg("-o").arg(profile()).arg(&notes))
}

/// Has a gateway that takes notes do what gateways do, beside a program that takes none, or whose are left out.
fn train(taking: &Path, beside: &Path, notes: &Path) -> Result<(), Failed> {
    eprintln!("xtask: having it do what gateways do …");
    let mut training = Command::new("python3");
    training.arg(root().join("host/xtask/train.py")).args([taking, beside]);
    run(training.arg(root().join("target/guests")).arg(root().join("policies")).arg(notes))
}

/// Builds programs by the profile, into `target/dist`, and lays Kairos out, which is one of them.
fn optimise(programs: &[&str]) -> Result<(), Failed> {
    eprintln!("xtask: building by its notes: as long again, the first time …");
    let mut flags = vec![format!("-Cprofile-use={}", profile().display())];
    let bolt = bolt();
    if bolt.is_some() {
        // Says in the program what refers to what.
        flags.push("-Clink-arg=-Wl,--emit-relocs".to_owned());
    }
    let built = build_with(&flags, programs)?;
    programs.iter().try_for_each(|program| put_in_place(&built.join(program), program))?;
    bolt.map_or(Ok(()), |bolt| lay_out(&bolt))
}

/// Copies a program to where what is shipped is: beside it and renamed, as the one that was there may be running.
fn put_in_place(from: &Path, program: &str) -> Result<(), Failed> {
    let folder = root().join("target/dist");
    fs::create_dir_all(&folder).map_err(Failed::at(&folder))?;
    let (to, new) = (folder.join(program), folder.join(format!("{program}.new")));
    fs::copy(from, &new).map_err(Failed::at(from))?;
    fs::rename(&new, &to).map_err(Failed::at(&to))?;
    println!("{}", to.display());
    Ok(())
}

/// Lays Kairos out anew, so that the functions that run lie together, and what never does apart from them: the system
/// maps a program in pieces of 64 KB, so that what a start touches here and there brings all of it into memory.
///
/// Measured in host/PERFORMANCE.md.
fn lay_out(bolt: &Path) -> Result<(), Failed> {
    let (program, notes) = (root().join("target/dist/kairos"), root().join("target/dist-layout"));
    let beside = |name: &str| notes.with_extension(name);
    let [taking, laid, merged, log] = ["taking", "laid", "fdata", "log"].map(beside);
    if notes.exists() {
        fs::remove_dir_all(&notes).map_err(Failed::at(&notes))?;
    }
    fs::create_dir_all(&notes).map_err(Failed::at(&notes))?;
    eprintln!("xtask: laying it out: two minutes …");
    let lay = |to: &Path| {
        let mut command = Command::new(bolt);
        command.arg(&program).arg("-o").arg(to);
        command
    };
    let into = format!("-instrumentation-file={}", notes.join("notes").display());
    quietly(lay(&taking).args(["-instrument", "-instrumentation-file-append-pid", &into]), &log)?;
    train(&taking, &program, &notes)?;
    let taken = fs::read_dir(&notes).map_err(Failed::at(&notes))?.flatten().map(|entry| entry.path());
    quietly(Command::new(bolt.with_file_name("merge-fdata")).arg("-o").arg(&merged).args(taken), &log)?;
    let by = format!("-data={}", merged.display());
    let how =
        ["-reorder-functions=cdsort", "-reorder-blocks=ext-tsp", "-split-functions", "-split-all-cold", "-split-eh"];
    quietly(lay(&laid).arg(by).args(how), &log)?;
    // What nobody ran is not put in place.
    train(&laid, &laid, &notes)?;
    // A copy, as of a release that is unpacked: of what a program just wrote in large pieces the system may map two
    // megabytes at a time.
    put_in_place(&laid, "kairos")
}

/// Runs a command that says much, of which nothing is to be done about unless it fails.
fn quietly(command: &mut Command, log: &Path) -> Result<(), Failed> {
    let file = File::create(log).map_err(Failed::at(log))?;
    let again = file.try_clone().map_err(Failed::at(log))?;
    let done = run(command.stdout(file).stderr(again));
    done.map_err(|Failed(why)| Failed(format!("{why}\n  hint: what it said is in {}", log.display())))
}

/// LLVM's tool that lays programs out, of whatever version is installed that knows what is asked of it. Without it the
/// program is as fast, and larger in memory.
fn bolt() -> Option<PathBuf> {
    let versions = (19..40).rev().map(|version| format!("llvm-bolt-{version}"));
    let names: Vec<String> = std::iter::once("llvm-bolt".to_owned()).chain(versions).collect();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let found = names.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    // What it needs lies beside the program, not beside a link to it.
    let tool = found.filter_map(|tool| tool.canonicalize().ok()).next();
    if tool.is_none() {
        eprintln!(
            "xtask: without llvm-bolt, the program takes some 8 MB more memory\n  hint: it is in Debian's package bolt-19"
        );
    }
    tool
}

/// Builds programs, with flags for all their code, but not for what runs while building: that is for the machine
/// itself, and they for one that is named. Gives their folder.
fn build_with(flags: &[String], programs: &[&str]) -> Result<PathBuf, Failed> {
    let machine = asked_of_rustc("host-tuple")?;
    let target = root().join("target");
    let mut build = cargo();
    build.args(["build", "--profile", "dist", "--quiet", "--workspace", "--target", &machine]);
    programs.iter().for_each(|program| {
        build.args(["--bin", program]);
    });
    run(build.env("CARGO_TARGET_DIR", &target).env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}")))?;
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
