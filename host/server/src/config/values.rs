//! Values of settings that are more than a number or a text.

use std::time::Duration;

use kairos_pipeline::money::Picodollars;
use kairos_pipeline::request::Secret;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A secret in the configuration: read, never written.
#[derive(Clone, Debug)]
pub(crate) struct SecretText(pub(crate) Secret);

impl<'de> Deserialize<'de> for SecretText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // What was given is not shown, whatever it was.
        match toml::Value::deserialize(deserializer) {
            Ok(toml::Value::String(text)) => Ok(Self(Secret::new(text))),
            Ok(_) | Err(_) => Err(D::Error::custom("a text in quotes is expected")),
        }
    }
}

impl Serialize for SecretText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("[secret]")
    }
}

/// An amount of money, written as text: a number of TOML would be rounded.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Dollars(pub(crate) Picodollars);

impl Dollars {
    const EXPECTED: &str = "an amount of US dollars in quotes is expected, for example \"100.00\": up to 9223372, \
                            with 12 decimals at most";

    /// Reads an amount, for example `100.00`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        Picodollars::parse_dollars(text).filter(|amount| i64::try_from(amount.0).is_ok()).map(Self)
    }
}

impl<'de> Deserialize<'de> for Dollars {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wrong = || D::Error::custom(Self::EXPECTED);
        match toml::Value::deserialize(deserializer) {
            Ok(toml::Value::String(text)) => Self::parse(&text).ok_or_else(wrong),
            Ok(_) | Err(_) => Err(wrong()),
        }
    }
}

/// A time in seconds, above 0 and at most a day; fractions are allowed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Seconds(f64);

impl Seconds {
    pub(crate) const fn new(seconds: f64) -> Self {
        Self(seconds)
    }

    pub(crate) fn of(duration: Duration) -> Self {
        Self(duration.as_secs_f64())
    }

    pub(crate) fn duration(self) -> Duration {
        Duration::from_secs_f64(self.0)
    }

    pub(super) fn checked(seconds: f64) -> Option<Self> {
        (seconds > 0.0 && seconds <= 86_400.0).then_some(Self(seconds))
    }
}

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let seconds = f64::deserialize(deserializer)?;
        Self::checked(seconds)
            .ok_or_else(|| D::Error::custom("a time in seconds, above 0 and at most 86400, is expected"))
    }
}

/// Reads a time, in milliseconds.
pub(crate) fn age(text: &str) -> Result<u64, String> {
    let wrong = || "a number and a unit are expected: 90s, 30m, 24h or 7d".to_owned();
    let at = text.find(|character: char| !character.is_ascii_digit()).ok_or_else(wrong)?;
    let (number, unit) = text.split_at(at);
    let unit = match unit {
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(wrong()),
    };
    number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit)).ok_or_else(wrong)
}
