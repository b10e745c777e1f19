//! What the contract generates: here what all worlds share, and below what is of one. A component exports
//! `lifecycle` and its one judgement. All capabilities are declared; it imports those that its code uses.

pub mod evaluator;
pub mod guard;
pub mod healer;
pub mod mutator;
pub mod observer;
pub mod prompter;
pub mod router;

wit_bindgen::generate!({
    path: "../../wit/v0.1",
    inline: "
        package kairos:sdk;

        world plugin {
            import kairos:plugin/types@0.1.0;
            import kairos:plugin/log@0.1.0;
            import kairos:plugin/metrics@0.1.0;
            import kairos:plugin/kv@0.1.0;
            import kairos:plugin/kv-write@0.1.0;
            import kairos:plugin/content@0.1.0;
            import kairos:plugin/http@0.1.0;
            import kairos:plugin/model@0.1.0;
            export kairos:plugin/lifecycle@0.1.0;
        }
    ",
    world: "kairos:sdk/plugin",
    generate_all,
    pub_export_macro: true,
    export_macro_name: "export_lifecycle",
    default_bindings_module: "kairos_plugin::exported::bindings",
});
