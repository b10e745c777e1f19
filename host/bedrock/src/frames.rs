//! A streamed answer: bytes in, frames out, with a limit on silence and on the whole.

use std::pin::Pin;
use std::task::{Context, Poll};

use http_body::Body as _;
use hyper::body::Incoming;
use kairos_dialects::bedrock::error;
use kairos_dialects::eventstream::{Decoder, Frame, MessageType};
use kairos_dialects::failure::{Failure, Kind, Upstream, from_bedrock};
use kairos_pipeline::upstream::Frames;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::client::Timeouts;
use crate::pool::Lease;

/// The frames of one answer.
pub(crate) struct WireFrames {
    body: Incoming,
    _lease: Lease,
    decoder: Decoder,
    headers: Vec<(&'static str, String)>,
    request_id: String,
    timeouts: Timeouts,
    /// When the whole must be over.
    total: Instant,
    /// When something came last.
    last: Instant,
    /// Whether any frame came: before it, the limit for the first holds.
    any: bool,
    timer: Pin<Box<Sleep>>,
    over: bool,
}

impl WireFrames {
    pub(crate) fn new(
        body: Incoming,
        lease: Lease,
        headers: Vec<(&'static str, String)>,
        request_id: String,
        timeouts: Timeouts,
        started: Instant,
    ) -> Self {
        let first_by = started + timeouts.first_event;
        Self {
            body,
            _lease: lease,
            decoder: Decoder::default(),
            headers,
            request_id,
            timeouts,
            total: started + timeouts.total,
            last: started,
            any: false,
            timer: Box::pin(sleep_until(first_by)),
            over: false,
        }
    }

    fn fail(&mut self, failure: Failure) -> Poll<Option<Result<Frame, Failure>>> {
        self.over = true;
        Poll::Ready(Some(Err(failure)))
    }

    fn broken(&mut self, message: String) -> Poll<Option<Result<Frame, Failure>>> {
        let upstream = Upstream { status: 200, request_id: self.request_id.clone(), ..Upstream::default() };
        let mut failure = Failure::new(Kind::BrokenStream, message).maybe_billed();
        failure.upstream = Some(Box::new(upstream));
        self.fail(failure)
    }

    /// An exception within the stream is the same failure as it would be before the stream.
    fn exception(&mut self, frame: &Frame) -> Poll<Option<Result<Frame, Failure>>> {
        let mut code = frame.name().to_owned();
        if let Some(first) = code.get_mut(..1) {
            first.make_ascii_uppercase();
        }
        let said = error::parse(None, &frame.payload).message;
        let stated = frame.error_message.as_deref().map(String::from_utf8_lossy);
        let text = stated.map_or(said, |text| text.into_owned());
        let (kind, unbilled) = from_bedrock(&code, 500);
        let failure = Failure {
            unbilled,
            upstream: Some(Box::new(Upstream {
                status: 200,
                code: code.clone(),
                request_id: self.request_id.clone(),
                body: if frame.payload.is_empty() { error::body(&text) } else { frame.payload.clone() },
            })),
            ..Failure::new(kind, format!("Bedrock broke off with {code}: {text}"))
        };
        self.fail(failure)
    }

    /// When silence becomes a failure.
    fn silent_until(&self) -> Instant {
        let limit = if self.any { self.timeouts.between_events } else { self.timeouts.first_event };
        (self.last + limit).min(self.total)
    }

    fn poll_silence(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame, Failure>>> {
        // The timer is moved when it fires, not at every frame.
        while self.timer.as_mut().poll(context).is_ready() {
            let until = self.silent_until();
            if Instant::now() >= until {
                let message = if until == self.total {
                    format!("Bedrock's stream was not over after {:?}", self.timeouts.total)
                } else if self.any {
                    format!("Bedrock's stream stalled: nothing for {:?}", self.timeouts.between_events)
                } else {
                    format!("Bedrock's stream had no event within {:?}", self.timeouts.first_event)
                };
                return self.fail(Failure::new(Kind::Timeout, message).maybe_billed());
            }
            self.timer.as_mut().reset(until);
        }
        Poll::Pending
    }
}

impl Frames for WireFrames {
    fn headers(&self) -> &[(&'static str, String)] {
        &self.headers
    }

    fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame, Failure>>> {
        if self.over {
            return Poll::Ready(None);
        }
        loop {
            match self.decoder.next_frame() {
                Ok(Some(frame)) if frame.message_type == MessageType::Event => {
                    self.any = true;
                    return Poll::Ready(Some(Ok(frame)));
                }
                Ok(Some(frame)) => return self.exception(&frame),
                Ok(None) => {}
                Err(error) => return self.broken(format!("Bedrock's stream is broken: {error}")),
            }
            match Pin::new(&mut self.body).poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => {
                    self.last = Instant::now();
                    if let Ok(data) = frame.into_data() {
                        self.decoder.push(&data);
                    }
                }
                Poll::Ready(Some(Err(error))) => {
                    return self.broken(format!("the connection to Bedrock broke within the stream: {error}"));
                }
                Poll::Ready(None) => {
                    if let Err(error) = self.decoder.finish() {
                        return self.broken(format!("Bedrock's stream is broken: {error}"));
                    }
                    self.over = true;
                    return Poll::Ready(None);
                }
                Poll::Pending => return self.poll_silence(context),
            }
        }
    }
}
