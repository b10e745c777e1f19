//! In which time a budget counts, and in which part of it a moment is.

use std::fmt;

use jiff::civil::Weekday;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _, Zoned};
use serde::{Deserialize, Serialize};

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 86_400_000;
/// A window that rolls does so in so many steps, of a second at least.
const STEPS: i64 = 60;

/// A period of the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Period {
    /// A minute.
    Minute,
    /// An hour.
    Hour,
    /// A day, from midnight: one that begins or ends daylight saving has 23 or 25 hours.
    Day,
    /// A week, from Monday.
    Week,
    /// A month.
    Month,
}

/// In which time a budget counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Window {
    /// In each period of the calendar anew.
    Calendar {
        /// Which.
        period: Period,
        /// Where.
        #[serde(with = "jiff::fmt::serde::tz::required")]
        zone: TimeZone,
    },
    /// In the last so many seconds.
    Rolling {
        /// How many.
        seconds: u64,
    },
}

impl Window {
    /// The UTC day.
    pub fn utc_day() -> Self {
        Self::Calendar { period: Period::Day, zone: TimeZone::UTC }
    }

    /// The part of it that a moment is in: its period, or the step of a window that rolls. From when and until
    /// when, in milliseconds since 1970. What is reserved counts in the part of its reservation for good.
    pub fn part(&self, at_ms: i64) -> (i64, i64) {
        match self {
            Self::Rolling { .. } => {
                let step = self.step_ms();
                let start = at_ms - at_ms.rem_euclid(step);
                (start, start.saturating_add(step))
            }
            Self::Calendar { period, zone } => calendar(*period, zone, at_ms).unwrap_or_else(|| {
                // No calendar goes so far.
                let start = at_ms - at_ms.rem_euclid(DAY_MS);
                (start, start.saturating_add(DAY_MS))
            }),
        }
    }

    /// How long a part counts beyond its end: of a window that rolls, for as long as something in it may be
    /// younger than the window.
    pub fn lasts_ms(&self) -> Option<i64> {
        match self {
            Self::Rolling { seconds } => Some(i64::try_from(*seconds).unwrap_or(i64::MAX).saturating_mul(1_000)),
            Self::Calendar { .. } => None,
        }
    }

    fn step_ms(&self) -> i64 {
        self.lasts_ms().map_or(DAY_MS, |length| (length / STEPS).max(1_000))
    }

    /// From when on parts may count at a moment, or soon before it: the period before the current one, too, as
    /// a clock may go back.
    pub fn counts_from(&self, at_ms: i64) -> i64 {
        match self.lasts_ms() {
            Some(length) => self.part(at_ms.saturating_sub(length)).0,
            None => self.part(self.part(at_ms).0.saturating_sub(1)).0,
        }
    }
}

fn calendar(period: Period, zone: &TimeZone, at_ms: i64) -> Option<(i64, i64)> {
    let instant = Timestamp::from_millisecond(at_ms).ok()?;
    let within = |length: i64| {
        // By the clock of the place, whose offset need not be whole hours.
        let offset = i64::from(zone.to_offset(instant).seconds()) * 1_000;
        let start = at_ms - (at_ms + offset).rem_euclid(length);
        Some((start, start + length))
    };
    let days = |first: Zoned, next: Zoned| {
        let (start, end) = (first.start_of_day().ok()?, next.start_of_day().ok()?);
        Some((start.timestamp().as_millisecond(), end.timestamp().as_millisecond()))
    };
    let at = instant.to_zoned(zone.clone());
    match period {
        Period::Minute => within(MINUTE_MS),
        Period::Hour => within(HOUR_MS),
        Period::Day => days(at.clone(), at.tomorrow().ok()?),
        Period::Week => {
            let since_monday = i64::from(at.weekday().since(Weekday::Monday));
            let monday = at.checked_sub(since_monday.days()).ok()?;
            let next = monday.checked_add(7.days()).ok()?;
            days(monday, next)
        }
        Period::Month => {
            let first = at.first_of_month().ok()?;
            let next = first.checked_add(1.month()).ok()?;
            days(first, next)
        }
    }
}

