//! What the edge counts: connections that are open, and what it refused before a request was one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use kairos_dialects::{Failure, Kind};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// What was refused, by the setting that bounds it.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    pub(crate) connections: Count,
    /// Heads that were too large, or had too many headers.
    pub(crate) header_bytes: Count,
    pub(crate) header_seconds: Count,
    pub(crate) body_bytes: Count,
    pub(crate) body_seconds: Count,
    pub(crate) buffered_bytes: Count,
    /// Readers that took nothing.
    pub(crate) write_seconds: Count,
}

impl Refusals {
    /// Counts a body that was not accepted.
    pub(super) fn body(&self, failure: &Failure) {
        match failure.kind {
            Kind::TooLarge => self.body_bytes.add(),
            Kind::SlowRequest => self.body_seconds.add(),
            Kind::Overloaded => self.buffered_bytes.add(),
            _ => {}
        }
    }

    /// Counts a connection that ended on an error of the caller's making.
    pub(super) fn connection(&self, error: &hyper::Error) {
        use std::error::Error as _;
        let io = error.source().and_then(|cause| cause.downcast_ref::<std::io::Error>());
        if error.is_parse_too_large() {
            self.header_bytes.add();
        } else if error.is_timeout() {
            self.header_seconds.add();
        } else if io.is_some_and(|io| io.kind() == std::io::ErrorKind::TimedOut) {
            self.write_seconds.add();
        }
    }
}

/// The places for connections.
#[derive(Debug)]
pub(crate) struct Connections {
    free: Arc<Semaphore>,
    most: usize,
}

impl Connections {
    pub(super) fn new(most: usize) -> Self {
        Self { free: Arc::new(Semaphore::new(most)), most }
    }

    /// Connections that are open.
    pub(crate) fn open(&self) -> usize {
        self.most.saturating_sub(self.free.available_permits())
    }

    /// A place, until it is dropped; none when all are taken.
    pub(super) fn enter(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.free).try_acquire_owned().ok()
    }
}
