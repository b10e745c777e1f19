//! A healer that panics.

use guest_kit::{Action, Remedy};

guest_kit::healer!("bad-healer-panic", |request, _, _| {
    assert!(guest_kit::on_trial(request), "no remedy is good enough");
    Remedy::new(Action::Next, 1)
});
