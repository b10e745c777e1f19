//! A prompter that writes more than it may.

use guest_kit::Edits;

guest_kit::prompter!("bad-prompter-text", |request, draft| {
    let mut edits = Edits::new(1);
    if !guest_kit::on_trial(request) {
        edits.system_before = Some("x".repeat(262_145 + draft.messages() as usize));
    }
    edits
});
