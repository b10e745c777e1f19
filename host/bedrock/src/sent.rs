//! Whether a request has left, or part of it: what never did is known to cost nothing.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::Full;
use kairos_dialects::Failure;

/// Whether anything of a request was written. Hyper asks for the body after it has put the head into
/// its buffer, and before it writes the buffer out: a body that was not asked for has not left.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sent(Arc<AtomicBool>);

impl Sent {
    /// What never left is known to cost nothing.
    pub(crate) fn judge(&self, failure: Failure) -> Failure {
        if self.0.load(Ordering::Relaxed) { failure.maybe_billed() } else { failure }
    }
}

/// A body that says when it is asked for.
pub(crate) struct MarkedBody {
    body: Full<Bytes>,
    sent: Sent,
}

impl MarkedBody {
    pub(crate) fn new(body: &Bytes, sent: &Sent) -> Self {
        Self { body: Full::new(body.clone()), sent: sent.clone() }
    }
}

impl http_body::Body for MarkedBody {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
        self.sent.0.store(true, Ordering::Relaxed);
        Pin::new(&mut self.body).poll_frame(context)
    }

    /// Never before it was asked for: an empty body would otherwise leave unnoticed.
    fn is_end_stream(&self) -> bool {
        self.sent.0.load(Ordering::Relaxed) && self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}
