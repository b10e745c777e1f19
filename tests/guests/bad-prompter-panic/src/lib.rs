//! A prompter that panics, with what the caller wrote.

use guest_kit::Edits;

guest_kit::prompter!("bad-prompter-panic", |request, draft| {
    if !guest_kit::on_trial(request) {
        panic!("{:?}", draft.message(0));
    }
    Edits::new(1)
});
