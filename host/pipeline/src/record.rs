//! What happened to a request, kept for `/v1/requests/{id}`, the log and the metrics; and what its
//! policy was asked, so that it can be asked again.

use std::collections::{HashMap, VecDeque};
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kairos_dialects::Usage;
use serde::{Deserialize, Serialize};

use crate::judgements::Judgements;
use crate::models::Catalogue;
use crate::money::Picodollars;
use crate::policy::{Features, Identity, Offer, Plan, RequestInfo, Undecided};
use crate::request::{IdText, RequestId};

/// What happened to a request.
#[derive(Clone, Debug, Serialize)]
pub struct Record {
    /// Kairos's id.
    pub request_id: IdText,
    /// The caller's own id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_request_id: Option<String>,
    /// When it came, in milliseconds since 1970.
    pub received_ms: u64,
    /// What was asked for.
    pub operation: &'static str,
    /// Whose key was used.
    pub key: Option<Arc<str>>,
    /// The model as the caller wrote it.
    pub asked_model: String,
    /// What the request is about, as found or hinted.
    pub task: Option<&'static str>,
    /// How hard it is, as found or hinted.
    pub complexity: Option<&'static str>,
    /// The template that it named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt: Option<PromptRecord>,
    /// What the policy decided.
    pub decision: Option<DecisionRecord>,
    /// Every attempt.
    pub attempts: Vec<AttemptRecord>,
    /// What a prompter made of the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompted: Option<PromptedRecord>,
    /// What followed each failure that a healer was asked about.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub healing: Vec<HealingRecord>,
    /// What a guard said of the request and of its answer.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub guarded: Vec<GuardedRecord>,
    /// How it ended: `ok`, the failure's name, or `client_left`.
    pub status: &'static str,
    /// The status that the caller got, where one was sent.
    pub http_status: Option<u16>,
    /// The model that answered.
    pub model: Option<Arc<str>>,
    /// The sum over all attempts, in US dollars.
    pub cost_usd: Picodollars,
    /// Whether a part of the cost is an upper bound.
    pub cost_estimated: bool,
    /// What the caller was told.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// From arrival to the end of the answer.
    pub duration_ms: f64,
    /// From arrival to the first byte of the answer.
    pub first_byte_ms: Option<f64>,
}

/// A template that a request was made with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PromptRecord {
    /// Its name.
    pub name: Arc<str>,
    /// Its version.
    pub version: u32,
    /// SHA-256 of its file, in hexadecimal.
    pub digest: Arc<str>,
}

/// What the policy decided.
#[derive(Clone, Debug, Serialize)]
pub struct DecisionRecord {
    /// Who decided: `name@digest`.
    pub policy: Arc<str>,
    /// The code of the reason.
    pub reason: u32,
    /// Its name, where the policy gave it one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason_name: Option<Arc<str>>,
    /// Models that were offered.
    pub offered: Arc<[Arc<str>]>,
    /// Models to try, in order.
    pub order: Vec<Arc<str>>,
    /// Models that the operator wants tried after them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fallback: Vec<Arc<str>>,
    /// The chance that the first had of being first.
    pub propensity: f64,
    /// The policy in place, where it did not decide.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instead_of: Option<InsteadOf>,
    /// The experiment that the request was part of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub experiment: Option<ExperimentRecord>,
}

/// An experiment, and the arm that a request was in.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ExperimentRecord {
    /// Its number.
    pub id: u64,
    /// `baseline` or `canary`.
    pub arm: &'static str,
    /// The chance that the canary had of deciding.
    pub share: f64,
    /// Where arms go by the values of a tag: what stands for this value, in hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<Box<str>>,
}

/// A policy that was asked and did not decide.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct InsteadOf {
    /// Who: `name@digest`.
    pub policy: Arc<str>,
    /// Why it did not.
    pub outcome: Undecided,
}

