//! Watches the folder of policies. The last event wins: a rename, or a close after writing.

use std::path::{Path, PathBuf};
use std::sync::mpsc::Sender;

use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind};
use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher as _};

/// What happened in the folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// These paths have new content, or are gone.
    Paths(Vec<PathBuf>),
    /// Something happened that names no file: everything is to be looked at.
    Unknown,
}

/// Watches while it lives.
pub(crate) struct FolderWatch {
    _watcher: RecommendedWatcher,
}

impl FolderWatch {
    pub(crate) fn start(folder: &Path, changes: Sender<Change>) -> notify::Result<Self> {
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            // A receiver that is gone wants to know nothing.
            let _ = match event {
                Ok(event) => change(event).map(|change| changes.send(change)),
                Err(_) => Some(changes.send(Change::Unknown)),
            };
        })?;
        watcher.watch(folder, RecursiveMode::NonRecursive)?;
        Ok(Self { _watcher: watcher })
    }
}

/// Whether a file came by a link, so that no write will be told.
fn is_linked(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    path.symlink_metadata().is_ok_and(|found| found.is_symlink() || (found.is_file() && found.nlink() > 1))
}

/// What an event comes to; none: a file is read, or still written.
pub(crate) fn change(event: Event) -> Option<Change> {
    if event.need_rescan() {
        return Some(Change::Unknown);
    }
    match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write))
        | EventKind::Modify(ModifyKind::Name(_))
        | EventKind::Remove(_) => Some(Change::Paths(event.paths)),
        // A file that was linked or moved in comes as created, complete.
        EventKind::Create(_) if event.paths.iter().any(|path| is_linked(path)) => Some(Change::Paths(event.paths)),
        _ => None,
    }
}
