//! Step 6: one attempt. Reserve, call, settle.

use std::sync::Arc;
use std::time::Duration;

use kairos_dialects::answer::{Answer, Served};
use kairos_dialects::bedrock;
use kairos_dialects::{Failure, Invalid, Kind};
use tokio::time::Instant;

use crate::decode::Decoded;
use crate::embeddings;
use crate::encode;
use crate::exchange::Exchange;
use crate::gateway::Gateway;
use crate::guarded;
use crate::jobs;
use crate::ledger::{AttemptKey, Ending, Reservation, ReserveError, Reserved, reserve};
use crate::models::{Catalogue, Target};
use crate::money::Picodollars;
use crate::policy::Task;
use crate::price::{Day, Limits, Worst, worst_case};
use crate::rates::{Ask, Held};
use crate::record::{AttemptRecord, millis};
use crate::reply::{Outgoing, Reply};
use crate::request::Dialect;
use crate::settle;
use crate::stream;
use crate::upstream::{Call, Response, UpstreamOperation, Whole};

/// How a request was answered.
pub(crate) enum Answered {
    /// By this, still to be sent.
    Whole(Outgoing),
    /// By a stream that has been delivered, as far as the caller stayed.
    Streamed,
}

/// An attempt under way.
pub(crate) struct Attempt<'a> {
    pub(crate) target: &'a Target,
    pub(crate) worst: Picodollars,
    /// The day whose prices hold: that of its reservation.
    pub(crate) day: Day,
    /// It has no known price, and another stands in.
    unpriced: bool,
    number: u32,
    started: Instant,
    task: Task,
    /// What it holds of limits a minute, until it is over.
    held: Option<Held<'a>>,
}

/// What the attempt asks of the limits a minute, where any may cover it.
///
/// Apart: taken into a future, this was compiled to thousands of instructions, which put the key's own
/// limits together bit by bit.
#[inline(never)]
fn ask<'a>(gateway: &Gateway, exchange: &'a Exchange, request: &Decoded, target: usize) -> Option<Ask<'a>> {
    let own = exchange.scope.as_ref().map(|scope| scope.rate()).unwrap_or_default();
    if !gateway.rates.cover(own) {
        return None;
    }
    let outline = &request.outline;
    // As Bedrock reckons: the input, and the most that may be written.
    let most = exchange.output_limit(target);
    let asked = outline.max_output_tokens.filter(|_| !outline.unbounded_output).unwrap_or(most);
    let written = u64::from(asked).saturating_mul(u64::from(outline.completions));
    Some(Ask {
        key: &exchange.key,
        own,
        model: exchange.catalogue.targets[target].model,
        priority: request.hints.priority.unwrap_or_default(),
        tokens: u64::from(outline.estimated_tokens()).saturating_add(written),
    })
}

/// Takes the attempt's part of the limits a minute that cover it, waiting for it where it must.
async fn rated<'a>(
    gateway: &'a Gateway,
    exchange: &Exchange,
    request: &Decoded,
    target: usize,
    reply: &mut Reply,
) -> Result<Option<Held<'a>>, Failure> {
    let Some(ask) = ask(gateway, exchange, request, target) else { return Ok(None) };
    if let Some(held) = gateway.rates.free(&ask) {
        return Ok(Some(held));
    }
    let signs = stream::SignsOfLife::new(gateway, request, exchange, reply);
    Box::pin(gateway.rates.wait(&ask, signs, exchange, reply)).await.map(Some)
}

