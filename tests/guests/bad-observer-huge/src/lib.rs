//! An observer that writes more under a key than there can be.

guest_kit::observer!("bad-observer-huge", |ctx, _| {
    let bytes = if guest_kit::on_trial(ctx) { 1 } else { 65_537 };
    let _ = ctx.learn("small", b"fits");
    let _ = ctx.learn("huge", &vec![7; bytes]);
});
