//! A guard that never answers.

use guest_kit::Verdict;

guest_kit::guard!("bad-guard-loop", |request, text| {
    if !guest_kit::on_trial(request) {
        let mut count = 0u64;
        while std::hint::black_box(text.len()) > 0 {
            count = std::hint::black_box(count.wrapping_add(1));
        }
    }
    Verdict::pass(text)
});
