//! Questions that every router is asked before it serves.

use std::sync::Arc;

use kairos_pipeline::policy::{
    Complexity, Content, Family, Features, Names, Needs, Offer, Priority, RequestInfo, Route, RouteInput, Strengths,
    Task,
};

/// A question, and what it is about.
#[derive(Debug)]
pub struct Question {
    /// What it is about, for messages.
    pub about: &'static str,
    request: Arc<RequestInfo>,
    features: Features,
    models: Vec<Offer>,
}

impl Question {
    /// As a router is asked it.
    pub fn input(&self) -> RouteInput<'_> {
        RouteInput { request: &self.request, features: &self.features, models: &self.models }
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

/// All of them, in order.
pub fn questions() -> Vec<Question> {
    let mut questions = Vec::new();
    let mut ask = |about, count, change: &dyn Fn(&mut Features)| {
        let mut features = plain();
        change(&mut features);
        let ids: Vec<Arc<str>> = (0..count).map(|place| Arc::from(format!("trial.model-{place}"))).collect();
        let request = RequestInfo {
            content: Content::new("What is the capital of Norway?".to_owned(), String::new()),
            tags: vec![("team".to_owned(), "trial".to_owned())],
            task_label: None,
            asked_model: "auto".to_owned(),
            model_ids: ids.clone().into(),
            regions: vec![Arc::from("us-east-1")],
            names: Arc::new(TrialNames(ids)),
        };
        let models = (0..count).map(offer).collect();
        questions.push(Question { about, request: Arc::new(request), features, models });
    };
    ask("one model", 1, &|_| {});
    ask("three models and a task of code", 3, &|features| features.task = Task::Code);
    ask("sixteen models and a hard task", 16, &|features| {
        features.task = Task::Reasoning;
        features.complexity = Complexity::High;
        features.max_latency_ms = Some(900);
    });
    ask("a model that the caller named", 4, &|features| features.named = Some(0));
    ask("no tokens and no care for anything", 2, &|features| {
        features.estimated_tokens = 0;
        features.accuracy = 0.0;
        features.cost_sensitivity = 1.0;
    });
    ask("a budget that is used up", 5, &|features| {
        features.budget_remaining = Some(0);
        features.budget_used = 1.0;
        features.budget_level = 3;
    });
    questions
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
