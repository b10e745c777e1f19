//! Counts of what one invocation used.
//!
//! It must not know what any of it costs.

use crate::catalogue::{Kind, Piece};

/// Tokens by kind. `input` leaves out what was read from or written to the prompt cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) input: u32,
    pub(crate) output: u32,
    pub(crate) cache_read: u32,
    pub(crate) cache_write_5m: u32,
    pub(crate) cache_write_1h: u32,
    /// What is no token.
    pub(crate) pieces: [u32; Piece::ALL.len()],
}

impl Usage {
    /// Everything the model was given, cached or not.
    pub(crate) fn tokens_in(&self) -> u32 {
        self.input.saturating_add(self.cache_read).saturating_add(self.cache_write())
    }

    pub(crate) fn cache_write(&self) -> u32 {
        self.cache_write_5m.saturating_add(self.cache_write_1h)
    }

    pub(crate) fn of_piece(&self, piece: Piece) -> u32 {
        self.pieces[piece as usize]
    }

    pub(crate) fn add(&mut self, piece: Piece, count: u32) {
        let sum = &mut self.pieces[piece as usize];
        *sum = sum.saturating_add(count);
    }

    pub(crate) fn of(&self, kind: Kind) -> u32 {
        match kind {
            Kind::Input => self.input,
            Kind::Output => self.output,
            Kind::CacheRead => self.cache_read,
            Kind::CacheWrite5m => self.cache_write_5m,
            Kind::CacheWrite1h => self.cache_write_1h,
        }
    }
}

/// Text units a guardrail assessed, by policy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct GuardUnits {
    pub(crate) topic: u32,
    pub(crate) content: u32,
    pub(crate) sensitive: u32,
}

impl GuardUnits {
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            topic: self.topic.saturating_add(other.topic),
            content: self.content.saturating_add(other.content),
            sensitive: self.sensitive.saturating_add(other.sensitive),
        }
    }
}
