//! Money in integer picodollars, read from and written as exact decimals.
//!
//! It must not know what is being charged for; it rounds nothing and refuses what it cannot hold.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// Decimal places of a picodollar.
const PLACES: usize = 12;
const PICOS_PER_USD: u128 = 1_000_000_000_000;

/// An exact amount of US dollars, never negative.
///
/// ```
/// use kairos_simulator::Usd;
/// let price: Usd = "0.0000033".parse().unwrap();
/// assert_eq!(price.picodollars(), 3_300_000);
/// assert_eq!(price.to_string(), "0.0000033");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Usd(u128);

impl Usd {
    /// An amount of 10⁻¹² dollars.
    #[must_use]
    pub const fn from_picodollars(picos: u128) -> Self {
        Self(picos)
    }

    /// This amount in 10⁻¹² dollars.
    #[must_use]
    pub const fn picodollars(self) -> u128 {
        self.0
    }
}

impl fmt::Display for Usd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, fraction) = (self.0 / PICOS_PER_USD, self.0 % PICOS_PER_USD);
        if fraction == 0 {
            return write!(f, "{whole}");
        }
        let digits = format!("{fraction:012}");
        write!(f, "{whole}.{}", digits.trim_end_matches('0'))
    }
}

impl Serialize for Usd {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Why a text is not an amount of money.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadAmount {
    /// Not digits with at most one point among them.
    #[error("not a plain decimal number")]
    NotDecimal,
    /// Finer than a picodollar: rounding it would lose money.
    #[error("finer than a picodollar (12 decimal places)")]
    TooFine,
    /// More than can be held.
    #[error("too large")]
    TooLarge,
}

impl FromStr for Usd {
    type Err = BadAmount;

    fn from_str(text: &str) -> Result<Self, BadAmount> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || !digits(fraction) {
            return Err(BadAmount::NotDecimal);
        }
        let fraction = fraction.trim_end_matches('0');
        if fraction.len() > PLACES {
            return Err(BadAmount::TooFine);
        }
        let whole: u128 = whole.parse().map_err(|_| BadAmount::TooLarge)?;
        let picos: u128 = format!("{fraction:0<PLACES$}").parse().map_err(|_| BadAmount::TooFine)?;
        whole.checked_mul(PICOS_PER_USD).and_then(|w| w.checked_add(picos)).map(Self).ok_or(BadAmount::TooLarge)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_exactly_or_refuses() {
        let cases = [
            ("0", Ok(0)),
            ("1", Ok(PICOS_PER_USD)),
            ("0.000000000001", Ok(1)),
            ("0.0000000000010", Ok(1)),
            ("0.0000000000001", Err(BadAmount::TooFine)),
            ("12.5", Ok(12_500_000_000_000)),
            ("", Err(BadAmount::NotDecimal)),
            (".5", Err(BadAmount::NotDecimal)),
            ("5.", Err(BadAmount::NotDecimal)),
            ("1.2.3", Err(BadAmount::NotDecimal)),
            ("-1", Err(BadAmount::NotDecimal)),
            ("+1", Err(BadAmount::NotDecimal)),
            ("1e-6", Err(BadAmount::NotDecimal)),
            ("999999999999999999999999999999999999999", Err(BadAmount::TooLarge)),
            ("340282366920938463463374608", Err(BadAmount::TooLarge)),
        ];
        for (text, expected) in cases {
            assert_eq!(text.parse::<Usd>().map(Usd::picodollars), expected, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(picos in 0..u128::MAX / 2) {
            let amount = Usd::from_picodollars(picos);
            prop_assert_eq!(amount.to_string().parse::<Usd>(), Ok(amount));
        }
    }
}
