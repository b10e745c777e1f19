//! What application inference profiles stand for, in one file of the data folder: written with a sync, so that
//! neither a restart nor an outage of Bedrock's control plane makes it unknown.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use crate::config::ProfileSettings;

/// The file in the data folder.
const FILE: &str = "profiles.json";
/// The largest file that is read: as many as may be kept, each with the longest ARN.
const MOST_BYTES: u64 = 32 << 20;

/// A profile whose meaning is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pin {
    pub(crate) arn: String,
    /// The profile or model that it was made of, as the catalogue names it.
    pub(crate) stands_for: String,
    /// Since when it does, as far as is known.
    pub(crate) since_ms: u64,
    /// When Bedrock said so last.
    pub(crate) said_ms: u64,
}

impl Pin {
    /// Whether it is a region's. Another's cannot be called from there.
    pub(crate) fn is_of(&self, region: &str) -> bool {
        self.arn.split(':').nth(3) == Some(region)
    }
}

/// What becomes of a profile.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    /// It is kept from now on.
    Keep(Pin),
    /// The one of this ARN is kept no longer.
    Remove(String),
}

impl Change {
    fn make(self, held: &mut BTreeMap<String, Pin>) {
        match self {
            Self::Keep(pin) => held.insert(pin.arn.clone(), pin),
            Self::Remove(arn) => held.remove(&arn),
        };
    }
}

/// All that are kept. Those of other regions stay in the file for a gateway that calls these again.
pub(crate) struct Pins {
    file: PathBuf,
    region: String,
    held: Mutex<BTreeMap<String, Pin>>,
}

/// Reads what is kept in a data folder; nothing where there is no file.
pub(crate) fn read(data: &Path) -> Result<Vec<Pin>, String> {
    let file = data.join(FILE);
    let wrong = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
    let opened = match File::open(&file) {
        Ok(opened) => opened,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(Vec::new()),
        Err(error) => return Err(wrong(&error)),
    };
    let mut text = String::new();
    opened.take(MOST_BYTES).read_to_string(&mut text).map_err(|error| wrong(&error))?;
    serde_json::from_str(&text).map_err(|error| wrong(&error))
}

impl Pins {
    /// Reads what is kept in a data folder. What cannot be read is told and moved aside: it can be asked again.
    pub(crate) fn open(data: &Path, region: &str) -> Self {
        let file = data.join(FILE);
        let pins = read(data).unwrap_or_else(|why| {
            let aside = file.with_extension("json.damaged");
            let moved = std::fs::rename(&file, &aside);
            tracing::error!(
                moved = moved.is_ok(),
                aside = %aside.display(),
                "what application inference profiles stand for is asked anew, what was kept cannot be read: {why}"
            );
            Vec::new()
        });
        let held = pins.into_iter().map(|pin| (pin.arn.clone(), pin)).collect();
        Self { file, region: region.to_owned(), held: Mutex::new(held) }
    }

    fn held(&self) -> MutexGuard<'_, BTreeMap<String, Pin>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many are of the region that is called.
    pub(crate) fn len(&self) -> usize {
        self.held().values().filter(|pin| pin.is_of(&self.region)).count()
    }

    /// All of any region.
    pub(crate) fn all(&self) -> Vec<Pin> {
        self.held().values().cloned().collect()
    }

    /// What there would be with a change.
    pub(crate) fn with(&self, change: &Change) -> Vec<Pin> {
        let mut held = self.held().clone();
        change.clone().make(&mut held);
        held.into_values().collect()
    }

    pub(crate) fn get(&self, arn: &str) -> Option<Pin> {
        self.held().get(arn).cloned()
    }

    /// Makes a change, in memory at least: that it could not be written is given.
    pub(crate) fn apply(&self, change: Change) -> std::io::Result<()> {
        change.make(&mut self.held());
        self.write()
    }

    fn write(&self) -> std::io::Result<()> {
        let text = serde_json::to_string_pretty(&self.all())?;
        let folder = self.file.parent().unwrap_or(Path::new("."));
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(text.as_bytes())?;
        file.as_file().sync_all()?;
        file.persist(&self.file).map_err(|error| error.error)?;
        File::open(folder)?.sync_all()
    }
}

/// Each ARN of a region and what it stands for, for the catalogue; none where Bedrock is not asked.
pub(crate) fn names(settings: ProfileSettings, region: &str, pins: &[Pin]) -> Vec<(String, String)> {
    let pins = if settings.kept == 0 { &[] } else { pins };
    pins.iter().filter(|pin| pin.is_of(region)).map(|pin| (pin.arn.clone(), pin.stands_for.clone())).collect()
}
