//! The native guard and the component that ships find the same mail addresses and cards in generated texts.

use std::sync::Arc;

use kairos_pipeline::guards::Pii;
use kairos_pipeline::policy::{
    Answer, Content, Direction, Guard as _, InspectInput, Origin, Passage, Question, RequestInfo,
};
use kairos_tests::guest;
use proptest::strategy::{Strategy, ValueTree as _};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::{SeedNames, load, loader};

const TEXTS: usize = 20_000;

/// Pieces of what is found, of what is nearly so, and of what stands around it.
fn text() -> impl Strategy<Value = String> {
    let piece = proptest::prop_oneof![
        "[a-c1._%+@-]{1,6}",
        "(a1|b\\.c|x){1,30}@(d|e-|2f){1,20}(\\.(co|m|io|xn--p1|XN--b-)){1,3}",
        "(4111|5500|6011|3000|2221|0000)([ -]?[0-9]{4}){2,3}([ -]?[0-9]{0,3})",
        proptest::sample::select(vec![
            "4111 1111 1111 1111",
            "378282246310005",
            "3782 822463 10005",
            "6011-1111-1111-1117",
            "4222222222222",
            "5555555555554444",
            "jane.doe@example.com",
        ])
        .prop_map(str::to_owned),
        "[ ü.,-]{1,3}",
    ];
    proptest::collection::vec(piece, 1..12).prop_map(|pieces| pieces.concat())
}

#[test]
fn both_guards_find_the_same_addresses_and_cards() {
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[13; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let (native, component) = (Pii::default(), load(&loader(), &guest("mail-card-guard")));
    let request = Arc::new(RequestInfo {
        content: Content::default(),
        tags: Default::default(),
        task_label: None,
        asked_model: "auto".into(),
        model_ids: [].into(),
        regions: vec!["us-east-1".into()],
        names: Arc::new(SeedNames(Default::default())),
        learned: Arc::default(),
    });
    let passage = Passage { direction: Direction::Input, origin: Origin::User, index: 0 };
    let strategy = text();
    let (mut compared, mut found) = (0, [0; 2]);
    for _ in 0..TEXTS {
        let text = strategy.new_tree(&mut runner).unwrap().current();
        let input = InspectInput { request: &request, passage, state: &[], text: &text, last: true };
        let expected = native.inspect(input).unwrap();
        // What else the native guard finds, the other knows nothing of.
        if expected.findings.iter().any(|(code, _)| ![1, 3].contains(code)) {
            continue;
        }
        let verdict = component.ask(Question::Inspect(input), 0).0.and_then(Answer::verdict).unwrap();
        assert_eq!(verdict.replacements, expected.replacements, "{text:?}");
        assert_eq!(verdict.decided, expected.decided, "{text:?}");
        compared += 1;
        for (code, count) in &verdict.findings {
            found[*code as usize - 1] += count;
        }
    }
    // Enough of both was met, or the comparison says nothing.
    assert!(compared > TEXTS / 2 && found.iter().all(|count| *count > 1_000), "{compared} {found:?}");
}
