//! What serves while files change. A set of templates with a file that is wrong serves only where none
//! served before, without that file: else what served goes on.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;

use arc_swap::ArcSwap;
use kairos_pipeline::prompts::Library;
use notify::event::{CreateKind, EventKind};
use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher as _};

use super::{FOLDER, Found, Limits, Refused};
use crate::watch::{Change, change};

/// The templates that serve.
pub struct Prompts {
    library: Arc<ArcSwap<Library>>,
    limits: Limits,
    state: Mutex<State>,
    loaded: AtomicU64,
    refused: AtomicU64,
}

#[derive(Default)]
struct State {
    /// Of what was looked at last.
    digest: String,
    /// What was wrong with it.
    refused: Vec<Refused>,
    serves: bool,
}

/// What became of the folder.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// Versions that serve, of all templates.
    pub versions: usize,
    /// Times that a set of templates came to serve.
    pub loaded: u64,
    /// Times that a set had a file that is wrong.
    pub refused: u64,
    /// What is wrong with what the folder holds now.
    pub wrong: Vec<Refused>,
}

impl Prompts {
    /// None, until a folder is read.
    pub fn new(limits: Limits) -> Arc<Self> {
        let (library, state) = (Arc::default(), Mutex::default());
        Arc::new(Self { library, limits, state, loaded: AtomicU64::new(0), refused: AtomicU64::new(0) })
    }

    /// The templates that serve, for requests.
    pub fn library(&self) -> Arc<ArcSwap<Library>> {
        Arc::clone(&self.library)
    }

    /// How much there may be.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// What became of the folder.
    pub fn status(&self) -> Status {
        Status {
            versions: self.library.load().versions(),
            loaded: self.loaded.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
            wrong: self.state.lock().unwrap_or_else(PoisonError::into_inner).refused.clone(),
        }
    }

    /// Reads the folder within that of policies, and follows it until the guard is dropped.
    pub fn watch(self: &Arc<Self>, policies: &Path) -> notify::Result<Following> {
        let (sender, receiver) = channel();
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            // A receiver that is gone wants to know nothing.
            let _ = match event {
                Ok(event) if matches!(event.kind, EventKind::Create(CreateKind::Folder)) => {
                    Some(sender.send(Change::Unknown))
                }
                Ok(event) => change(event).map(|change| sender.send(change)),
                Err(_) => Some(sender.send(Change::Unknown)),
            };
        })?;
        watcher.watch(policies, RecursiveMode::NonRecursive)?;
        let folder = policies.join(FOLDER);
        look_at(&mut watcher, &folder);
        self.read(&folder);
        let prompts = Arc::downgrade(self);
        let watcher = Arc::new(Mutex::new(watcher));
        let watched = Arc::downgrade(&watcher);
        thread::Builder::new()
            .name("prompt-loader".to_owned())
            .spawn(move || follow(&prompts, &watched, &folder, &receiver))
            .map_err(notify::Error::io)?;
        Ok(Following { _watcher: watcher })
    }

    /// Reads a folder. What it holds serves, unless something of it is wrong and something served before.
    pub fn read(&self, folder: &Path) {
        let Found { library, refused, digest } = super::read(folder, &self.limits);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.digest == digest {
            return;
        }
        for refused in &refused {
            let (line, column) = refused.at.unzip();
            tracing::error!(file = %refused.file.display(), line, column, "template refused: {refused}");
        }
        if refused.is_empty() || !state.serves {
            state.serves = true;
            self.loaded.fetch_add(1, Ordering::Relaxed);
            tracing::info!(versions = library.versions(), refused = refused.len(), "templates serve");
            self.library.store(Arc::new(library));
        } else {
            tracing::error!("the templates from before serve on, until all files are right");
        }
        if !refused.is_empty() {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
        (state.digest, state.refused) = (digest, refused);
    }
}

/// Follows while it lives.
pub struct Following {
    /// It tells the thread, which ends with it.
    _watcher: Arc<Mutex<RecommendedWatcher>>,
}

/// Watches the folder and those of templates. Once a folder is watched, it is read: nothing that comes in
/// between is missed.
fn look_at(watcher: &mut RecommendedWatcher, folder: &Path) {
    let templates = folder.read_dir().into_iter().flatten().flatten().map(|entry| entry.path());
    for path in std::iter::once(folder.to_owned()).chain(templates.filter(|path| path.is_dir())) {
        // One that is gone again is no longer read either.
        let _ = watcher.watch(&path, RecursiveMode::NonRecursive);
    }
}

fn follow(
    prompts: &Weak<Prompts>,
    watcher: &Weak<Mutex<RecommendedWatcher>>,
    folder: &Path,
    changes: &Receiver<Change>,
) {
    crate::follow::lower_priority();
    while changes.recv().is_ok() {
        let (Some(prompts), Some(watcher)) = (prompts.upgrade(), watcher.upgrade()) else { return };
        // What came meanwhile is looked at together.
        changes.try_iter().for_each(drop);
        look_at(&mut watcher.lock().unwrap_or_else(PoisonError::into_inner), folder);
        prompts.read(folder);
    }
}
