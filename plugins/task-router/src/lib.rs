//! The kind of task picks the model. Defined in `policies/ROUTING.md`, router `task`.

use kairos_plugin::{Context, Features, Model, Plan, PluginError, Router, Task, export};

struct ByTask;
export!(ByTask as router);

/// Bits of `model.names`, in the order of `MODEL_NAMES`.
const TITAN: u64 = 1 << 0;
const CLAUDE: u64 = 1 << 1;
const JURASSIC: u64 = 1 << 2;

impl Router for ByTask {
    const NAME: &'static str = "task";
    const REASONS: &'static [&'static str] = &["code", "reasoning", "general", "named", "none-of-three"];
    const MODEL_NAMES: &'static [&'static str] = &["titan", "claude", "jurassic"];

    fn new(_config: &str) -> Result<Self, PluginError> {
        Ok(Self)
    }

    fn route(&self, _: &Context, features: &Features, models: &[Model]) -> Result<Plan, PluginError> {
        let offered = |name: u64| models.iter().position(|model| model.names & name != 0).map(|index| index as u32);
        let (titan, claude, jurassic) = (offered(TITAN), offered(CLAUDE), offered(JURASSIC));
        let (first, reason) = match (features.named, features.task) {
            (Some(named), _) => (Some(named), 4),
            (None, Task::Code) => (claude, 1),
            (None, Task::Reasoning | Task::Analysis | Task::Decision | Task::Strategy | Task::Resolution) => {
                (jurassic, 2)
            }
            (None, _) => (titan, 3),
        };
        let mut order: Vec<u32> = Vec::with_capacity(models.len());
        for model in [first, titan, claude, jurassic].into_iter().flatten() {
            if !order.contains(&model) {
                order.push(model);
            }
        }
        if order.is_empty() {
            return Ok(Plan::new(0..models.len() as u32, 5));
        }
        Ok(Plan::new(order, reason))
    }
}
