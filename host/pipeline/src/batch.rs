//! A batch: many requests in one body, each of which goes the one way for itself.
//!
//! The caller is identified once, since a signature is over the whole body; all else happens to each
//! request as if it had come alone: its id, its record, its rows in the ledger, its failure.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kairos_dialects::generate::{self, batch::Entry};
use kairos_dialects::{Failure, Kind};
use tokio::sync::oneshot::Receiver;
use tokio::task::JoinSet;

use crate::encode;
use crate::exchange::Exchange;
use crate::gateway::Gateway;
use crate::models::{Answering, Catalogue};
use crate::money::{Picodollars, dollars};
use crate::reply::{Body, Outgoing, Reply};
use crate::request::{Dialect, Identified, Incoming, Operation, Presented};

/// Bounds of batches.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Requests in one batch.
    pub entries: usize,
    /// Requests of one batch that are under way at once.
    pub concurrency: usize,
    /// How long a reader that takes nothing of an answer is waited for.
    pub patience: Duration,
}

/// Serves a batch: [`crate::handle`] for each of its requests.
///
/// To be polled until what was begun is accounted for. Once the caller leaves, or
/// `stopping` says so, no further request is begun.
pub async fn handle(
    gateway: Arc<Gateway>,
    mut incoming: Incoming,
    limits: Limits,
    stopping: impl Fn() -> bool,
    mut reply: Reply,
) {
    let _held = incoming.held.take();
    let mut exchange = Exchange::begin(&gateway, &incoming);
    let presented = std::mem::take(&mut incoming.presented);
    let begun = presented.identify(&*gateway.keys, &incoming.body).and_then(|caller| {
        exchange.caller(caller.clone());
        incoming.presented = Presented::Identified(Identified(caller));
        Ok(generate::batch::split(&incoming.body, limits.entries)?)
    });
    let entries = match begun {
        Ok(entries) => entries,
        Err(failure) => return encode::failure(&gateway, &mut exchange, &failure, reply).await,
    };
    let answers = run(&gateway, &incoming, &entries, limits, stopping, &mut reply).await;
    reply.whole(joined(answers));
}

/// Runs the requests, some at once, and gives where their answers are: nowhere for those that were
/// not begun.
async fn run(
    gateway: &Arc<Gateway>,
    incoming: &Incoming,
    entries: &[Entry],
    limits: Limits,
    stopping: impl Fn() -> bool,
    reply: &mut Reply,
) -> Vec<Option<Receiver<Outgoing>>> {
    let mut answers: Vec<_> = entries.iter().map(|_| None).collect();
    let mut waiting = order(&gateway.catalogue.load(), &gateway.settings.default_model, entries).into_iter();
    let mut under_way = JoinSet::new();
    let mut left = false;
    loop {
        while under_way.len() < limits.concurrency && !left && !stopping() {
            let Some(index) = waiting.next() else { break };
            let (entry_reply, answer) = Reply::channel(limits.patience);
            answers[index] = Some(answer);
            let entry = entry(incoming, &entries[index].body);
            under_way.spawn(crate::handle(Arc::clone(gateway), entry, entry_reply));
        }
        tokio::select! {
            // One that panicked leaves no answer, which is how it is told.
            ended = under_way.join_next() => if ended.is_none() { return answers },
            () = reply.gone(), if !left => {
                left = true;
                // So the requests under way notice that nobody waits for them.
                answers.iter_mut().for_each(|answer| *answer = None);
            }
        }
    }
}

fn entry(batch: &Incoming, body: &Bytes) -> Incoming {
    Incoming {
        operation: Operation::Generate,
        path_model: None,
        presented: batch.presented.clone(),
        hints: batch.hints.clone(),
        passed_headers: Vec::new(),
        client_request_id: batch.client_request_id.clone(),
        body: body.clone(),
        held: None,
    }
}

/// The order in which requests are begun: grouped by model, and the groups in turn, so that many
/// requests for one model do not hold up those for another.
fn order(catalogue: &Catalogue, default: &str, entries: &[Entry]) -> Vec<usize> {
    let mut groups: Vec<VecDeque<usize>> = Vec::new();
    let mut known: HashMap<&str, usize> = HashMap::new();
    for (index, entry) in entries.iter().enumerate() {
        let name = entry.model.as_deref().unwrap_or(default);
        let model = match catalogue.known(name) {
            Some(Answering::Target { target, .. }) => &*catalogue.models[catalogue.targets[target].model].id,
            _ => name,
        };
        let group = *known.entry(model).or_insert(groups.len());
        if group == groups.len() {
            groups.push(VecDeque::new());
        }
        groups[group].push_back(index);
    }
    let mut order = Vec::with_capacity(entries.len());
    while order.len() < entries.len() {
        order.extend(groups.iter_mut().filter_map(VecDeque::pop_front));
    }
    order
}

/// The answers of all, in the batch's order, and what they cost together.
fn joined(answers: Vec<Option<Receiver<Outgoing>>>) -> Outgoing {
    let mut cost = 0u128;
    let mut bodies = Vec::with_capacity(answers.len());
    for answer in answers {
        let answer = match answer {
            Some(mut answer) => answer.try_recv().unwrap_or_else(|_| {
                let message = "the request was lost; the gateway's log says why";
                encode::error(Dialect::Kairos, &Failure::new(Kind::Internal, message))
            }),
            None => {
                let message = "the gateway is stopping, and did not begin this request; send it again";
                encode::error(Dialect::Kairos, &Failure::new(Kind::Overloaded, message))
            }
        };
        let stated = answer.headers.iter().find(|(name, _)| *name == encode::COST);
        cost += stated.and_then(|(_, cost)| Picodollars::parse_dollars(cost)).map_or(0, |cost| u128::from(cost.0));
        if let Body::Whole(body) = answer.body {
            bodies.push(body);
        }
    }
    Outgoing {
        status: 200,
        content_type: encode::JSON,
        headers: vec![(encode::COST, dollars(cost))],
        body: Body::Whole(generate::batch::join(&bodies)),
    }
}
