//! The observer's slot: what ended requests leave for it, and the thread on which it is told of them.
//!
//! No request waits for an observer: what is more than may wait is left out and counted. Calls are made one at
//! a time, in order, each on the state that the one before left.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use kairos_pipeline::learned::{Learned, Reads};
use kairos_pipeline::policy::{
    Event, EventKind, Identity, ObserveInput, PolicyError, Question, Rating, Watcher, Written,
};
use kairos_pipeline::request::RequestId;

use super::{Front, Published};
use crate::follow::lower_priority;
use crate::host::{Clock, PolicyHost, THREAD_STACK};
use crate::lineup::Lineup;

/// Calls after which what was learned is published, where more events wait.
const BATCH: usize = 64;

/// An event that waits.
struct Waiting {
    event: Arc<Event>,
    at_ms: u64,
}

/// What waits, and what is remembered.
#[derive(Default)]
struct Queue {
    waiting: VecDeque<Waiting>,
    /// Requests that have ended, by id, and their ids, the oldest first.
    remembered: HashMap<RequestId, Arc<Event>>,
    order: VecDeque<RequestId>,
    /// When the last event came.
    last_ms: u64,
    /// Left out since the last call.
    missed: u32,
    /// A call is under way.
    busy: bool,
    ended: bool,
}

/// What there is of events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventCounts {
    /// Events that wait.
    pub waiting: usize,
    /// Requests that are remembered for their ratings.
    pub remembered: usize,
    /// Events that an observer was told of.
    pub told: u64,
    /// Events that were left out.
    pub missed: u64,
}

/// What serves as an observer.
pub(crate) struct Observers {
    native: Identity,
    serving: ArcSwap<Option<Arc<Published>>>,
    desk: Arc<Desk>,
}

/// What requests and the thread share.
struct Desk {
    queue: Mutex<Queue>,
    wake: Condvar,
    learned: Arc<Learned>,
    /// Milliseconds since 1970.
    clock: Clock,
    most_waiting: usize,
    most_remembered: usize,
    told: AtomicU64,
    missed: AtomicU64,
}

impl Desk {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has an event wait, unless too many do.
    fn push(&self, queue: &mut Queue, event: Arc<Event>) {
        if queue.waiting.len() >= self.most_waiting || queue.ended {
            return self.miss(queue);
        }
        queue.last_ms = queue.last_ms.max((self.clock)());
        let at_ms = queue.last_ms;
        queue.waiting.push_back(Waiting { event, at_ms });
        self.wake.notify_all();
    }

    fn miss(&self, queue: &mut Queue) {
        queue.missed = queue.missed.saturating_add(1);
        self.missed.fetch_add(1, Ordering::Relaxed);
    }
}

impl Watcher for Desk {
    fn ended(&self, id: RequestId, event: Event) {
        let event = Arc::new(event);
        let mut queue = self.lock();
        while queue.order.len() >= self.most_remembered
            && let Some(oldest) = queue.order.pop_front()
        {
            queue.remembered.remove(&oldest);
        }
        if self.most_remembered > 0 && queue.remembered.insert(id, Arc::clone(&event)).is_none() {
            queue.order.push_back(id);
        }
        self.push(&mut queue, event);
    }
}

impl Observers {
    /// Nothing is in the slot: nobody is told of anything.
    pub(crate) fn start(
        learned: &Arc<Learned>,
        clock: &Clock,
        most_waiting: usize,
        most_remembered: usize,
    ) -> std::io::Result<Arc<Self>> {
        let native = Identity::new("no-observer", env!("CARGO_PKG_VERSION"), Vec::new(), Vec::new());
        let queue = Queue { last_ms: learned.snapshot().told_ms(), ..Queue::default() };
        let desk = Desk {
            queue: Mutex::new(queue),
            wake: Condvar::new(),
            learned: Arc::clone(learned),
            clock: Arc::clone(clock),
            most_waiting,
            most_remembered,
            told: AtomicU64::new(0),
            missed: AtomicU64::new(0),
        };
        let observers = Arc::new(Self { native, serving: ArcSwap::from_pointee(None), desk: Arc::new(desk) });
        let (this, desk) = (Arc::downgrade(&observers), Arc::clone(&observers.desk));
        std::thread::Builder::new().name("policy-observer".to_owned()).stack_size(THREAD_STACK).spawn(move || {
            lower_priority();
            run(&this, &desk);
        })?;
        Ok(observers)
    }

    /// Who is told of requests; none: nobody.
    pub(crate) fn watcher(&self) -> Option<Arc<dyn Watcher>> {
        self.serving.load().is_some().then(|| Arc::clone(&self.desk) as _)
    }

