//! Asks a policy what its tests ask.

use std::sync::Arc;

use kairos_pipeline::policy::Identity;

use super::expect::Names;
use super::worlds::guard;
use super::{Case, Outcome};
use crate::aside::Judging;
use crate::deadline::Meter;
use crate::generation::{Engine, Manner};
use crate::limits::Limits;
use crate::question::{OwnedQuestion, Proposed, Scored, What};
use crate::refusal::{Reason, Refusal};

/// A policy with the configuration of a test, as JSON.
pub(crate) type Configured<'a> = dyn Fn(&str) -> Result<Arc<Engine>, Refusal> + 'a;

/// Runs tests in their order; `line` finds the line of an offset.
pub(super) fn run(
    cases: &[Case],
    identity: &Identity,
    limits: &Limits,
    configured: &Configured<'_>,
    line: impl Fn(usize) -> usize,
) -> Result<Vec<Outcome>, Refusal> {
    // Nobody waits for a test: it is the CPU that counts.
    let mut meter = Meter::start_on_trial(limits.test_time);
    let mut ready: Option<(&str, Arc<Engine>)> = None;
    let mut outcomes = Vec::with_capacity(cases.len());
    for case in cases {
        let (config, engine) = match ready.take().filter(|(config, _)| *config == case.config) {
            Some(engine) => engine,
            None => (case.config.as_str(), configured(&case.config)?),
        };
        outcomes.push(ask(case, &engine, identity, line(case.at)));
        ready = Some((config, engine));
        if meter.is_over() && outcomes.len() < cases.len() {
            let (done, all, time) = (outcomes.len(), cases.len(), limits.test_time);
            let message = format!("its tests need more than {time:?} of CPU time: {done} of {all} were run");
            let hint = "the time is `test_seconds` under [policies] in kairos.toml";
            return Err(Refusal::new(Reason::FailedTests, message).hint(hint));
        }
    }
    Ok(outcomes)
}

fn ask(case: &Case, engine: &Arc<Engine>, identity: &Identity, line: usize) -> Outcome {
    let mut models = case.question.models.clone();
    case.catalogue.mark_names(&identity.model_names, &case.targets, &mut models);
    let marked = OwnedQuestion { models, ..case.question.clone() };
    let names = Names { ids: &marked.request.model_ids, identity };
    if let What::Inspect(inspected) = &marked.what {
        let judging = Judging::new(engine, identity, Manner::Test, &marked.request);
        let (wrong, answer) = match guard::judge(&judging, inspected) {
            Ok(released) => {
                (case.expected.wrong_with_text(&released, &names), guard::released_in_words(&released, &names))
            }
            Err(differs) => (vec![format!("cuts: the guard {differs}")], "the cuts of a text decide".to_owned()),
        };
        return Outcome { name: case.name.clone(), line, wrong, answer };
    }
    let question = marked.asked();
    let answer = engine.ask(question, Manner::Test);
    let mut wrong = case.expected.wrong_with(&question, &marked.what, &answer, &names);
    if let What::Score(Scored { outside, .. }) | What::Propose(Proposed { outside, .. }) = &marked.what {
        wrong.extend(outside.left_over());
    }
    if case.has_kv && identity.space().is_none() {
        wrong.push("kv: `describe` states no kv-schema, so the policy has no space: every key is absent".to_owned());
    }
    Outcome { name: case.name.clone(), line, wrong, answer: names.answer(&answer) }
}
