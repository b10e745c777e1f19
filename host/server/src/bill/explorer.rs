//! Cost Explorer's GetCostAndUsage by day, grouped by SERVICE and USAGE_TYPE: as it answers, page by page.

use std::io::Read;

use serde::Deserialize;

use super::amount::parse;
use super::usage_type::is_of_the_marketplace;
use super::{Bill, BillError, LineKey, Row};
use crate::spend::{DAY_MS, day_of};

/// What a file, or an answer, may take.
pub(crate) const MOST_BYTES: u64 = 64 * 1024 * 1024;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    results_by_time: Vec<Period>,
    next_page_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Period {
    time_period: Times,
    #[serde(default)]
    groups: Vec<Group>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Times {
    start: String,
    end: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Group {
    keys: Vec<String>,
    metrics: std::collections::HashMap<String, Metric>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Metric {
    amount: String,
    unit: String,
}

/// Reads a file: one answer.
pub(super) fn read(from: impl Read, bill: &mut Bill) -> Result<(), BillError> {
    let mut text = Vec::new();
    from.take(MOST_BYTES + 1).read_to_end(&mut text)?;
    match add(&text, bill)? {
        None => Ok(()),
        Some(_) => Err(BillError::Form(
            "it is one page of several (NextPageToken): write the others to files, without their tokens, and give all"
                .to_owned(),
        )),
    }
}

/// Takes an answer in; gives the token of the next page.
pub(crate) fn add(text: &[u8], bill: &mut Bill) -> Result<Option<String>, BillError> {
    if text.len() as u64 > MOST_BYTES {
        return Err(BillError::Form(format!("it takes more than {MOST_BYTES} bytes: ask for less time")));
    }
    let answer: Answer = serde_json::from_slice(text)
        .map_err(|error| BillError::Form(format!("it is no answer of Cost Explorer's GetCostAndUsage: {error}")))?;
    let mut number = 0;
    for Period { time_period, groups } in answer.results_by_time {
        let day = |text: &str| text.get(..10).and_then(|date| date.parse::<jiff::civil::Date>().ok());
        let (Some(start), Some(end)) = (day(&time_period.start), day(&time_period.end)) else {
            return Err(BillError::Form(format!("{:?} is not a day", time_period.start)));
        };
        if start.tomorrow().ok() != Some(end) {
            return Err(BillError::Form(format!(
                "it is not by day, but from {start} to {end}: ask with Granularity DAILY"
            )));
        }
        let start = start.to_zoned(jiff::tz::TimeZone::UTC).map(|at| at.timestamp().as_millisecond());
        let start = start.map_err(|error| BillError::Form(error.to_string()))?;
        for group in groups {
            number += 1;
            bill.add(row(number, start, &group)?)?;
        }
    }
    Ok(answer.next_page_token.filter(|token| !token.is_empty()))
}

fn row(number: u64, start_ms: i64, group: &Group) -> Result<Row, BillError> {
    let [service, usage_type] = &group.keys[..] else {
        return Err(BillError::Form("its groups are not by SERVICE and USAGE_TYPE".to_owned()));
    };
    if !is_of_the_marketplace(usage_type) && !service.contains("Bedrock") {
        return Ok(Row::default());
    }
    let wrong = |column, value: &str, wanted| BillError::Value {
        row: number,
        column,
        value: value.chars().take(80).collect(),
        wanted,
    };
    let cost = group.metrics.get("UnblendedCost").ok_or_else(|| wrong("UnblendedCost", "", "there"))?;
    if cost.unit != "USD" {
        return Err(BillError::Currency { row: number, currency: cost.unit.chars().take(16).collect() });
    }
    let amount = parse(&cost.amount).ok_or_else(|| wrong("UnblendedCost", &cost.amount, "an amount"))?;
    let cut = |text: &str| text.chars().take(256).collect::<String>();
    let key =
        LineKey { day: day_of(start_ms), usage_type: cut(usage_type), product: cut(service), resource: String::new() };
    // Its unit is N/A: in what it counts is not said.
    Ok(Row {
        key: Some(key),
        cost: amount,
        quantity: None,
        other: None,
        end_ms: Some(start_ms + DAY_MS),
        invoiced: false,
        account: String::new(),
        id: None,
    })
}
