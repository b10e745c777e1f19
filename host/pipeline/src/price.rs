//! From usage to money.

mod units;

use kairos_dialects::outline::{Outline, ServiceTier};
use kairos_dialects::usage::{GuardrailUnits, Unit, Usage};

use crate::money::Picodollars;

pub use self::units::UnitRates;

/// Picodollars per token, by kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rates {
    /// Input.
    pub input: u64,
    /// Output.
    pub output: u64,
    /// Reading from the prompt cache; none where no price is known.
    pub cache_read: Option<u64>,
    /// Writing to the prompt cache for five minutes.
    pub cache_write_5m: Option<u64>,
    /// Writing to the prompt cache for an hour.
    pub cache_write_1h: Option<u64>,
    /// What is priced by the piece or by the second.
    pub units: UnitRates,
}

impl Rates {
    /// Nothing: less than any.
    pub const NONE: Self = Self {
        input: 0,
        output: 0,
        cache_read: None,
        cache_write_5m: None,
        cache_write_1h: None,
        units: UnitRates::NONE,
    };

    /// Of each kind the dearer.
    #[must_use]
    pub fn or_dearer(self, other: &Self) -> Self {
        Self {
            input: self.input.max(other.input),
            output: self.output.max(other.output),
            cache_read: self.cache_read.max(other.cache_read),
            cache_write_5m: self.cache_write_5m.max(other.cache_write_5m),
            cache_write_1h: self.cache_write_1h.max(other.cache_write_1h),
            units: self.units.or_dearer(other.units),
        }
    }

    /// The most that a token of input can cost.
    fn dearest_input(&self) -> u64 {
        [Some(self.input), self.cache_read, self.cache_write_5m, self.cache_write_1h]
            .into_iter()
            .flatten()
            .max()
            .unwrap_or(0)
    }
}

/// A UTC day, in days since 1970: the day of a reservation says which rows hold.
pub type Day = u32;

/// Milliseconds of a day.
pub const DAY_MS: u64 = 86_400_000;

/// The UTC day of a moment, in milliseconds since 1970.
pub fn day_of(at_ms: u64) -> Day {
    Day::try_from(at_ms / DAY_MS).unwrap_or(Day::MAX)
}

/// The days on which a price holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Days {
    /// The first.
    pub from: Day,
    /// The first on which it no longer does.
    pub until: Day,
}

impl Days {
    /// Every day.
    pub const ALL: Self = Self { from: 0, until: Day::MAX };

    /// Whether a day is one of them.
    pub fn contain(self, day: Day) -> bool {
        self.from <= day && day < self.until
    }

    /// The first day that both have.
    pub fn overlap(self, other: Self) -> Option<Day> {
        let first = self.from.max(other.from);
        (first < self.until.min(other.until)).then_some(first)
    }
}

/// Rates of a target in one service tier and context band.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PriceRow {
    /// The tier.
    pub tier: ServiceTier,
    /// The row holds for requests with more input than this, cached tokens included.
    pub over: u64,
    /// When it holds.
    pub days: Days,
    /// Of rows for the same, the one with the highest rank holds: the operator's go before the catalogue's.
    pub rank: u8,
    /// What tokens cost.
    pub rates: Rates,
}

/// What a target costs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PriceTable {
    /// The highest band first, within it the highest rank.
    rows: Vec<PriceRow>,
}

impl PriceTable {
    /// A table of these rows.
    pub fn new(mut rows: Vec<PriceRow>) -> Self {
        rows.sort_by_key(|row| std::cmp::Reverse((row.over, row.rank)));
        Self { rows }
    }

    /// Whether nothing is known of what the target costs on a day.
    pub fn is_empty(&self, day: Day) -> bool {
        !self.rows.iter().any(|row| row.days.contain(day))
    }

    /// All rows.
    pub fn rows(&self) -> &[PriceRow] {
        &self.rows
    }

