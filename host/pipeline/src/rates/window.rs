//! What went through in the last minute.
//!
//! Kept by the second: what came within a second leaves once all of that second is more than a minute ago.
//! So no minute, wherever it begins, holds more than was let through by what is known here. A bucket that
//! fills evenly, as quotas may be counted, holds no less room than this.

/// More tokens than any attempt uses: what is counted is held to it, so that no sum passes what a number holds.
const MOST_TOKENS: u64 = 1 << 40;

/// Seconds that are kept: those of a minute, and the one that is half out of it.
const SLOTS: u64 = 61;

/// Requests and tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    /// Requests.
    pub requests: u64,
    /// Tokens, as Bedrock counts them against a quota.
    pub tokens: u64,
}

/// What may go through in a minute; none: anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limit {
    /// Requests.
    pub requests: Option<u64>,
    /// Tokens.
    pub tokens: Option<u64>,
}

impl Limit {
    /// Whether so much is within it.
    fn holds(&self, amount: Amount) -> bool {
        self.requests.is_none_or(|most| amount.requests <= most) && self.tokens.is_none_or(|most| amount.tokens <= most)
    }
}

impl std::fmt::Display for Limit {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.requests, self.tokens) {
            (Some(requests), Some(tokens)) => write!(formatter, "{requests} requests and {tokens} tokens a minute"),
            (Some(requests), None) => write!(formatter, "{requests} requests a minute"),
            (None, Some(tokens)) => write!(formatter, "{tokens} tokens a minute"),
            (None, None) => formatter.write_str("nothing"),
        }
    }
}

fn less(one: Amount, other: Amount) -> Amount {
    Amount { requests: one.requests.saturating_sub(other.requests), tokens: one.tokens.saturating_sub(other.tokens) }
}

/// When there is room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// Now.
    Now,
    /// At this millisecond, if nothing else comes. What is settled meanwhile can make it earlier.
    At(u64),
    /// Never: it is more than the limit.
    Never,
}

/// A minute, up to now.
#[derive(Clone, Debug)]
pub(super) struct Window {
    slots: [Amount; SLOTS as usize],
    sum: Amount,
    /// The second that is now.
    now: u64,
}

impl Window {
    pub(super) fn new(now_ms: u64) -> Self {
        Self { slots: [Amount::default(); SLOTS as usize], sum: Amount::default(), now: now_ms / 1_000 }
    }

    /// Lets go what is more than a minute ago. A clock that goes back changes nothing.
    pub(super) fn turn(&mut self, now_ms: u64) {
        let second = now_ms / 1_000;
        for passed in 0..second.saturating_sub(self.now).min(SLOTS) {
            let slot = &mut self.slots[((self.now + 1 + passed) % SLOTS) as usize];
            self.sum = less(self.sum, *slot);
            *slot = Amount::default();
        }
        self.now = self.now.max(second);
    }

    /// What went through.
    pub(super) fn used(&self) -> Amount {
        self.sum
    }

    /// When there is room for so much.
    pub(super) fn room(&self, limit: &Limit, need: Amount) -> Room {
        let with = |used: Amount| Amount {
            requests: used.requests.saturating_add(need.requests),
            tokens: used.tokens.saturating_add(need.tokens),
        };
        if limit.holds(with(self.sum)) {
            return Room::Now;
        }
        let mut left = self.sum;
        for age in (0..SLOTS).rev() {
            let Some(second) = self.now.checked_sub(age) else { continue };
            let slot = self.slots[(second % SLOTS) as usize];
            left = less(left, slot);
            if limit.holds(with(left)) {
                return Room::At((second + SLOTS) * 1_000);
            }
        }
        Room::Never
    }

    /// Takes so much, now; gives the second that it counts in.
    pub(super) fn take(&mut self, amount: Amount) -> u64 {
        let slot = &mut self.slots[(self.now % SLOTS) as usize];
        for place in [slot, &mut self.sum] {
            place.requests = place.requests.saturating_add(amount.requests);
            place.tokens = place.tokens.saturating_add(amount.tokens.min(MOST_TOKENS));
        }
        self.now
    }

    /// Gives back what was taken in a second, if that second still counts.
    pub(super) fn give_back(&mut self, second: u64, amount: Amount) {
        if self.now.saturating_sub(second) >= SLOTS {
            return;
        }
        let slot = &mut self.slots[(second % SLOTS) as usize];
        let back = Amount { requests: amount.requests.min(slot.requests), tokens: amount.tokens.min(slot.tokens) };
        *slot = less(*slot, back);
        self.sum = less(self.sum, back);
    }

    /// Whether nothing counts.
    pub(super) fn is_idle(&self) -> bool {
        self.sum == Amount::default()
    }
}
