//! Lines, and corrections of them.

use super::*;

/// A ledger with attempts of every state, on several days, more of them than a page has.
async fn filled(folder: &Path) {
    let ledger = ledger(folder, None);
    for number in 0..2_500u64 {
        let reservation = reservation(if number % 2 == 0 { "a" } else { "b" }, 100, NOON + (number % 3) * DAY_MS);
        ledger.open(&reservation).await.unwrap();
        match number % 5 {
            0 => ledger.end(reservation.key, Ending::Voided { why: "never sent" }),
            1 => ledger.end(
                reservation.key,
                Ending::Estimated { low: Picodollars(1), high: Picodollars(100), usage: None, why: "timeout" },
            ),
            _ => ledger.end(reservation.key, settled(7)),
        }
    }
    ledger.close();
    assert_eq!(ledger.finish(Duration::from_secs(60)), Ended::Closed);
}

fn lines(folder: &Path, range: Range) -> Vec<Line> {
    let mut lines = Vec::new();
    let keep = |line: &Line| {
        lines.push(line.clone());
        Ok::<_, LedgerError>(())
    };
    reader(folder).lines(range, keep).unwrap();
    lines
}

#[tokio::test]
async fn every_attempt_is_one_line_with_its_end() {
    let folder = tempfile::tempdir().unwrap();
    filled(folder.path()).await;
    let all = lines(folder.path(), Range::ALL);
    assert_eq!(all.len(), 2_500);
    let keys: Set<_> = all.iter().map(|line| line.row.key.unwrap()).collect();
    assert_eq!(keys.len(), 2_500);
    let totals = reader(folder.path()).totals().unwrap();
    let sum = |of: fn(&Line) -> i64| u128::try_from(all.iter().map(of).map(i128::from).sum::<i128>()).unwrap();
    assert_eq!((sum(Line::charged), sum(Line::estimated)), (totals.charged, totals.estimated));
    assert_eq!((totals.charged, totals.estimated), (1_500 * 7 + 500 * 100, 500 * 100));
    assert_eq!((sum(Line::reserved), sum(Line::open)), (250_000, 0));
    let first = &all[2];
    assert_eq!(
        (first.state(), first.bounds(), first.row.target.as_deref()),
        (EntryKind::Settled, (7, 7), Some("us.model"))
    );
    assert_eq!((first.row.region.as_deref(), first.row.tier.as_deref()), (Some("us-east-1"), Some("standard")));
}

/// A range is looked up, not searched for; ids that were minted at another time than the reservation, as
/// after a clock was put right, are found within a day.
#[tokio::test]
async fn a_range_is_looked_up() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = ledger(folder.path(), None);
    // Ids are of today.
    let now = u64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap();
    for minutes in [0, 10, 20, 30] {
        let reservation = reservation("key", 100, now - minutes * 60_000);
        ledger.open(&reservation).await.unwrap();
        ledger.end(reservation.key, settled(7));
    }
    drop(ledger);
    let ms = |minutes: u64| i64::try_from(now - minutes * 60_000).unwrap();
    let found = |since, until| lines(folder.path(), Range { since_ms: since, until_ms: until }).len();
    while found(i64::MIN, i64::MAX) < 4 {}
    assert_eq!(
        (found(ms(20), i64::MAX), found(i64::MIN, ms(20)), found(ms(20), ms(10)), found(ms(9), ms(1))),
        (3, 1, 1, 0)
    );

    let connection = rusqlite::Connection::open(folder.path().join(FILE)).unwrap();
    let plan = |query: &str, parameters: usize| {
        let mut plan = connection.prepare(&format!("EXPLAIN QUERY PLAN {query}")).unwrap();
        for parameter in 1..=parameters {
            plan.raw_bind_parameter(parameter, 1).unwrap();
        }
        let mut rows = plan.raw_query();
        let mut steps = Vec::new();
        while let Some(row) = rows.next().unwrap() {
            steps.push(row.get::<_, String>(3).unwrap());
        }
        steps
    };
    let attempts = plan(super::super::lines::ATTEMPTS, 4);
    assert!(attempts.iter().all(|step| step.starts_with("SEARCH") && step.contains("journal_row (")), "{attempts:?}");
    let loose = plan(super::super::lines::LOOSE, 2);
    assert!(loose.iter().all(|step| step.contains("journal_loose")), "{loose:?}");
}

