//! A Bedrock that always answers the same, as fast as it can, or after a fixed time. It checks
//! nothing: what is measured is what stands before it.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use kairos_dialects::eventstream;
use tokio::net::TcpListener;

/// Pieces of text in a streamed answer; with the other events a stream has 24 frames.
const PIECES: usize = 19;

/// Serves until the process ends.
pub(crate) fn run(delay_ms: u64) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        println!("listening on http://{}", listener.local_addr().unwrap());
        let (whole, frames) = (whole(), frames());
        let delay = Duration::from_millis(delay_ms);
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            let (whole, frames) = (whole.clone(), frames.clone());
            let service = service_fn(move |request| answer(request, whole.clone(), frames.clone(), delay));
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
}

async fn answer(
    request: Request<Incoming>,
    whole: Bytes,
    frames: Vec<Bytes>,
    delay: Duration,
) -> Result<Response<BoxBody<Bytes, Infallible>>, Infallible> {
    // Who sends its own body to the bare proxy says in the path which answer it wants.
    let streams = request.uri().path().ends_with("stream");
    let _ = request.into_body().collect().await;
    if !delay.is_zero() {
        // Not the runtime's timer: it ticks in milliseconds, which would hide what is measured.
        tokio::task::spawn_blocking(move || std::thread::sleep(delay)).await.unwrap();
    }
    let builder = Response::builder().header("x-amzn-requestid", "7a6f2d3c-0000-4000-8000-000000000000");
    let (kind, body) = if streams {
        ("application/vnd.amazon.eventstream", Burst { frames, next: 0, pause: false }.boxed())
    } else {
        ("application/json", Full::new(whole).boxed())
    };
    Ok(builder.header("content-type", kind).body(body).unwrap())
}

/// Frames one by one, each written on its own, as a model makes them.
struct Burst {
    frames: Vec<Bytes>,
    next: usize,
    pause: bool,
}

impl http_body::Body for Burst {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if std::mem::replace(&mut self.pause, true) {
            self.pause = false;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let frame = self.frames.get(self.next).cloned();
        self.next += 1;
        Poll::Ready(frame.map(|bytes| Ok(Frame::data(bytes))))
    }
}

const TEXT: &str = "Here is a function that adds two numbers and returns their sum, as you asked. ";

fn whole() -> Bytes {
    let body = serde_json::json!({
        "metrics": {"latencyMs": 412},
        "output": {"message": {"role": "assistant", "content": [{"text": TEXT.repeat(4)}]}},
        "stopReason": "end_turn",
        "usage": {"inputTokens": 118, "outputTokens": 64, "totalTokens": 182},
    });
    body.to_string().into()
}

fn frames() -> Vec<Bytes> {
    let event = |name: &str, body: serde_json::Value| {
        let headers = [(":event-type", name), (":content-type", "application/json"), (":message-type", "event")];
        eventstream::encode(&headers, body.to_string().as_bytes())
    };
    let mut frames = vec![event("messageStart", serde_json::json!({"role": "assistant"}))];
    for piece in 0..PIECES {
        let text = &TEXT[piece..piece + 16];
        frames.push(event("contentBlockDelta", serde_json::json!({"contentBlockIndex": 0, "delta": {"text": text}})));
    }
    frames.push(event("contentBlockStop", serde_json::json!({"contentBlockIndex": 0})));
    frames.push(event("messageStop", serde_json::json!({"stopReason": "end_turn"})));
    let usage = serde_json::json!({"inputTokens": 118, "outputTokens": 64, "totalTokens": 182});
    frames.push(event("metadata", serde_json::json!({"usage": usage, "metrics": {"latencyMs": 412}})));
    frames
}
