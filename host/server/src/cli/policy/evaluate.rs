//! `kairos policy evaluate`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use kairos_pipeline::fitness::Tally;
use kairos_pipeline::policy::{
    Case, CaseOutcome, Measure, Metric, Outside, PolicyError, Question, Score, ScoreInput, Summary, World,
};
use serde_json::{Value, json};

use super::super::{Failed, counted};
use super::dataset::{self, Row};
use super::evidence;
use super::evolving::{self, Asked, Called, Within};

#[derive(Debug, clap::Args)]
pub(crate) struct Evaluate {
    /// An evaluator: a script (.rhai) or a component (.wasm) [default: the gateway's own]
    #[arg(value_name = "POLICY")]
    policy: Option<PathBuf>,
    /// Data set: JSON Lines with id, task, prompt, expected and outcomes by model
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    /// Only outcomes of this model
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// Only the first N cases
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Write what `kairos policy propose` takes as evidence
    #[arg(long, value_name = "FILE")]
    evidence: Option<PathBuf>,
    #[command(flatten)]
    within: Within,
}

/// What a run came to.
struct Ran {
    label: String,
    all: Tally,
    by_model: BTreeMap<String, Tally>,
    scored: usize,
    declined: usize,
    unavailable: usize,
    faults: Vec<String>,
    weakest: evidence::Weakest,
    called: Option<Called>,
}

impl Evaluate {
    pub(super) fn run(self) -> Result<(), Failed> {
        let config = self.within.config()?;
        let asked = self.within.policy(&config, self.policy.as_deref(), World::Evaluator)?;
        let most = config.evaluator.cases;
        let mut rows = match self.limit {
            // Further lines are not looked at.
            Some(limit) => dataset::first(&self.data, limit.min(most), config.evaluator.case_bytes)?,
            None => dataset::read(&self.data, most, config.evaluator.case_bytes)?,
        };
        if let Some(model) = &self.model {
            rows.iter_mut().for_each(|row| row.outcomes.retain(|outcome| outcome.model.as_ref() == Some(model)));
        }
        let callers = self.within.callers(&config)?;
        let (json, faults) = (self.within.json, config.policies.faults);
        let ran = evolving::aside(move || {
            let mut ran = run(&asked, &rows, &evolving::outside(&callers), faults, json)?;
            ran.called = Some(Called::by(&callers));
            Ok(ran)
        })?;
        if let Some(file) = &self.evidence {
            ran.write_evidence(file)?;
        }
        if json {
            println!("{}", ran.json());
        } else {
            print!("{}", ran.text());
        }
        match ran.faults.first() {
            _ if ran.faults.len() >= faults => {
                let (count, first) = (counted(ran.faults.len(), "score"), &ran.faults[0]);
                Err(Failed::new(format!("given up: {count} failed, first {first}")))
            }
            _ if ran.scored == 0 => Err(Failed::new("nothing was scored: there is no evidence of anything")),
            _ => Ok(()),
        }
    }
}

fn run(asked: &Asked, rows: &[Row], outside: &Arc<dyn Outside>, faults: usize, lines: bool) -> Result<Ran, Failed> {
    let mut ran = Ran {
        label: asked.identity().label().to_string(),
        all: Tally::default(),
        by_model: BTreeMap::new(),
        scored: 0,
        declined: 0,
        unavailable: 0,
        faults: Vec::new(),
        weakest: evidence::Weakest::default(),
        called: None,
    };
    for Row { case, outcomes } in rows {
        for outcome in outcomes {
            let input = ScoreInput { case, outcome, outside };
            let score = asked.ask(Question::Score(input)).and_then(kairos_pipeline::policy::Answer::score);
            let line = ran.take(case, outcome, score);
            if lines {
                println!("{line}");
            }
            if ran.faults.len() >= faults {
                return Ok(ran);
            }
        }
    }
    Ok(ran)
}

