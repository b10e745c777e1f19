//! Erasure in files of records that no gateway writes to: those that were set aside as they could not be used, and
//! the one of a gateway that keeps no records any more.
//!
//! What can be read is searched as any other. What cannot is left where it is, and named: nobody can tell whose
//! records are in it.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, OpenFlags};

use super::erase::{Job, TABLES};
use super::schema::SCHEMA;
use super::{FILE, Which};
use crate::database::schema_of;

/// Files that are looked at: one is kept, what there is more of somebody has put there.
const MOST: usize = 16;
/// What SQLite has beside a database.
const BESIDE: [&str; 3] = ["-wal", "-shm", "-journal"];

/// A file of records that is not in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beside {
    /// Where it is.
    pub path: PathBuf,
    /// Records that were taken out of it, none where it was removed whole; or why it could not be searched, in
    /// which case such records may be in it.
    pub erased: Result<Option<u64>, String>,
}

/// Files of records in a data folder that no gateway writes to. `in_use` says whether one keeps records there.
pub fn unused(folder: &Path, in_use: bool) -> std::io::Result<Vec<PathBuf>> {
    let aside = format!("{FILE}.aside");
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let name = entry?.file_name();
        let Some(name) = name.to_str() else { continue };
        let is_meant = name.starts_with(&aside) || (name == FILE && !in_use);
        if is_meant && !BESIDE.iter().any(|ending| name.ends_with(ending)) {
            found.push(folder.join(name));
        }
    }
    found.sort();
    Ok(found)
}

/// Takes records out of such files, for good. A file that is older than the day before which all are to go is
/// removed whole, readable or not.
pub fn erase_unused(files: &[PathBuf], which: &Which) -> Vec<Beside> {
    let (all, more) = files.split_at(files.len().min(MOST));
    let searched = all.iter().map(|path| Beside { path: path.clone(), erased: erase(path, which) });
    let unsearched = || Err(format!("there are more than {MOST} such files"));
    searched.chain(more.iter().map(|path| Beside { path: path.clone(), erased: unsearched() })).collect()
}

fn erase(path: &Path, which: &Which) -> Result<Option<u64>, String> {
    // Opening it may write to it.
    let written = last_written(path);
    let gone = search(path, which).map(Some);
    if let (Err(_), Which::Before(ms)) = (&gone, which)
        && written.is_some_and(|written| written < Duration::from_millis(*ms))
    {
        remove(path).map_err(|error| format!("it is from before that day, and cannot be removed: {error}"))?;
        return Ok(None);
    }
    gone
}

/// When the youngest of a database's files was written.
fn last_written(path: &Path) -> Option<Duration> {
    let written = |path: PathBuf| path.metadata().and_then(|found| found.modified()).ok();
    let youngest = all_of(path).filter_map(written).max().unwrap_or_else(SystemTime::now);
    youngest.duration_since(UNIX_EPOCH).ok()
}

fn all_of(path: &Path) -> impl Iterator<Item = PathBuf> + '_ {
    [""].into_iter().chain(BESIDE).map(|ending| {
        let mut name = path.as_os_str().to_owned();
        name.push(ending);
        name.into()
    })
}

fn remove(path: &Path) -> std::io::Result<()> {
    for file in all_of(path) {
        match std::fs::remove_file(file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

fn search(path: &Path, which: &Which) -> Result<u64, String> {
    let said = |error: rusqlite::Error| error.to_string();
    let mut connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(said)?;
    let schema = schema_of(&connection).map_err(said)?;
    if !(1..=SCHEMA).contains(&schema) {
        return Err(format!("it has schema {schema}, this version knows {SCHEMA}"));
    }
    connection.pragma_update(None, "secure_delete", "ON").map_err(said)?;
    // Damage may hide a record from a search that ends well.
    let sound: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(said)?;
    if sound != "ok" {
        return Err(format!("it is damaged: {sound}"));
    }
    // Schema 1 has no judgements.
    let tables = &TABLES[..if schema == 1 { TABLES.len() - 1 } else { TABLES.len() }];
    let mut job = Job::new(which.clone(), Box::new(drop));
    while !job.step(&mut connection, tables).map_err(said)? {}
    let busy: i64 = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0)).map_err(said)?;
    match busy {
        0 => Ok(job.gone),
        _ => Err(format!("{} records are gone, and not yet out of its log: somebody reads it", job.gone)),
    }
}
