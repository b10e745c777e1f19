//! Questions to mutators. Nobody is called.

use std::sync::Arc;

use kairos_pipeline::genome::{Genome, MOST_SLOTS};
use kairos_pipeline::policy::{
    Evidence, MOST_NOTES, MOST_REMARK, MOST_WEAKNESSES, Measure, Metric, MutatorBounds, NOWHERE, Summary, Weakness,
};

use super::{Golden, golden, plain};
use crate::question::{Proposed, What};

pub(super) fn questions() -> Vec<Golden> {
    let mut questions = Vec::new();
    let mut ask = |about: &str, texts: Vec<(String, String)>, evidence: Evidence, seed: u64| {
        let genome = Arc::new(Genome::new(texts, usize::MAX).unwrap_or_default());
        let (evidence, bounds, outside) = (Arc::new(evidence), MutatorBounds::default(), Arc::clone(&NOWHERE));
        let proposed = Proposed { genome, evidence, seed, bounds, outside };
        questions.push(golden(about, 0, plain(), What::Propose(proposed)));
    };
    let texts = |texts: &[(&str, &str)]| -> Vec<(String, String)> {
        texts.iter().map(|(slot, text)| ((*slot).to_owned(), (*text).to_owned())).collect()
    };
    let two = || texts(&[("prompt", "Answer in at most 20 words.\n"), ("router", "const SHARE = 0.25;\n")]);
    let weakness = |text: String| Weakness {
        id: "trial-1".to_owned(),
        task: Some("general".to_owned()),
        prompt: "What is the capital of Norway?".to_owned(),
        answer: text.clone(),
        remark: Some(text),
        metrics: vec![Metric { name: "quality".to_owned(), measure: Measure::Quality, value: 0.0 }],
    };
    let known = Evidence {
        summary: vec![Summary { name: "quality".to_owned(), measure: Measure::Quality, mean: 0.625, n: 8 }],
        weaknesses: vec![weakness("Bergen".to_owned())],
        notes: vec!["shorter answers".to_owned()],
    };
    ask("two slots and what is known of them", two(), known, 7);
    for seed in [0, 1, (1 << 53) - 1] {
        ask("nothing known of two slots", two(), Evidence::default(), seed);
    }
    ask("texts without a number, one of them empty", texts(&[("a", ""), ("b", "Be kind.")]), Evidence::default(), 1);
    let many = (0..MOST_SLOTS).map(|place| (format!("slot-{place}"), "1 0 0.0 é 9007199254740991 ".repeat(200)));
    let full = Evidence {
        weaknesses: vec![weakness("é".repeat(MOST_REMARK / 2)); MOST_WEAKNESSES],
        notes: vec!["x".repeat(MOST_REMARK); MOST_NOTES],
        ..Evidence::default()
    };
    ask("as many slots, weaknesses and notes as there can be", many.collect(), full, 11);
    questions
}
