//! `kairos policy push`.

use std::path::PathBuf;

use super::super::{Failed, oci};
use super::given::Given;

#[derive(Debug, clap::Args)]
pub(crate) struct Push {
    /// A script (.rhai) or a component (.wasm)
    file: PathBuf,
    /// oci://REGISTRY/REPOSITORY, and :TAG where it is to have one
    address: String,
    /// The file of its tests [default: STEM.test.toml beside it, where there is one]
    #[arg(long, value_name = "FILE")]
    tests: Option<PathBuf>,
    /// The file of its signature [default: FILE.sig beside it, where there is one]
    #[arg(long, value_name = "FILE")]
    signature: Option<PathBuf>,
}

impl Push {
    pub(super) fn run(self) -> Result<(), Failed> {
        let ending = self.file.extension().and_then(|ending| ending.to_str());
        if !matches!(ending, Some("rhai" | "wasm")) {
            return Err(Failed::usage(format!("{}: a policy is a .rhai or a .wasm file", self.file.display())));
        }
        let given = Given::read(&self.file, self.tests.as_deref(), self.signature.as_deref())?;
        println!("{}", oci::push(&self.address, &given)?);
        Ok(())
    }
}
