//! A mutator that proposes more than it may, for one seed.

guest_kit::mutator!("bad-mutator-flood", |_, _, seed| {
    let count = if seed == 13 { 17 } else { 1 };
    vec![guest_kit::Proposal::new(1).edit("s", guest_kit::Change::Replace("x".into())); count]
});
