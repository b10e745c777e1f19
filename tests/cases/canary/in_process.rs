//! The same in process, where requests are many and days go by: what is kept is in memory, and so outlives
//! the host.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use kairos_pipeline::healers::{Backoff, BackoffBounds};
use kairos_pipeline::policy::{self, Arm, Assigned, Policies as _, Went};
use kairos_pipeline::routers;
use kairos_sandbox::canary::{Plan, Report, Rule, Variable, What};
use kairos_sandbox::host::{Clock, PolicyHost};
use kairos_sandbox::slots::{Natives, Slots};
use kairos_sandbox::versions::{Act, By, Known, Roles, ToKeep, Trial, Version, Versions};

use super::super::agreement::loader;
use super::named;

/// What is kept, in memory.
#[derive(Default)]
pub(crate) struct Memory {
    kept: Mutex<Kept>,
    /// Whether nothing can be written.
    is_full: std::sync::atomic::AtomicBool,
}

#[derive(Default)]
struct Kept {
    versions: Vec<(Version, String, &'static str)>,
    roles: std::collections::BTreeMap<&'static str, Roles>,
    trials: Vec<Trial>,
    acts: Vec<String>,
}

impl Versions for Memory {
    fn commit(
        &self,
        act: &Act<'_>,
        roles: &Roles,
        version: Option<ToKeep<'_>>,
        trial: Option<&Trial>,
    ) -> Result<(), String> {
        if self.is_full.load(Ordering::Relaxed) {
            return Err("the disk is full".to_owned());
        }
        let mut kept = self.kept.lock().unwrap();
        kept.acts.push(format!("{} {}", act.by.actor, act.what));
        kept.roles.insert(act.slot, roles.clone());
        if let Some((version, name, engine)) = version {
            kept.versions.push((version.clone(), name.to_owned(), engine));
        }
        drop(kept);
        trial.map_or(Ok(()), |trial| self.keep_trial(trial))
    }

    fn keep_trial(&self, trial: &Trial) -> Result<(), String> {
        let mut kept = self.kept.lock().unwrap();
        kept.trials.retain(|known| known.id != trial.id);
        kept.trials.push(trial.clone());
        Ok(())
    }

    fn trials(&self, slot: &'static str, most: usize) -> Result<Vec<Trial>, String> {
        let kept = self.kept.lock().unwrap();
        Ok(kept.trials.iter().rev().filter(|trial| trial.slot == slot).take(most).cloned().collect())
    }

    fn tries(&self, _: &'static str, digest: &str) -> Result<u64, String> {
        Ok(self.kept.lock().unwrap().trials.iter().filter(|trial| trial.digest == digest).count() as u64)
    }

    fn roles(&self, slot: &'static str) -> Result<Roles, String> {
        Ok(self.kept.lock().unwrap().roles.get(slot).cloned().unwrap_or_default())
    }

    fn version(&self, _: &'static str, digest: &str) -> Result<Option<Version>, String> {
        let kept = self.kept.lock().unwrap();
        Ok(kept.versions.iter().map(|(version, ..)| version).find(|version| version.digest == digest).cloned())
    }

    fn known(&self, _: &'static str, beginning: &str, most: usize) -> Result<Vec<Known>, String> {
        let kept = self.kept.lock().unwrap();
        let known = kept.versions.iter().rev().filter(|(version, ..)| version.digest.starts_with(beginning));
        let known = known.map(|(version, name, engine)| Known {
            digest: version.digest.clone(),
            name: name.clone(),
            engine: (*engine).to_owned(),
            file: version.file.clone(),
            added_ms: 0,
        });
        Ok(known.take(most).collect())
    }
}

/// The slots, that of the router, and the requests that they are told of.
struct World {
    slots: Arc<Slots>,
    host: Arc<PolicyHost>,
    kept: Arc<Memory>,
    now_ms: Arc<AtomicU64>,
    seed: u64,
}

/// How an arm does: its chance to fail, its latency and cost beside the usual, and the chance of a good word.
#[derive(Clone, Copy)]
struct Does(f64, f64, f64, Option<f64>);

const USUAL: Does = Does(0.005, 1.0, 1.0, Some(0.8));

impl World {
    fn start(kept: &Arc<Memory>) -> Self {
        let now_ms = Arc::<AtomicU64>::default();
        let ticks = Arc::clone(&now_ms);
        let clock: Clock = Arc::new(move || ticks.load(Ordering::Relaxed));
        let router = Arc::new(routers::Task::default());
        let natives = Natives { router, healer: Arc::new(Backoff::new(BackoffBounds::default())), guard: None };
        let versions: Arc<dyn Versions> = Arc::clone(kept) as _;
        let learned = Arc::default();
        let slots = Slots::new(loader(), natives, &clock, &versions, (&learned, &clock)).unwrap();
        slots.restore().unwrap();
        let host = Arc::clone(slots.of(policy::World::Router));
        Self { slots, host, kept: Arc::clone(kept), now_ms, seed: 0 }
    }