    /// The rows that hold for input of at most `input` on a day, one a band, the highest band first.
    fn holding(&self, tier: ServiceTier, input: u64, day: Day) -> impl Iterator<Item = &PriceRow> {
        let mut taken = None;
        self.rows.iter().filter(move |row| {
            let holds = row.tier == tier && row.days.contain(day) && (row.over == 0 || input > row.over);
            holds && taken.replace(row.over) != Some(row.over)
        })
    }

    /// The rates for so much input on a day; none where the tier has no price.
    pub fn rates(&self, tier: ServiceTier, input: u64, day: Day) -> Option<&Rates> {
        self.holding(tier, input, day).next().map(|row| &row.rates)
    }

    /// The dearest rates of a tier that input of at most `input` can meet.
    fn dearest(&self, tier: ServiceTier, input: u64, day: Day) -> Option<Rates> {
        self.holding(tier, input, day).map(|row| row.rates).reduce(|dearest, rates| dearest.or_dearer(&rates))
    }
}

/// What a call is priced with: what its target costs, on the day of its reservation.
#[derive(Clone, Copy, Debug)]
pub struct Prices<'a> {
    /// The target's rows.
    pub table: &'a PriceTable,
    /// What guardrails cost.
    pub guardrail: &'a GuardrailPrices,
    /// The day.
    pub day: Day,
    /// What is reserved and charged, as the most it can be, where there is no price; none: then nothing is
    /// called.
    pub stand_in: Option<Rates>,
}

impl Prices<'_> {
    /// The rates for so much input, or what stands in for them.
    pub fn rates(&self, tier: ServiceTier, input: u64) -> Option<Rates> {
        self.table.rates(tier, input, self.day).copied().or(self.stand_in)
    }
}

/// Picodollars per guardrail unit, by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GuardrailPrices {
    /// Denied topics.
    pub topic: u64,
    /// Content filters, text.
    pub content: u64,
    /// Content filters, images.
    pub image: u64,
    /// Word filters.
    pub word: u64,
    /// Filters for personal data.
    pub sensitive: u64,
    /// Grounding checks.
    pub grounding: u64,
    /// Automated reasoning.
    pub reasoning: u64,
}

impl GuardrailPrices {
    /// What units cost; none where the sum does not fit.
    pub fn cost(&self, units: GuardrailUnits) -> Option<u64> {
        [
            (units.topic_policy_units, self.topic),
            (units.content_policy_units, self.content),
            (units.content_policy_image_units, self.image),
            (units.word_policy_units, self.word),
            (units.sensitive_information_policy_units, self.sensitive),
            (units.contextual_grounding_policy_units, self.grounding),
            (units.automated_reasoning_policy_units, self.reasoning),
        ]
        .into_iter()
        .try_fold(0u64, |sum, (units, price)| sum.checked_add(units.checked_mul(price)?))
    }

    /// The most that guarding so many bytes of text and so many images can cost: a unit is up to
    /// 1,000 characters, and every policy may look at each.
    fn worst(&self, text_bytes: u64, images: u32) -> Option<u64> {
        let unit = [self.topic, self.content, self.word, self.sensitive, self.grounding, self.reasoning];
        let unit = unit.into_iter().try_fold(0u64, u64::checked_add)?;
        // One unit more for each side that is cut.
        let text = text_bytes.div_ceil(1000).checked_add(2)?.checked_mul(unit)?;
        text.checked_add(u64::from(images).checked_mul(self.image)?)
    }
}

/// What a call costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Priced {
    /// What is charged: the bill where it is known, else the most that it can be.
    pub amount: Picodollars,
    /// The least that the bill can be.
    pub low: Picodollars,
    /// No price is known, and another stands in.
    pub unpriced: bool,
}

impl Priced {
    /// Whether the amount is the bill, rather than a bound of it.
    pub fn is_exact(&self) -> bool {
        !self.unpriced && self.amount == self.low
    }
}

/// The most that a call can cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Worst {
    /// It.
    pub amount: Picodollars,
    /// No price is known, and another stands in: not even this is certain.
    pub unpriced: bool,
}

