//! Questions that every policy is asked before it serves.

mod evaluator;
mod guard;
mod healer;
mod mutator;
mod observer;
mod prompter;
mod router;

use std::sync::Arc;

use kairos_pipeline::policy::{
    Complexity, Content, Family, Features, Names, Needs, Offer, Passage, Priority, Question, RequestInfo, Route,
    Strengths, Task, World,
};

use crate::question::{Inspected, OwnedQuestion, What};

/// A question, and what it is about.
#[derive(Debug)]
pub struct Golden {
    /// What it is about, for messages.
    pub about: String,
    question: OwnedQuestion,
}

impl Golden {
    /// As a policy is asked it.
    pub fn asked(&self) -> Question<'_> {
        self.question.asked()
    }

    /// The text that it is about, where that is a whole one.
    pub(crate) fn text(&self) -> Option<(&Arc<RequestInfo>, Passage, &str)> {
        match &self.question.what {
            What::Inspect(Inspected { passage, text, last: true, .. }) => {
                Some((&self.question.request, *passage, text))
            }
            _ => None,
        }
    }
}

/// All questions of a world, in order.
pub fn questions(world: World) -> Vec<Golden> {
    match world {
        World::Router => router::questions(),
        World::Healer => healer::questions(),
        World::Guard => guard::questions(),
        World::Prompter => prompter::questions(),
        World::Observer => observer::questions(),
        World::Evaluator => evaluator::questions(),
        World::Mutator => mutator::questions(),
    }
}

/// Names of the trial's models.
#[derive(Debug)]
struct TrialNames(Vec<Arc<str>>);

impl Names for TrialNames {
    fn answering(&self, name: &str) -> Option<Arc<str>> {
        let place = match name {
            "titan" => 0,
            "claude" => 1,
            "jurassic" => 2,
            other => return self.0.iter().find(|id| ***id == *other).cloned(),
        };
        self.0.get(place).cloned()
    }
}

/// A question about so many models.
fn golden(about: impl Into<String>, count: usize, features: Features, what: What) -> Golden {
    let ids: Vec<Arc<str>> = (0..count).map(|place| Arc::from(format!("trial.model-{place}"))).collect();
    let request = Arc::new(RequestInfo {
        content: Content::new("What is the capital of Norway?".to_owned(), String::new()),
        tags: [("team".to_owned(), "trial".to_owned())].into(),
        task_label: None,
        asked_model: "auto".to_owned(),
        model_ids: ids.clone().into(),
        regions: vec![Arc::from("us-east-1")],
        names: Arc::new(TrialNames(ids)),
        learned: Arc::default(),
    });
    let models = (0..count).map(offer).collect();
    Golden { about: about.into(), question: OwnedQuestion { request, features, models, what } }
}

/// The features of a plain, short question.
pub(crate) fn plain() -> Features {
    Features {
        task: Task::General,
        task_hinted: false,
        complexity: Complexity::Low,
        complexity_hinted: false,
        estimated_tokens: 8,
        max_output_tokens: None,
        max_latency_ms: None,
        accuracy: 0.5,
        cost_sensitivity: 0.5,
        priority: Priority::Normal,
        needs: Needs::default(),
        streaming: false,
        turns: 1,
        text_bytes: 30,
        named: None,
        budget_remaining: None,
        budget_used: 0.0,
        budget_level: 0,
    }
}

fn offer(place: usize) -> Offer {
    let step = place as u64;
    Offer {
        // The first three answer for the first three names that a plugin asks about.
        names: if place < 3 { 1 << place } else { 0 },
        family: Family::ALL[place % Family::ALL.len()],
        route: Route::ALL[place % Route::ALL.len()],
        region: 0,
        legacy: place % 5 == 4,
        strengths: Strengths(place as u32 * 37 % (1 << Strengths::NAMES.len())),
        capabilities: Needs(0b111),
        max_input_tokens: 100_000,
        max_output_tokens: 4_096,
        input_price: 60_000 + step * 731_000,
        output_price: 240_000 + step * 3_100_000,
        cache_read_price: place.is_multiple_of(2).then_some(15_000),
        cache_write_5m_price: None,
        cache_write_1h_price: None,
        worst_case_cost: 1_000_000_000,
        latency_ms: 400 + place as u32 * 150,
        successes: place as u32 * 3,
        failures: place as u32,
        cached_tokens: 0,
        cooldown_ms: 0,
        in_flight: 0,
        quota_left: None,
    }
}
