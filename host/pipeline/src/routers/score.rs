//! Scores each model by strength, history, latency and price.

use crate::policy::{Complexity, Features, Identity, Offer, Plan, PolicyError, RouteInput, Router, Strengths};

/// The `score` router of `policies/ROUTING.md`.
pub struct Score {
    identity: Identity,
}

impl Default for Score {
    fn default() -> Self {
        Self { identity: super::built_in("score", &[(1, "best-score"), (2, "cheaper-model"), (3, "named")], &[]) }
    }
}

/// Models in a plan, at most.
const LONGEST_PLAN: usize = 4;
/// One latency term: what the cheaper-model switch may give up.
const MARGIN: f64 = 0.2;
/// Keeps rounding from deciding whether a score is within the margin.
const ROUNDING: f64 = 1e-9;

fn has_strength(features: &Features, model: &Offer) -> bool {
    match features.complexity {
        Complexity::High => model.strengths.contains(Strengths::REASONING),
        Complexity::Low => model.strengths.contains(Strengths::SPEED),
        Complexity::Medium => false,
    }
}

fn score(features: &Features, model: &Offer) -> f64 {
    let mut score = 0.0;
    if has_strength(features, model) {
        score += 0.4;
    }
    let (successes, failures) = (f64::from(model.successes), f64::from(model.failures));
    score += (successes + 1.0) / (successes + failures + 2.0) * 0.3;
    if features.max_latency_ms.is_some_and(|limit| model.latency_ms <= limit) {
        score += 0.2;
    }
    let price = model.input_price as f64 / 1e9;
    let tokens = f64::from(features.estimated_tokens.max(1));
    // A price of 0 gives infinity, and with it the full 0.1.
    let efficiency = 1.0 / (price * tokens);
    score += (efficiency / 1000.0).min(0.1);
    score
}

fn should_use_cheaper_model(features: &Features) -> bool {
    features.budget_used >= 0.8 || (features.cost_sensitivity >= 0.7 && features.cost_sensitivity > features.accuracy)
}

/// The cheapest of those that are nearly as good; `ranked` is by score, best first.
fn select_cost_optimized_model(input: RouteInput<'_>, ranked: &[(usize, f64)]) -> usize {
    let (best, best_score) = ranked[0];
    let strength = has_strength(input.features, &input.models[best]);
    let mut choice = best;
    for &(index, score) in ranked {
        let near = score + MARGIN + ROUNDING >= best_score;
        let fits = !strength || has_strength(input.features, &input.models[index]);
        // Ranked by score and index: of equal prices the first stays.
        if near && fits && input.models[index].input_price < input.models[choice].input_price {
            choice = index;
        }
    }
    choice
}

impl Router for Score {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn route(&self, input: RouteInput<'_>) -> Result<Plan, PolicyError> {
        let scores = input.models.iter().map(|model| score(input.features, model));
        let mut ranked: Vec<(usize, f64)> = scores.enumerate().collect();
        if ranked.is_empty() {
            return Err(PolicyError::Declined);
        }
        // Stable: of equal scores the lowest index stays first.
        ranked.sort_by(|(_, a), (_, b)| b.total_cmp(a));
        let (first, reason) = match input.features.named {
            Some(named) => (named as usize, 3),
            None if should_use_cheaper_model(input.features) => (select_cost_optimized_model(input, &ranked), 2),
            None => (ranked[0].0, 1),
        };
        let others = ranked.iter().map(|&(index, _)| index).filter(|&index| index != first);
        let order = std::iter::once(first).chain(others).take(LONGEST_PLAN);
        Ok(Plan::in_order(order.filter_map(|index| u32::try_from(index).ok()), reason))
    }
}
