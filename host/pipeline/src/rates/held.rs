//! What an attempt holds of the limits a minute, and what becomes of it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use kairos_dialects::{Failure, Usage};

use super::window::{Amount, Limit, Room};
use super::{Of, Rates};
use crate::ledger::Ending;

/// What an attempt holds of the limits. Once it is dropped, what it used counts in that's place.
pub(crate) struct Held<'a> {
    rates: &'a Rates,
    covering: Vec<(Of, Limit)>,
    second: u64,
    pub(super) need: Amount,
    sent: AtomicBool,
    used: AtomicU64,
}

impl<'a> Held<'a> {
    pub(super) fn new(rates: &'a Rates, covering: Vec<(Of, Limit)>, second: u64, need: Amount) -> Self {
        Self { rates, covering, second, need, sent: AtomicBool::new(false), used: AtomicU64::new(need.tokens) }
    }

    /// Has it count from now on, where it has waited for something else since: Bedrock finds it now.
    pub(crate) fn renew(&mut self) -> Result<(), Failure> {
        let now_ms = self.rates.now_ms();
        let mut state = self.rates.state();
        let mut full = None;
        for (of, limit) in &self.covering {
            let Some(window) = state.windows.get_mut(of) else { continue };
            window.turn(now_ms);
            window.give_back(self.second, self.need);
            if window.room(limit, self.need) != Room::Now {
                full = full.or(Some(of.rate));
            }
        }
        match full {
            None => {
                self.second = state.take(&self.covering, self.need);
                Ok(())
            }
            Some(rate) => {
                let failure = self.rates.refuse(&mut state, rate, &self.covering, self.need, "late");
                // All of it is given back.
                self.covering.clear();
                Err(failure)
            }
        }
    }

    /// Says that it goes to Bedrock, and so counts as a request.
    pub(crate) fn mark_sent(&self) {
        self.sent.store(true, Ordering::Relaxed);
    }

    /// Says what it used, where that is known: what was not is taken for what it may have used.
    pub(crate) fn ended(&self, ending: &Ending, burndown: u32) {
        let used = match ending {
            Ending::Settled { usage, .. } | Ending::Estimated { usage: Some(usage), .. } => tokens(usage, burndown),
            Ending::Estimated { usage: None, .. } => return,
            Ending::Voided { .. } => 0,
        };
        self.used.store(used, Ordering::Relaxed);
    }
}

/// What counts against a quota: what is read from a prompt cache does not.
pub(super) fn tokens(usage: &Usage, burndown: u32) -> u64 {
    let written = usage.output.saturating_mul(u64::from(burndown));
    [usage.input, usage.cache_write_5m, usage.cache_write_1h, usage.cache_write_unknown]
        .into_iter()
        .fold(written, u64::saturating_add)
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let (sent, used) = (self.sent.load(Ordering::Relaxed), self.used.load(Ordering::Relaxed));
        let (requests, used) = if sent { (0, used) } else { (1, 0) };
        let back = Amount { requests, tokens: self.need.tokens.saturating_sub(used) };
        let more = Amount { requests: 0, tokens: used.saturating_sub(self.need.tokens) };
        if back == Amount::default() && more == back {
            return;
        }
        let now_ms = self.rates.now_ms();
        let mut state = self.rates.state();
        for (of, _) in &self.covering {
            if let Some(window) = state.windows.get_mut(of) {
                window.turn(now_ms);
                window.give_back(self.second, back);
                // What is more counts from now on: so Bedrock finds it.
                window.take(more);
            }
        }
        drop(state);
        self.rates.changed.notify_waiters();
    }
}
