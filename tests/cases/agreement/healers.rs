//! The three forms of the healer decide alike on generated failures.

use std::collections::BTreeMap;
use std::sync::Arc;

use kairos_pipeline::healers::{Backoff, BackoffBounds};
use kairos_pipeline::policy::{
    Abilities, Answer, Content, FailedAttempt, FailureFacts, FailureKind, HealInput, Healer as _, Offer, Question,
    RequestInfo,
};
use kairos_tests::{guest, policy};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::{SeedNames, context, load, loader, offer, question};

/// Failures that are generated.
const FAILURES: usize = 10_000;

#[derive(Clone, Debug)]
struct Failed {
    failure: FailureFacts,
    history: Vec<FailedAttempt>,
    models: Vec<Offer>,
}

fn attempt(models: u32) -> impl Strategy<Value = FailedAttempt> {
    let numbers = (0u64..1_000_000_000, 0u32..100_000, 0u32..10_000, 0u32..100_000);
    let answered = (prop::option::of(100u16..600), prop::option::of(0u32..100_000));
    let flags = (any::<bool>(), any::<bool>());
    (0..models, prop::sample::select(FailureKind::ALL.to_vec()), answered, flags, numbers).prop_map(
        |(model, kind, (status, retry_after_ms), (may_be_billed, refreshed), numbers)| {
            let (cost, duration_ms, waited_ms, text_tokens) = numbers;
            FailedAttempt {
                model,
                kind,
                status,
                retry_after_ms,
                may_be_billed,
                cost,
                duration_ms,
                waited_ms,
                refreshed,
                text_tokens,
            }
        },
    )
}

fn failed() -> impl Strategy<Value = Failed> {
    (1u32..=4).prop_flat_map(|models| {
        let left = prop_oneof![2 => Just(Vec::new()), 1 => prop::collection::vec(0..models, 1..4)];
        let facts = (left, prop::option::of(any::<u64>()), 1u32..8, 1u32..60_000, 0u8..8);
        let history = prop::collection::vec(attempt(models), 0..5);
        let offers = prop::collection::vec(offer(), models as usize);
        (attempt(models), facts, history, offers).prop_map(|(attempt, facts, history, models)| {
            let (left, max_cost, attempts_left, time_left_ms, can) = facts;
            let can = Abilities(can);
            let failure = FailureFacts { attempt, left, max_cost, attempts_left, time_left_ms, can };
            Failed { failure, history, models }
        })
    })
}

#[test]
fn all_forms_of_the_healer_decide_alike() {
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[11; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let strategy = failed();
    let features = question(&context().new_tree(&mut runner).unwrap().current()).features;
    let loader = loader();
    let native = Backoff::new(BackoffBounds::default());
    let forms = [load(&loader, &policy("backoff.rhai")), load(&loader, &guest("backoff-healer"))];
    assert_eq!(forms[0].tests(), 11);
    let mut reasons = BTreeMap::new();
    for place in 0..FAILURES {
        let failed = strategy.new_tree(&mut runner).unwrap().current();
        let ids: Vec<Arc<str>> = (0..failed.models.len()).map(|index| Arc::from(format!("m{index}"))).collect();
        let request = Arc::new(RequestInfo {
            content: Content::default(),
            tags: Default::default(),
            task_label: None,
            asked_model: "auto".into(),
            model_ids: ids.into(),
            regions: vec!["us-east-1".into()],
            names: Arc::new(SeedNames(Default::default())),
            learned: Arc::default(),
        });
        let Failed { failure, history, models } = &failed;
        let input = HealInput { request: &request, features: &features, failure, history, models };
        let expected = native.heal(input).unwrap().checked(input).unwrap();
        for (form, generation) in forms.iter().enumerate() {
            let remedy = generation.ask(Question::Heal(input), 0).0.and_then(Answer::remedy).unwrap();
            assert_eq!(remedy, expected, "form {form} on failure {place}: {failed:?}");
        }
        *reasons.entry((expected.reason, expected.action.name())).or_insert(0) += 1;
    }
    // Every rule was met, or the comparison says nothing of it.
    assert_eq!(reasons.len(), 6, "{reasons:?}");
    assert!(reasons.values().all(|count| *count > 50), "{reasons:?}");
}
