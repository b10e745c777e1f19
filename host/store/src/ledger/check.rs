//! Whether the ledger that a run goes on with is as it was written: looked at once, from the start on and beside who
//! writes, as a ledger of years takes minutes. What it finds stops nothing: budgets may be wrong by it, and who may
//! mend it is told.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use super::error::LedgerError;
use super::read::Reader;

/// What was found; nothing until it was.
pub(super) type Damage = Arc<OnceLock<String>>;

/// Looks through the ledger in a file, on a thread of its own.
pub(super) fn start(file: PathBuf, damage: &Damage) {
    let damage = Arc::clone(damage);
    let look = move || {
        // Requests come first. Best effort.
        let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), 10);
        match Reader::open(&file).and_then(|mut reader| reader.verify()) {
            Ok(verified) => tracing::info!(rows = verified.rows, "the ledger is whole: every row is as it was written"),
            Err(LedgerError::Damaged(what)) => {
                tracing::error!(
                    file = %file.display(),
                    hint = "keep the file for who looks into it; `kairos ledger verify` says whether another is whole",
                    "the ledger is damaged, and budgets may have more room than is left of them: {what}"
                );
                let _ = damage.set(what);
            }
            Err(error) => tracing::warn!("the ledger could not be looked through: {error}"),
        }
    };
    if let Err(error) = std::thread::Builder::new().name("kairos-verify".to_owned()).spawn(look) {
        tracing::warn!(%error, "no thread to look through the ledger on");
    }
}
