//! The real clients that the tests use, in a Python environment of their own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::{Failed, run};
use crate::root;

const HINT: &str =
    "hint: the tests use the real openai and boto3 packages. On Debian: apt-get install python3 python3-venv";

/// Makes the environment if it is not there, or not as `requirements.txt` says. Gives its Python.
pub(crate) fn environment() -> Result<PathBuf, Failed> {
    let folder = root().join("target/clients");
    let requirements = root().join("tests/clients/requirements.txt");
    let python = folder.join("bin/python");
    let wanted =
        fs::read_to_string(&requirements).map_err(|error| Failed(format!("{}: {error}", requirements.display())))?;
    let stamp = folder.join("requirements.txt");
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) && python.exists() {
        return Ok(python);
    }
    eprintln!("xtask: installing the Python clients of tests/clients/requirements.txt …");
    install(&folder, &python, &requirements).map_err(|failed| Failed(format!("{failed}\n  {HINT}")))?;
    fs::write(&stamp, wanted).map_err(|error| Failed(format!("{}: {error}", stamp.display())))?;
    Ok(python)
}

fn install(folder: &Path, python: &Path, requirements: &Path) -> Result<(), Failed> {
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(folder))?;
    run(Command::new(python)
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"])
        .arg(requirements))
}
