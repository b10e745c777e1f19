//! Prices that served, each as one text under its SHA-256, in the data folder: what the version in a row of
//! the ledger was. The oldest give way.

use std::fs::{File, FileTimes};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use sha2::{Digest as _, Sha256};

/// The folder within that of the data.
const FOLDER: &str = "prices";
const ENDING: &str = "toml";
/// As many digits of a version as name one, at least.
const LEAST_DIGITS: usize = 6;

/// The folder of sheets.
pub(crate) struct Sheets {
    folder: PathBuf,
    most: usize,
    removed: AtomicU64,
}

/// A sheet that is kept.
pub(crate) struct Sheet {
    pub(crate) version: String,
    pub(crate) bytes: u64,
    /// When it came to serve last.
    pub(crate) served: SystemTime,
}

/// Why there is no sheet.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoSheet {
    #[error(
        "{0:?} is no version of prices: 6 to 64 digits of 0-9 and a-f are expected, as a row of the ledger has them"
    )]
    Form(String),
    #[error("no prices {version} are kept in {}; {}", folder.display(), if known.is_empty() { "nothing is".to_owned() } else { format!("there are {}", known.join(", ")) })]
    Unknown { version: String, folder: PathBuf, known: Vec<String> },
    #[error("{version} are the first digits of several: {}", known.join(", "))]
    Ambiguous { version: String, known: Vec<String> },
    #[error("{}: {message}", file.display())]
    Unusable { file: PathBuf, message: String },
}

impl Sheets {
    /// The sheets in a data folder, so many at most.
    pub(crate) fn open(data: &Path, most: usize) -> Self {
        Self { folder: data.join(FOLDER), most, removed: AtomicU64::new(0) }
    }

    /// Sheets that gave way to others.
    pub(crate) fn removed(&self) -> u64 {
        self.removed.load(Ordering::Relaxed)
    }

    pub(super) fn path(&self, version: &str) -> PathBuf {
        self.folder.join(version).with_extension(ENDING)
    }

    /// Keeps a sheet, with a sync, unless it is there; then notes that it serves again.
    pub(crate) fn keep(&self, version: &str, text: &str) -> std::io::Result<()> {
        let path = self.path(version);
        if path.metadata().is_ok_and(|known| known.len() == text.len() as u64) {
            File::options().append(true).open(&path)?.set_times(FileTimes::new().set_modified(SystemTime::now()))?;
        } else {
            std::fs::create_dir_all(&self.folder)?;
            let mut file = tempfile::NamedTempFile::new_in(&self.folder)?;
            file.write_all(text.as_bytes())?;
            file.as_file().sync_all()?;
            file.persist(&path).map_err(|error| error.error)?;
            File::open(&self.folder)?.sync_all()?;
        }
        self.make_room(version);
        Ok(())
    }

    /// Removes the oldest, but for the one that serves. That one cannot be removed is told, and no reason to
    /// serve without prices.
    fn make_room(&self, serves: &str) {
        let mut sheets = self.list();
        sheets.retain(|sheet| sheet.version != serves);
        for sheet in sheets.iter().skip(self.most.saturating_sub(1)) {
            match std::fs::remove_file(self.path(&sheet.version)) {
                Ok(()) => drop(self.removed.fetch_add(1, Ordering::Relaxed)),
                Err(error) => {
                    tracing::warn!(version = sheet.version, "prices that are kept cannot be removed: {error}");
                }
            }
        }
    }

    /// All that are kept, what served last first.
    pub(crate) fn list(&self) -> Vec<Sheet> {
        let entries = self.folder.read_dir().into_iter().flatten().flatten();
        let mut sheets: Vec<Sheet> = entries
            .filter_map(|entry| {
                let path = entry.path();
                let version =
                    path.file_stem()?.to_str().filter(|stem| is_version(stem) && stem.len() == 64)?.to_owned();
                let known = entry.metadata().ok().filter(|known| known.is_file())?;
                let is_sheet = path.extension().is_some_and(|ending| ending == ENDING);
                is_sheet.then_some(Sheet { version, bytes: known.len(), served: known.modified().ok()? })
            })
            .collect();
        sheets.sort_by(|a, b| b.served.cmp(&a.served).then_with(|| a.version.cmp(&b.version)));
        sheets
    }

    /// The version with these first digits, and its text.
    pub(crate) fn find(&self, digits: &str) -> Result<(String, String), NoSheet> {
        if !is_version(digits) || !(LEAST_DIGITS..=64).contains(&digits.len()) {
            return Err(NoSheet::Form(digits.chars().take(80).collect()));
        }
        let (version, known) = (digits.to_owned(), self.list().into_iter().map(|sheet| sheet.version));
        let (mut found, others): (Vec<_>, Vec<_>) = known.partition(|known| known.starts_with(digits));
        let version = match (found.pop(), found.is_empty()) {
            (Some(only), true) => only,
            (Some(last), false) => {
                return Err(NoSheet::Ambiguous { version, known: found.into_iter().chain([last]).collect() });
            }
            (None, _) => {
                let known = others.iter().take(8).map(|known| known[..12].to_owned()).collect();
                return Err(NoSheet::Unknown { version, folder: self.folder.clone(), known });
            }
        };
        let file = self.path(&version);
        let text = std::fs::read_to_string(&file)
            .map_err(|error| NoSheet::Unusable { file: file.clone(), message: error.to_string() })?;
        if hex::encode(Sha256::digest(&text)) == version {
            return Ok((version, text));
        }
        let message = "what it holds is not what its name says: it was changed after it served".to_owned();
        Err(NoSheet::Unusable { file, message })
    }
}

fn is_version(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}
