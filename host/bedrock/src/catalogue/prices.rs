//! Price rows: the catalogue's, the operator's own, and which of them a target has.
//!
//! An own row goes before the catalogue's for the same model, route, tier and context band, on the days
//! that it is for; on all others, and for all else, the catalogue's hold.

use std::collections::HashMap;

use jiff::civil::Date;
use kairos_dialects::outline::ServiceTier;
use kairos_dialects::usage::Unit;
use kairos_pipeline::models::ModelKind;
use kairos_pipeline::money::Picodollars;
use kairos_pipeline::policy::Family;
use kairos_pipeline::price::{Day, Days, GuardrailPrices, PriceRow, PriceTable, Rates, UnitRates};
use serde::Deserialize;

use super::own::Own;
use super::{CatalogueError, IN_REGION, ModelSource, geographies};

/// A row as it is written, in the catalogue or the operator's file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PriceSource {
    /// In the operator's file only: the catalogue has its rows within its models.
    pub(super) model: Option<String>,
    pub(super) at: String,
    pub(super) region: Option<String>,
    #[serde(default)]
    tier: ServiceTier,
    #[serde(default)]
    over: u64,
    /// The first day; every earlier one, too, where it is absent.
    from: Option<Date>,
    /// The first day on which it no longer holds.
    until: Option<Date>,
    input: Option<String>,
    output: Option<String>,
    cache_read: Option<String>,
    pub(super) cache_write_5m: Option<String>,
    pub(super) cache_write_1h: Option<String>,
    image: Option<String>,
    image_made: Option<String>,
    query: Option<String>,
    audio_second: Option<String>,
    video_second: Option<String>,
    video_second_made: Option<String>,
}

