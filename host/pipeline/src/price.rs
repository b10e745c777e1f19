//! From usage to money.

use kairos_dialects::outline::{Outline, ServiceTier};
use kairos_dialects::usage::{GuardrailUnits, Usage};

use crate::money::Picodollars;

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
}

impl Rates {
    /// The most that a token of input can cost.
    fn dearest_input(&self) -> u64 {
        [Some(self.input), self.cache_read, self.cache_write_5m, self.cache_write_1h]
            .into_iter()
            .flatten()
            .max()
            .unwrap_or(0)
    }
}

/// Rates of a target in one service tier and context band.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PriceRow {
    /// The tier.
    pub tier: ServiceTier,
    /// The row holds for requests with more input than this, cached tokens included.
    pub over: u64,
    /// What tokens cost.
    pub rates: Rates,
}

/// What a target costs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PriceTable {
    rows: Vec<PriceRow>,
}

impl PriceTable {
    /// A table of these rows.
    pub fn new(mut rows: Vec<PriceRow>) -> Self {
        rows.sort_by_key(|row| row.over);
        Self { rows }
    }

    /// Whether nothing is known of what the target costs.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// All rows.
    pub fn rows(&self) -> &[PriceRow] {
        &self.rows
    }

    /// The rates for so much input; none where the tier has no price.
    pub fn rates(&self, tier: ServiceTier, input: u64) -> Option<&Rates> {
        let rows = self.rows.iter().filter(|row| row.tier == tier && (row.over == 0 || input > row.over));
        rows.max_by_key(|row| row.over).map(|row| &row.rates)
    }

    /// The dearest rates of a tier that input of at most `input` can meet.
    fn dearest(&self, tier: ServiceTier, input: u64) -> Option<(u64, u64)> {
        let rows = self.rows.iter().filter(|row| row.tier == tier && (row.over == 0 || input > row.over));
        rows.fold(None, |dearest, row| {
            let (input, output) = dearest.unwrap_or((0, 0));
            Some((input.max(row.rates.dearest_input()), output.max(row.rates.output)))
        })
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
}

impl Priced {
    /// Whether the amount is the bill, rather than a bound of it.
    pub fn is_exact(&self) -> bool {
        self.amount == self.low
    }
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
    prices: &PriceTable,
    guardrail: &GuardrailPrices,
    limits: Limits,
) -> Result<Picodollars, PriceError> {
    if outline.optimized_latency {
        return Err(PriceError::OptimizedLatency);
    }
    let bound = (body_bytes as u64).saturating_add(OVERHEAD_TOKENS).saturating_add(u64::from(outline.turns) * 16);
    let most = if outline.wide_context { WIDEST_CONTEXT.max(limits.input) } else { limits.input };
    let most = u64::from(most);
    let input = if outline.unbounded_input { most } else { most.min(bound) };
    let asked = if outline.unbounded_output { None } else { outline.max_output_tokens };
    let output = u64::from(asked.unwrap_or(limits.output)).saturating_mul(u64::from(outline.completions));
    let (input_rate, output_rate) =
        prices.dearest(outline.service_tier, input).ok_or(PriceError::Tier(outline.service_tier))?;
    let guarded = if outline.needs.contains(kairos_dialects::Needs::GUARDRAILS) {
        let bytes = outline.text_bytes.saturating_add(output.saturating_mul(BYTES_PER_TOKEN));
        guardrail.worst(bytes, outline.images).ok_or(PriceError::Overflow)?
    } else {
        0
    };
    let sum = || {
        let tokens = input.checked_mul(input_rate)?.checked_add(output.checked_mul(output_rate)?)?;
        tokens.checked_add(guarded).map(Picodollars)
    };
    sum().ok_or(PriceError::Overflow)
}

/// What a call cost that consumed `usage` in `tier`. Where a part has no known price, or the
/// answer does not say which price holds, the amount is the most it can be, and `low` the least.
pub fn cost(
    usage: &Usage,
    tier: ServiceTier,
    prices: &PriceTable,
    guardrail: &GuardrailPrices,
) -> Result<Priced, PriceError> {
    let rates = prices.rates(tier, usage.all_input()).ok_or(PriceError::Tier(tier))?;
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
    let guarded = guardrail.cost(usage.guardrail).ok_or(PriceError::Overflow)?;
    let (mut low, mut high) = (guarded, guarded);
    for (tokens, bounds) in legs {
        let add = |sum: u64, rate: u64| sum.checked_add(tokens.checked_mul(rate)?);
        low = add(low, bounds.low).ok_or(PriceError::Overflow)?;
        high = add(high, bounds.high).ok_or(PriceError::Overflow)?;
    }
    Ok(Priced { amount: Picodollars(high), low: Picodollars(low) })
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
    };

    fn table() -> PriceTable {
        let long = Rates { input: 6_000_000, output: 22_500_000, cache_read: None, ..RATES };
        PriceTable::new(vec![
            PriceRow { tier: ServiceTier::Standard, over: 200_000, rates: long },
            PriceRow { tier: ServiceTier::Standard, over: 0, rates: RATES },
        ])
    }

    fn exact(usage: Usage) -> u64 {
        let priced = cost(&usage, ServiceTier::Standard, &table(), &GuardrailPrices::default()).unwrap();
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
        let none = GuardrailPrices::default();
        let unknown = Usage { cache_write_unknown: 10, ..Usage::default() };
        let priced = cost(&unknown, ServiceTier::Standard, &table(), &none).unwrap();
        assert_eq!((priced.low.0, priced.amount.0), (37_500_000, 60_000_000));
        let unpriced = Usage { input: 200_001, cache_read: 10, ..Usage::default() };
        let priced = cost(&unpriced, ServiceTier::Standard, &table(), &none).unwrap();
        assert_eq!(priced.amount.0 - priced.low.0, 60_000_000);
        assert_eq!(cost(&unknown, ServiceTier::Flex, &table(), &none), Err(PriceError::Tier(ServiceTier::Flex)));
        let huge = Usage { input: u64::MAX, ..Usage::default() };
        assert_eq!(cost(&huge, ServiceTier::Standard, &table(), &none), Err(PriceError::Overflow));
    }

    #[test]
    fn the_worst_case_is_no_less_than_any_bill() {
        let limits = Limits { input: 300_000, output: 5_000 };
        let guardrail = GuardrailPrices { topic: 150_000_000, ..GuardrailPrices::default() };
        let worst = |outline: &Outline, bytes| worst_case(outline, bytes, &table(), &guardrail, limits).unwrap().0;
        let outline = Outline { max_output_tokens: Some(10), turns: 1, ..Outline::default() };
        assert_eq!(worst(&outline, 100), (100 + 1_024 + 16) * 6_000_000 + 10 * 15_000_000);
        // A guardrail looks at images too, each at its own price.
        let pictures = GuardrailPrices { image: 750_000_000, ..guardrail };
        let needs = Needs::GUARDRAILS;
        let seen = Outline { needs, images: 3, ..outline.clone() };
        let unseen = Outline { images: 0, ..seen.clone() };
        let price = |outline: &Outline| worst_case(outline, 100, &table(), &pictures, limits).unwrap().0;
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
}
