//! Connections to the endpoint that are kept from request to request.

use std::error::Error;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use http::{Request, Response, Uri};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use tokio::runtime::{self, Handle};
use tokio::time::Instant;
use tower_service::Service as _;

use crate::connect::Connector;
use crate::sent::MarkedBody;

/// Connections that are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Idle connections that are kept to the endpoint, by each thread that serves.
    pub idle_connections: usize,
    /// How long an idle connection is kept.
    pub keep_alive: Duration,
}

impl Default for Pool {
    fn default() -> Self {
        // AWS's load balancers close after 60 s: we close first, rather than send into that.
        Self { idle_connections: 64, keep_alive: Duration::from_secs(55) }
    }
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum NotAnswered {
    /// No connection could be made.
    Unconnected(Box<dyn Error + Send + Sync>),
    /// It broke before the answer began.
    Broken(hyper::Error),
}

/// Connections to the endpoint, those of each runtime apart: a connection is driven by a task where it
/// was made, and who uses it from elsewhere pays for waking another thread with every read.
///
/// Hyper's own client with a pool is for any number of endpoints, and makes for each request a future of three
/// kilobytes on the heap; this is for one, and what is kept of a connection is the handle that sends.
pub(crate) struct Connections {
    connector: Connector,
    /// The endpoint's address, without a path.
    endpoint: Uri,
    pool: Pool,
    by_runtime: ArcSwap<Vec<(runtime::Id, Arc<Idle>)>>,
}

impl Connections {
    pub(crate) fn new(connector: Connector, endpoint: Uri, pool: Pool) -> Self {
        Self { connector, endpoint, pool, by_runtime: ArcSwap::default() }
    }

    /// Sends a request, whose address is a path, and waits for the head of its answer. The connection is free for
    /// others when the lease is dropped.
    pub(crate) async fn request(
        &self,
        mut request: Request<MarkedBody>,
    ) -> Result<(Response<Incoming>, Lease), NotAnswered> {
        let idle = self.idle();
        loop {
            let kept = idle.take();
            let was_kept = kept.is_some();
            let mut sender = match kept {
                Some(sender) => sender,
                // Boxed: most requests need no room for what connects.
                None => Box::pin(self.connect()).await.map_err(NotAnswered::Unconnected)?,
            };
            match sender.try_send_request(request).await {
                Ok(answer) => return Ok((answer, Lease { sender: Some(sender), idle })),
                Err(mut error) => match error.take_message() {
                    // Only what was never written, because a kept connection turned out to be closed, is sent
                    // again. All other repeating is the pipeline's business, and the ledger's.
                    Some(unsent) if was_kept => request = unsent,
                    _ => return Err(NotAnswered::Broken(error.into_error())),
                },
            }
        }
    }

    async fn connect(&self) -> Result<SendRequest<MarkedBody>, Box<dyn Error + Send + Sync>> {
        let mut connector = self.connector.clone();
        poll_fn(|context| connector.poll_ready(context)).await?;
        let stream = connector.call(self.endpoint.clone()).await?;
        let (sender, connection) = http1::handshake(stream).await?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection to Bedrock ended");
            }
        });
        Ok(sender)
    }

    /// What this runtime keeps.
    fn idle(&self) -> Arc<Idle> {
        let here = Handle::current().id();
        let known = self.by_runtime.load();
        if let Some((_, idle)) = known.iter().find(|(runtime, _)| *runtime == here) {
            return Arc::clone(idle);
        }
        let idle = Arc::new(Idle { pool: self.pool, kept: Mutex::default() });
        tokio::spawn(forget_old(Arc::downgrade(&idle), self.pool.keep_alive));
        self.by_runtime.rcu(|known| known.iter().cloned().chain([(here, Arc::clone(&idle))]).collect::<Vec<_>>());
        idle
    }
}

/// A connection that a request has, until its answer is over.
pub(crate) struct Lease {
    sender: Option<SendRequest<MarkedBody>>,
    idle: Arc<Idle>,
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(sender) = self.sender.take() {
            self.idle.put(sender);
        }
    }
}

/// What one runtime keeps.
struct Idle {
    pool: Pool,
    /// The last used is the last: what was used long ago is more likely to have been closed.
    kept: Mutex<Vec<Kept>>,
}

struct Kept {
    sender: SendRequest<MarkedBody>,
    since: Instant,
}

impl Idle {
    fn lock(&self) -> MutexGuard<'_, Vec<Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection that can be used at once.
    fn take(&self) -> Option<SendRequest<MarkedBody>> {
        let mut kept = self.lock();
        // One whose answer was not read to its end is closed by the task that drives it, and is not ready until then.
        let place = kept.iter().rposition(|one| one.sender.is_ready())?;
        let one = kept.remove(place);
        (one.since.elapsed() < self.pool.keep_alive).then_some(one.sender)
    }

    fn put(&self, sender: SendRequest<MarkedBody>) {
        if sender.is_closed() {
            return;
        }
        let mut kept = self.lock();
        if kept.len() >= self.pool.idle_connections {
            kept.retain(|one| !one.sender.is_closed());
        }
        if kept.len() < self.pool.idle_connections {
            kept.push(Kept { sender, since: Instant::now() });
        }
    }
}

/// Closes what nobody used for so long, until nobody keeps anything any more.
async fn forget_old(idle: Weak<Idle>, keep_alive: Duration) {
    let interval = (keep_alive / 4).max(Duration::from_secs(1));
    loop {
        tokio::time::sleep(interval).await;
        let Some(idle) = idle.upgrade() else { return };
        idle.lock().retain(|one| !one.sender.is_closed() && one.since.elapsed() < keep_alive);
    }
}
