//! Step 6, between two attempts: what follows a failure. The healer decides, its word is carried out
//! here, within bounds that no healer can pass.

use std::sync::Arc;
use std::time::Duration;

use kairos_dialects::{Failure, Kind, bedrock};
use tokio::time::{Instant, sleep_until};

use crate::decode::Decoded;
use crate::draw;
use crate::exchange::Exchange;
use crate::gateway::Gateway;
use crate::judgements::Judgement;
use crate::offer::{self, Offers};
use crate::policy::{
    Abilities, Action, FailedAttempt, FailureFacts, FailureKind, HealInput, Healer, PolicyError, Remedy, Undecided,
    Wait, World,
};
use crate::record::{HealingRecord, InsteadOf};
use crate::reply::Reply;
use crate::route::{self, Decision};
use crate::stream::SignsOfLife;
use crate::upstream::UpstreamOperation;

/// What no healer can pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HealingBounds {
    /// Attempts of a request, at most. Of one that is several calls those that fail count together, and those
    /// that go well do not.
    pub attempts: u32,
    /// How long after a request's arrival a further attempt may begin; after the start of its call, where it is
    /// several.
    pub patience: Duration,
}

impl Default for HealingBounds {
    fn default() -> Self {
        Self { attempts: 8, patience: Duration::from_secs(60) }
    }
}

/// Where a request's attempts stand.
pub(crate) struct Course {
    /// The catalogue's target that is tried now.
    pub(crate) target: usize,
    /// Targets that are tried afterwards, in order.
    left: Vec<usize>,
    healer: Arc<dyn Healer>,
    failed: Vec<(FailedAttempt, Failure)>,
    /// The request, where it was shortened for this target.
    shortened: Option<Box<Decoded>>,
    pub(crate) waited_ms: u32,
    refreshed: bool,
}

/// An attempt that failed: why, when it began, and what it cost.
pub(crate) struct Failed {
    pub(crate) failure: Failure,
    pub(crate) began: Instant,
    pub(crate) cost: u64,
}

impl Course {
    /// The way that was decided. None where it leads nowhere.
    pub(crate) fn new(gateway: &Gateway, decision: &Decision) -> Option<Self> {
        let (&target, left) = decision.order.split_first()?;
        Some(Self {
            target,
            left: left.to_vec(),
            healer: gateway.policies.healer(),
            failed: Vec::new(),
            shortened: None,
            waited_ms: 0,
            refreshed: false,
        })
    }

    /// The request, as it is to be sent.
    pub(crate) fn request<'a>(&'a self, request: &'a Decoded) -> &'a Decoded {
        self.shortened.as_deref().unwrap_or(request)
    }

    /// Goes on with another target, which gets the whole request.
    fn turn_to(&mut self, target: usize) {
        self.left.retain(|other| *other != target);
        self.target = target;
        self.shortened = None;
    }

    /// What a healer is told of the attempt that failed; none: no further one is possible, or could mend it.
    fn facts(
        &self,
        gateway: &Gateway,
        decision: &Decision,
        sent: &Decoded,
        failed: &Failed,
        (healed, time_left): (u32, Duration),
    ) -> Option<FailureFacts> {
        let Failed { failure, began, cost } = failed;
        let attempts_left = gateway.settings.healing.attempts.saturating_sub(healed.saturating_add(1));
        if attempts_left == 0 || time_left.is_zero() {
            return None;
        }
        let index_of = |target: usize| {
            let index = decision.targets.iter().position(|other| *other == target);
            index.and_then(|index| u32::try_from(index).ok())
        };
        let attempt = FailedAttempt {
            model: index_of(self.target)?,
            kind: kind_of(failure.kind)?,
            status: failure.upstream.as_ref().map(|upstream| upstream.status),
            retry_after_ms: failure.retry_after.map(milliseconds),
            may_be_billed: !failure.unbilled,
            cost: *cost,
            duration_ms: milliseconds(began.elapsed()),
            waited_ms: self.waited_ms,
            refreshed: self.refreshed,
            text_tokens: sent.outline.estimated_tokens(),
        };
        let refreshed = self.refreshed || self.failed.iter().any(|(earlier, _)| earlier.refreshed);
        Some(FailureFacts {
            attempt,
            left: self.left.iter().filter_map(|&target| index_of(target)).collect(),
            max_cost: decision.max_cost,
            attempts_left,
            time_left_ms: milliseconds(time_left),
            can: abilities(gateway, sent, refreshed),
        })
    }
}

