//! A policy as a command is given it: by a file, with what is beside it, or by a registry.

use std::path::Path;

use kairos_pipeline::policy::World;
use kairos_sandbox::cases;
use kairos_sandbox::load::{Loader, SLOTS, world_of};
use kairos_sandbox::refusal::Refusal;
use kairos_sandbox::trust;
use kairos_sandbox::versions::Version;

use super::super::Failed;
use super::super::oci;
use super::on_a_loaders_thread;
use crate::config::Config;

/// A policy's bytes, and what goes with them.
pub(crate) struct Given {
    /// Its file's name.
    pub(crate) file: String,
    pub(crate) bytes: Vec<u8>,
    pub(crate) tests: Option<Vec<u8>>,
    /// As it came: base64, if it is one.
    pub(crate) signature: Option<String>,
}

impl Given {
    /// Of a registry, where `source` is an address of one; else of a file.
    pub(super) fn find(
        source: &str,
        tests: Option<&Path>,
        signature: Option<&Path>,
        config: impl FnOnce() -> Result<Config, Failed>,
    ) -> Result<Self, Failed> {
        if !oci::is_address(source) {
            return Self::read(Path::new(source), tests, signature);
        }
        let fetched = oci::fetch(source, &config()?.policy_limits())?;
        // What is named here goes with it instead of what came with it.
        let named = |path: Option<&Path>| path.map(read).transpose();
        let (tests, signature) = (named(tests)?, named(signature)?.as_deref().map(text));
        Ok(Self { tests: tests.or(fetched.tests), signature: signature.or(fetched.signature), ..fetched })
    }

    /// A file, with the tests and the signature beside it, where no others are named.
    pub(super) fn read(file: &Path, tests: Option<&Path>, signature: Option<&Path>) -> Result<Self, Failed> {
        let beside = |named: Option<&Path>, beside: std::path::PathBuf| {
            let path = named.map(Path::to_owned).or_else(|| Some(beside).filter(|path| path.exists()));
            path.map(|path| read(&path)).transpose()
        };
        Ok(Self {
            file: file.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            bytes: read(file)?,
            tests: beside(tests, cases::beside(file))?,
            signature: beside(signature, trust::beside(file))?.as_deref().map(text),
        })
    }

    /// The world whose slot it is for.
    pub(super) fn world(&self, slot: Option<&str>) -> Result<World, Failed> {
        if let Some(slot) = slot {
            let message = || format!("there is no slot {slot:?}; there are {}", SLOTS.join(", "));
            return World::from_name(slot).ok_or_else(|| Failed::usage(message()));
        }
        let (file, bytes) = (self.file.clone(), self.bytes.clone());
        on_a_loaders_thread(move || world_of(&file, &bytes))
    }

    /// The version that it is, for the slot that it fits.
    pub(super) fn version(self, loader: &Loader) -> Result<Version, Refusal> {
        let Self { file, bytes, tests, signature } = self;
        let version = loader.version(world_of(&file, &bytes), &file, bytes, tests)?;
        Ok(Version { signature, ..version })
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Failed> {
    std::fs::read(path).map_err(|error| Failed::usage(format!("{}: {error}", path.display())))
}

/// What is not UTF-8 is no signature, and refused as any that is none.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
