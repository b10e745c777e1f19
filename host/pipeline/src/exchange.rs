//! One request and what is known of it so far.

use std::sync::Arc;

use kairos_dialects::openai::embeddings::AnswerWriter;
use tokio::time::Instant;

use crate::arm;
use crate::budget::Spender;
use crate::decode::Decoded;
use crate::gateway::{Gateway, Settings};
use crate::guarded::Guarded;
use crate::judgements::Judgements;
use crate::learned::Reads;
use crate::models::Catalogue;
use crate::money::Picodollars;
use crate::observe::Observed;
use crate::policy::{Assigned, Went};
use crate::price::Day;
use crate::record::{Asked, AttemptRecord, DecisionRecord, Draft, Ended, Record, millis};
use crate::request::{Caller, Dialect, Incoming, RequestId};
use crate::scope::Scope;

/// One request under way: its id, the snapshot that it is served by, and its record.
pub struct Exchange {
    /// Kairos's id.
    pub id: RequestId,
    /// The dialect to answer in.
    pub dialect: Dialect,
    /// The models and prices that the request sees, from start to end.
    pub catalogue: Arc<Catalogue>,
    /// Who calls.
    pub key: Arc<str>,
    /// Its team.
    pub(crate) team: Option<Arc<str>>,
    /// What the caller's key may do; none: everything.
    pub(crate) scope: Option<Arc<Scope>>,
    /// The catalogue's models that it may use; none: all.
    allowed: Option<Vec<usize>>,
    /// The caller's tags.
    pub tags: Arc<[(String, String)]>,
    /// What happens, for the record.
    pub record: Draft,
    /// What the policy was asked, where that is kept.
    pub(crate) asked: Option<Box<Asked>>,
    /// What others than the router were asked, where that is kept.
    pub(crate) judgements: Judgements,
    /// What was learned, as it is seen from its beginning to its end.
    pub(crate) learned: Arc<Reads>,
    /// What is gathered for an observer, where one serves.
    pub(crate) observed: Option<Box<Observed>>,
    /// Who judges its texts, and what was said of them.
    pub(crate) guarded: Option<Arc<Guarded>>,
    /// When it came in.
    pub started: Instant,
    /// From when its patience counts: where it is several calls, from the start of the one under way.
    pub(crate) patient_since: Instant,
    /// Attempts that failed and were followed by another, of all its calls.
    pub(crate) healed: u32,
    /// The vectors that it was answered so far, where it embeds.
    pub(crate) vectors: Option<Box<AnswerWriter>>,
    /// The experiment that it is part of.
    pub(crate) assigned: Option<Assigned>,
    /// The policy that was asked failed, or could not be asked.
    pub(crate) policy_failed: bool,
    finished: bool,
}

impl Exchange {
    pub(crate) fn begin(gateway: &Gateway, incoming: &Incoming) -> Self {
        let id = RequestId::mint();
        let started = Instant::now();
        let record = Record {
            request_id: id.text(),
            client_request_id: incoming.client_request_id.clone(),
            received_ms: (gateway.clock)(),
            operation: incoming.operation.name(),
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
            status: "running",
            http_status: None,
            model: None,
            cost_usd: Picodollars::ZERO,
            cost_estimated: false,
            warnings: Vec::new(),
            duration_ms: 0.0,
            first_byte_ms: None,
        };
        Self {
            id,
            dialect: incoming.operation.dialect(),
            catalogue: gateway.catalogue.load_full(),
            key: Arc::default(),
            team: None,
            scope: None,
            allowed: None,
            tags: Arc::default(),
            record: record.into(),
            asked: None,
            judgements: Judgements::default(),
            learned: Arc::new(Reads::of(gateway.policies.learned())),
            observed: None,
            guarded: None,
            started,
            patient_since: started,
            healed: 0,
            vectors: None,
            assigned: None,
            policy_failed: false,
            finished: false,
        }
    }

    pub(crate) fn caller(&mut self, caller: Caller) {
        self.record.key = Some(Arc::clone(&caller.key));
        self.key = caller.key;
        self.team = caller.team;
        self.allowed = caller.scope.as_ref().and_then(|scope| scope.models_of(&self.catalogue));
        self.scope = caller.scope;
    }

