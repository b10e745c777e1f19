//! The models and prices as they hold on one day.
//!
//! Read once from the two tables beside this file. It must not know requests, the bill or the wire.

mod models;
mod prices;
mod regions;

use std::collections::HashMap;

use jiff::civil::Date;

pub(crate) use models::{Family, Features, Model, Pieces};
pub(crate) use prices::{Kind, Piece, Sheet, Tariff, Tier};
pub(crate) use regions::Region;

/// The way to a model: in the caller's region, within a geography, or anywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Route {
    InRegion,
    Us,
    Eu,
    Apac,
    Jp,
    Au,
    In,
    UsGov,
    Global,
}

const ROUTES: [(Route, &str); 9] = [
    (Route::InRegion, "in-region"),
    (Route::Us, "us"),
    (Route::Eu, "eu"),
    (Route::Apac, "apac"),
    (Route::Jp, "jp"),
    (Route::Au, "au"),
    (Route::In, "in"),
    (Route::UsGov, "us-gov"),
    (Route::Global, "global"),
];

impl Route {
    /// The prefix of its inference profiles, or `in-region`.
    pub(crate) fn name(self) -> &'static str {
        ROUTES[self as usize].1
    }

    /// As a bill says it: `in-region`, `geo:us`, `global`.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::InRegion => "in-region",
            Self::Us => "geo:us",
            Self::Eu => "geo:eu",
            Self::Apac => "geo:apac",
            Self::Jp => "geo:jp",
            Self::Au => "geo:au",
            Self::In => "geo:in",
            Self::UsGov => "geo:us-gov",
            Self::Global => "global",
        }
    }

    pub(crate) fn all() -> impl Iterator<Item = Self> {
        ROUTES.iter().map(|(route, _)| *route)
    }

    /// The route whose inference profiles have this prefix.
    pub(crate) fn of_prefix(prefix: &str) -> Option<Self> {
        ROUTES.iter().skip(1).find(|(_, name)| *name == prefix).map(|(route, _)| *route)
    }

    fn parse(word: &str) -> Result<Self, BadTable> {
        ROUTES
            .iter()
            .find(|(_, name)| *name == word)
            .map(|(route, _)| *route)
            .ok_or_else(|| BadTable::value("route", word))
    }
}

/// Why a table cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BadTable {
    #[error("{found} columns where {wanted} are wanted")]
    Columns { found: usize, wanted: usize },
    #[error("bad {what} {text:?}")]
    Value { what: &'static str, text: String },
    #[error("{table} line {line}: {source}")]
    At { table: &'static str, line: usize, source: Box<BadTable> },
}

impl BadTable {
    fn value(what: &'static str, text: &str) -> Self {
        Self::Value { what, text: text.to_owned() }
    }

    fn at(self, table: &'static str, line: usize) -> Self {
        Self::At { table, line: line + 1, source: Box::new(self) }
    }
}

/// A model by its place in the catalogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ModelRef(u16);

/// Every model, with its prices on the day the catalogue was read for.
#[derive(Debug)]
pub(crate) struct Catalogue {
    today: Date,
    models: Vec<(Model, Vec<Sheet>)>,
    by_id: HashMap<Box<str>, ModelRef>,
}

impl Catalogue {
    pub(crate) fn load(today: Date) -> Result<Self, BadTable> {
        Self::read(include_str!("models.tsv"), include_str!("prices.tsv"), today)
    }

    fn read(models: &str, prices: &str, today: Date) -> Result<Self, BadTable> {
        let mut lines: HashMap<&str, Vec<prices::Line<'_>>> = HashMap::new();
        for (at, line) in rows(prices) {
            let line = prices::Line::parse(line).map_err(|e| e.at("prices.tsv", at))?;
            lines.entry(line.model).or_default().push(line);
        }
        let mut all = Vec::new();
        let mut by_id = HashMap::new();
        for (at, line) in rows(models) {
            let mut read = || {
                let model = Model::parse(line)?;
                let own = lines.remove(&*model.id).unwrap_or_default();
                Ok((model, prices::sheets(own, today)?))
            };
            let (model, sheets) = read().map_err(|e: BadTable| e.at("models.tsv", at))?;
            let number = u16::try_from(all.len()).map_err(|_| BadTable::value("model", &model.id))?;
            by_id.insert(model.id.clone(), ModelRef(number));
            all.push((model, sheets));
        }
        match lines.keys().next() {
            Some(stray) => Err(BadTable::value("model", stray)),
            None => Ok(Self { today, models: all, by_id }),
        }
    }

    pub(crate) fn today(&self) -> Date {
        self.today
    }

    pub(crate) fn find(&self, id: &str) -> Option<ModelRef> {
        self.by_id.get(id).copied()
    }

    pub(crate) fn model(&self, which: ModelRef) -> &Model {
        &self.models[usize::from(which.0)].0
    }

    /// Prices of a model on a route for a caller in a region; none where it is not offered.
    pub(crate) fn sheet(&self, which: ModelRef, route: Route, region: Region) -> Option<&Sheet> {
        self.models[usize::from(which.0)].1.iter().find(|sheet| sheet.serves(route, region))
    }

    /// Whether the model has that route anywhere.
    pub(crate) fn has_route(&self, which: ModelRef, route: Route) -> bool {
        self.models[usize::from(which.0)].1.iter().any(|sheet| sheet.route() == route)
    }

    /// Every model, in the order of the table.
    pub(crate) fn all(&self) -> impl Iterator<Item = ModelRef> + '_ {
        (0..self.models.len()).filter_map(|n| u16::try_from(n).ok().map(ModelRef))
    }
}

fn rows(table: &str) -> impl Iterator<Item = (usize, &str)> {
    table.lines().enumerate().filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
}

#[cfg(test)]
mod tests;
