//! The judgement of the world `mutator`, and what it begins with.

wit_bindgen::generate!({
    path: "../../wit/v0.1",
    inline: "
        package kairos:sdk-mutator;

        world mutator-plugin {
            export kairos:plugin/mutating@0.1.0;
        }
    ",
    world: "kairos:sdk-mutator/mutator-plugin",
    with: {
        "kairos:plugin/types@0.1.0": crate::bindings::kairos::plugin::types,
        "kairos:plugin/fitness@0.1.0": crate::bindings::evaluator::kairos::plugin::fitness,
        "kairos:plugin/genomes@0.1.0": generate,
    },
    pub_export_macro: true,
    export_macro_name: "export_mutator",
    default_bindings_module: "kairos_plugin::exported::bindings::mutator",
});
