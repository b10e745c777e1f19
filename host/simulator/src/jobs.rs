//! Asynchronous invocations: which there are, when they end, and what AWS would charge for them.
//!
//! A job ends when its time is over, or when somebody says so under `/sim/v1/jobs`. It must not know HTTP.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::bill::{Bill, Charge};
use crate::catalogue::{Catalogue, Family, Model, ModelRef, Piece, Pieces, Region, Route, Tier};
use crate::error::{ApiError, Exception};
use crate::ids;
use crate::money::Usd;
use crate::usage::{GuardUnits, Usage};

/// Jobs that are kept; the first go first.
const MOST: usize = 10_000;
/// Seconds of a recording, where nobody says how long it is.
const USUAL_SECONDS: u32 = 30;

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
    pub(crate) region: Region,
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
    region: Region,
    invocation: Option<String>,
    pub(crate) status: Status,
    pub(crate) submitted: Timestamp,
    modified: Timestamp,
    counts: Counts,
    bill: Option<(u32, Usd)>,
}

/// What a job is charged by, and how much of it, where its input says so.
#[derive(Clone, Copy)]
struct Counts {
    model: ModelRef,
    piece: Piece,
    quantity: Option<u32>,
}

impl Job {
    /// It, as GetAsyncInvoke says it.
    pub(crate) fn shown(&self) -> Value {
        let region = self.region.name();
        let partition = if region.starts_with("us-gov-") { "aws-us-gov" } else { "aws" };
        let mut shown = json!({
            "invocationArn": self.arn,
            "modelArn": format!("arn:{partition}:bedrock:{region}::foundation-model/{}", self.model),
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
        if let Some((quantity, cost)) = &self.bill {
            shown["bill"] = json!({"counts": self.counts.piece.name(), "quantity": quantity, "cost_usd": cost});
        }
        shown
    }

    /// Ends it. Gives what is billed.
    fn end(&mut self, status: Status, at: Timestamp, seconds: Option<u32>, catalogue: &Catalogue) -> Option<Charge> {
        (self.status, self.modified) = (status, at);
        // How long a recording is, only its file says; a video, an image and a text are what they are.
        let quantity = self.counts.quantity.or(seconds).unwrap_or(USUAL_SECONDS);
        let mut usage = Usage::default();
        usage.add(self.counts.piece, quantity);
        let way = (self.counts.model, Route::InRegion, self.region);
        let charge = Charge::new(catalogue, way, Tier::Standard, usage, GuardUnits::default())?;
        self.bill = Some((quantity, charge.cost()));
        Some(charge)
    }

    /// Ends it, and nothing is billed.
    fn end_free(&mut self, status: Status, at: Timestamp) {
        (self.status, self.modified) = (status, at);
    }
}

/// Seconds of a video that is made.
fn video_seconds(input: &Value) -> u32 {
    let asked = input["videoGenerationConfig"]["durationSeconds"].as_u64();
    let asked = asked.map(|seconds| u32::try_from(seconds).unwrap_or(u32::MAX));
    match input["taskType"].as_str() {
        Some("MULTI_SHOT_MANUAL") => input["multiShotManualParams"]["shots"]
            .as_array()
            .map_or(0, |shots| u32::try_from(shots.len() * 6).unwrap_or(u32::MAX)),
        _ => asked.unwrap_or(6),
    }
}

/// What a job of this input is charged by, and how many where the input says it.
fn counts(model: &Model, input: &Value) -> Option<(Piece, Option<u32>)> {
    match (model.family, input["inputType"].as_str()) {
        (Family::Pieces(Pieces::Reel), _) => Some((Piece::VideoSecondMade, Some(video_seconds(input)))),
        (Family::Pieces(Pieces::Marengo), Some("video")) => Some((Piece::VideoSecond, None)),
        (Family::Pieces(Pieces::Marengo), Some("audio")) => Some((Piece::AudioSecond, None)),
        (Family::Pieces(Pieces::Marengo), Some("image" | "text_image")) => Some((Piece::Image, Some(1))),
        (Family::Pieces(Pieces::Marengo), Some("text")) => Some((Piece::Query, Some(1))),
        _ => None,
    }
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
    catalogue: Arc<Catalogue>,
    bill: Bill,
}

impl Jobs {
    /// None yet; each will last so long, and be booked here when it ends.
    pub(crate) fn new(lasts: SignedDuration, catalogue: Arc<Catalogue>, bill: Bill) -> Self {
        Self { inner: Mutex::default(), lasts, catalogue, bill }
    }

    /// Books what an ended job costs: under the attempt that began it, as other calls are.
    fn book(&self, job: &Job, charge: Charge) {
        let invocation = job.invocation.as_deref().unwrap_or(&job.arn);
        self.bill.book(invocation, Arc::from(&*job.model), charge);
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
        let found = self.catalogue.find(&start.model).and_then(|which| {
            let (piece, quantity) = counts(self.catalogue.model(which), &start.input)?;
            Some(Counts { model: which, piece, quantity })
        });
        let Some(counts) = found else {
            return Err(ApiError::validation(
                "The provided model doesn't support asynchronous invocation of this input.",
            ));
        };
        inner.next += 1;
        let id = ids::named("", inner.next)[..12].to_ascii_lowercase();
        let arn = format!("arn:aws:bedrock:{}:000000000000:async-invoke/{id}", start.region.name());
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
            counts,
            bill: None,
        });
        Ok(arn)
    }

