//! `kairos models`.

use std::collections::BTreeMap;

use kairos_bedrock::access::{Access, Checker};
use kairos_bedrock::catalogue;
use kairos_bedrock::client::Client;
use kairos_dialects::outline::ServiceTier;
use kairos_pipeline::models::{Answering, Catalogue, Model, ModelKind};
use kairos_pipeline::money::Picodollars;
use kairos_pipeline::policy::Route;
use serde::Serialize;

use super::Failed;
use crate::admin::moment;
use crate::assemble;
use crate::config::{Config, Flags};
use crate::prices::Sheets;
use crate::profiles::{self, Pin};

/// List the models: what is asked for, what answers, what it costs
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  kairos models                            the models that answer in your region, and those that ended
  kairos models --as-of 2026-12-01         … on another day
  kairos models --prices 3f2a61d09c44      … at the prices that a row of the ledger names
  kairos models --check-access             ask Bedrock which chat models your credentials may call; costs nothing
  kairos models --json")]
pub(super) struct Models {
    /// Configuration file [default: kairos.toml, where there is one]
    #[arg(long, value_name = "FILE")]
    config: Option<std::path::PathBuf>,
    /// The region to look from [default: that of your AWS environment, else us-east-1]
    #[arg(long)]
    region: Option<String>,
    /// The day to look at [default: today, UTC]
    #[arg(long, value_name = "DATE")]
    as_of: Option<jiff::civil::Date>,
    /// With the prices of this version, as a row of the ledger names it: its first digits do
    #[arg(long, value_name = "VERSION", conflicts_with = "check_access")]
    prices: Option<String>,
    /// Folder of the gateway's data, which keeps the versions
    #[arg(long, value_name = "DIR")]
    data: Option<std::path::PathBuf>,
    /// Ask Bedrock, for each model that answers, whether your credentials may call it
    #[arg(long)]
    check_access: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// A model, for people and programs.
#[derive(Debug, Serialize)]
struct Row {
    id: String,
    name: String,
    /// What it is asked for.
    kind: &'static str,
    family: &'static str,
    aliases: Vec<String>,
    /// `active`, `legacy` (its end is known) or `ended`.
    status: &'static str,
    ends: Option<String>,
    /// What is called when this model is asked for.
    answers: Option<String>,
    route: Option<&'static str>,
    /// US dollars per million tokens.
    input_usd_per_million: Option<String>,
    output_usd_per_million: Option<String>,
    /// US dollars for one of what is not counted in tokens.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    usd_each: BTreeMap<&'static str, String>,
    max_input_tokens: u32,
    max_output_tokens: u32,
    /// How often a written token counts in a limit of tokens a minute.
    burndown: u32,
    capabilities: Vec<&'static str>,
    strengths: Vec<&'static str>,
    /// Place among the models offered for `auto`.
    auto: Option<usize>,
    /// ARNs that stand for it: of the configuration, and application profiles that Bedrock was asked about.
    arns: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    access: Option<String>,
}

impl Models {
    pub(super) async fn run(self) -> Result<(), Failed> {
        let flags = Flags { config: self.config.clone(), data: self.data.clone(), ..Flags::default() };
        let mut config = super::read_config(&flags)?;
        if self.region.is_some() {
            config.upstream.region.clone_from(&self.region);
        }
        if self.as_of.is_some() {
            config.models.as_of = self.as_of;
        }
        let as_of = assemble::as_of(&config);
        if self.check_access {
            let side = assemble::model_side(&config).await?;
            let catalogue = assemble::read_catalogue(&config, &side.region, as_of)?;
            let mut rows = rows(&catalogue);
            let client = Client::new(&side.region, side.endpoint, side.credentials, config.timeouts(), config.pool());
            check_access(&client.map_err(assemble::AssemblyError::of)?, &mut rows).await?;
            return self.print(&rows, &catalogue, &config);
        }
        let region = region_or_default(&config);
        let catalogue = match &self.prices {
            None => assemble::read_catalogue(&config, &region, as_of)?,
            Some(version) => {
                let sheets = Sheets::open(&config.data, config.models.kept_prices);
                let (version, sheet) = sheets.find(version).map_err(|error| Failed::usage(error.to_string()))?;
                let (source, own) = catalogue::parts(&sheet);
                let loaded = assemble::view(&config, &region, as_of, own, |view| catalogue::load(source, view));
                let other = |error| {
                    Failed::new(format!(
                        "the prices {version} were of another version of Kairos, or this one cannot read them: {error}"
                    ))
                };
                loaded.map_err(other)?
            }
        };
        self.print(&rows(&catalogue), &catalogue, &config)
    }

