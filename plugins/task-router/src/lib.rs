//! The kind of task picks the model. Defined in `policies/ROUTING.md`, router `task`.

wit_bindgen::generate!({
    path: "../../wit/v0.1",
    world: "router",
});

use exports::kairos::plugin::lifecycle::{self, Description};
use exports::kairos::plugin::routing::{self, CacheDirective, Candidate, Plan};
use kairos::plugin::types::{Features, Model, PluginError, Request, Task};

struct Plugin;
export!(Plugin);

/// Names that this policy asks about, in the order of `description.names`.
const TITAN: u64 = 1 << 0;
const CLAUDE: u64 = 1 << 1;
const JURASSIC: u64 = 1 << 2;

impl lifecycle::Guest for Plugin {
    fn describe() -> Description {
        let reasons = ["code", "reasoning", "general", "named", "none-of-three"];
        Description {
            name: "task".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            reasons: (1..).zip(reasons.map(Into::into)).collect(),
            names: vec!["titan".into(), "claude".into(), "jurassic".into()],
            kv_schema: 0,
            notes: Vec::new(),
        }
    }

    fn init(_config: String) -> Result<(), PluginError> {
        Ok(())
    }
}

impl routing::Guest for Plugin {
    fn route(_request: &Request, features: Features, models: Vec<Model>) -> Result<Plan, PluginError> {
        let offered = |name: u64| models.iter().position(|model| model.names & name != 0).map(|index| index as u32);
        let (titan, claude, jurassic) = (offered(TITAN), offered(CLAUDE), offered(JURASSIC));
        let (first, reason) = if features.named.is_some() {
            (features.named, 4)
        } else {
            match features.task {
                Task::Code => (claude, 1),
                Task::Reasoning | Task::Analysis | Task::Decision | Task::Strategy | Task::Resolution => (jurassic, 2),
                _ => (titan, 3),
            }
        };

        let mut candidates: Vec<Candidate> = Vec::with_capacity(models.len());
        for model in [first, titan, claude, jurassic].into_iter().flatten() {
            if candidates.iter().all(|known| known.model != model) {
                candidates.push(Candidate { model, probability: 0.0 });
            }
        }
        let mut reason = reason;
        if candidates.is_empty() {
            reason = 5;
            candidates.extend((0..models.len() as u32).map(|model| Candidate { model, probability: 0.0 }));
        }
        if let Some(first) = candidates.first_mut() {
            first.probability = 1.0;
        }
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
