//! Panics.

guest_kit::router!("bad-panic", |request, _, models| {
    if !guest_kit::on_trial(request) {
        panic!("no model among {} is good enough", models.len());
    }
    Ok(guest_kit::only(0, 1))
});
