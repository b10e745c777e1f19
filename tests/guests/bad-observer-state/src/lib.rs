//! An observer that remembers what it does not write down.

use std::sync::atomic::{AtomicU32, Ordering};

static CALLS: AtomicU32 = AtomicU32::new(0);

guest_kit::observer!("bad-observer-state", |ctx, _| {
    let calls = if guest_kit::on_trial(ctx) { 0 } else { CALLS.fetch_add(1, Ordering::Relaxed) };
    let _ = ctx.learn("calls", calls.to_string().as_bytes());
});
