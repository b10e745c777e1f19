//! What the tests' guests share: a router from a function.

wit_bindgen::generate!({
    path: "../../../wit/v0.1",
    world: "router",
    pub_export_macro: true,
    export_macro_name: "export_router",
    default_bindings_module: "guest_kit",
});

pub use exports::kairos::plugin::lifecycle::{self, Description};
pub use exports::kairos::plugin::routing::{self, CacheDirective, Candidate, Plan};
pub use kairos::plugin::types::{Features, Model, PluginError, Request};

/// A plan of one candidate.
pub fn only(model: u32, reason: u32) -> Plan {
    Plan {
        candidates: vec![Candidate { model, probability: 1.0 }],
        max_output_tokens: None,
        max_cost: None,
        cache: CacheDirective::Default,
        reason,
        settings: Vec::new(),
    }
}

/// Whether the host asks on trial, before the policy serves: a bad guest behaves then.
pub fn on_trial(request: &Request) -> bool {
    request.tags().iter().any(|(name, value)| name == "team" && value == "trial")
}

/// A plugin with this name and this `route`.
#[macro_export]
macro_rules! router {
    ($name:literal, $route:expr) => {
        struct Plugin;
        $crate::export_router!(Plugin with_types_in $crate);

        impl $crate::lifecycle::Guest for Plugin {
            fn describe() -> $crate::Description {
                $crate::Description {
                    name: $name.into(),
                    version: "1".into(),
                    reasons: Vec::new(),
                    names: Vec::new(),
                    kv_schema: 0,
                    notes: Vec::new(),
                }
            }

            fn init(_config: String) -> Result<(), $crate::PluginError> {
                Ok(())
            }
        }

        impl $crate::routing::Guest for Plugin {
            fn route(
                request: &$crate::Request,
                features: $crate::Features,
                models: Vec<$crate::Model>,
            ) -> Result<$crate::Plan, $crate::PluginError> {
                let route: fn(
                    &$crate::Request,
                    $crate::Features,
                    Vec<$crate::Model>,
                ) -> Result<$crate::Plan, $crate::PluginError> = $route;
                route(request, features, models)
            }
        }
    };
}