/// Why something has no price.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PriceError {
    /// The tier has no price on this target.
    #[error("the service tier {0:?} has no known price on this model")]
    Tier(ServiceTier),
    /// Latency-optimised inference has no price.
    #[error("latency-optimised inference has no known price")]
    OptimizedLatency,
    /// Something that is not counted in tokens has no price.
    #[error("the unit {:?} has no known price on this model", .0.name())]
    Unit(Unit),
    /// The sum is beyond what an amount holds.
    #[error("the cost is beyond what can be accounted for")]
    Overflow,
}

/// Characters of output that a token can stand for, for guardrails: the longest token of the models'
/// tokenizers is far shorter.
const BYTES_PER_TOKEN: u64 = 256;

/// Tokens that a family wraps around a conversation, per message and in all, at most.
const OVERHEAD_TOKENS: u64 = 1_024;

/// Tokens of the widest context that a beta switch opens (`context-1m-2025-08-07`).
const WIDEST_CONTEXT: u32 = 1_000_000;

/// Limits of the model that a worst case is for.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The most input tokens it takes.
    pub input: u32,
    /// The most output tokens it gives.
    pub output: u32,
}

/// The most that a request can cost on a target: what is reserved for it.
///
/// Without a tokenizer: a token is at least a byte of the body, so the body's length and what a
/// family wraps around it bound the input, unless content is media or elsewhere; then only the
/// model's own limit does.
pub fn worst_case(
    outline: &Outline,
    body_bytes: usize,
    prices: &Prices<'_>,
    limits: Limits,
) -> Result<Worst, PriceError> {
    // Media make a body long, and are no text.
    let has_media = outline.texts_only && !outline.units.is_nothing();
    let bytes = if has_media { outline.text_bytes } else { outline.text_bytes.max(body_bytes as u64) };
    let bound = bytes.saturating_add(OVERHEAD_TOKENS).saturating_add(u64::from(outline.turns) * 16);
    let most = if outline.wide_context { WIDEST_CONTEXT.max(limits.input) } else { limits.input };
    let most = u64::from(most);
    let input = match (outline.unbounded_input, outline.texts_only) {
        (true, true) => bound.saturating_add(most.saturating_mul(outline.images.max(1).into())),
        (true, false) => most,
        (false, true) => bound,
        (false, false) => most.min(bound),
    };
    let asked = if outline.unbounded_output { None } else { outline.max_output_tokens };
    let output = u64::from(asked.unwrap_or(limits.output)).saturating_mul(u64::from(outline.completions));
    let tier = outline.service_tier;
    let known = if outline.optimized_latency {
        Err(PriceError::OptimizedLatency)
    } else {
        prices.table.dearest(tier, input, prices.day).ok_or(PriceError::Tier(tier))
    };
    let known = known
        .and_then(|rates| rates.units.missing(outline.units).map_or(Ok(rates), |unit| Err(PriceError::Unit(unit))));
    let unpriced = known.is_err();
    let rates = known.or_else(|error| prices.stand_in.ok_or(error))?;
    let pieces = rates.units.cost(outline.units)?;
    let guarded = if outline.needs.contains(kairos_dialects::Needs::GUARDRAILS) {
        let bytes = outline.text_bytes.saturating_add(output.saturating_mul(BYTES_PER_TOKEN));
        prices.guardrail.worst(bytes, outline.images).ok_or(PriceError::Overflow)?
    } else {
        0
    };
    let sum = || {
        let tokens = input.checked_mul(rates.dearest_input())?.checked_add(output.checked_mul(rates.output)?)?;
        tokens.checked_add(guarded)?.checked_add(pieces).map(Picodollars)
    };
    let amount = sum().ok_or(PriceError::Overflow)?;
    Ok(Worst { amount, unpriced })
}

