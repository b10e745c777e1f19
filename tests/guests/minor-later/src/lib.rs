//! What `minor-current` decides, built against a version after it that there never was.

wit_bindgen::generate!({ path: "../made-up/v0.2", world: "router" });

use exports::kairos::plugin::lifecycle::{self, Description, PluginError, Reason};
use exports::kairos::plugin::routing::{self, Candidate, Features, Limits, Model, Plan, Request};
use kairos::plugin::log::{self, Level};

struct Guest;
export!(Guest);

impl lifecycle::Guest for Guest {
    fn describe() -> Description {
        let reason = |(code, name): (u32, &str)| Reason { code, name: name.into() };
        let reasons = [(1, "easy"), (2, "middling"), (3, "hard")].map(reason).into();
        Description { name: "minor".into(), version: "0.2".into(), reasons }
    }

    fn init(config: String) -> Result<(), PluginError> {
        log::write(Level::Info, "ready", &[("bytes".into(), config.len().to_string())]);
        if config.starts_with('{') { Ok(()) } else { Err(PluginError::InvalidInput("no table".into())) }
    }
}

impl routing::Guest for Guest {
    fn route(ctx: &Request, features: Features, models: Vec<Model>) -> Result<Plan, PluginError> {
        if ctx.models().len() != models.len() {
            return Err(PluginError::Internal("as many ids as models are expected".into()));
        }
        let mut left: Vec<usize> = (0..models.len()).collect();
        let mut candidates = Vec::new();
        // The cheapest of what is left, the fastest of those, the first of those.
        while let Some(place) = (0..left.len()).min_by_key(|place| {
            let Model { cost, latency } = &models[left[*place]];
            (*cost, latency.typical_ms, left[*place])
        }) {
            let share = if candidates.is_empty() { 1_000_000 } else { 0 };
            candidates.push(Candidate { model: left.remove(place) as u32, share });
        }
        let reason = 1 + (features.difficulty * 2.0) as u32;
        let short = features.difficulty == 0.0 && features.estimated_tokens < 1_000;
        Ok(Plan { candidates, limits: Limits { output_tokens: short.then_some(256), cost: None }, reason })
    }
}
