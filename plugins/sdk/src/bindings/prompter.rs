//! The judgement of the world `prompter`.

wit_bindgen::generate!({
    path: "../../wit/v0.1",
    inline: "
        package kairos:sdk-prompter;

        world prompter-plugin {
            export kairos:plugin/prompting@0.1.0;
        }
    ",
    world: "kairos:sdk-prompter/prompter-plugin",
    with: {
        "kairos:plugin/types@0.1.0": crate::bindings::kairos::plugin::types,
        "kairos:plugin/drafts@0.1.0": generate,
    },
    pub_export_macro: true,
    export_macro_name: "export_prompter",
    default_bindings_module: "kairos_plugin::exported::bindings::prompter",
});
