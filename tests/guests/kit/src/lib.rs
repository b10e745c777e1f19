//! What the tests' guests share: a policy of any world from a function.

pub use kairos_plugin::{
    Action, Attempt, Case, CaseOutcome, Change, Context, Draft, Edits, Evaluator, Event, Evidence, Failure, Features,
    Genome, Guard, Healer, Host, HttpError, HttpRequest, Measure, Method, Model, Mutator, Observer, Passage, Plan,
    PluginError, Prompter, Proposal, Remedy, Router, Score, TextChange, Verdict, Wait, export,
};

/// What a guest's `route` is.
pub type Decide = fn(&Context, &Features, &[Model]) -> Result<Plan, PluginError>;

/// A plan of one candidate.
pub fn only(model: u32, reason: u32) -> Plan {
    Plan::new([model], reason)
}

/// Whether the host asks on trial, before the policy serves: a bad guest behaves then.
pub fn on_trial(ctx: &Context) -> bool {
    ctx.tags().iter().any(|(name, value)| name == "team" && value == "trial")
}

/// A plugin with this name and this `route`.
#[macro_export]
macro_rules! router {
    ($name:literal, $route:expr) => {
        struct Guest;
        $crate::export!(Guest as router);

        impl $crate::Router for Guest {
            const NAME: &'static str = $name;

            fn new(_config: &str) -> Result<Self, $crate::PluginError> {
                Ok(Self)
            }

            fn route(
                &self,
                ctx: &$crate::Context,
                features: &$crate::Features,
                models: &[$crate::Model],
            ) -> Result<$crate::Plan, $crate::PluginError> {
                let route: $crate::Decide = $route;
                route(ctx, features, models)
            }
        }
    };
}

/// What a guest's `heal` is.
pub type Heal = fn(&Context, &Failure, &[Model]) -> Remedy;

/// A healer with this name and this `heal`.
#[macro_export]
macro_rules! healer {
    ($name:literal, $heal:expr) => {
        struct Guest;
        $crate::export!(Guest as healer);

        impl $crate::Healer for Guest {
            const NAME: &'static str = $name;

            fn new(_config: &str) -> Result<Self, $crate::PluginError> {
                Ok(Self)
            }

            fn heal(
                &self,
                ctx: &$crate::Context,
                _: &$crate::Features,
                failure: &$crate::Failure,
                _: &[$crate::Attempt],
                models: &[$crate::Model],
            ) -> Result<$crate::Remedy, $crate::PluginError> {
                let heal: $crate::Heal = $heal;
                Ok(heal(ctx, failure, models))
            }
        }
    };
}

/// What a guest's `inspect` is.
pub type Inspect = fn(&Context, &str) -> Verdict;

/// A guard with this name and this `inspect`.
#[macro_export]
macro_rules! guard {
    ($name:literal, $inspect:expr) => {
        struct Guest;
        $crate::export!(Guest as guard);

        impl $crate::Guard for Guest {
            const NAME: &'static str = $name;

            fn new(_config: &str) -> Result<Self, $crate::PluginError> {
                Ok(Self)
            }

            fn inspect(
                &self,
                ctx: &$crate::Context,
                _: $crate::Passage,
                _: &[u8],
                text: &str,
                _: bool,
            ) -> Result<$crate::Verdict, $crate::PluginError> {
                let inspect: $crate::Inspect = $inspect;
                Ok(inspect(ctx, text))
            }
        }
    };
}

/// What a guest's `render` is.
pub type Render = fn(&Context, &Draft) -> Edits;

/// A prompter with this name and this `render`.
#[macro_export]
macro_rules! prompter {
    ($name:literal, $render:expr) => {
        struct Guest;
        $crate::export!(Guest as prompter);

        impl $crate::Prompter for Guest {
            const NAME: &'static str = $name;
            const REASONS: &'static [&'static str] = &["said-so"];

            fn new(_config: &str) -> Result<Self, $crate::PluginError> {
                Ok(Self)
            }

            fn render(
                &self,
                ctx: &$crate::Context,
                _: &$crate::Features,
                _: &[$crate::Model],
                _: u32,
                draft: &$crate::Draft,
            ) -> Result<$crate::Edits, $crate::PluginError> {
                let render: $crate::Render = $render;
                Ok(render(ctx, draft))
            }
        }
    };
}

/// What a guest's `observe` is.
pub type Observe = fn(&Context, &Event);

/// An observer with this name and this `observe`.
#[macro_export]
macro_rules! observer {
    ($name:literal, $observe:expr) => {
        struct Guest;
        $crate::export!(Guest as observer);

        impl $crate::Observer for Guest {
            const NAME: &'static str = $name;
            const KV_SCHEMA: u32 = 1;

            fn new(_config: &str) -> Result<Self, $crate::PluginError> {
                Ok(Self)
            }

            fn observe(
                &self,
                ctx: &$crate::Context,
                _: u64,
                _: u32,
                event: &$crate::Event,
            ) -> Result<(), $crate::PluginError> {
                let observe: $crate::Observe = $observe;
                observe(ctx, event);
                Ok(())
            }
        }
    };
}

/// Whether a case is one that the host asks about on trial.
pub fn is_trial(case: &Case) -> bool {
    case.id().is_empty() || case.id().starts_with("trial-")
}

/// What a guest's `score` is.
pub type ScoreOf = fn(&Host, &Case, &CaseOutcome) -> Score;

/// An evaluator with this name and this `score`.
#[macro_export]
macro_rules! evaluator {
    ($name:literal, $score:expr) => {
        struct Guest;
        $crate::export!(Guest as evaluator);

        impl $crate::Evaluator for Guest {
            const NAME: &'static str = $name;

            fn new(_config: &str) -> Result<Self, $crate::PluginError> {
                Ok(Self)
            }

            fn score(
                &self,
                host: &$crate::Host,
                case: &$crate::Case,
                outcome: &$crate::CaseOutcome,
            ) -> Result<$crate::Score, $crate::PluginError> {
                let score: $crate::ScoreOf = $score;
                Ok(score(host, case, outcome))
            }
        }
    };
}

/// What a guest's `propose` is.
pub type Propose = fn(&Host, &Genome, u64) -> Vec<Proposal>;

/// A mutator with this name and this `propose`.
#[macro_export]
macro_rules! mutator {
    ($name:literal, $propose:expr) => {
        struct Guest;
        $crate::export!(Guest as mutator);

        impl $crate::Mutator for Guest {
            const NAME: &'static str = $name;
            const REASONS: &'static [&'static str] = &["said-so"];

            fn new(_config: &str) -> Result<Self, $crate::PluginError> {
                Ok(Self)
            }

            fn propose(
                &self,
                host: &$crate::Host,
                genome: &$crate::Genome,
                _: &$crate::Evidence,
                seed: u64,
            ) -> Result<Vec<$crate::Proposal>, $crate::PluginError> {
                let propose: $crate::Propose = $propose;
                Ok(propose(host, genome, seed))
            }
        }
    };
}
