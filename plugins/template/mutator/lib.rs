//! Says what went badly to whom the prompt is for: a line for the worst case, at the end of a slot. A proposal
//! for each slot that can be read in one part, as many as the gateway takes.

use kairos_plugin::{Change, Evidence, Genome, Host, Mutator, PluginError, Proposal, export};

struct MyPlugin;
export!(MyPlugin as mutator);

impl Mutator for MyPlugin {
    const NAME: &'static str = env!("CARGO_PKG_NAME");
    const REASONS: &'static [&'static str] = &["told-of-the-worst"];

    fn new(_config: &str) -> Result<Self, PluginError> {
        Ok(Self)
    }

    fn propose(
        &self,
        _: &Host,
        genome: &Genome,
        evidence: &Evidence,
        _seed: u64,
    ) -> Result<Vec<Proposal>, PluginError> {
        let remark = evidence.weakness(0).and_then(|worst| worst.remark).ok_or(PluginError::Declined)?;
        let proposal = |(slot, _): (String, u32)| {
            let text = genome.text(&slot, 0).unwrap_or_default();
            let text = format!("{text}\nTake care: {remark}.\n");
            Proposal::new(1).edit(&slot, Change::Replace(text)).remark(&remark)
        };
        Ok(genome.slots().into_iter().filter(|(_, bytes)| *bytes <= 32_768).take(16).map(proposal).collect())
    }
}

#[cfg(test)]
mod tests {
    use kairos_plugin::testing::{Evidence, Genome, Host};

    use super::*;

    #[test]
    fn without_a_worst_case_nothing_is_proposed() {
        let genome = Genome::default().slot("prompt", "Be kind.", Vec::new());
        let declined = MyPlugin.propose(&Host::default(), &genome, &Evidence::default(), 1);
        assert!(matches!(declined, Err(PluginError::Declined)));
    }
}
