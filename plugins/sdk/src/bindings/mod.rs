//! What the contract generates. All capabilities are declared; the component imports those that its
//! code uses.

wit_bindgen::generate!({
    path: "../../wit/v0.1",
    inline: "
        package kairos:sdk;

        world router-plugin {
            include kairos:plugin/router@0.1.0;
            import kairos:plugin/log@0.1.0;
            import kairos:plugin/metrics@0.1.0;
            import kairos:plugin/kv@0.1.0;
            import kairos:plugin/content@0.1.0;
        }
    ",
    world: "kairos:sdk/router-plugin",
    generate_all,
    pub_export_macro: true,
    export_macro_name: "export_router",
    default_bindings_module: "kairos_plugin::exported::bindings",
});
