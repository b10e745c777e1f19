//! Asynchronous invocations: which there are, when they end, and what AWS would charge for them.
//!
//! A job ends when its time is over, or when somebody says so under `/sim/v1/jobs`. It must not know HTTP.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::error::{ApiError, Exception};
use crate::ids;
use crate::money::Usd;

/// Jobs that are kept; the first go first.
const MOST: usize = 10_000;
/// Seconds of a recording, where nobody says how long it is.
const USUAL_SECONDS: u64 = 30;

/// What is charged for: model, what of its input says so, the end of the usage type, picodollars for one.
const PRICES: [(&str, &str, &str, u64); 6] = [
    ("amazon.nova-reel-", "", "NovaReel-video-seconds", 80_000_000_000),
    ("twelvelabs.marengo-embed-", "video", "MarengoEmbed-video-seconds", 700_000_000),
    ("twelvelabs.marengo-embed-", "audio", "MarengoEmbed-audio-seconds", 140_000_000),
    ("twelvelabs.marengo-embed-", "image", "MarengoEmbed-images", 100_000_000),
    ("twelvelabs.marengo-embed-", "text", "MarengoEmbed-requests", 70_000_000),
    ("twelvelabs.marengo-embed-", "text_image", "MarengoEmbed-images", 100_000_000),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    InProgress,
    Completed,
    Failed,
}

impl Status {
    pub(crate) const NAMES: [&'static str; 3] = ["InProgress", "Completed", "Failed"];

    pub(crate) fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }

    pub(crate) fn find(name: &str) -> Option<Self> {
        [Self::InProgress, Self::Completed, Self::Failed].into_iter().find(|status| status.name() == name)
    }
}

/// What a job is started with.
pub(crate) struct Start {
    pub(crate) token: Option<String>,
    pub(crate) model: String,
    pub(crate) input: Value,
    pub(crate) output: Value,
    pub(crate) region: &'static str,
    /// `amz-sdk-invocation-id`.
    pub(crate) invocation: Option<String>,
}

#[derive(Clone)]
pub(crate) struct Job {
    pub(crate) arn: String,
    pub(crate) token: Option<String>,
    model: String,
    input: Value,
    output: Value,
    region: &'static str,
    invocation: Option<String>,
    pub(crate) status: Status,
    pub(crate) submitted: Timestamp,
    modified: Timestamp,
    charge: Option<(&'static str, u64, u64)>,
    quantity: u64,
    bill: Option<Usd>,
}

impl Job {
    /// It, as GetAsyncInvoke says it.
    pub(crate) fn shown(&self) -> Value {
        let partition = if self.region.starts_with("us-gov-") { "aws-us-gov" } else { "aws" };
        let mut shown = json!({
            "invocationArn": self.arn,
            "modelArn": format!("arn:{partition}:bedrock:{}::foundation-model/{}", self.region, self.model),
            "status": self.status.name(),
            "submitTime": self.submitted.to_string(),
            "lastModifiedTime": self.modified.to_string(),
            "outputDataConfig": self.output,
        });
        if let Some(token) = &self.token {
            shown["clientRequestToken"] = token.clone().into();
        }
        if self.status != Status::InProgress {
            shown["endTime"] = self.modified.to_string().into();
        }
        if self.status == Status::Failed {
            shown["failureMessage"] = "The simulator was told to let the job fail.".into();
        }
        shown
    }

    /// It, with what AWS would charge.
    pub(crate) fn billed(&self) -> Value {
        let mut shown = self.shown();
        shown["modelInput"] = self.input.clone();
        shown["invocationId"] = self.invocation.clone().into();
        if let (Some(cost), Some((usage_type, ..))) = (&self.bill, self.charge) {
            shown["bill"] = json!({"usage_type": usage_type, "quantity": self.quantity, "cost_usd": cost});
        }
        shown
    }

