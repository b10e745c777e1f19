//! An observer that writes, and then traps.

guest_kit::observer!("bad-observer-trap", |ctx, _| {
    let _ = ctx.learn("before", b"the trap");
    assert!(guest_kit::on_trial(ctx), "it wrote, and then it trapped");
});