    fn stage(&self, name: &str) -> String {
        let (text, by) = (named(name, 0), By::admin(None, None));
        let done = self.host.stage("x.rhai", text.into_bytes(), None, None, &by).unwrap();
        done.policy.rsplit_once('@').unwrap().1.to_owned()
    }

    fn try_out(&self, digest: &str, auto: bool) {
        let rule = Rule { hours: 0.0, ..Rule::default() };
        let plan = Plan {
            share: 0.05,
            sticky: None,
            auto,
            metric: "quality".to_owned(),
            tries_before: 0,
            rule,
            loaded_with: Default::default(),
        };
        self.host.try_out(digest, plan, &By::admin(None, None)).unwrap();
    }

    fn chance(&mut self) -> f64 {
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.seed;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }

    /// One request, as the pipeline makes it. Whether there was a canary.
    fn request(&mut self, baseline: Does, canary: Does) -> bool {
        let serving = self.slots.serving();
        let Some(tried) = &serving.canary else { return false };
        let arm = if self.chance() < tried.share { Arm::Canary } else { Arm::Baseline };
        let ticket = self.slots.ticket();
        let assigned = Assigned { experiment: tried.experiment, ticket, arm, share: tried.share, unit: None };
        self.slots.assigned(&assigned);
        let Does(errors, latency, cost, quality) = if arm == Arm::Canary { canary } else { baseline };
        let failed = self.chance() < errors;
        let latency_ms = latency * (100.0 + 200.0 * self.chance());
        let cost = (cost * 1e6 * (1.0 + self.chance())) as u64;
        self.slots.ended(&assigned, Went { failed, latency_ms, cost });
        if let Some(quality) = quality {
            let value = f64::from(u8::from(self.chance() < quality));
            self.host.rated(&assigned, "quality", value);
        }
        self.now_ms.fetch_add(10, Ordering::Relaxed);
        true
    }

    /// So many requests, until there is no canary.
    fn requests(&mut self, most: usize, baseline: Does, canary: Does) {
        for made in 1..=most {
            if !self.request(baseline, canary) {
                break;
            }
            if made % 200 == 0 {
                self.host.settle();
            }
        }
        self.host.settle();
    }

    fn report(&self) -> Report {
        self.host.experiments().swap_remove(0)
    }

