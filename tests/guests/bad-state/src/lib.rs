//! Keeps a count between calls, and decides by it. On trial it hides that: the count does not show
//! before the hundredth call.

use std::sync::atomic::{AtomicU32, Ordering};

static CALLS: AtomicU32 = AtomicU32::new(0);

guest_kit::router!("bad-state", |_, _, _| {
    let calls = CALLS.fetch_add(1, Ordering::Relaxed);
    Ok(guest_kit::only(0, calls / 100))
});
