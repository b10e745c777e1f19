//! Requests count in the order in which they were given to an arm, not in that in which they ended: else
//! what ends soon (a failure) would count before what was begun earlier and takes long, and an arm that
//! is slow would look as if it failed more.

use std::collections::{HashMap, VecDeque};

use kairos_pipeline::policy::{Assigned, Went};

/// Requests that may wait for their turn; the oldest counts as it is when there are more.
const MOST_WAITING: usize = 65_536;

/// Requests that wait for their turn.
#[derive(Debug, Default)]
pub(super) struct Order {
    waiting: VecDeque<Waiting>,
    /// Where each is: its place from the beginning of the run.
    places: HashMap<u64, u64>,
    gone: u64,
}

#[derive(Debug)]
struct Waiting {
    assigned: Assigned,
    since_ms: u64,
    went: Option<Went>,
}

impl Order {
    /// A request begins. Gives one that has to count as it is, since too many wait.
    pub(super) fn begin(&mut self, assigned: &Assigned, now_ms: u64) -> Option<Assigned> {
        let lost = (self.waiting.len() >= MOST_WAITING).then(|| self.pop()).flatten();
        self.places.insert(assigned.ticket, self.gone + self.waiting.len() as u64);
        self.waiting.push_back(Waiting { assigned: *assigned, since_ms: now_ms, went: None });
        lost.map(|lost| lost.assigned)
    }

    /// It has ended.
    pub(super) fn end(&mut self, ticket: u64, went: Went) {
        let place = self.places.get(&ticket).and_then(|place| place.checked_sub(self.gone));
        let waiting = place.and_then(|place| self.waiting.get_mut(usize::try_from(place).ok()?));
        if let Some(waiting) = waiting {
            waiting.went = Some(went);
        }
    }

    /// The next whose turn it is, once it has ended, or has not within so many milliseconds.
    pub(super) fn next(&mut self, now_ms: u64, horizon_ms: u64) -> Option<(Assigned, Option<Went>)> {
        let first = self.waiting.front()?;
        let is_over = now_ms.saturating_sub(first.since_ms) >= horizon_ms;
        if first.went.is_none() && !is_over {
            return None;
        }
        self.pop().map(|next| (next.assigned, next.went))
    }

    fn pop(&mut self) -> Option<Waiting> {
        let first = self.waiting.pop_front()?;
        self.places.remove(&first.assigned.ticket);
        self.gone += 1;
        Some(first)
    }
}
