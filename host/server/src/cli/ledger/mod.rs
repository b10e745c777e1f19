//! `kairos ledger`.

mod export;
mod forecast;
mod reconcile;
mod show;

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Subcommand;
use kairos_pipeline::money::dollars;
use kairos_store::ledger::{FILE, LedgerError, Reader};
use serde_json::json;

use super::Failed;
use super::gateway::print_json;
use crate::config::{Config, Flags};
use crate::spend::Filter;

/// Look into the ledger: what was spent, what a period will have cost, whether it agrees with AWS's bill
#[derive(Debug, Subcommand)]
pub(super) enum Ledger {
    /// What was spent, and is under way: by day, key and model, or as you ask; or the rows of one request
    #[command(after_help = "\
Examples:
  kairos ledger show
  kairos ledger show --since 7d --by day,key
  kairos ledger show --since 2026-11-01 --until 2026-12-01 --team search --by week,model --json
  kairos ledger show --tag project=atlas --by tag:stage
  kairos ledger show --request 0193f3a1-7c5e-7b62-8f5d-2a4f6f0c1d2e

The gateway may be running. Without --by what you ask for is one sum; without anything, all that was ever
spent is listed by day, key and model. A request counts when its money was reserved; hours, days, weeks
(from Monday) and months are UTC's. `unidentified` is what a crash left without a row: only its key and
model are known.")]
    Show(show::Show),
    /// What the current day, week or month will have cost at its end
    #[command(after_help = "\
Examples:
  kairos ledger forecast --period month
  kairos ledger forecast --period week --team search --json

What is spent so far, and the mean of the last whole weeks' days (four at most) for each day that is
left. The interval holds the outcome in 95 of 100 periods, if days to come are like those; it knows no
growth. Below seven whole days there is no forecast, and the exit code is 1.")]
    Forecast(forecast::Forecast),
    /// Every line, as CSV, JSON or Parquet
    #[command(after_help = "\
Examples:
  kairos ledger export --format csv --out november.csv --since 2026-11-01 --until 2026-12-01
  kairos ledger export --format parquet --out ledger.parquet
  kairos ledger export --format json --out - --key search | jq .
  kairos ledger export --columns

One row an attempt, as it stands by now, and one for each amount that is about no attempt. The gateway
may be running. How many lines there are, and what was left out as its row names no team, policy or tag,
is said on standard error; with --json as JSON, on standard output where the lines go to a file.")]
    Export(export::Export),
    /// Hold the ledger against AWS's bill, and say what every difference is
    #[command(after_help = "\
Examples:
  kairos ledger reconcile cur2-00001.csv.gz cur2-00002.csv.gz
  kairos ledger reconcile bill.parquet --tolerance 0.005 --json
  kairos ledger reconcile --cost-explorer --since 2026-11-01 --until 2026-12-01
  kairos ledger reconcile --cost-explorer --since 2026-11-01 --until 2026-12-01 --settle --final
  kairos ledger reconcile bill.csv --settle

A bill is an export of CUR 2.0 (CSV, .csv.gz or Parquet, several files of it together), or the JSON of
Cost Explorer's GetCostAndUsage by day, grouped by SERVICE and USAGE_TYPE, and without credits, refunds
and taxes (RECORD_TYPE is Usage, DiscountedUsage or SavingsPlanCoveredUsage). With --since and --until
the ledger's days are compared that the bill does not have, too. Exit code 0 where the totals differ by
no more than the tolerance, and no more than that is unexplained, else 1. With --settle estimates become
what the bill says, where it says it: rows are appended, none is changed; no gateway may have the ledger
then. Budgets of the period keep what was estimated.")]
    Reconcile(reconcile::Reconcile),
    /// Whether every row is there as it was written, and all sums, those of budgets too, are those of the rows
    #[command(after_help = "\
Examples:
  kairos ledger verify
  kairos ledger verify --json

The gateway may be running. Exit code 1 when something is missing or was changed; it says what.
Rows that were cut off at the end together with the ledger's own note of them cannot be missed, and
nothing vouches for what is set aside and has no row yet.")]
    Verify(Verify),
}

