//! Questions to evaluators. Nobody is called.

use std::collections::BTreeMap;
use std::sync::Arc;

use kairos_pipeline::policy::{Case, CaseEnding, CaseOutcome, FailureKind, MOST_PART, NOWHERE, WHOLE_BELOW};

use super::{Golden, golden, plain};
use crate::question::{Scored, What};

pub(super) fn questions() -> Vec<Golden> {
    let mut questions = Vec::new();
    let mut ask = |about: &str, case: Case, outcome: CaseOutcome| {
        let (case, outcome) = (Arc::new(case), Arc::new(outcome));
        let scored = Scored { case, outcome, outside: Arc::clone(&NOWHERE) };
        questions.push(golden(about, 0, plain(), What::Score(scored)));
    };
    let case = || Case {
        id: "trial-1".to_owned(),
        task: Some("general".to_owned()),
        prompt: "What is the capital of Norway?".to_owned(),
        expected: Some("Oslo".to_owned()),
        members: BTreeMap::from([("level".to_owned(), "3".to_owned())]),
        qualities: vec![("trial.model-0".to_owned(), 1.0), ("trial.model-1".to_owned(), 0.25)],
    };
    let outcome = || CaseOutcome {
        model: Some("trial.model-0".to_owned()),
        text: "Oslo".to_owned(),
        quality: Some(0.75),
        cost: Some(4_200_000),
        input_tokens: Some(8),
        output_tokens: Some(2),
        latency_ms: Some(420),
        ..CaseOutcome::default()
    };
    ask("an answer of which all is known", case(), outcome());
    ask(
        "another answer than is expected",
        case(),
        CaseOutcome { text: "Bergen".to_owned(), quality: None, ..outcome() },
    );
    for (about, ending) in [
        ("an attempt that failed", CaseEnding::Failed(FailureKind::Throttled)),
        ("an attempt that was refused", CaseEnding::Refused),
    ] {
        ask(about, case(), CaseOutcome { ending, text: String::new(), quality: None, ..outcome() });
    }
    ask("a case and an outcome of which nothing is known", Case::default(), CaseOutcome::default());
    let most = |count: usize| "é".repeat(count);
    ask(
        "long texts and the greatest numbers",
        Case {
            prompt: most(MOST_PART),
            expected: Some(most(MOST_PART)),
            qualities: (0..256).map(|place| (format!("trial.model-{place:03}"), 0.0)).collect(),
            ..case()
        },
        CaseOutcome {
            text: most(MOST_PART),
            quality: None,
            cost: Some(WHOLE_BELOW as u64 - 1),
            input_tokens: Some(u32::MAX),
            output_tokens: Some(u32::MAX),
            latency_ms: Some(u32::MAX),
            ..outcome()
        },
    );
    questions
}