    /// The jobs as they are at a time: those that are due by then have ended.
    fn at(&self, now: Timestamp) -> MutexGuard<'_, Inner> {
        let mut inner = self.lock();
        for job in inner.jobs.iter_mut().filter(|job| job.status == Status::InProgress) {
            let due = job.submitted.saturating_add(self.lasts).unwrap_or(Timestamp::MAX);
            if due <= now
                && let Some(charge) = job.end(Status::Completed, due, None, &self.catalogue)
            {
                self.book(job, charge);
            }
        }
        inner
    }

    /// Ends those that are due.
    pub(crate) fn end_due(&self, now: Timestamp) {
        drop(self.at(now));
    }

    /// All jobs as they are now, the oldest first.
    pub(crate) fn all(&self, now: Timestamp) -> Vec<Job> {
        self.at(now).jobs.clone()
    }

    /// The job of an ARN.
    pub(crate) fn find(&self, arn: &str, now: Timestamp) -> Option<Job> {
        self.at(now).jobs.iter().find(|job| job.arn == arn).cloned()
    }

    /// Ends a job that goes on. Whether there was one.
    pub(crate) fn end(&self, arn: &str, status: Status, now: Timestamp, seconds: Option<u32>, is_billed: bool) -> bool {
        let mut inner = self.lock();
        let found = inner.jobs.iter_mut().find(|job| job.arn == arn && job.status == Status::InProgress);
        let Some(job) = found else { return false };
        if !is_billed {
            job.end_free(status, now);
        } else if let Some(charge) = job.end(status, now, seconds, &self.catalogue) {
            self.book(job, charge);
        }
        true
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
    use crate::config::Clock;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn start(token: &str, input: Value) -> Start {
        let model =
            if input["inputType"].is_string() { "twelvelabs.marengo-embed-3-0-v1:0" } else { "amazon.nova-reel-v1:1" };
        let (token, model) = (Some(token.to_owned()), model.to_owned());
        let region = Region::find("us-east-1").unwrap();
        let invocation = Some(format!("of-{token:?}"));
        Start { token, model, input, output: Value::Null, region, invocation }
    }

    fn bill(job: &Job) -> Option<(Piece, u32, u128)> {
        let (quantity, cost) = job.bill.as_ref()?;
        Some((job.counts.piece, *quantity, cost.picodollars()))
    }

    #[test]
    fn jobs_end_by_the_clock_or_by_a_wish_and_are_billed_by_what_they_made() {
        let catalogue = Arc::new(Catalogue::load(jiff::civil::date(2026, 11, 23)).unwrap());
        let booked = Bill::new(Arc::clone(&catalogue), 100, Clock::system());
        let jobs = Jobs::new(SignedDuration::from_secs(20), catalogue, booked.clone());
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
        assert_eq!(bill(&of(&made, 20)), Some((Piece::VideoSecondMade, 12, 960_000_000_000)));
        assert!(jobs.end(&seen, Status::Completed, at(9), Some(100), true));
        assert!(!jobs.end(&seen, Status::Failed, at(9), None, true), "it has ended");
        assert_eq!(bill(&of(&seen, 9)), Some((Piece::VideoSecond, 100, 70_000_000_000)));
        let failed = jobs.start(start("d", json!({"inputType": "audio"})), at(10)).unwrap();
        assert!(jobs.end(&failed, Status::Failed, at(11), None, false));
        assert_eq!((of(&failed, 99).status, bill(&of(&failed, 99))), (Status::Failed, None));
        assert!(jobs.forget(&failed) && jobs.find(&failed, at(99)).is_none());
        // What ended is on the bill, once, under the attempts that began it.
        let lines: Vec<_> = booked.totals().usage.into_iter().map(|line| (line.usage_type, line.quantity)).collect();
        let of = |usage_type: &str, quantity| (usage_type.to_owned(), quantity);
        let expected =
            [of("USE1-MP:USE1_InputVideoSecondCount-Units", 100), of("USE1-NovaReel1.1-output-video-seconds", 12)];
        assert_eq!(lines, expected);
        assert_eq!(booked.find("of-Some(\"a\")").len(), 1);
    }
}
