//! The bill as AWS exports it: CUR 2.0 in CSV, a line for each hour, usage type and model.
//!
//! Of its hundred columns those are here that say something. Costs have up to twelve places, where AWS
//! rounds to ten, so that nothing is lost. The Marketplace's usage types do not say whose tokens they are;
//! the product's name does.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use jiff::Timestamp;

use super::Bill;
use crate::money::Usd;

const HEAD: &str = "bill_invoice_id,bill_billing_period_start_date,identity_line_item_id,line_item_line_item_type,\
line_item_usage_start_date,line_item_usage_end_date,line_item_product_code,line_item_usage_type,\
line_item_operation,line_item_usage_amount,pricing_unit,line_item_unblended_cost,line_item_currency_code,\
line_item_line_item_description,product\n";

/// Rows that are looked at between two moments at which others may book.
const PAGE: usize = 10_000;

/// What is added up in one line.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    hour: u32,
    usage_type: String,
    model: String,
}

#[derive(Default)]
struct Sum {
    quantity: u128,
    cost: u128,
    unit: &'static str,
    is_sold_apart: bool,
}

/// A quantity of tokens in millions.
fn millions(tokens: u128) -> String {
    // The same digits, six places further.
    Usd::from_picodollars(tokens.saturating_mul(1_000_000)).to_string()
}

fn moment(hour: u32, format: &str) -> String {
    Timestamp::from_second(i64::from(hour) * 3_600).map(|at| at.strftime(format).to_string()).unwrap_or_default()
}

impl Bill {
    /// All rows as an export of CUR 2.0; none if the first of them are no longer kept, as a bill without
    /// them would be wrong.
    #[must_use]
    pub fn cur(&self) -> Option<String> {
        let mut sums: BTreeMap<Place, Sum> = BTreeMap::new();
        let mut after = 0;
        loop {
            let (rows, first) = {
                let inner = self.lock();
                (inner.rows.after(after, PAGE), inner.rows.first_kept())
            };
            if first > 1 {
                return None;
            }
            let Some((last, _)) = rows.last() else { break };
            after = *last;
            for (_, row) in rows {
                let model = self.catalogue.model(row.charge.model);
                for line in row.charge.lines(&self.catalogue) {
                    let usage_type = line.key.usage_type(&self.catalogue);
                    let place = Place { hour: row.hour, usage_type, model: model.name.to_string() };
                    let sum = sums.entry(place).or_default();
                    sum.quantity += u128::from(line.quantity);
                    sum.cost += u128::from(line.cost);
                    sum.unit = line.key.unit();
                    sum.is_sold_apart = model.product.is_none() && sum.unit != "text-units";
                }
            }
        }
        let mut text = HEAD.to_owned();
        for (number, (place, sum)) in sums.iter().enumerate() {
            write_line(&mut text, number, place, sum);
        }
        Some(text)
    }
}

fn write_line(text: &mut String, number: usize, place: &Place, sum: &Sum) {
    const TIME: &str = "%Y-%m-%dT%H:%M:%S.000Z";
    let Place { hour, usage_type, model } = place;
    let month = moment(*hour, "%Y-%m-01T00:00:00.000Z");
    let (start, end) = (moment(*hour, TIME), moment(hour.saturating_add(1), TIME));
    let (amount, unit) =
        if sum.unit == "tokens" { (millions(sum.quantity), "1M tokens") } else { (sum.quantity.to_string(), sum.unit) };
    let cost = Usd::from_picodollars(sum.cost);
    let (code, product) = if sum.is_sold_apart {
        let product = serde_json::json!({"product_name": format!("{model} (Amazon Bedrock Edition)")});
        ("AmazonBedrockFoundationModels", product)
    } else {
        ("AmazonBedrock", serde_json::json!({"product_name": "Amazon Bedrock"}))
    };
    let product = product.to_string().replace('"', "\"\"");
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "SIMULATED,{month},{number},Usage,{start},{end},{code},{usage_type},Inference,{amount},{unit},{cost},USD,\
         \"{amount} {unit} of {usage_type}\",\"{product}\""
    );
}