/// Finds out what follows a failed attempt, and does it: afterwards `course` is ready for the next one. An
/// error is how the request ends.
pub(crate) async fn heal(
    gateway: &Gateway,
    exchange: &mut Exchange,
    request: &Decoded,
    (decision, course): (&mut Decision, &mut Course),
    failed: Failed,
    reply: &mut Reply,
) -> Result<(), Failure> {
    let deadline = exchange.patient_since + gateway.settings.healing.patience;
    let time_left = deadline.saturating_duration_since(Instant::now());
    let sent = course.request(request);
    let left = (exchange.healed, time_left);
    let Some(facts) = course.facts(gateway, decision, sent, &failed, left) else { return Err(failed.failure) };
    let Ok(mut offers) = offer::afresh(gateway, exchange, sent, decision.targets.clone()) else {
        return Err(failed.failure);
    };
    let history: Vec<_> = course.failed.iter().map(|(attempt, _)| *attempt).collect();
    let healer = Arc::clone(&course.healer);
    let asked = ask(gateway, exchange, &healer, &mut offers, &facts, &history)?;
    let remedy = keep(exchange, &failed.failure, asked)?;
    course.failed.push((facts.attempt, failed.failure.clone()));
    exchange.healed = exchange.healed.saturating_add(1);
    (course.waited_ms, course.refreshed) = (0, false);
    if let Some(limit) = remedy.max_output_tokens {
        let lowest = decision.max_output_tokens.map_or(limit, |earlier| earlier.min(limit));
        decision.max_output_tokens = Some(lowest);
    }
    match remedy.action {
        Action::Next if course.left.is_empty() => return Err(failed.failure),
        Action::Next => course.turn_to(course.left[0]),
        Action::Switch(model) => course.turn_to(offers.targets[model as usize]),
        Action::Retry => {}
        // Those that were refused are forgotten: the next call fetches new ones.
        Action::RefreshCredentials => course.refreshed = true,
        Action::ShortenPrompt(tokens) => {
            let Some(shortened) = shorten(course.request(request), tokens) else { return Err(failed.failure) };
            exchange.warn("the oldest turns of the conversation were left out, as the model did not take all of it");
            course.shortened = Some(Box::new(shortened));
        }
        Action::GiveUp(None) | Action::AnswerLocally => return Err(failed.failure),
        Action::GiveUp(Some(earlier)) => return Err(course.failed.swap_remove(earlier as usize).1),
    }
    let Some(wait) = remedy.wait else { return Ok(()) };
    let again = decision.targets.get(facts.attempt.model as usize) == Some(&course.target);
    let asked_for = failed.failure.retry_after.filter(|_| again).unwrap_or_default();
    let least = Duration::from_millis(wait.least.into()).max(asked_for);
    let wait = least + drawn(gateway, exchange, course, decision, wait);
    if wait >= time_left {
        return Err(failed.failure);
    }
    course.waited_ms = milliseconds(wait);
    if let Some(record) = exchange.record.healing.last_mut() {
        record.wait_ms = Some(course.waited_ms);
    }
    sleep(gateway, exchange, request, wait, reply).await
}

/// Who decided what, and who did not.
type Asked<'a> = (&'a Arc<dyn Healer>, Result<Remedy, u32>, Option<InsteadOf>);

/// The healer's word; the native default's, where it has none.
fn ask<'a>(
    gateway: &'a Gateway,
    exchange: &mut Exchange,
    healer: &'a Arc<dyn Healer>,
    offers: &mut Offers,
    failure: &FailureFacts,
    history: &[FailedAttempt],
) -> Result<Asked<'a>, Failure> {
    let mut answer = |healer: &Arc<dyn Healer>| {
        route::mark(healer.identity(), exchange, &offers.targets, &mut offers.facts);
        let (request, features, models) = (&offers.info, &offers.features, &offers.facts[..]);
        let input = HealInput { request, features, failure, history, models };
        let given = healer.heal(input).and_then(|remedy| remedy.checked(input));
        if gateway.recorder.is_some() {
            exchange.judgements.push(|| Judgement::of_healer(healer.identity(), input, &given));
        }
        given
    };
    let error = match answer(healer) {
        Ok(remedy) => return Ok((healer, Ok(remedy), None)),
        Err(PolicyError::Refused(reason)) => return Ok((healer, Err(reason), None)),
        Err(error) => error,
    };
    let native = answer(&gateway.native_healer)
        .map_err(|error| Failure::new(Kind::Internal, format!("the native healer gave no remedy: {error}")))?;
    if let PolicyError::Fault(fault) = &error {
        gateway.policies.failed(World::Healer, healer.identity(), fault);
    }
    let instead_of = InsteadOf { policy: Arc::clone(healer.identity().label()), outcome: Undecided::of(&error) };
    if error != PolicyError::Declined {
        let why = format!("{}: {}", instead_of.policy, instead_of.outcome.name());
        exchange.warn(&format!("the healer did not decide, the native default did ({why})"));
    }
    Ok((&gateway.native_healer, Ok(native), Some(instead_of)))
}

