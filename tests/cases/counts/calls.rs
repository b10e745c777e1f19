//! Calls of routers, as requests make them, while versions are staged, tried on a share, activated and
//! rolled back, with a shadow beside: none fails, and each is answered by one whole version.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, RwLock};

use kairos_pipeline::healers::{Backoff, BackoffBounds};
use kairos_pipeline::policy::{Arm, Assigned, Policies as _, RouteInput, Router, Went, World};
use kairos_pipeline::routers;
use kairos_sandbox::canary::{Plan, Rule};
use kairos_sandbox::host::{Clock, PolicyHost};
use kairos_sandbox::slots::{Natives, Slots};
use kairos_sandbox::versions::{By, Versions};
use kairos_tests::{count, scaled};

use super::super::agreement::{loader, questions};
use super::super::canary::Memory;
use super::variant;

/// Threads that call, as threads of the gateway do.
const CALLERS: usize = 2;
/// Questions that are asked again and again.
const QUESTIONS: usize = 500;

/// What each version answers: its digest, and its reason.
type Reasons = RwLock<HashMap<String, u32>>;

/// Everything that the callers share.
struct Calling {
    slots: Arc<Slots>,
    reasons: Reasons,
    calls: AtomicU64,
    in_canaries: AtomicU64,
    most: u64,
    swapped: AtomicBool,
}

impl Calling {
    /// One call, as the pipeline makes it: what serves is read once, the arm is drawn, the shadow is asked.
    fn call(&self, number: u64, input: RouteInput<'_>) {
        let serving = self.slots.serving();
        let (router, assigned): (&Arc<dyn Router>, _) = match &serving.canary {
            None => (&serving.router, None),
            Some(canary) => {
                let arm = if number.is_multiple_of(2) { Arm::Canary } else { Arm::Baseline };
                let (experiment, ticket) = (canary.experiment, self.slots.ticket());
                let assigned = Assigned { experiment, ticket, arm, share: canary.share, unit: None };
                self.slots.assigned(&assigned);
                (if arm == Arm::Canary { &canary.router } else { &serving.router }, Some(assigned))
            }
        };
        let given = router.route(input);
        if let Some(shadow) = serving.shadow.as_ref().filter(|shadow| shadow.wants()) {
            shadow.ask(input, &given);
        }
        let plan = given.unwrap_or_else(|error| panic!("{} failed: {error}", router.identity().label()));
        if let Some(assigned) = assigned {
            self.slots.ended(&assigned, Went { failed: false, latency_ms: 1.0, cost: 1 });
            self.in_canaries.fetch_add(u64::from(assigned.arm == Arm::Canary), Ordering::Relaxed);
        }
        // The native router, which serves at first, is no version.
        if let Some(expected) = self.reasons.read().unwrap().get(&router.identity().digest) {
            assert_eq!(plan.reason, *expected, "{}", router.identity().label());
        }
    }

    fn run(&self) {
        let questions = questions(QUESTIONS);
        while self.calls.load(Ordering::Relaxed) < self.most || !self.swapped.load(Ordering::Relaxed) {
            let number = self.calls.fetch_add(1, Ordering::Relaxed);
            let question = &questions[number as usize % QUESTIONS];
            self.call(
                number,
                RouteInput { request: &question.request, features: &question.features, models: &question.models },
            );
        }
    }

    /// Stages version `number`; gives its digest.
    fn stage(&self, host: &PolicyHost, number: usize) -> String {
        let (version, (_, reason)) = variant(number);
        let digest = super::digest(&version.bytes);
        self.reasons.write().unwrap().insert(digest.clone(), u32::try_from(reason).unwrap());
        host.stage(&format!("router.{}", version.ending), version.bytes, None, None, &By::default()).unwrap();
        digest
    }

    /// So many times another version is tried, and then serves everything or goes back.
    fn swap(&self, host: &PolicyHost, swaps: usize) {
        let by = By::default();
        let rule = Rule { errors: 0.5, latency: 10.0, cost: 10.0, learned: 1_000_000, ..Rule::default() };
        for number in 1..=swaps {
            let digest = self.stage(host, number);
            let plan = Plan {
                share: 0.5,
                sticky: None,
                auto: false,
                metric: "quality".to_owned(),
                tries_before: 0,
                rule,
                loaded_with: Default::default(),
            };
            host.try_out(&digest, plan, &by).unwrap();
            // Calls meet each canary, however fast versions change.
            let met = self.in_canaries.load(Ordering::Relaxed);
            while self.in_canaries.load(Ordering::Relaxed) == met {
                std::thread::yield_now();
            }
            if number.is_multiple_of(4) {
                host.roll_back(&by).unwrap();
            } else {
                host.activate(&digest, &by).unwrap();
            }
        }
        self.swapped.store(true, Ordering::Relaxed);
    }
}

#[test]
fn no_call_fails_or_mixes_versions_beside_a_shadow_and_canaries() {
    let asked = count("calls of a router beside a shadow and canaries", 2_000_000);
    let (most, swaps) = (asked.times() as u64, scaled(400));
    let (clock, kept): (Clock, Arc<dyn Versions>) = (Arc::new(|| 0), Arc::<Memory>::default());
    let healer = Arc::new(Backoff::new(BackoffBounds::default()));
    let natives = Natives { router: Arc::new(routers::Task::default()), healer, guard: None };
    let slots = Slots::new(loader(), natives, &clock, &kept, (&Arc::default(), &clock)).unwrap();
    let host = Arc::clone(slots.of(World::Router));
    let calling = Calling {
        slots: Arc::clone(&slots),
        reasons: Reasons::default(),
        calls: AtomicU64::new(0),
        in_canaries: AtomicU64::new(0),
        most,
        swapped: AtomicBool::new(false),
    };
    let shadow = calling.stage(&host, 0);
    host.watch_shadow(&shadow, 1.0, &By::default()).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..CALLERS {
            scope.spawn(|| calling.run());
        }
        scope.spawn(|| calling.swap(&host, swaps));
    });
    host.settle();
    let compared = host.shadow().unwrap().compared();
    assert_eq!(host.status().quarantined, Vec::<String>::new());
    let (calls, in_canaries) = (calling.calls.into_inner(), calling.in_canaries.into_inner());
    assert!(calls >= most && in_canaries > 0, "{calls} calls, {in_canaries} in canaries");
    assert!(compared.differed > 0 && compared.failed == 0, "{compared:?}");
    asked.passed(&format!("{calls}, {in_canaries} of them in canaries, {swaps} swaps, 0 failed, 0 mixed"));
}
