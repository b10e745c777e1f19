//! Models and prices while the gateway serves: they follow the date and the operator's file of own prices.
//!
//! What is wrong does not serve: the prices from before do, and what is wrong is told. A request keeps the
//! catalogue that it began with. It must not know what is done with a price.

mod sheets;

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::{ArcSwap, ArcSwapOption};
use jiff::civil::Date;
use kairos_bedrock::catalogue::{BUILT_IN, CatalogueError, View, sheet};
use kairos_pipeline::models::Catalogue;
use kairos_sandbox::watch::FileWatch;

pub(crate) use self::sheets::Sheets;
use crate::assemble::{self, AssemblyError};
use crate::config::Config;
use crate::profiles::{Change, Pin, Pins, names};

/// The largest file of own prices.
const MOST_BYTES: u64 = 1 << 20;

/// What is wrong with the operator's own prices.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{}: {message}", file.display(), line.map_or(String::new(), |line| format!(":{line}")))]
pub(crate) struct Wrong {
    /// The file.
    pub(crate) file: PathBuf,
    /// Where, from 1, where it is a line.
    pub(crate) line: Option<usize>,
    /// What is wrong.
    pub(crate) message: String,
}

/// Reads the operator's own prices as they are written; empty where the configuration names no file.
pub(crate) fn own(config: &Config) -> Result<String, Wrong> {
    config.models.prices.as_deref().map_or(Ok(String::new()), read)
}

fn read(file: &Path) -> Result<String, Wrong> {
    let wrong = |message: String| Wrong { file: file.to_owned(), line: None, message };
    let opened = std::fs::File::open(file).map_err(|error| wrong(format!("the file cannot be read: {error}")))?;
    let mut text = String::new();
    let read = opened.take(MOST_BYTES + 1).read_to_string(&mut text);
    read.map_err(|error| wrong(format!("the file cannot be read: {error}")))?;
    if text.len() as u64 > MOST_BYTES {
        return Err(wrong(format!("the file is larger than {MOST_BYTES} bytes")));
    }
    Ok(text)
}

/// What is wrong with the own prices, if it is they.
pub(crate) fn wrong(config: &Config, error: &CatalogueError) -> Option<Wrong> {
    let (CatalogueError::Own(own), Some(file)) = (error, &config.models.prices) else { return None };
    Some(Wrong { file: file.clone(), line: Some(own.line), message: own.message.clone() })
}

/// The models and prices that serve.
pub(crate) struct Book {
    config: Config,
    region: String,
    serves: Arc<ArcSwap<Catalogue>>,
    /// What application inference profiles stand for.
    pins: Pins,
    sheets: Sheets,
    state: Mutex<State>,
    /// What is wrong with the file: to be read while somebody looks at it.
    wrong: ArcSwapOption<Wrong>,
    loaded: AtomicU64,
    refused: AtomicU64,
}

struct State {
    /// The own prices that serve.
    own: String,
    /// What the file held when it was looked at last, or why it could not be read.
    seen: Result<String, Wrong>,
}

impl Book {
    /// Reads all prices, for a region and a date. Without good ones nothing is begun.
    pub(crate) fn open(config: &Config, region: &str, as_of: Date) -> Result<Self, AssemblyError> {
        let own = own(config).map_err(|wrong| AssemblyError(format!("models.prices: {wrong}")))?;
        let pins = Pins::open(&config.data, region);
        let catalogue = assemble::catalogue(config, region, as_of, &own, &names(config.profiles, region, &pins.all()))?;
        let sheets = Sheets::open(&config.data, config.models.kept_prices);
        let kept = sheets.keep(&catalogue.version, &sheet(BUILT_IN, &own));
        kept.map_err(|error| AssemblyError(format!("the prices cannot be kept: {error}")))?;
        Ok(Self {
            config: config.clone(),
            region: region.to_owned(),
            serves: Arc::new(ArcSwap::from_pointee(catalogue)),
            pins,
            sheets,
            state: Mutex::new(State { seen: Ok(own.clone()), own }),
            wrong: ArcSwapOption::empty(),
            loaded: AtomicU64::new(1),
            refused: AtomicU64::new(0),
        })
    }

    /// The catalogue that serves, for requests.
    pub(crate) fn catalogue(&self) -> Arc<ArcSwap<Catalogue>> {
        Arc::clone(&self.serves)
    }

    /// What the configuration says.
    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    /// What application inference profiles stand for. What is priced by it changes with [`Book::change`].
    pub(crate) fn pins(&self) -> &Pins {
        &self.pins
    }

    /// Changes what is kept of profiles, and has the catalogue serve that follows from it. A change with which there
    /// is no catalogue is not made. Gives whether the disk took it; to be called by one at a time.
    pub(crate) fn change(&self, change: Change) -> Result<std::io::Result<()>, AssemblyError> {
        self.with(&self.pins.with(&change), |_| ())?;
        let kept = self.pins.apply(change);
        self.with(&self.pins.all(), |catalogue| self.serves.store(Arc::new(catalogue)))?;
        Ok(kept)
    }

