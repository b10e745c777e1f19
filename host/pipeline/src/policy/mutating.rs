//! What a mutator is shown, and what it proposes: `genomes` and `mutating` in the contract.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::evaluating::metric_name;
use super::{Identity, MOST_METRICS, MOST_REMARK, Measure, Metric, Outside, PolicyError};
use crate::genome::{Genome, Proposal};

/// Cases that went badly, which a mutator is told of.
pub const MOST_WEAKNESSES: usize = 256;
/// Notes that a mutator is given.
pub const MOST_NOTES: usize = 32;

/// A metric over all cases that have it. See `summary` in the contract.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the contract documents each field")]
pub struct Summary {
    pub name: String,
    pub measure: Measure,
    pub mean: f64,
    pub n: u32,
}

/// A case that went badly. See `weakness` in the contract.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs, reason = "the contract documents each field")]
pub struct Weakness {
    pub id: String,
    pub task: Option<String>,
    pub prompt: String,
    pub answer: String,
    pub remark: Option<String>,
    pub metrics: Vec<Metric>,
}

/// What is known of a genome's fitness.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs, reason = "the contract documents each field")]
pub struct Evidence {
    pub summary: Vec<Summary>,
    pub weaknesses: Vec<Weakness>,
    pub notes: Vec<String>,
}

impl Evidence {
    /// Says what is not within the contract's bounds.
    pub fn check(&self) -> Result<(), String> {
        let bounded = |what: &str, count: usize, most: usize| match count <= most {
            true => Ok(()),
            false => Err(format!("there are {count} {what}; {most} are allowed")),
        };
        bounded("metrics", self.summary.len(), MOST_METRICS)?;
        bounded("weaknesses", self.weaknesses.len(), MOST_WEAKNESSES)?;
        bounded("notes", self.notes.len(), MOST_NOTES)?;
        let mut names = BTreeSet::new();
        for Summary { name, measure, mean, n } in &self.summary {
            metric_name(name)?;
            if !measure.holds_mean(*mean) || *n == 0 {
                return Err(format!("the metric {name}: its mean is {mean}, over {n} cases"));
            }
            if !names.insert(name) {
                return Err(format!("the metric {name} is there twice"));
            }
        }
        for weakness in &self.weaknesses {
            bounded("metrics of a weakness", weakness.metrics.len(), MOST_METRICS)?;
            weakness.metrics.iter().try_for_each(Metric::check)?;
        }
        let remarks = self.weaknesses.iter().filter_map(|weakness| weakness.remark.as_ref());
        match self.notes.iter().chain(remarks).find(|text| text.len() > MOST_REMARK) {
            Some(text) => Err(format!("a note or remark has {} bytes; {MOST_REMARK} are allowed", text.len())),
            None => Ok(()),
        }
    }
}

/// What an operator lets mutators propose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MutatorBounds {
    /// Proposals of a call.
    pub proposals: usize,
    /// Bytes of a slot's text.
    pub text_bytes: usize,
}

impl Default for MutatorBounds {
    fn default() -> Self {
        Self { proposals: 16, text_bytes: 262_144 }
    }
}

/// All that a mutator is asked with.
#[derive(Clone, Copy, Debug)]
pub struct ProposeInput<'a> {
    /// What it begins with.
    pub genome: &'a Arc<Genome>,
    /// What is known of its fitness.
    pub evidence: &'a Arc<Evidence>,
    /// The only randomness.
    pub seed: u64,
    /// What it may propose.
    pub bounds: MutatorBounds,
    /// Whom it may call.
    pub outside: &'a Arc<dyn Outside>,
}

impl ProposeInput<'_> {
    /// Says what is not valid about proposals, whatever may come of them.
    pub fn check(&self, proposals: &[Proposal], policy: &Identity) -> Result<(), String> {
        let (count, most) = (proposals.len(), self.bounds.proposals);
        if count > most {
            return Err(format!("there are {count} proposals; {most} are allowed ([mutator] proposals)"));
        }
        for (place, proposal) in proposals.iter().enumerate() {
            proposal.check(policy).map_err(|wrong| format!("proposal {place}: {wrong}"))?;
        }
        Ok(())
    }
}

/// Something that proposes what might be better. Synchronous; never on a request's way.
pub trait Mutator: Send + Sync {
    /// Who proposes.
    fn identity(&self) -> &Identity;

    /// Proposes. What is proposed is checked by the caller.
    fn propose(&self, input: ProposeInput<'_>) -> Result<Vec<Proposal>, PolicyError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evidence_out_of_bounds_is_told() {
        let summary = |name: &str, mean, n| Summary { name: name.to_owned(), measure: Measure::Quality, mean, n };
        let with = |summary| Evidence { summary, ..Evidence::default() };
        let weak = |change: fn(&mut Weakness)| {
            let mut weakness = Weakness::default();
            change(&mut weakness);
            Evidence { weaknesses: vec![weakness], ..Evidence::default() }
        };
        for (evidence, says) in [
            (with(vec![summary("q", 0.5, 1); 33]), "33 metrics"),
            (with(vec![summary("q", 0.5, 1); 2]), "q is there twice"),
            (with(vec![summary("q", 1.5, 1)]), "its mean is 1.5"),
            (with(vec![summary("q", 0.5, 0)]), "over 0 cases"),
            (Evidence { weaknesses: vec![Weakness::default(); 257], ..Evidence::default() }, "257 weaknesses"),
            (Evidence { notes: vec![String::new(); 33], ..Evidence::default() }, "33 notes"),
            (Evidence { notes: vec!["x".repeat(4_097)], ..Evidence::default() }, "4097 bytes"),
            (weak(|weakness| weakness.remark = Some("x".repeat(4_097))), "4097 bytes"),
            (
                weak(|weakness| {
                    weakness.metrics = vec![Metric { name: "q".into(), measure: Measure::Safety, value: 2.0 }];
                }),
                "q is 2",
            ),
        ] {
            let error = evidence.check().unwrap_err();
            assert!(error.contains(says), "{error}");
        }
        assert_eq!(Evidence::default().check(), Ok(()));
    }
}
