//! Files of earlier versions.

use super::*;

/// A file that the first version wrote reads as it is, and is one of this version once a gateway has it.
#[tokio::test]
async fn a_ledger_of_schema_1_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let first = rusqlite::Connection::open(folder.path().join(FILE)).unwrap();
    first.execute_batch(include_str!("schema-1.sql")).unwrap();
    let found = reader(folder.path()).verify().unwrap();
    assert_eq!((found.rows, found.open, found.totals.charged), (3, 0, 1_620_000));
    // The newest attempt's row, and the row of its end.
    let row = |wanted: usize| {
        let found: [u8; 16] = first
            .query_row("SELECT request FROM journal WHERE kind = 'reserved' ORDER BY seq DESC", [], |row| row.get(0))
            .unwrap();
        reader(folder.path()).request(RequestId::from_bytes(found)).unwrap()[wanted].1.clone()
    };
    assert_eq!((row(0).team, row(0).policy, row(0).unpriced), (None, None, None));

    for _ in 0..2 {
        let ledger = ledger(folder.path(), None);
        let reservation = Reservation { unpriced: true, ..reservation("key", 100, NOON) };
        ledger.open(&reservation).await.unwrap();
        ledger.end(reservation.key, settled(7));
        ledger.close();
        assert_eq!(ledger.finish(Duration::from_secs(60)), Ended::Closed);
    }
    let found = reader(folder.path()).verify().unwrap();
    // What the killed gateway's lease reached beyond its row is charged.
    assert_eq!(found.totals.charged, 1_620_000 + 138_000_000 + 14);
    let (team, policy) = (row(0).team.unwrap(), row(0).policy.unwrap());
    assert_eq!((&*team, &*policy, row(0).unpriced), ("team", "policy@digest", Some(true)));
    assert_eq!((row(1).team, row(1).unpriced), (None, None));

    // Nothing of what was added can be changed either, nor be taken away as if it had never been.
    for change in ["team = 'other'", "policy = NULL", "unpriced = 0", "team = NULL, policy = NULL, unpriced = NULL"] {
        first.execute_batch(&format!("UPDATE journal SET {change} WHERE team IS NOT NULL")).unwrap();
        let damaged = reader(folder.path()).verify();
        assert!(matches!(damaged, Err(LedgerError::Damaged(_))), "{change}: {damaged:?}");
        let back = "team = 'team', policy = 'policy@digest', unpriced = 1";
        let rows = "caller = 'key' AND kind = 'reserved'";
        first.execute_batch(&format!("UPDATE journal SET {back} WHERE {rows}")).unwrap();
        reader(folder.path()).verify().unwrap();
    }

    for other in [0, schema::SCHEMA + 1] {
        first.execute("UPDATE meta SET schema = ?1", [other]).unwrap();
        let refused = SqliteLedger::open(folder.path(), &[], clock(NOON)).err().unwrap().to_string();
        assert!(refused.contains(&format!("has schema {other}, this version knows")), "{refused}");
        assert!(Reader::open(&folder.path().join(FILE)).is_err());
    }
}

/// Sums of budgets did not say from when on they are. Such ones are made anew, and are whole from then on.
#[tokio::test]
async fn sums_of_a_ledger_of_schema_2_are_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let mut second = rusqlite::Connection::open(folder.path().join(FILE)).unwrap();
    second.execute_batch(include_str!("schema-1.sql")).unwrap();
    assert_eq!(crate::database::migrate(&mut second, &schema::STEPS[..1]).unwrap(), 2);
    reader(folder.path()).verify().unwrap();
    let (rules, began) = (daily(Some(u64::MAX >> 1)), 1_796_038_817_429u64);
    let budget = rules[0].counting.identity();
    let (start, _) = rules[0].counting.window.part(entry::amount(began));
    let sum = "INSERT INTO budget_spent VALUES (?1, ?2, 1)";
    second.execute("INSERT INTO budget VALUES (?1)", [&budget]).unwrap();
    second.execute(sum, rusqlite::params![budget, start]).unwrap();
    let damaged = reader(folder.path()).verify().unwrap_err().to_string();
    assert!(damaged.contains("what is spent of the budget"), "{damaged}");

    let ledger = SqliteLedger::open(folder.path(), &rules, clock(began)).unwrap();
    let spent = ledger.budgets(1, |_| true)[0].charged;
    ledger.close();
    assert_eq!(ledger.finish(Duration::from_secs(60)), Ended::Closed);
    // Its row, and what the killed gateway's lease reached beyond it.
    assert_eq!(spent, 1_620_000 + 138_000_000);
    reader(folder.path()).verify().unwrap();
    second.execute("DELETE FROM budget_spent", []).unwrap();
    let damaged = reader(folder.path()).verify().unwrap_err().to_string();
    let start = jiff::Timestamp::from_millisecond(start).unwrap();
    assert!(damaged.contains(&format!("from {start} on is not what the rows say")), "{damaged}");
}
