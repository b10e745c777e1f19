//! Watches the folder of policies, and single files. The last event wins: a rename, or a close after writing.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Sender, channel};
use std::thread;

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

/// Follows one file while it lives.
pub struct FileWatch {
    /// It tells the thread, which ends with it.
    _watch: FolderWatch,
}

impl FileWatch {
    /// Has a thread of this name look at the file whenever something changed in its folder: a file can come
    /// there by a rename, or by another link. What happens in between is looked at together.
    pub fn start(file: &Path, name: &str, mut look: impl FnMut() + Send + 'static) -> notify::Result<Self> {
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let (sender, receiver) = channel();
        let watch = FolderWatch::start(folder, sender)?;
        let follow = move || {
            crate::follow::lower_priority();
            while receiver.recv().is_ok() {
                receiver.try_iter().for_each(drop);
                look();
            }
        };
        thread::Builder::new().name(name.to_owned()).spawn(follow).map_err(notify::Error::io)?;
        Ok(Self { _watch: watch })
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
