//! The three forms of the evaluator, and of the mutator, say the same of generated cases and genomes.

use std::collections::BTreeMap;
use std::sync::Arc;

use kairos_pipeline::evaluators::Quality;
use kairos_pipeline::genome::Genome;
use kairos_pipeline::mutators::Numbers;
use kairos_pipeline::policy::{
    Answer, Case, CaseEnding, CaseOutcome, Evaluator as _, Evidence, FailureKind, Mutator as _, MutatorBounds, NOWHERE,
    PolicyError, ProposeInput, Question, ScoreInput,
};
use kairos_tests::{guest, policy};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::{load, loader};

/// Outcomes, and genomes, that are generated.
const ROUNDS: usize = 1_000;

fn runner() -> TestRunner {
    TestRunner::new_with_rng(Config::default(), TestRng::from_seed(RngAlgorithm::ChaCha, &[17; 32]))
}

fn case() -> impl Strategy<Value = Case> {
    let expected =
        prop::option::of(prop_oneof![Just("Oslo".to_owned()), Just(" Oslo\n".to_owned()), Just(String::new())]);
    let qualities = prop::collection::vec(prop_oneof![Just(0.0), Just(1.0), 0.0f64..=1.0], 0..3);
    (expected, qualities).prop_map(|(expected, qualities)| Case {
        expected,
        qualities: qualities.into_iter().enumerate().map(|(place, one)| (format!("m{place}"), one)).collect(),
        ..Case::default()
    })
}

fn outcome() -> impl Strategy<Value = CaseOutcome> {
    let endings = prop_oneof![
        4 => Just(CaseEnding::Answered),
        1 => Just(CaseEnding::Failed(FailureKind::Throttled)),
        1 => Just(CaseEnding::Refused),
    ];
    let text = prop_oneof![Just(String::new()), Just("Oslo".to_owned()), Just("Oslo ".to_owned()), "\\PC{0,8}"];
    let quality = prop::option::of(prop_oneof![Just(0.0), 0.0f64..=1.0]);
    let numbers = (prop::option::of(0u64..1 << 53), prop::option::of(any::<u32>()));
    (endings, text, quality, numbers).prop_map(|(ending, text, quality, (cost, latency_ms))| CaseOutcome {
        ending,
        text,
        quality,
        cost,
        latency_ms,
        ..CaseOutcome::default()
    })
}

#[test]
fn the_forms_of_the_evaluator_score_alike() {
    let loader = loader();
    let (native, mut runner, mut met) = (Quality::default(), runner(), BTreeMap::new());
    let forms = [load(&loader, &policy("quality.rhai")), load(&loader, &guest("quality-evaluator"))];
    for round in 0..ROUNDS {
        let (case, outcome) = (case(), outcome()).new_tree(&mut runner).unwrap().current();
        let (case, outcome) = (Arc::new(case), Arc::new(outcome));
        let input = ScoreInput { case: &case, outcome: &outcome, outside: &NOWHERE };
        let expected = native.score(input);
        for form in &forms {
            let score = form.ask(Question::Score(input), 0).0.and_then(Answer::score);
            assert_eq!(score, expected, "round {round}: {case:?} {outcome:?}");
        }
        let kind = expected.map_or_else(
            |error| error.to_string(),
            |score| score.metrics.iter().map(|metric| metric.name.as_str()).collect::<Vec<_>>().join(" "),
        );
        *met.entry(kind).or_insert(0) += 1;
    }
    // Every rule was met, or the comparison says nothing of it.
    assert_eq!(met.len(), 12, "{met:?}");
}

#[test]
fn the_forms_of_the_mutator_propose_alike() {
    let loader = loader();
    let (native, mut runner, mut declined) = (Numbers::default(), runner(), 0);
    let forms = [load(&loader, &policy("numbers.rhai")), load(&loader, &guest("numbers-mutator"))];
    let word = prop_oneof![
        "[a-z ]{0,4}",
        "[0-9]{1,4}",
        "0",
        "[0-9]\\.[0-9]{1,3}",
        "0\\.0",
        "[0-9]e-?[0-9]",
        "\"[0-9]\"",
        "\n"
    ];
    let text = prop::collection::vec(word, 0..8).prop_map(|words| words.join(" "));
    let texts = prop::collection::btree_map("[a-z]{1,3}", text, 1..5);
    let (evidence, bounds) = (Arc::new(Evidence::default()), MutatorBounds::default());
    for round in 0..ROUNDS {
        let (texts, seed) = (&texts, 0u64..1 << 53).new_tree(&mut runner).unwrap().current();
        let genome = Arc::new(Genome::new(texts, bounds.text_bytes).unwrap());
        let input = ProposeInput { genome: &genome, evidence: &evidence, seed, bounds, outside: &NOWHERE };
        let expected = native.propose(input);
        for form in &forms {
            let proposed = form.ask(Question::Propose(input), 0).0.and_then(Answer::proposals);
            assert_eq!(proposed, expected, "round {round}: {genome:?} {seed}");
        }
        declined += usize::from(matches!(expected, Err(PolicyError::Declined)));
    }
    assert!((10..ROUNDS / 2).contains(&declined), "{declined}");
}
