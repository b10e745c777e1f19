//! A file as the system remembers it, which is what everybody sees, and as it is on the disk.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::SystemTime;

use crate::dice::Dice;

/// What a disk writes as a whole or not at all, in bytes.
const SECTOR: usize = 512;

/// When a file was changed last, if it was by us: anything else was somebody else.
const OURS: SystemTime = SystemTime::UNIX_EPOCH;

/// A file with what of it is on the disk.
pub(crate) struct Cached {
    /// The system's side. Open until the power goes: closing it would drop SQLite's locks on the file.
    file: File,
    content: Vec<u8>,
    disk: Vec<u8>,
    /// Sectors that may differ on the disk.
    dirty: BTreeSet<usize>,
    /// Whether it was made, and no sync has kept its name yet.
    pub(crate) is_new: bool,
}

impl Cached {
    /// Takes in a file that is there. What was written before counts as on the disk.
    pub(crate) fn open(path: &Path, is_new: bool) -> Self {
        let file = File::options().read(true).write(true).open(path).unwrap();
        let mut cached = Self { file, content: Vec::new(), disk: Vec::new(), dirty: BTreeSet::new(), is_new };
        cached.take_in();
        cached
    }

    fn take_in(&mut self) {
        use std::io::Seek as _;
        self.content.clear();
        self.file.rewind().unwrap();
        self.file.read_to_end(&mut self.content).unwrap();
        self.disk.clone_from(&self.content);
        self.dirty.clear();
        self.file.set_modified(OURS).unwrap();
    }

    /// Looks whether somebody else has written to the file, who counts as having synced it.
    pub(crate) fn look(&mut self) {
        if self.file.metadata().unwrap().modified().unwrap() != OURS {
            self.take_in();
        }
    }

    pub(crate) fn size(&self) -> usize {
        self.content.len()
    }

    /// What is on the disk of it.
    pub(crate) fn into_disk(self) -> Vec<u8> {
        self.disk
    }

    /// Fills the buffer as far as the file reaches, the rest with zeros. Whether it reached.
    pub(crate) fn read(&self, buffer: &mut [u8], at: usize) -> bool {
        let there = self.content.get(at..).unwrap_or_default();
        let length = there.len().min(buffer.len());
        buffer[..length].copy_from_slice(&there[..length]);
        buffer[length..].fill(0);
        length == buffer.len()
    }

    pub(crate) fn write(&mut self, bytes: &[u8], at: usize) {
        let end = at + bytes.len();
        if bytes.is_empty() {
            return;
        }
        if end > self.size() {
            self.resize(end);
        }
        self.content[at..end].copy_from_slice(bytes);
        self.dirty.extend(at / SECTOR..end.div_ceil(SECTOR));
        self.file.write_all_at(bytes, at as u64).unwrap();
        self.file.set_modified(OURS).unwrap();
    }

    pub(crate) fn resize(&mut self, size: usize) {
        let before = self.size();
        self.content.resize(size, 0);
        if size > before {
            // Zeros, whatever is on the disk there.
            self.dirty.extend(before / SECTOR..size.div_ceil(SECTOR));
        } else {
            self.dirty.split_off(&size.div_ceil(SECTOR));
        }
        self.file.set_len(size as u64).unwrap();
        self.file.set_modified(OURS).unwrap();
    }

    /// Some of what is not on the disk gets there, in whatever order.
    pub(crate) fn leak(&mut self, dice: &mut Dice) {
        if dice.one_in(2) {
            self.disk.truncate(self.size());
        }
        let odds = 1 + dice.below(16);
        let chosen: Vec<_> = self.dirty.iter().copied().filter(|_| dice.one_in(odds)).collect();
        for sector in chosen {
            self.put(sector);
        }
    }

    /// All of it gets there.
    pub(crate) fn flush(&mut self) {
        self.disk.truncate(self.size());
        while let Some(sector) = self.dirty.first().copied() {
            self.put(sector);
        }
    }

    /// What is not on the disk counts as if it were.
    pub(crate) fn believe(&mut self) {
        self.dirty.clear();
    }

    fn put(&mut self, sector: usize) {
        self.dirty.remove(&sector);
        let start = sector * SECTOR;
        let end = (start + SECTOR).min(self.size());
        self.disk.resize(self.disk.len().max(end), 0);
        self.disk[start..end].copy_from_slice(&self.content[start..end]);
    }

    /// The power is gone: what is on the disk is all that is left.
    pub(crate) fn lose(&mut self) {
        self.look();
        self.file.set_len(self.disk.len() as u64).unwrap();
        self.file.write_all_at(&self.disk, 0).unwrap();
    }
}
