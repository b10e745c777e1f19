//! Faults as JSON, read with precise complaints.
//!
//! One fault is an object:
//!
//! ```json
//! {"model": "*", "fault": "ThrottlingException", "rate": 0.5, "times": 10,
//!  "message": "slow down", "retry_after": 2}
//! ```
//!
//! `fault` is the name of an exception, or one of the words below; `after` counts content events and
//! goes with `stall_after`, `cut_frame`, `bad_checksum`, `clean_eof` and `stream_exception`, which
//! also needs an `exception`. It must not know how faults strike.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Counted, Fault, FaultKind, Rate, StreamException};
use crate::error::Exception;

const WORDS: [&str; 9] = [
    "empty_429",
    "connection_reset",
    "stall",
    "stall_after",
    "cut_frame",
    "bad_checksum",
    "clean_eof",
    "no_metadata",
    "stream_exception",
];

/// More faults than this are surely a mistake.
const MOST: usize = 1_000;

/// Why a list of faults is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadFault {
    /// Not JSON.
    #[error("not JSON: {0}")]
    NotJson(String),
    /// Not a list.
    #[error("a list of faults is wanted")]
    NotAList,
    /// A list without end.
    #[error("{0} faults are more than the 1000 that are taken")]
    TooMany(usize),
    /// One of the list is wrong; the first is number 0.
    #[error("fault {number}: {why}")]
    One {
        /// Its place.
        number: usize,
        /// What is wrong.
        why: String,
    },
}

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Spec {
    model: String,
    fault: String,
    #[serde(default = "always")]
    rate: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    times: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exception: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<u32>,
    /// Counts are written, and ignored when what was written comes back.
    #[serde(skip_serializing_if = "Option::is_none")]
    seen: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    struck: Option<u64>,
}

fn always() -> f64 {
    1.0
}

/// Reads a list of faults.
pub(crate) fn read(json: &[u8]) -> Result<Vec<Fault>, BadFault> {
    let value: Value = serde_json::from_slice(json).map_err(|e| BadFault::NotJson(e.to_string()))?;
    let Value::Array(items) = value else {
        return Err(BadFault::NotAList);
    };
    if items.len() > MOST {
        return Err(BadFault::TooMany(items.len()));
    }
    let one = |(number, item): (usize, Value)| {
        serde_json::from_value::<Spec>(item)
            .map_err(|e| e.to_string())
            .and_then(fault)
            .map_err(|why| BadFault::One { number, why })
    };
    items.into_iter().enumerate().map(one).collect()
}

fn fault(spec: Spec) -> Result<Fault, String> {
    if spec.model.is_empty() {
        return Err("`model` is empty; `*` means every model".into());
    }
    let rate = Rate::new(spec.rate).ok_or_else(|| format!("`rate` is {}, which is not between 0 and 1", spec.rate))?;
    let model = spec.model.clone();
    let times = spec.times;
    Ok(Fault { model, kind: kind(spec)?, rate, times })
}

fn kind(mut spec: Spec) -> Result<FaultKind, String> {
    let word = std::mem::take(&mut spec.fault);
    let after = spec.after.take();
    // Damage shows best in the middle of an answer.
    let damaged_after = after.unwrap_or(1);
    let kind = match word.as_str() {
        "empty_429" => FaultKind::Empty429,
        "connection_reset" => FaultKind::ConnectionReset,
        "stall" => FaultKind::Stall,
        "no_metadata" => FaultKind::NoMetadata,
        "stall_after" => FaultKind::StallAfter { after: damaged_after },
        "cut_frame" => FaultKind::CutFrame { after: damaged_after },
        "bad_checksum" => FaultKind::BadChecksum { after: damaged_after },
        "clean_eof" => FaultKind::CleanEof { after: damaged_after },
        "stream_exception" => FaultKind::StreamException {
            exception: stream_exception(spec.exception.take())?,
            after: after.unwrap_or(0),
            message: spec.message.take(),
        },
        name => FaultKind::Error {
            exception: Exception::find(name).ok_or_else(|| unknown(name))?,
            message: spec.message.take(),
            retry_after: spec.retry_after.take(),
        },
    };
    let takes_after = !matches!(
        kind,
        FaultKind::Error { .. }
            | FaultKind::Empty429
            | FaultKind::ConnectionReset
            | FaultKind::Stall
            | FaultKind::NoMetadata
    );
    let left_over = [
        ("after", after.is_some() && !takes_after),
        ("exception", spec.exception.is_some()),
        ("message", spec.message.is_some()),
        ("retry_after", spec.retry_after.is_some()),
    ];
    match left_over.iter().find(|(_, there)| *there) {
        Some((field, _)) => Err(format!("`{field}` means nothing to `{word}`")),
        None => Ok(kind),
    }
}

