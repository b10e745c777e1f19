//! A version that is asked some of the questions that live requests ask, off their way: what it would
//! have decided is compared with what was decided, and never followed.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use kairos_pipeline::policy::{Answer, Identity, Plan, PolicyError, Question, RequestInfo, RouteInput, Shadow};
use serde::Serialize;

use crate::answered::Answered;
use crate::generation::Generation;
use crate::host::THREAD_STACK;

/// Questions that may wait; more are not asked, and counted.
const WAITING: usize = 64;
/// Differences that are kept.
const KEPT: usize = 100;

/// A version in shadow.
pub struct Watch {
    generation: Arc<Generation>,
    sample: f64,
    asked: AtomicU64,
    questions: SyncSender<Answered>,
    seen: Arc<Seen>,
}

/// What was seen of it.
#[derive(Default)]
struct Seen {
    dropped: AtomicU64,
    compared: Mutex<Compared>,
}

/// How it compares.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Compared {
    /// Questions that it decided as they were decided.
    pub agreed: u64,
    /// Questions that it decided otherwise.
    pub differed: u64,
    /// Questions on which it failed.
    pub failed: u64,
    /// Questions that were not asked, as too many waited or there was no place to run it in.
    pub not_asked: u64,
    /// The last differences and failures, the newest last.
    pub differences: VecDeque<Difference>,
}

/// One question that was decided otherwise. Nothing of the caller's words is in it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// What the request is about.
    pub task: &'static str,
    /// What was decided.
    pub decided: String,
    /// What the shadow would have decided.
    pub shadow: String,
}

impl Watch {
    /// Begins to watch. It ends when nobody has it any more.
    pub(crate) fn start(generation: Arc<Generation>, sample: f64) -> std::io::Result<Arc<Self>> {
        let (questions, receiver) = sync_channel(WAITING);
        let seen = Arc::<Seen>::default();
        let (asked, notes) = (Arc::clone(&generation), Arc::clone(&seen));
        thread::Builder::new().name("policy-shadow".to_owned()).stack_size(THREAD_STACK).spawn(move || {
            crate::follow::lower_priority();
            answer(&asked, &receiver, &notes);
        })?;
        Ok(Arc::new(Self { generation, sample, asked: AtomicU64::new(0), questions, seen }))
    }

    /// What is watched.
    pub fn generation(&self) -> &Arc<Generation> {
        &self.generation
    }

    /// The part of the questions that it is asked.
    pub fn sample(&self) -> f64 {
        self.sample
    }

    /// How it compares so far.
    pub fn compared(&self) -> Compared {
        let compared = self.seen.lock().clone();
        Compared { not_asked: compared.not_asked + self.seen.dropped.load(Ordering::Relaxed), ..compared }
    }
}

impl Shadow for Watch {
    fn identity(&self) -> &Identity {
        self.generation.identity()
    }

    fn wants(&self) -> bool {
        scattered(self.asked.fetch_add(1, Ordering::Relaxed)) < self.sample
    }

    fn ask(&self, input: RouteInput<'_>, given: &Result<Plan, PolicyError>) {
        let answered = Answered::new(Question::Route(input), given.clone().map(Answer::Plan));
        if self.questions.try_send(answered).is_err() {
            self.seen.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// A number in [0, 1) for each question, spread evenly: whatever part is taken, none of a run of
/// questions is much longer left out than another.
fn scattered(asked: u64) -> f64 {
    // The golden ratio, as a part of 2^64.
    (asked.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 11) as f64 / (1u64 << 53) as f64
}

impl Seen {
    fn lock(&self) -> MutexGuard<'_, Compared> {
        self.compared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Compared {
    fn keep(&mut self, difference: Difference) {
        if self.differences.len() >= KEPT {
            self.differences.pop_front();
        }
        self.differences.push_back(difference);
    }
}

/// Asks what comes, until nobody asks any more.
fn answer(generation: &Generation, questions: &Receiver<Answered>, seen: &Seen) {
    for asked in questions {
        let question = asked.question();
        // Only routers are asked beside another.
        let Some((features, models)) = question.about() else { continue };
        let request = question.request();
        let given = &asked.given.clone().and_then(Answer::plan);
        let answered = generation.ask_aside(question).and_then(Answer::plan);
        let answered = answered.and_then(|plan| plan.checked(models.len()));
        let mut compared = seen.lock();
        match &answered {
            Err(PolicyError::NotRun(_)) => {
                compared.not_asked += 1;
                continue;
            }
            Err(PolicyError::Fault(_)) => compared.failed += 1,
            _ if is_alike(&answered, given) => {
                compared.agreed += 1;
                continue;
            }
            _ => compared.differed += 1,
        }
        let (decided, shadow) = (in_words(given, request), in_words(&answered, request));
        compared.keep(Difference { task: features.task.name(), decided, shadow });
    }
}

/// Whether two answers let the same happen. Reasons may differ.
fn is_alike(one: &Result<Plan, PolicyError>, other: &Result<Plan, PolicyError>) -> bool {
    match (one, other) {
        (Ok(one), Ok(other)) => Plan { reason: 0, ..one.clone() } == Plan { reason: 0, ..other.clone() },
        (Err(PolicyError::Refused(_)), Err(PolicyError::Refused(_))) => true,
        (Err(one), Err(other)) => std::mem::discriminant(one) == std::mem::discriminant(other),
        _ => false,
    }
}

/// What an answer comes to.
fn in_words(answer: &Result<Plan, PolicyError>, request: &RequestInfo) -> String {
    let plan = match answer {
        Ok(plan) => plan,
        Err(error) => return error.to_string(),
    };
    let candidate = |candidate: &kairos_pipeline::policy::Candidate| {
        let model = request.model_ids.get(candidate.model as usize).map_or("?", |id| &**id);
        if (0.0..1.0).contains(&candidate.probability) && candidate.probability > 0.0 {
            return format!("{model} ({})", candidate.probability);
        }
        model.to_owned()
    };
    let mut words = plan.candidates.iter().map(candidate).collect::<Vec<_>>().join(", ");
    if let Some(most) = plan.max_output_tokens {
        words.push_str(&format!("; at most {most} tokens"));
    }
    if let Some(most) = plan.max_cost {
        words.push_str(&format!("; at most {most} picodollars"));
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_part_that_is_asked_is_spread_evenly() {
        for sample in [0.1, 0.25, 1.0] {
            let asked: Vec<u64> = (0..10_000).filter(|asked| scattered(*asked) < sample).collect();
            let expected = (10_000.0 * sample) as usize;
            assert!(asked.len().abs_diff(expected) <= 2, "{sample}: {}", asked.len());
            let longest = asked.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
            assert!(longest as f64 <= 3.0 / sample, "{sample}: {longest}");
        }
    }

    #[test]
    fn what_lets_the_same_happen_is_alike() {
        let plan = Ok(Plan::in_order([1, 0], 1));
        assert!(is_alike(&plan, &Ok(Plan::in_order([1, 0], 2))), "reasons may differ");
        assert!(!is_alike(&plan, &Ok(Plan::in_order([0, 1], 1))));
        assert!(!is_alike(&plan, &Ok(Plan { max_output_tokens: Some(5), ..Plan::in_order([1, 0], 1) })));
        assert!(is_alike(&Err(PolicyError::Refused(1)), &Err(PolicyError::Refused(2))));
        assert!(is_alike(&Err(PolicyError::Declined), &Err(PolicyError::Declined)));
        assert!(
            !is_alike(&Err(PolicyError::Declined), &Err(PolicyError::Refused(1)))
                && !is_alike(&plan, &Err(PolicyError::Declined))
        );
    }
}
