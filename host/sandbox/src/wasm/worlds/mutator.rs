//! A mutator's call: the genome and the evidence that it is shown, and its proposals.

use std::sync::Arc;

use kairos_pipeline::genome::{Change, Edit, Genome, Proposal, numbers};
use kairos_pipeline::policy::{Answer, Evidence, ProposeInput, Summary, Weakness, part};
use wasmtime::component::Resource;
use wasmtime::{Result, Store};

use super::super::bindings::kairos::plugin::genomes;
use super::super::bindings::mutating;
use super::super::host::{EvidenceHandle, GenomeHandle};
use super::super::typed::{Exported, Function};
use super::evaluator::{bytes, measure, metric};
use super::{Evolving, HostState, PluginError};

/// `propose`, as the contract has it.
pub(in super::super) struct Judgement;

impl Function for Judgement {
    const INTERFACE: &'static str = "kairos:plugin/mutating@0.1.0";
    const NAME: &'static str = "propose";
    type Parameters<'a> = (Resource<GenomeHandle>, Resource<EvidenceHandle>, u64);
    type Answer = std::result::Result<Vec<mutating::Proposal>, PluginError>;
}

pub(super) fn ask(
    exported: &Exported<Judgement>,
    store: &mut Store<HostState>,
    input: ProposeInput<'_>,
) -> Result<Result<Answer, PluginError>> {
    store.data_mut().evolving = Some(Evolving::Genome((Arc::clone(input.genome), Arc::clone(input.evidence))));
    // There is one of each in a call: the handles need no table to be found by.
    let proposed = exported.call(store, (Resource::new_borrow(0), Resource::new_borrow(0), input.seed));
    store.data_mut().evolving = None;
    Ok(proposed?.map(|proposals| Answer::Proposals(proposals.into_iter().map(proposal).collect())))
}

fn proposal(proposal: mutating::Proposal) -> Proposal {
    let mutating::Proposal { edits, reason, remark, settings } = proposal;
    let edit = |edit: mutating::Edit| Edit {
        slot: edit.slot,
        change: match edit.change {
            mutating::Change::Replace(text) => Change::Replace(text),
            mutating::Change::Passage((find, new)) => Change::Passage(find, new),
            mutating::Change::Number((start, value)) => Change::Number(start, value),
        },
    };
    Proposal { edits: edits.into_iter().map(edit).collect(), reason, remark, settings }
}

impl HostState {
    fn genome(&self) -> Result<&(Arc<Genome>, Arc<Evidence>)> {
        match &self.evolving {
            Some(Evolving::Genome(at_hand)) => Ok(at_hand),
            _ => Err(wasmtime::Error::msg("a genome was asked for outside of a call")),
        }
    }

    fn weakness_at(&self, index: u32) -> Result<Option<&Weakness>> {
        Ok(self.genome()?.1.weaknesses.get(index as usize))
    }
}

impl genomes::Host for HostState {}

impl genomes::HostGenome for HostState {
    fn slots(&mut self, _: Resource<GenomeHandle>) -> Result<Vec<(String, u32)>> {
        Ok(self.genome()?.0.slots().map(|(slot, text)| (slot.to_owned(), bytes(text))).collect())
    }

    fn text(&mut self, _: Resource<GenomeHandle>, slot: String, start: u32) -> Result<Option<String>> {
        Ok(self.genome()?.0.text(&slot).map(|text| part(text, start).to_owned()))
    }

    fn numbers(&mut self, _: Resource<GenomeHandle>, slot: String) -> Result<Vec<genomes::Number>> {
        let found = self.genome()?.0.text(&slot).map(numbers).unwrap_or_default();
        let number = |one: kairos_pipeline::genome::Number| genomes::Number {
            start: one.start,
            end: one.end,
            value: one.value,
            whole: one.whole,
        };
        Ok(found.into_iter().map(number).collect())
    }

    fn drop(&mut self, _: Resource<GenomeHandle>) -> Result<()> {
        Ok(())
    }
}

impl genomes::HostEvidence for HostState {
    fn summary(&mut self, _: Resource<EvidenceHandle>) -> Result<Vec<genomes::Summary>> {
        let one = |Summary { name, measure: kind, mean, n }: &Summary| genomes::Summary {
            name: name.clone(),
            measure: measure(*kind),
            mean: *mean,
            n: *n,
        };
        Ok(self.genome()?.1.summary.iter().map(one).collect())
    }

    fn weaknesses(&mut self, _: Resource<EvidenceHandle>) -> Result<u32> {
        Ok(u32::try_from(self.genome()?.1.weaknesses.len()).unwrap_or(u32::MAX))
    }

    fn weakness(&mut self, _: Resource<EvidenceHandle>, index: u32) -> Result<Option<genomes::Weakness>> {
        Ok(self.weakness_at(index)?.map(|weakness| genomes::Weakness {
            id: weakness.id.clone(),
            task: weakness.task.clone(),
            remark: weakness.remark.clone(),
            metrics: weakness.metrics.iter().map(metric).collect(),
        }))
    }

    fn prompt(&mut self, _: Resource<EvidenceHandle>, index: u32, start: u32) -> Result<String> {
        Ok(self.weakness_at(index)?.map(|weakness| part(&weakness.prompt, start).to_owned()).unwrap_or_default())
    }

    fn answer(&mut self, _: Resource<EvidenceHandle>, index: u32, start: u32) -> Result<String> {
        Ok(self.weakness_at(index)?.map(|weakness| part(&weakness.answer, start).to_owned()).unwrap_or_default())
    }

    fn notes(&mut self, _: Resource<EvidenceHandle>) -> Result<Vec<String>> {
        Ok(self.genome()?.1.notes.clone())
    }

    fn drop(&mut self, _: Resource<EvidenceHandle>) -> Result<()> {
        Ok(())
    }
}
