//! An observer that makes more changes in a call than it may.

guest_kit::observer!("bad-observer-flood", |ctx, _| {
    let changes = if guest_kit::on_trial(ctx) { 1 } else { 65 };
    for number in 0..changes {
        let _ = ctx.learn(&format!("key {number}"), b"flood");
    }
});
