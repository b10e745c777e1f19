//! Calls itself until the stack is full.

#[allow(unconditional_recursion)]
#[inline(never)]
fn deeper(depth: u64) -> u64 {
    // Nothing here needs memory: it is the stack of calls that fills up.
    depth.wrapping_mul(deeper(depth ^ 1) | 1).rotate_left(7)
}

guest_kit::router!("bad-recursion", |request, _, _| {
    let reason = if guest_kit::on_trial(request) { 1 } else { deeper(0) as u32 };
    Ok(guest_kit::only(0, reason))
});
