//! Threads that serve connections, one for each core, each with a runtime of its own: what happens to
//! a request happens on one thread, and nobody is woken on another for it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// The threads.
pub(crate) struct Workers(Vec<Worker>);

struct Worker {
    runtime: Handle,
    /// Connections that it serves.
    connections: Arc<AtomicUsize>,
    stop: oneshot::Sender<Duration>,
    thread: JoinHandle<()>,
}

impl Workers {
    /// Starts as many as there are cores for this process.
    pub(crate) fn start() -> io::Result<Self> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        (0..cores).map(Worker::start).collect::<io::Result<_>>().map(Self)
    }

    /// Serves a connection on the thread that has the fewest.
    pub(crate) fn serve(&self, connection: impl Future<Output = ()> + Send + 'static) {
        let Some(worker) = self.0.iter().min_by_key(|worker| worker.connections.load(Ordering::Relaxed)) else {
            return;
        };
        let counted = Counted::one(&worker.connections);
        worker.runtime.spawn(async move {
            connection.await;
            drop(counted);
        });
    }

    /// Ends the threads, and with them whatever still runs on them.
    pub(crate) fn stop(self, patience: Duration) {
        let threads: Vec<_> = self
            .0
            .into_iter()
            .map(|worker| {
                // One that is not there any more has stopped.
                let _ = worker.stop.send(patience);
                worker.thread
            })
            .collect();
        for thread in threads {
            let _ = thread.join();
        }
    }
}

impl Worker {
    fn start(number: usize) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name(format!("kairos-{number}"))
            // Policies run on these threads: unoptimised scripts need more than the usual.
            .stack_size(kairos_sandbox::host::THREAD_STACK)
            .spawn(move || {
                let patience = runtime.block_on(stopped).unwrap_or_default();
                runtime.shutdown_timeout(patience);
            })?;
        Ok(Self { runtime: handle, connections: Arc::default(), stop, thread })
    }
}

/// A connection of a worker, until it is dropped.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn one(of: &Arc<AtomicUsize>) -> Self {
        of.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(of))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
