//! Replays a policy over records: what it would have done, and what can be said of what would have come
//! of it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use kairos_pipeline::policy::{PolicyError, Undecided};
use kairos_pipeline::record::Given;
use kairos_pipeline::routers;
use kairos_store::records::{Question, Reader, RecordsError, Row};
use serde_json::Value;

use super::compare::{self, Actions, Known, MOST_WEIGHT, Outcome, Then, Weighed, actions, number};
use super::estimate::{Estimate, Sample, Simple, estimate};
use super::past::{Arms, Decider, Past};

/// Which records.
pub(crate) struct Selection {
    /// Those that came at this time or later, in milliseconds since 1970.
    pub(crate) since_ms: u64,
    /// Only of this key.
    pub(crate) key: Option<String>,
    /// Only of this task.
    pub(crate) task: Option<String>,
    /// So many at most: the first.
    pub(crate) most: usize,
}

/// What of an outcome is compared.
pub(crate) const MEASURES: [&str; 3] = ["cost", "errors", "latency"];

/// What the replay found.
#[derive(Default)]
pub(crate) struct Report {
    /// When the first and the last of the records came, in milliseconds since 1970.
    pub(crate) first_ms: Option<u64>,
    pub(crate) last_ms: u64,
    /// Records with a decision that was made again.
    pub(crate) replayed: usize,
    /// Of them: the same is done.
    pub(crate) same: usize,
    /// Another order behind the same first model, or other limits.
    pub(crate) same_first: usize,
    /// Another model is most likely first.
    pub(crate) other_first: usize,
    /// No model is tried now.
    pub(crate) refused: usize,
    /// How often the policy did not decide now, and the native default did, by why.
    pub(crate) undecided: BTreeMap<&'static str, usize>,
    /// Records whose decision could not be made again, by why.
    pub(crate) not_replayed: BTreeMap<String, usize>,
    /// Requests that ended before a policy was asked.
    pub(crate) never_asked: usize,
    /// How often one model gives way to another as first, the most frequent first.
    pub(crate) changes: Vec<((String, String), usize)>,
    /// Records of which what would have come is the same, or known.
    pub(crate) observed: usize,
    /// Records of which it is estimated.
    pub(crate) estimated: usize,
    /// Records that the estimate counts as much as.
    pub(crate) effective: f64,
    /// Records of which it is unknown.
    pub(crate) unknown: usize,
    /// For each measure: the estimate for the records that are estimated.
    pub(crate) estimates: [Option<Estimate>; 3],
    /// For cost and errors: within what the mean difference over the unknown records lies.
    pub(crate) unknown_bounds: [(f64, f64); 2],
    /// The same over all replayed records; none where what is to be estimated cannot be.
    pub(crate) all: [Option<(f64, f64)>; 2],
    /// Cost at the recorded numbers of tokens: of the models that were first, and of those that are now.
    pub(crate) projected: (f64, f64),
}

/// What a record brought, to be learned once it had ended.
struct Ended {
    model: Arc<str>,
    task: String,
    seen: [f64; 3],
}

/// Replays.
pub(crate) struct Replay {
    decider: Decider,
    past: Past,
    native: Decider,
    report: Report,
    simple: [Simple; 3],
    /// By when they ended, and their place.
    pending: BTreeMap<(u64, usize), Ended>,
    samples: [Vec<Sample>; 3],
    weights: (f64, f64),
    /// Sums of what is known exactly, and of what lies within bounds, for cost and errors.
    known: [f64; 2],
    unknown: [(f64, f64); 2],
    changes: HashMap<(String, String), usize>,
}

impl Replay {
    /// Of this policy. The past has what was in place, where the other arm of an experiment decided.
    pub(crate) fn of(decider: Decider, past: Past) -> Self {
        Self {
            decider,
            past,
            native: Decider::Native(routers::Task::default()),
            report: Report::default(),
            simple: Default::default(),
            pending: BTreeMap::new(),
            samples: Default::default(),
            weights: (0.0, 0.0),
            known: [0.0; 2],
            unknown: [(0.0, 0.0); 2],
            changes: HashMap::new(),
        }
    }

    /// Replays over all that is selected. `progress` is told how many records were read.
    pub(crate) fn run(
        mut self,
        reader: &mut Reader,
        selection: &Selection,
        mut progress: impl FnMut(usize),
    ) -> Result<Report, RecordsError> {
        let mut read = 0;
        let is = |wanted: &Option<String>, value: &Value| wanted.as_deref().is_none_or(|wanted| value == wanted);
        reader.each(selection.since_ms, |row| {
            if is(&selection.key, &row.body["key"]) && is(&selection.task, &row.body["task"]) {
                self.one(row);
                read += 1;
                progress(read);
            }
            read < selection.most
        })?;
        Ok(self.finish())
    }

