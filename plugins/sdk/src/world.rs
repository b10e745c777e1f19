//! Worlds: what a policy judges. One trait each, and one arm of `export!`.

use crate::{
    Attempt, Case, CaseOutcome, Context, Draft, Edits, Event, Evidence, Failure, Features, Genome, Host, Model,
    Passage, Plan, PluginError, Proposal, Remedy, Score, Verdict,
};

/// Which models answer a request.
///
/// Pure: the same input gives the same plan. What a call learns it forgets; `&self` is what [`new`]
/// made of the configuration.
///
/// [`new`]: Router::new
pub trait Router: Sized + Send + Sync + 'static {
    /// What the policy calls itself: 1 to 64 of a–z, 0–9 and `-`.
    const NAME: &'static str;
    /// Names of the codes that plans and refusals carry: the n-th, from 1, is that of code n. At most
    /// 64, of 64 bytes each.
    const REASONS: &'static [&'static str] = &[];
    /// Model names (ids or aliases) that `model.names` speaks of: bit i is that of the i-th, from 0.
    /// At most 64.
    const MODEL_NAMES: &'static [&'static str] = &[];
    /// Version of the layout of what the policy reads by [`Context::learned`]; 0: it reads nothing.
    const KV_SCHEMA: u32 = 0;
    /// The space that it reads, where that is not of its own name: the one that an observer writes.
    const KV: Option<&'static str> = None;

    /// Makes a policy of the operator's configuration: the table `[policies.config.router]` as JSON,
    /// `{}` where there is none. An error refuses the policy.
    fn new(config: &str) -> Result<Self, PluginError>;

    /// Decides. [`PluginError::Declined`] leaves it to the host's native default.
    fn route(&self, ctx: &Context, features: &Features, models: &[Model]) -> Result<Plan, PluginError>;
}

/// What follows a failed attempt.
///
/// Pure, as a [`Router`] is: what happened before is in `history`.
pub trait Healer: Sized + Send + Sync + 'static {
    /// What the policy calls itself: 1 to 64 of a–z, 0–9 and `-`.
    const NAME: &'static str;
    /// Names of the codes that remedies and refusals carry: the n-th, from 1, is that of code n. At most
    /// 64, of 64 bytes each.
    const REASONS: &'static [&'static str] = &[];
    /// Model names (ids or aliases) that `model.names` speaks of: bit i is that of the i-th, from 0.
    /// At most 64.
    const MODEL_NAMES: &'static [&'static str] = &[];
    /// Version of the layout of what the policy reads by [`Context::learned`]; 0: it reads nothing.
    const KV_SCHEMA: u32 = 0;
    /// The space that it reads, where that is not of its own name: the one that an observer writes.
    const KV: Option<&'static str> = None;

    /// Makes a policy of the operator's configuration: the table `[policies.config.healer]` as JSON,
    /// `{}` where there is none. An error refuses the policy.
    fn new(config: &str) -> Result<Self, PluginError>;

    /// Decides. `history` are the attempts before the one that just failed, the oldest first; `models` are
    /// up to 32. [`PluginError::Declined`] leaves it to the host's native default.
    fn heal(
        &self,
        ctx: &Context,
        features: &Features,
        failure: &Failure,
        history: &[Attempt],
        models: &[Model],
    ) -> Result<Remedy, PluginError>;
}

