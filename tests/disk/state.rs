//! What a disk holds, and what becomes of each step.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::ffi;

use crate::cache::Cached;
use crate::dice::Dice;
use crate::{Fault, Lasting, Steps};

/// A disk.
pub(crate) struct State {
    dice: Dice,
    /// Once in so many writes, something that is not synced gets on the disk.
    laziness: u64,
    files: HashMap<PathBuf, Cached>,
    /// Files that were removed, and on the disk are not yet: what is there of them.
    removed: HashMap<PathBuf, Vec<u8>>,
    pub(crate) steps: u64,
    database_steps: u64,
    cut: Option<(u64, Steps)>,
    fault: Option<(u64, Fault, Lasting)>,
    pub(crate) heeds_syncs: bool,
    pub(crate) off: bool,
    /// Whether this process goes with the power.
    pub(crate) kills: bool,
}

/// One of SQLite's codes.
pub(crate) type Code = std::ffi::c_int;

impl State {
    pub(crate) fn new(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let laziness = 1 << (2 + dice.below(7));
        Self {
            dice,
            laziness,
            files: HashMap::new(),
            removed: HashMap::new(),
            steps: 0,
            database_steps: 0,
            cut: None,
            fault: None,
            heeds_syncs: true,
            off: false,
            kills: false,
        }
    }

    pub(crate) fn cut_at(&mut self, step: u64, of: Steps) {
        let done = if of == Steps::Any { self.steps } else { self.database_steps };
        self.cut = Some((done + step, of));
    }

    pub(crate) fn fail_at(&mut self, step: u64, fault: Fault, lasting: Lasting) {
        self.fault = Some((self.steps + step, fault, lasting));
    }

    pub(crate) fn mend(&mut self) {
        self.fault = None;
    }

    pub(crate) fn restart(&mut self) {
        if !self.off {
            self.lose();
        }
        self.files.clear();
        self.removed.clear();
        self.cut = None;
        self.off = false;
    }

    /// What was in memory only is gone.
    fn lose(&mut self) {
        for file in self.files.values_mut() {
            file.lose();
        }
        for (path, content) in self.removed.drain() {
            fs::write(path, content).unwrap();
        }
    }

    /// Takes a file in, which the system has opened.
    pub(crate) fn opened(&mut self, path: &Path, is_new: bool) {
        // Names change in order: with the new file, the removal of the old one is on the disk.
        self.removed.remove(path);
        if !self.files.contains_key(path) {
            self.files.insert(path.to_owned(), Cached::open(path, is_new));
        }
    }

    pub(crate) fn size(&self, path: &Path) -> usize {
        self.files.get(path).map_or(0, Cached::size)
    }

    pub(crate) fn read(&self, path: &Path, buffer: &mut [u8], at: usize) -> Result<bool, Code> {
        match self.files.get(path) {
            Some(file) if !self.off => Ok(file.read(buffer, at)),
            _ => Err(ffi::SQLITE_IOERR_READ),
        }
    }

    pub(crate) fn write(&mut self, path: &Path, bytes: &[u8], at: usize) -> Result<(), Code> {
        let is_cut = self.step(path, ffi::SQLITE_IOERR_WRITE)?;
        let fault = self.fault();
        let Self { files, dice, laziness, .. } = self;
        let Some(file) = files.get_mut(path) else { return Err(ffi::SQLITE_IOERR_WRITE) };
        file.look();
        let grows = at + bytes.len() > file.size();
        let code = match fault {
            Some(Fault::Full) if grows => Some(ffi::SQLITE_FULL),
            Some(Fault::Write | Fault::ReadOnly) => Some(ffi::SQLITE_IOERR_WRITE),
            _ => None,
        };
        if let Some(code) = code {
            // A part of it may be written, where anything is.
            let most = if fault == Some(Fault::ReadOnly) { 0 } else { bytes.len() as u64 };
            let part = dice.below(most + 1) as usize;
            file.write(&bytes[..part], at);
            self.failed();
            return Err(code);
        }
        file.write(bytes, at);
        if is_cut || dice.one_in(*laziness) {
            file.leak(dice);
        }
        self.after(is_cut)
    }

