//! The native mutator: other numbers, drawn. It needs no model. Defined in `policies/EVOLVING.md`.

use std::sync::Arc;

use crate::genome::{Change, Edit, Number, Proposal, draw, numbers};
use crate::policy::{Identity, Mutator, PolicyError, ProposeInput};

/// Proposals of a call.
const PROPOSALS: u64 = 4;
/// What a number is multiplied by.
const FACTORS: [f64; 4] = [0.5, 0.8, 1.25, 2.0];

/// The mutator `numbers`.
#[derive(Debug)]
pub struct Numbers(Identity);

impl Default for Numbers {
    fn default() -> Self {
        let reasons = vec![(1, Arc::from("scaled"))];
        Self(Identity::new("numbers", env!("CARGO_PKG_VERSION"), reasons, Vec::new()))
    }
}

/// The n-th draw of so many.
fn pick(seed: u64, n: u64, of: usize) -> usize {
    (draw(seed, n) * of as f64) as usize
}

/// A number, scaled: another one each time, and none that could not stand there.
fn scaled(number: &Number, factor: f64) -> f64 {
    let value = number.value * factor;
    match number.whole {
        false if number.value == 0.0 => factor,
        false => value,
        true if number.value == 0.0 => 1.0,
        true if value.round() == number.value => number.value + 1.0,
        true => value.round(),
    }
}

impl Mutator for Numbers {
    fn identity(&self) -> &Identity {
        &self.0
    }

    fn propose(&self, input: ProposeInput<'_>) -> Result<Vec<Proposal>, PolicyError> {
        let with_numbers = |(slot, text)| Some((slot, numbers(text))).filter(|(_, numbers)| !numbers.is_empty());
        let slots: Vec<_> = input.genome.slots().filter_map(with_numbers).collect();
        if slots.is_empty() {
            return Err(PolicyError::Declined);
        }
        let proposal = |place: u64| {
            let (slot, numbers) = &slots[pick(input.seed, place * 3, slots.len())];
            let number = &numbers[pick(input.seed, place * 3 + 1, numbers.len())];
            let factor = FACTORS[pick(input.seed, place * 3 + 2, FACTORS.len())];
            let change = Change::Number(number.start, scaled(number, factor));
            Proposal { edits: vec![Edit { slot: (*slot).to_owned(), change }], reason: 1, ..Proposal::default() }
        };
        Ok((0..PROPOSALS).map(proposal).collect())
    }
}
