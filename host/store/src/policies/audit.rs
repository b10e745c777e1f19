//! The audit log: one row an act, each with a hash over itself and the row before.

use std::path::Path;

use rusqlite::{Connection, Row, Transaction, params};
use sha2::{Digest as _, Sha256};

use super::{PoliciesError, Version, schema};
use crate::database;

/// Rows that are read in one go.
const PAGE: i64 = 1_000;

/// An act.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// When, in milliseconds since 1970.
    pub at_ms: i64,
    /// Who acted.
    pub actor: String,
    /// Who it is, as it says itself.
    pub claimed: Option<String>,
    /// What was done.
    pub act: String,
    /// In which slot.
    pub slot: String,
    /// To which version.
    pub digest: Option<String>,
    /// Why.
    pub why: Option<String>,
    /// What came of it, where there is more to say.
    pub detail: Option<String>,
}

impl Entry {
    /// The hash of this row behind the row whose hash is `previous`: SHA-256 of a tag, the previous
    /// hash, and every column, each with its presence and its length.
    fn hash(&self, seq: i64, previous: &[u8; 32]) -> [u8; 32] {
        let mut hasher = Sha256::new();
        hasher.update(b"kairos-audit-1");
        hasher.update(previous);
        hasher.update(seq.to_le_bytes());
        hasher.update(self.at_ms.to_le_bytes());
        let texts = [Some(&self.actor), self.claimed.as_ref(), Some(&self.act), Some(&self.slot)];
        let more = [self.digest.as_ref(), self.why.as_ref(), self.detail.as_ref()];
        for text in texts.into_iter().chain(more) {
            match text {
                Some(text) => {
                    hasher.update([1]);
                    hasher.update((text.len() as u64).to_le_bytes());
                    hasher.update(text);
                }
                None => hasher.update([0]),
            }
        }
        hasher.finalize().into()
    }
}

/// What is before the first row, in every schema so far.
pub fn genesis(node: &str) -> [u8; 32] {
    Sha256::digest(format!("kairos-audit-1 {node}")).into()
}

fn head(connection: &Connection) -> Result<(i64, [u8; 32]), rusqlite::Error> {
    connection.query_row("SELECT head, hash FROM meta", [], |row| Ok((row.get(0)?, row.get(1)?)))
}

/// Adds a row behind the last.
pub(super) fn append(transaction: &Transaction<'_>, entry: &Entry) -> Result<(), rusqlite::Error> {
    let (last, previous) = head(transaction)?;
    let seq = last + 1;
    let hash = entry.hash(seq, &previous);
    let Entry { at_ms, actor, claimed, act, slot, digest, why, detail } = entry;
    transaction.execute(
        "INSERT INTO audit (seq, at_ms, actor, claimed, act, slot, digest, why, detail, hash)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        params![seq, at_ms, actor, claimed, act, slot, digest, why, detail, hash],
    )?;
    transaction.execute("UPDATE meta SET head = ?1, hash = ?2", params![seq, hash])?;
    Ok(())
}

fn read(row: &Row<'_>) -> rusqlite::Result<(i64, Entry, [u8; 32])> {
    let entry = Entry {
        at_ms: row.get("at_ms")?,
        actor: row.get("actor")?,
        claimed: row.get("claimed")?,
        act: row.get("act")?,
        slot: row.get("slot")?,
        digest: row.get("digest")?,
        why: row.get("why")?,
        detail: row.get("detail")?,
    };
    Ok((row.get("seq")?, entry, row.get("hash")?))
}

/// The last rows, the newest first.
pub(super) fn last(connection: &Connection, most: usize) -> Result<Vec<(i64, Entry)>, PoliciesError> {
    let mut found = connection.prepare("SELECT * FROM audit ORDER BY seq DESC LIMIT ?1")?;
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let rows = found.query_map([most], |row| read(row).map(|(seq, entry, _)| (seq, entry)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Versions and the audit log, only read, beside the gateway that writes it.
pub struct Reader {
    connection: Connection,
}

impl Reader {
    /// Opens the log in a file.
    pub fn open(path: &Path) -> Result<Self, PoliciesError> {
        if !path.exists() {
            return Err(PoliciesError::NotThere(path.display().to_string()));
        }
        let connection = database::open_to_read(path)?;
        schema::check(&connection)?;
        Ok(Self { connection })
    }

    /// A version of a slot.
    pub fn version(&self, slot: &str, digest: &str) -> Result<Option<Version>, PoliciesError> {
        super::version(&self.connection, slot, digest)
    }

    /// Versions of a slot whose digests begin so, the newest first, so many at most. Their bytes and
    /// tests are left out.
    pub fn versions(&self, slot: &str, beginning: &str, most: usize) -> Result<Vec<Version>, PoliciesError> {
        super::versions(&self.connection, slot, beginning, most)
    }

    /// Whether this version was taken out of service because it failed.
    pub fn is_quarantined(&self, slot: &str, digest: &str) -> Result<bool, PoliciesError> {
        let found = "SELECT count(*) FROM role WHERE slot = ?1 AND digest = ?2 AND role = 'quarantined'";
        Ok(self.connection.query_row(found, [slot, digest], |row| row.get::<_, i64>(0))? > 0)
    }

    /// The last acts, the newest first, each with its place, so many at most.
    pub fn last(&self, most: usize) -> Result<Vec<(i64, Entry)>, PoliciesError> {
        last(&self.connection, most)
    }

    /// Whether every row is there as it was written; says how many there are.
    pub fn verify(&mut self) -> Result<u64, PoliciesError> {
        // One transaction: what is written meanwhile is not seen.
        let transaction = self.connection.transaction()?;
        let node: String = transaction.query_row("SELECT node FROM meta", [], |row| row.get(0))?;
        let (mut seq, mut hash) = (0, genesis(&node));
        loop {
            let mut found = transaction.prepare_cached("SELECT * FROM audit WHERE seq > ?1 ORDER BY seq LIMIT ?2")?;
            let rows = found.query_map([seq, PAGE], read)?.collect::<Result<Vec<_>, _>>()?;
            if rows.is_empty() {
                break;
            }
            for (at, entry, stated) in rows {
                if at != seq + 1 {
                    return Err(PoliciesError::Damaged(format!("row {} is missing", seq + 1)));
                }
                if entry.hash(at, &hash) != stated {
                    return Err(PoliciesError::Damaged(format!("row {at} is not as it was written")));
                }
                (seq, hash) = (at, stated);
            }
        }
        let head = head(&transaction)?;
        if head != (seq, hash) {
            return Err(PoliciesError::Damaged(format!("it ends with row {seq}, and {} were written", head.0)));
        }
        Ok(seq.unsigned_abs())
    }
}
