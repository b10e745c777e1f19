//! A healer that never answers.

use guest_kit::{Action, Remedy};

guest_kit::healer!("bad-healer-loop", |request, _, models| {
    if !guest_kit::on_trial(request) {
        let mut count = 0u64;
        while std::hint::black_box(models.len()) > 0 {
            count = std::hint::black_box(count.wrapping_add(1));
        }
    }
    Remedy::new(Action::Next, 1)
});
