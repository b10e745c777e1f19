//! Scores each model by strength, history, latency and price. Defined in `policies/ROUTING.md`,
//! router `score`.

use kairos_plugin::{Complexity, Context, Features, Model, Plan, PluginError, Router, Strengths, export};

struct ByScore;
export!(ByScore as router);

/// A model and how it does.
struct Scored<'a> {
    index: u32,
    model: &'a Model,
    strong: bool,
    score: f64,
}

fn is_strong(features: &Features, model: &Model) -> bool {
    match features.complexity {
        Complexity::High => model.strengths.contains(Strengths::REASONING),
        Complexity::Low => model.strengths.contains(Strengths::SPEED),
        Complexity::Medium => false,
    }
}

fn score(features: &Features, model: &Model, strong: bool) -> f64 {
    let mut score = if strong { 0.4 } else { 0.0 };
    let (successes, failures) = (f64::from(model.successes), f64::from(model.failures));
    let history = (successes + 1.0) / (successes + failures + 2.0);
    score += history * 0.3;
    match features.max_latency_ms {
        Some(limit) if model.latency_ms <= limit => score += 0.2,
        _ => {}
    }
    let dollars_per_thousand = model.input_price as f64 / 1e9;
    let tokens = f64::from(features.estimated_tokens.max(1));
    let efficiency = 1.0 / (dollars_per_thousand * tokens);
    score + (efficiency / 1000.0).min(0.1)
}

fn wants_cheaper(features: &Features) -> bool {
    features.budget_used >= 0.8 || (features.cost_sensitivity >= 0.7 && features.cost_sensitivity > features.accuracy)
}

/// The cheapest of those nearly as good as the first, with its strength. `ranked` is best first, so
/// that of equal prices the higher score, then the lower index, is found first.
fn cheapest(ranked: &[Scored<'_>]) -> u32 {
    let best = &ranked[0];
    let eligible = ranked.iter().filter(|one| one.score + 0.2 + 1e-9 >= best.score && (one.strong || !best.strong));
    eligible.min_by_key(|one| one.model.input_price).map_or(best.index, |one| one.index)
}

impl Router for ByScore {
    const NAME: &'static str = "score";
    const REASONS: &'static [&'static str] = &["best-score", "cheaper-model", "named"];

    fn new(_config: &str) -> Result<Self, PluginError> {
        Ok(Self)
    }

    fn route(&self, _: &Context, features: &Features, models: &[Model]) -> Result<Plan, PluginError> {
        let mut ranked: Vec<Scored<'_>> = (0..)
            .zip(models)
            .map(|(index, model)| {
                let strong = is_strong(features, model);
                Scored { index, model, strong, score: score(features, model, strong) }
            })
            .collect();
        if ranked.is_empty() {
            return Err(PluginError::Declined);
        }
        ranked.sort_by(|a, b| b.score.total_cmp(&a.score));
        let (first, reason) = match features.named {
            Some(named) => (named, 3),
            None if wants_cheaper(features) => (cheapest(&ranked), 2),
            None => (ranked[0].index, 1),
        };
        let others = ranked.iter().map(|one| one.index).filter(|&index| index != first).take(3);
        Ok(Plan::new(std::iter::once(first).chain(others), reason))
    }
}
