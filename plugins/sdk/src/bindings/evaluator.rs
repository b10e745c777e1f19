//! The judgement of the world `evaluator`, and what it judges.

wit_bindgen::generate!({
    path: "../../wit/v0.1",
    inline: "
        package kairos:sdk-evaluator;

        world evaluator-plugin {
            export kairos:plugin/evaluating@0.1.0;
        }
    ",
    world: "kairos:sdk-evaluator/evaluator-plugin",
    with: {
        "kairos:plugin/types@0.1.0": crate::bindings::kairos::plugin::types,
        "kairos:plugin/cases@0.1.0": generate,
        "kairos:plugin/fitness@0.1.0": generate,
    },
    pub_export_macro: true,
    export_macro_name: "export_evaluator",
    default_bindings_module: "kairos_plugin::exported::bindings::evaluator",
});
