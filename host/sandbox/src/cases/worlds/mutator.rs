//! What a test says of a genome and its fitness, and of the candidates that are proposed.

use std::collections::BTreeMap;
use std::sync::Arc;

use kairos_pipeline::genome::{Candidates, Genome, Proposal};
use kairos_pipeline::policy::{Evidence, Measure, Metric, MutatorBounds, Summary, Weakness, one_line};

use super::super::offers::MOST;
use super::super::table::{Read, Table, Value, wrong};
use super::evaluator::number;
use super::outside;
use crate::question::{Proposed, What};

/// Bytes of a text that are shown.
const SHOWN: usize = 200;

/// What a test says of what is to become better, not yet read.
pub(in super::super) struct Beside<'a> {
    genome: Option<Value<'a>>,
    evidence: Option<Value<'a>>,
    seed: Option<Value<'a>>,
    outside: outside::Beside<'a>,
}

impl<'a> Beside<'a> {
    pub(super) fn take(test: &mut Table<'a>) -> Self {
        let (genome, evidence, seed) = (test.take("genome"), test.take("evidence"), test.take("seed"));
        Self { genome, evidence, seed, outside: outside::Beside::take(test) }
    }

    pub(super) fn read(self, begin: usize) -> Read<What> {
        let bounds = MutatorBounds::default();
        let Some(genome) = self.genome else { return wrong(begin, "a mutator's test needs a `genome`: text by slot") };
        let at = genome.at;
        let texts = texts(genome)?;
        let genome = Genome::new(texts, bounds.text_bytes).or_else(|error| wrong(at, error))?;
        let evidence = self.evidence.map(evidence).transpose()?.unwrap_or_default();
        let seed = self.seed.map(|value| value.whole(MOST)).transpose()?.unwrap_or_default();
        let (genome, evidence, outside) = (Arc::new(genome), Arc::new(evidence), Arc::new(self.outside.read()?));
        Ok(What::Propose(Proposed { genome, evidence, seed, bounds, outside }))
    }
}

/// Text by slot.
fn texts(value: Value<'_>) -> Read<BTreeMap<String, String>> {
    value.table()?.entries().map(|(slot, value)| Ok((slot, value.into_text()?))).collect()
}

fn measure(value: &Value<'_>) -> Read<Measure> {
    Ok(Measure::ALL[value.one_of(&Measure::ALL.map(Measure::name))?])
}

fn evidence(value: Value<'_>) -> Read<Evidence> {
    let at = value.at;
    let mut table = value.table()?;
    let summary = table.read("metrics", |list| list.list()?.map(|one| summary(one.table()?)).collect::<Read<_>>())?;
    let weaknesses =
        table.read("weaknesses", |list| list.list()?.map(|one| weakness(one.table()?)).collect::<Read<_>>())?;
    let notes = table.read("notes", |list| list.list()?.map(Value::into_text).collect::<Read<_>>())?;
    table.finish()?;
    let evidence = Evidence {
        summary: summary.unwrap_or_default(),
        weaknesses: weaknesses.unwrap_or_default(),
        notes: notes.unwrap_or_default(),
    };
    evidence.check().or_else(|error| wrong(at, format!("evidence: {error}")))?;
    Ok(evidence)
}

fn summary(mut table: Table<'_>) -> Read<Summary> {
    let at = table.at;
    let (name, kind) = (table.read("name", Value::into_text)?, table.read("measure", |value| measure(&value))?);
    let (mean, n) = (table.read("mean", number)?, table.read("n", |value| value.short())?);
    table.finish()?;
    match (name, kind, mean) {
        (Some(name), Some(measure), Some(mean)) => Ok(Summary { name, measure, mean, n: n.unwrap_or(1) }),
        _ => wrong(at, "a metric of the evidence needs its `name`, `measure` and `mean`"),
    }
}

