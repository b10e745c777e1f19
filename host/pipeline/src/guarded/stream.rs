//! A stream that is judged on the way, whatever its frames hold.

use std::task::{Context, Poll};

use kairos_dialects::eventstream::Frame;
use kairos_dialects::{Failure, Kind};

use crate::upstream::Frames;

/// Judges frames one after the other.
pub(super) trait Judge: Send {
    /// Takes a frame. What passes by now is ready then.
    fn take(&mut self, frame: Frame) -> Result<(), Failure>;

    /// Nothing comes any more.
    fn end(&mut self) -> Result<(), Failure>;

    /// What is ready, in its order.
    fn next(&mut self) -> Option<Frame>;
}

/// Frames of which only passes what their judge lets pass.
pub(super) struct GuardedStream<J> {
    judge: J,
    frames: Box<dyn Frames>,
    ended: bool,
}

impl<J> GuardedStream<J> {
    pub(super) fn new(judge: J, frames: Box<dyn Frames>) -> Self {
        Self { judge, frames, ended: false }
    }
}

impl<J: Judge> Frames for GuardedStream<J> {
    fn headers(&self) -> &[(&'static str, String)] {
        self.frames.headers()
    }

    fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame, Failure>>> {
        loop {
            if let Some(frame) = self.judge.next() {
                return Poll::Ready(Some(Ok(frame)));
            }
            if self.ended {
                return Poll::Ready(None);
            }
            let judged = match self.frames.poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => self.judge.take(frame),
                Poll::Ready(None) => {
                    self.ended = true;
                    self.judge.end()
                }
                other => return other,
            };
            if let Err(failure) = judged {
                return Poll::Ready(Some(Err(failure)));
            }
        }
    }
}

pub(super) fn broken(what: &str) -> Failure {
    Failure::new(Kind::BrokenStream, format!("Bedrock's stream cannot be guarded: {what}")).maybe_billed()
}