fn stream_exception(name: Option<String>) -> Result<StreamException, String> {
    let name = name.ok_or("`stream_exception` needs an `exception`")?;
    StreamException::ALL.into_iter().find(|known| known.name().eq_ignore_ascii_case(&name)).ok_or_else(|| {
        let known: Vec<_> = StreamException::ALL.iter().map(|e| e.name()).collect();
        format!("no stream exception is called `{name}`; there are {}", known.join(", "))
    })
}

fn unknown(name: &str) -> String {
    let known: Vec<_> = WORDS.into_iter().chain(Exception::names()).collect();
    format!("no fault is called `{name}`; there are {}", known.join(", "))
}

/// Writes faults and their counts so that [`read`] takes them back.
pub(crate) fn write(faults: &[Counted]) -> Value {
    let specs: Vec<Spec> = faults.iter().map(spec).collect();
    json!(specs)
}

fn spec(counted: &Counted) -> Spec {
    let fault = &counted.fault;
    let mut spec = Spec {
        model: fault.model.clone(),
        rate: fault.rate.fraction(),
        times: fault.times,
        seen: Some(counted.seen),
        struck: Some(counted.struck),
        ..Spec::default()
    };
    spec.fault = match &fault.kind {
        FaultKind::Error { exception, message, retry_after } => {
            spec.message.clone_from(message);
            spec.retry_after = *retry_after;
            exception.name()
        }
        FaultKind::Empty429 => "empty_429",
        FaultKind::ConnectionReset => "connection_reset",
        FaultKind::Stall => "stall",
        FaultKind::NoMetadata => "no_metadata",
        FaultKind::StallAfter { after } => {
            spec.after = Some(*after);
            "stall_after"
        }
        FaultKind::CutFrame { after } => {
            spec.after = Some(*after);
            "cut_frame"
        }
        FaultKind::BadChecksum { after } => {
            spec.after = Some(*after);
            "bad_checksum"
        }
        FaultKind::CleanEof { after } => {
            spec.after = Some(*after);
            "clean_eof"
        }
        FaultKind::StreamException { exception, after, message } => {
            spec.exception = Some(exception.name().into());
            spec.after = Some(*after);
            spec.message.clone_from(message);
            "stream_exception"
        }
    }
    .into();
    spec
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::Faults;

    #[test]
    fn every_fault_can_be_written_and_read_back() {
        let mut specs: Vec<Value> = Exception::names()
            .map(|name| json!({"model": "m", "fault": name, "message": "x", "retry_after": 2}))
            .collect();
        for word in WORDS {
            specs.push(match word {
                "stream_exception" => {
                    json!({"model": "*", "fault": word, "exception": "ThrottlingException",
                           "after": 3, "rate": 0.25, "times": 4})
                }
                _ => json!({"model": "*", "fault": word, "rate": 0}),
            });
        }
        let faults = read(json!(specs).to_string().as_bytes()).unwrap();
        assert_eq!(faults.len(), 12 + WORDS.len());
        let written = write(&Faults::new(faults.clone()).counted());
        assert_eq!(read(written.to_string().as_bytes()), Ok(faults));
    }

    #[test]
    fn complaints_are_precise() {
        let cases = [
            ("[", "not JSON: EOF while parsing a list at line 1 column 1"),
            ("{}", "a list of faults is wanted"),
            ("[1]", "fault 0: invalid type: integer `1`, expected struct Spec"),
            (r#"[{"model":"*","fault":"stall"},{"fault":"stall"}]"#, "fault 1: missing field `model`"),
            (r#"[{"model":"","fault":"stall"}]"#, "fault 0: `model` is empty; `*` means every model"),
            (r#"[{"model":"*","fault":"stall","rate":1.5}]"#, "fault 0: `rate` is 1.5, which is not between 0 and 1"),
            (r#"[{"model":"*","fault":"stall","after":1}]"#, "fault 0: `after` means nothing to `stall`"),
            (
                r#"[{"model":"*","fault":"clean_eof","retry_after":1}]"#,
                "fault 0: `retry_after` means nothing to `clean_eof`",
            ),
            (r#"[{"model":"*","fault":"stream_exception"}]"#, "fault 0: `stream_exception` needs an `exception`"),
            (r#"[{"model":"*","fault":"stall","often":1}]"#, "fault 0: unknown field `often`"),
            (
                r#"[{"model":"*","fault":"stream_exception","exception":"boom"}]"#,
                "fault 0: no stream exception is called `boom`; there are internalServerException",
            ),
            (r#"[{"model":"*","fault":"boom"}]"#, "fault 0: no fault is called `boom`; there are empty_429"),
        ];
        for (json, complaint) in cases {
            let error = read(json.as_bytes()).unwrap_err().to_string();
            assert!(error.starts_with(complaint), "{json}: {error}");
        }
        let many = format!("[{}]", vec!["0"; 1_001].join(","));
        assert_eq!(read(many.as_bytes()), Err(BadFault::TooMany(1_001)));
    }
}
