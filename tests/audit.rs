//! A ledger held against the simulator's bill, attempt by attempt.
//!
//! Reads the ledger's tables itself, so that no code of the ledger vouches for it.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::process::Command;

use rusqlite::{Connection, OpenFlags};
use serde_json::Value;

use crate::http::Client;
use crate::process::kairos;

/// Dollars as picodollars.
pub fn picodollars(value: &Value) -> u128 {
    let text = value.as_str().unwrap();
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    format!("{whole}{fraction:0<12}").parse().unwrap()
}

/// `kairos ledger`, on a data folder: its exit code, and what it prints.
pub fn ledger(data: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command: Command = kairos();
    let output = command.arg("ledger").args(arguments).arg("--data").arg(data).output().unwrap();
    let said = [&output.stdout[..], &output.stderr].map(String::from_utf8_lossy).concat();
    (output.status.code(), said)
}

/// The same with `--json`, which is to succeed.
pub fn ledger_json(data: &Path, arguments: &[&str]) -> Value {
    let (code, said) = ledger(data, &[arguments, &["--json"]].concat());
    assert_eq!(code, Some(0), "{said}");
    serde_json::from_str(&said).unwrap()
}

/// What Bedrock billed for an attempt.
struct Billed {
    model: String,
    cost: u128,
}

/// What was billed so far.
#[derive(Default)]
pub struct Audit {
    seen: u64,
    billed: HashMap<String, Billed>,
}

/// What an audit found.
#[derive(Clone, Copy, Debug, Default)]
pub struct Found {
    /// Attempts that were billed.
    pub billed: usize,
    /// Of them: those whose row is an estimate.
    pub estimated: usize,
    /// Of them: those that have no row, and are covered by unidentified ones.
    pub without_row: usize,
}

/// The rows of a ledger, by what they say.
#[derive(Default)]
struct Rows {
    /// When each epoch began, and its number.
    epochs: BTreeMap<u64, i64>,
    /// What ended attempts may have cost, and whether that is an estimate.
    endings: HashMap<String, (u128, u128, bool)>,
    /// What nobody is named for, by epoch and model.
    unidentified: HashMap<(i64, String), u128>,
    charged: u128,
    open: i64,
}

impl Audit {
    /// Takes in what was billed since.
    pub async fn read_bill(&mut self, simulator: &str) {
        let client = Client::default();
        loop {
            let page = client.get(&format!("{simulator}/sim/v1/bill?after={}&limit=10000", self.seen)).await.json();
            let rows = page["rows"].as_array().unwrap();
            for row in rows {
                self.seen = row["seq"].as_u64().unwrap();
                let model = row["base_model"].as_str().unwrap().to_owned();
                let billed = self.billed.entry(row["invocation_id"].as_str().unwrap().to_owned());
                billed.or_insert(Billed { model, cost: 0 }).cost += picodollars(&row["cost_usd"]);
            }
            if rows.is_empty() {
                return;
            }
        }
    }

    /// Whether the ledger covers what was billed: nothing is open, the sum is no less, each attempt is
    /// within its row's [low, high], and those without a row are within what their run of the gateway
    /// left unidentified for their model. What is wrong, else.
    pub fn check(&self, data: &Path) -> Result<Found, String> {
        let (code, said) = ledger(data, &["verify"]);
        if code != Some(0) {
            return Err(format!("kairos ledger verify: {said}"));
        }
        let rows = read(&data.join("ledger.sqlite")).map_err(|error| error.to_string())?;
        let total: u128 = self.billed.values().map(|billed| billed.cost).sum();
        if rows.open != 0 || rows.charged < total {
            return Err(format!("{} rows open; {} charged, {total} billed", rows.open, rows.charged));
        }
        let mut found = Found { billed: self.billed.len(), ..Found::default() };
        let mut without_row: HashMap<(i64, String), u128> = HashMap::new();
        for (attempt, billed) in &self.billed {
            if let Some((low, high, is_estimate)) = rows.endings.get(attempt) {
                if !(*low..=*high).contains(&billed.cost) {
                    return Err(format!("{attempt} was billed {}, its row says [{low}, {high}]", billed.cost));
                }
                found.estimated += usize::from(*is_estimate);
            } else {
                let minted = minted_ms(attempt);
                let epoch = rows.epochs.range(..=minted).next_back().map_or(0, |(_, epoch)| *epoch);
                *without_row.entry((epoch, billed.model.clone())).or_default() += billed.cost;
                found.without_row += 1;
            }
        }
        for (place, cost) in without_row {
            let unidentified = rows.unidentified.get(&place).copied().unwrap_or(0);
            if cost > unidentified {
                return Err(format!("{place:?}: {cost} billed without a row, {unidentified} unidentified"));
            }
        }
        Ok(found)
    }
}

/// When the request of an attempt was minted: ids are UUIDs of version 7.
fn minted_ms(attempt: &str) -> u64 {
    let digits: String = attempt.chars().filter(|sign| *sign != '-').take(12).collect();
    u64::from_str_radix(&digits, 16).unwrap()
}

fn read(database: &Path) -> rusqlite::Result<Rows> {
    let connection = Connection::open_with_flags(database, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    let mut rows = Rows::default();
    let mut journal =
        connection.prepare("SELECT kind, at_ms, epoch, lower(hex(request)), attempt, model, low, high FROM journal")?;
    let mut found = journal.query([])?;
    while let Some(row) = found.next()? {
        let kind: String = row.get(0)?;
        let epoch: i64 = row.get(2)?;
        let (low, high): (i64, i64) = (row.get(6)?, row.get(7)?);
        let (low, high) = (u128::try_from(low).unwrap(), u128::try_from(high).unwrap());
        match kind.as_str() {
            "opened" => {
                rows.epochs.insert(row.get::<_, i64>(1)?.unsigned_abs(), epoch);
            }
            "reserved" => rows.open += 1,
            "settled" | "estimated" | "voided" => {
                rows.open -= 1;
                rows.charged += high;
                let hex: String = row.get(3)?;
                let parts = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]];
                let attempt = format!("{}-{}", parts.join("-"), row.get::<_, i64>(4)?);
                rows.endings.insert(attempt, (low, high, kind == "estimated"));
            }
            "unidentified" => {
                rows.charged += high;
                *rows.unidentified.entry((epoch, row.get(5)?)).or_default() += high;
            }
            _ => {}
        }
    }
    Ok(rows)
}
