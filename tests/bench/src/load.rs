//! A load generator: so many connections, each with one request under way.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// What is sent, again and again.
#[derive(Clone)]
pub(crate) struct Shot {
    pub(crate) target: SocketAddr,
    pub(crate) path: &'static str,
    pub(crate) body: Bytes,
    /// Sent as `Authorization: Bearer`.
    pub(crate) key: Option<String>,
}

/// What came of it.
pub(crate) struct Shots {
    /// Nanoseconds from sending each request to the end of its answer.
    pub(crate) latencies: Vec<u64>,
    /// Seconds that all took.
    pub(crate) seconds: f64,
}

/// Sends `count` requests over `connections` connections.
pub(crate) fn fire(shot: &Shot, connections: usize, count: usize) -> Shots {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let left = Arc::new(AtomicUsize::new(count));
        let mut senders = Vec::new();
        for _ in 0..connections {
            senders.push(connect(shot.target).await);
        }
        let started = Instant::now();
        let tasks: Vec<_> =
            senders.into_iter().map(|sender| tokio::spawn(repeat(sender, shot.clone(), Arc::clone(&left)))).collect();
        let mut latencies = Vec::with_capacity(count);
        for task in tasks {
            latencies.extend(task.await.unwrap());
        }
        Shots { latencies, seconds: started.elapsed().as_secs_f64() }
    })
}

async fn connect(target: SocketAddr) -> SendRequest<Full<Bytes>> {
    let stream = TcpStream::connect(target).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

async fn repeat(mut sender: SendRequest<Full<Bytes>>, shot: Shot, left: Arc<AtomicUsize>) -> Vec<u64> {
    let host = shot.target.to_string();
    let bearer = shot.key.as_ref().map(|key| format!("Bearer {key}"));
    let mut latencies = Vec::new();
    while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
        let mut request = Request::post(shot.path).header("host", &host).header("content-type", "application/json");
        if let Some(key) = &bearer {
            request = request.header("authorization", key);
        }
        let request = request.body(Full::new(shot.body.clone())).unwrap();
        let started = Instant::now();
        let response = sender.send_request(request).await.unwrap();
        let status = response.status();
        let mut body = response.into_body();
        let mut last = Bytes::new();
        while let Some(frame) = body.frame().await {
            if let Ok(data) = frame.unwrap().into_data() {
                last = data;
            }
        }
        latencies.push(u64::try_from(started.elapsed().as_nanos()).unwrap());
        assert!(status.is_success() && !last.is_empty(), "{status}: {}", String::from_utf8_lossy(&last));
        sender.ready().await.unwrap();
    }
    latencies
}
