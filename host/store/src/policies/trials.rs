//! Experiments: what was tried, what was measured, and how it ended.

use rusqlite::{Connection, Row, params};

/// An experiment. One without an end is under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trial {
    /// The slot.
    pub slot: String,
    /// Its number in the slot.
    pub id: i64,
    /// The digest of what is tried.
    pub digest: String,
    /// What it is compared with.
    pub baseline: String,
    /// What was registered when it began.
    pub plan: String,
    /// What was measured.
    pub state: String,
    /// When it began, in milliseconds since 1970.
    pub began_ms: i64,
    /// When it ended.
    pub ended_ms: Option<i64>,
    /// What is said of it.
    pub report: String,
}

/// Writes an experiment, new or as it is now. What was registered when it began stays.
pub(super) fn keep(connection: &Connection, trial: &Trial) -> Result<(), rusqlite::Error> {
    let Trial { slot, id, digest, baseline, plan, state, began_ms, ended_ms, report } = trial;
    connection.execute(
        "INSERT INTO experiment (slot, id, digest, baseline, plan, state, began_ms, ended_ms, report)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
         ON CONFLICT (slot, id) DO UPDATE SET state = excluded.state, ended_ms = excluded.ended_ms, report = excluded.report
         WHERE ended_ms IS NULL",
        params![slot, id, digest, baseline, plan, state, began_ms, ended_ms, report],
    )?;
    Ok(())
}

fn read(row: &Row<'_>) -> rusqlite::Result<Trial> {
    Ok(Trial {
        slot: row.get("slot")?,
        id: row.get("id")?,
        digest: row.get("digest")?,
        baseline: row.get("baseline")?,
        plan: row.get("plan")?,
        state: row.get("state")?,
        began_ms: row.get("began_ms")?,
        ended_ms: row.get("ended_ms")?,
        report: row.get("report")?,
    })
}

/// Experiments of a slot, the newest first.
pub(super) fn last(connection: &Connection, slot: &str, most: usize) -> Result<Vec<Trial>, rusqlite::Error> {
    let mut found = connection.prepare("SELECT * FROM experiment WHERE slot = ?1 ORDER BY id DESC LIMIT ?2")?;
    let rows = found.query_map(params![slot, i64::try_from(most).unwrap_or(i64::MAX)], read)?;
    rows.collect()
}

/// How many there have been with a version.
pub(super) fn count(connection: &Connection, slot: &str, digest: &str) -> Result<u64, rusqlite::Error> {
    let count: i64 = connection.query_row(
        "SELECT count(*) FROM experiment WHERE slot = ?1 AND digest = ?2",
        [slot, digest],
        |row| row.get(0),
    )?;
    Ok(count.unsigned_abs())
}
