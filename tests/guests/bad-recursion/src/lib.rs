//! Calls itself until the stack is full.

#[allow(unconditional_recursion)]
fn deeper(depth: u64) -> u64 {
    let here = std::hint::black_box([depth; 64]);
    deeper(depth + 1).wrapping_add(here[(depth % 64) as usize])
}

guest_kit::router!("bad-recursion", |request, _, _| {
    let reason = if guest_kit::on_trial(request) { 1 } else { deeper(0) as u32 };
    Ok(guest_kit::only(0, reason))
});
