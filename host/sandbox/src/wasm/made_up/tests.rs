//! Three versions at once: all decide alike, take each other's place under calls, and one that is none of them
//! is told which there are.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use kairos_pipeline::healers::{Backoff, BackoffBounds};
use kairos_pipeline::policy::{Complexity, Plan, Policies as _, Question, RouteInput, World};
use kairos_pipeline::routers;

use crate::golden;
use crate::host::Clock;
use crate::limits::Limits;
use crate::load::Loader;
use crate::question::{OwnedQuestion, What};
use crate::slots::{Natives, Slots};
use crate::versions::{By, Versions};
use crate::wasm::WasmEngine;

const GUESTS: [&str; 3] = ["minor-earlier", "minor-current", "minor-later"];

fn guest(name: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("../../target/guests/{name}.wasm"));
    assert!(path.exists(), "{} is missing: run `cargo xtask guests`", path.display());
    path
}

fn loader() -> Loader {
    // What is compared is what is decided, not how fast an unoptimised build decides it.
    let deadline = std::time::Duration::from_secs(5);
    let limits = Arc::new(Limits { deadline, purity_sample: u64::MAX, ..Limits::default() });
    let wasm = WasmEngine::new(Arc::clone(&limits), None).unwrap();
    Loader {
        limits,
        wasm,
        grants: Default::default(),
        trust: Default::default(),
        dropped: Arc::default(),
        catalogues: Arc::new(|_| Err("these have no tests".to_owned())),
        configs: Arc::default(),
    }
}

/// Questions of all kinds of costs, the same in every run.
fn questions(most: usize) -> Vec<OwnedQuestion> {
    let mut state = 42u64;
    let mut draw = move |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let plain = golden::questions(World::Router);
    let question = |number: usize| {
        let mut question = OwnedQuestion::of(plain[number % plain.len()].asked());
        question.features.complexity = Complexity::ALL[draw(3) as usize];
        question.features.estimated_tokens = draw(2_000) as u32;
        for model in &mut question.models {
            // Few values: many are equal.
            (model.worst_case_cost, model.latency_ms) = (draw(4) * 1_000_000, draw(3) as u32 * 100);
        }
        OwnedQuestion { what: What::Route, ..question }
    };
    (0..most).map(question).collect()
}

fn input(question: &OwnedQuestion) -> RouteInput<'_> {
    match question.asked() {
        Question::Route(input) => input,
        _ => unreachable!("it is asked of routers"),
    }
}

#[test]
fn all_versions_decide_alike() {
    let loader = loader();
    let all = GUESTS.map(|name| loader.load(&guest(name)).unwrap_or_else(|refusal| panic!("{name}: {refusal}")));
    let mut plans = std::collections::BTreeSet::new();
    for question in questions(1_000) {
        let decided: [Plan; 3] =
            all.each_ref().map(|policy| policy.ask(question.asked(), 0).0.unwrap().plan().unwrap());
        assert_eq!((&decided[0], &decided[2]), (&decided[1], &decided[1]), "{question:?}");
        plans.insert(format!("{:?}", decided[0]));
    }
    assert!(plans.len() > 100, "{} plans", plans.len());
}

#[test]
fn a_version_takes_the_place_of_another_under_calls() {
    let (clock, kept): (Clock, Arc<dyn Versions>) = (Arc::new(|| 0), Arc::new(()));
    let healer = Arc::new(Backoff::new(BackoffBounds::default()));
    let natives = Natives { router: Arc::new(routers::Task::default()), healer, guard: None };
    let slots = Slots::new(loader(), natives, &clock, &kept, (&Arc::default(), &clock)).unwrap();
    let host = slots.of(World::Router);
    host.load(&guest(GUESTS[0])).unwrap();
    let (questions, done, calls) = (questions(200), AtomicBool::new(false), AtomicU64::new(0));
    let expected: Vec<Plan> =
        questions.iter().map(|question| slots.serving().router.route(input(question)).unwrap()).collect();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    for (question, expected) in questions.iter().zip(&expected) {
                        assert_eq!(slots.serving().router.route(input(question)).as_ref(), Ok(expected));
                        calls.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
        for round in 1..=12 {
            host.load(&guest(GUESTS[round % 3])).unwrap();
            // Each serves some calls.
            let met = calls.load(Ordering::Relaxed);
            while calls.load(Ordering::Relaxed) < met + 10 {
                std::thread::yield_now();
            }
            if round % 4 == 0 {
                host.roll_back(&By::default()).unwrap();
            }
        }
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(host.counters().faults.iter().map(|count| count.load(Ordering::Relaxed)).sum::<u64>(), 0);
    assert_eq!(host.counters().loaded.load(Ordering::Relaxed), 13);
}

/// The same component, built for another version: names of versions are as long as each other.
fn renamed(from: &str, to: &str) -> Vec<u8> {
    let bytes = std::fs::read(guest("minor-current")).unwrap();
    assert_eq!(from.len(), to.len());
    let places: Vec<_> = (0..bytes.len() - from.len()).filter(|at| bytes[*at..].starts_with(from.as_bytes())).collect();
    assert!(!places.is_empty());
    places.into_iter().fold(bytes, |mut bytes, at| {
        bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
        bytes
    })
}

fn refused(file: &str, bytes: Vec<u8>) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(file);
    std::fs::write(&path, bytes).unwrap();
    match loader().load(&path) {
        Ok(_) => panic!("it was loaded"),
        Err(refusal) => refusal.explain(file),
    }
}

#[test]
fn a_version_that_is_not_served_is_told_which_are() {
    insta::assert_snapshot!(refused("router.wasm", renamed("@0.1.0", "@0.7.0")), @r"
    router.wasm: the component is built for version 0.7.0 of the contract (kairos:plugin/types@0.7.0)
      hint: this gateway serves versions 0.2, 0.1 and 0.0; build the component against wit/v0.2
    ");
    // Which of the others stands first is the component's matter.
    let both = refused("router.wasm", renamed("routing@0.1.0", "routing@0.2.0"));
    let (told, interface) = both.split_once("(kairos:plugin/").unwrap();
    let both = format!("{told}(…{}", &interface[interface.find('@').unwrap()..]);
    insta::assert_snapshot!(both, @r"
    router.wasm: the component is built for two versions of the contract at once (…@0.1.0, kairos:plugin/routing@0.2.0)
      hint: build all of it against one folder: this gateway serves versions 0.2, 0.1 and 0.0
    ");
    insta::assert_snapshot!(refused("router.wasm", renamed("@0.1.0", "@0.2.0")), @r"
    router.wasm: the component does not fit the world `router` of version 0.2: component imports instance `kairos:plugin/types@0.2.0`, but a matching implementation was not found in the linker: instance export `[method]request.model-ids` has the wrong type: function implementation is missing
      hint: build the component against wit/v0.2 as it is
    ");
    let later = std::fs::read(guest("minor-later")).unwrap();
    insta::assert_snapshot!(refused("healer.wasm", later), @r"
    healer.wasm: version 0.2 of the contract, which the component is built for, has no world `healer`
      hint: its worlds are: router; build the component against wit/v0.2
    ");
}