    fn serves(&self) -> String {
        self.host.status().policy.split('@').next().unwrap().to_owned()
    }
}

#[test]
fn as_good_and_cheaper_is_promoted_step_by_step_across_restarts() {
    let kept = Arc::<Memory>::default();
    let mut world = World::start(&kept);
    let digest = world.stage("cheaper");
    world.try_out(&digest, true);
    let cheaper = Does(0.005, 1.0, 0.5, Some(0.8));
    world.requests(5_000, USUAL, cheaper);
    let before = world.report();
    assert_eq!((before.verdict.as_ref(), before.share), (None, 0.25), "{before:?}");
    assert_eq!(world.slots.serving().canary.as_ref().map(|canary| canary.share), Some(0.25));
    // The next run goes on where the last one was, without those under way then.
    drop(world);
    let mut world = World::start(&kept);
    world.seed = 5;
    let counts = |report: &Report| report.measures.iter().map(|m| (m.baseline_n, m.canary_n)).collect::<Vec<_>>();
    assert_eq!(counts(&world.report()), counts(&before));
    world.requests(40_000, USUAL, cheaper);
    let report = world.report();
    let verdict = report.verdict.clone().unwrap_or_else(|| panic!("{report:?}"));
    println!("{}", verdict.text);
    assert_eq!((verdict.what, verdict.why.as_str()), (What::Promoted, "it is as good, and costs less"));
    assert_eq!((world.serves().as_str(), world.host.counters().promoted.load(Ordering::Relaxed)), ("cheaper", 1));
    let acts = world.kept.kept.lock().unwrap().acts.join(", ");
    assert_eq!(acts, "admin stage, admin canary, kairos share, kairos promote");
    // And so it stays, with what was said of it.
    drop(world);
    let world = World::start(&kept);
    assert_eq!((world.serves().as_str(), world.report().verdict), ("cheaper", Some(verdict)));
}

/// Where a restart cannot load what served, the one before it stands in; and the next act says so, as records
/// refer to it.
#[test]
fn what_stands_in_after_a_restart_is_what_served() {
    let kept = Arc::<Memory>::default();
    let world = World::start(&kept);
    let by = By::admin(None, None);
    let [first, second] = ["first", "second"].map(|name| {
        let digest = world.stage(name);
        world.host.activate(&digest, &by).unwrap();
        digest
    });
    let served = |kept: &Memory| kept.kept.lock().unwrap().roles["router"].served.clone();
    assert_eq!(served(&kept), Some(first.clone()));
    drop(world);
    kept.kept.lock().unwrap().versions.retain(|(version, ..)| version.digest != second);
    let world = World::start(&kept);
    assert_eq!(world.serves(), "first");
    let third = world.stage("third");
    assert_eq!(served(&kept), Some(first.clone()));
    world.host.activate(&third, &by).unwrap();
    assert_eq!(served(&kept), Some(first));
}

#[test]
fn without_feedback_and_without_traffic_it_waits() {
    let kept = Arc::<Memory>::default();
    let mut world = World::start(&kept);
    let digest = world.stage("equal");
    world.try_out(&digest, true);
    world.host.settle();
    assert_eq!(world.report().waits_for, ["200 more requests of the baseline, to learn what is usual"]);
    let silent = Does(0.005, 1.0, 1.0, None);
    world.requests(20_000, silent, silent);
    let report = world.report();
    assert_eq!(report.verdict, None);
    assert_eq!(report.waits_for, ["feedback on both arms: the metric \"quality\""], "{report:?}");
    let errors = &report.measures[0];
    assert_eq!((errors.variable, errors.baseline_n + errors.canary_n), (Variable::Errors, 20_000));
    assert_eq!(world.host.lost(), 0);
}

#[test]
fn what_is_worse_goes_back_also_where_that_cannot_be_written_down() {
    let kept = Arc::<Memory>::default();
    let mut world = World::start(&kept);
    let digest = world.stage("worse");
    world.try_out(&digest, false);
    world.requests(300, USUAL, USUAL);
    kept.is_full.store(true, Ordering::Relaxed);
    world.requests(4_000, USUAL, Does(0.5, 1.0, 1.0, None));
    let verdict = world.report().verdict.unwrap();
    assert_eq!((verdict.what, verdict.why.as_str()), (What::RolledBack, "errors"), "{verdict:?}");
    assert!(world.slots.serving().canary.is_none());
    // Callers' words on what an experiment that is over decided change nothing.
    let over = world.report();
    let assigned = Assigned { experiment: 1, ticket: 0, arm: Arm::Canary, share: 0.05, unit: None };
    world.host.rated(&assigned, "quality", 1.0);
    world.host.settle();
    assert_eq!(world.report(), over);
    // The same version again is another experiment, and a try more.
    kept.is_full.store(false, Ordering::Relaxed);
    world.try_out(&digest, true);
    let report = world.report();
    assert_eq!((report.id, report.plan.tries_before), (2, 1));
}