impl fmt::Display for Window {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Calendar { period, .. } => formatter.write_str(match period {
                Period::Minute => "a minute",
                Period::Hour => "an hour",
                Period::Day => "a day",
                Period::Week => "a week",
                Period::Month => "a month",
            }),
            Self::Rolling { seconds } => {
                let seconds = i64::try_from(*seconds).unwrap_or(i64::MAX);
                match () {
                    () if seconds % 86_400 == 0 && seconds > 86_400 => {
                        write!(formatter, "in any {}d", seconds / 86_400)
                    }
                    () if seconds % 3_600 == 0 => write!(formatter, "in any {}h", seconds / 3_600),
                    () if seconds % 60 == 0 => write!(formatter, "in any {}m", seconds / 60),
                    () => write!(formatter, "in any {seconds}s"),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn window(period: Period, zone: &str) -> Window {
        Window::Calendar { period, zone: TimeZone::get(zone).unwrap() }
    }

    fn ms(text: &str) -> i64 {
        text.parse::<Timestamp>().unwrap().as_millisecond()
    }

    #[test]
    fn periods_begin_where_people_say_so() {
        for (period, zone, at, start, end) in [
            (Period::Minute, "UTC", "2026-03-29T01:30:59.999Z", "2026-03-29T01:30:00Z", "2026-03-29T01:31:00Z"),
            (Period::Hour, "Asia/Kolkata", "2026-03-29T01:45:00Z", "2026-03-29T01:30:00Z", "2026-03-29T02:30:00Z"),
            (Period::Day, "UTC", "2026-03-29T23:59:59Z", "2026-03-29T00:00:00Z", "2026-03-30T00:00:00Z"),
            // 23 hours, and 25.
            (Period::Day, "Europe/Berlin", "2026-03-29T12:00:00Z", "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"),
            (Period::Day, "Europe/Berlin", "2026-10-25T12:00:00Z", "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"),
            // There midnight is left out when summer begins.
            (Period::Day, "Africa/Cairo", "2026-04-24T12:00:00Z", "2026-04-23T22:00:00Z", "2026-04-24T21:00:00Z"),
            (Period::Week, "America/New_York", "2026-11-02T04:59:59Z", "2026-10-26T04:00:00Z", "2026-11-02T05:00:00Z"),
            (Period::Week, "America/New_York", "2026-11-02T05:00:00Z", "2026-11-02T05:00:00Z", "2026-11-09T05:00:00Z"),
            (Period::Month, "UTC", "2028-02-29T10:00:00Z", "2028-02-01T00:00:00Z", "2028-03-01T00:00:00Z"),
            (Period::Month, "Pacific/Auckland", "2026-12-31T11:00:00Z", "2026-12-31T11:00:00Z", "2027-01-31T11:00:00Z"),
        ] {
            assert_eq!(window(period, zone).part(ms(at)), (ms(start), ms(end)), "{period:?} in {zone} at {at}");
        }
    }

    proptest! {
        /// Every moment is in one part, and parts follow one another without a gap.
        #[test]
        fn parts_are_whole(at in 0..4_102_444_800_000i64, which in 0..8usize) {
            let periods = [Period::Minute, Period::Hour, Period::Day, Period::Week, Period::Month];
            let window = match which {
                5 => Window::Rolling { seconds: 86_400 },
                6 => Window::Rolling { seconds: 90 },
                7 => window(Period::Day, "America/Sao_Paulo"),
                period => window(periods[period], "Europe/Berlin"),
            };
            let (start, end) = window.part(at);
            prop_assert!(start <= at && at < end);
            prop_assert_eq!(window.part(start), (start, end));
            prop_assert_eq!(window.part(end - 1), (start, end));
            prop_assert_eq!(window.part(end).0, end);
            let from = window.counts_from(at);
            prop_assert!(from < start && window.part(from).0 == from);
        }
    }

    #[test]
    fn no_time_is_out_of_bounds() {
        for at in [i64::MIN, i64::MIN + 1, -1, 0, i64::MAX - DAY_MS, i64::MAX] {
            for period in [Period::Minute, Period::Hour, Period::Day, Period::Week, Period::Month] {
                let (start, end) = window(period, "UTC").part(at.max(i64::MIN + DAY_MS));
                assert!(start <= at.max(i64::MIN + DAY_MS) && end >= start);
            }
        }
        assert_eq!(Window::Rolling { seconds: 3_600 }.to_string(), "in any 1h");
        assert_eq!(Window::Rolling { seconds: 86_400 }.to_string(), "in any 24h");
        assert_eq!(Window::Rolling { seconds: 7 * 86_400 }.to_string(), "in any 7d");
        assert_eq!(Window::utc_day().to_string(), "a day");
    }
}
