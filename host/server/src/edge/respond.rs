//! The pipeline's answers as HTTP responses.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body as AxumBody;
use axum::response::Response;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, StatusCode};
use http_body::Frame;
use kairos_dialects::Failure;
use kairos_pipeline::reply::{Body, Outgoing, Piece};
use kairos_pipeline::request::Dialect;
use kairos_pipeline::{COST_HEADER, error_answer};
use tokio::sync::mpsc::Receiver;

/// Makes a response of an answer.
pub(super) fn response(outgoing: Outgoing) -> Response {
    let streams = matches!(outgoing.body, Body::Stream(_));
    let body = match outgoing.body {
        Body::Whole(bytes) => AxumBody::from(bytes),
        Body::Stream(pieces) => AxumBody::new(PieceBody { pieces }),
    };
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(outgoing.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(outgoing.content_type));
    if streams {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    }
    for (name, value) in outgoing.headers {
        headers.insert(HeaderName::from_static(name), header_value(value));
    }
    response
}

/// A header's value of any text: what no header may hold becomes a question mark.
fn header_value(text: String) -> HeaderValue {
    // All of it is looked at, whatever is found: so it can be done for many bytes at once.
    let is_plain = text.bytes().fold(true, |is_plain, byte| is_plain & matches!(byte, b' '..=b'~'));
    let text = if is_plain { text } else { text.replace(|c| !matches!(c, ' '..='~'), "?") };
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// A response that says why there is no other.
pub(super) fn failure(dialect: Dialect, failure: &Failure) -> Response {
    response(error_answer(dialect, failure))
}

/// The same, to a request that has come no further than the edge: no model was asked, and nothing was spent.
pub(super) fn refusal(dialect: Dialect, why: &Failure) -> Response {
    let mut response = failure(dialect, why);
    response.headers_mut().insert(HeaderName::from_static(COST_HEADER), HeaderValue::from_static("0"));
    response
}

/// A streamed body. Without its end mark the connection is cut.
struct PieceBody {
    pieces: Receiver<Piece>,
}

/// The stream was cut short.
#[derive(Debug, thiserror::Error)]
#[error("the answer was cut short")]
struct CutShort;

impl http_body::Body for PieceBody {
    type Data = Bytes;
    type Error = CutShort;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, CutShort>>> {
        self.pieces.poll_recv(context).map(|piece| match piece {
            Some(Piece::Bytes(bytes)) => Some(Ok(Frame::data(bytes))),
            Some(Piece::End) => None,
            None => Some(Err(CutShort)),
        })
    }
}
