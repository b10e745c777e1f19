//! The judgement of the world `healer`.

wit_bindgen::generate!({
    path: "../../wit/v0.1",
    inline: "
        package kairos:sdk-healer;

        world healer-plugin {
            export kairos:plugin/healing@0.1.0;
        }
    ",
    world: "kairos:sdk-healer/healer-plugin",
    with: { "kairos:plugin/types@0.1.0": crate::bindings::kairos::plugin::types },
    pub_export_macro: true,
    export_macro_name: "export_healer",
    default_bindings_module: "kairos_plugin::exported::bindings::healer",
});
