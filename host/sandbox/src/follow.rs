//! Follows the watched folder: what is in it serves, and what changes in it is loaded.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Weak};
use std::thread;

use crate::folder::{newest, slot_beside, slot_of, warn_of_strangers};
use crate::host::{PolicyHost, THREAD_STACK};
use crate::slots::Slots;
use crate::watch::{Change, FolderWatch};

impl Slots {
    /// Loads what the folder holds, then watches it until the returned guard is dropped.
    pub fn watch(self: &Arc<Self>, folder: &Path) -> Result<Watching, WatchError> {
        let cannot = |message: String| WatchError { folder: folder.to_owned(), message };
        if !folder.is_dir() {
            return Err(cannot("there is no such folder".to_owned()));
        }
        // As the watch names files: a relative name would be another's.
        let folder = &folder.canonicalize().map_err(|error| cannot(error.to_string()))?;
        let (sender, receiver) = channel();
        // Watch first, then read: nothing that changes in between is missed.
        let watch = FolderWatch::start(folder, sender.clone()).map_err(|error| cannot(error.to_string()))?;
        on_a_thread_of_its_own(|| self.scan(folder));
        let (slots, folder) = (Arc::downgrade(self), folder.to_owned());
        thread::Builder::new()
            .name("policy-loader".to_owned())
            .spawn(move || follow(&slots, &folder, &receiver))
            .map_err(|error| WatchError { folder: PathBuf::new(), message: error.to_string() })?;
        Ok(Watching { _watch: watch, _keep: sender })
    }

    /// Loads the newest file of each slot, unless the folder has said it before.
    fn scan(&self, folder: &Path) {
        warn_of_strangers(folder);
        for host in self.all() {
            match newest(folder, host.slot()) {
                Some(path) => drop(host.take_up(&path, false)),
                None => host.withdraw_all(),
            }
        }
    }

    /// What a change of some files comes to.
    fn changed(&self, folder: &Path, paths: &[PathBuf]) {
        // Of several events for one slot, the last counts.
        let mut files: Vec<&PathBuf> = Vec::new();
        let mut swapped = false;
        for path in paths.iter().rev().filter(|path| slot_beside(path).is_none()) {
            match slot_of(path) {
                Some(world) if files.iter().any(|known| slot_of(known) == Some(world)) => {}
                Some(_) => files.push(path),
                None => swapped |= path.is_symlink(),
            }
        }
        if files.is_empty() && swapped {
            // A folder that is swapped as a whole, by a link (Kubernetes mounts `..data` so): its files
            // change without an event of their own.
            self.scan(folder);
            return;
        }
        for path in &files {
            if let Some(world) = slot_of(path) {
                self.of(world).follow(folder, path);
            }
        }
        // Tests, or a signature, that changed or went beside a policy that did not: it is looked at again.
        for host in self.all() {
            let world = Some(host.world());
            let is_loaded = files.iter().any(|path| slot_of(path) == world && path.is_file());
            let is_beside = paths.iter().any(|path| slot_beside(path) == world);
            if is_beside
                && !is_loaded
                && let Some(path) = host.looked_at_in(folder)
            {
                let _ = host.take_up(&path, false);
            }
        }
    }
}

impl PolicyHost {
    /// A file of the slot has changed, or is gone.
    fn follow(&self, folder: &Path, path: &Path) {
        if path.is_file() {
            let _ = self.load(path);
            return;
        }
        // What is left may be what serves; then nothing stands before it any more.
        match newest(folder, self.slot()).filter(|_| self.serves(path) || self.is_outdated()) {
            Some(other) => drop(self.load(&other)),
            None => self.withdraw(path),
        }
    }

    /// The file of the slot that was looked at last, else the newest.
    fn looked_at_in(&self, folder: &Path) -> Option<PathBuf> {
        let last = self.looked_at().filter(|path| slot_of(path) == Some(self.world()) && path.is_file());
        last.or_else(|| newest(folder, self.slot()))
    }
}

/// Watches while it lives.
pub struct Watching {
    _watch: FolderWatch,
    /// Keeps the channel open for as long as the watch does.
    _keep: Sender<Change>,
}

/// A folder cannot be watched.
#[derive(Debug, thiserror::Error)]
#[error("the folder of policies {folder:?} cannot be watched: {message}")]
pub struct WatchError {
    folder: PathBuf,
    message: String,
}

/// Compiling takes some tens of megabytes, which a thread gives back to the system when it ends, and
/// while it idles keeps.
pub(crate) fn on_a_thread_of_its_own<T: Send>(work: impl FnOnce() -> T + Send) -> Option<T> {
    thread::scope(|scope| {
        let work = thread::Builder::new()
            .name("policy-compiler".to_owned())
            .stack_size(THREAD_STACK)
            .spawn_scoped(scope, work);
        match work {
            Ok(work) => work.join().ok(),
            Err(error) => {
                tracing::error!(%error, "no thread to load policies on: what serves goes on serving");
                None
            }
        }
    })
}

fn follow(slots: &Weak<Slots>, folder: &Path, changes: &Receiver<Change>) {
    while let Ok(first) = changes.recv() {
        let Some(slots) = slots.upgrade() else { return };
        // What came meanwhile is looked at together: the last event of a slot wins.
        let mut all = vec![first];
        all.extend(changes.try_iter());
        let mut paths = Vec::new();
        let mut everything = false;
        for change in all {
            match change {
                Change::Paths(more) => paths.extend(more),
                Change::Unknown => everything = true,
            }
        }
        on_a_thread_of_its_own(|| {
            lower_priority();
            if everything {
                slots.scan(folder);
            }
            slots.changed(folder, &paths);
        });
    }
}

/// Lets this thread run when requests leave it room. Best effort.
pub(crate) fn lower_priority() {
    let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), 10);
}
