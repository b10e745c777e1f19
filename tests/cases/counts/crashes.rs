//! The gateway is lost under load, again and again: killed, or with the power. After the restart the
//! ledger is whole, nothing is left open, and it covers the bill, attempt by attempt.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use kairos_disk::{Dice, VARIABLE};
use kairos_tests::audit::{Audit, Found};
use kairos_tests::http::{Client, requests};
use kairos_tests::process::{Pair, Server, Setup, binary};
use kairos_tests::{count, policy};
use tokio::task::JoinHandle;

/// Part of every message: what a failure is repeated with.
const SEED: u64 = 0x2545_f491_4f6c_dd1d;

/// The gateway on a disk that loses power.
const POWER: &str = env!("CARGO_BIN_EXE_kairos-power");

/// Some answers take a while, so that requests are under way whenever the gateway is lost.
fn setup<'a>() -> Setup<'a> {
    Setup {
        policy: Some(policy("task.rhai")),
        simulate: &["--speed", "anthropic.claude-sonnet-4-6=10,2000"],
        ..Setup::default()
    }
}

/// Callers that ask until the gateway is gone.
struct Load {
    callers: Vec<JoinHandle<()>>,
    answers: Arc<AtomicUsize>,
}

impl Load {
    fn start(gateway: &str) -> Self {
        let answers = Arc::new(AtomicUsize::new(0));
        let callers = (0..16).map(|caller: usize| {
            let (all, answers) = (requests(gateway), Arc::clone(&answers));
            tokio::spawn(async move {
                let client = Client::default();
                for place in caller.. {
                    let (url, body) = &all[place % all.len()];
                    if client.try_post(url, body).await.is_none() {
                        return;
                    }
                    answers.fetch_add(1, Ordering::Relaxed);
                }
            })
        });
        Self { callers: callers.collect(), answers }
    }

    /// Waits for so many answers, or until the gateway is gone.
    async fn answers(&self, wanted: u64) {
        let gone = || self.callers.iter().any(JoinHandle::is_finished);
        while (self.answers.load(Ordering::Relaxed) as u64) < wanted && !gone() {
            tokio::task::yield_now().await;
        }
    }

    async fn end(self) {
        for caller in self.callers {
            caller.await.unwrap();
        }
    }
}

fn data(pair: &Pair) -> PathBuf {
    pair.folder().join("data")
}

/// Holds the ledger against the bill.
async fn check(audit: &mut Audit, pair: &Pair, label: &str) -> Found {
    audit.read_bill(&pair.simulator.url).await;
    audit.check(&data(pair)).unwrap_or_else(|why| panic!("seed {SEED:#x}, {label}: {why}"))
}

fn said(found: Found) -> String {
    let Found { billed, estimated, without_row } = found;
    format!("{billed} attempts billed; covered by an estimate {estimated}, by an unidentified row {without_row}")
}

/// kill -9 at any point under load.
#[tokio::test(flavor = "multi_thread")]
async fn no_kill_puts_the_ledger_below_the_bill() {
    let kills = count("kill -9 of the gateway under load", 100);
    let setup = setup();
    let mut pair = setup.start();
    let (mut dice, mut audit, mut found) = (Dice::new(SEED), Audit::default(), Found::default());
    for kill in 1..=kills.times() {
        let load = Load::start(&pair.gateway.url);
        load.answers(dice.below(120)).await;
        pair.gateway.kill();
        load.end().await;
        pair.gateway = setup.gateway(&pair.simulator.url, pair.folder());
        found = check(&mut audit, &pair, &format!("kill {kill}")).await;
    }
    assert!(found.billed > 0 && found.estimated + found.without_row > 0, "nothing was under way: {found:?}");
    kills.passed(&said(found));
}

/// When the power goes.
enum Moment {
    /// At this step after the start: within the start itself, or under load.
    Step(u64),
    /// At this step on the database's own file, when the gateway is told to stop under load: within the
    /// checkpoint of the end.
    Stop(u64),
}

