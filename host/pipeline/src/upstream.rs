//! The model side, as the pipeline sees it. `kairos-bedrock` fills it.

use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use kairos_dialects::Failure;
use kairos_dialects::bedrock::invoke::Counts;
use kairos_dialects::eventstream::Frame;

/// An operation of Bedrock Runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpstreamOperation {
    /// Converse.
    Converse,
    /// ConverseStream.
    ConverseStream,
    /// InvokeModel.
    Invoke,
    /// InvokeModelWithResponseStream.
    InvokeStream,
    /// StartAsyncInvoke, which names the model in its body.
    StartAsync,
}

impl UpstreamOperation {
    /// Whether its body has the shape of one family, and is no policy's to change.
    pub fn has_own_body(self) -> bool {
        matches!(self, Self::Invoke | Self::InvokeStream | Self::StartAsync)
    }

    /// The last part of the path.
    pub fn path(self) -> &'static str {
        match self {
            Self::Converse => "converse",
            Self::ConverseStream => "converse-stream",
            Self::Invoke => "invoke",
            Self::InvokeStream => "invoke-with-response-stream",
            Self::StartAsync => "async-invoke",
        }
    }

    /// Whether the answer is a stream of events.
    pub fn streams(self) -> bool {
        matches!(self, Self::ConverseStream | Self::InvokeStream)
    }
}

/// One call.
#[derive(Clone, Debug)]
pub struct Call {
    /// What is called.
    pub operation: UpstreamOperation,
    /// Model id, profile id or ARN.
    pub invocation_id: Arc<str>,
    /// Body, as it goes out.
    pub body: Bytes,
    /// Headers of InvokeModel that the caller set.
    pub headers: Arc<[(&'static str, String)]>,
    /// The ledger's key of the attempt, which Bedrock's logs will show.
    pub attempt: String,
}

/// An answer.
pub enum Response {
    /// The whole of it.
    Whole(Whole),
    /// A stream of frames.
    Stream(Box<dyn Frames>),
}

/// A whole answer.
#[derive(Debug)]
pub struct Whole {
    /// The body.
    pub body: Bytes,
    /// What a native caller is told beside the body.
    pub headers: Vec<(&'static str, String)>,
    /// Token counts in InvokeModel's headers.
    pub counts: Counts,
}

/// The frames of a stream. Exceptions within it, broken frames, stalls and early ends are failures.
pub trait Frames: Send {
    /// What a native caller is told beside the frames.
    fn headers(&self) -> &[(&'static str, String)];

    /// The next frame; none at the end of the stream.
    fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame, Failure>>>;
}

/// A question about jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look<'a> {
    /// GetAsyncInvoke, of this ARN.
    Job(&'a str),
    /// ListAsyncInvokes: a page of those that were started since then, the oldest first.
    List {
        /// In milliseconds since 1970.
        since_ms: u64,
        /// The token of the page; none: the first.
        page: Option<&'a str>,
    },
}

/// Calls models.
pub trait Upstream: Send + Sync {
    /// Makes one call, once: no attempt is repeated here. A failure says whether it is known to
    /// cost nothing.
    fn call(&self, call: Call) -> BoxFuture<'_, Result<Response, Failure>>;

    /// Asks about jobs. It costs nothing. Gives the answer's body.
    fn look<'a>(&'a self, look: Look<'a>) -> BoxFuture<'a, Result<Bytes, Failure>>;

    /// Whether the call after one whose credentials were refused fetches new ones.
    fn renews_credentials(&self) -> bool {
        false
    }
}
