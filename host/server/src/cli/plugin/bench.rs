//! `kairos plugin bench`, and the few calls that `check` measures.

use std::time::{Duration, Instant};

use kairos_pipeline::evaluators::Quality;
use kairos_pipeline::guards::Pii;
use kairos_pipeline::healers::{Backoff, BackoffBounds};
use kairos_pipeline::mutators::Numbers;
use kairos_pipeline::policy::{
    Answer, Evaluator as _, Guard as _, Healer as _, Mutator as _, PolicyError, Question, Router as _, World,
};
use kairos_pipeline::routers;
use kairos_sandbox::generation::Generation;
use kairos_sandbox::golden;
use serde::Serialize;

use super::super::gateway::print_json;
use super::super::{Failed, policy};
use super::{Given, check};

#[derive(Debug, clap::Args)]
pub(crate) struct Bench {
    #[command(flatten)]
    given: Given,
    /// How many calls are measured
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(100..=10_000_000))]
    calls: u32,
}

/// What calls took.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Cost {
    calls_per_second: f64,
    p50_ns: u64,
    p99_ns: u64,
    /// What `deadline_ms` must allow for.
    longest_ns: u64,
}

impl Bench {
    pub(super) fn run(self) -> Result<(), Failed> {
        let (project, loader) = self.given.project()?;
        let calls = self.calls;
        let measured = policy::on_a_loaders_thread(move || {
            let generation = check::load(&project, &loader)?;
            let label = generation.identity().label().to_string();
            let native = native(generation.world(), calls);
            Ok::<_, kairos_sandbox::refusal::Refusal>((label, plugin(&generation, calls), native))
        })?;
        let (label, plugin, native) =
            measured.map_err(|refusal| Failed::new(refusal.explain(&self.given.dir.display().to_string())))?;
        let (plugin, native) = (plugin?, native?);
        if self.given.json {
            let json = serde_json::json!({"policy": label, "calls": calls, "plugin": plugin, "native": native});
            return print_json(&json);
        }
        println!("{:<10}  {:>12}  {:>12}  {:>12}  {:>12}", "", "calls/s", "p50", "p99", "longest");
        for (name, cost) in [("plugin", Some(plugin)), ("native", native)] {
            let Some(cost) = cost else { continue };
            let [p50, p99, longest] = [cost.p50_ns, cost.p99_ns, cost.longest_ns].map(micros);
            println!("{name:<10}  {:>12.0}  {p50:>12}  {p99:>12}  {longest:>12}", cost.calls_per_second);
        }
        if cfg!(debug_assertions) {
            println!("  this kairos is built for debugging: one that is shipped is some times as fast");
        }
        Ok(())
    }
}

impl Cost {
    /// For people.
    pub(super) fn text(&self) -> String {
        format!("p50 {}, p99 {}", micros(self.p50_ns), micros(self.p99_ns))
    }
}

/// Nanoseconds, for people.
fn micros(nanos: u64) -> String {
    format!("{:.1} µs", nanos as f64 / 1e3)
}

/// So many calls of a policy.
pub(super) fn plugin(generation: &Generation, calls: u32) -> Result<Cost, Failed> {
    measure(generation.world(), calls, |question| generation.ask_silently(question))
}

/// So many calls of the native default of a world; none: there is no native observer.
fn native(world: World, calls: u32) -> Result<Option<Cost>, Failed> {
    let (router, healer) = (routers::Task::default(), Backoff::new(BackoffBounds::default()));
    let (guard, evaluator, mutator) = (Pii::default(), Quality::default(), Numbers::default());
    if world == World::Observer {
        return Ok(None);
    }
    let cost = measure(world, calls, |question| match question {
        Question::Route(input) => router.route(input).map(Answer::Plan),
        Question::Heal(input) => healer.heal(input).map(Answer::Remedy),
        Question::Inspect(input) => guard.inspect(input).map(Answer::Verdict),
        // There is none that is native: nothing changes.
        Question::Render(_) => Ok(Answer::Edits(Box::default())),
        Question::Observe(_) => Err(PolicyError::Declined),
        Question::Score(input) => evaluator.score(input).map(|score| Answer::Score(Box::new(score))),
        Question::Propose(input) => mutator.propose(input).map(Answer::Proposals),
    });
    cost.map(Some)
}

/// Calls that often, with the trial's questions in turn. A tenth of it goes before, unmeasured.
fn measure(
    world: World,
    calls: u32,
    call: impl Fn(Question<'_>) -> Result<Answer, PolicyError>,
) -> Result<Cost, Failed> {
    let questions = golden::questions(world);
    let mut times = Vec::with_capacity(calls as usize);
    for (place, question) in (0..calls + calls / 10).zip(questions.iter().cycle()) {
        let began = Instant::now();
        let answer = call(question.asked());
        let took = began.elapsed();
        if let Err(PolicyError::Fault(fault)) = answer {
            let message =
                format!("call {place}, with {}, failed: {}: {}", question.about, fault.kind.name(), fault.message);
            return Err(Failed::new(message));
        }
        if place >= calls / 10 {
            times.push(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
        }
    }
    let total: Duration = times.iter().map(|nanos| Duration::from_nanos(*nanos)).sum();
    times.sort_unstable();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100];
    let calls_per_second = times.len() as f64 / total.as_secs_f64().max(f64::MIN_POSITIVE);
    Ok(Cost { calls_per_second, p50_ns: at(50), p99_ns: at(99), longest_ns: at(100) })
}
