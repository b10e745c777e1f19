//! Places: at most so many attempts at once on each model, with a bounded queue before them.
//!
//! A place is taken before money is reserved, so that a request that waits holds no part of a budget
//! that another could spend. It is given back when the attempt is over, its caller gone or not.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use kairos_dialects::{Failure, Kind};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, sleep_until};

use crate::exchange::Exchange;
use crate::reply::Reply;
use crate::stream::SignsOfLife;

/// How much one model is given to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Concurrency {
    /// Attempts at once.
    pub at_once: usize,
    /// Requests that may wait for one of them to end.
    pub waiting: usize,
    /// How long a request waits.
    pub patience: Duration,
}

/// The places of all models.
#[derive(Debug)]
pub struct Places {
    bounds: Concurrency,
    models: Vec<ModelPlaces>,
}

#[derive(Debug)]
struct ModelPlaces {
    free: Semaphore,
    waiting: AtomicUsize,
    full: AtomicU64,
    late: AtomicU64,
}

/// What is going on before and on one model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crowd {
    /// Attempts under way.
    pub under_way: usize,
    /// Requests that wait.
    pub waiting: usize,
    /// Requests that were sent on because too many waited.
    pub refused_full: u64,
    /// Requests that were sent on after they had waited for as long as they may.
    pub refused_late: u64,
}

/// A place on a model, until it is dropped.
pub(crate) struct Place<'a> {
    _permit: SemaphorePermit<'a>,
}

/// Counts who waits.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Places {
    /// Places on so many models.
    pub fn new(bounds: Concurrency, models: usize) -> Self {
        let one = |_| ModelPlaces {
            free: Semaphore::new(bounds.at_once.min(Semaphore::MAX_PERMITS)),
            waiting: AtomicUsize::new(0),
            full: AtomicU64::new(0),
            late: AtomicU64::new(0),
        };
        Self { bounds, models: (0..models).map(one).collect() }
    }

    /// The bounds that hold.
    pub fn bounds(&self) -> Concurrency {
        self.bounds
    }

    /// What is going on at a model.
    pub fn crowd(&self, model: usize) -> Crowd {
        let places = &self.models[model];
        Crowd {
            under_way: self.bounds.at_once.saturating_sub(places.free.available_permits()),
            waiting: places.waiting.load(Ordering::Relaxed),
            refused_full: places.full.load(Ordering::Relaxed),
            refused_late: places.late.load(Ordering::Relaxed),
        }
    }

    /// A place on a model that is free now.
    pub(crate) fn free(&self, model: usize) -> Option<Place<'_>> {
        self.models[model].free.try_acquire().ok().map(|permit| Place { _permit: permit })
    }

    /// Waits for a place on a model. A refusal is not of the model's making, and nothing was sent: the
    /// next candidate may have room.
    pub(crate) async fn wait<'a>(
        &'a self,
        model: usize,
        mut signs: SignsOfLife,
        exchange: &Exchange,
        reply: &mut Reply,
    ) -> Result<Place<'a>, Failure> {
        let places = &self.models[model];
        let id = &exchange.catalogue.models[model].id;
        if places.waiting.fetch_add(1, Ordering::Relaxed) >= self.bounds.waiting {
            places.waiting.fetch_sub(1, Ordering::Relaxed);
            places.full.fetch_add(1, Ordering::Relaxed);
            let (at_once, waiting) = (self.bounds.at_once, self.bounds.waiting);
            return Err(crowded(&format!(
                "{id} has {at_once} requests under way and {waiting} waiting, which is as many as it may"
            )));
        }
        let _waiting = Waiting(&places.waiting);
        let deadline = Instant::now() + self.bounds.patience;
        let mut place = std::pin::pin!(places.free.acquire());
        loop {
            tokio::select! {
                biased;
                permit = &mut place => {
                    let closed = |_| Failure::new(Kind::Internal, "the places of a model are closed");
                    return Ok(Place { _permit: permit.map_err(closed)? });
                }
                () = reply.gone() => return Err(Failure::new(Kind::ClientLeft, "the caller left")),
                () = sleep_until(deadline) => {
                    places.late.fetch_add(1, Ordering::Relaxed);
                    let (at_once, patience) = (self.bounds.at_once, self.bounds.patience);
                    return Err(crowded(&format!(
                        "{id} has {at_once} requests under way, and none of them ended within {patience:?}"
                    )));
                }
                () = signs.idle() => signs.give(exchange, reply).await,
            }
        }
    }
}

fn crowded(what: &str) -> Failure {
    let message = format!("{what}; try again shortly");
    Failure { retry_after: Some(Duration::from_secs(1)), ..Failure::new(Kind::Overloaded, message) }
}
