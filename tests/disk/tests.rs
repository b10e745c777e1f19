//! The disk loses what it should, and nothing else.

use std::path::Path;

use rusqlite::Connection;

use super::*;

fn open(folder: &Path, synchronous: &str) -> rusqlite::Result<Connection> {
    let connection = Connection::open(folder.join("some.sqlite"))?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", synchronous)?;
    // A checkpoint now and then.
    connection.pragma_update(None, "wal_autocheckpoint", 8)?;
    connection.execute_batch("CREATE TABLE IF NOT EXISTS t (n INTEGER PRIMARY KEY, text TEXT)")?;
    Ok(connection)
}

/// Inserts rows until something fails. How many were committed.
fn insert(connection: &Connection, rows: i64) -> i64 {
    let text = "x".repeat(1_500);
    let insert = |n: i64| connection.execute("INSERT INTO t VALUES (?1, ?2)", (n, &text));
    (1..=rows).find(|n| insert(*n).is_err()).map_or(rows, |failed| failed - 1)
}

fn count(folder: &Path) -> rusqlite::Result<i64> {
    let connection = open(folder, "FULL")?;
    let sound: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
    assert_eq!(sound, "ok");
    connection.query_row("SELECT count(*) FROM t", [], |row| row.get(0))
}

/// Cuts the power at each step of a run. Those after which something committed was gone.
fn losses(synchronous: &str, heeds_syncs: bool) -> (u64, u64) {
    let (mut lost, mut cuts) = (0, 0);
    for step in 1.. {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::insert(folder.path(), step);
        if !heeds_syncs {
            disk.ignore_syncs();
        }
        disk.cut_at(step, Steps::Any);
        let connection = open(folder.path(), synchronous);
        let committed = connection.as_ref().map_or(0, |connection| insert(connection, 10));
        drop(connection);
        if !disk.is_off() {
            assert_eq!(committed, 10);
            break;
        }
        cuts += 1;
        disk.restart();
        let kept = std::panic::catch_unwind(|| count(folder.path()));
        match kept {
            // The one that was under way may be there.
            Ok(Ok(kept)) if (committed..=committed + 1).contains(&kept) => {}
            _ => lost += 1,
        }
    }
    (lost, cuts)
}

#[test]
fn what_is_synced_is_kept_and_what_is_not_is_lost() {
    let (lost, cuts) = losses("FULL", true);
    assert!(lost == 0 && cuts > 50, "{lost} of {cuts}");
    for (synchronous, heeds_syncs) in [("OFF", true), ("FULL", false)] {
        let (lost, cuts) = losses(synchronous, heeds_syncs);
        assert!(lost > cuts / 2, "synchronous {synchronous}, syncs heeded {heeds_syncs}: {lost} of {cuts}");
    }
}

#[test]
fn what_fails_is_told_and_mended() {
    let cases =
        [(Fault::Full, "database or disk is full"), (Fault::Write, "disk I/O error"), (Fault::Sync, "disk I/O error")];
    for (fault, says) in cases {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::insert(folder.path(), 1);
        let connection = open(folder.path(), "FULL").unwrap();
        let insert = || connection.execute("INSERT INTO t (text) VALUES ('some')", []);
        insert().unwrap();
        disk.fail_at(1, fault, Lasting::UntilMended);
        for _ in 0..2 {
            assert!(insert().unwrap_err().to_string().contains(says), "{fault:?}");
        }
        disk.mend();
        disk.fail_at(1, fault, Lasting::Once);
        insert().unwrap_err();
        insert().unwrap();
        drop(connection);
        disk.restart();
        assert_eq!(count(folder.path()).unwrap(), 2, "{fault:?}");
        disk.fail_at(0, Fault::ReadOnly, Lasting::UntilMended);
        let connection = open(folder.path(), "FULL").unwrap();
        let refused = connection.execute("INSERT INTO t (text) VALUES ('some')", []);
        assert!(refused.unwrap_err().to_string().contains("readonly"));
    }
}
