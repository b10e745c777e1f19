//! The attempt that begins a job. Its row is on disk, and whose it is, before anything is sent; after that only
//! an answer that is known to be unbilled ends it here.

use std::sync::Arc;

use kairos_dialects::bedrock::jobs::{self, Seen};
use kairos_dialects::{Failure, Kind, Usage};

use super::{Job, Jobs, token_of};
use crate::attempt::{self, Answered, Attempt};
use crate::decode::{AskedJob, Decoded};
use crate::encode;
use crate::exchange::Exchange;
use crate::gateway::Gateway;
use crate::ledger::{Ending, Reserved};
use crate::models::Catalogue;
use crate::money::Picodollars;
use crate::price::cost;
use crate::rates::Held;
use crate::reply::{Body, Outgoing, Reply};
use crate::stream;
use crate::upstream::{Call, Response};

fn jobs_of(gateway: &Gateway) -> Result<&Jobs, Failure> {
    let none = || Failure::new(Kind::Unsupported, "this gateway keeps no jobs: it has no data folder");
    gateway.jobs.as_deref().ok_or_else(none)
}

fn unkept(why: &str) -> Failure {
    Failure::new(Kind::LedgerUnavailable, format!("jobs cannot be kept at the moment: {why}"))
}

fn outgoing(arn: &str) -> Outgoing {
    let body = Body::Whole(jobs::started_answer(arn));
    Outgoing { status: 200, content_type: encode::JSON, headers: Vec::new(), body }
}

/// The answer to a request that was answered before: the same job, and nothing is reserved.
pub(crate) async fn known(
    gateway: &Gateway,
    exchange: &mut Exchange,
    asked: &AskedJob,
) -> Result<Option<Outgoing>, Failure> {
    let Some(own) = &asked.token else { return Ok(None) };
    let token = token_of(&exchange.key, Some(own), exchange.id);
    let found = jobs_of(gateway)?.store.by_token(&token).await.map_err(|why| unkept(&why))?;
    let Some(job) = found.filter(|job| !is_over(gateway, job)) else { return Ok(None) };
    Ok(begun(exchange, &job, asked)?.map(|arn| outgoing(&arn)))
}

/// Whether nothing is reserved any more for a job that was never seen to begin: it was given up, or its row was
/// ended and its record could not be forgotten. Another start needs a reservation of its own.
fn is_over(gateway: &Gateway, job: &Job) -> bool {
    let is_open = || gateway.ledger.job(job.key()).is_some_and(|open| *open.token == *job.token);
    job.arn.is_none() && (job.ended.is_some() || !is_open())
}

/// Whether a failure says that the job never began: nothing was sent, or Bedrock refused it. Of a fault of its own
/// Bedrock does not say what was done before it.
fn never_began(failure: &Failure) -> bool {
    let refused = matches!(
        failure.kind,
        Kind::Rejected
            | Kind::AccessDenied
            | Kind::UpstreamAuth
            | Kind::Throttled
            | Kind::Quota
            | Kind::ModelNotFound
            | Kind::Conflict
    );
    failure.unbilled && (failure.upstream.is_none() || refused)
}

/// The ARN of a job that has begun, if this request is the one that began it.
fn begun(exchange: &mut Exchange, job: &Job, asked: &AskedJob) -> Result<Option<String>, Failure> {
    if job.digest != asked.digest {
        let message = "this clientRequestToken has started another job: use a new token for another request";
        return Err(Failure::new(Kind::Conflict, message).with_param("clientRequestToken"));
    }
    if job.arn.is_some() {
        exchange.warn(&format!("this is the job that the request {} began", job.request()));
    }
    Ok(job.arn.clone())
}