    pub(crate) fn resize(&mut self, path: &Path, size: usize) -> Result<(), Code> {
        let is_cut = self.step(path, ffi::SQLITE_IOERR_TRUNCATE)?;
        if matches!(self.fault(), Some(Fault::Write | Fault::ReadOnly)) {
            self.failed();
            return Err(ffi::SQLITE_IOERR_TRUNCATE);
        }
        let Some(file) = self.files.get_mut(path) else { return Err(ffi::SQLITE_IOERR_TRUNCATE) };
        file.look();
        file.resize(size);
        if is_cut || self.dice.one_in(2) {
            file.leak(&mut self.dice);
        }
        self.after(is_cut)
    }

    pub(crate) fn sync(&mut self, path: &Path) -> Result<(), Code> {
        let is_cut = self.step(path, ffi::SQLITE_IOERR_FSYNC)?;
        let fails = self.fault() == Some(Fault::Sync);
        let Some(file) = self.files.get_mut(path) else { return Err(ffi::SQLITE_IOERR_FSYNC) };
        file.look();
        if fails {
            file.leak(&mut self.dice);
            file.believe();
            self.failed();
            return Err(ffi::SQLITE_IOERR_FSYNC);
        }
        if is_cut {
            file.leak(&mut self.dice);
            return self.after(true);
        }
        if self.heeds_syncs {
            file.flush();
            if std::mem::take(&mut file.is_new) {
                // The system's VFS syncs the folder with it.
                self.removed.clear();
            }
        }
        Ok(())
    }

    pub(crate) fn remove(&mut self, path: &Path, synced: bool) -> Result<(), Code> {
        let is_cut = self.step(path, ffi::SQLITE_IOERR_DELETE)?;
        let on_disk = match self.files.remove(path) {
            Some(file) => file.into_disk(),
            None => fs::read(path).map_err(|_| ffi::SQLITE_IOERR_DELETE_NOENT)?,
        };
        fs::remove_file(path).map_err(|_| ffi::SQLITE_IOERR_DELETE_NOENT)?;
        self.removed.insert(path.to_owned(), on_disk);
        if (synced && self.heeds_syncs && !is_cut) || self.dice.one_in(2) {
            self.removed.clear();
        }
        self.after(is_cut)
    }

    /// Counts a step. Whether the power goes in the middle of it.
    fn step(&mut self, path: &Path, off: Code) -> Result<bool, Code> {
        if self.off {
            return Err(off);
        }
        self.steps += 1;
        let name = path.as_os_str().as_encoded_bytes();
        if !name.ends_with(b"-wal") && !name.ends_with(b"-journal") {
            self.database_steps += 1;
        }
        let done = |of| if of == Steps::Any { self.steps } else { self.database_steps };
        Ok(self.cut.is_some_and(|(step, of)| done(of) == step))
    }

    fn after(&mut self, is_cut: bool) -> Result<(), Code> {
        if !is_cut {
            return Ok(());
        }
        self.lose();
        if self.kills {
            eprintln!("the power is cut at step {} ({} of the database)", self.steps, self.database_steps);
            std::process::abort();
        }
        self.off = true;
        Err(ffi::SQLITE_IOERR)
    }

    /// What fails in this step.
    fn fault(&self) -> Option<Fault> {
        let (step, fault, lasting) = self.fault.as_ref()?;
        let lasts = match lasting {
            Lasting::WhileThere(path) => path.exists(),
            Lasting::Once | Lasting::UntilMended => true,
        };
        (self.steps >= *step && lasts).then_some(*fault)
    }

    /// Something failed.
    fn failed(&mut self) {
        if matches!(self.fault, Some((_, _, Lasting::Once))) {
            self.fault = None;
        }
    }

    /// Whether files are opened to be read only.
    pub(crate) fn is_read_only(&self) -> bool {
        self.fault() == Some(Fault::ReadOnly)
    }
}
