//! Takes memory without end.

guest_kit::router!("bad-memory", |request, _, _| {
    let mut taken: Vec<Vec<u8>> = Vec::new();
    while !guest_kit::on_trial(request) {
        taken.push(std::hint::black_box(vec![1; 1 << 20]));
    }
    Ok(guest_kit::only(0, 1))
});
