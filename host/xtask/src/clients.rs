//! What the tests use of other languages: the real clients and componentize-py, in a Python
//! environment of their own; componentize-js, in a folder of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::{Failed, run};
use crate::root;

const PYTHON_HINT: &str = "hint: the tests use the real openai and boto3 packages, and componentize-py. On Debian: apt-get install python3 python3-venv";
const NODE_HINT: &str =
    "hint: the tests build a policy in JavaScript, by Node.js 18 or newer. On Debian: apt-get install nodejs npm";

/// What Python packages are installed by: the clients of the tests, and what a new plugin names.
const REQUIREMENTS: [&str; 2] = ["tests/clients/requirements.txt", "plugins/template/python/requirements.txt"];
/// What npm packages are installed by: what a new plugin names.
const PACKAGES: [&str; 2] = ["package.json", "package-lock.json"];

/// Makes the environment if it is not there, or not as its requirements say. Gives its Python.
pub(crate) fn python() -> Result<PathBuf, Failed> {
    let folder = root().join("target/clients");
    let python = folder.join("bin/python");
    let files = REQUIREMENTS.map(|file| root().join(file));
    installed(&folder.join("requirements.txt"), &files, || {
        eprintln!("xtask: installing the Python packages of {} …", REQUIREMENTS.join(" and "));
        run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder))?;
        let mut pip = Command::new(&python);
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
        files.iter().for_each(|file| {
            pip.arg("-r").arg(file);
        });
        run(&mut pip)
    })
    .map_err(|failed| Failed(format!("{failed}\n  {PYTHON_HINT}")))?;
    Ok(python)
}

/// Makes the folder of npm packages if it is not there, or not as a new plugin's lock says.
pub(crate) fn node() -> Result<(), Failed> {
    let folder = root().join("target/js");
    let files = PACKAGES.map(|file| root().join("plugins/template/js").join(file));
    installed(&folder.join("installed.txt"), &files, || {
        eprintln!("xtask: installing the npm packages of plugins/template/js …");
        fs::create_dir_all(&folder).map_err(Failed::at(&folder))?;
        for (file, name) in files.iter().zip(PACKAGES) {
            fs::copy(file, folder.join(name)).map_err(Failed::at(file))?;
        }
        run(Command::new("npm").args(["ci", "--no-audit", "--no-fund", "--silent"]).current_dir(&folder))
    })
    .map_err(|failed| Failed(format!("{failed}\n  {NODE_HINT}")))
}

/// Installs, unless `stamp` holds what the files do: what they said when it was last done.
fn installed(stamp: &Path, files: &[PathBuf], install: impl FnOnce() -> Result<(), Failed>) -> Result<(), Failed> {
    let texts = files.iter().map(|file| fs::read_to_string(file).map_err(Failed::at(file)));
    let wanted = texts.collect::<Result<String, _>>()?;
    if fs::read_to_string(stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    install()?;
    fs::write(stamp, wanted).map_err(Failed::at(stamp))
}
