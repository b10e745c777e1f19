//! Numbers in a text, whatever language it is in.

use super::MOST_NUMBERS;

/// A number in a text. See `number` in `mutator.wit`.
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(missing_docs, reason = "the contract documents each field")]
pub struct Number {
    pub start: u32,
    pub end: u32,
    pub value: f64,
    pub whole: bool,
}

/// Bytes of a number: longer ones are identifiers of something.
const MOST_DIGITS: usize = 32;

/// The first numbers of a text, in their order.
pub fn numbers(text: &str) -> Vec<Number> {
    let bytes = text.as_bytes();
    let (mut found, mut at, mut quoted) = (Vec::new(), 0, false);
    while at < bytes.len() && found.len() < MOST_NUMBERS {
        match bytes[at] {
            b'\n' => quoted = false,
            b'"' => quoted = !quoted,
            b'\\' if quoted => at += 1,
            byte if is_of_a_word(byte) => {
                let end = end_of_word(bytes, at);
                if !quoted && let Some(number) = number(text, at, end) {
                    found.push(number);
                }
                at = end;
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    found
}

/// What a number cannot touch: letters (any byte of a character beyond ASCII may be of one), digits, `_`, `.`.
fn is_of_a_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'.' || byte >= 0x80
}

/// Where a word ends: the sign of an exponent is within it. Points at its end end a sentence, or a range.
fn end_of_word(bytes: &[u8], start: usize) -> usize {
    let mut end = start;
    while end < bytes.len() {
        let exponent = matches!(bytes[end], b'+' | b'-')
            && end > start
            && matches!(bytes[end - 1], b'e' | b'E')
            && bytes[start].is_ascii_digit()
            && bytes.get(end + 1).is_some_and(u8::is_ascii_digit);
        if !is_of_a_word(bytes[end]) && !exponent {
            break;
        }
        end += 1;
    }
    end
}

/// The number that a word is.
fn number(text: &str, start: usize, end: usize) -> Option<Number> {
    let mut word = text.get(start..end)?;
    // A point that ends a sentence is not the number's.
    if let Some(rest) = word.strip_suffix('.') {
        word = rest;
    }
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let (mantissa, exponent) = match word.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (word, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    let well = word.len() <= MOST_DIGITS
        && digits(whole)
        && fraction.is_none_or(digits)
        && exponent.is_none_or(|exponent| digits(exponent.strip_prefix(['+', '-']).unwrap_or(exponent)));
    let value: f64 = word.parse().ok().filter(|value: &f64| well && value.is_finite())?;
    let end = start + word.len();
    let (start, end) = (u32::try_from(start).ok()?, u32::try_from(end).ok()?);
    Some(Number { start, end, value, whole: fraction.is_none() && exponent.is_none() })
}

/// A value, written as a number that is read as the same; none where it is not one, or is not whole and
/// should be.
pub(super) fn written(value: f64, whole: bool) -> Option<String> {
    if !value.is_finite() || value.is_sign_negative() {
        return None;
    }
    if whole {
        let fits = value.fract() == 0.0 && value < crate::policy::WHOLE_BELOW;
        return fits.then(|| format!("{}", value as u64));
    }
    // The shortest that is read as the same, always with a fraction.
    Some(format!("{value:?}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_are_found_where_they_stand_alone() {
        let text = "x1 = 3; const W=0.25; // v2.1 9a 1e-3 .5 5. 7.\n\"8 \\\" 9\" 10 `11` \" 12\n13 -14 1..15 0x10 é16 17é 1_000 1e 2e+2";
        let found: Vec<_> = numbers(text).iter().map(|n| &text[n.start as usize..n.end as usize]).collect();
        assert_eq!(found, ["3", "0.25", "1e-3", "5", "7", "10", "11", "13", "14", "2e+2"]);
        let values: Vec<_> = numbers("3 0.25 1e-3 2e2").iter().map(|n| (n.value, n.whole)).collect();
        assert_eq!(values, [(3.0, true), (0.25, false), (0.001, false), (200.0, false)]);
        assert_eq!(numbers(&"1 ".repeat(5_000)).len(), MOST_NUMBERS);
        assert!(numbers(&"9".repeat(400)).is_empty());
    }

    #[test]
    fn numbers_are_written_as_they_are_read() {
        for (value, whole, text) in [
            (3.0, true, Some("3")),
            (3.0, false, Some("3.0")),
            (0.1, false, Some("0.1")),
            (1e-7, false, Some("1e-7")),
            (3.5, true, None),
            (9_007_199_254_740_992.0, true, None),
            (-1.0, false, None),
            (-0.0, true, None),
            (f64::NAN, false, None),
            (f64::INFINITY, false, None),
        ] {
            assert_eq!(written(value, whole).as_deref(), text);
        }
    }

    proptest! {
        /// What is written is found again, with its value, wherever it is put.
        #[test]
        fn what_is_written_is_a_number(value in 0.0f64..1e300, whole in any::<bool>(), rest in "[ -~]{0,20}") {
            let value = if whole { (value % 1e15).floor() } else { value };
            let text = format!("{} {rest}", written(value, whole).unwrap());
            let found = numbers(&text)[0];
            prop_assert_eq!((found.start, found.value, found.whole), (0, value, whole));
        }

        /// Whatever a text is, its numbers lie within it, in order, and none overlaps another.
        #[test]
        fn numbers_are_within_their_text(text in "\\PC{0,60}") {
            let mut last = 0;
            for number in numbers(&text) {
                prop_assert!(last <= number.start && number.start < number.end);
                let word = &text[number.start as usize..number.end as usize];
                prop_assert_eq!(word.parse::<f64>().unwrap(), number.value);
                last = number.end;
            }
        }
    }
}
