//! `kairos ledger show`.

use kairos_pipeline::money::{Picodollars, dollars};
use kairos_pipeline::request::RequestId;
use kairos_store::ledger::{DaySum, Entry, EntryKind, Reader};
use serde_json::{Value, json};

use super::super::Failed;
use super::super::gateway::print_json;
use super::{Where, Which, now_ms};
use crate::spend::{By, Sum, Sums, date, signed_dollars};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Show {
    #[command(flatten)]
    place: Where,
    #[command(flatten)]
    which: Which,
    /// Sums by these: hour, day, week, month, key, team, model, policy, state, tag:NAME
    #[arg(long, value_name = "WHAT,…")]
    by: Option<String>,
    /// Only this request: every row of its attempts
    #[arg(long, value_name = "ID", conflicts_with_all = ["by", "since", "until", "key", "team", "model", "policy", "tag"])]
    request: Option<String>,
}

impl Show {
    pub(super) fn run(self) -> Result<(), Failed> {
        let reader = self.place.open()?;
        if let Some(id) = &self.request {
            return self.rows(&reader, id);
        }
        if self.by.is_none() && self.which.is_empty() {
            return self.days(&reader);
        }
        let by = self.by.as_deref().map(By::list).transpose().map_err(|error| Failed::usage(format!("--{error}")))?;
        let sums = Sums::read(&reader, &self.which.filter(now_ms())?, by.unwrap_or_default());
        let sums = sums.map_err(|error| Failed::new(error.to_string()))?;
        if self.place.json {
            return print_json(&sums.json());
        }
        let is_nothing = sums.total.attempts == 0 && sums.total.open == 0 && sums.total.charged == 0;
        if is_nothing && !self.which.is_empty() {
            eprintln!(
                "no attempt matches: they are named as `kairos ledger show --by key,team,model,policy` lists them"
            );
        }
        print!("{}", table(&sums));
        Ok(())
    }

    /// Every row of a request.
    fn rows(&self, reader: &Reader, id: &str) -> Result<(), Failed> {
        let wanted = RequestId::parse(id)
            .ok_or_else(|| Failed::usage(format!("{id:?} is not the id of a request: x-kairos-request-id has it")))?;
        let rows = reader.request(wanted)?;
        if rows.is_empty() {
            return Err(Failed::new(format!(
                "no attempt of the request {id} has a row\n  hint: rows follow within some 20 ms of what they are \
                 about; a request that was answered by no model has none"
            )));
        }
        if self.place.json {
            return print_json(&Value::Array(rows.iter().map(|(seq, entry)| row_json(*seq, entry)).collect()));
        }
        for (seq, entry) in &rows {
            println!("{}", row_text(*seq, entry));
        }
        Ok(())
    }

    /// All that was ever spent, of the sums that the ledger keeps.
    fn days(&self, reader: &Reader) -> Result<(), Failed> {
        let (days, totals) = (reader.days()?, reader.totals()?);
        if self.place.json {
            return print_json(&json!({
                "charged_usd": dollars(totals.charged),
                "estimated_usd": dollars(totals.estimated),
                "attempts": totals.ended_rows,
                "open": totals.open_rows,
                "open_usd": dollars(totals.open),
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
        let (attempts, charged, estimated) = (totals.ended_rows, dollars(totals.charged), dollars(totals.estimated));
        let open = under_way(totals.open_rows, &dollars(totals.open));
        println!("{charged} USD charged for {attempts} attempts, {estimated} USD of it estimated{open}");
        Ok(())
    }
}

/// Sums as a table.
fn table(sums: &Sums) -> String {
    let mut text = String::new();
    if !sums.by.is_empty() {
        let names: Vec<_> = sums.by.iter().map(By::name).collect();
        let width = |at: usize| {
            let widest = sums.groups.keys().filter_map(|group| group.get(at)).map(|value| value.chars().count()).max();
            widest.unwrap_or(0).max(names[at].len())
        };
        let widths: Vec<_> = (0..names.len()).map(width).collect();
        let mut line = |group: &[String], [attempts, charged, estimated]: [&str; 3]| {
            for (value, width) in group.iter().zip(&widths) {
                // What controls a terminal has no place in a table.
                let value: String = value.chars().map(|sign| if sign.is_control() { ' ' } else { sign }).collect();
                text.push_str(&format!("{value:<width$}  "));
            }
            text.push_str(&format!("{attempts:>8}  {charged:>18}  {estimated:>18}\n"));
        };
        line(&names, ["attempts", "charged USD", "of it estimated"]);
        for (group, sum) in &sums.groups {
            let Sum { attempts, charged, estimated, .. } = sum;
            line(group, [&attempts.to_string(), &signed_dollars(*charged), &signed_dollars(*estimated)]);
        }
    }
    let Sum { attempts, charged, estimated, open, reserved, unpriced, .. } = &sums.total;
    let (charged, estimated) = (signed_dollars(*charged), signed_dollars(*estimated));
    text.push_str(&format!("{charged} USD charged for {attempts} attempts, {estimated} USD of it estimated"));
    text.push_str(&under_way(*open, &signed_dollars(*reserved)));
    if *unpriced > 0 {
        text.push_str(&format!("; {unpriced} on models without a price"));
    }
    text.push('\n');
    if let Some(left_out) = sums.left_out.text() {
        text.push_str(&format!("{left_out}\n"));
    }
    text
}

/// What is reserved for attempts that have not ended.
fn under_way(attempts: u64, most: &str) -> String {
    if attempts == 0 { String::new() } else { format!("; {attempts} under way, at most {most} USD") }
}

/// Amounts of rows are never negative.
fn amount(picodollars: i64) -> String {
    Picodollars(picodollars.unsigned_abs()).to_string()
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
