//! What `minor-current` decides, built against a version before it that there never was.

wit_bindgen::generate!({ path: "../made-up/v0.0", world: "router" });

use exports::kairos::plugin::lifecycle::{self, Description};
use exports::kairos::plugin::routing::{self, Features, Model, Plan, PluginError, Request};
use kairos::plugin::log;
use kairos::plugin::types::Complexity;

struct Guest;
export!(Guest);

impl lifecycle::Guest for Guest {
    fn describe() -> Description {
        let reasons = ["easy", "middling", "hard"].map(str::to_owned).into();
        Description { name: "minor".into(), version: "0.0".into(), reasons }
    }

    fn init(config: String) -> Result<(), String> {
        log::write("ready");
        if config.starts_with('{') { Ok(()) } else { Err(format!("{config:?} is no table")) }
    }
}

impl routing::Guest for Guest {
    fn route(ctx: &Request, features: Features, models: Vec<Model>) -> Result<Plan, PluginError> {
        if ctx.model_ids().len() != models.len() {
            return Err(PluginError::Internal("as many ids as models are expected".into()));
        }
        let reason = match features.complexity {
            Complexity::Low => 1,
            Complexity::Medium => 2,
            Complexity::High => 3,
        };
        let mut ranked: Vec<_> = models.iter().zip(0u32..).map(|(m, i)| (m.worst_case_cost, m.latency_ms, i)).collect();
        ranked.sort_unstable();
        Ok(Plan {
            models: ranked.into_iter().map(|(_, _, index)| index).collect(),
            max_output_tokens: (reason == 1 && features.estimated_tokens < 1_000).then_some(256),
            reason,
        })
    }
}
