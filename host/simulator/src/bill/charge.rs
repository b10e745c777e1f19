//! What one invocation is charged, and the lines it makes on a bill.
//!
//! Wording of usage types follows AWS's: `USE1-MP:USE1_InputTokenCount_Global-Units` for what the
//! Marketplace sells, `USE1-NovaPro-input-tokens` for the rest. In-region and geographic use share a
//! usage type, as they share a price. It must not know how rows are kept.

use crate::catalogue::{Catalogue, Kind, ModelRef, Piece, Region, Route, Tier};
use crate::money::Usd;
use crate::usage::{GuardUnits, Usage};

/// Picodollars for a text unit of each guardrail policy: 0.15, 0.15 and 0.10 dollars a thousand.
const TOPIC_UNIT: u64 = 150_000_000;
const CONTENT_UNIT: u64 = 150_000_000;
const SENSITIVE_UNIT: u64 = 100_000_000;

/// An invocation as it is charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Charge {
    pub(crate) model: ModelRef,
    pub(crate) route: Route,
    pub(crate) region: Region,
    pub(crate) tier: Tier,
    pub(crate) usage: Usage,
    pub(crate) units: GuardUnits,
    /// In picodollars.
    pub(crate) cost: u64,
}

/// What a line of the bill counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Item {
    Tokens(Kind),
    Pieces(Piece),
    TopicUnits,
    ContentUnits,
    SensitiveUnits,
}

/// What lines with the same name have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct LineKey {
    model: ModelRef,
    route: Route,
    region: Region,
    tier: Tier,
    band: u8,
    item: Item,
}

/// A line.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line {
    pub(crate) key: LineKey,
    pub(crate) quantity: u32,
    pub(crate) cost: u64,
}

impl Charge {
    /// Prices an invocation; none if some of it has no price.
    pub(crate) fn new(
        catalogue: &Catalogue,
        (model, route, region): (ModelRef, Route, Region),
        tier: Tier,
        usage: Usage,
        units: GuardUnits,
    ) -> Option<Self> {
        let tokens = catalogue.sheet(model, route, region)?.tariff(tier).cost(&usage)?;
        let guarded = [(units.topic, TOPIC_UNIT), (units.content, CONTENT_UNIT), (units.sensitive, SENSITIVE_UNIT)];
        let cost = guarded
            .into_iter()
            .try_fold(tokens, |sum, (units, price)| sum.checked_add(u64::from(units).checked_mul(price)?))?;
        Some(Self { model, route, region, tier, usage, units, cost })
    }

    /// The same invocation, stopped after so many tokens of output.
    pub(crate) fn stopped_after(&self, catalogue: &Catalogue, output: u32) -> Option<Self> {
        let usage = Usage { output, ..self.usage };
        let way = (self.model, self.route, self.region);
        Self::new(catalogue, way, self.tier, usage, self.units)
    }

    /// Whether there is anything to charge for.
    pub(crate) fn is_empty(&self) -> bool {
        self.usage == Usage::default() && self.units.is_empty()
    }

    /// Its lines, which add up to its cost.
    pub(crate) fn lines(&self, catalogue: &Catalogue) -> impl Iterator<Item = Line> {
        let tariff = catalogue.sheet(self.model, self.route, self.region);
        let band = tariff.map(|sheet| sheet.tariff(self.tier).band(self.usage.tokens_in()));
        let (band, rates) = band.map_or((0, None), |(band, rates)| (band, Some(*rates)));
        let Self { model, route, region, tier, .. } = *self;
        let key = move |item| LineKey { model, route, region, tier, band, item };
        let usage = self.usage;
        let units = self.units;
        let tokens = Kind::ALL.map(|kind| {
            let rate = rates.and_then(|rates| rates.of(kind)).unwrap_or(0);
            (Item::Tokens(kind), usage.of(kind), rate)
        });
        let pieces = Piece::ALL.map(|piece| {
            let rate = rates.and_then(|rates| rates.of_piece(piece)).unwrap_or(0);
            (Item::Pieces(piece), usage.of_piece(piece), rate)
        });
        let guarded = [
            (Item::TopicUnits, units.topic, TOPIC_UNIT),
            (Item::ContentUnits, units.content, CONTENT_UNIT),
            (Item::SensitiveUnits, units.sensitive, SENSITIVE_UNIT),
        ];
        // Products were checked when the charge was made.
        let line = move |(item, quantity, price): (Item, u32, u64)| {
            (quantity > 0).then(|| Line { key: key(item), quantity, cost: u64::from(quantity).saturating_mul(price) })
        };
        tokens.into_iter().chain(pieces).chain(guarded).filter_map(line)
    }

