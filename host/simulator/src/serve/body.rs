//! Taking in a request's body, within bounds.
//!
//! It must not know what is in it.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use tokio::sync::Semaphore;

use crate::error::ApiError;

/// What Bedrock takes.
pub(super) const MOST: usize = 25_000_000;
/// Up to here a body is taken in without asking; above, it waits for one of [`LARGE_AT_ONCE`] places.
const SMALL: usize = 256 * 1024;
const LARGE_AT_ONCE: usize = 16;
/// How long a client may be silent in the middle of a body.
const PATIENCE: Duration = Duration::from_secs(30);

/// Places for large bodies.
pub(super) fn large_bodies() -> Semaphore {
    Semaphore::new(LARGE_AT_ONCE)
}

fn too_large(most: usize) -> ApiError {
    ApiError {
        status: 413,
        name: "ValidationException",
        message: format!("The request body is larger than the {most} bytes that are allowed.").into(),
    }
}

fn broken(why: &'static str) -> ApiError {
    ApiError { status: 408, name: "RequestTimeoutException", message: why.into() }
}

/// Reads a whole body of at most `most` bytes.
pub(super) async fn collect(mut body: Incoming, most: usize, large: &Semaphore) -> Result<Bytes, ApiError> {
    let declared = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if declared > most {
        return Err(too_large(most));
    }
    let mut place = None;
    let Some(first) = next(&mut body).await? else {
        return Ok(Bytes::new());
    };
    if body.is_end_stream() && first.len() <= most {
        return Ok(first);
    }
    let mut whole = BytesMut::with_capacity(declared.min(SMALL).max(first.len()));
    let mut chunk = Some(first);
    while let Some(bytes) = chunk {
        if whole.len() + bytes.len() > most {
            return Err(too_large(most));
        }
        if place.is_none() && whole.len() + bytes.len() > SMALL {
            // The semaphore is never closed.
            place = large.acquire().await.ok();
        }
        whole.extend_from_slice(&bytes);
        chunk = next(&mut body).await?;
    }
    Ok(whole.freeze())
}

async fn next(body: &mut Incoming) -> Result<Option<Bytes>, ApiError> {
    loop {
        let frame = tokio::time::timeout(PATIENCE, body.frame()).await;
        match frame.map_err(|_| broken("The body did not arrive in time."))? {
            None => return Ok(None),
            Some(Err(_)) => return Err(broken("The body did not arrive whole.")),
            Some(Ok(frame)) => {
                // Trailers say nothing here.
                if let Ok(bytes) = frame.into_data() {
                    return Ok(Some(bytes));
                }
            }
        }
    }
}
