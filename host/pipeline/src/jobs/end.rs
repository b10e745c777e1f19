//! What a job came to, and the end of its row.

use kairos_dialects::bedrock::jobs::{Seen, Status};

use super::{Ended, Job, Jobs};
use crate::gateway::Gateway;
use crate::ledger::{Ending, OpenJob};
use crate::money::Picodollars;

/// Bedrock's clock and ours may differ by so much.
pub(super) const SLACK_MS: u64 = 600_000;

/// Whether it is the job of an earlier start, which was charged when that was given up: by its token Bedrock knows
/// it, and it was there before this start.
fn is_charged(job: &Job, seen: &Seen) -> bool {
    let submitted: Option<jiff::Timestamp> = seen.submit_time.parse().ok();
    let submitted_ms = submitted.map(|at| u64::try_from(at.as_millisecond()).unwrap_or(0));
    job.before.is_some() && submitted_ms.is_some_and(|at| at < job.at_ms.saturating_sub(SLACK_MS))
}

/// How the row of a job ends of which Bedrock says this; none while it goes on.
fn ending(job: Option<&Job>, seen: &Seen, worst: Picodollars) -> Option<Ending> {
    if job.is_some_and(|job| is_charged(job, seen)) {
        return Some(Ending::Voided { why: "the job began with an earlier request, and is charged there" });
    }
    of_status(job, seen.status, worst)
}

fn of_status(job: Option<&Job>, status: Status, worst: Picodollars) -> Option<Ending> {
    let estimated = |low, why| Some(Ending::Estimated { low, high: worst, usage: None, why });
    match (status, job) {
        (Status::InProgress, _) => None,
        (Status::Completed, Some(Job { usage: Some(usage), .. })) => {
            Some(Ending::Settled { cost: worst, usage: *usage })
        }
        (Status::Completed, job) => {
            let least = job.map_or(Picodollars::ZERO, |job| job.least.min(worst));
            estimated(least, "the job completed, and Bedrock does not say what it consumed")
        }
        // Nothing says that a job which fails costs nothing.
        (Status::Failed, _) => {
            estimated(Picodollars::ZERO, "the job failed, and Bedrock does not say whether it is billed")
        }
    }
}

/// Takes in what Bedrock says of a job: where it has ended, so does its row. What is known of the job is written
/// down first: were it lost after that, the row would still be open, and looked for again.
pub async fn take_in(
    gateway: &Gateway,
    open: Option<&OpenJob>,
    mut job: Option<Job>,
    seen: Seen,
) -> Result<(), String> {
    let ending = open.and_then(|open| ending(job.as_ref(), &seen, open.worst));
    if let (Some(job), Some(jobs)) = (&mut job, &gateway.jobs) {
        let news = (job.seen.as_ref() != Some(&seen)) || job.arn.is_none() || ending.is_some();
        job.arn = Some(seen.invocation_arn.clone());
        job.seen = Some(seen);
        if let Some(ending) = &ending {
            let before = job.before.take_if(|_| matches!(ending, Ending::Voided { .. }));
            job.ended = before.or_else(|| Some(ended(ending)));
        }
        if news {
            jobs.store.keep(job.clone()).await?;
        }
    }
    if let (Some(open), Some(ending)) = (open, ending) {
        finish(gateway, open, ending);
    }
    Ok(())
}

/// Gives a job up of which nothing more will be known.
pub(super) async fn give_up(
    gateway: &Gateway,
    jobs: &Jobs,
    open: &OpenJob,
    job: Option<Job>,
    why: &'static str,
) -> Result<(), String> {
    let ending = Ending::Estimated { low: Picodollars::ZERO, high: open.worst, usage: None, why };
    if let Some(mut job) = job {
        job.ended = Some(ended(&ending));
        jobs.store.keep(job).await?;
    }
    tracing::warn!(attempt = %open.key, charged_usd = %open.worst, "{why}: it is charged at its worst case");
    finish(gateway, open, ending);
    Ok(())
}

fn ended(ending: &Ending) -> Ended {
    let low = match ending {
        Ending::Estimated { low, .. } => Some(*low),
        Ending::Settled { .. } | Ending::Voided { .. } => None,
    };
    Ended { state: ending.state().to_owned(), charged: ending.charged(), low }
}

fn finish(gateway: &Gateway, open: &OpenJob, ending: Ending) {
    tracing::info!(
        attempt = %open.key,
        key = &*open.caller,
        ledger = ending.state(),
        cost_usd = %ending.charged(),
        "a job has ended"
    );
    gateway.ledger.end(open.key, ending);
}

#[cfg(test)]
mod tests {
    use kairos_dialects::Usage;

    use super::*;
    use crate::ledger::AttemptKey;
    use crate::request::RequestId;

    #[test]
    fn a_job_is_settled_only_where_its_request_says_all_of_it() {
        let key = AttemptKey { request: RequestId::mint(), attempt: 1 };
        let job = Job { least: Picodollars(3), ..Job::new(key, "t", "k", 0) };
        let exact = Job { usage: Some(Usage::default()), ..job.clone() };
        let of = |job: Option<&Job>, status| {
            of_status(job, status, Picodollars(10)).map(|ending| {
                let low = match ending {
                    Ending::Estimated { low, .. } => low.0,
                    _ => ending.charged().0,
                };
                (ending.state(), low, ending.charged().0)
            })
        };
        assert_eq!(of(Some(&exact), Status::InProgress), None);
        assert_eq!(of(Some(&exact), Status::Completed), Some(("settled", 10, 10)));
        assert_eq!(of(Some(&job), Status::Completed), Some(("estimated", 3, 10)));
        assert_eq!(of(None, Status::Completed), Some(("estimated", 0, 10)));
        assert_eq!(of(Some(&exact), Status::Failed), Some(("estimated", 0, 10)));
    }
}
