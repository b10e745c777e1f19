//! `kairos budget`.

use clap::Subcommand;
use serde_json::Value;

use super::Failed;
use super::gateway::{Gateway, print_json};

#[derive(Debug, Subcommand)]
pub(super) enum Budget {
    /// Say how much of each budget is spent, and what is left
    #[command(after_help = "\
Examples:
  kairos budget list
  kairos budget list --json --data ./kairos-data

Budgets are set in kairos.toml ([budget], [[budgets]]), and with `kairos key create --budget-usd`.
Asks the gateway that runs.")]
    List(List),
}

#[derive(Debug, clap::Args)]
pub(super) struct List {
    #[command(flatten)]
    gateway: Gateway,
}

impl Budget {
    pub(super) fn run(self) -> Result<(), Failed> {
        let Self::List(List { gateway }) = self;
        let answer = gateway.get("/admin/v1/budgets")?;
        if gateway.json {
            return print_json(&answer);
        }
        let budgets: Vec<_> = answer["budgets"].as_array().into_iter().flatten().collect();
        if budgets.is_empty() {
            println!(
                "no budgets: [[budgets]] in kairos.toml makes some, `kairos key create --budget-usd` one of a key"
            );
        }
        budgets.into_iter().for_each(|budget| println!("{}", line(budget)));
        Ok(())
    }
}

/// A budget in a line.
fn line(budget: &Value) -> String {
    let text = |name: &str| budget[name].as_str().unwrap_or_default();
    let covers = budget["covers"].as_object().into_iter().flatten().map(|(what, value)| match value {
        Value::Array(tag) => format!("{what} {}", tag.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("=")),
        value => format!("{what} {}", value.as_str().unwrap_or_default()),
    });
    let covers: Vec<_> = covers.collect();
    let covers = if covers.is_empty() { "all".to_owned() } else { covers.join(", ") };
    let limit = budget["limit_usd"].as_str().map_or("no limit".to_owned(), |limit| format!("of {limit} USD"));
    let over = if text("over") == "degrade" { ", degrades" } else { "" };
    let until = budget["until"].as_str().map_or(String::new(), |at| format!(", until {at}"));
    format!(
        "{:<20}  {} USD spent, {} open, {limit} {}{over}{until}  ({covers})",
        text("name"),
        text("charged_usd"),
        text("open_usd"),
        text("period"),
    )
}