/// Takes down what was decided. A refusal ends the request.
fn keep(
    exchange: &mut Exchange,
    failure: &Failure,
    (healer, decided, instead_of): Asked<'_>,
) -> Result<Remedy, Failure> {
    let (action, reason) = match &decided {
        Ok(remedy) => (remedy.action.name(), remedy.reason),
        Err(reason) => ("refuse", *reason),
    };
    let identity = healer.identity();
    exchange.record.healing.push(HealingRecord {
        policy: Arc::clone(identity.label()),
        failure: failure.kind.name(),
        action,
        reason,
        reason_name: identity.reason(reason).cloned(),
        instead_of,
        wait_ms: None,
    });
    decided.map_err(|reason| route::refused(identity, reason))
}

/// What of the wait before the next attempt is drawn.
fn drawn(gateway: &Gateway, exchange: &Exchange, course: &Course, decision: &Decision, wait: Wait) -> Duration {
    let next = decision.targets.iter().position(|target| *target == course.target);
    let on_next = course.failed.iter().filter(|(attempt, _)| Some(attempt.model as usize) == next).count();
    let doubled = u64::from(wait.base).saturating_mul(1 << on_next.saturating_sub(1).min(32));
    let most = doubled.min(wait.cap.into());
    let number = (course.failed.len() as u64).to_be_bytes();
    let point = draw::keyed(&gateway.settings.draw_salt, &[exchange.id.as_bytes(), b"wait", &number]);
    Duration::from_secs_f64(draw::fraction(point) * most as f64 / 1e3)
}

/// What a healer is told of a failure; none: no attempt can mend it.
pub(crate) fn kind_of(kind: Kind) -> Option<FailureKind> {
    Some(match kind {
        Kind::Throttled => FailureKind::Throttled,
        Kind::Quota => FailureKind::Quota,
        Kind::UpstreamAuth => FailureKind::Credentials,
        Kind::AccessDenied => FailureKind::AccessDenied,
        Kind::ModelNotFound => FailureKind::ModelNotFound,
        Kind::Rejected => FailureKind::Rejected,
        Kind::Conflict => FailureKind::Conflict,
        Kind::ModelNotReady => FailureKind::ModelNotReady,
        Kind::ModelError => FailureKind::ModelError,
        Kind::ModelTimeout => FailureKind::ModelTimeout,
        Kind::Server => FailureKind::Server,
        Kind::Unavailable => FailureKind::Unavailable,
        Kind::Timeout => FailureKind::Timeout,
        Kind::Network => FailureKind::Network,
        Kind::BrokenStream => FailureKind::BrokenAnswer,
        Kind::Overloaded | Kind::RateLimited => FailureKind::Overloaded,
        Kind::BudgetExceeded => FailureKind::Budget,
        _ => return None,
    })
}

/// What can be done for this request beside trying again.
fn abilities(gateway: &Gateway, request: &Decoded, refreshed: bool) -> Abilities {
    let converses = matches!(request.upstream, UpstreamOperation::Converse | UpstreamOperation::ConverseStream);
    let refresh =
        if gateway.upstream.renews_credentials() && !refreshed { Abilities::REFRESH_CREDENTIALS.0 } else { 0 };
    let shorten = if converses && request.outline.turns > 1 { Abilities::SHORTEN_PROMPT.0 } else { 0 };
    Abilities(refresh | shorten)
}

/// The request without its oldest turns, where there are some that can go.
fn shorten(request: &Decoded, tokens: u32) -> Option<Decoded> {
    let body = bedrock::shorten(&request.body, tokens).ok()??;
    let read = bedrock::outline(&body, request.streams).ok()?;
    let mut request = request.clone();
    let outline = &mut request.outline;
    (outline.text_bytes, outline.turns, outline.images) = (read.text_bytes, read.turns, read.images);
    request.body = body;
    Some(request)
}

/// Waits, while the caller stays. Nothing is held meanwhile: no money, no place.
async fn sleep(
    gateway: &Gateway,
    exchange: &Exchange,
    request: &Decoded,
    wait: Duration,
    reply: &mut Reply,
) -> Result<(), Failure> {
    let mut signs = SignsOfLife::new(gateway, request, exchange, reply);
    let until = Instant::now() + wait;
    loop {
        tokio::select! {
            biased;
            () = reply.gone() => return Err(Failure::new(Kind::ClientLeft, "the caller left")),
            () = sleep_until(until) => return Ok(()),
            () = signs.idle() => signs.give(exchange, reply).await,
        }
    }
}

fn milliseconds(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX)
}
