//! A guard that decides more than there is.

use guest_kit::Verdict;

guest_kit::guard!("bad-guard-range", |request, text| {
    let more = if guest_kit::on_trial(request) { 0 } else { 1 };
    Verdict::deciding(text.len() + more)
});
