//! What a policy may use. Every bound has a name in the configuration.

use std::time::Duration;

use kairos_pipeline::policy::{MutatorBounds, World};

use crate::kv::SpaceBounds;
use crate::reach::ReachBounds;

/// Bounds of policies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// CPU time of one call.
    pub deadline: Duration,
    /// CPU time of one call of an observer.
    pub observer_deadline: Duration,
    /// CPU time of one call of an evaluator, and time on the clock, calls of others included.
    pub evaluator: (Duration, Duration),
    /// The same of a mutator.
    pub mutator: (Duration, Duration),
    /// What a mutator may propose.
    pub proposals: MutatorBounds,
    /// Calls of others that one call of an evaluator or a mutator may make.
    pub reach: ReachBounds,
    /// CPU time of making an instance ready: instantiation and `init`.
    pub init_deadline: Duration,
    /// Linear memory of a compiled guest, in bytes.
    pub memory_bytes: usize,
    /// Linear memory of a guest that brings an interpreter along, in bytes.
    pub interpreter_memory_bytes: usize,
    /// Stack of a guest, in bytes.
    pub stack_bytes: usize,
    /// What a guest may hand to the host in one call, in bytes.
    pub handover_bytes: usize,
    /// Handles that a guest may hold.
    pub handles: usize,
    /// Instances that may exist at once, over all generations.
    pub instances: u32,
    /// Calls after which an instance is replaced.
    pub calls_per_instance: u32,
    /// Size of a component's file, in bytes.
    pub component_bytes: u64,
    /// Size of a script's file, in bytes.
    pub script_bytes: u64,
    /// Size of a file of tests, in bytes.
    pub test_bytes: u64,
    /// Tests of one policy.
    pub tests: usize,
    /// CPU time of all tests of a policy.
    pub test_time: Duration,
    /// Operations of a script in one call.
    pub script_operations: u64,
    /// Faults within [`Limits::fault_window`] after which a generation is quarantined.
    pub faults: usize,
    /// The time in which faults are counted.
    pub fault_window: Duration,
    /// One call in so many is repeated on a fresh instance.
    pub purity_sample: u64,
    /// What a space of what was learned may hold.
    pub space: SpaceBounds,
    /// Events that may wait for an observer.
    pub events: usize,
    /// Requests that have ended and whose ratings an observer is told of.
    pub remembered: usize,
    /// Generations that stay resident behind the one that serves.
    pub previous_generations: usize,
}

/// A component above this size brings an interpreter along (Python 18 MB, JavaScript 12 MB; Rust
/// some tens of kilobytes).
pub const INTERPRETER_COMPONENT_BYTES: u64 = 2 * 1024 * 1024;

/// Three generations' worth: one that serves, one that is made ready, one whose last calls end.
fn default_instances() -> u32 {
    let workers = std::thread::available_parallelism().map_or(2, usize::from);
    u32::try_from((workers + 2) * 3).unwrap_or(64).max(64)
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            deadline: Duration::from_millis(10),
            observer_deadline: Duration::from_millis(100),
            evaluator: (Duration::from_secs(1), Duration::from_secs(30)),
            mutator: (Duration::from_secs(2), Duration::from_secs(120)),
            proposals: MutatorBounds::default(),
            reach: ReachBounds::default(),
            init_deadline: Duration::from_secs(2),
            memory_bytes: 16 * 1024 * 1024,
            interpreter_memory_bytes: 128 * 1024 * 1024,
            stack_bytes: 128 * 1024,
            handover_bytes: 1024 * 1024,
            handles: 64,
            instances: default_instances(),
            calls_per_instance: 100_000,
            component_bytes: 64 * 1024 * 1024,
            script_bytes: 256 * 1024,
            test_bytes: 256 * 1024,
            tests: 1_000,
            test_time: Duration::from_secs(5),
            script_operations: 1_000_000,
            faults: 3,
            fault_window: Duration::from_secs(60),
            purity_sample: 1_000,
            space: SpaceBounds::default(),
            events: 1_024,
            remembered: 4_096,
            previous_generations: 3,
        }
    }
}

impl Limits {
    /// CPU time of one call of a policy of a world. No request waits for an observer, and none for evolution.
    pub fn deadline_of(&self, world: World) -> Duration {
        match world {
            World::Observer => self.observer_deadline,
            World::Evaluator => self.evaluator.0,
            World::Mutator => self.mutator.0,
            World::Router | World::Healer | World::Guard | World::Prompter => self.deadline,
        }
    }

    /// Time on the clock of one call, where that is a setting of its own.
    pub(crate) fn wall_of(&self, world: World) -> Option<Duration> {
        match world {
            World::Evaluator => Some(self.evaluator.1),
            World::Mutator => Some(self.mutator.1),
            _ => None,
        }
    }

    /// The shortest deadline that there is, and the longest.
    pub(crate) fn deadlines(&self) -> (Duration, Duration) {
        let each = World::ALL.into_iter().map(|world| self.deadline_of(world));
        each.fold((self.init_deadline, self.init_deadline), |(short, long), one| (short.min(one), long.max(one)))
    }
}
