//! What the end-to-end tests share: the binary as a child process, a client, the guests.
//!
//! A failure of the set-up panics with what to do: these helpers only run in tests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

pub mod audit;
pub mod http;
pub mod moto;
pub mod process;
pub mod raw;

use std::path::{Path, PathBuf};
use std::process::Command;

/// The top of the checkout.
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// A guest that `cargo xtask guests` built.
pub fn guest(name: &str) -> PathBuf {
    let path = root().join("target/guests").join(format!("{name}.wasm"));
    assert!(path.exists(), "{} is missing: run `cargo xtask guests`", path.display());
    path
}

/// The bytes of such a guest.
pub fn component(name: &str) -> Vec<u8> {
    std::fs::read(guest(name)).unwrap()
}

/// A policy of the project.
pub fn policy(name: &str) -> PathBuf {
    root().join("policies").join(name)
}

/// The Python with the real clients, or a reason to fail.
pub fn python() -> PathBuf {
    let known =
        std::env::var_os("KAIROS_PYTHON").map_or_else(|| root().join("target/clients/bin/python"), PathBuf::from);
    assert!(known.exists(), "{} is missing: run `cargo xtask test`, which installs the clients", known.display());
    known
}

/// A shell in a folder where somebody writes a plugin: `kairos` and the tools of each language are
/// found. Cargo keeps what it compiles for the next project.
pub fn author(folder: &Path, line: &str) -> Command {
    let target = root().join("target");
    let known = std::env::var_os("PATH").unwrap_or_default();
    let own = [process::binary().parent().unwrap().to_owned(), python().parent().unwrap().to_owned()];
    let js = target.join("js/node_modules/.bin");
    assert!(js.exists(), "{} is missing: run `cargo xtask test`, which installs it", js.display());
    let paths = own.into_iter().chain([js]).chain(std::env::split_paths(&known));
    let mut command = Command::new("sh");
    command.args(["-ec", line]).current_dir(folder).env("PATH", std::env::join_paths(paths).unwrap());
    command.env("CARGO_TARGET_DIR", target.join("wasm/plugins"));
    // Those of the tests' own build.
    for name in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_TARGET"] {
        command.env_remove(name);
    }
    command
}

/// How many times something is done in a long count: a tenth of what the project promises, or all of it.
pub fn scaled(full: usize) -> usize {
    if is_full() { full } else { full / 10 }
}

fn is_full() -> bool {
    std::env::var("KAIROS_COUNTS").is_ok_and(|counts| counts == "full")
}

/// A long count: `cargo xtask test` does a tenth of it, `cargo xtask prove` all, and says what came of
/// it. Such a test stands in a module named `counts`, which is how `prove` finds it.
pub struct Count {
    what: &'static str,
    times: usize,
    is_done: bool,
}

/// Begins a long count. `what` stands in the summary: "kills under load".
pub fn count(what: &'static str, full: usize) -> Count {
    Count { what, times: scaled(full), is_done: false }
}

impl Count {
    /// How many times it is to be done.
    pub fn times(&self) -> usize {
        self.times
    }

    /// It was done and nothing was wrong; `result` says in a few words what was found.
    pub fn passed(mut self, result: &str) {
        self.is_done = true;
        self.report("passed", result);
    }

    /// Adds a line to the file that `prove` makes its summary of.
    fn report(&self, state: &str, result: &str) {
        println!("{}: {} × {state}. {result}", self.what, self.times);
        let Some(path) = std::env::var_os("KAIROS_COUNTS_REPORT") else { return };
        let mut file = std::fs::File::options().append(true).create(true).open(path).unwrap();
        let line = format!("{state}\t{}\t{}\t{result}\n", self.times, self.what);
        std::io::Write::write_all(&mut file, line.as_bytes()).unwrap();
    }
}

impl Drop for Count {
    fn drop(&mut self) {
        if !self.is_done {
            self.report("FAILED", "its output above says why");
        }
    }
}

/// The same policy as a file that no other is equal to.
pub fn another(ending: &str, bytes: &[u8], number: usize) -> Vec<u8> {
    if ending == "rhai" {
        return [format!("// {number}\n").as_bytes(), bytes].concat();
    }
    // An empty custom section with a name of its own.
    let label = format!("variant {number}");
    [bytes, &[0, label.len() as u8 + 1, label.len() as u8], label.as_bytes()].concat()
}