/// Why a row says no price.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AmountError {
    /// An amount that is not exact.
    #[error("{0:?} is not a decimal number of dollars per million tokens with at most 6 places")]
    Tokens(String),
    /// The same, of something else than tokens.
    #[error("{0:?} is not a decimal number of dollars with at most 12 places, which the price of one `{1}` is")]
    Unit(String, &'static str),
    /// A chat model without one of its two.
    #[error("`{0}` is missing: a chat model has prices of input and output")]
    Missing(&'static str),
    /// A chat model with a price that it cannot have.
    #[error("`{0}` is not priced apart on a chat model: it has prices of tokens")]
    NotOfChat(&'static str),
    /// No price at all.
    #[error("it names no price")]
    Nothing,
}

impl PriceSource {
    pub(super) fn days(&self) -> Days {
        Days { from: self.from.map_or(0, day), until: self.until.map_or(Day::MAX, day) }
    }

    /// What it is for, to be told.
    pub(super) fn place(&self) -> String {
        let region = self.region.as_ref().map_or(String::new(), |region| format!(", {region}"));
        let band = if self.over == 0 { String::new() } else { format!(", over {} tokens", self.over) };
        format!("{}{region}, {}{band}", self.at, self.tier.name())
    }

    /// What it says of a unit.
    fn unit(&self, unit: Unit) -> Option<&String> {
        match unit {
            Unit::Image => &self.image,
            Unit::ImageMade => &self.image_made,
            Unit::Query => &self.query,
            Unit::AudioSecond => &self.audio_second,
            Unit::VideoSecond => &self.video_second,
            Unit::VideoSecondMade => &self.video_second_made,
        }
        .as_ref()
    }

    /// What can be billed at once, by its name, and whether the row has a price of it. Of a read from the
    /// cache a price may be missing: it costs no more than input.
    pub(super) fn names(&self) -> impl Iterator<Item = (&'static str, bool)> {
        let tokens = [
            ("input", &self.input),
            ("output", &self.output),
            ("cache_write_5m", &self.cache_write_5m),
            ("cache_write_1h", &self.cache_write_1h),
        ];
        let tokens = tokens.map(|(name, text)| (name, text.is_some()));
        tokens.into_iter().chain(Unit::ALL.map(|unit| (unit.name(), self.unit(unit).is_some())))
    }

    /// The row of a model of this kind.
    pub(super) fn row(&self, kind: ModelKind, rank: u8) -> Result<PriceRow, AmountError> {
        let tokens = |text: &Option<String>| {
            let Some(text) = text else { return Ok(None) };
            let amount = Picodollars::parse_dollars_per_million(text);
            amount.map(|amount| Some(amount.0)).ok_or_else(|| AmountError::Tokens(text.clone()))
        };
        let mut units = UnitRates::NONE;
        for unit in Unit::ALL {
            let Some(text) = self.unit(unit) else { continue };
            let amount = Picodollars::parse_dollars(text).map(|amount| amount.0);
            units = units.with(unit, Some(amount.ok_or_else(|| AmountError::Unit(text.clone(), unit.name()))?));
        }
        let (input, output) = (tokens(&self.input)?, tokens(&self.output)?);
        match (kind, input, output) {
            (ModelKind::Chat, None, _) => return Err(AmountError::Missing("input")),
            (ModelKind::Chat, _, None) => return Err(AmountError::Missing("output")),
            (ModelKind::Chat, ..) => {
                if let Some((unit, _)) = units.each().next() {
                    return Err(AmountError::NotOfChat(unit.name()));
                }
            }
            (_, None, None) if units.is_nothing() => return Err(AmountError::Nothing),
            _ => {}
        }
        let rates = Rates {
            // What a model of another kind has no price of is not billed there: a query has no tokens.
            input: input.unwrap_or(0),
            output: output.unwrap_or(0),
            cache_read: tokens(&self.cache_read)?,
            cache_write_5m: tokens(&self.cache_write_5m)?,
            cache_write_1h: tokens(&self.cache_write_1h)?,
            units,
        };
        Ok(PriceRow { tier: self.tier, over: self.over, days: self.days(), rank, rates })
    }

    /// Whether a price of it is 0.
    pub(super) fn is_free(&self) -> bool {
        let named = [&self.input, &self.output].into_iter().filter_map(Option::as_ref);
        let named = named.chain(Unit::ALL.into_iter().filter_map(|unit| self.unit(unit)));
        named.into_iter().any(|text| text.bytes().all(|byte| matches!(byte, b'0' | b'.')))
    }
}

/// A date in days since 1970.
pub(super) fn day(date: Date) -> Day {
    let since = date.since((jiff::Unit::Day, Date::constant(1970, 1, 1)));
    since.ok().and_then(|span| Day::try_from(span.get_days()).ok()).unwrap_or(0)
}

/// The date of a day since 1970.
pub(super) fn date(day: Day) -> String {
    let at = jiff::Timestamp::from_second(i64::from(day) * 86_400);
    at.map_or_else(|_| day.to_string(), |at| at.strftime("%Y-%m-%d").to_string())
}

/// Rows of one model: the catalogue's, and the operator's.
pub(super) struct Rows<'a> {
    pub(super) model: &'a ModelSource,
    pub(super) own: &'a [PriceSource],
}

/// The first day for which two rows are for the same.
pub(super) fn overlap(one: &PriceSource, other: &PriceSource) -> Option<Day> {
    let same = one.at == other.at && one.region == other.region && one.tier == other.tier && one.over == other.over;
    same.then(|| one.days().overlap(other.days())).flatten()
}

impl Rows<'_> {
    /// What a target of this route costs, from a region; none where no row is for it.
    pub(super) fn table(&self, at: &str, region: &str) -> Result<Option<PriceTable>, CatalogueError> {
        let listed = self.listed(at, region);
        for (place, row) in listed.iter().enumerate() {
            if let Some(day) = listed[..place].iter().find_map(|earlier| overlap(earlier, row)) {
                let at = format!("{} on {}", row.place(), date(day));
                return Err(CatalogueError::TwoPrices { model: self.model.id.clone(), at });
            }
        }
        // What names this region goes before what is for every one.
        let own = self.own.iter().filter(|row| row.at == at).filter_map(|row| match row.region.as_deref() {
            None => Some((1, row)),
            Some(named) => (named == region).then_some((2, row)),
        });
        let rows = listed.into_iter().map(|row| (0, row)).chain(own);
        let kind = self.model.kind;
        let amount = |why| CatalogueError::Amount { model: self.model.id.clone(), why };
        let rows = rows.map(|(rank, row)| row.row(kind, rank).map_err(amount)).collect::<Result<Vec<_>, _>>()?;
        Ok((!rows.is_empty()).then(|| PriceTable::new(rows)))
    }

    fn rows(&self, at: &str, region: Option<&str>) -> Vec<&PriceSource> {
        self.model.prices.iter().filter(|row| row.at == at && row.region.as_deref() == region).collect()
    }

    /// The catalogue's. In-region: the region's own where it has some; rows without a region are those of
    /// the US regions. Elsewhere the geography's profile tells the price: AWS charges it by source region.
    /// A price of another continent is never taken.
    fn listed(&self, at: &str, region: &str) -> Vec<&PriceSource> {
        if at != IN_REGION {
            return self.rows(at, None);
        }
        let own = self.rows(at, Some(region));
        if !own.is_empty() {
            return own;
        }
        if region.starts_with("us-") && !region.starts_with("us-gov-") {
            return self.rows(at, None);
        }
        let profiles = geographies(region).iter().map(|geography| self.rows(geography, None));
        profiles.into_iter().find(|rows| !rows.is_empty()).unwrap_or_default()
    }
}

