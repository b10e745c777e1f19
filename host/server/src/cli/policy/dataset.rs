//! Data sets: JSON Lines, a case a line, with what came of it by model.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::sync::Arc;

use kairos_pipeline::money::Picodollars;
use kairos_pipeline::policy::{Case, CaseEnding, CaseOutcome, FailureKind};
use serde::Deserialize;
use serde_json::{Number, Value};

use super::super::Failed;

/// Models of one case.
const MOST_OUTCOMES: usize = 256;

/// A case, and what came of it by model.
pub(super) struct Row {
    pub(super) case: Arc<Case>,
    pub(super) outcomes: Vec<Arc<CaseOutcome>>,
}

/// A line as it is written. What is not named here is a member that evaluators may ask for.
#[derive(Deserialize)]
struct Line {
    id: Option<Value>,
    task: Option<String>,
    #[serde(default)]
    prompt: String,
    expected: Option<String>,
    #[serde(default)]
    outcomes: BTreeMap<String, Came>,
    #[serde(flatten)]
    rest: BTreeMap<String, Value>,
}

/// What came of a case.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Came {
    quality: Option<f64>,
    cost: Option<Money>,
    text: Option<String>,
    input_tokens: Option<u32>,
    output_tokens: Option<u32>,
    latency_ms: Option<u32>,
    failure: Option<String>,
    #[serde(default)]
    refused: bool,
}

/// US dollars: a number, or text, which is exact.
#[derive(Deserialize)]
#[serde(untagged)]
enum Money {
    Text(String),
    Number(Number),
}

impl Money {
    fn picodollars(&self) -> Option<u64> {
        let amount = match self {
            Self::Text(text) => Picodollars::parse_dollars(text)?.0,
            Self::Number(number) => {
                let dollars = number.as_f64().filter(|dollars| dollars.is_sign_positive())?;
                // The shortest number that is read so; where that has more than 12 places, what is no less.
                let exact = Picodollars::parse_dollars(&dollars.to_string()).map(|exact| exact.0);
                exact.or_else(|| {
                    let up = (dollars * Picodollars::PER_DOLLAR as f64).ceil();
                    (up < kairos_pipeline::policy::WHOLE_BELOW).then_some(up as u64)
                })?
            }
        };
        Some(amount).filter(|amount| (*amount as f64) < kairos_pipeline::policy::WHOLE_BELOW)
    }
}

/// Bytes of a data set: it is in memory while it is scored.
const MOST_BYTES: usize = 1024 * 1024 * 1024;

/// Reads a data set: so many lines at most, none of more than so many bytes. What is wrong is told with its line.
pub(super) fn read(path: &Path, most: usize, line_bytes: usize) -> Result<Vec<Row>, Failed> {
    lines(path, most, line_bytes, false)
}

/// The same of the first so many; further ones are not looked at.
pub(super) fn first(path: &Path, count: usize, line_bytes: usize) -> Result<Vec<Row>, Failed> {
    lines(path, count, line_bytes, true)
}

fn lines(path: &Path, most: usize, line_bytes: usize, ends: bool) -> Result<Vec<Row>, Failed> {
    let shown = path.display();
    let cannot = |error: &dyn std::fmt::Display| Failed::usage(format!("{shown}: {error}"));
    let file = std::fs::File::open(path).map_err(|error| cannot(&error))?;
    let (mut reader, mut rows, mut number, mut bytes) = (BufReader::new(file), Vec::new(), 0, 0usize);
    loop {
        let mut line = Vec::new();
        let limit = line_bytes as u64 + 2;
        reader.by_ref().take(limit).read_until(b'\n', &mut line).map_err(|error| cannot(&error))?;
        if line.is_empty() {
            break;
        }
        number += 1;
        let wrong = |what: String| Failed::usage(format!("{shown}:{number}: {what}"));
        let text = line.trim_ascii();
        bytes += text.len();
        if bytes > MOST_BYTES {
            return Err(wrong(format!("the data set has more than {MOST_BYTES} bytes: split it")));
        }
        if text.len() > line_bytes {
            return Err(wrong(format!("the line has more than {line_bytes} bytes ([evaluator] case_bytes)")));
        }
        if text.is_empty() {
            continue;
        }
        if rows.len() == most && ends {
            break;
        }
        if rows.len() == most {
            return Err(wrong(format!(
                "there are more than {most} cases ([evaluator] cases); --limit N takes the first N"
            )));
        }
        let line: Line = serde_json::from_slice(text).map_err(|error| wrong(error.to_string()))?;
        rows.push(row(line, number).map_err(wrong)?);
    }
    if rows.is_empty() {
        return Err(Failed::usage(format!("{shown}: there is no case in it")));
    }
    Ok(rows)
}

fn row(line: Line, number: usize) -> Result<Row, String> {
    let Line { id, task, prompt, expected, outcomes, rest } = line;
    let id = match id {
        Some(Value::String(id)) => id,
        Some(Value::Number(id)) => id.to_string(),
        None => format!("line {number}"),
        Some(_) => return Err("`id` is neither text nor a number".to_owned()),
    };
    if outcomes.len() > MOST_OUTCOMES {
        return Err(format!("{} outcomes; {MOST_OUTCOMES} are allowed", outcomes.len()));
    }
    let mut qualities = Vec::new();
    let mut came = Vec::new();
    for (model, outcome) in outcomes {
        let outcome = self::outcome(&model, outcome).map_err(|what| format!("the outcome of {model:?}: {what}"))?;
        qualities.extend(outcome.quality.map(|quality| (model, quality)));
        came.push(Arc::new(outcome));
    }
    let members = rest.into_iter().map(|(name, value)| (name, value.to_string())).collect();
    let case = Arc::new(Case { id, task, prompt, expected, members, qualities });
    Ok(Row { case, outcomes: came })
}

fn outcome(model: &str, came: Came) -> Result<CaseOutcome, String> {
    let ending = match (came.failure.as_deref(), came.refused) {
        (None, false) => CaseEnding::Answered,
        (None, true) => CaseEnding::Refused,
        (Some(_), true) => return Err("it was refused, and failed".to_owned()),
        (Some(name), false) => {
            let kind = FailureKind::ALL.into_iter().find(|kind| kind.name() == name);
            CaseEnding::Failed(kind.ok_or_else(|| {
                format!(
                    "there is no failure {name:?}; there are {}",
                    FailureKind::ALL.map(FailureKind::name).join(", ")
                )
            })?)
        }
    };
    if let Some(quality) = came.quality.filter(|quality| !(0.0..=1.0).contains(quality)) {
        return Err(format!("its quality is {quality}; a number from 0 to 1 is one"));
    }
    let cost = came.cost.map(|cost| cost.picodollars().ok_or("its cost is no amount of US dollars")).transpose()?;
    Ok(CaseOutcome {
        ending,
        model: Some(model.to_owned()),
        text: came.text.unwrap_or_default(),
        quality: came.quality,
        cost,
        input_tokens: came.input_tokens,
        output_tokens: came.output_tokens,
        latency_ms: came.latency_ms,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_are_exact_where_they_can_be() {
        let of = |text: &str| serde_json::from_str::<Money>(text).unwrap().picodollars();
        assert_eq!(of("0.00001"), Some(10_000_000));
        assert_eq!(of("1e-12"), Some(1));
        assert_eq!(of("\"0.000000000001\""), Some(1));
        assert_eq!(of("0.30000000000000004"), Some(300_000_000_001), "no less than it is");
        assert_eq!((of("-1"), of("\"free\""), of("1e9")), (None, None, None));
    }
}
