//! `kairos plugin contract`.

use std::fmt::Write as _;

use kairos_sandbox::wasm::compatibility;
use sha2::{Digest as _, Sha256};

use super::super::Failed;
use super::template;

#[derive(Debug, clap::Args)]
pub(crate) struct Contract {}

impl Contract {
    pub(super) fn run(self) -> Result<(), Failed> {
        let Self {} = self;
        print!("{}", text());
        Ok(())
    }
}

/// Which versions are served, and the files of those, as this binary was built with them.
fn text() -> String {
    let mut text = format!("{}\n| file | SHA-256 |\n|---|---|\n", compatibility());
    for (name, file) in template::contract() {
        let _ = writeln!(text, "| `{name}` | `{}` |", hex::encode(Sha256::digest(file)));
    }
    text
}
