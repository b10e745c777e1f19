//! An evaluator that never ends, once it is asked of something else than the trial's cases.

guest_kit::evaluator!("bad-evaluator-loop", |_, case, outcome| {
    let mut count = 0u64;
    while std::hint::black_box(!guest_kit::is_trial(case)) && outcome.text_bytes() < u32::MAX {
        count = std::hint::black_box(count.wrapping_add(1));
    }
    guest_kit::Score::new().metric("count", guest_kit::Measure::Count, count as f64)
});
