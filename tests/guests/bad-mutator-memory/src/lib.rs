//! A mutator that takes memory until there is none.

guest_kit::mutator!("bad-mutator-memory", |_, genome, seed| {
    let mut all = Vec::new();
    if seed == 13 {
        loop {
            all.push(vec![std::hint::black_box(1u8); 1 << 20]);
        }
    }
    let slot = genome.slots().into_iter().map(|(slot, _)| slot).next().unwrap_or_default();
    vec![guest_kit::Proposal::new(1).edit(&slot, guest_kit::Change::Replace(format!("{}", all.len())))]
});
