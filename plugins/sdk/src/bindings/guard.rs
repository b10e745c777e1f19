//! The judgement of the world `guard`.

wit_bindgen::generate!({
    path: "../../wit/v0.1",
    inline: "
        package kairos:sdk-guard;

        world guard-plugin {
            export kairos:plugin/guarding@0.1.0;
        }
    ",
    world: "kairos:sdk-guard/guard-plugin",
    with: { "kairos:plugin/types@0.1.0": crate::bindings::kairos::plugin::types },
    pub_export_macro: true,
    export_macro_name: "export_guard",
    default_bindings_module: "kairos_plugin::exported::bindings::guard",
});
