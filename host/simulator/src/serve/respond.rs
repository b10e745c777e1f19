//! Answers as HTTP.
//!
//! It must not know how they came to be.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};

use super::stream::Payload;
use crate::error::{ApiError, Exception};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");
const ERROR_TYPE: HeaderName = HeaderName::from_static("x-amzn-errortype");
pub(super) const JSON: HeaderValue = HeaderValue::from_static("application/json");
const EVENT_STREAM: HeaderValue = HeaderValue::from_static("application/vnd.amazon.eventstream");

/// An answer without a body.
pub(super) fn empty(status: u16) -> Response<Payload> {
    let mut response = Response::new(Payload::Whole(None));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or_default();
    response
}

/// A JSON answer.
pub(super) fn json(body: impl Into<Bytes>) -> Response<Payload> {
    let mut response = Response::new(Payload::whole(body));
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response
}

/// A table of commas.
pub(super) fn csv(body: String) -> Response<Payload> {
    let mut response = Response::new(Payload::whole(body));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/csv; charset=utf-8"));
    response
}

/// A stream of frames.
pub(super) fn event_stream(payload: Payload) -> Response<Payload> {
    let mut response = Response::new(payload);
    response.headers_mut().insert(CONTENT_TYPE, EVENT_STREAM);
    response
}

/// An answer in plain text.
pub(super) fn text(body: &'static str) -> Response<Payload> {
    let mut response = Response::new(Payload::whole(body));
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, plain);
    response
}

/// An error.
pub(super) fn error(error: &ApiError) -> Response<Payload> {
    let mut response = json(error.body());
    *response.status_mut() = StatusCode::from_u16(error.status).unwrap_or_default();
    response.headers_mut().insert(ERROR_TYPE, HeaderValue::from_static(error.name));
    response
}

/// An error that a fault calls for.
pub(super) fn exception(
    which: Exception,
    message: Option<&str>,
    retry_after: Option<u32>,
    model: &str,
) -> Response<Payload> {
    let message = message.unwrap_or(which.usual_message());
    let mut response = json(which.body(message, model));
    *response.status_mut() = StatusCode::from_u16(which.status()).unwrap_or_default();
    response.headers_mut().insert(ERROR_TYPE, HeaderValue::from_static(which.name()));
    if let Some(seconds) = retry_after {
        response.headers_mut().insert(RETRY_AFTER, seconds.into());
    }
    response
}

/// Puts the request id on an answer.
pub(super) fn with_id(mut response: Response<Payload>, id: &str) -> Response<Payload> {
    if let Ok(id) = HeaderValue::from_str(id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}