    fn end(&mut self, status: Status, at: Timestamp, seconds: Option<u64>, is_billed: bool) {
        (self.status, self.modified) = (status, at);
        let Some((_, price, fixed)) = self.charge.filter(|_| is_billed) else { return };
        // How long a recording is, only its file says; a video, an image and a text are what they are.
        self.quantity = if fixed > 0 { fixed } else { seconds.unwrap_or(USUAL_SECONDS) };
        let cost = u128::from(self.quantity) * u128::from(price);
        self.bill = Some(Usd::from_picodollars(cost));
    }
}

/// Seconds of a video that is made.
fn video_seconds(input: &Value) -> u64 {
    let asked = input["videoGenerationConfig"]["durationSeconds"].as_u64();
    match input["taskType"].as_str() {
        Some("MULTI_SHOT_MANUAL") => {
            input["multiShotManualParams"]["shots"].as_array().map_or(0, |shots| shots.len() as u64 * 6)
        }
        _ => asked.unwrap_or(6),
    }
}

/// What a job is charged by: the usage type, the price of one, and how many where the input says it.
fn charge(model: &str, input: &Value) -> Option<(&'static str, u64, u64)> {
    let kind = input["inputType"].as_str().unwrap_or("");
    let is_video = model.starts_with("amazon.nova-reel-");
    let found = PRICES.iter().find(|(prefix, of, ..)| model.starts_with(prefix) && (is_video || *of == kind));
    found.map(|(_, of, usage_type, price)| {
        let fixed = if is_video { video_seconds(input) } else { u64::from(!matches!(*of, "video" | "audio")) };
        (*usage_type, *price, fixed)
    })
}

#[derive(Default)]
struct Inner {
    jobs: Vec<Job>,
    by_token: HashMap<String, String>,
    next: u64,
}

/// All jobs of a simulator.
pub(crate) struct Jobs {
    inner: Mutex<Inner>,
    lasts: SignedDuration,
}

impl Jobs {
    /// None yet; each will last so long.
    pub(crate) fn new(lasts: SignedDuration) -> Self {
        Self { inner: Mutex::default(), lasts }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a job, or finds the one that was started with this token.
    pub(crate) fn start(&self, start: Start, now: Timestamp) -> Result<String, ApiError> {
        let mut inner = self.lock();
        if let Some(arn) = start.token.as_ref().and_then(|token| inner.by_token.get(token)) {
            let known = inner.jobs.iter().find(|job| job.arn == *arn);
            let same = known.is_some_and(|job| (&job.model, &job.input) == (&start.model, &start.input));
            let other = "The clientRequestToken was used with other parameters.";
            return if same { Ok(arn.clone()) } else { Err(ApiError::new(Exception::Conflict, other)) };
        }
        let Some(charge) = charge(&start.model, &start.input) else {
            return Err(ApiError::validation(
                "The provided model doesn't support asynchronous invocation of this input.",
            ));
        };
        inner.next += 1;
        let id = ids::named("", inner.next)[..12].to_ascii_lowercase();
        let arn = format!("arn:aws:bedrock:{}:000000000000:async-invoke/{id}", start.region);
        if let Some(token) = &start.token {
            inner.by_token.insert(token.clone(), arn.clone());
        }
        if inner.jobs.len() >= MOST {
            let gone = inner.jobs.remove(0);
            gone.token.and_then(|token| inner.by_token.remove(&token));
        }
        let Start { token, model, input, output, region, invocation } = start;
        inner.jobs.push(Job {
            arn: arn.clone(),
            token,
            model,
            input,
            output,
            region,
            invocation,
            status: Status::InProgress,
            submitted: now,
            modified: now,
            charge: Some(charge),
            quantity: 0,
            bill: None,
        });
        Ok(arn)
    }

    /// All jobs as they are now, the oldest first.
    pub(crate) fn all(&self, now: Timestamp) -> Vec<Job> {
        let mut inner = self.lock();
        for job in inner.jobs.iter_mut().filter(|job| job.status == Status::InProgress) {
            let due = job.submitted.saturating_add(self.lasts).unwrap_or(Timestamp::MAX);
            if due <= now {
                job.end(Status::Completed, due, None, true);
            }
        }
        inner.jobs.clone()
    }

    /// The job of an ARN.
    pub(crate) fn find(&self, arn: &str, now: Timestamp) -> Option<Job> {
        self.all(now).into_iter().find(|job| job.arn == arn)
    }

    /// Ends a job that goes on. Whether there was one.
    pub(crate) fn end(&self, arn: &str, status: Status, now: Timestamp, seconds: Option<u64>, is_billed: bool) -> bool {
        let mut inner = self.lock();
        let job = inner.jobs.iter_mut().find(|job| job.arn == arn && job.status == Status::InProgress);
        job.map(|job| job.end(status, now, seconds, is_billed)).is_some()
    }

    /// Forgets a job, as AWS does some day. Whether there was one.
    pub(crate) fn forget(&self, arn: &str) -> bool {
        let mut inner = self.lock();
        let before = inner.jobs.len();
        inner.jobs.retain(|job| job.arn != arn);
        before > inner.jobs.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn start(token: &str, input: Value) -> Start {
        let model =
            if input["inputType"].is_string() { "twelvelabs.marengo-embed-3-0-v1:0" } else { "amazon.nova-reel-v1:1" };
        let (token, model) = (Some(token.to_owned()), model.to_owned());
        Start { token, model, input, output: Value::Null, region: "us-east-1", invocation: None }
    }

    fn bill(job: &Job) -> Option<(&'static str, u64, u128)> {
        Some((job.charge?.0, job.quantity, job.bill.as_ref()?.picodollars()))
    }

    #[test]
    fn jobs_end_by_the_clock_or_by_a_wish_and_are_billed_by_what_they_made() {
        let jobs = Jobs::new(SignedDuration::from_secs(20));
        let video = json!({"taskType": "TEXT_VIDEO", "videoGenerationConfig": {"durationSeconds": 12}});
        let made = jobs.start(start("a", video.clone()), at(0)).unwrap();
        assert_eq!(jobs.start(start("a", video), at(1)).unwrap(), made);
        assert_eq!(
            jobs.start(start("a", json!({"taskType": "TEXT_VIDEO"})), at(1)).unwrap_err().name,
            "ConflictException"
        );
        let seen = jobs.start(start("b", json!({"inputType": "video"})), at(5)).unwrap();
        assert!(jobs.start(start("c", json!({"inputType": "smell"})), at(5)).is_err());
        let of = |arn: &str, now| jobs.find(arn, at(now)).unwrap();
        assert_eq!((of(&made, 19).status, bill(&of(&made, 19))), (Status::InProgress, None));
        assert_eq!(of(&made, 20).status, Status::Completed);
        assert_eq!(bill(&of(&made, 20)), Some(("NovaReel-video-seconds", 12, 960_000_000_000)));
        assert!(jobs.end(&seen, Status::Completed, at(9), Some(100), true));
        assert!(!jobs.end(&seen, Status::Failed, at(9), None, true), "it has ended");
        assert_eq!(bill(&of(&seen, 9)), Some(("MarengoEmbed-video-seconds", 100, 70_000_000_000)));
        let failed = jobs.start(start("d", json!({"inputType": "audio"})), at(10)).unwrap();
        assert!(jobs.end(&failed, Status::Failed, at(11), None, false));
        assert_eq!((of(&failed, 99).status, bill(&of(&failed, 99))), (Status::Failed, None));
        assert!(jobs.forget(&failed) && jobs.find(&failed, at(99)).is_none());
    }
}
