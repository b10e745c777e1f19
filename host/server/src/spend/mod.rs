//! What was spent: which lines of the ledger are meant, what they come to by whatever they are grouped
//! by, what a period will have cost, and lines as files.
//!
//! Lines come from `store`, one after the other; nothing here keeps more than sums. It must not know who
//! asks: the command line and the admin's address say the same words.

pub(crate) mod export;
pub(crate) mod filter;
pub(crate) mod forecast;
pub(crate) mod sums;

pub(crate) use self::filter::{Filter, LeftOut, time};
pub(crate) use self::sums::{By, Sum, Sums, SumsError};

/// The UTC date and time of milliseconds since 1970, as `format` has it.
pub(crate) fn utc(at_ms: i64, format: &str) -> String {
    jiff::Timestamp::from_millisecond(at_ms)
        .map_or_else(|_| at_ms.to_string(), |at| at.to_zoned(jiff::tz::TimeZone::UTC).strftime(format).to_string())
}

/// Milliseconds of a day.
pub(crate) const DAY_MS: i64 = kairos_pipeline::price::DAY_MS.cast_signed();

/// The UTC day of a moment, in days since 1970.
pub(crate) fn day_of(at_ms: i64) -> i32 {
    i32::try_from(at_ms.div_euclid(DAY_MS)).unwrap_or(i32::MAX)
}

/// The date of a UTC day, in days since 1970.
pub(crate) fn date(day: impl Into<i64>) -> String {
    utc(day.into().saturating_mul(DAY_MS), "%Y-%m-%d")
}

/// A sum that may be below nothing, as a decimal number of dollars.
pub(crate) fn signed_dollars(picodollars: i128) -> String {
    let sign = if picodollars < 0 { "-" } else { "" };
    format!("{sign}{}", kairos_pipeline::money::dollars(picodollars.unsigned_abs()))
}
