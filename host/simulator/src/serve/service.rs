//! One request from head to answer.
//!
//! It must not know bodies of requests beyond their bytes.

use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use http::request::Parts;
use http::{Method, Request, Response};
use hyper::body::Incoming;
use tokio::sync::{Semaphore, watch};

use super::lookup::{self, Lookup};
use super::operation::Operation;
use super::stream::{Abandoned, Payload, until_stopped};
use super::{body, control, invoke, jobs, respond};
use crate::auth::Authority;
use crate::bill::Bill;
use crate::error::ApiError;
use crate::faults::{FaultKind, Faults, Sort};
use crate::generation::Generator;
use crate::ids::RequestIds;
use crate::jobs::Jobs;
use crate::target::Resolver;

const ABOUT: &str = "This is the Kairos simulator, not AWS: a Bedrock Runtime that runs on this \
    machine. It takes Converse, ConverseStream, InvokeModel, InvokeModelWithResponseStream and \
    CountTokens under /model/, StartAsyncInvoke, GetAsyncInvoke and ListAsyncInvokes under /async-invoke, says what models and inference profiles there are under \
    /foundation-models and /inference-profiles, verifies signatures and API keys, invents its replies \
    and says so, and keeps the bill that AWS would have sent under /sim/v1/bill. Faults can be set under \
    /sim/v1/faults, jobs be ended under /sim/v1/jobs.\n";

/// Everything a request may need.
pub(super) struct Service {
    pub(super) generator: Generator,
    pub(super) authority: Authority,
    pub(super) bill: Bill,
    pub(super) faults: Faults,
    pub(super) ids: RequestIds,
    pub(super) jobs: Jobs,
    pub(super) large_bodies: Semaphore,
    pub(super) stopped: watch::Receiver<bool>,
}

impl Service {
    /// Answers a request, or gives its connection up; `reset` makes that a reset.
    pub(super) async fn handle(
        &self,
        request: Request<Incoming>,
        reset: &AtomicBool,
    ) -> Result<Response<Payload>, Abandoned> {
        let id = self.ids.fresh();
        let (head, body) = request.into_parts();
        let path = head.uri.path();
        let response = if let Some(arn) = jobs::path(path) {
            match (&head.method, arn) {
                (&Method::POST, None) => self.start_job(&head, body, reset).await?,
                (&Method::GET, arn) => {
                    self.look_for_jobs(&head, body, arn).await.unwrap_or_else(|error| respond::error(&error))
                }
                _ => respond::error(&unknown_operation()),
            }
        } else if let Some((operation, model)) = Operation::find(path) {
            if head.method == Method::POST {
                self.call(&head, body, operation, model, &id, reset).await?
            } else {
                respond::error(&unknown_operation())
            }
        } else {
            match (&head.method, path) {
                (&Method::GET, path) if Lookup::find(path).is_some() => {
                    self.look_up(&head, body).await.unwrap_or_else(|error| respond::error(&error))
                }
                (&Method::GET | &Method::HEAD, "/") => respond::text(ABOUT),
                (&Method::GET | &Method::HEAD, "/healthz") => respond::text("ok\n"),
                (_, path) if path.starts_with("/sim/v1/") => {
                    match body::collect(body, control::MOST, &self.large_bodies).await {
                        Ok(bytes) => control::answer(self, &head, &bytes),
                        Err(error) => respond::error(&error),
                    }
                }
                _ => respond::error(&unknown_operation()),
            }
        };
        Ok(respond::with_id(response, &id))
    }

    /// A question to the control plane.
    async fn look_up(&self, head: &Parts, body: Incoming) -> Result<Response<Payload>, ApiError> {
        let body = body::collect(body, control::MOST, &self.large_bodies).await?;
        let caller = self.authority.admit(head, &body, self.generator.clock.now())?;
        let lookup = Lookup::find(head.uri.path()).ok_or_else(unknown_operation)?;
        lookup::answer(self, lookup, head.uri.query(), caller.region)
    }

