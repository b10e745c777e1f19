//! Whatever is done to a row behind the ledger's back, `verify` finds it, and says where.

use super::*;

/// A ledger with rows of every kind, and one that is open.
fn sound(folder: &Path) {
    let mut gateway = Gateway::start(folder, Some(1 << 40));
    for number in 0..6u64 {
        gateway.ask(["a", "b"][number as usize % 2], 100 + number, 20_000);
        gateway.round();
        gateway.round();
        let Some(key) = gateway.under_way.keys().next().copied() else { continue };
        gateway.under_way.remove(&key);
        let ending = match number % 3 {
            0 => settled(7),
            1 => Ending::Voided { why: "never sent" },
            _ => Ending::Estimated { low: Picodollars(1), high: Picodollars(90), usage: None, why: "timeout" },
        };
        gateway.shared.lock().end(key, &ending, NOON, gateway.second);
        gateway.round();
    }
    gateway.ask("a", 50, 20_000);
    gateway.round();
    gateway.round();
    drop(gateway);
    // What was open is an estimate now, and the lease unidentified.
    let mut gateway = Gateway::start(folder, Some(1 << 40));
    gateway.shared.lock().close("the gateway is stopping");
    gateway.round();
    gateway.writer.close();
    drop(gateway);
    let day = reader(folder).days().unwrap().into_iter().find(|sum| &*sum.tuple.caller == "a").unwrap();
    let correction =
        Correction { tuple: day.tuple, team: None, replaced: day.estimated, amount: 5, why: "bill 1234".to_owned() };
    Corrector::open(folder, NOON).unwrap().commit(&[correction], NOON).unwrap();
    let mut gateway = Gateway::start(folder, Some(1 << 40));
    gateway.ask("a", 50, 20_000);
    gateway.round();
    gateway.round();
}

const COLUMNS: [&str; 22] = [
    "at_ms", "epoch", "kind", "request", "attempt", "day", "caller", "model", "low", "high", "usage", "why", "prices",
    "tags", "hash", "team", "policy", "unpriced", "target", "region", "tier", "seq",
];

#[derive(Clone, Debug)]
enum Deed {
    /// A column of a row gets another value.
    Flip {
        row: usize,
        column: usize,
        to: u8,
    },
    Delete {
        row: usize,
    },
    /// Two rows change places.
    Swap {
        one: usize,
        other: usize,
    },
    /// A copy of a row stands at the end, or before the beginning.
    Insert {
        row: usize,
        at_the_end: bool,
    },
    /// A copy of a row takes the place of another.
    Overwrite {
        row: usize,
        with: usize,
    },
}

fn deeds() -> impl Strategy<Value = Deed> {
    let row = any::<usize>;
    prop_oneof![
        4 => (row(), 0..COLUMNS.len(), any::<u8>()).prop_map(|(row, column, to)| Deed::Flip { row, column, to }),
        1 => row().prop_map(|row| Deed::Delete { row }),
        1 => (row(), row()).prop_map(|(one, other)| Deed::Swap { one, other }),
        1 => (row(), any::<bool>()).prop_map(|(row, at_the_end)| Deed::Insert { row, at_the_end }),
        1 => (row(), row()).prop_map(|(row, with)| Deed::Overwrite { row, with }),
    ]
}