/// What a prompter made of a request.
#[derive(Clone, Debug, Serialize)]
pub struct PromptedRecord {
    /// Who: `name@digest`.
    pub policy: Arc<str>,
    /// The code of the reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<u32>,
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason_name: Option<Arc<str>>,
    /// What was changed, by its names in the contract.
    pub changed: Vec<&'static str>,
    /// Models that could not take the request then.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<Arc<str>>,
    /// Whether the one that was drawn first is among them: what came of the request says nothing of it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub first_left_out: bool,
    /// Whether it refused the request.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub refused: bool,
    /// Why it said nothing, where that is so: the request went as it was, or was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instead: Option<Undecided>,
}

impl PromptedRecord {
    pub(crate) fn by(policy: &Identity) -> Self {
        Self {
            policy: Arc::clone(policy.label()),
            reason: None,
            reason_name: None,
            changed: Vec::new(),
            left_out: Vec::new(),
            first_left_out: false,
            refused: false,
            instead: None,
        }
    }

    pub(crate) fn says(&mut self, policy: &Identity, reason: u32) {
        (self.reason, self.reason_name) = (Some(reason), policy.reason(reason).cloned());
    }
}

/// What a guard said of the texts of a request, or of its answer.
#[derive(Clone, Debug, Serialize)]
pub struct GuardedRecord {
    /// `input` or `output`.
    pub direction: &'static str,
    /// Who judged: `name@digest`.
    pub policy: Arc<str>,
    /// What was found, by its name, and how often.
    pub findings: Vec<(Arc<str>, u64)>,
    /// Whether something was replaced.
    pub replaced: bool,
    /// Why nothing more passed, where that is so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stopped: Option<String>,
    /// Whether some of it passed that no guard saw, as one failed.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub unseen: bool,
}

/// What followed a failure.
#[derive(Clone, Debug, Serialize)]
pub struct HealingRecord {
    /// Who decided: `name@digest`.
    pub policy: Arc<str>,
    /// The failure's name.
    pub failure: &'static str,
    /// What was to be done, by its name in the contract.
    pub action: &'static str,
    /// The code of the reason.
    pub reason: u32,
    /// Its name, where the policy gave it one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason_name: Option<Arc<str>>,
    /// The policy in place, where it did not decide.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instead_of: Option<InsteadOf>,
    /// The wait before the next attempt, where there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wait_ms: Option<u32>,
}

/// One attempt.
#[derive(Clone, Debug, Serialize)]
pub struct AttemptRecord {
    /// From 1.
    pub attempt: u32,
    /// The model.
    pub model: Arc<str>,
    /// What was called.
    pub invocation_id: Arc<str>,
    /// Where it is served.
    pub route: &'static str,
    /// `ok`, or the failure's name.
    pub status: &'static str,
    /// What Bedrock answered, where it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream_status: Option<u16>,
    /// Bedrock's code of the failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream_code: Option<String>,
    /// Bedrock's id of the call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream_request_id: Option<String>,
    /// How long it took.
    pub duration_ms: f64,
    /// The state of the ledger's row.
    pub ledger: &'static str,
    /// What was charged, in US dollars.
    pub cost_usd: Picodollars,
    /// What it can have cost at least, where that is less.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost_low_usd: Option<Picodollars>,
    /// What it consumed, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// Which prices were used.
    pub prices: Arc<str>,
    /// Where none was known, and another stood in for it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub unpriced: bool,
}

/// A time as records have it: in milliseconds, to the microsecond.
pub(crate) fn millis(time: Duration) -> f64 {
    time.as_micros() as f64 / 1e3
}

/// A record that is being written. Once it is over it is shared, not copied.
#[derive(Debug)]
pub struct Draft(Arc<Record>);

impl Draft {
    /// The record as it is now. What is written later, is written to a copy.
    pub(crate) fn share(&self) -> Arc<Record> {
        Arc::clone(&self.0)
    }
}

impl From<Record> for Draft {
    fn from(record: Record) -> Self {
        Self(Arc::new(record))
    }
}

impl Deref for Draft {
    type Target = Record;

    fn deref(&self) -> &Record {
        &self.0
    }
}

impl DerefMut for Draft {
    fn deref_mut(&mut self) -> &mut Record {
        Arc::make_mut(&mut self.0)
    }
}

/// The last records, by id.
pub struct Records {
    kept: Mutex<Kept>,
    most: usize,
}