    fn one(&mut self, mut row: Row) {
        let outcome = Outcome::of(&row);
        self.report.first_ms.get_or_insert(row.at_ms);
        self.report.last_ms = row.at_ms;
        let Some(asked) = row.asked.take() else {
            self.report.never_asked += 1;
            return;
        };
        let mut question = match asked {
            Ok(question) => question,
            Err(why) => return self.not_replayed(why),
        };
        self.learn(row.at_ms);
        let given = match self.decide(&mut question) {
            Ok(given) => given,
            Err(why) => return self.not_replayed(why),
        };
        let order = tried(&row.body, &question);
        let (now, own) = (actions(&given, &question), actions(&question.given, &question));
        let possible = self.either_arm(&row.body["decision"]["experiment"], &own, &mut question);
        let then = Then { possible: possible.as_ref().unwrap_or(&own), taken: compare::taken(&own, &order) };
        let known = compare::compare(&now, &then, &question, &outcome);
        self.count(&now, &own, &question, &known);
        self.project(&now, &order, &question, &row.body);
        let task = row.body["task"].as_str().unwrap_or_default().to_owned();
        match known {
            Known::Observed => {}
            Known::Refused => {
                self.known[0] -= outcome.cost;
                self.known[1] += 1.0 - outcome.error;
            }
            Known::Estimated(weighed) => self.sample(&weighed, &question, &task, &outcome),
            Known::Unknown => {
                for (sum, bounds) in self.unknown.iter_mut().zip(compare::bounds(&now, &question, &outcome)) {
                    *sum = (sum.0 + bounds.0, sum.1 + bounds.1);
                }
            }
        }
        if let Some(first) = order.first().filter(|_| !outcome.left) {
            let model = Arc::clone(&question.request.model_ids[*first as usize]);
            let ended = Ended { model, task, seen: [outcome.cost, outcome.error, outcome.latency] };
            let end_ms = row.at_ms.saturating_add(outcome.latency as u64);
            self.pending.insert((end_ms, self.report.replayed), ended);
        }
    }

    /// What the policy does now; what the native default does where it does not decide.
    fn decide(&mut self, question: &mut Question) -> Result<Given, String> {
        let decided = self.decider.decide(question);
        if question.was_withheld() {
            let kept = if question.redacted { "kept redacted only" } else { "not kept" };
            return Err(format!("the policy reads what was said, and that is {kept}"));
        }
        if let Some(why) = question.lacks_reads() {
            return Err(format!("the policy reads what was learned, and not all of it is kept: {why}"));
        }
        let why = match decided {
            Ok(given) => return Ok(given),
            Err(PolicyError::NotRun(why)) => return Err(why),
            Err(error) => Undecided::of(&error),
        };
        *self.report.undecided.entry(why.name()).or_default() += 1;
        self.native.decide(question).map_err(|error| format!("the native default failed: {error}"))
    }

    /// What could have been done with a request of an experiment, whose arm was drawn for it alone. None
    /// where it was part of none, or where what the other arm does cannot be known: then what its own arm
    /// does is all that could.
    fn either_arm(&mut self, experiment: &Value, own: &Actions, question: &mut Question) -> Option<Actions> {
        let (id, share) = (experiment["id"].as_i64()?, experiment["share"].as_f64()?);
        if experiment["unit"].is_string() {
            return None;
        }
        let Arms { baseline, canary } = self.past.arms(id)?;
        let in_canary = experiment["arm"] == "canary";
        let (policy, setting) = if in_canary { &baseline } else { &canary };
        let given = self.past.policy(policy, setting).ok()?.decide(question);
        if question.was_withheld() || question.lacks_reads().is_some() {
            return None;
        }
        let given = match given {
            Ok(given) => given,
            Err(PolicyError::NotRun(_)) => return None,
            Err(_) => self.native.decide(question).ok()?,
        };
        let other = actions(&given, question);
        let (baseline, canary) = if in_canary { (other, own.clone()) } else { (own.clone(), other) };
        Some(compare::mixed(baseline, canary, share))
    }

    fn not_replayed(&mut self, why: String) {
        *self.report.not_replayed.entry(why).or_default() += 1;
    }

    /// The simple model knows what had ended before a request came.
    fn learn(&mut self, at_ms: u64) {
        while let Some(first) = self.pending.first_entry().filter(|first| first.key().0 <= at_ms) {
            let Ended { model, task, seen } = first.remove();
            for (simple, seen) in self.simple.iter_mut().zip(seen) {
                simple.learn(&model, &task, seen);
            }
        }
    }

