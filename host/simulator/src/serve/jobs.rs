//! StartAsyncInvoke, GetAsyncInvoke and ListAsyncInvokes, and `/sim/v1/jobs`.
//!
//! Shapes: the service model of `bedrock-runtime`. It must not know what a job costs.

use http::request::Parts;
use http::{Method, Response};
use jiff::Timestamp;
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde_json::{Value, json};

use super::respond;
use super::service::Service;
use super::stream::Payload;
use crate::catalogue::Region;
use crate::error::{ApiError, Exception};
use crate::jobs::{Start, Status};

type Result<T> = std::result::Result<T, ApiError>;

/// The path of jobs, and what comes behind it.
pub(super) fn path(path: &str) -> Option<Option<&str>> {
    match path.strip_prefix("/async-invoke")? {
        "" => Some(None),
        rest => rest.strip_prefix('/').filter(|arn| !arn.is_empty()).map(Some),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    model_id: String,
    client_request_token: Option<String>,
    model_input: Value,
    output_data_config: Value,
}

/// The model that a start is for.
pub(super) fn model(body: &[u8]) -> Result<String> {
    let body: Body = serde_json::from_slice(body).map_err(ApiError::serialization)?;
    let id = body.model_id.split_once(":foundation-model/").map_or(&*body.model_id, |(_, id)| id);
    Ok(id.to_owned())
}

/// Starts a job.
pub(super) fn start(service: &Service, head: &Parts, body: &[u8], region: Region) -> Result<Response<Payload>> {
    let model = model(body)?;
    let body: Body = serde_json::from_slice(body).map_err(ApiError::serialization)?;
    let uri = body.output_data_config["s3OutputDataConfig"]["s3Uri"].as_str();
    if !uri.is_some_and(|uri| uri.starts_with("s3://")) {
        return Err(ApiError::validation("outputDataConfig: an S3 URI is expected"));
    }
    let invocation = head.headers.get("amz-sdk-invocation-id").and_then(|id| id.to_str().ok()).map(str::to_owned);
    let start = Start {
        token: body.client_request_token,
        model,
        input: body.model_input,
        output: body.output_data_config,
        region,
        invocation,
    };
    let arn = service.jobs.start(start, service.generator.clock.now())?;
    Ok(respond::json(json!({"invocationArn": arn}).to_string()))
}

/// One job.
pub(super) fn get(service: &Service, arn: &str) -> Result<Response<Payload>> {
    let arn = percent_decode_str(arn).decode_utf8().map_err(|_| ApiError::validation("The ARN is not UTF-8."))?;
    match service.jobs.find(&arn, service.generator.clock.now()) {
        Some(job) => Ok(respond::json(job.shown().to_string())),
        None => Err(ApiError::validation("There is no such asynchronous invocation.")),
    }
}

/// Jobs, by page.
pub(super) fn list(service: &Service, query: Option<&str>) -> Result<Response<Payload>> {
    let wrong = |name: &str| ApiError::validation(format!("{name} is not valid"));
    let (mut after, mut before, mut status) = (Timestamp::MIN, Timestamp::MAX, None);
    let (mut most, mut skip, mut ascending) = (100usize, 0usize, false);
    for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = percent_decode_str(value).decode_utf8().map_err(|_| wrong(name))?;
        match name {
            "submitTimeAfter" => after = value.parse().map_err(|_| wrong(name))?,
            "submitTimeBefore" => before = value.parse().map_err(|_| wrong(name))?,
            "statusEquals" => status = Some(Status::find(&value).ok_or_else(|| wrong(name))?),
            "maxResults" => {
                most = value.parse().ok().filter(|most| (1..=1_000).contains(most)).ok_or_else(|| wrong(name))?;
            }
            "nextToken" => skip = value.parse().map_err(|_| wrong(name))?,
            "sortBy" if value == "SubmissionTime" => {}
            "sortOrder" => ascending = value == "Ascending",
            _ => return Err(wrong(name)),
        }
    }
    let mut jobs = service.jobs.all(service.generator.clock.now());
    jobs.retain(|job| {
        job.submitted > after && job.submitted < before && status.is_none_or(|status| job.status == status)
    });
    if !ascending {
        jobs.reverse();
    }
    let page: Vec<Value> = jobs.iter().skip(skip).take(most).map(crate::jobs::Job::shown).collect();
    let mut answer = json!({ "asyncInvokeSummaries": page });
    if skip + most < jobs.len() {
        answer["nextToken"] = (skip + most).to_string().into();
    }
    Ok(respond::json(answer.to_string()))
}

/// What somebody wants of a job.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wish {
    arn: String,
    /// How it ends; none: it is forgotten.
    status: Option<String>,
    /// How long its recording was.
    seconds: Option<u32>,
    /// Whether it is billed; one that fails is not, unless this says so.
    billed: Option<bool>,
}

/// `/sim/v1/jobs`: all jobs with what AWS would charge; PUT ends one.
pub(super) fn control(service: &Service, method: &Method, body: &[u8]) -> Result<Response<Payload>> {
    let now = service.generator.clock.now();
    match *method {
        Method::GET => {}
        Method::PUT => {
            let wish: Wish = serde_json::from_slice(body).map_err(ApiError::serialization)?;
            let found = match &wish.status {
                None => service.jobs.forget(&wish.arn),
                Some(name) => {
                    let status = Status::find(name).filter(|status| *status != Status::InProgress);
                    let status = status.ok_or_else(|| ApiError::validation("`status` is Completed or Failed"))?;
                    let is_billed = wish.billed.unwrap_or(status == Status::Completed);
                    service.jobs.end(&wish.arn, status, now, wish.seconds, is_billed)
                }
            };
            if !found {
                return Err(ApiError::new(Exception::ResourceNotFound, "No job of that ARN goes on."));
            }
        }
        _ => return Err(super::control::wrong_method("GET or PUT")),
    }
    let jobs: Vec<Value> = service.jobs.all(now).iter().map(crate::jobs::Job::billed).collect();
    Ok(respond::json(json!({ "jobs": jobs }).to_string()))
}