fn weakness(mut table: Table<'_>) -> Read<Weakness> {
    let mut said = |key| table.read(key, Value::into_text);
    let (id, task, prompt) = (said("id")?, said("task")?, said("prompt")?);
    let (answer, remark) = (said("answer")?, said("remark")?);
    let metrics = table.read("metrics", |list| list.list()?.map(|one| metric(one.table()?)).collect::<Read<_>>())?;
    table.finish()?;
    Ok(Weakness {
        id: id.unwrap_or_default(),
        task,
        prompt: prompt.unwrap_or_default(),
        answer: answer.unwrap_or_default(),
        remark,
        metrics: metrics.unwrap_or_default(),
    })
}

fn metric(mut table: Table<'_>) -> Read<Metric> {
    let at = table.at;
    let (name, kind) = (table.read("name", Value::into_text)?, table.read("measure", |value| measure(&value))?);
    let value = table.read("value", number)?;
    table.finish()?;
    match (name, kind, value) {
        (Some(name), Some(measure), Some(value)) => Ok(Metric { name, measure, value }),
        _ => wrong(at, "a metric needs its `name`, `measure` and `value`"),
    }
}

/// The texts that each candidate changes, all of them in their order; and how many proposals come to nothing.
pub(in super::super) struct CandidatesLike {
    candidates: Option<Vec<BTreeMap<String, String>>>,
    left_out: Option<usize>,
}

/// Reads what is expected of proposals; nothing: the test says nothing of that.
pub(super) fn expected(table: &mut Table<'_>) -> Read<Option<CandidatesLike>> {
    let candidates = table.read("candidates", |list| list.list()?.map(texts).collect::<Read<Vec<_>>>())?;
    let left_out = table.read("left_out", |value| value.short())?.map(|count| count as usize);
    Ok((candidates.is_some() || left_out.is_some()).then_some(CandidatesLike { candidates, left_out }))
}

/// What comes of proposals on the genome of the test.
fn carried_out(proposals: &[Proposal], asked: &Proposed) -> Candidates {
    Candidates::of(&asked.genome, proposals.to_vec(), asked.bounds.text_bytes)
}

/// The texts of a candidate that are not those of its parent.
fn changed<'a>(candidate: &'a Genome, parent: &Genome) -> BTreeMap<&'a str, &'a str> {
    candidate.slots().filter(|(slot, text)| parent.text(slot) != Some(text)).collect()
}

/// What is proposed, for people. What comes of it is told with what is not as expected.
pub(super) fn in_words(proposals: &[Proposal]) -> String {
    let edits: usize = proposals.iter().map(|proposal| proposal.edits.len()).sum();
    format!("{} proposals, of {edits} edits", proposals.len())
}

impl CandidatesLike {
    /// What is not as expected.
    pub(super) fn wrong_with(&self, proposals: &[Proposal], asked: &Proposed) -> Vec<String> {
        let came = carried_out(proposals, asked);
        let mut wrong = Vec::new();
        if let Some(expected) = &self.candidates {
            let count = (came.candidates.len(), expected.len());
            if count.0 != count.1 {
                wrong.push(format!("candidates: there are {}, expected {}", count.0, count.1));
            }
            for (place, (candidate, expected)) in came.candidates.iter().zip(expected).enumerate() {
                let is = changed(&candidate.genome, &asked.genome);
                let expected: BTreeMap<&str, &str> =
                    expected.iter().map(|(slot, text)| (slot.as_str(), text.as_str())).collect();
                if is != expected {
                    let shown =
                        one_line(format!("candidates: {place} changes {is:?}, expected {expected:?}"), SHOWN * 2);
                    wrong.push(shown);
                }
            }
        }
        if self.left_out.is_some_and(|expected| expected != came.left_out.len()) || !wrong.is_empty() {
            if let Some(expected) = self.left_out.filter(|expected| *expected != came.left_out.len()) {
                wrong.push(format!("left_out: {}, expected {expected}", came.left_out.len()));
            }
            let why =
                came.left_out.iter().map(|left| format!("proposal {} comes to nothing: {}", left.place, left.why));
            wrong.extend(why.map(|why| one_line(why, SHOWN)));
        }
        wrong
    }
}
