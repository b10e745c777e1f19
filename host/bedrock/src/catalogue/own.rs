//! The operator's own prices: rows of the catalogue's form, each with the model that it is for.

use std::collections::HashMap;

use kairos_pipeline::price::Days;
use serde::Deserialize;
use toml::Spanned;

use super::prices::{GuardrailSource, PriceSource, Rows, date, overlap};
use super::{GLOBAL, IN_REGION, ModelSource};

/// Routes that a row may name.
const ROUTES: [&str; 9] = [IN_REGION, GLOBAL, "us", "eu", "apac", "jp", "au", "in", "us-gov"];

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Source {
    price: Vec<Spanned<PriceSource>>,
    guardrail_units: GuardrailSource,
}

/// Why own prices are refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct OwnError {
    /// Where, from 1.
    pub line: usize,
    /// What is wrong, and what to do.
    pub message: String,
}

/// Own prices, read and checked.
#[derive(Default)]
pub(super) struct Own {
    /// By the model's index.
    rows: HashMap<usize, Vec<PriceSource>>,
    pub(super) guardrail_units: GuardrailSource,
}

impl Own {
    pub(super) fn rows(&self, model: usize) -> &[PriceSource] {
        self.rows.get(&model).map_or(&[], Vec::as_slice)
    }

    /// The rows of a model, with the catalogue's.
    pub(super) fn of<'a>(&'a self, index: usize, model: &'a ModelSource) -> Rows<'a> {
        Rows { model, own: self.rows(index) }
    }
}

/// Reads own prices for models of the catalogue.
pub(super) fn read(text: &str, models: &[ModelSource]) -> Result<Own, OwnError> {
    let line = |at: usize| text.get(..at).map_or(1, |before| before.matches('\n').count() + 1);
    let parsed: Source = toml::from_str(text).map_err(|error| OwnError {
        line: error.span().map_or(1, |span| line(span.start)),
        message: error.message().to_owned(),
    })?;
    let mut own = Own { guardrail_units: parsed.guardrail_units, ..Own::default() };
    for row in parsed.price {
        let at = line(row.span().start);
        let row = row.into_inner();
        let model = check(&row, models, &own).map_err(|message| OwnError { line: at, message })?;
        own.rows.entry(model).or_default().push(row);
    }
    let mut none = Default::default();
    // Wherever it stands: it has few lines.
    let units = text.find("guardrail_units").map_or(1, line);
    own.guardrail_units.write(&mut none).map_err(|error| OwnError { line: units, message: error.to_string() })?;
    Ok(own)
}

/// The index of the model that a row is for, if nothing is wrong with the row.
fn check(row: &PriceSource, models: &[ModelSource], own: &Own) -> Result<usize, String> {
    let name = row.model.as_deref().ok_or("`model` is missing: the id of a model, or a name of it")?;
    let is_named = |model: &ModelSource| model.id == name || model.aliases.iter().any(|alias| alias == name);
    let Some(index) = models.iter().position(is_named) else {
        let aliases = models.iter().flat_map(|model| model.aliases.iter().map(String::as_str));
        let near = nearest(name, models.iter().map(|model| model.id.as_str()).chain(aliases));
        return Err(format!("there is no model {name:?}{near}; `kairos models` lists what there is"));
    };
    let model = &models[index];
    if !ROUTES.contains(&row.at.as_str()) {
        let near = nearest(&row.at, ROUTES.into_iter());
        return Err(format!("there is no route {:?}{near}; there are {}", row.at, ROUTES.join(", ")));
    }
    if row.at == IN_REGION && !model.on_demand {
        let id = &model.id;
        return Err(format!("{id} is served through profiles only: `at` is one of {}", ROUTES[1..].join(", ")));
    }
    if let Some(region) = row.region.as_deref().filter(|region| !is_region(region)) {
        return Err(format!("{region:?} is not the name of an AWS region"));
    }
    let Days { from, until } = row.days();
    if from >= until {
        return Err(format!("it ends on {}, and begins no earlier: it would never hold", date(until)));
    }
    row.row(model.kind, 0).map_err(|error| error.to_string())?;
    if row.is_free() {
        return Err("a price of 0 would make it free: what has no price is left out".to_owned());
    }
    // What can be billed and has no price would be bounded by nothing, as writes to the cache, or be free.
    for (name, has) in row.names() {
        let is_listed = |listed: &PriceSource| listed.names().any(|(other, has)| other == name && has);
        if !has && model.prices.iter().any(is_listed) {
            return Err(format!("`{name}` is missing: {} has such a price, so it can be billed", model.id));
        }
    }
    match own.rows(index).iter().find_map(|other| overlap(other, row)) {
        None => Ok(index),
        Some(day) => {
            Err(format!("{} has two prices for {} on {}: an earlier row is one", model.id, row.place(), date(day)))
        }
    }
}

fn is_region(name: &str) -> bool {
    let mut parts = name.split('-');
    let is_word = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase());
    let last = parts.next_back();
    last.is_some_and(|last| last.len() == 1 && last.bytes().all(|byte| byte.is_ascii_digit()))
        && parts.clone().count() >= 2
        && parts.all(is_word)
}

/// A hint with the nearest name, if one is near.
fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    let name = name.get(..name.floor_char_boundary(128)).unwrap_or(name);
    let best = known.map(|known| (strsim::jaro_winkler(known, name), known)).max_by(|a, b| a.0.total_cmp(&b.0));
    best.filter(|(score, _)| *score > 0.8).map_or(String::new(), |(_, known)| format!("; did you mean {known:?}?"))
}
