//! A mutator whose edits do not apply, each for another reason, and one that does.

use guest_kit::{Change, Proposal};

guest_kit::mutator!("bad-mutator-edits", |_, _, _| {
    let one = |slot: &str, change| Proposal::new(1).edit(slot, change);
    vec![
        one("missing", Change::Replace("x".into())),
        one("s.txt", Change::Passage(("is not there".into(), "x".into()))),
        one("s.txt", Change::Number((u32::MAX, 1.0))),
        one("s.txt", Change::Replace("x".repeat(300_000))),
        one("s.txt", Change::Replace("one".into())),
        one("s.txt", Change::Replace("one".into())),
    ]
});
