//! An evaluator that gives what is no number.

guest_kit::evaluator!("bad-evaluator-nan", |_, case, _| {
    let value = if guest_kit::is_trial(case) { 1.0 } else { f64::NAN };
    guest_kit::Score::new().metric("good", guest_kit::Measure::Share, value)
});
