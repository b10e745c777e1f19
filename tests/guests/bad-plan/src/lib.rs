//! Gives a plan that is not valid: a model that was not offered.

guest_kit::router!("bad-plan", |request, _, models| {
    let model = if guest_kit::on_trial(request) { 0 } else { models.len() as u32 };
    Ok(guest_kit::only(model, 1))
});
