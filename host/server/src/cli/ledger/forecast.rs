//! `kairos ledger forecast`.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};
use serde_json::json;

use super::super::Failed;
use super::super::gateway::print_json;
use super::{Where, Whose, now_ms};
use crate::spend::forecast::{Past, SHARE};
use crate::spend::{signed_dollars, time};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Forecast {
    #[command(flatten)]
    place: Where,
    #[command(flatten)]
    whose: Whose,
    /// Of which period, in UTC; weeks begin on Monday
    #[arg(long, value_enum, default_value = "month")]
    period: Period,
    /// As if it were then: a UTC date, a time, or how long ago [default: now]
    #[arg(long, value_name = "WHEN")]
    at: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Period {
    Day,
    Week,
    Month,
}

impl Period {
    /// The period that a time is in: its first day, and the first after it.
    fn around(self, at: Timestamp) -> Result<(Date, Date), jiff::Error> {
        let today = at.to_zoned(TimeZone::UTC).date();
        let (first, length) = match self {
            Self::Day => (today, Span::new().days(1)),
            Self::Week => {
                let back = i64::from(today.weekday().to_monday_zero_offset());
                (today.checked_sub(Span::new().days(back))?, Span::new().days(7))
            }
            Self::Month => (today.first_of_month(), Span::new().months(1)),
        };
        Ok((first, first.checked_add(length)?))
    }
}

/// The beginning of a UTC day, in milliseconds since 1970.
fn begins(day: Date) -> Result<i64, jiff::Error> {
    Ok(day.to_zoned(TimeZone::UTC)?.timestamp().as_millisecond())
}

impl Forecast {
    pub(super) fn run(self) -> Result<(), Failed> {
        let reader = self.place.open()?;
        let now = now_ms();
        let at = self.at.as_deref().map_or(Ok(now), |at| time("at", at, now));
        let at = at.map_err(|error| Failed::usage(format!("--{error}")))?;
        let at = Timestamp::from_millisecond(at).map_err(|error| Failed::usage(format!("--at: {error}")))?;
        let beyond = |error: jiff::Error| Failed::usage(format!("--at: {error}"));
        let (first, end) = self.period.around(at).map_err(beyond)?;
        let period = (begins(first).map_err(beyond)?, begins(end).map_err(beyond)?);
        let past = Past::read(&reader, &self.whose.filter()?, period, at.as_millisecond());
        let past = past.map_err(|error| Failed::new(error.to_string()))?;
        let (spent, estimated) = (signed_dollars(past.spent), signed_dollars(past.estimated));
        let mut known = json!({
            "since": first.to_string(),
            "until": end.to_string(),
            "spent_usd": spent,
            "estimated_usd": estimated,
            "days_left": (past.left * 100.0).round() / 100.0,
        });
        if past.left_out.rows > 0 {
            known["left_out"] = past.left_out.json();
        }
        let made = past.forecast();
        if self.place.json {
            match &made {
                Ok(made) => {
                    known["forecast_usd"] = json!(format!("{:.4}", made.middle));
                    known["interval"] = json!({
                        "low_usd": format!("{:.4}", made.low),
                        "high_usd": format!("{:.4}", made.high),
                        "share": SHARE,
                    });
                    known["days_used"] = json!(made.days);
                }
                Err(why) => {
                    known["forecast_usd"] = json!(null);
                    known["message"] = json!(why.to_string());
                }
            }
            print_json(&known)?;
            return made.map(|_| ()).map_err(|_| Failed::new(""));
        }
        println!(
            "from {first} until {end} (UTC): {spent} USD so far, {estimated} USD of it estimated; {:.2} days are left",
            past.left
        );
        past.left_out.text().iter().for_each(|left_out| println!("{left_out}"));
        let made = made.map_err(|why| Failed::new(why.to_string()))?;
        println!(
            "forecast: {:.4} USD, between {:.4} and {:.4} with 95 %, if the days that are left are like the last {} whole days",
            made.middle, made.low, made.high, made.days
        );
        Ok(())
    }
}