/// What a call cost that consumed `usage` in `tier`. Where a part has no known price, or the
/// answer does not say which price holds, the amount is the most it can be, and `low` the least. Where
/// another price stands in, only the guardrail's part is known.
pub fn cost(usage: &Usage, tier: ServiceTier, prices: &Prices<'_>) -> Result<Priced, PriceError> {
    let known = prices.table.rates(tier, usage.all_input(), prices.day).ok_or(PriceError::Tier(tier));
    let known =
        known.and_then(|rates| rates.units.missing(usage.units).map_or(Ok(*rates), |unit| Err(PriceError::Unit(unit))));
    let unpriced = known.is_err();
    let rates = known.or_else(|error| prices.stand_in.ok_or(error))?;
    let write = |rate: Option<u64>| Bounds::of(rate, rates.dearest_input());
    let unknown_write = {
        let (short, long) = (write(rates.cache_write_5m), write(rates.cache_write_1h));
        Bounds { low: short.low.min(long.low), high: short.high.max(long.high) }
    };
    let legs = [
        (usage.input, Bounds::exact(rates.input)),
        (usage.output, Bounds::exact(rates.output)),
        (usage.cache_read, Bounds::of(rates.cache_read, rates.input)),
        (usage.cache_write_5m, write(rates.cache_write_5m)),
        (usage.cache_write_1h, write(rates.cache_write_1h)),
        (usage.cache_write_unknown, unknown_write),
    ];
    let guarded = prices.guardrail.cost(usage.guardrail).ok_or(PriceError::Overflow)?;
    let pieces = rates.units.cost(usage.units)?;
    let (mut low, mut high) = (guarded, guarded.checked_add(pieces).ok_or(PriceError::Overflow)?);
    if !unpriced {
        low = high;
    }
    for (tokens, bounds) in legs {
        let add = |sum: u64, rate: u64| sum.checked_add(tokens.checked_mul(rate)?);
        let least = if unpriced { 0 } else { bounds.low };
        low = add(low, least).ok_or(PriceError::Overflow)?;
        high = add(high, bounds.high).ok_or(PriceError::Overflow)?;
    }
    Ok(Priced { amount: Picodollars(high), low: Picodollars(low), unpriced })
}

/// A rate that may not be known.
#[derive(Clone, Copy)]
struct Bounds {
    low: u64,
    high: u64,
}

impl Bounds {
    fn exact(rate: u64) -> Self {
        Self { low: rate, high: rate }
    }