fn correction(day: u32, caller: &str, replaced: u64, amount: u64) -> Correction {
    let tuple = TupleKey { day, caller: caller.into(), model: "model".into() };
    Correction { tuple, team: Some("team".into()), replaced, amount, why: "bill 1234".to_owned() }
}

fn rows(folder: &Path) -> u64 {
    reader(folder).verify().unwrap().rows
}

#[tokio::test]
async fn a_correction_is_appended_and_whole() {
    let folder = tempfile::tempdir().unwrap();
    filled(folder.path()).await;
    let before = rows(folder.path());
    // Where nothing is to be corrected, nothing is written.
    Corrector::open(folder.path(), NOON).unwrap().commit(&[], NOON).unwrap();
    assert_eq!(rows(folder.path()), before);
    let of = |day, caller: &str| {
        let lines = lines(folder.path(), Range::ALL);
        let own =
            lines.iter().filter(|line| line.row.tuple.as_ref().is_some_and(|t| t.day == day && &*t.caller == caller));
        let (charged, estimated) = own.fold((0, 0), |sum, line| (sum.0 + line.charged(), sum.1 + line.estimated()));
        (charged.unsigned_abs(), estimated.unsigned_abs())
    };
    let (charged, estimated) = of(20_000, "a");
    assert!(estimated > 0);
    let corrections = [correction(20_000, "a", estimated, 55)];
    Corrector::open(folder.path(), NOON).unwrap().commit(&corrections, NOON).unwrap();
    assert_eq!(of(20_000, "a"), (charged - estimated + 55, 0));
    // Opened, corrected, closed; all in the chain.
    assert_eq!(rows(folder.path()), before + 3);
    let day = reader(folder.path()).days().unwrap().into_iter().find(|sum| sum.tuple.day == 20_000).unwrap();
    assert_eq!((day.charged, day.estimated), (charged - estimated + 55, 0));
    // The same again is refused, as is one of another sum, and changes nothing.
    let sound = |corrections: &[Correction]| Corrector::open(folder.path(), NOON).unwrap().commit(corrections, NOON);
    let before = reader(folder.path()).totals().unwrap();
    for wrong in [correction(20_000, "a", estimated, 55), correction(20_001, "a", 1, 1), correction(9, "a", 0, 0)] {
        let refused = sound(&[correction(20_001, "b", of(20_001, "b").1, 0), wrong]).err().unwrap().to_string();
        assert!(refused.contains("are not those of its rows"), "{refused}");
        assert_eq!(reader(folder.path()).totals().unwrap(), before);
    }
    // A gateway goes on, with the corrected sum.
    let ledger = ledger(folder.path(), None);
    let refused = Corrector::open(folder.path(), NOON).err().unwrap().to_string();
    assert!(refused.contains("a gateway that runs keeps its ledger here"), "{refused}");
    assert_eq!(ledger.totals().charged, before.charged);
    drop(ledger);
    let none = tempfile::tempdir().unwrap();
    assert!(Corrector::open(none.path(), NOON).is_err());
    assert!(std::fs::read_dir(none.path()).unwrap().next().is_none());
}

/// What a gateway left that did not end is recovered before anything is corrected: else its estimates would
/// come after the correction that was to be of all.
#[tokio::test]
async fn what_was_left_open_is_recovered_first() {
    let folder = tempfile::tempdir().unwrap();
    let mut gateway = Gateway::start(folder.path(), None);
    gateway.ask("key", 100, 20_000);
    gateway.round();
    gateway.round();
    drop(gateway);
    let corrector = Corrector::open(folder.path(), NOON).unwrap();
    let found = lines(folder.path(), Range::ALL);
    let estimated: i64 = found.iter().map(Line::estimated).sum();
    let loose = found.iter().find(|line| line.row.key.is_none()).unwrap();
    // It was found on a later day than it was spent.
    assert_eq!((loose.state(), loose.at_ms()), (EntryKind::Unidentified, i64::try_from(NOON).unwrap()));
    corrector.commit(&[correction(20_000, "key", estimated.unsigned_abs(), 3)], NOON).unwrap();
    let totals = reader(folder.path()).verify().unwrap().totals;
    assert_eq!((totals.charged, totals.estimated, totals.open), (3, 0, 0));
}