/// Metrics as programs read them.
fn metrics(metrics: &[Metric]) -> Value {
    let one = |Metric { name, measure, value }: &Metric| {
        (name.clone(), json!({"measure": measure.name(), "value": evidence::number(*measure, *value)}))
    };
    Value::Object(metrics.iter().map(one).collect())
}

impl Ran {
    /// Takes what came of an outcome, and gives its line.
    fn take(&mut self, case: &Arc<Case>, outcome: &Arc<CaseOutcome>, score: Result<Score, PolicyError>) -> Value {
        let model = outcome.model.as_deref().unwrap_or_default();
        let mut line = json!({"id": case.id, "model": model});
        let taken = score.and_then(|score| {
            self.all.add(&score).map_err(|wrong| {
                PolicyError::Fault(kairos_pipeline::policy::Fault::new(
                    kairos_pipeline::policy::FaultKind::Error,
                    wrong,
                ))
            })?;
            Ok(score)
        });
        match taken {
            Ok(score) => {
                // What stands beside all others stands beside those of its model.
                let _ = self.by_model.entry(model.to_owned()).or_default().add(&score);
                self.scored += 1;
                line["metrics"] = metrics(&score.metrics);
                line["remark"] = json!(score.remark);
                self.weakest.take(case, outcome, score);
            }
            Err(PolicyError::Declined | PolicyError::Refused(_)) => {
                self.declined += 1;
                line["declined"] = true.into();
            }
            Err(PolicyError::Unavailable(what)) => {
                self.unavailable += 1;
                line["unavailable"] = what.into();
            }
            Err(error @ (PolicyError::NotRun(_) | PolicyError::Fault(_))) => {
                line["failed"] = error.to_string().into();
                self.faults.push(format!("{} with {model}: {error}", case.id));
            }
        }
        line
    }

    fn write_evidence(&self, file: &std::path::Path) -> Result<(), Failed> {
        let text = evidence::written(&self.all.summary(), &self.weakest);
        std::fs::write(file, text).map_err(|error| Failed::new(format!("{}: {error}", file.display())))
    }

    /// The last line, for programs.
    fn json(&self) -> Value {
        let by_model = self.by_model.iter().map(|(model, tally)| (model.clone(), evidence::summary(&tally.summary())));
        let mut told = json!({
            "policy": self.label,
            "summary": evidence::summary(&self.all.summary()),
            "by_model": Value::Object(by_model.collect()),
            "scored": self.scored,
            "declined": self.declined,
            "unavailable": self.unavailable,
            "failed": self.faults.len(),
        });
        self.called.iter().for_each(|called| called.add_to(&mut told));
        told
    }

    /// For people.
    fn text(&self) -> String {
        let mut text = format!("{}: {}", self.label, counted(self.scored, "outcome"));
        text.push_str(" scored");
        for (count, what) in
            [(self.declined, "declined"), (self.unavailable, "not available"), (self.faults.len(), "failed")]
        {
            if count > 0 {
                text.push_str(&format!(", {count} {what}"));
            }
        }
        text.push('\n');
        let mut part = |title: &str, summary: &[Summary]| {
            text.push_str(&format!("{title}\n"));
            for one in summary {
                let mean = shown(one);
                text.push_str(&format!("  {:<24}  {mean:>24}  n = {}\n", one.name, one.n));
            }
        };
        part("all", &self.all.summary());
        if self.by_model.len() > 1 {
            for (model, tally) in &self.by_model {
                part(model, &tally.summary());
            }
        }
        self.called.iter().for_each(|called| text.push_str(&called.text()));
        text
    }
}

/// A mean, with its unit, and which way is better.
fn shown(summary: &Summary) -> String {
    match summary.measure {
        Measure::Cost => format!("{:.12} USD ↓", summary.mean / 1e12),
        Measure::Latency => format!("{:.1} ms ↓", summary.mean),
        Measure::Count => format!("{:.3} ↓", summary.mean),
        Measure::Quality | Measure::Safety | Measure::Share => format!("{:.4} ↑", summary.mean),
    }
}
