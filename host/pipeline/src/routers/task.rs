//! The kind of task picks the model. The default.

use crate::policy::{Identity, Plan, PolicyError, RouteInput, Router, Task as TaskKind};

/// The `task` router of `policies/ROUTING.md`.
pub struct Task {
    identity: Identity,
}

const TITAN: usize = 0;
const CLAUDE: usize = 1;
const JURASSIC: usize = 2;

impl Default for Task {
    fn default() -> Self {
        let reasons = [(1, "code"), (2, "reasoning"), (3, "general"), (4, "named"), (5, "none-of-three")];
        Self { identity: super::built_in("task", &reasons, &["titan", "claude", "jurassic"]) }
    }
}

impl Router for Task {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn route(&self, input: RouteInput<'_>) -> Result<Plan, PolicyError> {
        let answering = |name: usize| {
            let index = input.models.iter().position(|model| model.names & (1 << name) != 0)?;
            u32::try_from(index).ok()
        };
        let (first, reason) = match (input.features.named, input.features.task) {
            (Some(named), _) => (Some(named), 4),
            (None, TaskKind::Code) => (answering(CLAUDE), 1),
            (
                None,
                TaskKind::Reasoning
                | TaskKind::Analysis
                | TaskKind::Decision
                | TaskKind::Strategy
                | TaskKind::Resolution,
            ) => (answering(JURASSIC), 2),
            (None, _) => (answering(TITAN), 3),
        };
        let mut order: Vec<u32> = Vec::with_capacity(4);
        for index in [first, answering(TITAN), answering(CLAUDE), answering(JURASSIC)].into_iter().flatten() {
            if !order.contains(&index) {
                order.push(index);
            }
        }
        if order.is_empty() {
            return Ok(Plan::in_order((0..).take(input.models.len()), 5));
        }
        Ok(Plan::in_order(order, reason))
    }
}