/// Does it; gives the first row that is not what it was, or none where nothing was changed.
fn commit(deed: &Deed, ledger: &rusqlite::Connection) -> Option<i64> {
    let rows: i64 = ledger.query_row("SELECT max(seq) FROM journal", [], |row| row.get(0)).unwrap();
    let seq = |row: usize| 1 + i64::try_from(row % usize::try_from(rows).unwrap()).unwrap();
    let run = |sql: &str| ledger.execute_batch(sql).unwrap();
    let columns = COLUMNS.join(", ");
    let other_columns = COLUMNS[..COLUMNS.len() - 1].join(", ");
    let same = |one: i64, other: i64| {
        let hash = |seq: i64| -> Vec<u8> {
            ledger.query_row("SELECT hash FROM journal WHERE seq = ?1", [seq], |row| row.get(0)).unwrap()
        };
        hash(one) == hash(other)
    };
    // The attempt's row and its end are each there once: copies would be refused by the index.
    run("DROP INDEX journal_row");
    match *deed {
        Deed::Flip { row, column, to } => {
            let (seq, column) = (seq(row), COLUMNS[column]);
            let value = match column {
                "seq" => format!("seq + {}", rows + 1),
                "request" | "hash" => format!("CAST(coalesce(substr({column}, 2), x'00') || x'{to:02x}' AS BLOB)"),
                "at_ms" | "epoch" | "attempt" | "day" | "low" | "high" | "unpriced" => {
                    format!("coalesce({column}, 0) + {}", u32::from(to) + 1)
                }
                _ => format!("coalesce({column}, '') || '{to}'"),
            };
            let before: rusqlite::types::Value = ledger
                .query_row(&format!("SELECT {column} FROM journal WHERE seq = ?1"), [seq], |row| row.get(0))
                .unwrap();
            run(&format!("UPDATE journal SET {column} = {value} WHERE seq = {seq}"));
            let is_same = column != "seq"
                && ledger
                    .query_row(
                        &format!("SELECT {column} IS ?2 FROM journal WHERE seq = ?1"),
                        rusqlite::params![seq, before],
                        |row| row.get::<_, bool>(0),
                    )
                    .unwrap();
            (!is_same).then_some(seq)
        }
        Deed::Delete { row } => {
            run(&format!("DELETE FROM journal WHERE seq = {}", seq(row)));
            Some(seq(row))
        }
        Deed::Swap { one, other } => {
            let (one, other) = (seq(one).min(seq(other)), seq(one).max(seq(other)));
            run(&format!(
                "UPDATE journal SET seq = -1 WHERE seq = {one}; UPDATE journal SET seq = {one} WHERE seq = {other};
                 UPDATE journal SET seq = {other} WHERE seq = -1"
            ));
            (one != other).then_some(one)
        }
        Deed::Insert { row, at_the_end } => {
            let place = if at_the_end { rows + 1 } else { 0 };
            run(&format!(
                "INSERT INTO journal ({columns}) SELECT {other_columns}, {place} FROM journal WHERE seq = {}",
                seq(row)
            ));
            Some(place)
        }
        Deed::Overwrite { row, with } => {
            let is_same = same(seq(row), seq(with));
            run(&format!(
                "CREATE TEMP TABLE copy AS SELECT {other_columns}, {row} AS seq FROM journal WHERE seq = {with};
                 DELETE FROM journal WHERE seq = {row};
                 INSERT INTO journal ({columns}) SELECT {columns} FROM copy",
                row = seq(row),
                with = seq(with)
            ));
            (!is_same).then_some(seq(row))
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_done_to_a_row_is_found(deed in deeds()) {
        let folder = tempfile::tempdir().unwrap();
        sound(folder.path());
        reader(folder.path()).verify().unwrap();
        let ledger = rusqlite::Connection::open(folder.path().join(FILE)).unwrap();
        let place = commit(&deed, &ledger);
        let found = reader(folder.path()).verify();
        match (place, found) {
            (None, found) => prop_assert!(found.is_ok(), "{found:?}"),
            (Some(place), Err(LedgerError::Damaged(what))) => {
                // A row that was moved away is missing where it was, or strange where it is.
                let rows: i64 = ledger.query_row("SELECT max(seq) FROM journal", [], |row| row.get(0)).unwrap();
                let named: Option<i64> = what.split([' ', ':']).nth(1).and_then(|row| row.parse().ok());
                prop_assert!(named == Some(place) || named == Some(rows), "{place}: {what}");
            }
            (Some(place), found) => prop_assert!(false, "{place}: {found:?}"),
        }
    }
}

/// What follows from the journal cannot be changed either.
#[test]
fn what_follows_from_rows_is_compared_with_them() {
    for change in [
        "UPDATE spent SET charged = charged + 1 WHERE caller = 'a'",
        "UPDATE spent SET estimated = estimated + 1 WHERE caller = 'b'",
        "UPDATE spent SET attempts = attempts - 1 WHERE caller = 'a'",
        "DELETE FROM spent WHERE caller = 'b'",
        "INSERT INTO spent VALUES (1, 'c', 'model', 1, 0, 1)",
        "UPDATE meta SET epoch = epoch + 1",
        "UPDATE meta SET head = head - 1",
        "UPDATE meta SET hash = zeroblob(32)",
        "UPDATE meta SET node = 'another'",
        "UPDATE meta SET oldest_open = head + 1",
        "UPDATE budget_spent SET charged = charged - 1",
        "UPDATE budget_spent SET start = start + 86400000",
        "DELETE FROM budget_spent WHERE start = (SELECT max(start) FROM budget_spent)",
        "DELETE FROM budget_spent",
        // As if nothing that was spent counted any more.
        "DELETE FROM budget_spent; UPDATE budget SET counts_from = (SELECT max(at_ms) + 1 FROM journal)",
        "UPDATE budget SET counts_from = counts_from + 2 * 86400000",
        "INSERT INTO budget_spent SELECT budget, start + 86400000, 1 FROM budget_spent",
        "UPDATE day_began SET seq = seq + 1",
        "UPDATE day_began SET day = day + 1",
        "DELETE FROM day_began",
        "INSERT INTO day_began VALUES (1, 1)",
    ] {
        let folder = tempfile::tempdir().unwrap();
        sound(folder.path());
        rusqlite::Connection::open(folder.path().join(FILE)).unwrap().execute_batch(change).unwrap();
        let found = reader(folder.path()).verify();
        assert!(matches!(found, Err(LedgerError::Damaged(_))), "{change}: {found:?}");
    }
}
