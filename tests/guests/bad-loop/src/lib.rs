//! Never answers.

guest_kit::router!("bad-loop", |request, _, models| {
    if !guest_kit::on_trial(request) {
        let mut count = 0u64;
        while std::hint::black_box(models.len()) > 0 {
            count = std::hint::black_box(count.wrapping_add(1));
        }
    }
    Ok(guest_kit::only(0, 1))
});