pub(crate) async fn attempt(
    gateway: &Gateway,
    exchange: &mut Exchange,
    request: &Decoded,
    target: usize,
    reply: &mut Reply,
) -> Result<Answered, Failure> {
    let catalogue = Arc::clone(&exchange.catalogue);
    // Who waits holds nothing.
    let held = rated(gateway, exchange, request, target, reply).await;
    let mut held = held.inspect_err(|failure| exchange.warn(&failure.message))?;
    // Before the reservation: who waits holds no money.
    let mut has_waited = false;
    let _place = match &gateway.places {
        None => None,
        Some(places) => {
            let model = catalogue.targets[target].model;
            Some(match places.free(model) {
                Some(place) => place,
                None => {
                    let signs = stream::SignsOfLife::new(gateway, request, exchange, reply);
                    has_waited = true;
                    let place = Box::pin(places.wait(model, signs, exchange, reply)).await;
                    place.inspect_err(|failure| exchange.warn(&failure.message))?
                }
            })
        }
    };
    if let Some(held) = held.as_mut().filter(|_| has_waited) {
        held.renew()?;
    }
    if let Some(job) = &request.job {
        // Apart: most requests are none.
        return Box::pin(jobs::start(gateway, exchange, request, job, (target, held), reply)).await;
    }
    let (mut attempt, mut reserved) = open(gateway, exchange, &catalogue, request, target, None).await?;
    attempt.held = held;
    let _under_way = gateway.load.attempt(attempt.target.model);
    let call = Call {
        operation: request.upstream,
        invocation_id: Arc::clone(&attempt.target.invocation_id),
        body: request.body.clone(),
        headers: Arc::clone(&request.headers),
        attempt: reserved.key().text(),
    };
    reserved.mark_sent();
    if let Some(held) = &attempt.held {
        held.mark_sent();
    }
    let signs = stream::SignsOfLife::new(gateway, request, exchange, reply);
    match signs.during(gateway.upstream.call(call), exchange, reply).await {
        Ok(Response::Whole(whole)) => finish_whole(gateway, exchange, request, &attempt, reserved, whole).await,
        Ok(Response::Stream(frames)) => {
            let frames = guarded::stream(exchange, request, frames);
            // Apart: its state is large, and a request that is not streamed need not carry it along.
            Box::pin(stream::deliver(gateway, exchange, request, &attempt, reserved, frames, reply)).await?;
            Ok(Answered::Streamed)
        }
        Err(failure) => {
            attempt.failed(gateway, exchange, reserved, &failure);
            Err(failure)
        }
    }
}

/// Reserves the attempt's worst case; of a job with the token that Bedrock knows it by.
pub(crate) async fn open<'a>(
    gateway: &Gateway,
    exchange: &mut Exchange,
    catalogue: &'a Catalogue,
    request: &Decoded,
    target: usize,
    job: Option<Arc<str>>,
) -> Result<(Attempt<'a>, Reserved), Failure> {
    let target = &catalogue.targets[target];
    let model = &catalogue.models[target.model];
    let limits = Limits { input: model.max_input_tokens, output: model.max_output_tokens };
    let at_ms = (gateway.clock)();
    let day = catalogue.day_at(at_ms);
    let Worst { amount: worst, unpriced } =
        worst_case(&request.outline, request.body.len(), &catalogue.prices(target, day), limits)
            .map_err(|error| Failure::new(Kind::Unpriced, error.to_string()))?;
    if unpriced {
        exchange.warn(&format!(
            "{} has no known price as it is asked for: what is charged may be an estimate, at the dearest of its family",
            target.invocation_id
        ));
    }
    let number = u32::try_from(exchange.record.attempts.len()).map_or(u32::MAX, |earlier| earlier.saturating_add(1));
    let reservation = Reservation {
        key: AttemptKey { request: exchange.id, attempt: number },
        caller: Arc::clone(&exchange.key),
        team: exchange.team.clone(),
        model: Arc::clone(&model.id),
        target: Arc::clone(&target.invocation_id),
        region: Arc::clone(&catalogue.region),
        tier: request.outline.service_tier,
        tags: Arc::clone(&exchange.tags),
        at_ms,
        worst,
        price_version: catalogue.version.clone(),
        policy: exchange.record.decision.as_ref().map(|decision| Arc::clone(&decision.policy)),
        unpriced,
        job,
    };
    let reserved = reserve(&gateway.ledger, &reservation).await.map_err(|error| not_reserved(&error))?;
    let task = exchange.record.task.map_or(Task::General, Task::from_label);
    let started = Instant::now();
    Ok((Attempt { target, worst, day, unpriced, number, started, task, held: None }, reserved))
}

fn not_reserved(error: &ReserveError) -> Failure {
    match error {
        ReserveError::Limit(limit) => Failure {
            // Waiting helps, but no sooner.
            retry_after: limit.resets_ms.map(Duration::from_millis),
            ..Failure::new(Kind::BudgetExceeded, error.to_string())
        },
        ReserveError::Unavailable(_) => Failure {
            // It is tried several times a second.
            retry_after: Some(Duration::from_secs(1)),
            ..Failure::new(Kind::LedgerUnavailable, error.to_string())
        },
        ReserveError::Jobs(_) => Failure::new(Kind::Quota, error.to_string()),
    }
}