    fn count(&mut self, now: &Actions, then: &Actions, question: &Question, known: &Known) {
        let report = &mut self.report;
        report.replayed += 1;
        match known {
            Known::Observed | Known::Refused => report.observed += 1,
            Known::Estimated(_) => report.estimated += 1,
            Known::Unknown => report.unknown += 1,
        }
        let (first_now, first_then) = (likeliest(now, question), likeliest(then, question));
        match (&first_now, &first_then) {
            (None, Some(_)) => report.refused += 1,
            _ if now == then => report.same += 1,
            (now, then) if now == then => report.same_first += 1,
            _ => report.other_first += 1,
        }
        if first_now != first_then {
            let named = |first: Option<String>| first.unwrap_or_else(|| "refused".to_owned());
            *self.changes.entry((named(first_then), named(first_now))).or_default() += 1;
        }
    }

    fn sample(&mut self, weighed: &[Weighed], question: &Question, task: &str, outcome: &Outcome) {
        let Some(taken) = weighed.iter().position(|one| one.is_taken) else { return };
        let weight = weighed[taken].now / weighed[taken].then;
        self.weights = (self.weights.0 + weight, self.weights.1 + weight * weight);
        let seen = [outcome.cost, outcome.error, outcome.latency];
        for ((samples, simple), observed) in self.samples.iter_mut().zip(&self.simple).zip(seen) {
            let brings = |one: &Weighed| simple.expects(&question.request.model_ids[one.first as usize], task);
            let actions = weighed.iter().map(|one| (one.now, one.then, brings(one))).collect();
            samples.push(Sample { observed, actions, taken });
        }
    }

    /// Cost at the numbers of tokens of the attempt that answered.
    fn project(&mut self, now: &Actions, order: &[u32], question: &Question, body: &Value) {
        let answered =
            body["attempts"].as_array().and_then(|attempts| attempts.last()).filter(|one| one["status"] == "ok");
        let Some(usage) = answered.map(|one| &one["usage"]).filter(|usage| usage.is_object()) else { return };
        let cached = ["cache_read", "cache_write_5m", "cache_write_1h", "cache_write_unknown"];
        let input = number(&usage["input"]) + cached.into_iter().map(|kind| number(&usage[kind])).sum::<f64>();
        let cost = |model: u32| {
            let offer = &question.models[model as usize];
            (input * offer.input_price as f64 + number(&usage["output"]) * offer.output_price as f64) / 1e12
        };
        let Some(first) = order.first() else { return };
        let expected = now.iter().filter_map(|(action, chance)| Some(chance * cost(action.as_ref()?.order[0])));
        self.report.projected.0 += cost(*first);
        self.report.projected.1 += expected.sum::<f64>();
    }

    fn finish(self) -> Report {
        let Self { mut report, samples, weights, known, unknown, changes, .. } = self;
        report.estimates = samples.map(|samples| estimate(&samples, MOST_WEIGHT));
        report.effective = if weights.1 > 0.0 { weights.0 * weights.0 / weights.1 } else { 0.0 };
        let all = report.replayed.max(1) as f64;
        for measure in 0..2 {
            let of_unknown = report.unknown.max(1) as f64;
            report.unknown_bounds[measure] = (unknown[measure].0 / of_unknown, unknown[measure].1 / of_unknown);
            let estimated = match (report.estimated, report.estimates[measure]) {
                (0, _) => Some((0.0, 0.0)),
                (_, None) => None,
                (count, Some(found)) => Some((found.low * count as f64, found.high * count as f64)),
            };
            report.all[measure] = estimated.map(|(low, high)| {
                let exact = known[measure];
                ((exact + low + unknown[measure].0) / all, (exact + high + unknown[measure].1) / all)
            });
        }
        report.changes = changes.into_iter().collect();
        report.changes.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        report
    }
}

/// What was tried, as it was recorded, by index.
fn tried(body: &Value, question: &Question) -> Vec<u32> {
    let order = body["decision"]["order"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let index = |id: &str| question.request.model_ids.iter().position(|known| **known == *id);
    order.filter_map(|id| index(id).and_then(|index| u32::try_from(index).ok())).collect()
}

/// The model that is most likely first.
fn likeliest(actions: &Actions, question: &Question) -> Option<String> {
    let (action, _) = actions.iter().max_by(|a, b| a.1.total_cmp(&b.1))?;
    let first = *action.as_ref()?.order.first()?;
    Some(question.request.model_ids[first as usize].to_string())
}