/// For each family, the dearest of each kind that any of its rows says: for any model, route, region, tier,
/// band or day. It stands in for a price that is not known.
pub(super) fn stand_ins(models: &[ModelSource], own: &Own) -> Result<Vec<(Family, Rates)>, CatalogueError> {
    let mut dearest: HashMap<Family, Rates> = HashMap::new();
    let mut of_all = Rates::NONE;
    for (index, model) in models.iter().enumerate() {
        for row in model.prices.iter().chain(own.rows(index)) {
            let amount = |why| CatalogueError::Amount { model: model.id.clone(), why };
            let rates = row.row(model.kind, 0).map_err(amount)?.rates;
            let known = dearest.entry(model.family).or_insert(Rates::NONE);
            *known = known.or_dearer(&rates);
            of_all = of_all.or_dearer(&rates);
        }
    }
    // What a family has no price of is taken for the dearest of all: every kind, or one of the units.
    let rates = |family: Family| {
        let known = dearest.get(&family).copied().unwrap_or(of_all);
        Rates { units: known.units.or(of_all.units), ..known }
    };
    Ok(Family::ALL.into_iter().map(|family| (family, rates(family))).collect())
}

/// Prices of guardrail units, in the catalogue or the operator's file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct GuardrailSource {
    topic_policy_units: Option<String>,
    content_policy_units: Option<String>,
    content_policy_image_units: Option<String>,
    word_policy_units: Option<String>,
    sensitive_information_policy_units: Option<String>,
    contextual_grounding_policy_units: Option<String>,
    automated_reasoning_policy_units: Option<String>,
}

impl GuardrailSource {
    /// Puts what is said in the place of what was before.
    pub(super) fn write(&self, prices: &mut GuardrailPrices) -> Result<(), CatalogueError> {
        for (text, price) in [
            (&self.topic_policy_units, &mut prices.topic),
            (&self.content_policy_units, &mut prices.content),
            (&self.content_policy_image_units, &mut prices.image),
            (&self.word_policy_units, &mut prices.word),
            (&self.sensitive_information_policy_units, &mut prices.sensitive),
            (&self.contextual_grounding_policy_units, &mut prices.grounding),
            (&self.automated_reasoning_policy_units, &mut prices.reasoning),
        ] {
            let Some(text) = text else { continue };
            let amount = Picodollars::parse_dollars(text).map(|amount| amount.0);
            let unit = || CatalogueError::Unit { text: text.clone() };
            *price = amount.ok_or_else(unit)?;
        }
        Ok(())
    }
}
