//! Looks whether jobs have ended: callers may never ask again. What is looked for is what the ledger has open,
//! so no job is missed, whichever run began it.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::Ordering;

use futures_util::StreamExt as _;
use kairos_dialects::bedrock::jobs::{self, Seen};
use kairos_dialects::{Failure, Kind};

use super::end::{SLACK_MS, give_up, take_in};
use super::{Job, Jobs};
use crate::gateway::Gateway;
use crate::ledger::{AttemptKey, OpenJob};
use crate::upstream::Look;

/// How often is looked, and until when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WatchBounds {
    /// From the start of a job to the first look; each wait after that is twice the one before.
    pub first_ms: u64,
    /// The longest wait.
    pub longest_ms: u64,
    /// So long after its start a job is given up.
    pub horizon_ms: u64,
}

/// So long a job is looked for whose start was not answered.
const LOST_MS: u64 = 3_600_000;
/// Answers that a job is not known after which it is taken for gone.
const MOST_UNKNOWN: u32 = 5;
/// Looks at a time.
const AT_ONCE: usize = 8;
/// Pages of Bedrock's list that a job is looked for in, of a thousand jobs each.
const MOST_PAGES: usize = 20;

/// What came of a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The job goes on.
    Open,
    /// It has ended.
    Ended,
    /// Bedrock does not know it.
    Unknown,
    /// Bedrock could not be asked, or what it said not be kept.
    Failed,
    /// It was given up.
    GivenUp,
}

impl Outcome {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Open, Self::Ended, Self::Unknown, Self::Failed, Self::GivenUp];

    /// The name in metrics.
    pub fn name(self) -> &'static str {
        ["open", "ended", "unknown", "failed", "given_up"][self as usize]
    }
}

/// When each job is looked for next.
pub struct Watch {
    bounds: WatchBounds,
    next: HashMap<AttemptKey, Next>,
}

#[derive(Clone, Copy)]
struct Next {
    at_ms: u64,
    wait_ms: u64,
    unknown: u32,
}

impl Watch {
    /// Nothing looked for yet.
    pub fn new(bounds: WatchBounds) -> Self {
        Self { bounds, next: HashMap::new() }
    }

    /// Looks for every open job that is due. Gives how many those were.
    pub async fn round(&mut self, gateway: &Gateway) -> usize {
        let Some(jobs) = &gateway.jobs else { return 0 };
        let now_ms = (gateway.clock)();
        let open = gateway.ledger.jobs();
        let keys: HashSet<_> = open.iter().map(|job| job.key).collect();
        self.next.retain(|key, _| keys.contains(key));
        let due: Vec<_> = open.iter().filter(|job| !jobs.is_starting(&job.token) && self.is_due(job, now_ms)).collect();
        let horizon_ms = self.bounds.horizon_ms;
        let looks = due.into_iter().map(|job| {
            let unknown = self.next.get(&job.key).map_or(0, |next| next.unknown);
            async move { (job.key, look(gateway, jobs, job, unknown, horizon_ms, now_ms).await) }
        });
        let looks: Vec<_> = looks.collect();
        let came: Vec<_> = futures_util::stream::iter(looks).buffer_unordered(AT_ONCE).collect().await;
        for (key, outcome) in &came {
            jobs.looks[*outcome as usize].fetch_add(1, Ordering::Relaxed);
            let next = self.next.entry(*key).or_insert(Next { at_ms: 0, wait_ms: self.bounds.first_ms, unknown: 0 });
            next.wait_ms = next.wait_ms.saturating_mul(2).min(self.bounds.longest_ms);
            next.at_ms = now_ms.saturating_add(next.wait_ms);
            next.unknown = if *outcome == Outcome::Unknown { next.unknown + 1 } else { 0 };
        }
        came.len()
    }

    fn is_due(&mut self, job: &OpenJob, now_ms: u64) -> bool {
        let first_ms = self.bounds.first_ms;
        let first = Next { at_ms: job.at_ms.saturating_add(first_ms), wait_ms: first_ms, unknown: 0 };
        let next = self.next.entry(job.key).or_insert(first);
        // A clock that was put back must not make it wait for the time that it had.
        next.at_ms = next.at_ms.min(now_ms.saturating_add(self.bounds.longest_ms));
        next.at_ms <= now_ms
    }
}

