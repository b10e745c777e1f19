//! `kairos ledger`.

use std::path::PathBuf;

use clap::Subcommand;
use kairos_pipeline::money::{Picodollars, dollars};
use kairos_pipeline::request::RequestId;
use kairos_store::ledger::{DaySum, Entry, EntryKind, FILE, LedgerError, Reader};
use serde_json::{Value, json};

use super::Failed;
use crate::config::Flags;

/// Look into the ledger: what was spent, and whether its rows are whole
#[derive(Debug, Subcommand)]
pub(super) enum Ledger {
    /// What was spent, by day, key and model; or the rows of one request
    #[command(after_help = "\
Examples:
  kairos ledger show
  kairos ledger show --json --data ./kairos-data
  kairos ledger show --request 0193f3a1-7c5e-7b62-8f5d-2a4f6f0c1d2e

The gateway may be running. Days are UTC days of the requests.")]
    Show(Show),
    /// Whether every row is there as it was written, and the sums are those of the rows
    #[command(after_help = "\
Examples:
  kairos ledger verify
  kairos ledger verify --json

The gateway may be running. Exit code 1 when something is missing or was changed; it says what.
Rows that were cut off at the end together with the ledger's own note of them cannot be missed.")]
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
pub(super) struct Show {
    #[command(flatten)]
    place: Where,
    /// Only this request: every row of its attempts
    #[arg(long, value_name = "ID")]
    request: Option<String>,
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
    fn open(&self) -> Result<Reader, Failed> {
        let flags = Flags { data: self.data.clone(), config: self.config.clone(), ..Flags::default() };
        let config = super::read_config(&flags)?;
        Ok(Reader::open(&config.data.join(FILE))?)
    }
}

impl Ledger {
    pub(super) fn run(self) -> Result<(), Failed> {
        match self {
            Self::Show(show) => show.run(),
            Self::Verify(verify) => verify.run(),
        }
    }
}

impl Show {
    fn run(self) -> Result<(), Failed> {
        let reader = self.place.open()?;
        if let Some(id) = &self.request {
            let wanted = RequestId::parse(id).ok_or_else(|| {
                Failed::usage(format!("{id:?} is not the id of a request: x-kairos-request-id has it"))
            })?;
            let rows = reader.request(wanted)?;
            if rows.is_empty() {
                return Err(Failed::new(format!("no attempt of the request {id} has a row")));
            }
            if self.place.json {
                return print_json(&Value::Array(rows.iter().map(|(seq, entry)| row_json(*seq, entry)).collect()));
            }
            for (seq, entry) in &rows {
                println!("{}", row_text(*seq, entry));
            }
            return Ok(());
        }
        let (days, totals) = (reader.days()?, reader.totals()?);
        if self.place.json {
            return print_json(&json!({
                "charged_usd": dollars(totals.charged),
                "estimated_usd": dollars(totals.estimated),
                "attempts": totals.ended_rows,
                "days": days.iter().map(sum_json).collect::<Vec<_>>(),
            }));
        }
        println!(
            "{:<10}  {:<16}  {:<48}  {:>8}  {:>18}  {:>18}",
            "day", "key", "model", "attempts", "charged USD", "of it estimated"
        );
        for sum in &days {
            println!(
                "{:<10}  {:<16}  {:<48}  {:>8}  {:>18}  {:>18}",
                date(sum.tuple.day),
                sum.tuple.caller,
                sum.tuple.model,
                sum.attempts,
                Picodollars(sum.charged).to_string(),
                Picodollars(sum.estimated).to_string()
            );
        }
        println!(
            "{} USD charged for {} attempts, {} USD of it estimated",
            dollars(totals.charged),
            totals.ended_rows,
            dollars(totals.estimated)
        );
        Ok(())
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

fn print_json(value: &Value) -> Result<(), Failed> {
    let text = serde_json::to_string_pretty(value).map_err(|error| Failed::new(error.to_string()))?;
    println!("{text}");
    Ok(())
}

/// Amounts of rows are never negative.
fn amount(picodollars: i64) -> String {
    Picodollars(picodollars.unsigned_abs()).to_string()
}

/// A UTC day, in days since 1970, as a date.
fn date(day: u32) -> String {
    let seconds = i64::from(day) * 86_400;
    jiff::Timestamp::from_second(seconds).map_or_else(|_| day.to_string(), |at| at.strftime("%Y-%m-%d").to_string())
}

fn moment(at_ms: i64) -> String {
    jiff::Timestamp::from_millisecond(at_ms).map_or_else(|_| at_ms.to_string(), |at| at.to_string())
}

fn sum_json(sum: &DaySum) -> Value {
    json!({
        "day": date(sum.tuple.day),
        "key": &*sum.tuple.caller,
        "model": &*sum.tuple.model,
        "attempts": sum.attempts,
        "charged_usd": Picodollars(sum.charged),
        "estimated_usd": Picodollars(sum.estimated),
    })
}

fn row_json(seq: i64, entry: &Entry) -> Value {
    let inner = |text: &Option<String>| text.as_deref().and_then(|text| serde_json::from_str::<Value>(text).ok());
    json!({
        "row": seq,
        "at": moment(entry.at_ms),
        "state": entry.kind.name(),
        "attempt": entry.key.map(|key| key.attempt),
        "key": entry.tuple.as_ref().map(|tuple| &*tuple.caller),
        "model": entry.tuple.as_ref().map(|tuple| &*tuple.model),
        "low_usd": amount(entry.low),
        "high_usd": amount(entry.high),
        "usage": inner(&entry.usage),
        "why": entry.why,
        "prices": entry.prices.as_deref(),
        "tags": inner(&entry.tags),
        "team": entry.team.as_deref(),
        "policy": entry.policy.as_deref(),
        "unpriced": entry.unpriced,
    })
}

fn row_text(seq: i64, entry: &Entry) -> String {
    let attempt = entry.key.map_or(0, |key| key.attempt);
    let model = entry.tuple.as_ref().map_or("", |tuple| &*tuple.model);
    let money = match entry.kind {
        EntryKind::Reserved => format!("at most {} USD", amount(entry.high)),
        EntryKind::Estimated => {
            format!("between {} and {} USD, the latter charged", amount(entry.low), amount(entry.high))
        }
        _ => format!("{} USD", amount(entry.high)),
    };
    let why = entry.why.as_ref().map_or(String::new(), |why| format!(" ({why})"));
    format!("row {seq}  {}  attempt {attempt}  {}  {}  {money}{why}", moment(entry.at_ms), entry.kind.name(), model)
}
