//! A healer that waits for longer than it may.

use guest_kit::{Action, Remedy};

guest_kit::healer!("bad-healer-wait", |request, _, _| {
    let least = if guest_kit::on_trial(request) { 0 } else { u32::MAX };
    Remedy::new(Action::Retry, 1).after(least, 0, 0)
});
