//! An observer that writes, and then never ends.

guest_kit::observer!("bad-observer-loop", |ctx, event| {
    let _ = ctx.learn("before", b"the loop");
    if !guest_kit::on_trial(ctx) {
        let mut count = 0u64;
        while std::hint::black_box(event.duration_ms()) < u32::MAX {
            count = std::hint::black_box(count.wrapping_add(1));
        }
    }
});
