//! How many versions are kept, and which go where there are too many: first those that no record can refer to
//! any more, of these first those that never served, the oldest first. What has a role stays.
//!
//! Records are in a file of their own, and are not asked: a record is of a request that came while the version
//! served, so that none can refer to one that has not served for as long as records are kept.

use rusqlite::{Connection, Transaction, params};

use super::{Entry, Version, audit};

/// What of versions is kept, over all slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeptBounds {
    /// Versions.
    pub versions: u64,
    /// Bytes of them and their tests.
    pub bytes: u64,
    /// How long records are kept that may refer to one, in milliseconds.
    pub records_ms: u64,
}

impl Default for KeptBounds {
    fn default() -> Self {
        Self { versions: 512, bytes: 1 << 30, records_ms: 7 * 24 * 3_600 * 1_000 }
    }
}

/// How much of versions is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeptCounts {
    /// Versions.
    pub versions: u64,
    /// Bytes of them and their tests.
    pub bytes: u64,
    /// Versions that this run has let go.
    pub dropped: u64,
}

impl KeptCounts {
    fn is_within(&self, bounds: &KeptBounds) -> bool {
        self.versions <= bounds.versions && self.bytes <= bounds.bytes
    }
}

/// The size of a version, for the bounds.
pub(super) fn weigh(transaction: &Transaction<'_>, slot: &str, version: &Version) -> rusqlite::Result<()> {
    let bytes = version.bytes.len() + version.tests.as_ref().map_or(0, Vec::len);
    transaction.execute(
        "INSERT INTO kept (slot, digest, place, bytes)
         VALUES (?1, ?2, (SELECT place FROM version WHERE slot = ?1 AND digest = ?2), ?3)
         ON CONFLICT (slot, digest) DO UPDATE SET bytes = excluded.bytes",
        params![slot, version.digest, i64::try_from(bytes).unwrap_or(i64::MAX)],
    )?;
    Ok(())
}

/// What decides for requests in a slot, all of them or a share, does so now: to be called before and after each
/// change of that. `instead` serves although no role says so: what should cannot be loaded, or has failed.
pub(super) fn serve(
    transaction: &Transaction<'_>,
    slot: &str,
    instead: Option<&str>,
    now_ms: i64,
) -> rusqlite::Result<()> {
    transaction.execute(
        "UPDATE kept SET served_ms = ?2 WHERE slot = ?1 AND (digest = ?3 OR digest IN (
             SELECT digest FROM role WHERE slot = ?1 AND role = 'active'
             UNION SELECT digest FROM experiment WHERE slot = ?1 AND ended_ms IS NULL))",
        params![slot, now_ms, instead],
    )?;
    Ok(())
}

pub(super) fn counts(connection: &Connection) -> rusqlite::Result<KeptCounts> {
    connection.query_row("SELECT count(*), coalesce(sum(bytes), 0) FROM kept", [], |row| {
        let [versions, bytes] = [row.get::<_, i64>(0)?, row.get::<_, i64>(1)?].map(i64::unsigned_abs);
        Ok(KeptCounts { versions, bytes, dropped: 0 })
    })
}

/// Versions that may go, in the order in which they do: slot, digest, bytes, and whether a record may refer
/// to it. What serves, served, is ready, is tried or asked as well, and what the folder said, may not.
const MAY_GO: &str = "SELECT slot, digest, bytes, coalesce(served_ms >= ?1, 0) AS referred FROM kept
    WHERE NOT EXISTS (SELECT 1 FROM role WHERE role.slot = kept.slot AND role.digest = kept.digest
                      AND role.role IN ('active', 'previous', 'staged', 'shadow'))
    AND NOT EXISTS (SELECT 1 FROM experiment WHERE experiment.slot = kept.slot
                    AND experiment.digest = kept.digest AND ended_ms IS NULL)
    AND NOT EXISTS (SELECT 1 FROM folder WHERE folder.slot = kept.slot AND folder.digest = kept.digest)
    ORDER BY referred, coalesce(served_ms, 0), place";

/// Lets versions go until the rest is within the bounds, as far as that may be, each with a row of the audit
/// log. Gives what is kept then.
pub(super) fn bound(transaction: &Transaction<'_>, bounds: &KeptBounds, now_ms: i64) -> rusqlite::Result<KeptCounts> {
    let mut kept = counts(transaction)?;
    if kept.is_within(bounds) {
        return Ok(kept);
    }
    let since = now_ms.saturating_sub(i64::try_from(bounds.records_ms).unwrap_or(i64::MAX));
    let mut found = transaction.prepare(MAY_GO)?;
    let may_go = found.query_map([since], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?;
    let may_go: Vec<(String, String, i64, bool)> = may_go.collect::<Result<_, _>>()?;
    for (slot, digest, bytes, referred) in may_go {
        if kept.is_within(bounds) {
            break;
        }
        for table in ["version", "kept"] {
            transaction.execute(&format!("DELETE FROM {table} WHERE slot = ?1 AND digest = ?2"), [&slot, &digest])?;
        }
        let refers = if referred { "records may refer to it" } else { "no record refers to it" };
        audit::append(
            transaction,
            &Entry {
                at_ms: now_ms,
                actor: "kairos".to_owned(),
                act: "drop".to_owned(),
                slot,
                digest: Some(digest),
                why: Some("more than kept_versions or kept_bytes under [policies]".to_owned()),
                detail: Some(format!("{bytes} bytes; {refers}")),
                ..Entry::default()
            },
        )?;
        kept.versions = kept.versions.saturating_sub(1);
        kept.bytes = kept.bytes.saturating_sub(bytes.unsigned_abs());
        kept.dropped += 1;
    }
    Ok(kept)
}