/// What of a text may pass, to a model or to a caller.
///
/// Pure, as a [`Router`] is: what it knows of a passage from call to call is in the state that it gives.
/// However a text is cut, the same passes.
pub trait Guard: Sized + Send + Sync + 'static {
    /// What the policy calls itself: 1 to 64 of a–z, 0–9 and `-`.
    const NAME: &'static str;
    /// Names of the codes of what is found, and of why a text is blocked: the n-th, from 1, is that of code
    /// n. At most 64, of 64 bytes each.
    const REASONS: &'static [&'static str] = &[];
    /// Bytes of a text that may stay undecided while more of it follows: up to 4,096.
    const HOLD_BACK: u32 = 0;
    /// Version of the layout of what the policy reads by [`Context::learned`]; 0: it reads nothing.
    const KV_SCHEMA: u32 = 0;
    /// The space that it reads, where that is not of its own name: the one that an observer writes.
    const KV: Option<&'static str> = None;

    /// Makes a policy of the operator's configuration: the table `[policies.config.guard]` as JSON, `{}`
    /// where there is none. An error refuses the policy.
    fn new(config: &str) -> Result<Self, PluginError>;

    /// Decides. `state` is what the last call for the passage gave, empty at first; `text`, of at most 8,192
    /// bytes, what of the passage is not decided yet; `last` says that nothing follows, and that all is to be
    /// decided. [`PluginError::Declined`] to the first call of a passage leaves it to the host's native
    /// guard, where that is on.
    fn inspect(
        &self,
        ctx: &Context,
        passage: Passage,
        state: &[u8],
        text: &str,
        last: bool,
    ) -> Result<Verdict, PluginError>;
}

/// How a request is put to a model.
///
/// Pure, as a [`Router`] is.
pub trait Prompter: Sized + Send + Sync + 'static {
    /// What the policy calls itself: 1 to 64 of a–z, 0–9 and `-`.
    const NAME: &'static str;
    /// Names of the codes that edits and refusals carry: the n-th, from 1, is that of code n. At most 64, of
    /// 64 bytes each. Edits for a reason that is not among them are a fault.
    const REASONS: &'static [&'static str] = &[];
    /// Model names (ids or aliases) that `model.names` speaks of: bit i is that of the i-th, from 0.
    /// At most 64.
    const MODEL_NAMES: &'static [&'static str] = &[];
    /// Version of the layout of what the policy reads by [`Context::learned`]; 0: it reads nothing.
    const KV_SCHEMA: u32 = 0;
    /// The space that it reads, where that is not of its own name.
    const KV: Option<&'static str> = None;

    /// Makes a policy of the operator's configuration: the table `[policies.config.prompter]` as JSON,
    /// `{}` where there is none. An error refuses the policy.
    fn new(config: &str) -> Result<Self, PluginError>;

    /// Decides. `first` is the model that is tried first, an index in `models`, which are up to 32; `draft`
    /// is the request as it would go to it. [`PluginError::Declined`] leaves it as it is.
    fn render(
        &self,
        ctx: &Context,
        features: &Features,
        models: &[Model],
        first: u32,
        draft: &Draft,
    ) -> Result<Edits, PluginError>;
}

/// What is learned of what happened. Others read it by [`Context::learned`].
///
/// Told one event after another, off the requests' way. It has no memory but what it writes by
/// [`Context::learn`]: the same state and the same event give the same writes.
pub trait Observer: Sized + Send + Sync + 'static {
    /// What the policy calls itself: 1 to 64 of a–z, 0–9 and `-`.
    const NAME: &'static str;
    /// Model names (ids or aliases) that `model.names` speaks of: bit i is that of the i-th, from 0.
    /// At most 64.
    const MODEL_NAMES: &'static [&'static str] = &[];
    /// Version of the layout of what it writes, at least 1; 0: it writes nothing.
    const KV_SCHEMA: u32 = 0;
    /// The space that it writes, where that is not of its own name. Who reads it names the same.
    const KV: Option<&'static str> = None;

    /// Makes a policy of the operator's configuration: the table `[policies.config.observer]` as JSON, `{}`
    /// where there is none. An error refuses the policy.
    fn new(config: &str) -> Result<Self, PluginError>;

    /// Learns of an event. `at` is when it came to the gateway's notice, in milliseconds since 1970, never less
    /// than in an earlier call; `missed` how many events were left out since the last one. An error writes
    /// nothing.
    fn observe(&self, ctx: &Context, at: u64, missed: u32, event: &Event) -> Result<(), PluginError>;
}

