//! A healer that remembers earlier calls.

use std::sync::atomic::{AtomicU32, Ordering};

use guest_kit::{Action, Remedy};

static CALLS: AtomicU32 = AtomicU32::new(0);

guest_kit::healer!("bad-healer-state", |request, _, _| {
    let calls = if guest_kit::on_trial(request) { 0 } else { CALLS.fetch_add(1, Ordering::Relaxed) };
    Remedy::new(Action::Next, calls)
});
