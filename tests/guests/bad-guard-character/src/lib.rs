//! A guard that replaces a part of a character.

use guest_kit::Verdict;

guest_kit::guard!("bad-guard-character", |request, text| {
    let mut verdict = Verdict::pass(text);
    if let Some(at) = text.find('ü').filter(|_| !guest_kit::on_trial(request)) {
        verdict.replace(at, at + 1, "u");
    }
    verdict
});
