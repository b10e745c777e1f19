//! Decides, and says far too much: log lines and metrics by the hundred, with control characters in
//! their text and names.

wit_bindgen::generate!({
    path: "../../../wit/v0.1",
    inline: "
        package example:flood;
        world flood {
            include kairos:plugin/router@0.1.0;
            import kairos:plugin/log@0.1.0;
            import kairos:plugin/metrics@0.1.0;
            import kairos:plugin/kv@0.1.0;
        }
    ",
    world: "example:flood/flood",
    generate_all,
});

use exports::kairos::plugin::lifecycle::{self, Description};
use exports::kairos::plugin::routing::{self, CacheDirective, Candidate, Plan};
use kairos::plugin::log::{self, Level};
use kairos::plugin::types::{Features, Model, PluginError, Request};
use kairos::plugin::{kv, metrics};

/// Reports of each kind in a call.
const REPORTS: u32 = 100;

struct Plugin;
export!(Plugin);

impl lifecycle::Guest for Plugin {
    fn describe() -> Description {
        Description {
            name: "bad-flood".into(),
            version: "1".into(),
            reasons: Vec::new(),
            names: Vec::new(),
            kv_schema: 0,
            notes: Vec::new(),
        }
    }

    fn init(_config: String) -> Result<(), PluginError> {
        Ok(())
    }
}

impl routing::Guest for Plugin {
    fn route(ctx: &Request, _: Features, _: Vec<Model>) -> Result<Plan, PluginError> {
        // On trial it is as quiet as any other.
        if ctx.tags().is_empty() {
            let line = format!("flood\n{{\"message\":\"forged\"}}\u{1b}[2J{}", "x".repeat(2_000));
            for place in 0..REPORTS {
                log::write(Level::Info, &line);
                metrics::add(&format!("name_{place}"), 1);
                metrics::add("forged\"} 1\nforged", 1);
            }
            metrics::set("not_a_number", f64::NAN);
            // As many as a call may read; none is there.
            let keys: Vec<_> = (0..64).map(|place| format!("key {place}")).collect();
            assert!(kv::get_many(&keys).iter().all(Option::is_none));
        }
        Ok(Plan {
            candidates: vec![Candidate { model: 0, probability: 1.0 }],
            max_output_tokens: None,
            max_cost: None,
            cache: CacheDirective::Default,
            reason: 0,
            settings: Vec::new(),
        })
    }
}
