//! Evidence of a genome's fitness, as a file: what an evaluation writes and a mutator is shown.

use std::path::Path;
use std::sync::Arc;

use kairos_pipeline::policy::{Case, CaseOutcome, Evidence, Measure, Metric, Score, Summary, Weakness};
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::Failed;

/// Cases that went badly, which an evaluation keeps.
const KEPT: usize = 32;
/// Bytes of a file of evidence.
const MOST_BYTES: u64 = 64 * 1024 * 1024;

/// The worst cases of a run.
#[derive(Default)]
pub(super) struct Weakest(Vec<(f64, Weakness)>);

impl Weakest {
    /// Keeps a case, where it is among the worst: by the mean of its parts of something good.
    pub(super) fn take(&mut self, case: &Arc<Case>, outcome: &Arc<CaseOutcome>, score: Score) {
        let good = score.metrics.iter().filter(|metric| !metric.measure.is_whole()).map(|metric| metric.value);
        let (count, sum) = good.fold((0, 0.0), |(count, sum), value| (count + 1, sum + value));
        if count == 0 || sum >= f64::from(count) {
            return;
        }
        let mean = sum / f64::from(count);
        let place = self.0.partition_point(|(known, _)| *known <= mean);
        if place < KEPT {
            let weakness = Weakness {
                id: case.id.clone(),
                task: case.task.clone(),
                prompt: case.prompt.clone(),
                answer: outcome.text.clone(),
                remark: score.remark,
                metrics: score.metrics,
            };
            self.0.insert(place, (mean, weakness));
            self.0.truncate(KEPT);
        }
    }
}

/// A number as it is read again: whole where its measure is.
pub(super) fn number(measure: Measure, value: f64) -> Value {
    if measure.is_whole() { json!(value as u64) } else { json!(value) }
}

/// Means, for programs.
pub(super) fn summary(summary: &[Summary]) -> Value {
    let one = |one: &Summary| json!({"name": one.name, "measure": one.measure.name(), "mean": one.mean, "n": one.n});
    summary.iter().map(one).collect()
}

/// The file.
pub(super) fn written(means: &[Summary], weakest: &Weakest) -> String {
    let metric = |one: &Metric| json!({"name": one.name, "measure": one.measure.name(), "value": number(one.measure, one.value)});
    let weakness = |(_, one): &(f64, Weakness)| {
        json!({
            "id": one.id, "task": one.task, "prompt": one.prompt, "answer": one.answer, "remark": one.remark,
            "metrics": one.metrics.iter().map(metric).collect::<Value>(),
        })
    };
    let weaknesses: Value = weakest.0.iter().map(weakness).collect();
    format!("{:#}\n", json!({"metrics": summary(means), "weaknesses": weaknesses, "notes": []}))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    metrics: Vec<Mean>,
    #[serde(default)]
    weaknesses: Vec<Weak>,
    #[serde(default)]
    notes: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Mean {
    name: String,
    measure: String,
    mean: f64,
    n: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Weak {
    id: String,
    task: Option<String>,
    #[serde(default)]
    prompt: String,
    #[serde(default)]
    answer: String,
    remark: Option<String>,
    #[serde(default)]
    metrics: Vec<Measured>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Measured {
    name: String,
    measure: String,
    value: f64,
}

fn measure(name: &str) -> Result<Measure, String> {
    let known = || Measure::ALL.map(Measure::name).join(", ");
    Measure::from_name(name).ok_or_else(|| format!("there is no measure {name:?}; there are {}", known()))
}

/// Reads a file of evidence.
pub(super) fn read(path: &Path) -> Result<Evidence, Failed> {
    use std::io::Read as _;
    let shown = path.display();
    let wrong = |what: &dyn std::fmt::Display| Failed::usage(format!("{shown}: {what}"));
    let file = std::fs::File::open(path).map_err(|error| wrong(&error))?;
    let mut bytes = Vec::new();
    file.take(MOST_BYTES + 1).read_to_end(&mut bytes).map_err(|error| wrong(&error))?;
    if bytes.len() as u64 > MOST_BYTES {
        return Err(wrong(&format_args!("it has more than {MOST_BYTES} bytes")));
    }
    let file: File = serde_json::from_slice(&bytes).map_err(|error| wrong(&error))?;
    let evidence = evidence(file).map_err(|error| wrong(&error))?;
    evidence.check().map_err(|error| wrong(&error))?;
    Ok(evidence)
}

fn evidence(file: File) -> Result<Evidence, String> {
    let mean = |one: Mean| Ok(Summary { name: one.name, measure: measure(&one.measure)?, mean: one.mean, n: one.n });
    let metric = |one: Measured| Ok(Metric { name: one.name, measure: measure(&one.measure)?, value: one.value });
    let weakness = |one: Weak| {
        Ok(Weakness {
            id: one.id,
            task: one.task,
            prompt: one.prompt,
            answer: one.answer,
            remark: one.remark,
            metrics: one.metrics.into_iter().map(metric).collect::<Result<_, String>>()?,
        })
    };
    Ok(Evidence {
        summary: file.metrics.into_iter().map(mean).collect::<Result<_, String>>()?,
        weaknesses: file.weaknesses.into_iter().map(weakness).collect::<Result<_, String>>()?,
        notes: file.notes,
    })
}
