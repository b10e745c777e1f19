//! A disk that loses power and fails, for tests: a SQLite VFS before the one of the system.
//!
//! The files are what the system remembers of them. What of it is on the disk is kept beside, in
//! memory, and is all that is left when the power goes: what SQLite has synced, and of the rest any
//! sector that a seeded generator decides on, whatever came before or after it. A sector of 512 bytes is
//! there as a whole or not at all, and a write spans several. The power goes at a step (a write, a change
//! of size, a sync, a removal) that is done in part then.
//!
//! Names follow the system's own VFS: a removal that is not synced may come undone, and a new file that
//! was never synced is an empty one, which is none to SQLite. The index of the log (`-shm`) is memory of
//! the system's VFS, which SQLite makes anew when nobody else has the database.
//!
//! Other processes may read. What anybody else than SQLite writes to a file counts as synced.
#![allow(clippy::unwrap_used, clippy::panic)]

mod cache;
mod dice;
mod state;
#[cfg(test)]
mod tests;
mod vfs;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

pub use self::dice::Dice;
use self::state::State;

/// The variable that [`from_environment`] reads.
pub const VARIABLE: &str = "KAIROS_TEST_DISK";

/// All SQLite files below a folder, on a disk of their own.
pub struct Disk {
    folder: PathBuf,
    state: Mutex<State>,
}

/// Steps that count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Steps {
    /// All.
    Any,
    /// Those of the database's own file, which is written to by checkpoints.
    Database,
}

/// What fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// No write makes a file larger.
    Full,
    /// Writes.
    Write,
    /// Syncs. As Linux has it, what was to be synced counts as written, and need not be.
    Sync,
    /// Whatever changes a file, and opening one to change it: the file system is read only.
    ReadOnly,
}

/// How long something fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lasting {
    /// For one step.
    Once,
    /// Until it is mended.
    UntilMended,
    /// While there is a file of this name.
    WhileThere(PathBuf),
}

static DISKS: Mutex<Vec<Weak<Disk>>> = Mutex::new(Vec::new());

impl Disk {
    /// Puts what SQLite keeps below a folder on a disk of its own, for connections that are opened from
    /// now on. `seed` decides what is lost.
    pub fn insert(folder: &Path, seed: u64) -> Arc<Self> {
        vfs::register();
        let folder = folder.canonicalize().unwrap();
        let disk = Arc::new(Self { folder, state: Mutex::new(State::new(seed)) });
        let mut disks = DISKS.lock().unwrap_or_else(PoisonError::into_inner);
        disks.retain(|disk| disk.strong_count() > 0);
        disks.push(Arc::downgrade(&disk));
        disk
    }

    /// The disk that a file is on.
    fn of(path: &Path) -> Option<Arc<Self>> {
        let disks = DISKS.lock().unwrap_or_else(PoisonError::into_inner);
        disks.iter().rev().filter_map(Weak::upgrade).find(|disk| path.starts_with(&disk.folder))
    }

    /// Cuts the power at a step from now, 1 being the next.
    pub fn cut_at(&self, step: u64, of: Steps) {
        self.state().cut_at(step, of);
    }

    /// From a step on, 1 being the next, something fails. What is no step itself fails from 0 on.
    pub fn fail_at(&self, step: u64, fault: Fault, lasting: Lasting) {
        self.state().fail_at(step, fault, lasting);
    }

    /// Nothing fails from now on.
    pub fn mend(&self) {
        self.state().mend();
    }

    /// Syncs do nothing from now on, as on a disk that lies.
    pub fn ignore_syncs(&self) {
        self.state().heeds_syncs = false;
    }

    /// Whether the power is off: everything fails.
    pub fn is_off(&self) -> bool {
        self.state().off
    }

    /// Steps that were done.
    pub fn steps(&self) -> u64 {
        self.state().steps
    }

    /// Cuts the power, if it was not, and turns it on: what was in memory only is lost. To be called
    /// when no connection is left.
    pub fn restart(&self) {
        self.state().restart();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Puts all databases of this process on a disk that [`VARIABLE`] describes: words with a space
/// between, which are `seed=N`; `cut=N` or `cut-database=N`, the step at which the process is killed;
/// `syncs=ignored`; `full-while=FILE` and `read-only-while=FILE`. Panics where it is not there or says something else.
pub fn from_environment() {
    let text = std::env::var(VARIABLE).unwrap_or_else(|_| panic!("{VARIABLE} says what the disk does"));
    let words = || text.split(' ').map(|word| (word, word.split_once('=').unwrap_or((word, ""))));
    let seed = words().find(|(_, (name, _))| *name == "seed").map_or("0", |(_, (_, seed))| seed);
    let disk = Disk::insert(Path::new("/"), seed.parse().unwrap_or_else(|_| panic!("{VARIABLE}: {seed}: not a seed")));
    for (word, (name, value)) in words() {
        let number = || value.parse::<u64>().unwrap_or_else(|_| panic!("{VARIABLE}: {word}: not a number"));
        let mut state = disk.state();
        match name {
            "seed" => {}
            "cut" => state.cut_at(number(), Steps::Any),
            "cut-database" => state.cut_at(number(), Steps::Database),
            "syncs" if value == "ignored" => state.heeds_syncs = false,
            "full-while" => state.fail_at(1, Fault::Full, Lasting::WhileThere(value.into())),
            "read-only-while" => state.fail_at(1, Fault::ReadOnly, Lasting::WhileThere(value.into())),
            _ => panic!("{VARIABLE}: what is {word:?}?"),
        }
        state.kills = true;
    }
    // Until the process ends.
    std::mem::forget(disk);
}