async fn look(gateway: &Gateway, jobs: &Jobs, open: &OpenJob, unknown: u32, horizon_ms: u64, now_ms: u64) -> Outcome {
    let job = match known(jobs, open).await {
        Ok(job) => job,
        Err(why) => return failed(open, &why),
    };
    let found = ask(gateway, open, job.as_ref()).await;
    let age_ms = now_ms.saturating_sub(open.at_ms);
    let has_begun = job.as_ref().is_some_and(|job| job.arn.is_some());
    let (is_unknown, error) = match found {
        Ok(Some(seen)) => {
            let goes_on = seen.status == jobs::Status::InProgress;
            let late = goes_on && age_ms >= horizon_ms;
            if let Err(why) = take_in(gateway, Some(open), job.clone(), seen).await {
                return failed(open, &why);
            }
            match (goes_on, late) {
                (false, _) => return Outcome::Ended,
                (true, false) => return Outcome::Open,
                (true, true) => (false, None),
            }
        }
        Ok(None) => (true, None),
        Err(failure) => (failure.kind == Kind::Rejected || failure.kind == Kind::ModelNotFound, Some(failure)),
    };
    let gone = if !has_begun && is_unknown && age_ms >= LOST_MS {
        Some("it is not known whether the job began, and Bedrock does not list it")
    } else if has_begun && is_unknown && unknown + 1 >= MOST_UNKNOWN {
        Some("Bedrock does not know the job any more")
    } else if age_ms >= horizon_ms {
        Some("the job was not seen to end in the time that jobs are watched for")
    } else {
        None
    };
    if let Some(why) = gone {
        return match let_go(gateway, jobs, open, has_begun, why).await {
            Ok(outcome) => outcome,
            Err(why) => failed(open, &why),
        };
    }
    match error {
        Some(failure) if !is_unknown => failed(open, &failure.to_string()),
        _ => Outcome::Unknown,
    }
}

/// What is kept of a job. A record of another attempt is not its own.
async fn known(jobs: &Jobs, open: &OpenJob) -> Result<Option<Job>, String> {
    Ok(jobs.store.by_token(&open.token).await?.filter(|job| job.key() == open.key))
}

/// Gives a job up, unless a request that starts it finds out more right now, or just has.
async fn let_go(
    gateway: &Gateway,
    jobs: &Jobs,
    open: &OpenJob,
    had_begun: bool,
    why: &'static str,
) -> Result<Outcome, String> {
    let Some(_nobody_else) = jobs.begin(&open.token) else { return Ok(Outcome::Unknown) };
    let job = known(jobs, open).await?;
    if !had_begun && job.as_ref().is_some_and(|job| job.arn.is_some()) {
        return Ok(Outcome::Open);
    }
    give_up(gateway, jobs, open, job, why).await?;
    Ok(Outcome::GivenUp)
}

fn failed(open: &OpenJob, why: &str) -> Outcome {
    tracing::warn!(attempt = %open.key, "a job could not be looked for, it is tried again: {why}");
    Outcome::Failed
}

fn no_sense(invalid: &kairos_dialects::Invalid) -> Failure {
    Failure::new(Kind::BrokenStream, format!("Bedrock's answer made no sense: {invalid}"))
}

/// Asks Bedrock for a job: by its ARN, else by its token, page by page of the list since it was reserved.
async fn ask(gateway: &Gateway, open: &OpenJob, job: Option<&Job>) -> Result<Option<Seen>, Failure> {
    let arn = match job.and_then(|job| job.arn.clone()) {
        Some(arn) => arn,
        None => match listed(gateway, open).await? {
            Some(arn) => arn,
            None => return Ok(None),
        },
    };
    let answer = gateway.upstream.look(Look::Job(&arn)).await?;
    jobs::seen(&answer).map(Some).map_err(|invalid| no_sense(&invalid))
}

/// The ARN that Bedrock's list has for a job's token.
async fn listed(gateway: &Gateway, open: &OpenJob) -> Result<Option<String>, Failure> {
    let mut page = None;
    for _ in 0..MOST_PAGES {
        let since_ms = open.at_ms.saturating_sub(SLACK_MS);
        let answer = gateway.upstream.look(Look::List { since_ms, page: page.as_deref() }).await?;
        let (found, next) = jobs::page(&answer).map_err(|invalid| no_sense(&invalid))?;
        let own = found.into_iter().find(|job| job.client_request_token.as_deref() == Some(&*open.token));
        if own.is_some() || next.is_none() {
            return Ok(own.map(|job| job.invocation_arn));
        }
        page = next;
    }
    Ok(None)
}