#[derive(Debug, clap::Args)]
pub(super) struct Where {
    /// Folder of the gateway's data
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Configuration file that names the folder [default: kairos.toml, where there is one]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct Verify {
    #[command(flatten)]
    place: Where,
}

impl From<LedgerError> for Failed {
    fn from(error: LedgerError) -> Self {
        Self::new(error.to_string())
    }
}

impl Where {
    fn config(&self) -> Result<Config, Failed> {
        let flags = Flags { data: self.data.clone(), config: self.config.clone(), ..Flags::default() };
        super::read_config(&flags)
    }

    fn open(&self) -> Result<Reader, Failed> {
        Ok(Reader::open(&self.config()?.data.join(FILE))?)
    }
}

/// Which lines.
#[derive(Debug, clap::Args)]
pub(super) struct Which {
    /// From then on: a UTC date, a time, or how long ago, as 24h or 7d
    #[arg(long, value_name = "WHEN")]
    since: Option<String>,
    /// Up to then, and no longer: until 2026-12-01 is until the end of November
    #[arg(long, value_name = "WHEN")]
    until: Option<String>,
    #[command(flatten)]
    whose: Whose,
}

/// Whose lines.
#[derive(Debug, clap::Args)]
pub(super) struct Whose {
    /// Only of this key; several times: of any of them
    #[arg(long, value_name = "NAME")]
    key: Vec<String>,
    /// Only of keys of this team
    #[arg(long, value_name = "NAME")]
    team: Vec<String>,
    /// Only on this model, by its id
    #[arg(long, value_name = "ID")]
    model: Vec<String>,
    /// Only what this policy decided: its name, or name@digest, which may be cut
    #[arg(long, value_name = "POLICY")]
    policy: Vec<String>,
    /// Only with this tag
    #[arg(long, value_name = "NAME=VALUE")]
    tag: Vec<String>,
}

impl Which {
    fn is_empty(&self) -> bool {
        self.since.is_none() && self.until.is_none() && self.whose.is_empty()
    }

    fn filter(&self, now_ms: i64) -> Result<Filter, Failed> {
        let mut filter = self.whose.filter()?;
        for (name, value) in [("since", &self.since), ("until", &self.until)] {
            if let Some(value) = value {
                filter.set(name, value, now_ms).map_err(|error| Failed::usage(format!("--{error}")))?;
            }
        }
        filter.check().map_err(|error| Failed::usage(format!("--{error}")))?;
        Ok(filter)
    }
}

impl Whose {
    fn is_empty(&self) -> bool {
        [&self.key, &self.team, &self.model, &self.policy, &self.tag].into_iter().all(Vec::is_empty)
    }

    fn filter(&self) -> Result<Filter, Failed> {
        let mut filter = Filter::default();
        let kinds = [
            ("key", &self.key),
            ("team", &self.team),
            ("model", &self.model),
            ("policy", &self.policy),
            ("tag", &self.tag),
        ];
        for (name, values) in kinds {
            for value in values {
                filter.set(name, value, 0).map_err(|error| Failed::usage(format!("--{error}")))?;
            }
        }
        Ok(filter)
    }
}

/// Milliseconds since 1970.
fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
}

impl Ledger {
    pub(super) fn run(self) -> Result<(), Failed> {
        match self {
            Self::Show(show) => show.run(),
            Self::Forecast(forecast) => forecast.run(),
            Self::Export(export) => export.run(),
            Self::Reconcile(reconcile) => reconcile.run(),
            Self::Verify(verify) => verify.run(),
        }
    }
}

impl Verify {
    fn run(self) -> Result<(), Failed> {
        let mut reader = self.place.open()?;
        match reader.verify() {
            Ok(verified) if self.place.json => print_json(&json!({
                "whole": true,
                "rows": verified.rows,
                "open": verified.open,
                "open_usd": dollars(verified.totals.open),
                "charged_usd": dollars(verified.totals.charged),
                "estimated_usd": dollars(verified.totals.estimated),
                "attempts": verified.totals.ended_rows,
            })),
            Ok(verified) => {
                println!(
                    "whole: {} rows, {} attempts ended, {} open; {} USD charged, {} USD of it estimated",
                    verified.rows,
                    verified.totals.ended_rows,
                    verified.open,
                    dollars(verified.totals.charged),
                    dollars(verified.totals.estimated)
                );
                Ok(())
            }
            Err(error @ LedgerError::Damaged(_)) if self.place.json => {
                print_json(&json!({"whole": false, "message": error.to_string()}))?;
                Err(Failed::new(""))
            }
            Err(error) => Err(error.into()),
        }
    }
}
