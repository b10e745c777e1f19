//! Exact money: whole picodollars.

use std::fmt;

/// An amount in picodollars (10⁻¹² US dollars).
///
/// Every price of Bedrock is a whole number of picodollars per token, so no sum is ever rounded.
/// A `u64` holds 18 million dollars, which is more than one request can cost; totals are `u128`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Picodollars(pub u64);

impl Picodollars {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// Picodollars in a dollar.
    pub const PER_DOLLAR: u64 = 1_000_000_000_000;

    /// The sum, or none where it does not fit.
    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self)
    }

    /// The difference, or none where `other` is more.
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        self.0.checked_sub(other.0).map(Self)
    }

    /// So many times the amount, or none where it does not fit.
    pub fn checked_mul(self, times: u64) -> Option<Self> {
        self.0.checked_mul(times).map(Self)
    }

    /// Reads a decimal number of dollars: digits with at most one point, at most 12 places.
    pub fn parse_dollars(text: &str) -> Option<Self> {
        Self::parse_scaled(text, 12)
    }

    /// Reads a decimal number of dollars per million: the picodollars of one. At most 6 places.
    pub fn parse_dollars_per_million(text: &str) -> Option<Self> {
        Self::parse_scaled(text, 6)
    }

    fn parse_scaled(text: &str, places: usize) -> Option<Self> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if (whole.is_empty() && fraction.is_empty()) || !digits(whole) || !digits(fraction) {
            return None;
        }
        let fraction = fraction.trim_end_matches('0');
        if fraction.len() > places {
            return None;
        }
        let padded = format!("{whole}{fraction}{}", "0".repeat(places - fraction.len()));
        padded.parse().ok().map(Self)
    }
}

/// A sum as a decimal number of dollars.
pub fn dollars(picodollars: u128) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = write_dollars(picodollars, &mut text);
    text
}

/// Writes a decimal number of dollars, exact, without trailing zeros.
fn write_dollars(picodollars: u128, formatter: &mut impl fmt::Write) -> fmt::Result {
    let per_dollar = u128::from(Picodollars::PER_DOLLAR);
    let whole = picodollars / per_dollar;
    match whole {
        0 => formatter.write_char('0'),
        _ => write!(formatter, "{whole}"),
    }?;
    // Below 10¹².
    let mut fraction = (picodollars % per_dollar) as u64;
    if fraction == 0 {
        return Ok(());
    }
    let mut digits = *b".000000000000";
    for digit in digits[1..].iter_mut().rev() {
        *digit += (fraction % 10) as u8;
        fraction /= 10;
    }
    formatter.write_str(std::str::from_utf8(&digits).unwrap_or_default().trim_end_matches('0'))
}

impl fmt::Display for Picodollars {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_dollars(u128::from(self.0), formatter)
    }
}

impl serde::Serialize for Picodollars {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Picodollars {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        Self::parse_dollars(&text).ok_or_else(|| serde::de::Error::custom("an amount of US dollars is expected"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn dollars_are_exact() {
        for (text, picodollars) in [
            ("0", 0),
            ("0.000000000001", 1),
            ("1", 1_000_000_000_000),
            (".5", 500_000_000_000),
            ("2.50", 2_500_000_000_000),
        ] {
            assert_eq!(Picodollars::parse_dollars(text), Some(Picodollars(picodollars)), "{text}");
        }
        assert_eq!(Picodollars::parse_dollars_per_million("0.00875"), Some(Picodollars(8_750)));
        for text in ["", ".", "1e3", "-1", "+1", "1.0000000000001", "1,5", " 1", "99999999999", "1.2.3", "１"] {
            assert_eq!(Picodollars::parse_dollars(text), None, "{text}");
        }
        assert_eq!(Picodollars(0).to_string(), "0");
        assert_eq!(Picodollars(1_500_000_000_000).to_string(), "1.5");
        assert_eq!(Picodollars(1).to_string(), "0.000000000001");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(amount in any::<u64>()) {
            prop_assert_eq!(Picodollars::parse_dollars(&Picodollars(amount).to_string()), Some(Picodollars(amount)));
        }
    }
}
