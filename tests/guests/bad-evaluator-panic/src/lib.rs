//! An evaluator that panics.

guest_kit::evaluator!("bad-evaluator-panic", |_, case, _| {
    assert!(guest_kit::is_trial(case), "this is no trial");
    guest_kit::Score::new().metric("good", guest_kit::Measure::Share, 1.0)
});
