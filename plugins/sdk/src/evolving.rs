//! What is made and computed in evaluators and mutators, with a host or without.

use crate::{Change, Edit, Measure, Metric, Proposal, Score};

impl Score {
    /// A score without a metric: one at least is needed.
    pub fn new() -> Self {
        Self { metrics: Vec::new(), remark: None, settings: Vec::new() }
    }

    /// With a metric: a name of a–z, 0–9 and `_`, each once, and a value in the range of its measure.
    pub fn metric(mut self, name: &str, measure: Measure, value: f64) -> Self {
        self.metrics.push(Metric { name: name.to_owned(), measure, value });
        self
    }

    /// Saying why, for whoever proposes something better: 4,096 bytes at most.
    pub fn remark(self, text: &str) -> Self {
        Self { remark: Some(text.to_owned()), ..self }
    }
}

impl Default for Score {
    fn default() -> Self {
        Self::new()
    }
}

impl Proposal {
    /// A proposal without an edit, for this reason: a code, the n-th of [`Mutator::REASONS`] from 1. One edit at
    /// least is needed.
    ///
    /// [`Mutator::REASONS`]: crate::Mutator::REASONS
    pub fn new(reason: u32) -> Self {
        Self { edits: Vec::new(), reason, remark: None, settings: Vec::new() }
    }

    /// With a change of a slot's text, as it is shown.
    pub fn edit(mut self, slot: &str, change: Change) -> Self {
        self.edits.push(Edit { slot: slot.to_owned(), change });
        self
    }

    /// Saying why in words: 4,096 bytes at most.
    pub fn remark(self, text: &str) -> Self {
        Self { remark: Some(text.to_owned()), ..self }
    }
}

/// The n-th draw of a seed, in [0, 1): the same as in a script.
pub fn draw(seed: u64, n: u64) -> f64 {
    let mut bits = seed.wrapping_add(n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^= bits >> 31;
    (bits >> 11) as f64 / (1u64 << 53) as f64
}
