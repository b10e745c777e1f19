//! Bounds of the ledger in memory.

use std::time::Duration;

/// Bounds of what is kept in memory, and of waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// How long a reservation waits for a commit.
    pub wait: Duration,
    /// Rows that may wait for a commit. A reservation claims two places, one for its row and one for
    /// its end.
    pub queued_rows: usize,
    /// Pairs of key and model, on a day, that are kept. More are served, as leases of others run out
    /// of use.
    pub pairs: usize,
    /// Jobs that may be open.
    pub jobs: usize,
    /// Jobs that each key may have open.
    pub jobs_each_key: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { wait: Duration::from_secs(2), queued_rows: 65_536, pairs: 65_536, jobs: 1_000, jobs_each_key: 100 }
    }
}

/// How much of its bounds the ledger uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// Places in the queue of rows that are claimed.
    pub queued_rows: usize,
    /// Pairs of key and model that are kept.
    pub pairs: usize,
    /// Reservations that wait for a commit.
    pub waiting: usize,
    /// Jobs that are open.
    pub jobs: usize,
}
