//! Scores each model by strength, history, latency and price. Defined in `policies/ROUTING.md`,
//! router `score`.

wit_bindgen::generate!({
    path: "../../wit/v0.1",
    world: "router",
});

use exports::kairos::plugin::lifecycle::{self, Description};
use exports::kairos::plugin::routing::{self, CacheDirective, Candidate, Plan};
use kairos::plugin::types::{Complexity, Features, Model, PluginError, Request, Strengths};

struct Plugin;
export!(Plugin);

impl lifecycle::Guest for Plugin {
    fn describe() -> Description {
        let reasons = ["best-score", "cheaper-model", "named"];
        Description {
            name: "score".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            reasons: (1..).zip(reasons.map(Into::into)).collect(),
            names: Vec::new(),
            kv_schema: 0,
            notes: Vec::new(),
        }
    }

    fn init(_config: String) -> Result<(), PluginError> {
        Ok(())
    }
}

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

impl routing::Guest for Plugin {
    fn route(_request: &Request, features: Features, models: Vec<Model>) -> Result<Plan, PluginError> {
        let mut ranked: Vec<Scored<'_>> = (0..)
            .zip(&models)
            .map(|(index, model)| {
                let strong = is_strong(&features, model);
                Scored { index, model, strong, score: score(&features, model, strong) }
            })
            .collect();
        if ranked.is_empty() {
            return Err(PluginError::Declined);
        }
        ranked.sort_by(|a, b| b.score.total_cmp(&a.score));
        let (first, reason) = match features.named {
            Some(named) => (named, 3),
            None if wants_cheaper(&features) => (cheapest(&ranked), 2),
            None => (ranked[0].index, 1),
        };
        let others = ranked.iter().map(|one| one.index).filter(|&index| index != first).take(3);
        let others = others.map(|model| Candidate { model, probability: 0.0 });
        let candidates = std::iter::once(Candidate { model: first, probability: 1.0 }).chain(others).collect();
        Ok(Plan {
            candidates,
            max_output_tokens: None,
            max_cost: None,
            cache: CacheDirective::Default,
            reason,
            settings: Vec::new(),
        })
    }
}
