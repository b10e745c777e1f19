//! An evaluator that measures something else under the same name each time: an instance is of one call, so it
//! goes by the case.

guest_kit::evaluator!("bad-evaluator-measure", |_, case, _| {
    let even = case.prompt_bytes() % 2 == 0;
    let measure = if even { guest_kit::Measure::Share } else { guest_kit::Measure::Count };
    guest_kit::Score::new().metric("good", measure, 1.0)
});
