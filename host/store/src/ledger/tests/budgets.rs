//! Budgets: no limit is passed, whatever happens; and what is spent is known again.

use kairos_pipeline::budget::{Counting, Over, Status};

use super::*;
use crate::ledger::budgets::MOST_PARTS;

/// A budget. `counting` is as the ledger's own text of it.
pub(super) fn rule(name: &str, limit: u64, counting: &str) -> Arc<Rule> {
    let counting: Counting = serde_json::from_str(counting).unwrap();
    let (limit, alerts) = (Some(Picodollars(limit)), vec![Picodollars(limit / 2)]);
    Arc::new(Rule { name: name.into(), counting, limit, alerts, over: Over::Refuse })
}

fn of(caller: &str, team: Option<&str>, tag: &str, worst: u64, at_ms: u64) -> Reservation {
    let tags = Arc::from([("env".to_owned(), tag.to_owned())]);
    Reservation { team: team.map(Arc::from), tags, ..reservation(caller, worst, at_ms) }
}

const DAY: &str = r#""calendar":{"period":"day","zone":"UTC"}"#;

fn some_rules() -> Vec<Arc<Rule>> {
    vec![
        rule("all", 1_000, &format!("{{{DAY}}}")),
        rule("team-a", 500, &format!(r#"{{"team":"a",{DAY}}}"#)),
        rule("prod", 300, &format!(r#"{{"tag":["env","prod"],{DAY}}}"#)),
        rule("key", 400, r#"{"key":"k","calendar":{"period":"hour","zone":"UTC"}}"#),
    ]
}

async fn open(ledger: &SqliteLedger, reservation: &Reservation) -> Result<AttemptKey, String> {
    match ledger.open(reservation).await {
        Ok(()) => Ok(reservation.key),
        Err(ReserveError::Limit(reached)) => {
            assert!(reached.charged.0 + reached.open.0 + reached.worst.0 > reached.limit.0, "{reached:?}");
            Err(reached.budget.to_string())
        }
        Err(other) => panic!("{other}"),
    }
}

pub(super) fn stop(ledger: SqliteLedger) {
    ledger.close();
    assert_eq!(ledger.finish(Duration::from_secs(60)), Ended::Closed);
    drop(ledger);
}

fn spent(ledger: &SqliteLedger) -> Vec<(String, u64, u64)> {
    let told = |status: Status| (status.rule.name.to_string(), status.charged, status.open);
    ledger.budgets(100, |_| true).into_iter().map(told).collect()
}

#[tokio::test]
async fn a_request_is_held_against_every_budget_that_covers_it() {
    let folder = tempfile::tempdir().unwrap();
    let at = |rules: &[Arc<Rule>]| SqliteLedger::open(folder.path(), rules, clock(NOON)).unwrap();
    let ledger = at(&some_rules());
    let prod = open(&ledger, &of("k", Some("a"), "prod", 250, NOON)).await.unwrap();
    assert_eq!(open(&ledger, &of("k", Some("a"), "prod", 51, NOON)).await, Err("prod".to_owned()));
    // Nothing of what was refused is left anywhere.
    let mut test = open(&ledger, &of("k", Some("a"), "test", 150, NOON)).await;
    assert_eq!(open(&ledger, &of("k", Some("b"), "test", 1, NOON)).await, Err("key".to_owned()));
    // Of two that have no room, the one is named that has none for longer.
    assert_eq!(open(&ledger, &of("k", Some("a"), "test", 101, NOON)).await, Err("team-a".to_owned()));
    ledger.end(prod, settled(200));
    ledger.end(std::mem::replace(&mut test, Err(String::new())).unwrap(), Ending::Voided { why: "never sent" });
    let other = open(&ledger, &of("other", None, "prod", 100, NOON)).await.unwrap();
    let now = |spent: [u64; 4], open: [u64; 4]| -> Vec<_> {
        let names = ["all", "team-a", "prod", "key"].into_iter().zip(spent.into_iter().zip(open));
        names.map(|(name, (spent, open))| (name.to_owned(), spent, open)).collect()
    };
    assert_eq!(spent(&ledger), now([200, 200, 200, 200], [100, 0, 100, 0]));
    let left = ledger.budget(&Spender { key: "k", team: Some("a"), tags: &[] }, NOON).unwrap();
    // 300 of the team's, 200 of the key's; three of them cover it.
    assert_eq!((left.remaining.0, left.used, left.level, left.degraded), (200, 0.5, 1, None));
    ledger.end(other, settled(100));
    stop(ledger);

    // What was spent is known again; of a budget that is new, or counts otherwise, too.
    let mut rules = some_rules();
    rules[2] = rule("prod", 300, r#"{"tag":["env","prod"],"rolling":{"seconds":3600}}"#);
    rules.push(rule("model", 9, &format!(r#"{{"model":"model","key":"other",{DAY}}}"#)));
    // Two that count alike: what is spent is counted once.
    rules.push(rule("all-again", 2_000, &format!("{{{DAY}}}")));
    for _ in 0..2 {
        let ledger = at(&rules);
        let names = ["all", "team-a", "prod", "key", "model", "all-again"];
        let sums: Vec<_> = names.into_iter().zip([300, 200, 300, 200, 100, 300]).collect();
        assert_eq!(spent(&ledger), sums.into_iter().map(|(name, sum)| (name.to_owned(), sum, 0)).collect::<Vec<_>>());
        assert_eq!(open(&ledger, &of("other", None, "prod", 1, NOON)).await, Err("model".to_owned()));
        stop(ledger);
    }
    reader(folder.path()).verify().unwrap();
    let other = rusqlite::Connection::open(folder.path().join(FILE)).unwrap();
    other.execute("UPDATE budget_spent SET charged = charged - 1 WHERE budget LIKE '%team%'", []).unwrap();
    let damaged = reader(folder.path()).verify().unwrap_err().to_string();
    assert!(damaged.contains(r#"what is spent of the budget {"team":"a","#), "{damaged}");
}

/// What was drawn and whose row is lost counts against every budget that it may belong to.
#[test]
fn what_has_no_row_counts_wherever_it_may_belong() {
    let folder = tempfile::tempdir().unwrap();
    let mut rules = some_rules();
    rules.push(rule("other", 900, &format!(r#"{{"key":"other",{DAY}}}"#)));
    let mut gateway = Gateway::of(folder.path(), &rules, NOON).unwrap();
    gateway.ask_for(of("k", Some("a"), "prod", 100, NOON));
    gateway.round();
    gateway.round();
    // Drawn on the lease, and sent: the row is still to be written when all is lost.
    gateway.ask_for(of("k", Some("a"), "prod", 50, NOON));
    assert_eq!(gateway.under_way.len(), 2);
    drop(gateway);
    // The day is over by then: what was drawn on it counts in its last hour.
    let gateway = Gateway::of(folder.path(), &rules, NOON + DAY_MS).unwrap();
    let spent = |scope: usize, at_ms: u64| gateway.shared.lock().scopes.sums(scope, at_ms).0;
    let day_ends = NOON + DAY_MS / 2 - 1;
    for (budget, day) in [("all", 0), ("team-a", 1), ("prod", 2)] {
        assert_eq!(spent(day, NOON), 300, "{budget}");
    }
    assert_eq!((spent(3, day_ends), spent(4, NOON)), (200, 0));
    drop(gateway);
    reader(folder.path()).verify().unwrap();
}

/// A key's own budget holds from the moment it is made, and is known after a restart.
#[tokio::test]
async fn a_budget_can_be_added() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = SqliteLedger::open(folder.path(), &[], clock(NOON)).unwrap();
    let own = rule("key:k", 400, &format!(r#"{{"key":"k",{DAY}}}"#));
    ledger.add_budget(Arc::clone(&own));
    let key = open(&ledger, &of("k", None, "x", 399, NOON)).await.unwrap();
    ledger.end(key, settled(399));
    assert_eq!(open(&ledger, &of("k", None, "x", 2, NOON)).await, Err("key:k".to_owned()));
    open(&ledger, &of("other", None, "x", 2, NOON)).await.unwrap();
    drop(ledger);
    let ledger = SqliteLedger::open(folder.path(), &[own], clock(NOON)).unwrap();
    assert_eq!(open(&ledger, &of("k", None, "x", 2, NOON)).await, Err("key:k".to_owned()));
}

/// What a refusal says of when there is room is true: then there is, and a step before there is not.
#[tokio::test]
async fn a_window_that_rolls_gives_room_when_it_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let rules = [rule("hour", 100, r#"{"rolling":{"seconds":3600}}"#)];
    let ledger = SqliteLedger::open(folder.path(), &rules, clock(NOON)).unwrap();
    let minute = 60_000;
    for (at_ms, cost) in [(NOON, 30), (NOON + 10 * minute, 40), (NOON + 20 * minute + 1, 25)] {
        let key = open(&ledger, &of("k", None, "x", cost, at_ms)).await.unwrap();
        ledger.end(key, settled(cost));
    }
    let at_ms = NOON + 30 * minute;
    let refused = |worst: u64, at_ms: u64| {
        let (ledger, asked) = (&ledger, of("k", None, "x", worst, at_ms));
        async move {
            match ledger.open(&asked).await {
                Err(ReserveError::Limit(reached)) => Some(reached.resets_ms),
                Ok(()) => {
                    ledger.end(asked.key, Ending::Voided { why: "never sent" });
                    None
                }
                Err(other) => panic!("{other}"),
            }
        }
    };
    // 95 are spent. The first minute is out of the window once an hour has gone by since its end.
    assert_eq!(refused(5, at_ms).await, None);
    assert_eq!(refused(6, at_ms).await, Some(Some(31 * minute)));
    assert_eq!(refused(36, at_ms).await, Some(Some(41 * minute)));
    assert_eq!(refused(100, at_ms).await, Some(Some(51 * minute)));
    assert_eq!(refused(101, at_ms).await, Some(None));
    for (worst, after) in [(6, 31), (36, 41), (100, 51)] {
        assert!(refused(worst, at_ms + after * minute - 1).await.is_some(), "{worst}");
        assert_eq!(refused(worst, at_ms + after * minute).await, None, "{worst}");
    }
    // A clock that goes back finds what was spent after it.
    assert!(refused(31, NOON - 120 * minute).await.is_some());
}

/// A clock that is ahead for a moment, while somebody looks, does not empty a window that rolls.
#[test]
fn a_window_that_rolls_outlives_a_clock_that_jumps() {
    let mut scopes = scopes::Scopes::new([(rule("hour", 100, r#"{"rolling":{"seconds":3600}}"#), Vec::new())]);
    for (worst, at_ms) in [(90, NOON), (5, NOON + 120_000)] {
        let counts = scopes.covering(&of("k", None, "x", worst, at_ms));
        scopes.reserve(&counts, worst, 1);
        scopes.settle(&counts, worst, worst, 1);
    }
    scopes.statuses(0, 1, NOON + 3 * 3_600_000, |_| true);
    scopes.forget(600);
    assert_eq!(scopes.sums(0, NOON + 120_000), (95, 0));
    // Once nothing has changed for as long by the other clock, too, it goes.
    scopes.forget(3 * 3_600);
    assert_eq!(scopes.sums(0, NOON + 120_000), (0, 0));
}

/// More thresholds than are kept are counted.
#[test]
fn thresholds_that_are_too_many_are_counted() {
    let mut scopes = scopes::Scopes::new([(rule("day", 100, &format!("{{{DAY}}}")), Vec::new())]);
    let most = scopes::MOST_CROSSED as u64;
    for day in 0..most + 3 {
        let counts = scopes.covering(&of("k", None, "x", 60, day * DAY_MS));
        scopes.reserve(&counts, 60, 1);
        scopes.settle(&counts, 60, 60, 1);
    }
    let (crossed, missed) = scopes.take_crossed();
    assert_eq!((crossed.len() as u64, missed, scopes.take_crossed().1), (most, 3, 0));
}

/// A budget that is new, at a start whose clock is ahead, counts what was spent all the same.
#[tokio::test]
async fn a_budget_that_begins_by_a_wrong_clock_counts_what_was_spent() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = SqliteLedger::open(folder.path(), &[], clock(NOON)).unwrap();
    let key = open(&ledger, &of("k", None, "x", 300, NOON)).await.unwrap();
    ledger.end(key, settled(300));
    stop(ledger);
    let rules = [rule("month", 400, r#"{"calendar":{"period":"month","zone":"UTC"}}"#)];
    for at_ms in [NOON + 90 * DAY_MS, NOON] {
        let ledger = SqliteLedger::open(folder.path(), &rules, clock(at_ms)).unwrap();
        let refused = open(&ledger, &of("k", None, "x", 101, NOON)).await;
        assert_eq!(refused, Err("month".to_owned()), "at {at_ms}");
        stop(ledger);
    }
}

/// Sums that are too old go, and are not missed; of those that are kept each is.
#[test]
fn sums_that_are_kept_are_missed_and_old_ones_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let rules = [rule("minute", 1 << 40, r#"{"calendar":{"period":"minute","zone":"UTC"}}"#)];
    let mut gateway = Gateway::of(folder.path(), &rules, NOON).unwrap();
    let minutes = 2 * u64::try_from(MOST_PARTS).unwrap() + 2_000;
    // A minute of every two has a row, so that days begin that let go of the oldest.
    for minute in (0..minutes).step_by(2) {
        gateway.ask_for(of("k", None, "x", 3, NOON + minute * 60_000));
        if gateway.under_way.is_empty() || minute % 500 == 0 {
            gateway.round();
        }
        for key in std::mem::take(&mut gateway.under_way).into_keys() {
            gateway.shared.lock().end(key, &settled(3), NOON, gateway.second);
        }
    }
    gateway.round();
    let kept = |sql: &str| -> i64 {
        let ledger = rusqlite::Connection::open(folder.path().join(FILE)).unwrap();
        ledger.query_row(sql, [], |row| row.get(0)).unwrap()
    };
    let (count, parts) = (kept("SELECT count(*) FROM budget_spent"), i64::try_from(MOST_PARTS).unwrap());
    assert!((parts..parts + 1_000).contains(&count), "{count}");
    reader(folder.path()).verify().unwrap();
    let change = |sql: &str| rusqlite::Connection::open(folder.path().join(FILE)).unwrap().execute(sql, []).unwrap();
    change("DELETE FROM budget_spent WHERE start IN (SELECT start FROM budget_spent ORDER BY start LIMIT 1)");
    let found = reader(folder.path()).verify();
    assert_eq!(found.is_ok(), count > parts, "{found:?}");
    change("DELETE FROM budget_spent WHERE start IN (SELECT start FROM budget_spent ORDER BY start DESC LIMIT 1, 1)");
    assert!(reader(folder.path()).verify().is_err());
}

/// Passing a threshold is told once in a period.
#[tokio::test]
async fn thresholds_are_told_when_they_are_passed() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = SqliteLedger::open(folder.path(), &some_rules()[..1], clock(NOON)).unwrap();
    let mut crossed = Vec::new();
    for at_ms in [NOON, NOON + 1, NOON + 2, NOON + DAY_MS] {
        let key = open(&ledger, &of("k", None, "x", 300, at_ms)).await.unwrap();
        assert!(ledger.take_crossed().0.is_empty());
        ledger.end(key, settled(300));
        crossed.extend(ledger.take_crossed().0.into_iter().map(|crossed| (crossed.level, crossed.status.charged)));
    }
    assert_eq!(crossed, [(1, 600)]);
}

#[derive(Clone, Debug)]
enum Step {
    Ask { caller: u8, team: bool, prod: bool, worst: u64 },
    Settle { which: usize, part: u8 },
    Void { which: usize },
    Round,
    Idle,
    Wait { minutes: i64 },
    Stop,
    Crash,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => (0..2u8, any::<bool>(), any::<bool>(), 1..300u64)
            .prop_map(|(caller, team, prod, worst)| Step::Ask { caller, team, prod, worst }),
        4 => (any::<usize>(), 0..=100u8).prop_map(|(which, part)| Step::Settle { which, part }),
        1 => any::<usize>().prop_map(|which| Step::Void { which }),
        4 => Just(Step::Round),
        1 => Just(Step::Idle),
        2 => (-200..2_000i64).prop_map(|minutes| Step::Wait { minutes }),
        1 => Just(Step::Stop),
        1 => Just(Step::Crash),
    ];
    proptest::collection::vec(step, 1..60)
}

/// What was granted, and what of it can be on the bill.
struct Granted {
    reservation: Reservation,
    billed: u64,
}

/// The most that was spent of a budget in any part of its time, by what was granted.
fn most_spent(rule: &Rule, granted: &HashMap<AttemptKey, Granted>) -> u64 {
    let Counting { covers, window } = &rule.counting;
    let covered: Vec<_> = granted
        .values()
        .filter(|one| {
            let Reservation { caller, team, tags, model, .. } = &one.reservation;
            covers.covers(&Spender { key: caller, team: team.as_deref(), tags }, Some(model))
        })
        .map(|one| (i64::try_from(one.reservation.at_ms).unwrap(), one.billed))
        .collect();
    let within = |from: i64, to: i64| {
        covered.iter().filter(|(at, _)| (from..to).contains(at)).map(|(_, billed)| billed).sum::<u64>()
    };
    let spent = covered.iter().map(|(at, _)| match window.lasts_ms() {
        // Any window that ends with a request.
        Some(lasts) => within(at - lasts + 1, at + 1),
        None => {
            let (start, end) = window.part(*at);
            within(start, end)
        }
    });
    spent.max().unwrap_or(0)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    /// The seed's property 8, for budgets of all kinds: whatever is asked, ends, waits or is lost, and wherever
    /// the clock goes, nothing that was granted is on the bill beyond any limit; and the ledger's sums are never
    /// below it.
    #[test]
    fn no_budget_is_passed(steps in steps()) {
        let folder = tempfile::tempdir().unwrap();
        let mut rules = some_rules();
        rules.push(rule("rolling", 700, r#"{"rolling":{"seconds":36000}}"#));
        rules.push(rule("zoned", 600, r#"{"key":"k","calendar":{"period":"day","zone":"Asia/Kolkata"}}"#));
        let (mut now, mut latest, mut crashed) = (NOON, NOON, 0);
        let mut gateway = Gateway::of(folder.path(), &rules, now).unwrap();
        let mut granted: HashMap<AttemptKey, Granted> = HashMap::new();
        let mut asked: HashMap<AttemptKey, Reservation> = HashMap::new();
        for step in steps {
            let keys: Vec<_> = gateway.under_way.keys().copied().collect();
            match step {
                Step::Ask { caller, team, prod, worst } => {
                    let (caller, team) = (["k", "other"][usize::from(caller)], team.then_some("a"));
                    let reservation = of(caller, team, if prod { "prod" } else { "test" }, worst, now);
                    asked.insert(reservation.key, reservation.clone());
                    gateway.ask_for(reservation);
                }
                Step::Settle { which, part } if !keys.is_empty() => {
                    let key = keys[which % keys.len()];
                    let cost = gateway.under_way.remove(&key).unwrap() * u64::from(part) / 100;
                    granted.get_mut(&key).unwrap().billed = cost;
                    gateway.shared.lock().end(key, &settled(cost), now, gateway.second);
                }
                Step::Void { which } if !keys.is_empty() => {
                    let key = keys[which % keys.len()];
                    gateway.under_way.remove(&key).unwrap();
                    granted.remove(&key);
                    gateway.shared.lock().end(key, &Ending::Voided { why: "never sent" }, now, gateway.second);
                }
                Step::Settle { .. } | Step::Void { .. } => {}
                Step::Round => {
                    gateway.round();
                }
                Step::Idle => gateway.idle(),
                // Who waited is gone by then. A clock goes back by a few hours, and not to before a crash: what
                // that lost counts from the restart on.
                Step::Wait { minutes } => {
                    gateway.waiting.clear();
                    latest = latest.max(now);
                    let floor = crashed.max(latest - 500 * 60_000);
                    now = now.saturating_add_signed(minutes * 60_000).max(floor);
                }
                Step::Stop => {
                    gateway.waiting.clear();
                    crashed = now;
                    gateway.shared.lock().close("stop");
                    gateway.round();
                    gateway.writer.close();
                    drop(gateway);
                    gateway = Gateway::of(folder.path(), &rules, now).unwrap();
                }
                Step::Crash => {
                    crashed = now;
                    drop(gateway);
                    gateway = Gateway::of(folder.path(), &rules, now).unwrap();
                }
            }
            for (key, worst) in &gateway.under_way {
                let reservation = &asked[key];
                granted.entry(*key).or_insert_with(|| Granted { reservation: reservation.clone(), billed: *worst });
            }
            for rule in &rules {
                let most = most_spent(rule, &granted);
                prop_assert!(most <= rule.limit.unwrap().0, "{}: {most}", rule.name);
            }
        }
        drop(gateway);
        // What the sums of budgets are is what the rows say, also where they are made from nothing else.
        let statuses = |rules: &[Arc<Rule>]| {
            let gateway = Gateway::of(folder.path(), rules, now).unwrap();
            let statuses = gateway.shared.lock().scopes.statuses(0, 100, now, |_| true);
            statuses.into_iter().map(|status| (status.rule.name.to_string(), status.charged)).collect::<Vec<_>>()
        };
        let known = statuses(&rules);
        statuses(&[]);
        prop_assert_eq!(statuses(&rules), known);
        reader(folder.path()).verify().unwrap();
    }
}