/// How good an outcome is.
///
/// Asked by a command, on an instance of its own each time. Pure, but for what others answer that it calls.
pub trait Evaluator: Sized + Send + Sync + 'static {
    /// What the policy calls itself: 1 to 64 of a–z, 0–9 and `-`.
    const NAME: &'static str;

    /// Makes a policy of the operator's configuration: the table `[policies.config.evaluator]` as JSON, `{}`
    /// where there is none. An error refuses the policy.
    fn new(config: &str) -> Result<Self, PluginError>;

    /// Judges. What is not known is left out of the score; [`PluginError::Declined`] says that nothing is.
    fn score(&self, host: &Host, case: &Case, outcome: &CaseOutcome) -> Result<Score, PluginError>;
}

/// What might be better.
///
/// Asked by a command, on an instance of its own each time. `seed` is the only randomness.
pub trait Mutator: Sized + Send + Sync + 'static {
    /// What the policy calls itself: 1 to 64 of a–z, 0–9 and `-`.
    const NAME: &'static str;
    /// Names of the codes that proposals carry: the n-th, from 1, is that of code n. At most 64, of 64 bytes each.
    const REASONS: &'static [&'static str];

    /// Makes a policy of the operator's configuration: the table `[policies.config.mutator]` as JSON, `{}` where
    /// there is none. An error refuses the policy.
    fn new(config: &str) -> Result<Self, PluginError>;

    /// Proposes. [`PluginError::Declined`] has nothing to propose.
    fn propose(
        &self,
        host: &Host,
        genome: &Genome,
        evidence: &Evidence,
        seed: u64,
    ) -> Result<Vec<Proposal>, PluginError>;
}

