//! Takes memory without end.

guest_kit::router!("bad-memory", |request, _, _| {
    let mut taken: Vec<Vec<u8>> = Vec::new();
    while !guest_kit::on_trial(request) {
        // Taken, not written to: writing takes time, and how much is not known.
        taken.push(std::hint::black_box(Vec::with_capacity(1 << 20)));
    }
    Ok(guest_kit::only(0, 1))
});
