//! The server: connections, requests, answers.
//!
//! Everything asynchronous is here. It must not know what a reply says or costs.

mod body;
mod control;
mod invoke;
mod jobs;
mod lookup;
mod operation;
mod respond;
mod service;
mod socket;
mod stream;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;

use crate::auth::Authority;
use crate::bill::Bill;
use crate::catalogue::Catalogue;
use crate::config::Config;
use crate::faults::Faults;
use crate::generation::Generator;
use crate::ids::RequestIds;
use crate::jobs::Jobs;
use crate::prompt_cache::PromptCache;
use crate::target::Resolver;
use service::Service;
use socket::Socket;

/// How long a new connection may be silent.
const FIRST_BYTE_TIMEOUT: Duration = Duration::from_secs(30);
/// How long the head of a request may take, counted from the answer before it: longer than clients
/// keep idle connections, so that none is closed under their hands.
const HEAD_TIMEOUT: Duration = Duration::from_secs(330);
/// What the head of a request may weigh.
const HEAD_BYTES: usize = 64 * 1024;
/// Streams that one HTTP/2 connection may have open.
const STREAMS: u32 = 256;
/// Rest after accepting failed, as when there are no file descriptors left.
const BREATHER: Duration = Duration::from_millis(50);

/// A Bedrock Runtime that runs here.
///
/// ```no_run
/// # async fn run() -> std::io::Result<()> {
/// use kairos_simulator::{Config, Simulator};
///
/// let simulator = Simulator::bind(Config::new(jiff::civil::date(2026, 11, 23))).await?;
/// println!("listening on http://{}", simulator.addr());
/// simulator.run(std::future::pending()).await;
/// # Ok(())
/// # }
/// ```
pub struct Simulator {
    listener: TcpListener,
    addr: SocketAddr,
    service: Arc<Service>,
    stop: watch::Sender<bool>,
    max_connections: usize,
    drain: Duration,
}

impl Simulator {
    /// Takes the address and reads the tables; nothing is served before [`Simulator::run`].
    ///
    /// # Errors
    ///
    /// When the address cannot be had, or the built-in tables cannot be read.
    pub async fn bind(config: Config) -> io::Result<Self> {
        let listener = TcpListener::bind(config.listen).await?;
        let addr = listener.local_addr()?;
        let catalogue = Arc::new(Catalogue::load(config.as_of).map_err(io::Error::other)?);
        let (stop, stopped) = watch::channel(false);
        let clock = config.clock.clone();
        let generator = Generator {
            resolver: Resolver::new(Arc::clone(&catalogue), config.application_profiles, config.require_profiles),
            guardrails: config.guardrails,
            cache: PromptCache::new(config.cached_prompts),
            pace: config.pace,
            clock: config.clock,
            catalogue: Arc::clone(&catalogue),
        };
        let bill = Bill::new(Arc::clone(&catalogue), config.bill_rows, clock);
        let service = Service {
            generator,
            authority: Authority::new(config.keys, config.api_keys),
            jobs: Jobs::new(
                config.job_lasts.try_into().unwrap_or(jiff::SignedDuration::MAX),
                Arc::clone(&catalogue),
                bill.clone(),
            ),
            bill,
            faults: Faults::new(config.faults),
            ids: RequestIds::new(),
            large_bodies: body::large_bodies(),
            stopped,
        };
        Ok(Self {
            listener,
            addr,
            service: Arc::new(service),
            stop,
            max_connections: config.max_connections.max(1),
            drain: config.drain,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// What AWS would charge, as it comes to be.
    #[must_use]
    pub fn bill(&self) -> Bill {
        self.service.bill.clone()
    }

    /// The faults in force, to be changed at any time.
    #[must_use]
    pub fn faults(&self) -> Faults {
        self.service.faults.clone()
    }

    /// Serves until `shutdown` resolves, then lets requests finish for as long as the configuration
    /// says. Connections that a fault keeps silent are cut at once.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let graceful = GracefulShutdown::new();
        let places = Arc::new(Semaphore::new(self.max_connections));
        let mut connections = JoinSet::new();
        let mut shutdown = pin!(shutdown);
        loop {
            let accepted = async {
                // The semaphore is never closed.
                let place = Arc::clone(&places).acquire_owned().await.ok();
                (self.listener.accept().await, place)
            };
            tokio::select! {
                biased;
                () = &mut shutdown => break,
                Some(_) = connections.join_next(), if !connections.is_empty() => {}
                (accepted, place) = accepted => match accepted {
                    Ok((stream, _)) => self.serve(stream, place, &graceful, &mut connections),
                    Err(error) => {
                        tracing::warn!(%error, "accepting a connection failed");
                        tokio::time::sleep(BREATHER).await;
                    }
                },
            }
        }
        drop(self.listener);
        self.stop.send_replace(true);
        let drained = tokio::time::timeout(self.drain, graceful.shutdown()).await;
        if drained.is_err() {
            tracing::warn!("requests were still open when the time to finish was over");
        }
        connections.shutdown().await;
    }

    fn serve(
        &self,
        stream: TcpStream,
        place: Option<OwnedSemaphorePermit>,
        graceful: &GracefulShutdown,
        connections: &mut JoinSet<()>,
    ) {
        // Answers are written whole; waiting to fill packets only delays them.
        let _ = stream.set_nodelay(true);
        let reset = Arc::new(AtomicBool::new(false));
        let socket = Socket::new(stream, Arc::clone(&reset), FIRST_BYTE_TIMEOUT);
        let service = Arc::clone(&self.service);
        let service = service_fn(move |request| {
            let (service, reset) = (Arc::clone(&service), Arc::clone(&reset));
            async move { service.handle(request, &reset).await }
        });
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_buf_size(HEAD_BYTES)
            .half_close(false);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS)
            .max_header_list_size(u32::try_from(HEAD_BYTES).unwrap_or(u32::MAX));
        let connection = builder.serve_connection(TokioIo::new(socket), service).into_owned();
        let connection = graceful.watch(connection);
        connections.spawn(async move {
            // Clients that go away and faults that cut connections both end up here.
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection ended early");
            }
            drop(place);
        });
    }
}
