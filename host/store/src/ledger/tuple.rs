//! A key and model on a day, and what it has drawn on its lease.

use std::sync::Arc;

use kairos_pipeline::ledger::Reservation;
use kairos_pipeline::price::day_of;

use super::scopes::{Counts, Scopes};

/// Whom a reservation counts against: what leases and sums are kept for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TupleKey {
    /// The UTC day of the reservation, in days since 1970.
    pub day: u32,
    /// The caller's key.
    pub caller: Arc<str>,
    /// The model.
    pub model: Arc<str>,
}

impl TupleKey {
    pub(super) fn of(reservation: &Reservation) -> Self {
        Self {
            day: day_of(reservation.at_ms),
            caller: Arc::clone(&reservation.caller),
            model: Arc::clone(&reservation.model),
        }
    }
}

/// What a tuple has drawn of what was committed for it, in this epoch.
#[derive(Debug, Default)]
pub(super) struct Tuple {
    /// Never falls.
    pub(super) drawn: u64,
    /// Drawing stops here until the writer has committed more.
    pub(super) upto: u64,
    /// What the lease reaches to on disk; none while that is not known.
    pub(super) committed: Option<u64>,
    /// Worst cases of rows that are open.
    pub(super) open: u64,
    /// Worst cases of those that wait.
    pub(super) waiting: u64,
    /// What was drawn in the current second and in the one before.
    pub(super) recent: [u64; 2],
    pub(super) second: u64,
    /// When something was drawn last.
    pub(super) drew: u64,
    /// The largest draw since there was none for two seconds; nothing once the lease was given back.
    pub(super) largest: u64,
    /// Where its last reservation counts.
    pub(super) counts: Counts,
}

impl Tuple {
    pub(super) fn pass_time(&mut self, second: u64) {
        match second.saturating_sub(self.second) {
            0 => return,
            1 => self.recent = [0, self.recent[0]],
            _ => self.recent = [0, 0],
        }
        self.second = second;
    }

    /// A request draws.
    pub(super) fn draw(&mut self, worst: u64, second: u64) {
        self.pass_time(second);
        let before = if self.recent == [0, 0] { 0 } else { self.largest };
        self.recent[0] = self.recent[0].saturating_add(worst);
        self.largest = before.max(worst);
    }

    pub(super) fn headroom(&self) -> u64 {
        self.upto.saturating_sub(self.drawn)
    }
}

/// A tuple's lease reaches no further than it was drawn, but for so much.
pub(super) fn lower(tuple: &mut Tuple, keeps: u64, scopes: &mut Scopes) {
    let gives = tuple.headroom().saturating_sub(keeps);
    scopes.headroom(&tuple.counts, 0, gives);
    tuple.upto -= gives;
}
