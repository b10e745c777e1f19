//! Reads request bodies: bounded each, bounded together, and not for ever.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, EXPECT};
use http_body_util::BodyExt as _;
use kairos_dialects::{Failure, Kind};
use tokio::time::{Instant, timeout};

use crate::config::Limits;

/// What is read of a body that is too large, so that its sender gets to hear so: one that is
/// still sending when the connection closes never reads the answer.
const MOST_DISCARDED: u64 = 256 * 1024 * 1024;

/// A body may take so many times what may pass without a byte of it.
const BODY_PATIENCES: u32 = 10;

/// A body of bytes, whoever reads it from the connection.
pub(super) trait BytesBody: http_body::Body<Data = Bytes, Error: std::fmt::Display> + Unpin {}

impl<B: http_body::Body<Data = Bytes, Error: std::fmt::Display> + Unpin> BytesBody for B {}

/// Bytes of all bodies under way.
#[derive(Debug, Default)]
pub(crate) struct Buffered(AtomicUsize);

/// A body's place among all: counted until this is dropped.
pub(super) struct Counted {
    all: Arc<Buffered>,
    bytes: usize,
}

impl Counted {
    fn add(&mut self, bytes: usize, most: usize) -> bool {
        let before = self.all.0.fetch_add(bytes, Ordering::Relaxed);
        self.bytes += bytes;
        before + bytes <= most
    }
}

impl Buffered {
    /// Bytes of all bodies under way.
    pub(crate) fn bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.all.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Reads a body to its end. Gives it with its place among all, to be held as long as the body is.
pub(super) async fn read(
    all: &Arc<Buffered>,
    headers: &HeaderMap,
    mut body: impl BytesBody,
    limits: &Limits,
) -> Result<(Bytes, Counted), Failure> {
    if headers.get(CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity") {
        let message = "a compressed body is not accepted; send it without Content-Encoding";
        return Err(Failure::new(Kind::InvalidValue, message).with_param("Content-Encoding"));
    }
    let stated = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if stated.is_some_and(|length| length > limits.body_bytes as u64) {
        // Who waits to be told to go on has sent nothing yet.
        if !headers.contains_key(EXPECT) {
            discard(body, limits.body_seconds.duration()).await;
        }
        return Err(too_large(limits));
    }
    let until = Instant::now() + limits.body_seconds.duration() * BODY_PATIENCES;
    let mut counted = Counted { all: Arc::clone(all), bytes: 0 };
    let mut buffer = BytesMut::with_capacity(usize::try_from(stated.unwrap_or(0)).unwrap_or(0).min(64 * 1024));
    while let Some(frame) = next(&mut body, limits.body_seconds.duration()).await? {
        if Instant::now() >= until {
            let message = format!("the body was not over after {:?}", limits.body_seconds.duration() * BODY_PATIENCES);
            return Err(Failure::new(Kind::SlowRequest, message));
        }
        let Ok(data) = frame.into_data() else { continue };
        if !counted.add(data.len(), limits.buffered_bytes) {
            let message = "the bodies of all requests under way take as much memory as they may; try again shortly";
            return Err(Failure {
                retry_after: Some(Duration::from_secs(1)),
                ..Failure::new(Kind::Overloaded, message)
            });
        }
        buffer.extend_from_slice(&data);
        if buffer.len() > limits.body_bytes {
            drop((counted, buffer));
            discard(body, limits.body_seconds.duration()).await;
            return Err(too_large(limits));
        }
    }
    Ok((buffer.freeze(), counted))
}

fn too_large(limits: &Limits) -> Failure {
    Failure::new(
        Kind::TooLarge,
        format!("the body is larger than {} bytes, the most that is accepted", limits.body_bytes),
    )
}

async fn next(body: &mut impl BytesBody, patience: Duration) -> Result<Option<http_body::Frame<Bytes>>, Failure> {
    match timeout(patience, body.frame()).await {
        Ok(None) => Ok(None),
        Ok(Some(Ok(frame))) => Ok(Some(frame)),
        Ok(Some(Err(error))) => Err(Failure::new(Kind::Malformed, format!("the body could not be read: {error}"))),
        Err(_) => Err(Failure::new(Kind::SlowRequest, format!("no byte of the body came for {patience:?}"))),
    }
}

async fn discard(mut body: impl BytesBody, patience: Duration) {
    let mut discarded = 0;
    while discarded < MOST_DISCARDED {
        match timeout(patience, body.frame()).await {
            Ok(Some(Ok(frame))) => discarded += frame.data_ref().map_or(0, |data| data.len() as u64),
            _ => return,
        }
    }
}
