//! Rows of an export of CUR 2.0, whatever they are kept in.

use super::amount::parse;
use super::usage_type::{UsageType, is_of_the_marketplace};
use super::{BillError, LineKey, Row};
use crate::spend::day_of;

/// The columns that are read. Of the last ones a bill may have none.
pub(super) const COLUMNS: [&str; 15] = [
    "line_item_usage_start_date",
    "line_item_usage_type",
    "line_item_unblended_cost",
    "line_item_line_item_type",
    "line_item_product_code",
    "line_item_usage_end_date",
    "line_item_usage_amount",
    "line_item_currency_code",
    "line_item_resource_id",
    "pricing_unit",
    "product",
    "product_product_name",
    "bill_invoice_id",
    "line_item_usage_account_id",
    "identity_line_item_id",
];
/// How many of them a bill must have.
const NEEDED: usize = 5;
const START: usize = 0;
const USAGE_TYPE: usize = 1;
const COST: usize = 2;
const TYPE: usize = 3;
const CODE: usize = 4;
const END: usize = 5;
const AMOUNT: usize = 6;
const CURRENCY: usize = 7;
const RESOURCE: usize = 8;
const UNIT: usize = 9;
const PRODUCT: usize = 10;
const PRODUCT_NAME: usize = 11;
const INVOICE: usize = 12;
const ACCOUNT: usize = 13;
const ID: usize = 14;

/// Types of lines that are usage.
pub(super) const USAGE: [&str; 3] = ["Usage", "DiscountedUsage", "SavingsPlanCoveredUsage"];
/// The most of a name that is kept.
const LONGEST: usize = 256;

/// Where each column is, in a head.
pub(super) fn places<'a>(head: impl Iterator<Item = &'a str>) -> Result<[Option<usize>; COLUMNS.len()], BillError> {
    let mut places = [None; COLUMNS.len()];
    for (at, name) in head.enumerate() {
        let name = name.trim_start_matches('\u{feff}').trim();
        if let Some(column) = COLUMNS.iter().position(|known| *known == name) {
            places[column] = Some(at);
        }
    }
    let missing: Vec<_> = (0..NEEDED).filter(|at| places[*at].is_none()).map(|at| COLUMNS[at]).collect();
    if missing.is_empty() {
        return Ok(places);
    }
    Err(BillError::Form(format!(
        "it is no export of CUR 2.0: the columns {} are missing. A report of the older kind names them otherwise: export CUR 2.0 instead",
        missing.join(", ")
    )))
}

/// Milliseconds since 1970 of a time as bills write it.
fn time(text: &str) -> Option<i64> {
    let text = text.trim();
    // Nanoseconds: what Parquet's reader gives of them is their number.
    if let Some(nanos) = text.parse::<i64>().ok().filter(|nanos| *nanos >= 1_000_000_000_000_000_000) {
        return Some(nanos / 1_000_000);
    }
    if let Ok(at) = text.parse::<jiff::Timestamp>() {
        return Some(at.as_millisecond());
    }
    // Without a zone it is UTC's.
    let at = text.replacen(' ', "T", 1).parse::<jiff::civil::DateTime>().ok()?;
    Some(at.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_millisecond())
}

/// How many tokens or units a quantity of one is.
fn factor(unit: &str) -> Option<i128> {
    let unit: String = unit.to_ascii_lowercase().chars().filter(char::is_ascii_alphanumeric).collect();
    Some(match unit.as_str() {
        "1mtokens" | "1mtoken" | "milliontokens" => 1_000_000,
        "1ktokens" | "1ktoken" | "thousandtokens" | "1kseconds" => 1_000,
        "tokens" | "token" | "textunits" | "textunit" | "units" | "images" | "imagesprocessed" | "queries"
        | "searchunits" | "searchunit" | "seconds" => 1,
        _ => return None,
    })
}

fn cut(text: &str) -> String {
    text.chars().take(LONGEST).collect()
}

/// The product's name, of the column that holds all that is said of a product.
fn product_name(product: &str) -> Option<String> {
    let product: serde_json::Value = serde_json::from_str(product).ok()?;
    product["product_name"].as_str().or(product["servicename"].as_str()).map(cut)
}

/// What a row says; `cell` gives what is in a column, or nothing.
pub(super) fn read<'a>(row: u64, cell: impl Fn(usize) -> &'a str) -> Result<Row, BillError> {
    let wrong = |column: usize, wanted| BillError::Value {
        row,
        column: COLUMNS[column],
        value: cell(column).chars().take(80).collect(),
        wanted,
    };
    let usage_type = cell(USAGE_TYPE);
    let code = cell(CODE);
    let names_bedrock = || {
        let of_map = || cell(PRODUCT).contains("Bedrock").then(|| product_name(cell(PRODUCT))).flatten();
        cell(PRODUCT_NAME).contains("Bedrock") || of_map().is_some_and(|name| name.contains("Bedrock"))
    };
    // What the Marketplace sells may stand under a code of its own. What is not understood of it is kept, and
    // said to be unknown.
    if !code.starts_with("AmazonBedrock") && !is_of_the_marketplace(usage_type) && !names_bedrock() {
        return Ok(Row::default());
    }
    if !matches!(cell(CURRENCY), "" | "USD") {
        return Err(BillError::Currency { row, currency: cut(cell(CURRENCY)) });
    }
    let cost = parse(cell(COST)).ok_or_else(|| wrong(COST, "an amount"))?;
    let kind = cell(TYPE);
    if !USAGE.contains(&kind) {
        return Ok(Row { cost, other: Some(cut(kind)), ..Row::default() });
    }
    let start = time(cell(START)).ok_or_else(|| wrong(START, "a time"))?;
    let end_ms = match cell(END) {
        "" => None,
        text => Some(time(text).ok_or_else(|| wrong(END, "a time"))?),
    };
    let quantity = match (cell(AMOUNT), factor(cell(UNIT))) {
        ("", _) | (_, None) => None,
        (text, Some(factor)) => {
            let amount = parse(text).ok_or_else(|| wrong(AMOUNT, "a number"))?;
            let whole = 1_000_000_000_000;
            let factor = factor.saturating_mul(UsageType::parse(usage_type).map_or(1, |parsed| parsed.each));
            // To the nearest token: a quantity in millions has few places.
            Some(amount.saturating_mul(factor).saturating_add(whole / 2).div_euclid(whole))
        }
    };
    let named = Some(cut(cell(PRODUCT_NAME))).filter(|name| !name.is_empty());
    let product = product_name(cell(PRODUCT)).or(named).unwrap_or_default();
    let key = LineKey { day: day_of(start), usage_type: cut(usage_type), product, resource: cut(cell(RESOURCE)) };
    let (invoiced, account) = (!cell(INVOICE).is_empty(), cut(cell(ACCOUNT)));
    let id = Some(cut(cell(ID))).filter(|id| !id.is_empty()).map(|id| (row, id));
    Ok(Row { key: Some(key), cost, quantity, other: None, end_ms, invoiced, account, id })
}
