//! Asks for every capability that a router may have, and uses each.

wit_bindgen::generate!({
    path: "../../../wit/v0.1",
    inline: "
        package example:talkative;
        world all {
            include kairos:plugin/router@0.1.0;
            import kairos:plugin/log@0.1.0;
            import kairos:plugin/metrics@0.1.0;
            import kairos:plugin/kv@0.1.0;
            import kairos:plugin/content@0.1.0;
        }
    ",
    world: "example:talkative/all",
    generate_all,
});

use exports::kairos::plugin::lifecycle::{self, Description};
use exports::kairos::plugin::routing::{self, CacheDirective, Candidate, Plan};
use kairos::plugin::log::{self, Level};
use kairos::plugin::types::{Features, Model, PluginError, Request};
use kairos::plugin::{content, kv, metrics};

struct Plugin;
export!(Plugin);

impl lifecycle::Guest for Plugin {
    fn describe() -> Description {
        Description {
            name: "talkative".into(),
            version: "1".into(),
            reasons: vec![(1, "said so".into())],
            names: Vec::new(),
            kv_schema: 1,
            notes: Vec::new(),
        }
    }

    fn init(_config: String) -> Result<(), PluginError> {
        Ok(())
    }
}

impl routing::Guest for Plugin {
    fn route(ctx: &Request, _: Features, models: Vec<Model>) -> Result<Plan, PluginError> {
        let known = kv::get("anything").is_some();
        log::write(
            Level::Info,
            &format!("{} models, prompt of {} bytes, known: {known}", models.len(), content::prompt(ctx).len()),
        );
        metrics::add("calls", 1);
        metrics::set("models", models.len() as f64);
        Ok(Plan {
            candidates: vec![Candidate { model: 0, probability: 1.0 }],
            max_output_tokens: None,
            max_cost: None,
            cache: CacheDirective::Default,
            reason: 1,
            settings: Vec::new(),
        })
    }
}
