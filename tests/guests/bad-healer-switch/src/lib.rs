//! A healer that switches to a model that is not there.

use guest_kit::{Action, Remedy};

guest_kit::healer!("bad-healer-switch", |request, _, models| {
    let action = if guest_kit::on_trial(request) { Action::Next } else { Action::Switch(models.len() as u32) };
    Remedy::new(action, 1)
});
