//! The two forms of what learns latencies, and of what routes by them, agree on generated sequences of events:
//! each event's writes are what the next one finds.

use std::collections::BTreeMap;
use std::sync::Arc;

use kairos_pipeline::learned::{Learned, Reads};
use kairos_pipeline::policy::{
    Answer, Content, Ending, Event, EventKind, FailureKind, Features, ObserveInput, Offer, Outcome, Plan, Question,
    RequestInfo, RouteInput, SeenAttempt, Task,
};
use kairos_tests::{guest, policy};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::{SeedNames, context, load, loader, offer, question};

/// Events that are generated, one after another.
const EVENTS: usize = 3_000;

fn attempt(models: u32) -> impl Strategy<Value = SeenAttempt> {
    let outcome = prop_oneof![
        4 => Just(Outcome::Answered),
        2 => prop::sample::select(FailureKind::ALL.to_vec()).prop_map(Outcome::Failed),
        1 => Just(Outcome::Abandoned),
    ];
    let duration = prop_oneof![4 => 1u32..5_000, 1 => any::<u32>()];
    (0..models, outcome, duration).prop_map(|(model, outcome, duration_ms)| SeenAttempt {
        model,
        outcome,
        status: None,
        retry_after_ms: None,
        may_be_billed: false,
        cost: 0,
        settled: true,
        duration_ms,
        waited_ms: 0,
        first_content_ms: None,
        input_tokens: None,
        output_tokens: None,
        cache_read_tokens: None,
        cache_write_tokens: None,
        text_tokens: 8,
    })
}

/// What of an event the observers look at: whether it is a rating, the task, the models, the attempts.
fn happened() -> impl Strategy<Value = (bool, Task, Vec<Offer>, Vec<SeenAttempt>)> {
    let tasks = prop::sample::select(vec![Task::General, Task::Code]);
    (1u32..=4).prop_flat_map(move |models| {
        let offers = prop::collection::vec(offer(), models as usize);
        let attempts = prop::collection::vec(attempt(models), 0..4);
        (prop::bool::weighted(0.1), tasks.clone(), offers, attempts)
    })
}

fn request(models: usize, learned: &Arc<Reads>) -> Arc<RequestInfo> {
    let ids: Vec<Arc<str>> = (0..models).map(|index| Arc::from(format!("m{index}"))).collect();
    Arc::new(RequestInfo {
        content: Content::default(),
        tags: Default::default(),
        task_label: None,
        asked_model: "auto".into(),
        model_ids: ids.into(),
        regions: vec!["us-east-1".into()],
        names: Arc::new(SeedNames(Default::default())),
        learned: Arc::clone(learned),
    })
}

#[test]
fn both_forms_learn_and_route_alike() {
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[13; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let plain = question(&context().new_tree(&mut runner).unwrap().current()).features;
    let loader = loader();
    let observers = [load(&loader, &policy("latency-observer.rhai")), load(&loader, &guest("latency-observer"))];
    let routers = [load(&loader, &policy("latency-router.rhai")), load(&loader, &guest("latency-router"))];
    assert_eq!((observers[0].tests(), routers[0].tests()), (7, 6));
    let space = observers[0].identity().space().cloned().unwrap();
    for one in observers.iter().chain(&routers) {
        assert_eq!(one.identity().space(), Some(&space), "{}", one.identity().name);
    }
    let (learned, strategy) = (Learned::default(), happened());
    let mut reasons = BTreeMap::new();
    for place in 0..EVENTS {
        let (rated, task, models, attempts) = strategy.new_tree(&mut runner).unwrap().current();
        let reads = Arc::new(Reads::of(Arc::new(learned.latest())));
        let features = Features { task, named: None, ..plain };
        let request = request(models.len(), &reads);
        let plans = routers.each_ref().map(|router| -> Plan {
            let input = RouteInput { request: &request, features: &features, models: &models };
            router.ask(Question::Route(input), 0).0.and_then(Answer::plan).unwrap()
        });
        assert_eq!(plans[0], plans[1], "the plans before event {place}");
        *reasons.entry(plans[0].reason).or_insert(0) += 1;
        let event = Arc::new(Event {
            request,
            kind: if rated { EventKind::Rated } else { EventKind::Ended },
            features,
            models: models.clone(),
            policy: "test@0".into(),
            reason: None,
            first: None,
            attempts,
            ending: Ending::Other,
            stop: None,
            duration_ms: 0,
            began_at_ms: 0,
            rating: None,
        });
        let written = observers.each_ref().map(|observer| {
            let input = ObserveInput { event: &event, models: &models, at_ms: 1, missed: 0, learned: &reads };
            observer.ask(Question::Observe(input), 0).0.and_then(Answer::written).unwrap()
        });
        assert_eq!(written[0], written[1], "event {place}: {event:?}");
        learned.write(Some(&space), &written[0].0, 1);
    }
    assert_eq!(learned.latest().space(&space).unwrap().keys(), 8, "four models, by two tasks");
    assert!(reasons.len() == 2 && reasons.values().all(|count| *count > 5), "{reasons:?}");
}