async fn finish_whole(
    gateway: &Gateway,
    exchange: &mut Exchange,
    request: &Decoded,
    attempt: &Attempt<'_>,
    mut reserved: Reserved,
    whole: Whole,
) -> Result<Answered, Failure> {
    let catalogue = Arc::clone(&exchange.catalogue);
    let settle =
        |served: &Served| settle::answered(&catalogue, attempt.target, &request.outline, served, attempt.bounds());
    if matches!(request.upstream, UpstreamOperation::Invoke | UpstreamOperation::InvokeStream) {
        let how = served_headers(&whole.headers);
        let ending = settle(&match request.pieces {
            None => Served { usage: bedrock::invoke::usage(whole.counts, &whole.body), ..how },
            Some(body) => {
                let served = bedrock::pieces::served(body, &request.outline, whole.counts, &whole.body);
                Served { usage: served.usage, at_least: served.at_least, ..how }
            }
        });
        reserved.observe(ending.clone());
        let whole = match exchange.guarded {
            // Apart: most answers are not guarded.
            Some(_) => Box::pin(guarded::answer(exchange, request, whole)).await,
            None => Ok(whole),
        };
        let whole = whole.and_then(|whole| embeddings::take(exchange, request, &whole.body).map(|()| whole));
        return match whole {
            Ok(whole) => {
                attempt.succeeded(gateway, exchange, reserved, ending);
                Ok(Answered::Whole(encode::native(whole)))
            }
            Err(invalid) => Err(attempt.made_no_sense(gateway, exchange, reserved, &invalid, ending)),
        };
    }
    let body = whole.body.clone();
    let answer = match bedrock::parse_answer(&body) {
        Ok(answer) => answer,
        Err(invalid) => {
            // It was answered, so it is billed, whatever it says. A native caller may well read it.
            let ending = settle(&bedrock::parse_served(&whole.body).unwrap_or_default());
            let is_native = request.operation.dialect() == Dialect::Bedrock && request.shape.is_none();
            if is_native && exchange.guarded.is_none() {
                attempt.succeeded(gateway, exchange, reserved, ending);
                return Ok(Answered::Whole(encode::native(whole)));
            }
            return Err(attempt.made_no_sense(gateway, exchange, reserved, &invalid, ending));
        }
    };
    let ending = settle(&answer.served);
    if let Some(observed) = &mut exchange.observed {
        observed.stopped((&answer.stop_reason).into());
    }
    reserved.observe(ending.clone());
    if exchange.guarded.is_none() {
        attempt.succeeded(gateway, exchange, reserved, ending);
        return Ok(written(gateway, exchange, request, attempt, &answer, whole));
    }
    let whole = match Box::pin(guarded::answer(exchange, request, whole)).await {
        Ok(whole) => whole,
        Err(invalid) => return Err(attempt.made_no_sense(gateway, exchange, reserved, &invalid, ending)),
    };
    let body = whole.body.clone();
    match bedrock::parse_answer(&body) {
        Ok(answer) => {
            attempt.succeeded(gateway, exchange, reserved, ending);
            Ok(written(gateway, exchange, request, attempt, &answer, whole))
        }
        Err(invalid) => Err(attempt.made_no_sense(gateway, exchange, reserved, &invalid, ending)),
    }
}

/// An answer in the caller's dialect.
fn written(
    gateway: &Gateway,
    exchange: &Exchange,
    request: &Decoded,
    attempt: &Attempt<'_>,
    answer: &Answer<'_>,
    whole: Whole,
) -> Answered {
    if let Some(shape) = &request.shape {
        return Answered::Whole(encode::family(exchange, attempt.target, shape, answer));
    }
    Answered::Whole(match request.operation.dialect() {
        Dialect::OpenAi => encode::openai(exchange, attempt.target, answer),
        Dialect::Kairos => encode::generate(gateway, exchange, attempt.target, request, answer),
        Dialect::Bedrock => encode::native(whole),
    })
}

