//! What is kept of what admins do: versions of policies that were staged or served, within bounds, and what is
//! so in each slot, the keys of callers, and the log of who did what, chained by hashes as the ledger's
//! rows are.
//!
//! Whoever has the file can look into it with any SQLite tool. What a policy is, is not known here.

mod audit;
mod kept;
mod keys;
mod schema;
#[cfg(test)]
mod tests;

mod trials;

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension as _, Transaction, TransactionBehavior, params};

pub use self::audit::{Entry, Reader, genesis};
pub use self::kept::{KeptBounds, KeptCounts};
pub use self::keys::{StoredKey, StoredSecret};
use self::schema::SCHEMA;
pub use self::trials::Trial;
use crate::database;

/// The file in the data folder.
pub const FILE: &str = "policies.sqlite";
/// The one role that has a share of the questions.
const SHADOW: &str = "shadow";
/// Why what is kept of policies cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PoliciesError {
    /// SQLite failed.
    #[error("{FILE}: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// The file was written by a later version.
    #[error("{FILE} has schema {found}, this version knows {SCHEMA}: use the version that wrote it, or a later one")]
    Schema {
        /// The file's schema.
        found: i64,
    },
    /// What is in the file contradicts itself.
    #[error("the audit log is damaged: {0}")]
    Damaged(String),
    /// There is no such file.
    #[error("{0}: there is no audit log here; a gateway makes it when it starts, in the folder that its --data names")]
    NotThere(String),
}

/// A version of a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// SHA-256 of its bytes, in hexadecimal.
    pub digest: String,
    /// What it calls itself.
    pub name: String,
    /// What it runs in.
    pub engine: String,
    /// Its file's name.
    pub file: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Its tests.
    pub tests: Option<Vec<u8>>,
    /// Its signature, as it came.
    pub signature: Option<String>,
    /// When it came first, in milliseconds since 1970.
    pub added_ms: i64,
}

/// The digests that have a role in a slot, and what the watched folder last said.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SlotState {
    /// Role and digest, in order.
    pub roles: Vec<(String, String)>,
    /// The version that is asked as well, and how often.
    pub shadow: Option<(String, f64)>,
    /// A file, and its digest.
    pub folder: Option<(String, String)>,
    /// What served until this was so: it need not be what the roles from before say. Not read back.
    pub served: Option<String>,
}

/// The database, opened to be written. One at a time has it: who holds the ledger's lock.
pub struct PolicyStore {
    connection: Mutex<Connection>,
    bounds: KeptBounds,
    kept: Mutex<KeptCounts>,
}

impl PolicyStore {
    /// Opens what is kept in a data folder, or makes it, with the usual bounds.
    pub fn open(folder: &Path) -> Result<Self, PoliciesError> {
        Self::open_bounded(folder, KeptBounds::default())
    }

    /// The same, with bounds. What is beyond them goes with the next act.
    pub fn open_bounded(folder: &Path, bounds: KeptBounds) -> Result<Self, PoliciesError> {
        let mut connection = database::open(&folder.join(FILE), Duration::from_secs(5))?;
        schema::prepare(&mut connection)?;
        let kept = kept::counts(&connection)?;
        Ok(Self { connection: Mutex::new(connection), bounds, kept: Mutex::new(kept) })
    }

