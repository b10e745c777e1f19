//! A prompter that changes what is not there.

use guest_kit::{Edits, TextChange};

guest_kit::prompter!("bad-prompter-place", |request, draft| {
    let mut edits = Edits::new(1);
    if !guest_kit::on_trial(request) {
        edits.change(draft.messages(), 0, TextChange::Remove);
    }
    edits
});