    /// Does something with the catalogue that there is with these profiles, before another can come to serve.
    fn with(&self, pins: &[Pin], then: impl FnOnce(Catalogue)) -> Result<(), AssemblyError> {
        let state = self.state();
        let (as_of, profiles) = (assemble::as_of(&self.config), names(self.config.profiles, &self.region, pins));
        then(assemble::catalogue(&self.config, &self.region, as_of, &state.own, &profiles)?);
        Ok(())
    }

    /// The sheets that are kept.
    pub(crate) fn sheets(&self) -> &Sheets {
        &self.sheets
    }

    /// Follows the file of own prices until what is given is dropped; none where there is no file.
    pub(crate) fn watch(self: &Arc<Self>) -> Result<Option<FileWatch>, AssemblyError> {
        let Some(file) = &self.config.models.prices else { return Ok(None) };
        let book = Arc::downgrade(self);
        let look = move || {
            if let Some(book) = book.upgrade() {
                book.look();
            }
        };
        let watching = FileWatch::start(file, "price-loader", look);
        let watching = watching
            .map_err(|error| AssemblyError(format!("models.prices: {} cannot be watched: {error}", file.display())))?;
        // What came between reading and watching.
        self.look();
        Ok(Some(watching))
    }

    /// Looks at the file of own prices. What is new in it serves, if nothing is wrong with it.
    pub(crate) fn look(&self) {
        let Some(file) = &self.config.models.prices else { return };
        let mut state = self.state();
        let found = read(file);
        if found == state.seen {
            return;
        }
        state.seen.clone_from(&found);
        match found.and_then(|own| self.take(&mut state, own)) {
            Ok(()) => self.wrong.store(None),
            Err(wrong) => {
                // What is wrong with a disk can pass: the same file is looked at again.
                if wrong.line.is_none() {
                    state.seen = Err(wrong.clone());
                }
                self.refused.fetch_add(1, Ordering::Relaxed);
                let (file, line) = (wrong.file.display(), wrong.line);
                tracing::error!(%file, line, "prices refused, those from before serve on: {wrong}");
                self.wrong.store(Some(Arc::new(wrong)));
            }
        }
    }

    /// Has own prices serve. They are kept first: a row's version can be looked up as soon as it is written.
    fn take(&self, state: &mut State, own: String) -> Result<(), Wrong> {
        let other = |message: String| {
            let file = self.config.models.prices.clone().unwrap_or_default();
            Wrong { file, line: None, message }
        };
        let as_of = assemble::as_of(&self.config);
        let profiles = self.profiles();
        let catalogue = assemble::view(&self.config, &self.region, as_of, &own, |view| {
            kairos_bedrock::catalogue::load(BUILT_IN, &View { profiles: &profiles, ..view.clone() })
        });
        let catalogue =
            catalogue.map_err(|error| wrong(&self.config, &error).unwrap_or_else(|| other(error.to_string())))?;
        let kept = self.sheets.keep(&catalogue.version, &sheet(BUILT_IN, &own));
        kept.map_err(|error| other(format!("they cannot be kept: {error}")))?;
        if catalogue.version != self.serves.load().version {
            self.loaded.fetch_add(1, Ordering::Relaxed);
            tracing::info!(prices = &*catalogue.version, "other prices serve");
        }
        state.own = own;
        self.serves.store(Arc::new(catalogue));
        Ok(())
    }

    /// Models end at midnight, UTC; what serves of own prices serves on.
    pub(crate) fn follow_the_date(&self) -> Result<(), AssemblyError> {
        let today = assemble::as_of(&self.config);
        let state = self.state();
        if self.serves.load().as_of != today.to_string() {
            let catalogue = assemble::catalogue(&self.config, &self.region, today, &state.own, &self.profiles())?;
            tracing::info!(date = %today, "the catalogue follows the date");
            self.serves.store(Arc::new(catalogue));
        }
        Ok(())
    }

    /// What is so now.
    pub(crate) fn status(&self) -> Status {
        Status {
            version: Arc::clone(&self.serves.load().version),
            file: self.config.models.prices.clone(),
            loaded: self.loaded.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
            wrong: self.wrong.load_full().map(Arc::unwrap_or_clone),
        }
    }

    fn profiles(&self) -> Vec<(String, String)> {
        names(self.config.profiles, &self.region, &self.pins.all())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Which prices serve, and what became of the file.
pub(crate) struct Status {
    pub(crate) version: Arc<str>,
    pub(crate) file: Option<PathBuf>,
    /// Versions that came to serve.
    pub(crate) loaded: u64,
    /// Times that the file was refused.
    pub(crate) refused: u64,
    /// What is wrong with it now.
    pub(crate) wrong: Option<Wrong>,
}

#[cfg(test)]
mod tests;
