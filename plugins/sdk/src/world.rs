//! Worlds: what a policy judges. One trait each, and one arm of `export!`.

use crate::{Context, Features, Model, Plan, PluginError};

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

    /// Makes a policy of the operator's configuration: the table `[policies.config.router]` as JSON,
    /// `{}` where there is none. An error refuses the policy.
    fn new(config: &str) -> Result<Self, PluginError>;

    /// Decides. [`PluginError::Declined`] leaves it to the host's native default.
    fn route(&self, ctx: &Context, features: &Features, models: &[Model]) -> Result<Plan, PluginError>;
}

/// Exports a type as a component of a world: `export!(MyRouter as router);`, once a crate. A native
/// build has nothing to export.
#[macro_export]
macro_rules! export {
    ($policy:ty as router) => {
        #[cfg(target_family = "wasm")]
        const _: () = {
            use $crate::exported::{self, lifecycle, routing, types};

            static POLICY: ::std::sync::OnceLock<$policy> = ::std::sync::OnceLock::new();

            struct Exported;
    exported::export_router!(Exported with_types_in exported::bindings);

            impl lifecycle::Guest for Exported {
                fn describe() -> lifecycle::Description {
                    exported::describe::<$policy>(env!("CARGO_PKG_VERSION"))
                }

                fn init(config: String) -> Result<(), types::PluginError> {
                    exported::init(&POLICY, &config)
                }
            }

            impl routing::Guest for Exported {
                fn route(
                    request: &types::Request,
                    features: types::Features,
                    models: Vec<types::Model>,
                ) -> Result<routing::Plan, types::PluginError> {
                    exported::route(&POLICY, request, &features, &models)
                }
            }
        };
        #[cfg(not(target_family = "wasm"))]
        const _: fn(&str) -> Result<$policy, $crate::PluginError> = <$policy as $crate::Router>::new;
    };
    ($policy:ty as $world:ident) => {
        compile_error!(concat!("there is no world `", stringify!($world), "`; there is `router`"));
    };
}