/// Exports a type as a component of a world: `export!(MyRouter as router);`, once a crate. A native
/// build has nothing to export.
#[macro_export]
macro_rules! export {
    ($policy:ty as router) => {
        $crate::export! {
            @ $policy, Router, [kv_schema: <$policy as $crate::Router>::KV_SCHEMA, kv: <$policy as $crate::Router>::KV, model_names: <$policy as $crate::Router>::MODEL_NAMES, reasons: <$policy as $crate::Router>::REASONS],
            use exported::bindings::router::exports::kairos::plugin::routing;

            exported::export_router!(Exported with_types_in exported::bindings::router);

            impl routing::Guest for Exported {
                fn route(
                    request: &types::Request,
                    features: types::Features,
                    models: Vec<types::Model>,
                ) -> Result<routing::Plan, types::PluginError> {
                    exported::route(&POLICY, request, &features, &models)
                }
            }
        }
    };
    ($policy:ty as healer) => {
        $crate::export! {
            @ $policy, Healer, [kv_schema: <$policy as $crate::Healer>::KV_SCHEMA, kv: <$policy as $crate::Healer>::KV, model_names: <$policy as $crate::Healer>::MODEL_NAMES, reasons: <$policy as $crate::Healer>::REASONS],
            use exported::bindings::healer::exports::kairos::plugin::healing;

            exported::export_healer!(Exported with_types_in exported::bindings::healer);

            impl healing::Guest for Exported {
                fn heal(
                    request: &types::Request,
                    features: types::Features,
                    failure: healing::Failure,
                    history: Vec<healing::Attempt>,
                    models: Vec<types::Model>,
                ) -> Result<healing::Remedy, types::PluginError> {
                    exported::heal(&POLICY, request, &features, &failure, &history, &models)
                }
            }
        }
    };
    ($policy:ty as guard) => {
        $crate::export! {
            @ $policy, Guard, [kv_schema: <$policy as $crate::Guard>::KV_SCHEMA, kv: <$policy as $crate::Guard>::KV, hold_back: Some(<$policy as $crate::Guard>::HOLD_BACK), reasons: <$policy as $crate::Guard>::REASONS],
            use exported::bindings::guard::exports::kairos::plugin::guarding;

            exported::export_guard!(Exported with_types_in exported::bindings::guard);

            impl guarding::Guest for Exported {
                fn inspect(
                    request: &types::Request,
                    passage: guarding::Passage,
                    state: Vec<u8>,
                    text: String,
                    last: bool,
                ) -> Result<guarding::Verdict, types::PluginError> {
                    exported::inspect(&POLICY, request, passage, &state, &text, last)
                }
            }
        }
    };
    ($policy:ty as prompter) => {
        $crate::export! {
            @ $policy, Prompter, [kv_schema: <$policy as $crate::Prompter>::KV_SCHEMA, kv: <$policy as $crate::Prompter>::KV, model_names: <$policy as $crate::Prompter>::MODEL_NAMES, reasons: <$policy as $crate::Prompter>::REASONS],
            use exported::bindings::prompter::exports::kairos::plugin::prompting;

            exported::export_prompter!(Exported with_types_in exported::bindings::prompter);

            impl prompting::Guest for Exported {
                fn render(
                    request: &types::Request,
                    features: types::Features,
                    models: Vec<types::Model>,
                    first: u32,
                    draft: &$crate::Draft,
                ) -> Result<prompting::Edits, types::PluginError> {
                    exported::render(&POLICY, request, &features, &models, first, draft)
                }
            }
        }
    };
    ($policy:ty as observer) => {
        $crate::export! {
            @ $policy, Observer, [kv_schema: <$policy as $crate::Observer>::KV_SCHEMA, kv: <$policy as $crate::Observer>::KV, model_names: <$policy as $crate::Observer>::MODEL_NAMES, reasons: &[]],
            use exported::bindings::observer::exports::kairos::plugin::observing;

            exported::export_observer!(Exported with_types_in exported::bindings::observer);

            impl observing::Guest for Exported {
                fn observe(
                    request: &types::Request,
                    at: u64,
                    missed: u32,
                    event: &observing::Event,
                ) -> Result<(), types::PluginError> {
                    exported::observe(&POLICY, request, at, missed, event)
                }
            }
        }
    };
    ($policy:ty as evaluator) => {
        $crate::export! {
            @ $policy, Evaluator, [],
            use exported::bindings::evaluator::exports::kairos::plugin::evaluating;

            exported::export_evaluator!(Exported with_types_in exported::bindings::evaluator);

            impl evaluating::Guest for Exported {
                fn score(
                    case: &evaluating::Case,
                    outcome: &evaluating::Outcome,
                ) -> Result<evaluating::Scores, types::PluginError> {
                    exported::score(&POLICY, case, outcome)
                }
            }
        }
    };
    ($policy:ty as mutator) => {
        $crate::export! {
            @ $policy, Mutator, [reasons: <$policy as $crate::Mutator>::REASONS],
            use exported::bindings::mutator::exports::kairos::plugin::mutating;

            exported::export_mutator!(Exported with_types_in exported::bindings::mutator);

            impl mutating::Guest for Exported {
                fn propose(
                    genome: &mutating::Genome,
                    evidence: &mutating::Evidence,
                    seed: u64,
                ) -> Result<Vec<mutating::Proposal>, types::PluginError> {
                    exported::propose(&POLICY, genome, evidence, seed)
                }
            }
        }
    };
    ($policy:ty as $world:ident) => {
        compile_error!(concat!(
            "there is no world `",
            stringify!($world),
            "`; there are `router`, `healer`, `guard`, `prompter`, `observer`, `evaluator` and `mutator`"
        ));
    };
    // What every world exports, and the judgement of this one.
    (@ $policy:ty, $world:ident, [$($fact:ident: $value:expr),*], $($judgement:tt)*) => {
        #[cfg(target_family = "wasm")]
        const _: () = {
            use $crate::exported::{self, lifecycle, types};

            static POLICY: ::std::sync::OnceLock<$policy> = ::std::sync::OnceLock::new();

            struct Exported;
    exported::export_lifecycle!(Exported with_types_in exported::bindings);

            impl lifecycle::Guest for Exported {
                fn describe() -> lifecycle::Description {
                    let facts = exported::Facts {
                        name: <$policy as $crate::$world>::NAME,
                        $($fact: $value,)*
                        ..exported::Facts::NONE
                    };
                    exported::describe(&facts, env!("CARGO_PKG_VERSION"))
                }

                fn init(config: String) -> Result<(), types::PluginError> {
                    exported::init(&POLICY, || <$policy as $crate::$world>::new(&config))
                }
            }

            $($judgement)*
        };
        #[cfg(not(target_family = "wasm"))]
        const _: fn(&str) -> Result<$policy, $crate::PluginError> = <$policy as $crate::$world>::new;
    };
}
