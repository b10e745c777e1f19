//! The line of a request.

use std::sync::Arc;

use kairos_pipeline::money::Picodollars;
use kairos_pipeline::record::Record;
use serde::Serialize;

use super::JSON_LINES;

/// The target of the lines about requests.
const REQUESTS: &str = "kairos::request";

/// A request that has ended, of which a line is to be written.
pub(super) struct Ended {
    at: jiff::Timestamp,
    record: Arc<Record>,
}

impl Ended {
    /// Bytes that one counts for while it waits: a record is some 2 KB.
    pub(super) const BYTES: usize = 2048;

    /// Writes a line of JSON: a tenth of what it costs by way of `tracing`, whose fields are formatted one by one.
    pub(super) fn write(&self, to: &mut Vec<u8>) {
        let before = to.len();
        match serde_json::to_writer(&mut *to, &Line::of(self)) {
            Ok(()) => to.push(b'\n'),
            Err(_) => to.truncate(before),
        }
    }
}

/// Writes the line of a request that has ended; of JSON later, on the log's own thread: for many at a time it is
/// cheaper than for one, between two requests.
pub(crate) fn tell(record: &Arc<Record>) {
    if !tracing::enabled!(target: REQUESTS, tracing::Level::INFO) {
        return;
    }
    match JSON_LINES.get() {
        Some(lines) => lines.push_request(Ended { at: jiff::Timestamp::now(), record: Arc::clone(record) }),
        None => tell_people(record),
    }
}

/// A request's line of JSON, in the form of all other lines.
#[derive(Serialize)]
struct Line<'a> {
    timestamp: jiff::Timestamp,
    level: &'static str,
    message: &'static str,
    request_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_request_id: Option<&'a str>,
    operation: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    asked_model: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    task: Option<&'a str>,
    attempts: usize,
    status: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    http_status: Option<u16>,
    cost_usd: Picodollars,
    cost_estimated: bool,
    duration_ms: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_byte_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    warnings: Option<String>,
    target: &'static str,
}

impl<'a> Line<'a> {
    fn of(Ended { at, record }: &'a Ended) -> Self {
        let decision = record.decision.as_ref();
        Self {
            timestamp: *at,
            level: "INFO",
            message: "request",
            request_id: &record.request_id,
            client_request_id: record.client_request_id.as_deref(),
            operation: record.operation,
            key: record.key.as_deref(),
            asked_model: &record.asked_model,
            model: record.model.as_deref(),
            policy: decision.map(|decision| &*decision.policy),
            reason: decision.and_then(|decision| decision.reason_name.as_deref()),
            task: record.task,
            attempts: record.attempts.len(),
            status: record.status,
            http_status: record.http_status,
            cost_usd: record.cost_usd,
            cost_estimated: record.cost_estimated,
            duration_ms: record.duration_ms,
            first_byte_ms: record.first_byte_ms,
            warnings: warnings(record),
            target: REQUESTS,
        }
    }
}

fn warnings(record: &Record) -> Option<String> {
    (!record.warnings.is_empty()).then(|| record.warnings.join("; "))
}

/// Tells people of a request.
fn tell_people(record: &Record) {
    let decision = record.decision.as_ref();
    tracing::info!(
        target: REQUESTS,
        request_id = &*record.request_id,
        client_request_id = record.client_request_id,
        operation = record.operation,
        key = record.key.as_deref(),
        asked_model = record.asked_model,
        model = record.model.as_deref(),
        policy = decision.map(|decision| &*decision.policy),
        reason = decision.and_then(|decision| decision.reason_name.as_deref()),
        task = record.task,
        attempts = record.attempts.len(),
        status = record.status,
        http_status = record.http_status,
        cost_usd = %record.cost_usd,
        cost_estimated = record.cost_estimated,
        duration_ms = record.duration_ms,
        first_byte_ms = record.first_byte_ms,
        warnings = warnings(record),
        "request"
    );
}

#[cfg(test)]
impl Ended {
    /// What ended with this id, at the beginning of 1970.
    pub(super) fn of(request_id: [u8; 16]) -> Self {
        let record = Record {
            request_id: kairos_pipeline::request::RequestId::from_bytes(request_id).text(),
            client_request_id: None,
            received_ms: 0,
            operation: "converse",
            key: None,
            asked_model: "auto".to_owned(),
            task: None,
            complexity: None,
            prompt: None,
            decision: None,
            attempts: Vec::new(),
            status: "ok",
            http_status: Some(200),
            model: None,
            cost_usd: Picodollars(12),
            cost_estimated: false,
            warnings: vec!["one".to_owned(), "two".to_owned()],
            duration_ms: 3.5,
            first_byte_ms: None,
            prompted: None,
            healing: Vec::new(),
            guarded: Vec::new(),
        };
        Self { at: jiff::Timestamp::UNIX_EPOCH, record: Arc::new(record) }
    }
}
