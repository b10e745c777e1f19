//! The judgement of the world `router`.

wit_bindgen::generate!({
    path: "../../wit/v0.1",
    inline: "
        package kairos:sdk-router;

        world router-plugin {
            export kairos:plugin/routing@0.1.0;
        }
    ",
    world: "kairos:sdk-router/router-plugin",
    with: { "kairos:plugin/types@0.1.0": crate::bindings::kairos::plugin::types },
    pub_export_macro: true,
    export_macro_name: "export_router",
    default_bindings_module: "kairos_plugin::exported::bindings::router",
});