    /// A caller has rated the answer to a request.
    pub(crate) fn rated(&self, id: RequestId, metric: &str, value: f64) {
        if self.serving.load().is_none() {
            return;
        }
        let mut queue = self.desk.lock();
        let Some(event) = queue.remembered.get(&id) else { return self.desk.miss(&mut queue) };
        let rating = Some(Rating { metric: metric.to_owned(), value });
        let event = Event { kind: EventKind::Rated, rating, ..Event::clone(event) };
        self.desk.push(&mut queue, Arc::new(event));
    }

    /// What there is of events.
    pub(crate) fn counts(&self) -> EventCounts {
        let Desk { told, missed, .. } = &*self.desk;
        let queue = self.desk.lock();
        EventCounts {
            waiting: queue.waiting.len(),
            remembered: queue.order.len(),
            told: told.load(Ordering::Relaxed),
            missed: missed.load(Ordering::Relaxed),
        }
    }

    /// Waits until the observer was told of all that waits, for so long at most. Whether it was.
    pub(crate) fn settle(&self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        let mut queue = self.desk.lock();
        while !queue.waiting.is_empty() || queue.busy {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            queue = self.desk.wake.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}

impl Drop for Observers {
    fn drop(&mut self) {
        self.desk.lock().ended = true;
        self.desk.wake.notify_all();
    }
}

impl Front for Observers {
    fn native(&self) -> &Identity {
        &self.native
    }

    fn publish(&self, lineup: &Lineup, host: &Weak<PolicyHost>) -> bool {
        let next = lineup.current.as_ref().map(|generation| Arc::new(Published::new(generation, host)));
        let label =
            |one: &Option<Arc<Published>>| one.as_ref().map(|one| Arc::clone(one.generation.identity().label()));
        if label(&self.serving.load()) == label(&next) {
            return false;
        }
        let is_empty = next.is_none();
        self.serving.store(Arc::new(next));
        if is_empty {
            // Nobody is told any more: nothing is held for nobody.
            let mut queue = self.desk.lock();
            *queue = Queue { last_ms: queue.last_ms, busy: queue.busy, ..Queue::default() };
            self.desk.wake.notify_all();
        }
        true
    }
}

/// Tells of what waits, one event after another, until there is no slot any more.
fn run(observers: &Weak<Observers>, desk: &Desk) {
    let mut unpublished = 0;
    loop {
        let (waiting, missed) = {
            let mut queue = desk.lock();
            if queue.waiting.is_empty() && unpublished > 0 {
                drop(queue);
                desk.learned.publish();
                unpublished = 0;
                queue = desk.lock();
            }
            let idle = |queue: &mut Queue| queue.waiting.is_empty() && !queue.ended;
            if idle(&mut queue) {
                queue.busy = false;
                desk.wake.notify_all();
            }
            queue = desk.wake.wait_while(queue, idle).unwrap_or_else(PoisonError::into_inner);
            let Some(waiting) = queue.waiting.pop_front() else { return };
            queue.busy = true;
            (waiting, std::mem::take(&mut queue.missed))
        };
        let Some(observers) = observers.upgrade() else { return };
        let serving = Option::clone(&observers.serving.load());
        if let Some(published) = serving {
            tell(&published, desk, &waiting, missed);
            unpublished += 1;
        }
        if unpublished >= BATCH {
            desk.learned.publish();
            unpublished = 0;
        }
    }
}

/// One call: what it writes is learned, unless it fails.
fn tell(published: &Published, desk: &Desk, waiting: &Waiting, missed: u32) {
    let Waiting { event, at_ms } = waiting;
    let identity = published.generation.identity();
    let learned = Arc::new(Reads::of(Arc::new(desk.learned.latest())));
    let models = marked(event, identity);
    let input = ObserveInput { event, models: &models, at_ms: *at_ms, missed, learned: &learned };
    let written = published.ask(Question::Observe(input)).and_then(super::Answer::written);
    desk.told.fetch_add(1, Ordering::Relaxed);
    let written = match written {
        Ok(written) => written,
        Err(PolicyError::NotRun(_)) => {
            desk.miss(&mut desk.lock());
            Written::default()
        }
        Err(PolicyError::Fault(fault)) => {
            if let Some(host) = published.host.upgrade() {
                host.failed_generation(identity, &fault);
            }
            Written::default()
        }
        Err(PolicyError::Declined | PolicyError::Refused(_) | PolicyError::Unavailable(_)) => Written::default(),
    };
    if let Some(gone) = desk.learned.write(identity.space(), &written.0, *at_ms) {
        tracing::warn!(space = %gone, "a space of what was learned gave way: it was written least recently of as many as there can be");
    }
}

/// The models of an event, with the names marked that an observer asks about.
fn marked(event: &Event, identity: &Identity) -> Vec<kairos_pipeline::policy::Offer> {
    let mut models = event.models.clone();
    for (bit, name) in identity.model_names.iter().enumerate().take(64) {
        if let Some(model) = event.request.find(name).and_then(|index| models.get_mut(index as usize)) {
            model.names |= 1 << bit;
        }
    }
    models
}
