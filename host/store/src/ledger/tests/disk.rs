//! The ledger on a disk that loses power, and on one that fails.

use kairos_disk::{Dice, Disk, Fault, Lasting, Steps};

use super::*;

/// What Bedrock billed, attempt by attempt.
#[derive(Default)]
struct Bill {
    costs: HashMap<AttemptKey, u64>,
}

impl Bill {
    fn total(&self) -> u128 {
        self.costs.values().map(|cost| u128::from(*cost)).sum()
    }

    /// Whether the ledger covers it: as a whole, each attempt within its row, and what has no row within
    /// what nobody is named for.
    fn is_covered_by(&self, folder: &Path) -> Result<(), String> {
        let verified = reader(folder).verify().map_err(|error| error.to_string())?;
        if verified.open > 0 || verified.totals.charged < self.total() {
            return Err(format!("billed {}, but {verified:?}", self.total()));
        }
        let mut without_row = 0;
        let reader = reader(folder);
        for (key, cost) in &self.costs {
            let rows = reader.request(key.request).map_err(|error| error.to_string())?;
            match rows.iter().find(|(_, row)| row.kind.is_ending()) {
                Some((_, row)) if row.low.unsigned_abs() <= *cost && *cost <= row.high.unsigned_abs() => {}
                Some((_, row)) => return Err(format!("billed {cost}, but {row:?}")),
                None => without_row += cost,
            }
        }
        let connection = rusqlite::Connection::open(folder.join(FILE)).unwrap();
        let unidentified = "SELECT coalesce(sum(high), 0) FROM journal WHERE kind = 'unidentified'";
        let unidentified: i64 = connection.query_row(unidentified, [], |row| row.get(0)).unwrap();
        if unidentified.unsigned_abs() < without_row {
            return Err(format!("{without_row} without rows, {unidentified} unidentified"));
        }
        Ok(())
    }
}

/// Who keeps a ledger on a disk.
struct Operator<'a> {
    folder: &'a Path,
    disk: &'a Disk,
    dice: Dice,
    bill: Bill,
    /// Commits and starts that failed.
    failures: usize,
}

impl<'a> Operator<'a> {
    fn new(folder: &'a Path, disk: &'a Disk, seed: u64) -> Self {
        Self { folder, disk, dice: Dice::new(seed), bill: Bill::default(), failures: 0 }
    }

    /// Two days of a gateway, each with an orderly end. Stops where the power goes.
    fn work(&mut self) {
        for _ in 0..2 {
            let Some(mut gateway) = self.start() else { return };
            for _ in 0..8 {
                let caller = format!("caller-{}", self.dice.below(2));
                gateway.ask(&caller, 1 + self.dice.below(2_000), 20_000);
                for _ in 0..self.dice.below(3) {
                    self.round(&mut gateway);
                }
                if self.dice.one_in(2) {
                    self.end_one(&mut gateway);
                }
                if self.dice.one_in(8) {
                    gateway.idle();
                }
                if self.disk.is_off() {
                    break;
                }
            }
            while !self.disk.is_off() && self.end_one(&mut gateway) {}
            gateway.shared.lock().close("the gateway is stopping");
            self.round(&mut gateway);
            if !self.disk.is_off() {
                gateway.writer.close();
            }
            // What was under way when the power went may have cost all that it could.
            for (key, worst) in gateway.under_way.drain() {
                self.bill.costs.insert(key, worst);
            }
        }
    }

    /// Starts a gateway, as often as it takes; none once the power is off.
    fn start(&mut self) -> Option<Gateway> {
        loop {
            match Gateway::try_start(self.folder, Some(20_000)) {
                Ok(gateway) => return Some(gateway),
                Err(_) if self.disk.is_off() => return None,
                Err(error) => self.failed(&error.to_string()),
            }
        }
    }

    /// Commits, as often as it takes.
    fn round(&mut self, gateway: &mut Gateway) {
        while !gateway.round() && !self.disk.is_off() {
            let why = gateway.shared.lock().failing.clone();
            self.failed(&why.unwrap());
        }
    }

    fn failed(&mut self, why: &str) {
        self.failures += 1;
        assert!(self.failures < 10, "it does not recover: {why}");
        if self.failures == 3 {
            self.disk.mend();
        }
    }

    /// Ends an attempt that is under way, if there is one: it cost something, and the gateway is told.
    fn end_one(&mut self, gateway: &mut Gateway) -> bool {
        let mut keys: Vec<_> = gateway.under_way.keys().copied().collect();
        keys.sort_by_key(ToString::to_string);
        let Some(key) = keys.first() else { return false };
        let worst = gateway.under_way.remove(key).unwrap();
        let cost = self.dice.below(worst + 1);
        gateway.shared.lock().end(*key, &settled(cost), NOON, gateway.second);
        self.bill.costs.insert(*key, cost);
        true
    }
}

