//! Where the ledger's files are. A run goes on writing to files that were removed or replaced, and all that it
//! writes is gone with its end: so it looks whether they are still those that it opened.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::error::LedgerError;

/// A file's device, and its number there.
type FileId = (u64, u64);

/// The files of a database that is open.
pub(super) struct Place(Vec<(PathBuf, FileId)>);

fn id_of(path: &Path) -> Option<FileId> {
    path.metadata().ok().map(|found| (found.dev(), found.ino()))
}

impl Place {
    /// Those of the database that was just opened, and written to: its own and its log.
    pub(super) fn of(path: &Path) -> Self {
        let mut log = path.as_os_str().to_owned();
        log.push("-wal");
        let files = [path.to_owned(), log.into()];
        Self(files.into_iter().filter_map(|file| id_of(&file).map(|id| (file, id))).collect())
    }

    /// Whether they are still there.
    pub(super) fn check(&self) -> Result<(), LedgerError> {
        match self.0.iter().find(|(file, id)| id_of(file) != Some(*id)) {
            None => Ok(()),
            Some((file, _)) => Err(LedgerError::Gone(file.display().to_string())),
        }
    }
}
