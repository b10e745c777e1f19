//! Other numbers, drawn: no model is needed. Defined in `policies/EVOLVING.md`, mutator `numbers`.

use kairos_plugin::{Change, Evidence, Genome, Host, Mutator, Number, PluginError, Proposal, draw, export};

struct Numbers;
export!(Numbers as mutator);

/// Proposals of a call.
const PROPOSALS: u64 = 4;
/// What a number is multiplied by.
const FACTORS: [f64; 4] = [0.5, 0.8, 1.25, 2.0];

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
    const NAME: &'static str = "numbers";
    const REASONS: &'static [&'static str] = &["scaled"];

    fn new(_config: &str) -> Result<Self, PluginError> {
        Ok(Self)
    }

    fn propose(&self, _: &Host, genome: &Genome, _: &Evidence, seed: u64) -> Result<Vec<Proposal>, PluginError> {
        let slots = genome.slots().into_iter().map(|(slot, _)| (genome.numbers(&slot), slot));
        let slots: Vec<_> = slots.filter(|(numbers, _)| !numbers.is_empty()).collect();
        if slots.is_empty() {
            return Err(PluginError::Declined);
        }
        let proposal = |place: u64| {
            let (numbers, slot) = &slots[pick(seed, place * 3, slots.len())];
            let number = &numbers[pick(seed, place * 3 + 1, numbers.len())];
            let factor = FACTORS[pick(seed, place * 3 + 2, FACTORS.len())];
            Proposal::new(1).edit(slot, Change::Number((number.start, scaled(number, factor))))
        };
        Ok((0..PROPOSALS).map(proposal).collect())
    }
}

#[cfg(test)]
mod tests {
    use kairos_plugin::testing::{Evidence, Genome, Host};

    use super::*;

    #[test]
    fn a_seed_says_which_number_is_scaled() {
        let number = Number { start: 3, end: 5, value: 20.0, whole: true };
        let genome = Genome::default().slot("prompt", "In 20 words.", vec![number]);
        let propose = |seed| Numbers.propose(&Host::default(), &genome, &Evidence::default(), seed).unwrap();
        let values = |seed| -> Vec<f64> {
            let one = |proposal: Proposal| match proposal.edits[0].change {
                Change::Number((3, value)) => value,
                _ => f64::NAN,
            };
            propose(seed).into_iter().map(one).collect()
        };
        assert_eq!(values(1), values(1));
        assert!((0..20).any(|seed| values(seed) != values(1)));
        assert!((0..20).flat_map(values).all(|value| [10.0, 16.0, 25.0, 40.0].contains(&value)));
        let bare = Genome::default().slot("prompt", "Be kind.", Vec::new());
        let declined = Numbers.propose(&Host::default(), &bare, &Evidence::default(), 1);
        assert!(matches!(declined, Err(PluginError::Declined)));
    }
}
