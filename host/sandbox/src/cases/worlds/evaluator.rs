//! What a test says of a case and its outcome, and of a score.

use std::collections::BTreeMap;
use std::sync::Arc;

use kairos_pipeline::policy::{Case, CaseEnding, CaseOutcome, FailureKind, Metric, Score};

use super::super::offers::MOST;
use super::super::table::{Read, Table, Value, wrong};
use super::outside;
use crate::question::{Scored, What};

/// How far a number may be from what is expected: parts of a sum come in any order.
const NEAR: f64 = 1e-9;

/// What a test says of what is judged, not yet read.
pub(in super::super) struct Beside<'a> {
    case: Option<Value<'a>>,
    outcome: Option<Value<'a>>,
    outside: outside::Beside<'a>,
}

impl<'a> Beside<'a> {
    pub(super) fn take(test: &mut Table<'a>) -> Self {
        Self { case: test.take("case"), outcome: test.take("outcome"), outside: outside::Beside::take(test) }
    }

    pub(super) fn read(self, begin: usize) -> Read<What> {
        let Some(outcome) = self.outcome else { return wrong(begin, "an evaluator's test needs an `outcome`") };
        let case = self.case.map(|value| case(value.table()?)).transpose()?.unwrap_or_default();
        let (case, outcome) = (Arc::new(case), Arc::new(self::outcome(outcome.table()?)?));
        Ok(What::Score(Scored { case, outcome, outside: Arc::new(self.outside.read()?) }))
    }
}

/// A number, whole or not.
pub(super) fn number(value: Value<'_>) -> Read<f64> {
    let at = value.at;
    value.json()?.as_f64().map_or_else(|| wrong(at, "a number is needed"), Ok)
}

fn case(mut table: Table<'_>) -> Read<Case> {
    let (id, task) = (table.read("id", Value::into_text)?, table.read("task", Value::into_text)?);
    let (prompt, expected) = (table.read("prompt", Value::into_text)?, table.read("expected", Value::into_text)?);
    let members = table.read("members", |value| {
        value.table()?.entries().map(|(name, value)| Ok((name, value.json()?.to_string()))).collect::<Read<_>>()
    })?;
    let qualities: Option<BTreeMap<String, f64>> = table.read("qualities", |value| {
        value.table()?.entries().map(|(name, value)| Ok((name, value.fraction()?))).collect::<Read<_>>()
    })?;
    table.finish()?;
    Ok(Case {
        id: id.unwrap_or_else(|| "test".to_owned()),
        task,
        prompt: prompt.unwrap_or_default(),
        expected,
        members: members.unwrap_or_default(),
        qualities: qualities.unwrap_or_default().into_iter().collect(),
    })
}

fn outcome(mut table: Table<'_>) -> Read<CaseOutcome> {
    let at = table.at;
    let kinds = FailureKind::ALL.map(FailureKind::name);
    let failure = table.read("failure", |value| Ok(FailureKind::ALL[value.one_of(&kinds)?]))?;
    let refused = table.read("refused", |value| value.flag())?.unwrap_or_default();
    let (model, said) = (table.read("model", Value::into_text)?, table.read("text", Value::into_text)?);
    let quality = table.read("quality", |value| value.fraction())?;
    let cost = table.read("cost", |value| value.whole(MOST))?;
    let mut short = |key| table.read(key, |value| value.short());
    let (input_tokens, output_tokens) = (short("input_tokens")?, short("output_tokens")?);
    let latency_ms = short("latency_ms")?;
    table.finish()?;
    let ending = match (failure, refused) {
        (None, false) => CaseEnding::Answered,
        (Some(kind), false) => CaseEnding::Failed(kind),
        (None, true) => CaseEnding::Refused,
        (Some(_), true) => return wrong(at, "an outcome that was refused has no `failure`"),
    };
    let text = said.unwrap_or_default();
    Ok(CaseOutcome { ending, model, text, quality, cost, input_tokens, output_tokens, latency_ms })
}

/// All metrics that are expected, and the remark where the test speaks of it.
pub(in super::super) struct ScoreLike {
    metrics: Option<BTreeMap<String, f64>>,
    remark: Option<String>,
}

/// Reads what is expected of a score; nothing: the test says nothing of that.
pub(super) fn expected(table: &mut Table<'_>) -> Read<Option<ScoreLike>> {
    let metrics = table.read("metrics", |value| {
        value.table()?.entries().map(|(name, value)| Ok((name, number(value)?))).collect::<Read<_>>()
    })?;
    let remark = table.read("remark", Value::into_text)?;
    Ok((metrics.is_some() || remark.is_some()).then_some(ScoreLike { metrics, remark }))
}

/// A score, for people.
pub(super) fn in_words(score: &Score) -> String {
    let metrics =
        score.metrics.iter().map(|Metric { name, measure, value }| format!("{name} {value} ({})", measure.name()));
    let remark = score.remark.as_ref().map_or(String::new(), |remark| format!("; {remark:?}"));
    format!("the score is {}{remark}", metrics.collect::<Vec<_>>().join(", "))
}

impl ScoreLike {
    /// What is not as expected.
    pub(super) fn wrong_with(&self, score: &Score) -> Vec<String> {
        let mut wrong = Vec::new();
        let found = |name: &str| score.metrics.iter().find(|metric| metric.name == name);
        for (name, expected) in self.metrics.iter().flatten() {
            match found(name) {
                Some(metric) if (metric.value - expected).abs() <= NEAR => {}
                Some(metric) => wrong.push(format!("metrics: {name} is {}, expected {expected}", metric.value)),
                None => wrong.push(format!("metrics: there is no {name}, expected {expected}")),
            }
        }
        if let Some(expected) = &self.metrics {
            let more = score.metrics.iter().filter(|metric| !expected.contains_key(&metric.name));
            wrong.extend(more.map(|metric| format!("metrics: {} is {}, expected none", metric.name, metric.value)));
        }
        if let Some(expected) = self.remark.as_ref().filter(|expected| score.remark.as_ref() != Some(expected)) {
            let is = score.remark.as_ref().map_or("none".to_owned(), |remark| format!("{remark:?}"));
            wrong.push(format!("remark: {is}, expected {expected:?}"));
        }
        wrong
    }
}