    /// A question about jobs.
    async fn look_for_jobs(
        &self,
        head: &Parts,
        body: Incoming,
        arn: Option<&str>,
    ) -> Result<Response<Payload>, ApiError> {
        let body = body::collect(body, control::MOST, &self.large_bodies).await?;
        self.authority.admit(head, &body, self.generator.clock.now())?;
        match arn {
            Some(arn) => jobs::get(self, arn),
            None => jobs::list(self, head.uri.query()),
        }
    }

    /// Starts a job. A connection that is reset has started it all the same: nobody is told.
    async fn start_job(
        &self,
        head: &Parts,
        body: Incoming,
        reset: &AtomicBool,
    ) -> Result<Response<Payload>, Abandoned> {
        let started = async {
            let body = body::collect(body, body::MOST, &self.large_bodies).await?;
            let caller = self.authority.admit(head, &body, self.generator.clock.now())?;
            let model = jobs::model(&body)?;
            let fault = self.faults.strike(&model, Sort::Buffered);
            if let Some(FaultKind::Error { exception, message, retry_after }) = fault {
                let message = message.as_deref();
                return Ok((respond::exception(exception, message, retry_after, &model), None));
            }
            Ok((jobs::start(self, head, &body, caller.region)?, fault))
        };
        match started.await {
            Ok((_, Some(FaultKind::ConnectionReset))) => {
                reset.store(true, Ordering::Relaxed);
                Err(Abandoned)
            }
            Ok((response, _)) => Ok(response),
            Err(error) => Ok(respond::error(&error)),
        }
    }

    /// A call of a model.
    async fn call(
        &self,
        head: &Parts,
        body: Incoming,
        operation: Operation,
        model: &str,
        request_id: &str,
        reset: &AtomicBool,
    ) -> Result<Response<Payload>, Abandoned> {
        let body = match body::collect(body, body::MOST, &self.large_bodies).await {
            Ok(body) => body,
            Err(error) => return Ok(respond::error(&error)),
        };
        let call = match self.enter(head, &body, operation, model) {
            Ok(call) => call,
            Err(error) => return Ok(respond::error(&error)),
        };
        match call.fault {
            Some(FaultKind::Error { exception, message, retry_after }) => {
                let message = message.as_deref();
                return Ok(respond::exception(exception, message, retry_after, &call.model));
            }
            Some(FaultKind::Empty429) => return Ok(respond::empty(429)),
            Some(FaultKind::ConnectionReset) => {
                reset.store(true, Ordering::Relaxed);
                return Err(Abandoned);
            }
            Some(FaultKind::Stall) => {
                until_stopped(self.stopped.clone()).await;
                return Err(Abandoned);
            }
            _ => {}
        }
        match invoke::invoke(self, head, &body, &call, request_id) {
            Err(error) => Ok(respond::error(&error)),
            Ok(invoke::Answer { response, wait }) => {
                if let Some(wait) = wait {
                    tokio::time::sleep(wait).await;
                }
                Ok(response)
            }
        }
    }

    /// Lets a call in, and finds out what is to befall it.
    ///
    /// Faults come after authentication, which nobody's model has a say in, and before everything
    /// else: a throttled call is throttled whether or not it would have been valid.
    fn enter(&self, head: &Parts, body: &Bytes, operation: Operation, model: &str) -> Result<Call, ApiError> {
        let caller = self.authority.admit(head, body, self.generator.clock.now())?;
        let model = Resolver::decode(model)?.into_owned();
        let fault = self.faults.strike(&model, operation.sort());
        Ok(Call { operation, model, region: caller.region, fault })
    }
}

/// A call that was let in.
pub(super) struct Call {
    pub(super) operation: Operation,
    /// The id of the model, decoded.
    pub(super) model: String,
    pub(super) region: crate::catalogue::Region,
    pub(super) fault: Option<FaultKind>,
}

fn unknown_operation() -> ApiError {
    ApiError { status: 404, name: "UnknownOperationException", message: "The simulator has no such operation.".into() }
}