    fn of(rate: Option<u64>, most: u64) -> Self {
        rate.map_or(Self { low: 0, high: most }, Self::exact)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kairos_dialects::Needs;

    const RATES: Rates = Rates {
        input: 3_000_000,
        output: 15_000_000,
        cache_read: Some(300_000),
        cache_write_5m: Some(3_750_000),
        cache_write_1h: Some(6_000_000),
        units: UnitRates::NONE,
    };

    fn table() -> PriceTable {
        let long = Rates { input: 6_000_000, output: 22_500_000, cache_read: None, ..RATES };
        PriceTable::new(vec![
            PriceRow { tier: ServiceTier::Standard, over: 200_000, days: Days::ALL, rank: 0, rates: long },
            PriceRow { tier: ServiceTier::Standard, over: 0, days: Days::ALL, rank: 0, rates: RATES },
        ])
    }

    fn with<T>(guardrail: &GuardrailPrices, stand_in: Option<Rates>, then: impl FnOnce(&Prices<'_>) -> T) -> T {
        then(&Prices { table: &table(), guardrail, day: 20_000, stand_in })
    }

    fn exact(usage: Usage) -> u64 {
        let priced = with(&GuardrailPrices::default(), None, |prices| cost(&usage, ServiceTier::Standard, prices));
        let priced = priced.unwrap();
        assert!(priced.is_exact());
        priced.amount.0
    }

    #[test]
    fn every_leg_has_its_price() {
        // 10 × 3 + 20 × 15 + 100 × 0.3 + 40 × 3.75 + 50 × 6 dollars per million tokens.
        let usage = Usage {
            input: 10,
            output: 20,
            cache_read: 100,
            cache_write_5m: 40,
            cache_write_1h: 50,
            ..Usage::default()
        };
        assert_eq!(exact(usage), 30_000_000 + 300_000_000 + 30_000_000 + 150_000_000 + 300_000_000);
        // The band holds above its bound, for the whole request.
        assert_eq!(exact(Usage { input: 200_000, ..Usage::default() }), 200_000 * 3_000_000);
        assert_eq!(exact(Usage { input: 200_001, ..Usage::default() }), 200_001 * 6_000_000);
        let cached = Usage { input: 1, cache_write_5m: 200_000, ..Usage::default() };
        assert_eq!(exact(cached), 6_000_000 + 200_000 * 3_750_000);
    }

    #[test]
    fn what_is_not_known_is_bounded_and_never_free() {
        let of = |usage: &Usage, tier| with(&GuardrailPrices::default(), None, |prices| cost(usage, tier, prices));
        let unknown = Usage { cache_write_unknown: 10, ..Usage::default() };
        let priced = of(&unknown, ServiceTier::Standard).unwrap();
        assert_eq!((priced.low.0, priced.amount.0), (37_500_000, 60_000_000));
        let unpriced = Usage { input: 200_001, cache_read: 10, ..Usage::default() };
        let priced = of(&unpriced, ServiceTier::Standard).unwrap();
        assert_eq!(priced.amount.0 - priced.low.0, 60_000_000);
        assert_eq!(of(&unknown, ServiceTier::Flex), Err(PriceError::Tier(ServiceTier::Flex)));
        let huge = Usage { input: u64::MAX, ..Usage::default() };
        assert_eq!(of(&huge, ServiceTier::Standard), Err(PriceError::Overflow));
    }

    #[test]
    fn the_worst_case_is_no_less_than_any_bill() {
        let limits = Limits { input: 300_000, output: 5_000 };
        let guardrail = GuardrailPrices { topic: 150_000_000, ..GuardrailPrices::default() };
        let most = |outline: &Outline, bytes, guardrail: &GuardrailPrices| {
            with(guardrail, None, |prices| worst_case(outline, bytes, prices, limits)).unwrap().amount.0
        };
        let worst = |outline: &Outline, bytes| most(outline, bytes, &guardrail);
        let outline = Outline { max_output_tokens: Some(10), turns: 1, ..Outline::default() };
        assert_eq!(worst(&outline, 100), (100 + 1_024 + 16) * 6_000_000 + 10 * 15_000_000);
        // A guardrail looks at images too, each at its own price.
        let pictures = GuardrailPrices { image: 750_000_000, ..guardrail };
        let needs = Needs::GUARDRAILS;
        let seen = Outline { needs, images: 3, ..outline.clone() };
        let unseen = Outline { images: 0, ..seen.clone() };
        let price = |outline: &Outline| most(outline, 100, &pictures);
        assert_eq!(price(&seen) - price(&unseen), 3 * 750_000_000);
        // A beta switch can open a wider context, with a dearer band, than the catalogue says.
        let wide = Outline { wide_context: true, unbounded_input: true, ..outline.clone() };
        assert_eq!(worst(&wide, 100), 1_000_000 * 6_000_000 + 10 * 22_500_000);
        // Long input can reach the dearer band.
        assert_eq!(worst(&outline, 250_000), (250_000 + 1_040) * 6_000_000 + 10 * 22_500_000);
        let media = Outline { unbounded_input: true, ..outline.clone() };
        assert_eq!(worst(&media, 100), 300_000 * 6_000_000 + 10 * 22_500_000);
        let open = Outline { max_output_tokens: None, completions: 3, ..outline.clone() };
        assert_eq!(worst(&open, 100), 1_140 * 6_000_000 + 3 * 5_000 * 15_000_000);
        let mut guarded = outline;
        guarded.needs.add(Needs::GUARDRAILS);
        assert_eq!(worst(&guarded, 100), 1_140 * 6_000_000 + 150_000_000 + (3 + 2) * 150_000_000);
    }
    #[test]
    fn a_row_holds_on_its_days_and_the_operators_goes_first() {
        let row = |over, (from, until), rank, input| PriceRow {
            tier: ServiceTier::Standard,
            over,
            days: Days { from, until },
            rank,
            rates: Rates { input, ..RATES },
        };
        let table = PriceTable::new(vec![
            row(0, (0, 100), 0, 1),
            row(0, (100, Day::MAX), 0, 2),
            row(0, (50, 150), 1, 3),
            row(200_000, (0, 120), 0, 4),
        ]);
        for (day, input, expected) in [
            (49, 1, Some(1)),
            (50, 1, Some(3)),
            (149, 1, Some(3)),
            (150, 1, Some(2)),
            (119, 200_001, Some(4)),
            // The band's own price is over: that of the band below holds, on no day none.
            (120, 200_001, Some(3)),
        ] {
            let rates = table.rates(ServiceTier::Standard, input, day).map(|rates| rates.input);
            assert_eq!(rates, expected, "{day} {input}");
        }
        // What is reserved is at the operator's row, too, and not at the one that it replaces.
        let rates = |input: u64| Rates { input, cache_read: None, cache_write_5m: None, cache_write_1h: None, ..RATES };
        let dear = PriceRow { rates: rates(9), ..row(0, (0, Day::MAX), 0, 0) };
        let cheap = PriceRow { rates: rates(5), ..row(0, (10, 20), 1, 0) };
        let table = PriceTable::new(vec![dear, cheap]);
        let dearest = |day| table.dearest(ServiceTier::Standard, 10, day).map(|rates| rates.input);
        assert_eq!([9, 10, 19, 20].map(dearest), [Some(9), Some(5), Some(5), Some(9)]);
        assert!(!table.is_empty(0) && PriceTable::default().is_empty(0));
        assert_eq!((day_of(0), day_of(DAY_MS - 1), day_of(DAY_MS), day_of(u64::MAX)), (0, 0, 1, Day::MAX));
    }

    #[test]
    fn what_has_no_price_is_bounded_by_what_stands_in_and_is_no_bill() {
        let none = GuardrailPrices::default();
        let dear = Rates { input: 7_000_000, output: 70_000_000, cache_write_1h: Some(9_000_000), ..Rates::NONE };
        let usage = Usage { input: 10, output: 20, ..Usage::default() };
        let priced = with(&none, Some(dear), |prices| cost(&usage, ServiceTier::Flex, prices)).unwrap();
        assert_eq!((priced.low.0, priced.amount.0, priced.unpriced), (0, 70_000_000 + 1_400_000_000, true));
        assert!(!priced.is_exact());
        // Nothing was consumed, and yet it is no bill.
        let priced = with(&none, Some(dear), |prices| cost(&Usage::default(), ServiceTier::Flex, prices)).unwrap();
        assert!(!priced.is_exact());
        let limits = Limits { input: 300_000, output: 5_000 };
        let fast = Outline { optimized_latency: true, max_output_tokens: Some(10), ..Outline::default() };
        let worst = |stand_in| with(&none, stand_in, |prices| worst_case(&fast, 100, prices, limits));
        assert_eq!(worst(None), Err(PriceError::OptimizedLatency));
        let amount = Picodollars(1_124 * 9_000_000 + 10 * 70_000_000);
        assert_eq!(worst(Some(dear)), Ok(Worst { amount, unpriced: true }));
        // A price that is known is not replaced, however dear what would stand in.
        let known = Outline { optimized_latency: false, ..fast };
        let worst = with(&none, Some(dear), |prices| worst_case(&known, 100, prices, limits)).unwrap();
        assert_eq!(worst, Worst { amount: Picodollars(1_124 * 6_000_000 + 10 * 15_000_000), unpriced: false });
    }
}
