//! Decimal numbers of bills, exact to a picodollar, or a millionth of a token.

/// Reads a decimal number, in units of 10⁻¹²: digits with at most one point, a sign, an exponent. What is
/// beyond the twelfth place is rounded to the nearest. None where it is no number, or beyond all sense.
pub(crate) fn parse(text: &str) -> Option<i128> {
    const PLACES: i32 = 12;
    let text = text.trim();
    let (negative, text) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = || whole.bytes().chain(fraction.bytes());
    if whole.len() + fraction.len() == 0 || mantissa.len() > 64 || !(-64..=24).contains(&exponent) {
        return None;
    }
    if !digits().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    // Where the point would be, if all digits were kept.
    let mut keep = i32::try_from(whole.len()).ok()? + exponent + PLACES;
    let mut sum = 0i128;
    for digit in digits() {
        if keep <= 0 {
            if keep == 0 && digit >= b'5' {
                sum += 1;
            }
            keep -= 1;
            continue;
        }
        sum = sum.checked_mul(10)?.checked_add(i128::from(digit - b'0'))?;
        keep -= 1;
    }
    for _ in 0..keep.max(0) {
        sum = sum.checked_mul(10)?;
    }
    Some(if negative { -sum } else { sum })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_are_read_as_bills_write_them() {
        for (text, units) in [
            ("0", 0),
            ("1", 1_000_000_000_000),
            ("-0.0000032", -3_200_000),
            ("3.2E-6", 3_200_000),
            ("3.2e-06", 3_200_000),
            ("1.5e3", 1_500_000_000_000_000),
            ("0.0000000000005", 1),
            ("0.0000000000004", 0),
            ("0.00000000000049", 0),
            ("+.5", 500_000_000_000),
            (" 2. ", 2_000_000_000_000),
        ] {
            assert_eq!(parse(text), Some(units), "{text}");
        }
        for text in ["", "-", ".", "1,5", "NaN", "inf", "1e", "1e99", "0x1", "1.2.3", "--1", "１", &"9".repeat(65)] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(units in -10i128.pow(30)..10i128.pow(30)) {
            prop_assert_eq!(parse(&crate::spend::signed_dollars(units)), Some(units));
        }

        #[test]
        fn nothing_breaks_it(text in ".{0,40}") {
            let _ = parse(&text);
        }
    }
}
