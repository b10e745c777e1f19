//! An evaluator's call: the case and the outcome that it judges, and its score.

use std::sync::Arc;

use kairos_pipeline::policy::{Answer, Case, CaseEnding, CaseOutcome, Measure, Metric, Score, ScoreInput, part};
use wasmtime::component::Resource;
use wasmtime::{Result, Store};

use super::super::bindings::kairos::plugin::{cases, fitness};
use super::super::bindings::{evaluating, same_order};
use super::super::host::{CaseHandle, OutcomeHandle};
use super::super::typed::{Exported, Function};
use super::{Evolving, HostState, PluginError, failure_kind};

/// `score`, as the contract has it.
pub(in super::super) struct Judgement;

impl Function for Judgement {
    const INTERFACE: &'static str = "kairos:plugin/evaluating@0.1.0";
    const NAME: &'static str = "score";
    type Parameters<'a> = (Resource<CaseHandle>, Resource<OutcomeHandle>);
    type Answer = std::result::Result<evaluating::Scores, PluginError>;
}

pub(super) fn ask(
    exported: &Exported<Judgement>,
    store: &mut Store<HostState>,
    input: ScoreInput<'_>,
) -> Result<Result<Answer, PluginError>> {
    store.data_mut().evolving = Some(Evolving::Case((Arc::clone(input.case), Arc::clone(input.outcome))));
    // There is one of each in a call: the handles need no table to be found by.
    let scored = exported.call(store, (Resource::new_borrow(0), Resource::new_borrow(0)));
    store.data_mut().evolving = None;
    Ok(scored?.map(|score| Answer::Score(Box::new(self::score(score)))))
}

fn score(score: evaluating::Scores) -> Score {
    let evaluating::Scores { metrics, remark, settings } = score;
    let metric = |metric: fitness::Metric| Metric {
        name: metric.name,
        measure: Measure::ALL[metric.measure as usize],
        value: metric.value,
    };
    Score { metrics: metrics.into_iter().map(metric).collect(), remark, settings }
}

/// A metric, as components see it.
pub(super) fn metric(metric: &Metric) -> fitness::Metric {
    fitness::Metric { name: metric.name.clone(), measure: measure(metric.measure), value: metric.value }
}

pub(super) fn measure(measure: Measure) -> fitness::Measure {
    same_order!(measure, fitness::Measure, [Quality, Safety, Cost, Latency, Share, Count])
}

impl HostState {
    fn case(&self) -> Result<&(Arc<Case>, Arc<CaseOutcome>)> {
        match &self.evolving {
            Some(Evolving::Case(at_hand)) => Ok(at_hand),
            _ => Err(wasmtime::Error::msg("a case was asked for outside of a call")),
        }
    }
}

/// Bytes of a text, as components count them.
pub(super) fn bytes(text: &str) -> u32 {
    u32::try_from(text.len()).unwrap_or(u32::MAX)
}

impl fitness::Host for HostState {}

impl cases::Host for HostState {}

impl cases::HostCase for HostState {
    fn id(&mut self, _: Resource<CaseHandle>) -> Result<String> {
        Ok(self.case()?.0.id.clone())
    }

    fn task(&mut self, _: Resource<CaseHandle>) -> Result<Option<String>> {
        Ok(self.case()?.0.task.clone())
    }

    fn prompt_bytes(&mut self, _: Resource<CaseHandle>) -> Result<u32> {
        Ok(bytes(&self.case()?.0.prompt))
    }

    fn prompt(&mut self, _: Resource<CaseHandle>, start: u32) -> Result<String> {
        Ok(part(&self.case()?.0.prompt, start).to_owned())
    }

    fn expected(&mut self, _: Resource<CaseHandle>) -> Result<Option<String>> {
        Ok(self.case()?.0.expected.as_deref().map(|text| part(text, 0).to_owned()))
    }

    fn member(&mut self, _: Resource<CaseHandle>, name: String) -> Result<Option<String>> {
        Ok(self.case()?.0.member(&name).map(str::to_owned))
    }

    fn qualities(&mut self, _: Resource<CaseHandle>) -> Result<Vec<(String, f64)>> {
        Ok(self.case()?.0.qualities.clone())
    }

    fn drop(&mut self, _: Resource<CaseHandle>) -> Result<()> {
        Ok(())
    }
}

impl cases::HostOutcome for HostState {
    fn ending(&mut self, _: Resource<OutcomeHandle>) -> Result<cases::Ending> {
        Ok(match self.case()?.1.ending {
            CaseEnding::Answered => cases::Ending::Answered,
            CaseEnding::Failed(kind) => cases::Ending::Failed(failure_kind(kind)),
            CaseEnding::Refused => cases::Ending::Refused,
        })
    }

    fn model(&mut self, _: Resource<OutcomeHandle>) -> Result<Option<String>> {
        Ok(self.case()?.1.model.clone())
    }

    fn text_bytes(&mut self, _: Resource<OutcomeHandle>) -> Result<u32> {
        Ok(bytes(&self.case()?.1.text))
    }

    fn text(&mut self, _: Resource<OutcomeHandle>, start: u32) -> Result<String> {
        Ok(part(&self.case()?.1.text, start).to_owned())
    }

    fn quality(&mut self, _: Resource<OutcomeHandle>) -> Result<Option<f64>> {
        Ok(self.case()?.1.quality)
    }

    fn cost(&mut self, _: Resource<OutcomeHandle>) -> Result<Option<u64>> {
        Ok(self.case()?.1.cost)
    }

    fn input_tokens(&mut self, _: Resource<OutcomeHandle>) -> Result<Option<u32>> {
        Ok(self.case()?.1.input_tokens)
    }

    fn output_tokens(&mut self, _: Resource<OutcomeHandle>) -> Result<Option<u32>> {
        Ok(self.case()?.1.output_tokens)
    }

    fn latency_ms(&mut self, _: Resource<OutcomeHandle>) -> Result<Option<u32>> {
        Ok(self.case()?.1.latency_ms)
    }

    fn drop(&mut self, _: Resource<OutcomeHandle>) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measures_are_in_the_contracts_order() {
        for each in Measure::ALL {
            assert_eq!(format!("{:?}", measure(each)), format!("Measure::{each:?}"));
        }
    }
}
