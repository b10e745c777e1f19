//! The judgement of the world `observer`, and what it is told of.

wit_bindgen::generate!({
    path: "../../wit/v0.1",
    inline: "
        package kairos:sdk-observer;

        world observer-plugin {
            import kairos:plugin/events@0.1.0;
            export kairos:plugin/observing@0.1.0;
        }
    ",
    world: "kairos:sdk-observer/observer-plugin",
    with: {
        "kairos:plugin/types@0.1.0": crate::bindings::kairos::plugin::types,
        "kairos:plugin/events@0.1.0": generate,
    },
    pub_export_macro: true,
    export_macro_name: "export_observer",
    default_bindings_module: "kairos_plugin::exported::bindings::observer",
});
