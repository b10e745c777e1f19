//! The way back to the edge: a head once, then bytes.
//!
//! The pipeline's way of a request ends when the money is accounted for, not when the caller leaves.
//! Whether anybody still listens is asked here.

use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

/// What the edge answers with.
#[derive(Debug)]
pub struct Outgoing {
    /// The HTTP status.
    pub status: u16,
    /// The body's type.
    pub content_type: &'static str,
    /// Further headers, in lower case.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Body,
}

/// A body.
#[derive(Debug)]
pub enum Body {
    /// All of it.
    Whole(Bytes),
    /// In pieces, as they come. A stream that ends without the last piece was cut.
    Stream(mpsc::Receiver<Piece>),
}

/// A piece of a streamed body.
#[derive(Debug)]
pub enum Piece {
    /// More.
    Bytes(Bytes),
    /// The end. Without it the connection is cut, so that nobody takes a part for the whole.
    End,
}

/// Pieces that may wait for a slow reader.
const QUEUED_PIECES: usize = 32;

/// The sending side.
pub struct Reply {
    head: Option<oneshot::Sender<Outgoing>>,
    body: Option<mpsc::Sender<Piece>>,
    patience: Duration,
}

impl Reply {
    /// A reply, and where it arrives. A reader that takes nothing for `patience` counts as gone.
    pub fn channel(patience: Duration) -> (Self, oneshot::Receiver<Outgoing>) {
        let (head, receiver) = oneshot::channel();
        (Self { head: Some(head), body: None, patience }, receiver)
    }

    /// Whether nobody listens any more.
    pub fn is_gone(&self) -> bool {
        match (&self.head, &self.body) {
            (Some(head), _) => head.is_closed(),
            (None, Some(body)) => body.is_closed(),
            (None, None) => true,
        }
    }

    /// Resolves once nobody listens any more.
    pub(crate) async fn gone(&mut self) {
        match (&mut self.head, &self.body) {
            (Some(head), _) => head.closed().await,
            (None, Some(body)) => body.closed().await,
            (None, None) => {}
        }
    }

    /// Whether the head went out.
    pub fn has_begun(&self) -> bool {
        self.head.is_none()
    }

    /// Sends a whole answer. Whether it arrived.
    pub fn whole(mut self, outgoing: Outgoing) -> bool {
        self.head.take().is_some_and(|head| head.send(outgoing).is_ok())
    }

    /// Sends the head of a stream, if it has not been sent.
    pub fn begin(&mut self, status: u16, content_type: &'static str, headers: Vec<(&'static str, String)>) {
        let Some(head) = self.head.take() else { return };
        let (sender, receiver) = mpsc::channel(QUEUED_PIECES);
        let outgoing = Outgoing { status, content_type, headers, body: Body::Stream(receiver) };
        if head.send(outgoing).is_ok() {
            self.body = Some(sender);
        }
    }

    /// Sends a piece. False once nobody takes it: then, and ever after, the caller is gone.
    pub async fn send(&mut self, bytes: Bytes) -> bool {
        self.piece(Piece::Bytes(bytes)).await
    }

    /// Ends the stream properly.
    pub async fn end(&mut self) -> bool {
        let ended = self.piece(Piece::End).await;
        self.body = None;
        ended
    }

    async fn piece(&mut self, piece: Piece) -> bool {
        let Some(body) = &self.body else { return false };
        // Most readers keep up: no timer for them.
        let piece = match body.try_send(piece) {
            Ok(()) => return true,
            Err(mpsc::error::TrySendError::Closed(_)) => None,
            Err(mpsc::error::TrySendError::Full(piece)) => Some(piece),
        };
        if let Some(piece) = piece
            && body.send_timeout(piece, self.patience).await.is_ok()
        {
            return true;
        }
        self.body = None;
        false
    }

    /// Stops talking to a caller who is not worth waiting for; the connection is cut.
    pub fn cut(&mut self) {
        self.head = None;
        self.body = None;
    }
}