/// Cuts the power at every other step of a run, and at one of the recovery that follows. Gives how many
/// cuts there were, and after which of them the ledger was below the bill.
fn power_cuts(seed: u64, heeds_syncs: bool) -> (usize, Vec<String>) {
    let mut wrong = Vec::new();
    for (cuts, step) in (seed..).step_by(2).enumerate() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::insert(folder.path(), seed ^ (step << 16));
        if !heeds_syncs {
            disk.ignore_syncs();
        }
        disk.cut_at(step, Steps::Any);
        let mut operator = Operator::new(folder.path(), &disk, seed);
        operator.work();
        if !disk.is_off() {
            return (cuts, wrong);
        }
        disk.restart();
        disk.cut_at(1 + operator.dice.below(40), Steps::Any);
        drop(Gateway::try_start(folder.path(), None));
        disk.restart();
        let covered = match Gateway::try_start(folder.path(), None) {
            Ok(_) => operator.bill.is_covered_by(folder.path()),
            Err(error) => Err(error.to_string()),
        };
        if let Err(why) = covered {
            wrong.push(format!("seed {seed}, step {step}: {why}"));
        }
    }
    unreachable!("a run has an end")
}

#[test]
fn no_power_cut_puts_the_ledger_below_the_bill() {
    for seed in 1..=2 {
        let (cuts, wrong) = power_cuts(seed, true);
        assert!(cuts > 50 && wrong.is_empty(), "{cuts} cuts: {wrong:#?}");
    }
}

/// The test above can fail: where syncs do nothing, it does.
#[test]
fn without_syncs_a_power_cut_shows() {
    let (cuts, wrong) = power_cuts(1, false);
    assert!(wrong.len() > cuts / 2, "{cuts} cuts: {wrong:#?}");
}

/// Whatever fails, and at whichever step: once it does not, everything goes on by itself, and nothing is
/// missing or there twice. If the power goes instead, the bill is covered.
fn failures(fault: Fault) {
    for lasting in [Lasting::Once, Lasting::UntilMended] {
        for power_goes in [false, true] {
            let mut met = 0;
            for step in (1..).step_by(if power_goes { 5 } else { 2 }) {
                let folder = tempfile::tempdir().unwrap();
                let disk = Disk::insert(folder.path(), step);
                disk.fail_at(step, fault, lasting.clone());
                let mut operator = Operator::new(folder.path(), &disk, 7);
                if power_goes {
                    disk.cut_at(step + operator.dice.below(12), Steps::Any);
                }
                operator.work();
                met += operator.failures;
                if disk.steps() < step {
                    break;
                }
                let cut = disk.is_off();
                disk.mend();
                disk.restart();
                let label = format!("{fault:?} {lasting:?} at step {step}, power goes: {power_goes}");
                drop(Gateway::try_start(folder.path(), None).unwrap_or_else(|error| panic!("{label}: {error}")));
                operator.bill.is_covered_by(folder.path()).unwrap_or_else(|why| panic!("{label}: {why}"));
                if !cut {
                    let totals = reader(folder.path()).verify().unwrap().totals;
                    assert_eq!((totals.charged, totals.estimated), (operator.bill.total(), 0), "{label}");
                }
            }
            assert!(met > 10, "{fault:?} failed {met} times");
        }
    }
}

#[test]
fn a_full_disk_loses_nothing() {
    failures(Fault::Full);
}

#[test]
fn writes_that_fail_lose_nothing() {
    failures(Fault::Write);
}

#[test]
fn syncs_that_fail_lose_nothing() {
    failures(Fault::Sync);
}

/// While nothing can be committed, nothing is granted that no lease covers, and who asks is told why.
#[tokio::test]
async fn nothing_is_granted_that_cannot_be_committed() {
    for (fault, says) in
        [(Fault::Full, "database or disk is full"), (Fault::Write, "disk I/O error"), (Fault::Sync, "disk I/O error")]
    {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::insert(folder.path(), 1);
        let ledger = ledger(folder.path(), None);
        ledger.open(&reservation("known", 100, NOON)).await.unwrap();
        disk.fail_at(1, fault, Lasting::UntilMended);
        let refused = ledger.open(&reservation("stranger", 100, NOON)).await;
        assert!(matches!(&refused, Err(ReserveError::Unavailable(why)) if why.contains(says)), "{refused:?}");
        assert!(ledger.failing().is_some_and(|why| why.contains(says)));
        disk.mend();
        // By itself: no restart.
        while ledger.open(&reservation("stranger", 100, NOON)).await.is_err() {
            tokio::task::yield_now().await;
        }
        assert_eq!(ledger.failing(), None);
    }
}

/// A database that cannot be written to is refused at the start, and says which.
#[test]
fn a_read_only_ledger_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    drop(ledger(folder.path(), None));
    let disk = Disk::insert(folder.path(), 1);
    disk.fail_at(0, Fault::ReadOnly, Lasting::UntilMended);
    let refused = SqliteLedger::open(folder.path(), &[], clock(NOON));
    let says = refused.err().unwrap().to_string();
    assert!(says.contains("readonly"), "{says}");
}