    pub(crate) fn cost(&self) -> Usd {
        Usd::from_picodollars(u128::from(self.cost))
    }
}

impl LineKey {
    /// The usage type of its lines.
    pub(crate) fn usage_type(&self, catalogue: &Catalogue) -> String {
        let region = self.region.billing_prefix();
        let kind = match self.item {
            Item::TopicUnits => return format!("{region}-Guardrail-TopicPolicyUnitsConsumed"),
            Item::ContentUnits => return format!("{region}-Guardrail-ContentPolicyUnitsConsumed"),
            Item::SensitiveUnits => {
                return format!("{region}-Guardrail-SensitiveInformationPolicyPIIUnitsConsumed");
            }
            Item::Pieces(piece) => return self.pieces_type(catalogue, piece),
            Item::Tokens(kind) => kind,
        };
        match &catalogue.model(self.model).product {
            None => {
                let word = match kind {
                    Kind::Input => "InputTokenCount",
                    Kind::Output => "OutputTokenCount",
                    Kind::CacheRead => "CacheReadInputTokenCount",
                    Kind::CacheWrite5m => "CacheWriteInputTokenCount",
                    Kind::CacheWrite1h => "CacheWrite1hInputTokenCount",
                };
                let long = if self.band > 0 { "_LongContext" } else { "" };
                let global = if self.route == Route::Global { "_Global" } else { "" };
                let tier = match self.tier {
                    Tier::Standard => "",
                    Tier::Priority => "_Priority",
                    Tier::Flex => "_Flex",
                };
                format!("{region}-MP:{region}_{word}{long}{global}{tier}-Units")
            }
            Some(product) => {
                let word = match kind {
                    Kind::Input => "input-tokens",
                    Kind::Output => "output-tokens",
                    Kind::CacheRead => "cache-read-input-token-count",
                    Kind::CacheWrite5m => "cache-write-input-token-count",
                    Kind::CacheWrite1h => "cache-write-1h-input-token-count",
                };
                let long = if self.band > 0 { "-long-context" } else { "" };
                let global = if self.route == Route::Global { "-global" } else { "" };
                let tier = match self.tier {
                    Tier::Standard => "",
                    Tier::Priority => "-priority",
                    Tier::Flex => "-flex",
                };
                format!("{region}-{product}-{word}{long}{global}{tier}")
            }
        }
    }

    /// The usage type of what is no token, after the pattern of tokens: none was seen on an invoice.
    fn pieces_type(&self, catalogue: &Catalogue, piece: Piece) -> String {
        let region = self.region.billing_prefix();
        match &catalogue.model(self.model).product {
            None => {
                let word = match piece {
                    Piece::Image => "InputImageCount",
                    Piece::ImageMade => "OutputImageCount",
                    Piece::Query => "QueryCount",
                    Piece::AudioSecond => "InputAudioSecondCount",
                    Piece::VideoSecond => "InputVideoSecondCount",
                    Piece::VideoSecondMade => "OutputVideoSecondCount",
                };
                let global = if self.route == Route::Global { "_Global" } else { "" };
                format!("{region}-MP:{region}_{word}{global}-Units")
            }
            Some(product) => {
                let word = match piece {
                    Piece::Image => "input-images",
                    Piece::ImageMade => "output-images",
                    Piece::Query => "queries",
                    Piece::AudioSecond => "input-audio-seconds",
                    Piece::VideoSecond => "input-video-seconds",
                    Piece::VideoSecondMade => "output-video-seconds",
                };
                let global = if self.route == Route::Global { "-global" } else { "" };
                format!("{region}-{product}-{word}{global}")
            }
        }
    }

    /// What its quantities count.
    pub(crate) fn unit(&self) -> &'static str {
        match self.item {
            Item::Tokens(_) => "tokens",
            Item::Pieces(Piece::Image | Piece::ImageMade) => "images",
            Item::Pieces(Piece::Query) => "queries",
            Item::Pieces(Piece::AudioSecond | Piece::VideoSecond | Piece::VideoSecondMade) => "seconds",
            _ => "text-units",
        }
    }
}
