//! What routers are asked on trial.

use kairos_pipeline::policy::{Complexity, Features, Task};

use super::{Golden, golden, plain};
use crate::question::What;

pub(super) fn questions() -> Vec<Golden> {
    let mut questions = Vec::new();
    let mut ask = |about, count, change: &dyn Fn(&mut Features)| {
        let mut features = plain();
        change(&mut features);
        questions.push(golden(about, count, features, What::Route));
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