/// Begins a job, or asks again for one that may have begun.
pub(crate) async fn start(
    gateway: &Gateway,
    exchange: &mut Exchange,
    request: &Decoded,
    asked: &AskedJob,
    (target, held): (usize, Option<Held<'_>>),
    reply: &mut Reply,
) -> Result<Answered, Failure> {
    let jobs = jobs_of(gateway)?;
    let token = token_of(&exchange.key, asked.token.as_deref(), exchange.id);
    let _starting = jobs.begin(&token).ok_or_else(|| {
        let message = "a request with this clientRequestToken is under way: try again when it is answered";
        Failure::new(Kind::Conflict, message).with_param("clientRequestToken")
    })?;
    if request.outline.units.each().next().is_none() {
        let message = "what this job can cost at most is not known: it is not started";
        return Err(Failure::new(Kind::Unsupported, message).with_param("modelId"));
    }
    let earlier = jobs.store.by_token(&token).await.map_err(|why| unkept(&why))?;
    if let Some(job) = earlier.as_ref().filter(|job| !is_over(gateway, job)) {
        if let Some(arn) = begun(exchange, job, asked)? {
            return Ok(Answered::Whole(outgoing(&arn)));
        }
        return again(gateway, exchange, request, job.clone(), (target, held), reply).await;
    }
    let catalogue = Arc::clone(&exchange.catalogue);
    let job_token = Some(Arc::from(&*token));
    let (mut attempt, mut reserved) = attempt::open(gateway, exchange, &catalogue, request, target, job_token).await?;
    attempt.hold(held);
    let mut job = Job::new(reserved.key(), &token, &exchange.key, (gateway.clock)());
    job.asked_token.clone_from(&asked.token);
    (job.digest, job.output) = (asked.digest.clone(), asked.output.clone());
    (job.usage, job.least) = foreseen(&catalogue, request, &attempt);
    // What is charged for it stands in its record from now on, should it turn out to have begun then.
    job.before = earlier.as_ref().and_then(|job| job.ended.clone().or_else(|| job.before.clone()));
    if let Err(why) = written_down(jobs, &job, earlier.is_some()).await {
        reserved.end(Ending::Voided { why: "never sent" });
        return Err(unkept(&why));
    }
    reserved.mark_sent();
    match send(gateway, exchange, request, &job, &attempt, reply).await {
        Ok(arn) => Ok(Answered::Whole(begins(gateway, exchange, job, &arn, (&attempt, reserved)).await)),
        Err(failure) if never_began(&failure) => {
            // Before its row ends: a record without a row would be in the way of the next start.
            if let Err(why) = put_back(jobs, &token, earlier).await {
                tracing::error!("a job that never began is still kept: {why}");
            }
            attempt.failed(gateway, exchange, reserved, &failure);
            Err(failure)
        }
        Err(failure) => {
            let failure = failure.maybe_billed();
            attempt.goes_on(exchange, reserved, Some(&failure));
            exchange
                .warn("it is not known whether the job began: the same request with its clientRequestToken asks again");
            Err(failure)
        }
    }
}

/// Writes down whose job it is, in the place of an earlier start that is over.
async fn written_down(jobs: &Jobs, job: &Job, is_again: bool) -> Result<(), String> {
    if is_again {
        jobs.store.forget(&job.token).await?;
    }
    jobs.store.keep(job.clone()).await
}

/// Forgets a start that came to nothing. One before it that is charged is known as before.
async fn put_back(jobs: &Jobs, token: &str, earlier: Option<Job>) -> Result<(), String> {
    jobs.store.forget(token).await?;
    match earlier.filter(|job| job.ended.is_some()) {
        Some(job) => jobs.store.keep(job).await,
        None => Ok(()),
    }
}

/// What it will have consumed, where the request says all of it; and the least that it will cost.
fn foreseen(catalogue: &Catalogue, request: &Decoded, attempt: &Attempt<'_>) -> (Option<Usage>, Picodollars) {
    let usage = Usage { units: request.outline.least_units, ..Usage::default() };
    let (worst, day) = attempt.bounds();
    let prices = catalogue.prices(attempt.target, day);
    match cost(&usage, request.outline.service_tier, &prices) {
        Ok(priced) => {
            let is_all = priced.is_exact() && priced.amount == worst;
            (is_all.then_some(usage), priced.low.min(worst))
        }
        Err(_) => (None, Picodollars::ZERO),
    }
}

/// Sends the request, by the job's own token. Gives the ARN.
async fn send(
    gateway: &Gateway,
    exchange: &mut Exchange,
    request: &Decoded,
    job: &Job,
    attempt: &Attempt<'_>,
    reply: &mut Reply,
) -> Result<String, Failure> {
    // Jobs are for models themselves, not for inference profiles.
    let model = Arc::clone(&exchange.catalogue.models[attempt.target.model].id);
    let call = Call {
        operation: request.upstream,
        body: jobs::addressed(&request.body, &model, &job.token)?,
        invocation_id: model,
        headers: Arc::clone(&request.headers),
        attempt: job.key().text(),
    };
    attempt.mark_sent();
    let signs = stream::SignsOfLife::new(gateway, request, exchange, reply);
    let answer = signs.during(gateway.upstream.call(call), exchange, reply).await?;
    let no_sense =
        |why: String| Failure::new(Kind::BrokenStream, format!("Bedrock's answer made no sense: {why}")).maybe_billed();
    match answer {
        Response::Whole(whole) => jobs::started(&whole.body).map_err(|invalid| no_sense(invalid.to_string())),
        Response::Stream(_) => Err(no_sense("it is a stream".to_owned())),
    }
}

/// The job has begun. Who began it is on disk before the caller is told.
async fn begins(
    gateway: &Gateway,
    exchange: &mut Exchange,
    mut job: Job,
    arn: &str,
    (attempt, reserved): (&Attempt<'_>, Reserved),
) -> Outgoing {
    name(exchange, attempt, &mut job, arn);
    note(gateway, job).await;
    exchange.record.model = Some(Arc::clone(&attempt.target.invocation_id));
    attempt.goes_on(exchange, reserved, None);
    let (worst, _) = attempt.bounds();
    exchange
        .warn(&format!("what the job costs is known when it ends: up to {worst} USD are reserved for it until then"));
    outgoing(arn)
}

/// The job has its name, and goes on as far as is known.
fn name(exchange: &Exchange, attempt: &Attempt<'_>, job: &mut Job, arn: &str) {
    let (region, id) = (&exchange.catalogue.region, &exchange.catalogue.models[attempt.target.model].id);
    let partition = if region.starts_with("us-gov-") { "aws-us-gov" } else { "aws" };
    let model_arn = format!("arn:{partition}:bedrock:{region}::foundation-model/{id}");
    job.arn = Some(arn.to_owned());
    job.seen = Some(Seen::begun(arn, model_arn, job.at_ms));
}

async fn note(gateway: &Gateway, job: Job) {
    if let Some(jobs) = &gateway.jobs
        && let Err(why) = jobs.store.keep(job).await
    {
        tracing::error!("a job's ARN is not kept, it is looked for by its token: {why}");
    }
}

/// Asks once more for a job whose answer was lost: by its token Bedrock knows it, if it began. It has its row.
async fn again(
    gateway: &Gateway,
    exchange: &mut Exchange,
    request: &Decoded,
    mut job: Job,
    (target, held): (usize, Option<Held<'_>>),
    reply: &mut Reply,
) -> Result<Answered, Failure> {
    let catalogue = Arc::clone(&exchange.catalogue);
    let mut attempt = Attempt::without_row(&catalogue.targets[target], catalogue.day_at((gateway.clock)()));
    attempt.hold(held);
    exchange.warn(&format!("the request {} began this job, or tried to: it has its reservation", job.request()));
    let arn = send(gateway, exchange, request, &job, &attempt, reply).await?;
    name(exchange, &attempt, &mut job, &arn);
    note(gateway, job).await;
    exchange.record.model = Some(Arc::clone(&attempt.target.invocation_id));
    Ok(Answered::Whole(outgoing(&arn)))
}
