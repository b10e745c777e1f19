//! Accepts connections, with limits on their number, their heads, and readers that do not read.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, Sleep, sleep, timeout};

use super::routes::{App, answer};
use super::workers::Workers;
use crate::config::Limits;

/// An address that is listened on.
pub(crate) struct Listening {
    listener: TcpListener,
    address: SocketAddr,
}

/// Takes an address.
pub(crate) async fn listen(address: SocketAddr) -> io::Result<Listening> {
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    Ok(Listening { listener, address })
}

impl Listening {
    /// The address, with the port that was taken.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves connections on the workers until `stop` resolves, then lets those that are busy end,
    /// for a while.
    pub(crate) async fn serve(self, routes: Router, workers: &Workers, app: &Arc<App>, stop: impl Future<Output = ()>) {
        let limits = &app.config.limits;
        let graceful = GracefulShutdown::new();
        let builder = connection_builder(limits);
        let mut stop = std::pin::pin!(stop);
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = &mut stop => break,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    // Out of file descriptors, most likely: trying again at once would spin.
                    sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            let Some(place) = app.connections.enter() else {
                app.refusals.connections.add();
                tracing::warn!(%peer, connections = limits.connections, "connection refused: as many as allowed are open");
                continue;
            };
            let _ = stream.set_nodelay(true);
            // It is read and written where it is served.
            let Ok(stream) = stream.into_std() else { continue };
            let (shared, others) = (Arc::clone(app), routes.clone());
            let service = service_fn(move |request| answer(Arc::clone(&shared), others.clone(), peer, request));
            let (builder, watcher, patience) = (builder.clone(), graceful.watcher(), limits.write_seconds.duration());
            let refusals = Arc::clone(&app.refusals);
            workers.serve(async move {
                let _place = place;
                let Ok(stream) = TcpStream::from_std(stream) else { return };
                let stream = TokioIo::new(ImpatientStream::new(stream, patience));
                if let Err(error) = watcher.watch(builder.serve_connection(stream, service)).await {
                    refusals.connection(&error);
                    tracing::debug!(%peer, "connection ended: {error}");
                }
            });
        }
        drop(self.listener);
        if timeout(limits.drain_seconds.duration(), graceful.shutdown()).await.is_err() {
            tracing::warn!("connections were still open when the time to stop was over");
        }
    }
}

/// HTTP/1.1 only: without TLS no client of ours speaks anything else, and its limits are few. The
/// limit on heads holds for connections that send nothing, too.
fn connection_builder(limits: &Limits) -> Builder {
    let mut builder = Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_seconds.duration())
        .max_headers(limits.headers)
        .max_buf_size(limits.header_bytes)
        .keep_alive(true);
    builder
}

/// A connection that is given up when its reader takes nothing for too long.
struct ImpatientStream {
    stream: TcpStream,
    patience: Duration,
    blocked: Option<Pin<Box<Sleep>>>,
}

impl ImpatientStream {
    fn new(stream: TcpStream, patience: Duration) -> Self {
        Self { stream, patience, blocked: None }
    }

    fn judge<T>(&mut self, context: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.blocked = None;
            return written;
        }
        let patience = self.patience;
        let timer = self.blocked.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(Instant::now() + patience)));
        match timer.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the reader takes nothing"))),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncRead for ImpatientStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for ImpatientStream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.judge(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.judge(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
