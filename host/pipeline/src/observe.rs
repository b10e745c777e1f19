//! What is gathered of a request for an observer, while one serves; told when the request has ended.

use std::sync::Arc;
use std::time::Duration;

use kairos_dialects::{Failure, Kind, Usage};
use tokio::time::Instant;

use crate::exchange::Exchange;
use crate::heal::kind_of;
use crate::ledger;
use crate::offer::Offers;
use crate::policy::{
    Content, Ending, Event, EventKind, FailureKind, Features, Offer, Outcome, RequestInfo, SeenAttempt, Stop, Watcher,
};

/// Integers of the contract are below 2⁵³.
const MOST: u64 = (1 << 53) - 1;

/// What is known so far of a request that a router was asked for.
pub(crate) struct Observed {
    watcher: Arc<dyn Watcher>,
    request: Arc<RequestInfo>,
    features: Features,
    models: Vec<Offer>,
    /// The catalogue's targets of the models, in their order.
    targets: Vec<usize>,
    policy: Arc<str>,
    reason: u32,
    first: Option<(u32, f64)>,
    attempts: Vec<SeenAttempt>,
    /// When the attempt under way began.
    began: Instant,
    stop: Option<Stop>,
}

/// What a router gave: who decided, for which reason, and which model is tried first, with what chance.
pub(crate) type Given = (Arc<str>, u32, Option<(u32, f64)>);

impl Observed {
    /// Begins with what the router was asked. `others` are the operator's fallbacks that are not on offer.
    pub(crate) fn new(
        watcher: Arc<dyn Watcher>,
        exchange: &Exchange,
        offers: &Offers,
        (others, facts): (&[usize], &[Offer]),
        (policy, reason, first): Given,
    ) -> Self {
        let targets = [&offers.targets[..], others].concat();
        let id = |target: &usize| Arc::clone(&exchange.catalogue.model_of(*target).id);
        let info = &offers.info;
        let request = RequestInfo {
            // What was said is no observer's business, and would be held for long.
            content: Content::default(),
            tags: Arc::clone(&info.tags),
            task_label: info.task_label.clone(),
            asked_model: info.asked_model.clone(),
            model_ids: targets.iter().map(id).collect(),
            regions: info.regions.clone(),
            names: Arc::clone(&info.names),
            learned: Arc::default(),
        };
        let unmarked = |offer: &Offer| Offer { names: 0, ..*offer };
        Self {
            watcher,
            request: Arc::new(request),
            features: offers.features,
            models: offers.facts.iter().chain(facts).map(unmarked).collect(),
            targets,
            policy,
            reason,
            first,
            attempts: Vec::new(),
            began: Instant::now(),
            stop: None,
        }
    }

    /// An attempt begins.
    pub(crate) fn tries(&mut self, target: usize, waited_ms: u32, text_tokens: u32) {
        let model = self.targets.iter().position(|known| *known == target);
        let Some(model) = model.and_then(|model| u32::try_from(model).ok()) else { return };
        self.began = Instant::now();
        self.attempts.push(SeenAttempt {
            model,
            outcome: Outcome::Abandoned,
            status: None,
            retry_after_ms: None,
            may_be_billed: false,
            cost: 0,
            settled: true,
            duration_ms: 0,
            waited_ms,
            first_content_ms: None,
            input_tokens: None,
            output_tokens: None,
            cache_read_tokens: None,
            cache_write_tokens: None,
            text_tokens,
        });
    }

    /// Content came of the attempt under way.
    pub(crate) fn content(&mut self) {
        let began = self.began;
        if let Some(attempt) = self.attempts.last_mut() {
            attempt.first_content_ms.get_or_insert_with(|| milliseconds(began.elapsed()));
        }
    }

    /// The model said why it stopped.
    pub(crate) fn stopped(&mut self, stop: Stop) {
        self.stop = Some(stop);
    }

    /// The attempt under way has ended, and so has its row.
    pub(crate) fn attempted(&mut self, ending: &ledger::Ending, usage: Option<Usage>, failure: Option<&Failure>) {
        let Some(attempt) = self.attempts.last_mut() else { return };
        attempt.cost = ending.charged().0.min(MOST);
        attempt.settled = !matches!(ending, ledger::Ending::Estimated { .. });
        attempt.may_be_billed = !matches!(ending, ledger::Ending::Voided { .. });
        attempt.duration_ms = milliseconds(self.began.elapsed());
        if let Some(usage) = usage {
            let tokens = |count: u64| Some(u32::try_from(count).unwrap_or(u32::MAX));
            attempt.input_tokens = tokens(usage.input);
            attempt.output_tokens = tokens(usage.output);
            attempt.cache_read_tokens = tokens(usage.cache_read);
            attempt.cache_write_tokens = tokens(usage.cache_write());
        }
        match failure {
            None => attempt.outcome = Outcome::Answered,
            Some(failure) => failed(attempt, failure),
        }
    }

    /// The attempt under way failed: where it came to no row, it is known only now.
    pub(crate) fn failed(&mut self, failure: &Failure) {
        let duration_ms = milliseconds(self.began.elapsed());
        let unknown = self.attempts.last_mut().filter(|attempt| attempt.outcome == Outcome::Abandoned);
        if let Some(attempt) = unknown.filter(|_| failure.kind != Kind::ClientLeft) {
            attempt.duration_ms = duration_ms;
            failed(attempt, failure);
        }
    }

    /// The request has ended: tells of it.
    pub(crate) fn ended(self, exchange: &Exchange) {
        let record = &exchange.record;
        let ending = self.ending(exchange);
        let event = Event {
            request: self.request,
            kind: EventKind::Ended,
            features: self.features,
            models: self.models,
            policy: self.policy,
            reason: Some(self.reason),
            first: self.first,
            attempts: self.attempts,
            ending,
            stop: self.stop.filter(|_| ending != Ending::Failed),
            duration_ms: milliseconds(exchange.started.elapsed()),
            began_at_ms: record.received_ms.min(MOST),
            rating: None,
        };
        self.watcher.ended(exchange.id, event);
    }

    fn ending(&self, exchange: &Exchange) -> Ending {
        let record = &exchange.record;
        let status = record.status;
        if status == Kind::ClientLeft.name() {
            return Ending::ClientLeft;
        }
        if record.guarded.iter().any(|guarded| guarded.stopped.is_some()) {
            return Ending::Blocked;
        }
        if status == "ok" {
            return Ending::Answered;
        }
        if status == Kind::RefusedByPolicy.name() {
            return Ending::Refused;
        }
        match self.attempts.last() {
            // What is wrong is the caller's, or the gateway's.
            None => Ending::Other,
            Some(_) if record.first_byte_ms.is_some() => Ending::Cut,
            Some(_) => Ending::Failed,
        }
    }
}

fn failed(attempt: &mut SeenAttempt, failure: &Failure) {
    attempt.outcome = Outcome::Failed(kind_of(failure.kind).unwrap_or(FailureKind::Other));
    attempt.status = failure.upstream.as_ref().map(|upstream| upstream.status);
    attempt.retry_after_ms = failure.retry_after.map(milliseconds);
    attempt.may_be_billed |= !failure.unbilled;
}

fn milliseconds(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX)
}
