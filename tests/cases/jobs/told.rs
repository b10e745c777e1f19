//! A model's side that answers as it is told to, and jobs in memory that are kept as they should be, or not.

use std::collections::{HashMap, VecDeque};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use futures_util::future::{BoxFuture, ready};
use kairos_dialects::Failure;
use kairos_dialects::bedrock::jobs::ListQuery;
use kairos_pipeline::jobs::{Job, JobStore};
use kairos_pipeline::request::RequestId;
use kairos_pipeline::upstream::{Call, Look, Response, Upstream, Whole};

/// Called when something is sent or asked for, before it is answered.
pub(super) type Meanwhile = Box<dyn FnOnce() + Send>;

/// Answers as it is told to, and says what it was asked.
#[derive(Default)]
pub(super) struct Told {
    /// To looks.
    pub(super) answers: Mutex<VecDeque<Result<String, Failure>>>,
    pub(super) asked: Mutex<Vec<String>>,
    /// To calls.
    pub(super) starts: Mutex<VecDeque<Result<String, Failure>>>,
    pub(super) calls: Mutex<Vec<Bytes>>,
    /// What happens during the next look.
    pub(super) meanwhile: Mutex<Option<Meanwhile>>,
}

impl Upstream for Told {
    fn call(&self, call: Call) -> BoxFuture<'_, Result<Response, Failure>> {
        self.calls.lock().unwrap().push(call.body);
        let answer = self.starts.lock().unwrap().pop_front().unwrap();
        let whole = |body: String| {
            Response::Whole(Whole { body: body.into(), headers: Vec::new(), counts: Default::default() })
        };
        Box::pin(ready(answer.map(whole)))
    }

    fn look<'a>(&'a self, look: Look<'a>) -> BoxFuture<'a, Result<Bytes, Failure>> {
        let asked = match look {
            Look::Job(arn) => arn.to_owned(),
            Look::List { page, .. } => format!("list {}", page.unwrap_or("first")),
        };
        self.asked.lock().unwrap().push(asked);
        if let Some(happens) = self.meanwhile.lock().unwrap().take() {
            happens();
        }
        let answer = self.answers.lock().unwrap().pop_front().unwrap();
        Box::pin(ready(answer.map(Bytes::from)))
    }
}

/// Jobs in memory.
#[derive(Default)]
pub(super) struct Kept {
    pub(super) jobs: Mutex<HashMap<String, Job>>,
    /// Whether the next job is kept and said not to be, as where an answer of the disk is lost.
    pub(super) keeps_and_fails: AtomicBool,
    /// Whether the next job is not forgotten.
    pub(super) forgets_nothing: AtomicBool,
}

impl Kept {
    fn find(&self, is: impl Fn(&Job) -> bool) -> BoxFuture<'_, Result<Option<Job>, String>> {
        let found = self.jobs.lock().unwrap().values().find(|job| is(job)).cloned();
        Box::pin(ready(Ok(found)))
    }

    /// Keeps a job at once.
    pub(super) fn put(&self, job: Job) -> Result<(), String> {
        let mut jobs = self.jobs.lock().unwrap();
        let job = match jobs.get(&job.token) {
            Some(known) => job.over(known.clone())?,
            None => job,
        };
        jobs.insert(job.token.clone(), job);
        Ok(())
    }
}

impl JobStore for Kept {
    fn keep(&self, job: Job) -> BoxFuture<'_, Result<(), String>> {
        let kept = self.put(job);
        let fails = self.keeps_and_fails.swap(false, Ordering::Relaxed);
        Box::pin(ready(if fails { Err("the disk".to_owned()) } else { kept }))
    }

    fn forget(&self, token: &str) -> BoxFuture<'_, Result<(), String>> {
        if self.forgets_nothing.swap(false, Ordering::Relaxed) {
            return Box::pin(ready(Err("the disk".to_owned())));
        }
        self.jobs.lock().unwrap().remove(token);
        Box::pin(ready(Ok(())))
    }

    fn by_token(&self, token: &str) -> BoxFuture<'_, Result<Option<Job>, String>> {
        self.find(|job| job.token == token)
    }

    fn by_arn(&self, arn: &str) -> BoxFuture<'_, Result<Option<Job>, String>> {
        self.find(|job| job.arn.as_deref() == Some(arn))
    }

    fn by_request(&self, request: RequestId) -> BoxFuture<'_, Result<Option<Job>, String>> {
        self.find(|job| job.request() == request)
    }

    fn list(&self, _: Option<&str>, _: &ListQuery) -> BoxFuture<'_, Result<Vec<Job>, String>> {
        Box::pin(ready(Ok(Vec::new())))
    }
}
