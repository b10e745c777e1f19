//! The way of a request through the gateway, and the rules it keeps.
//!
//! [`handle`] is the whole of it; each step is a file. Nothing here knows of HTTP, AWS, wasmtime,
//! Rhai or disks: what does is behind a trait ([`upstream`], [`policy`], [`ledger`], [`request::Keys`]).

pub mod batch;
pub mod budget;
pub mod evaluators;
pub mod exchange;
pub mod features;
pub mod fitness;
pub mod gateway;
pub mod genome;
pub mod guard;
pub mod guards;
pub mod healers;
pub mod history;
pub mod jobs;
pub mod judgements;
pub mod learned;
pub mod ledger;
pub mod models;
pub mod money;
pub mod mutators;
pub mod places;
pub mod policy;
pub mod price;
pub mod profile;
pub mod prompts;
pub mod rates;
pub mod record;
pub mod reply;
pub mod request;
pub mod route;
pub mod routers;
pub mod scope;
pub mod statistics;
pub mod upstream;

mod arm;
mod attempt;
mod decode;
mod draw;
mod embeddings;
mod encode;
mod guarded;
mod heal;
mod observe;
mod offer;
mod prompted;
mod settle;
mod stream;
mod thrift;
mod translate;

pub use encode::{COST as COST_HEADER, error as error_answer};
pub use heal::HealingBounds;
pub use prompted::PromptingBounds;

use std::sync::Arc;

use kairos_dialects::{Failure, Kind};
use tokio::time::Instant;

use crate::attempt::Answered;
use crate::exchange::Exchange;
use crate::gateway::Gateway;
use crate::guarded::Guarded;
use crate::heal::{Course, Failed};
use crate::reply::Reply;
use crate::request::Incoming;

/// Serves one request, whatever its dialect: the only way there is.
///
/// To be polled until the money is accounted for, however soon the caller leaves.
pub async fn handle(gateway: Arc<Gateway>, mut incoming: Incoming, mut reply: Reply) {
    let _held = incoming.held.take();
    let mut exchange = Exchange::begin(&gateway, &incoming);
    match answer(&gateway, &mut exchange, incoming, &mut reply).await {
        // A stream has been delivered, and its record is kept, when it ends.
        Ok(Answered::Streamed) => {}
        Ok(Answered::Whole(outgoing)) => {
            exchange.finish(&gateway, if reply.is_gone() { "client_left" } else { "ok" }, Some(200));
            reply.whole(encode::whole(&exchange, outgoing));
        }
        Err(failure) => Box::pin(encode::failure(&gateway, &mut exchange, &failure, reply)).await,
    }
}

async fn answer(
    gateway: &Gateway,
    exchange: &mut Exchange,
    mut incoming: Incoming,
    reply: &mut Reply,
) -> Result<Answered, Failure> {
    let most = gateway.settings.most_in_flight;
    let _under_way = gateway.load.enter(most).ok_or_else(|| overloaded(most))?;

    // 1. Identify: whose key is it?
    exchange.caller(std::mem::take(&mut incoming.presented).identify(&*gateway.keys, &incoming.body)?);
    // 2. Decode: one form for every dialect. What a profile's ARN in the path stands for is found out first, where it
    // is new: the body is of that model's.
    profile::make_known(gateway, exchange, incoming.path_model.as_deref()).await?;
    let mut request = decode::decode(incoming, gateway, &exchange.catalogue)?;
    // Admit: within what the key may do.
    let admitted = exchange.scope.clone().map_or(Ok(()), |scope| scope.admit(exchange.dialect, &mut request));
    exchange.decoded(&request, &gateway.settings);
    admitted?;
    profile::make_known(gateway, exchange, Some(request.model(&gateway.settings))).await?;
    if let Some(job) = request.job.clone()
        && let Some(outgoing) = Box::pin(jobs::known(gateway, exchange, &job)).await?
    {
        return Ok(Answered::Whole(outgoing));
    }
    let request = translate::translate(gateway, exchange, request)?;
    // 3. Features, and the models on offer.
    let offers = offer::offer(gateway, exchange, &request)?;
    // 4. Route: the policy decides.
    let mut decision = route::route(gateway, exchange, &request, offers)?;
    // Prompt: a policy may change how it is put.
    let request = prompted::prompt(gateway, exchange, request, &mut decision)?;
    // 5. Guard in: what a model may see.
    let request = match Guarded::of(gateway, &decision.info) {
        Some(guarded) => Box::pin(guarded::request(exchange, request, guarded)).await?,
        None => request,
    };

    // 6. Per attempt: reserve → upstream → settle, or heal. Answers pass the guard, too.
    match request.embeds {
        None => serve(gateway, exchange, &request, &mut decision, reply).await,
        Some(wanted) => Box::pin(embeddings::answer(gateway, exchange, &request, &mut decision, wanted, reply)).await,
    }
}

/// Step 6, for what one call answers.
pub(crate) async fn serve(
    gateway: &Gateway,
    exchange: &mut Exchange,
    request: &decode::Decoded,
    decision: &mut route::Decision,
    reply: &mut Reply,
) -> Result<Answered, Failure> {
    let Some(mut course) = Course::new(gateway, decision) else {
        return Err(Failure::new(Kind::Internal, "the plan had no candidate that could be tried"));
    };
    loop {
        if reply.is_gone() {
            return Err(Failure::new(Kind::ClientLeft, "the caller left"));
        }
        let (began, spent) = (Instant::now(), exchange.record.cost_usd);
        let answered = {
            let sent = course.request(request);
            let limited = decode::limited(sent, decision, course.target, exchange)?;
            let sent = limited.as_deref().unwrap_or(sent);
            if let Some(observed) = &mut exchange.observed {
                observed.tries(course.target, course.waited_ms, sent.outline.estimated_tokens());
            }
            attempt::attempt(gateway, exchange, sent, course.target, reply).await
        };
        let failure = match answered {
            Ok(answered) => return Ok(answered),
            Err(failure) => failure,
        };
        if let Some(observed) = &mut exchange.observed {
            observed.failed(&failure);
        }
        if request.job.is_some() && !failure.unbilled {
            // It may have begun: another attempt would reserve twice for one job.
            return Err(failure);
        }
        let failed = Failed { failure, began, cost: exchange.record.cost_usd.0.saturating_sub(spent.0) };
        // Apart: a request that goes well need not carry this along.
        Box::pin(heal::heal(gateway, exchange, request, (&mut *decision, &mut course), failed, reply)).await?;
    }
}

fn overloaded(most: usize) -> Failure {
    let message = format!("{most} requests are under way, which is as many as this gateway takes; try again shortly");
    Failure { retry_after: Some(std::time::Duration::from_secs(1)), ..Failure::new(Kind::Overloaded, message) }
}
