//! The body of an answer: all at once, or a script played at its pace.
//!
//! It must not know what the bytes mean.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::pace::Speed;
use crate::script::{End, Script};

/// The connection is given up without a proper end.
#[derive(Debug, thiserror::Error)]
#[error("given up on purpose")]
pub(crate) struct Abandoned;

/// The body of any answer.
pub(crate) enum Payload {
    Whole(Option<Bytes>),
    Played(Box<Played>),
}

/// A script being played.
pub(crate) struct Played {
    steps: std::vec::IntoIter<(Bytes, u32)>,
    next: Option<Bytes>,
    end: End,
    said: u32,
    started: Instant,
    speed: Option<Speed>,
    /// What has to pass before anything more is sent.
    wait: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    stopped: watch::Receiver<bool>,
}

impl Payload {
    pub(crate) fn whole(bytes: impl Into<Bytes>) -> Self {
        Self::Whole(Some(bytes.into()))
    }

    pub(crate) fn played(script: Script, speed: Option<Speed>, stopped: watch::Receiver<bool>) -> Self {
        Self::Played(Box::new(Played {
            steps: script.steps.into_iter(),
            next: None,
            end: script.end,
            said: 0,
            started: Instant::now(),
            speed,
            wait: None,
            stopped,
        }))
    }
}

/// Resolves when the server is told to stop.
pub(crate) async fn until_stopped(mut stopped: watch::Receiver<bool>) {
    // An error means that the server is gone already.
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

impl Played {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Abandoned>>> {
        if self.next.is_none() {
            match self.steps.next() {
                Some((bytes, tokens)) => {
                    self.next = Some(bytes);
                    self.said = self.said.saturating_add(tokens);
                    if let Some(speed) = self.speed {
                        let due = self.started + speed.until(self.said);
                        self.wait = Some(Box::pin(tokio::time::sleep_until(due)));
                    }
                }
                None if self.end == End::Closed => return Poll::Ready(None),
                None if self.wait.is_none() => {
                    self.wait = Some(Box::pin(until_stopped(self.stopped.clone())));
                }
                None => {}
            }
        }
        if let Some(wait) = &mut self.wait {
            if wait.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            self.wait = None;
        }
        // Only silence gets here with nothing to send, and only when the server stops.
        Poll::Ready(Some(self.next.take().map(Frame::data).ok_or(Abandoned)))
    }
}

impl Body for Payload {
    type Data = Bytes;
    type Error = Abandoned;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Abandoned>>> {
        match self.get_mut() {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Played(played) => played.poll_next(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::Played(_) => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http_body_util::BodyExt;

    use super::*;
    use crate::script::Billed;

    fn script(end: End) -> Script {
        let steps = [("start", 0), ("one", 4), ("two", 4), ("stop", 0)];
        let steps = steps.map(|(name, tokens)| (Bytes::from(name), tokens)).into();
        Script { steps, end, billed: Billed::Everything }
    }

    /// What came, and how long after the beginning; and whether it was cut.
    async fn play(mut payload: Payload) -> (Vec<(String, Duration)>, bool) {
        let started = Instant::now();
        let mut seen = Vec::new();
        while let Some(frame) = payload.frame().await {
            let Ok(frame) = frame else {
                return (seen, true);
            };
            let bytes = frame.into_data().unwrap();
            seen.push((String::from_utf8(bytes.to_vec()).unwrap(), started.elapsed()));
        }
        (seen, false)
    }

    #[tokio::test(start_paused = true)]
    async fn a_script_is_played_at_its_pace() {
        let (_stop, stopped) = watch::channel(false);
        let speed = Speed { first_token: Duration::from_millis(500), tokens_per_second: 40 };
        let (seen, cut) = play(Payload::played(script(End::Closed), Some(speed), stopped)).await;
        let millis: Vec<(&str, u128)> = seen.iter().map(|(name, after)| (&**name, after.as_millis())).collect();
        // Four tokens at forty a second are a tenth of a second.
        assert_eq!(millis, [("start", 500), ("one", 600), ("two", 700), ("stop", 700)]);
        assert!(!cut);
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_pace_nothing_waits() {
        let (_stop, stopped) = watch::channel(false);
        let (seen, _) = play(Payload::played(script(End::Closed), None, stopped)).await;
        assert!(seen.len() == 4 && seen.iter().all(|(_, after)| after.is_zero()));
    }

    #[tokio::test(start_paused = true)]
    async fn silence_lasts_until_the_server_stops() {
        let (stop, stopped) = watch::channel(false);
        let played = play(Payload::played(script(End::Silence), None, stopped));
        let ((seen, cut), ()) = tokio::join!(played, async {
            tokio::time::sleep(Duration::from_secs(3_600)).await;
            stop.send_replace(true);
        });
        assert!(seen.len() == 4 && cut);
    }
}