#[derive(Default)]
struct Kept {
    by_id: HashMap<RequestId, Arc<Record>, foldhash::fast::RandomState>,
    order: VecDeque<RequestId>,
}

impl Records {
    /// Room for so many records; the oldest go first.
    pub fn new(most: usize) -> Self {
        Self { kept: Mutex::default(), most }
    }

    /// Keeps a record.
    pub fn keep(&self, id: RequestId, record: Arc<Record>) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        while kept.order.len() >= self.most.max(1) {
            if let Some(oldest) = kept.order.pop_front() {
                kept.by_id.remove(&oldest);
            }
        }
        kept.order.push_back(id);
        kept.by_id.insert(id, record);
    }

    /// Drops the records that are asked for.
    pub fn forget(&self, which: impl Fn(RequestId, &Record) -> bool) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let Kept { by_id, order } = &mut *kept;
        order.retain(|id| {
            let goes = by_id.get(id).is_some_and(|record| which(*id, record));
            if goes {
                by_id.remove(id);
            }
            !goes
        });
    }

    /// Records that are kept.
    pub fn len(&self) -> usize {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).order.len()
    }

    /// Whether none is kept.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The record of a request that has ended.
    pub fn get(&self, id: RequestId) -> Option<Arc<Record>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).by_id.get(&id).cloned()
    }
}

/// All that a policy decided upon, and what it answered: with it the policy can decide again.
#[derive(Debug)]
pub struct Asked {
    /// Who decided: `name@digest`.
    pub policy: Arc<str>,
    /// What it was loaded with: configuration and grants, as JSON.
    pub setting: Arc<str>,
    /// Who was asked before and did not decide, with what that was loaded with.
    pub before: Option<(InsteadOf, Arc<str>)>,
    /// The models that were known.
    pub catalogue: Arc<Catalogue>,
    /// What is not a number.
    pub request: Arc<RequestInfo>,
    /// What the host knew of the request.
    pub features: Features,
    /// The models on offer.
    pub models: Vec<Offer>,
    /// What the policy answered.
    pub given: Given,
    /// What was drawn, in [0, 1), where more than one model could have been first.
    pub draw: Option<f64>,
}

/// What a policy answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Given {
    /// A plan.
    Plan(Plan),
    /// No model is to answer, for this reason.
    Refused(u32),
}

/// A request that has ended.
#[derive(Debug)]
pub struct Ended {
    /// Its id.
    pub id: RequestId,
    /// What happened to it.
    pub record: Arc<Record>,
    /// What its policy was asked; none where it did not come to that.
    pub asked: Option<Box<Asked>>,
    /// What others were asked: its healer, its prompter, its guard.
    pub judgements: Judgements,
}

/// Keeps what has ended for longer than the last records are kept.
pub trait Recorder: Send + Sync {
    /// Keeps it. Never waits: where it cannot be kept, it is dropped and counted.
    fn keep(&self, ended: Ended);

    /// Whether what was said is kept as it was.
    fn keeps_content(&self) -> bool {
        false
    }
}

/// Whoever wants to know of each request that ends: log, metrics.
pub trait Observer: Send + Sync {
    /// A request has ended.
    fn finished(&self, record: &Arc<Record>);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_records_go_first() {
        let records = Records::new(2);
        let record = Arc::new(Record {
            request_id: RequestId::from_bytes([0; 16]).text(),
            client_request_id: None,
            received_ms: 0,
            operation: "converse",
            key: None,
            asked_model: String::new(),
            task: None,
            complexity: None,
            prompt: None,
            decision: None,
            attempts: Vec::new(),
            prompted: None,
            healing: Vec::new(),
            guarded: Vec::new(),
            status: "ok",
            http_status: None,
            model: None,
            cost_usd: Picodollars::ZERO,
            cost_estimated: false,
            warnings: Vec::new(),
            duration_ms: 0.0,
            first_byte_ms: None,
        });
        let ids: Vec<_> = (0..3).map(|_| RequestId::mint()).collect();
        for id in &ids {
            records.keep(*id, Arc::clone(&record));
        }
        assert!(records.get(ids[0]).is_none() && records.get(ids[1]).is_some() && records.get(ids[2]).is_some());
    }
}
