//! Numbers of payment cards.

use crate::run;

const FEWEST: usize = 13;
const MOST: usize = 19;

/// The bytes of a card's number that a window begins with: of several ends the last counts.
pub(crate) fn find(window: &[u8]) -> Option<usize> {
    let digits = |from: usize| run(&window[from..], |byte| byte.is_ascii_digit());
    let first = digits(0);
    if (FEWEST..=MOST).contains(&first) {
        return is_card(&window[..first], &window[first..]).then_some(first);
    }
    let separator = window.get(first).copied().filter(|byte| first == 4 && (*byte == b' ' || *byte == b'-'))?;
    let (mut at, mut found) = (first, None);
    while window.get(at) == Some(&separator) {
        let group = digits(at + 1);
        let end = at + 1 + group;
        if (1..=6).contains(&group) && is_card(&window[..end], &window[end..]) {
            found = Some(end);
        }
        if group != 4 && group != 6 {
            break;
        }
        at = end;
    }
    found
}

/// Whether the digits of a text are those of a card, and it ends before the rest.
fn is_card(text: &[u8], rest: &[u8]) -> bool {
    let ends = match rest {
        [b'.', next, ..] => !next.is_ascii_digit(),
        [next, ..] => !next.is_ascii_alphanumeric(),
        [] => true,
    };
    let digits: Vec<u32> =
        text.iter().filter(|byte| byte.is_ascii_digit()).map(|byte| u32::from(byte - b'0')).collect();
    ends && (FEWEST..=MOST).contains(&digits.len()) && is_issued(&digits[..4]) && luhn(&digits).is_multiple_of(10)
}

fn is_issued(first: &[u32]) -> bool {
    let number = first.iter().fold(0, |number, digit| number * 10 + digit);
    matches!(number, 2200..=2204 | 2221..=2720 | 3000..=3059 | 3400..=5899 | 6000..=6999)
}

fn luhn(digits: &[u32]) -> u32 {
    let doubled = |digit: u32| if digit > 4 { digit * 2 - 9 } else { digit * 2 };
    let each = digits.iter().rev().enumerate();
    each.map(|(place, digit)| if place % 2 == 0 { *digit } else { doubled(*digit) }).sum()
}