/// What InvokeModel's headers say of how a call was served.
fn served_headers(headers: &[(&'static str, String)]) -> Served {
    let named = |wanted: &str| headers.iter().find(|(name, _)| *name == wanted).map(|(_, value)| value.as_str());
    bedrock::served(named("x-amzn-bedrock-service-tier"), named("x-amzn-bedrock-performanceconfig-latency"))
}

impl<'a> Attempt<'a> {
    /// An attempt for which an earlier one has reserved.
    pub(crate) fn without_row(target: &'a Target, day: Day) -> Self {
        let (worst, started) = (Picodollars::ZERO, Instant::now());
        Self { target, worst, day, unpriced: false, number: 0, started, task: Task::General, held: None }
    }

    /// Holds its part of the limits a minute until it is over.
    pub(crate) fn hold(&mut self, held: Option<Held<'a>>) {
        self.held = held;
    }
}

impl Attempt<'_> {
    /// Says that it goes to Bedrock.
    pub(crate) fn mark_sent(&self) {
        if let Some(held) = &self.held {
            held.mark_sent();
        }
    }

    /// A job has begun, or may have: its row stays open, and the attempt is taken down at its worst case.
    pub(crate) fn goes_on(&self, exchange: &mut Exchange, reserved: Reserved, failure: Option<&Failure>) {
        let why = "it goes on";
        let ending = Ending::Estimated { low: Picodollars::ZERO, high: self.worst, usage: None, why };
        let record = AttemptRecord { ledger: "reserved", ..self.taken_down(exchange, &ending, failure) };
        if let Some(observed) = &mut exchange.observed {
            observed.attempted(&ending, None, failure);
        }
        reserved.stays_open();
        exchange.attempted(record);
        exchange.record.cost_estimated = true;
    }

    /// The most that it can cost, and the day whose prices hold.
    pub(crate) fn bounds(&self) -> (Picodollars, Day) {
        (self.worst, self.day)
    }

    /// The model answered: ends the row, and takes the attempt down.
    pub(crate) fn succeeded(&self, gateway: &Gateway, exchange: &mut Exchange, reserved: Reserved, ending: Ending) {
        gateway.history.record(self.target.model, self.task, true);
        exchange.record.model = Some(Arc::clone(&self.target.invocation_id));
        self.end(exchange, reserved, ending, None);
    }

    /// The attempt failed: ends the row, and takes the attempt down.
    pub(crate) fn failed(&self, gateway: &Gateway, exchange: &mut Exchange, reserved: Reserved, failure: &Failure) {
        self.failed_with(gateway, exchange, reserved, failure, settle::failed(failure, self.worst));
    }

    /// The same, where more is known of what it cost.
    pub(crate) fn failed_with(
        &self,
        gateway: &Gateway,
        exchange: &mut Exchange,
        reserved: Reserved,
        failure: &Failure,
        ending: Ending,
    ) {
        if failure.kind.is_model_failure() {
            gateway.history.record(self.target.model, self.task, false);
        }
        self.end(exchange, reserved, ending, Some(failure));
    }

    /// What was answered cannot be read, or not be judged. It is billed all the same.
    fn made_no_sense(
        &self,
        gateway: &Gateway,
        exchange: &mut Exchange,
        reserved: Reserved,
        invalid: &Invalid,
        ending: Ending,
    ) -> Failure {
        let failure = Failure::new(Kind::BrokenStream, format!("Bedrock's answer made no sense: {invalid}"));
        let failure = failure.maybe_billed();
        self.failed_with(gateway, exchange, reserved, &failure, ending);
        failure
    }

    fn end(&self, exchange: &mut Exchange, reserved: Reserved, ending: Ending, failure: Option<&Failure>) {
        if let Some(held) = &self.held {
            held.ended(&ending, exchange.catalogue.models[self.target.model].burndown);
        }
        let record = self.taken_down(exchange, &ending, failure);
        if let Some(observed) = &mut exchange.observed {
            observed.attempted(&ending, record.usage, failure);
        }
        reserved.end(ending);
        exchange.attempted(record);
    }

    fn taken_down(&self, exchange: &Exchange, ending: &Ending, failure: Option<&Failure>) -> AttemptRecord {
        let catalogue = &exchange.catalogue;
        let upstream = failure.and_then(|failure| failure.upstream.as_deref());
        let (usage, low) = match ending {
            Ending::Settled { usage, .. } => (Some(*usage), None),
            Ending::Estimated { usage, low, .. } => (*usage, Some(*low)),
            Ending::Voided { .. } => (None, None),
        };
        AttemptRecord {
            attempt: self.number,
            model: Arc::clone(&catalogue.models[self.target.model].id),
            invocation_id: Arc::clone(&self.target.invocation_id),
            route: self.target.route.name(),
            status: failure.map_or("ok", |failure| failure.kind.name()),
            upstream_status: upstream.map(|upstream| upstream.status),
            upstream_code: upstream.map(|upstream| upstream.code.clone()),
            upstream_request_id: upstream.map(|upstream| upstream.request_id.clone()).filter(|id| !id.is_empty()),
            duration_ms: millis(self.started.elapsed()),
            ledger: ending.state(),
            cost_usd: ending.charged(),
            cost_low_usd: low,
            usage,
            prices: catalogue.version.clone(),
            // What was served instead may have a price.
            unpriced: self.unpriced && matches!(ending, Ending::Estimated { .. }),
        }
    }
}
