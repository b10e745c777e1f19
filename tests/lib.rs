//! What the end-to-end tests share: the binary as a child process, a client, the guests.
//!
//! A failure of the set-up panics with what to do: these helpers only run in tests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

pub mod http;
pub mod process;

use std::path::PathBuf;

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

/// How many times a long count is run: a tenth of what the project promises, or all of it.
pub fn scaled(full: usize) -> usize {
    if std::env::var("KAIROS_COUNTS").is_ok_and(|counts| counts == "full") { full } else { full / 10 }
}