    /// How much of versions is kept. Reads no disk.
    pub fn kept(&self) -> KeptCounts {
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes an act, what is so after it, a version that may be new and an experiment, all or nothing.
    pub fn commit(
        &self,
        entry: &Entry,
        state: &SlotState,
        version: Option<&Version>,
        trial: Option<&Trial>,
    ) -> Result<(), PoliciesError> {
        let mut connection = self.lock();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let slot = &entry.slot;
        if let Some(version) = version {
            keep(&transaction, slot, version)?;
            kept::weigh(&transaction, slot, version)?;
        }
        // What serves until now.
        kept::serve(&transaction, slot, state.served.as_deref(), entry.at_ms)?;
        transaction.execute("DELETE FROM role WHERE slot = ?1", [slot])?;
        for (place, (role, digest)) in state.roles.iter().enumerate() {
            let place = i64::try_from(place).unwrap_or(i64::MAX);
            transaction.execute(
                "INSERT INTO role (slot, role, place, digest) VALUES (?1, ?2, ?3, ?4)",
                params![slot, role, place, digest],
            )?;
        }
        if let Some((digest, share)) = &state.shadow {
            transaction.execute("INSERT INTO role VALUES (?1, ?2, 0, ?3, ?4)", params![slot, SHADOW, digest, share])?;
        }
        if let Some(trial) = trial {
            trials::keep(&transaction, trial)?;
        }
        transaction.execute("DELETE FROM folder WHERE slot = ?1", [slot])?;
        if let Some((file, digest)) = &state.folder {
            transaction.execute("INSERT INTO folder VALUES (?1, ?2, ?3)", params![slot, file, digest])?;
        }
        audit::append(&transaction, entry)?;
        kept::serve(&transaction, slot, None, entry.at_ms)?;
        let kept = kept::bound(&transaction, &self.bounds, entry.at_ms)?;
        transaction.commit()?;
        let mut known = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        *known = KeptCounts { dropped: known.dropped + kept.dropped, ..kept };
        Ok(())
    }

    /// What is so in a slot.
    pub fn state(&self, slot: &str) -> Result<SlotState, PoliciesError> {
        let connection = self.lock();
        let mut found =
            connection.prepare("SELECT role, digest FROM role WHERE slot = ?1 AND share IS NULL ORDER BY place")?;
        let roles = found.query_map([slot], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let roles = roles.collect::<Result<_, _>>()?;
        let folder = connection
            .query_row("SELECT file, digest FROM folder WHERE slot = ?1", [slot], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let shadow = connection
            .query_row("SELECT digest, share FROM role WHERE slot = ?1 AND role = ?2", [slot, SHADOW], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .optional()?;
        Ok(SlotState { roles, shadow, folder, served: None })
    }

    /// Writes an act that changes nothing here.
    pub fn note(&self, entry: &Entry) -> Result<(), PoliciesError> {
        let mut connection = self.lock();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        audit::append(&transaction, entry)?;
        Ok(transaction.commit()?)
    }

    /// Writes what was measured of an experiment since, or that it has ended without an act: its version has
    /// served a share until then, at the latest.
    pub fn keep_trial(&self, trial: &Trial) -> Result<(), PoliciesError> {
        let mut connection = self.lock();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        if let Some(ended_ms) = trial.ended_ms {
            kept::serve(&transaction, &trial.slot, None, ended_ms)?;
        }
        trials::keep(&transaction, trial)?;
        Ok(transaction.commit()?)
    }

    /// Experiments of a slot, the newest first, so many at most.
    pub fn trials(&self, slot: &str, most: usize) -> Result<Vec<Trial>, PoliciesError> {
        Ok(trials::last(&self.lock(), slot, most)?)
    }

    /// How many experiments there have been with a version.
    pub fn tries(&self, slot: &str, digest: &str) -> Result<u64, PoliciesError> {
        Ok(trials::count(&self.lock(), slot, digest)?)
    }

    /// A version of a slot.
    pub fn version(&self, slot: &str, digest: &str) -> Result<Option<Version>, PoliciesError> {
        version(&self.lock(), slot, digest)
    }

    /// Versions of a slot whose digests begin so, the newest first, so many at most. Their bytes,
    /// tests and signatures are left out.
    pub fn versions(&self, slot: &str, beginning: &str, most: usize) -> Result<Vec<Version>, PoliciesError> {
        versions(&self.lock(), slot, beginning, most)
    }

    /// The last acts, the newest first, each with its place, so many at most.
    pub fn audit(&self, most: usize) -> Result<Vec<(i64, Entry)>, PoliciesError> {
        audit::last(&self.lock(), most)
    }
}

/// A version of a slot.
fn version(connection: &Connection, slot: &str, digest: &str) -> Result<Option<Version>, PoliciesError> {
    let found = connection.query_row("SELECT * FROM version WHERE slot = ?1 AND digest = ?2", [slot, digest], |row| {
        // A file of an earlier schema that is only read has no signatures.
        let signature = row.as_ref().column_index("signature").is_ok();
        Ok(Version {
            digest: row.get("digest")?,
            name: row.get("name")?,
            engine: row.get("engine")?,
            file: row.get("file")?,
            bytes: row.get("bytes")?,
            tests: row.get("tests")?,
            signature: if signature { row.get("signature")? } else { None },
            added_ms: row.get("added_ms")?,
        })
    });
    Ok(found.optional()?)
}

/// Versions of a slot whose digests begin so, the newest first, without bytes, tests and signatures.
fn versions(connection: &Connection, slot: &str, beginning: &str, most: usize) -> Result<Vec<Version>, PoliciesError> {
    let mut found = connection.prepare(
        "SELECT digest, name, engine, file, added_ms FROM version
             WHERE slot = ?1 AND substr(digest, 1, length(?2)) = ?2 ORDER BY place DESC LIMIT ?3",
    )?;
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let versions = found.query_map(params![slot, beginning, most], |row| {
        Ok(Version {
            digest: row.get(0)?,
            name: row.get(1)?,
            engine: row.get(2)?,
            file: row.get(3)?,
            bytes: Vec::new(),
            tests: None,
            signature: None,
            added_ms: row.get(4)?,
        })
    })?;
    Ok(versions.collect::<Result<_, _>>()?)
}

/// Keeps a version. One that is known keeps its bytes, and gets the tests and the signature that
/// came with it now.
fn keep(transaction: &Transaction<'_>, slot: &str, version: &Version) -> Result<(), rusqlite::Error> {
    let Version { digest, name, engine, file, bytes, tests, signature, added_ms } = version;
    transaction.execute(
        "INSERT INTO version (slot, digest, name, engine, file, bytes, tests, signature, added_ms)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
         ON CONFLICT (slot, digest) DO UPDATE
         SET file = excluded.file, tests = excluded.tests, signature = excluded.signature",
        params![slot, digest, name, engine, file, bytes, tests, signature, added_ms],
    )?;
    Ok(())
}