    /// Takes the catalogue that serves now, before anything was decided by the one from before.
    pub(crate) fn look_anew(&mut self, gateway: &Gateway) {
        self.catalogue = gateway.catalogue.load_full();
        self.allowed = self.scope.as_ref().and_then(|scope| scope.models_of(&self.catalogue));
    }

    /// The day whose prices are offered. What is reserved is at the prices of the reservation's day.
    pub(crate) fn day(&self) -> Day {
        self.catalogue.day_at(self.record.received_ms)
    }

    /// Who spends, for budgets.
    pub(crate) fn spender(&self) -> Spender<'_> {
        Spender { key: &self.key, team: self.team.as_deref(), tags: &self.tags }
    }

    /// Whether the caller's key may use a target.
    pub(crate) fn allows(&self, target: usize) -> bool {
        let model = self.catalogue.targets[target].model;
        self.allowed.as_ref().is_none_or(|allowed| allowed.contains(&model))
    }

    /// Whether the caller's key may use no model that is known.
    pub(crate) fn allows_none(&self) -> bool {
        self.allowed.as_ref().is_some_and(Vec::is_empty)
    }

    pub(crate) fn decoded(&mut self, request: &Decoded, settings: &Settings) {
        self.record.asked_model.push_str(request.model(settings));
        if request.client_request_id.is_some() {
            self.record.client_request_id.clone_from(&request.client_request_id);
        }
        self.record.warnings.extend(request.warnings.iter().cloned());
        if request.prompt.is_some() {
            self.record.prompt.clone_from(&request.prompt);
        }
        self.tags = Arc::clone(&request.hints.tags);
    }

    /// The most output tokens of a target's model.
    pub(crate) fn output_limit(&self, target: usize) -> u32 {
        self.catalogue.models[self.catalogue.targets[target].model].max_output_tokens
    }

    /// Tells the caller of something, once.
    pub(crate) fn warn(&mut self, what: &str) {
        if !self.record.warnings.iter().any(|known| known == what) {
            self.record.warnings.push(what.to_owned());
        }
    }

    pub(crate) fn decided(&mut self, decision: DecisionRecord) {
        self.record.decision = Some(decision);
    }

    pub(crate) fn attempted(&mut self, attempt: AttemptRecord) {
        if let Some(sum) = self.record.cost_usd.checked_add(attempt.cost_usd) {
            self.record.cost_usd = sum;
        }
        self.record.cost_estimated |= attempt.ledger == "estimated";
        if self.record.attempts.is_empty() {
            // Most requests need one, and records are kept by the thousand.
            self.record.attempts.reserve_exact(1);
        }
        self.record.attempts.push(attempt);
    }

    /// Takes down that the first byte of the answer goes out.
    pub(crate) fn first_byte(&mut self) {
        let elapsed = self.elapsed_ms();
        self.record.first_byte_ms.get_or_insert(elapsed);
    }

    /// Milliseconds since the request came in.
    pub(crate) fn elapsed_ms(&self) -> f64 {
        millis(self.started.elapsed())
    }

    /// Keeps the record, and tells log and metrics. Only the first call counts.
    pub(crate) fn finish(&mut self, gateway: &Gateway, status: &'static str, http_status: Option<u16>) {
        if std::mem::replace(&mut self.finished, true) {
            return;
        }
        self.record.status = status;
        self.record.http_status = http_status;
        self.record.duration_ms = self.elapsed_ms();
        if let Some(guarded) = self.guarded.take() {
            self.record.guarded = guarded.records();
            self.judgements.append(guarded.judgements());
        }
        if let Some(assigned) = &self.assigned {
            let failed = self.policy_failed || arm::is_failure(status);
            // How fast a caller reads a stream is no matter of the policy's.
            let latency_ms = self.record.first_byte_ms.unwrap_or(self.record.duration_ms);
            gateway.policies.ended(assigned, Went { failed, latency_ms, cost: self.record.cost_usd.0 });
        }
        if let Some(observed) = self.observed.take() {
            observed.ended(self);
        }
        let record = self.record.share();
        gateway.observer.finished(&record);
        // Who is not known cannot fill the disk.
        if let Some(recorder) = gateway.recorder.as_ref().filter(|_| record.key.is_some()) {
            let (asked, judgements) = (self.asked.take(), std::mem::take(&mut self.judgements));
            recorder.keep(Ended { id: self.id, record: Arc::clone(&record), asked, judgements });
        }
        gateway.records.keep(self.id, record);
    }
}
