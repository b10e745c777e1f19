//! Phone numbers.

use super::{Kind, Match, ends_number};

/// Digits of a number with its country's code.
const LEAST: usize = 8;
const MOST: usize = 15;
/// Separators between two digits, at most.
const MOST_BETWEEN: usize = 3;

/// A number with its country's code, behind a `+`.
pub(super) fn international(text: &[u8]) -> Option<Match> {
    text.get(1).filter(|first| (b'1'..=b'9').contains(first))?;
    let (mut at, mut digits, mut longest) = (1, 0, None);
    while digits < MOST && text.get(at).is_some_and(u8::is_ascii_digit) {
        (at, digits) = (at + 1, digits + 1);
        let rest = &text[at..];
        if digits >= LEAST && rest.first().is_none_or(|next| !next.is_ascii_alphanumeric()) {
            longest = Some(Match::new(Kind::Phone, at));
        }
        at += rest.iter().take(MOST_BETWEEN).take_while(|byte| b" -./()".contains(byte)).count();
    }
    longest
}

/// A number of North America, its area in parentheses or not: `(555) 123-4567`, `1-555-123-4567`.
pub(super) fn north_american(text: &[u8]) -> Option<Match> {
    let mut at = 0;
    if let [b'1', b' ' | b'-' | b'.', ..] = text {
        at = 2;
    }
    let is_open = text.get(at) == Some(&b'(');
    at += usize::from(is_open);
    let area = three(text, at)?;
    if area[1] == b'9' {
        return None;
    }
    at += 3;
    if is_open {
        (text.get(at) == Some(&b')')).then_some(())?;
        at += 1 + usize::from(is_separator(text, at + 1));
    } else {
        is_separator(text, at).then_some(())?;
        at += 1;
    }
    three(text, at)?;
    is_separator(text, at + 3).then_some(())?;
    at += 4;
    let line = text.get(at..at + 4)?;
    let rest = &text[at + 4..];
    let goes_on = matches!(rest, [b'-', next, ..] if next.is_ascii_digit());
    (line.iter().all(u8::is_ascii_digit) && ends_number(rest) && !goes_on).then(|| Match::new(Kind::Phone, at + 4))
}

fn is_separator(text: &[u8], at: usize) -> bool {
    matches!(text.get(at), Some(b' ' | b'-' | b'.'))
}

/// An area or an exchange: the first digit from 2 to 9, and no service like 911.
fn three(text: &[u8], at: usize) -> Option<[u8; 3]> {
    let digits: [u8; 3] = text.get(at..at + 3)?.try_into().ok()?;
    let is_number = digits.iter().all(u8::is_ascii_digit) && digits[0] >= b'2' && digits[1..] != *b"11";
    is_number.then_some(digits)
}