impl Moment {
    fn of(round: usize, dice: &mut Dice) -> Self {
        match round % 4 {
            0 | 2 => Self::Step(60 + dice.below(1_200)),
            1 => Self::Stop(1 + dice.below(8)),
            _ => Self::Step(1 + dice.below(60)),
        }
    }

    fn disk(&self, seed: u64) -> String {
        match self {
            Self::Step(step) => format!("seed={seed} cut={step}"),
            Self::Stop(step) => format!("seed={seed} cut-database={step}"),
        }
    }
}

fn power_command(setup: &Setup<'_>, pair: &Pair, disk: &str) -> Command {
    let mut command = setup.command(Path::new(POWER), &pair.simulator.url, pair.folder());
    command.env(VARIABLE, disk);
    command
}

/// Runs a gateway under load on a disk until the power goes. What it said of that; nothing where it
/// ended in another way.
async fn until_the_power_goes(setup: &Setup<'_>, pair: &Pair, moment: &Moment, disk: &str, dice: &mut Dice) -> String {
    let gateway = match Server::try_start(&mut power_command(setup, pair, disk)) {
        Ok(gateway) => gateway,
        // The power went within the start.
        Err(said) => return said,
    };
    let load = Load::start(&gateway.url);
    if let Moment::Stop(_) = moment {
        load.answers(20 + dice.below(60)).await;
        gateway.terminate();
    }
    load.end().await;
    gateway.wait().1.concat()
}

/// The power goes at any step of the disk, also within starting, recovery and stopping.
#[tokio::test(flavor = "multi_thread")]
async fn no_power_cut_puts_the_ledger_below_the_bill() {
    let cuts = count("power cuts under load", 20);
    // Each kind of moment is met at least once.
    let times = cuts.times().max(4);
    let setup = setup();
    let mut pair = setup.start();
    let (mut dice, mut audit, mut found) = (Dice::new(SEED), Audit::default(), Found::default());
    for round in 0..times {
        pair.gateway.kill();
        // A moment that did not come is tried again, by another seed.
        let (disk, said) = loop {
            let moment = Moment::of(round, &mut dice);
            let disk = moment.disk(dice.below(u64::MAX));
            let said = until_the_power_goes(&setup, &pair, &moment, &disk, &mut dice).await;
            if said.contains("the power is cut at step") {
                break (disk, said);
            }
            assert!(matches!(moment, Moment::Stop(_)), "{disk}: {said}");
        };
        let restarted = Server::try_start(&mut setup.command(&binary(), &pair.simulator.url, pair.folder()));
        pair.gateway = restarted.unwrap_or_else(|why| panic!("{disk}: {why}; before: {said}"));
        found = check(&mut audit, &pair, &disk).await;
    }
    assert!(found.billed > 0 && found.estimated + found.without_row > 0, "nothing was under way: {found:?}");
    cuts.passed(&said(found));
}

/// The test above can fail: on a disk that ignores syncs, it does.
#[tokio::test(flavor = "multi_thread")]
async fn a_power_cut_on_a_disk_that_lies_shows() {
    let setup = setup();
    let mut dice = Dice::new(SEED);
    // What is not synced may be on the disk all the same: not every time.
    for _ in 0..10 {
        let mut pair = setup.start();
        pair.gateway.kill();
        let moment = Moment::Step(400);
        let disk = format!("{} syncs=ignored", moment.disk(dice.below(u64::MAX)));
        let said = until_the_power_goes(&setup, &pair, &moment, &disk, &mut dice).await;
        assert!(said.contains("the power is cut at step"), "{said}");
        let mut audit = Audit::default();
        audit.read_bill(&pair.simulator.url).await;
        let whole = match Server::try_start(&mut setup.command(&binary(), &pair.simulator.url, pair.folder())) {
            Ok(_gateway) => audit.check(&data(&pair)).map(|_| ()),
            Err(why) => Err(why),
        };
        if whole.is_err() {
            return;
        }
    }
    panic!("the ledger covers the bill, though the disk kept next to nothing");
}