    fn print(&self, rows: &[Row], catalogue: &Catalogue, config: &Config) -> Result<(), Failed> {
        if self.json {
            let text = serde_json::to_string_pretty(rows).map_err(|error| Failed::new(error.to_string()))?;
            println!("{text}");
            return Ok(());
        }
        let Catalogue { region, as_of, version, .. } = catalogue;
        let prices = super::short(version);
        println!("Models from {region} on {as_of}; US dollars per million tokens, prices {prices}\n");
        let head = ["MODEL", "STATUS", "ANSWERED BY", "INPUT", "OUTPUT", "AUTO", "KIND"];
        let mut table = vec![head.map(str::to_owned).to_vec()];
        for row in rows {
            let status = match (&row.ends, row.status) {
                (Some(ends), "ended") => format!("ended {ends}"),
                (Some(ends), _) => format!("ends {ends}"),
                (None, status) => status.to_owned(),
            };
            let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "–".to_owned());
            let auto = row.auto.map_or(String::new(), |place| (place + 1).to_string());
            table.push(vec![
                row.id.clone(),
                status,
                text(&row.answers),
                text(&row.input_usd_per_million),
                text(&row.output_usd_per_million),
                auto,
                std::iter::once(row.kind.to_owned())
                    .chain(row.usd_each.iter().map(|(unit, price)| format!("{unit} {price}")))
                    .collect::<Vec<_>>()
                    .join(", "),
            ]);
        }
        if self.check_access {
            table[0].push("ACCESS".to_owned());
            for (line, row) in table[1..].iter_mut().zip(rows) {
                line.push(row.access.clone().unwrap_or_default());
            }
        }
        print_table(&table);
        print_profiles(&profiles::read(&config.data).map_err(Failed::new)?);
        Ok(())
    }
}

/// What application inference profiles stand for, as Bedrock said.
fn print_profiles(pins: &[Pin]) {
    if pins.is_empty() {
        return;
    }
    println!("\nApplication inference profiles that Bedrock was asked about\n");
    let head = ["PROFILE", "STANDS FOR", "SINCE"].map(str::to_owned).to_vec();
    let line = |pin: &Pin| vec![pin.arn.clone(), pin.stands_for.clone(), moment(pin.since_ms)];
    print_table(&std::iter::once(head).chain(pins.iter().map(line)).collect::<Vec<_>>());
}

/// Looking at the catalogue needs no AWS set-up.
pub(super) fn region_or_default(config: &Config) -> String {
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let names = ["AWS_REGION", "AWS_DEFAULT_REGION"];
    config.upstream.region.clone().or_else(|| names.into_iter().find_map(set)).unwrap_or_else(|| "us-east-1".to_owned())
}

fn rows(catalogue: &Catalogue) -> Vec<Row> {
    catalogue.models.iter().map(|model| row(catalogue, model)).collect()
}

fn row(catalogue: &Catalogue, model: &Model) -> Row {
    let target = match catalogue.answering(&model.id) {
        Answering::Target { target, .. } => Some(&catalogue.targets[target]),
        Answering::Ended(_) | Answering::NotHere(_) | Answering::Unknown(_) => None,
    };
    let rates = target.and_then(|target| target.prices.rates(ServiceTier::Standard, 0, catalogue.day));
    // A picodollar a token is a microdollar a million.
    let per_million = |rate: u64| rate.checked_mul(1_000_000).map(|amount| Picodollars(amount).to_string());
    Row {
        id: model.id.to_string(),
        name: model.name.clone(),
        kind: model.kind.name(),
        family: model.family.name(),
        aliases: model.aliases.clone(),
        status: match (model.active, &model.ends) {
            (false, _) => "ended",
            (true, Some(_)) => "legacy",
            (true, None) => "active",
        },
        ends: model.ends.clone(),
        answers: target.map(|target| target.invocation_id.to_string()),
        route: target.map(|target| target.route.name()),
        // Other models than chats have no price of what they do not count.
        input_usd_per_million: rates.filter(|rates| rates.input > 0).and_then(|rates| per_million(rates.input)),
        output_usd_per_million: rates.filter(|rates| rates.output > 0).and_then(|rates| per_million(rates.output)),
        usd_each: rates.map_or_else(BTreeMap::new, |rates| {
            rates.units.each().map(|(unit, price)| (unit.name(), Picodollars(price).to_string())).collect()
        }),
        max_input_tokens: model.max_input_tokens,
        max_output_tokens: model.max_output_tokens,
        burndown: model.burndown,
        capabilities: model.capabilities.names().collect(),
        strengths: model.strengths.names().collect(),
        auto: catalogue
            .auto
            .iter()
            .position(|&offered| catalogue.models[catalogue.targets[offered].model].id == model.id),
        arns: catalogue
            .targets
            .iter()
            .filter(|target| target.route == Route::Account && catalogue.models[target.model].id == model.id)
            .map(|target| target.invocation_id.to_string())
            .collect(),
        access: None,
    }
}

async fn check_access(client: &Client, rows: &mut [Row]) -> Result<(), Failed> {
    eprintln!("asking {} about each model, with an empty conversation that is never billed …", client.endpoint().url);
    let checker =
        Checker::new(client).await.map_err(|failure| Failed::new(format!("access cannot be checked: {failure}")))?;
    for row in rows.iter_mut().filter(|row| row.status != "ended" && row.kind == ModelKind::Chat.name()) {
        let Some(id) = &row.answers else { continue };
        row.access = Some(match checker.check(id).await {
            Access::Granted(_) => "yes".to_owned(),
            Access::Denied(failure) => format!("no: {}", failure.message),
        });
    }
    Ok(())
}

/// Prints columns as wide as their widest cell; figures to the right.
fn print_table(table: &[Vec<String>]) {
    let columns = table.first().map_or(0, Vec::len);
    let width = |column: usize| {
        table.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    for line in table {
        let cells = line.iter().zip(&widths).enumerate().map(|(column, (cell, &width))| match column {
            3..=5 => format!("{cell:>width$}"),
            _ => format!("{cell:<width$}"),
        });
        println!("{}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
}
