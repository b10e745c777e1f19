//! Prices of what is not counted in tokens: images, queries, seconds.

use kairos_dialects::usage::{Unit, Units};

use super::PriceError;

/// Picodollars for one of each; none where no price is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UnitRates([Option<u64>; Unit::ALL.len()]);

impl UnitRates {
    /// No price.
    pub const NONE: Self = Self([None; Unit::ALL.len()]);

    /// The price of one.
    pub const fn of(self, unit: Unit) -> Option<u64> {
        self.0[unit as usize]
    }

    /// The same with this price of one.
    #[must_use]
    pub const fn with(mut self, unit: Unit, price: Option<u64>) -> Self {
        self.0[unit as usize] = price;
        self
    }

    /// Whether nothing has a price.
    pub fn is_nothing(&self) -> bool {
        *self == Self::NONE
    }

    /// Those that have a price, with it.
    pub fn each(self) -> impl Iterator<Item = (Unit, u64)> {
        Unit::ALL.into_iter().filter_map(move |unit| Some((unit, self.of(unit)?)))
    }

    /// Of each the dearer.
    #[must_use]
    pub fn or_dearer(self, other: Self) -> Self {
        Self(std::array::from_fn(|unit| self.0[unit].max(other.0[unit])))
    }

    /// Its own, and the other's where it has none.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self(std::array::from_fn(|unit| self.0[unit].or(other.0[unit])))
    }

    /// The first of some that has no price.
    pub fn missing(self, units: Units) -> Option<Unit> {
        units.each().map(|(unit, _)| unit).find(|unit| self.of(*unit).is_none())
    }

    /// What they cost.
    pub fn cost(self, units: Units) -> Result<u64, PriceError> {
        units.each().try_fold(0u64, |sum, (unit, count)| {
            let price = self.of(unit).ok_or(PriceError::Unit(unit))?;
            let cost = u64::from(count).checked_mul(price).and_then(|cost| sum.checked_add(cost));
            cost.ok_or(PriceError::Overflow)
        })
    }
}

#[cfg(test)]
mod tests {
    use kairos_dialects::Usage;
    use kairos_dialects::outline::{Outline, ServiceTier};

    use super::super::{Days, GuardrailPrices, Limits, PriceRow, PriceTable, Prices, Rates, cost, worst_case};
    use super::*;

    const LIMITS: Limits = Limits { input: 500, output: 0 };

    fn with<T>(rates: Rates, stand_in: Option<Rates>, then: impl FnOnce(&Prices<'_>) -> T) -> T {
        let table =
            PriceTable::new(vec![PriceRow { tier: ServiceTier::Standard, over: 0, days: Days::ALL, rank: 0, rates }]);
        then(&Prices { table: &table, guardrail: &GuardrailPrices::default(), day: 20_000, stand_in })
    }

    #[test]
    fn pieces_and_tokens_are_priced_each_at_its_own() {
        let units = UnitRates::NONE.with(Unit::Image, Some(60_000_000)).with(Unit::VideoSecond, Some(700_000_000));
        let rates = Rates { input: 135_000, units, ..Rates::NONE };
        let some = Units::of(Unit::Image, 2).plus(Units::of(Unit::VideoSecond, 30));
        let usage = Usage { input: 10, units: some, ..Usage::default() };
        let priced = with(rates, None, |prices| cost(&usage, ServiceTier::Standard, prices)).unwrap();
        assert_eq!(priced.amount.0, 1_350_000 + 120_000_000 + 21_000_000_000);
        assert!(priced.is_exact());
        let outline = Outline { units: some, ..Outline::default() };
        let worst = with(rates, None, |prices| worst_case(&outline, 100, prices, LIMITS)).unwrap();
        assert_eq!(worst.amount.0, 500 * 135_000 + 120_000_000 + 21_000_000_000);
        // Texts that may be cut can count in full, and media beside them are no tokens.
        let texts = Outline { texts_only: true, text_bytes: 900, turns: 2, ..Outline::default() };
        let worst = |outline: &Outline| with(rates, None, |prices| worst_case(outline, 10_000, prices, LIMITS));
        let beside = Outline { units: Units::of(Unit::Image, 2), images: 2, ..texts.clone() };
        assert_eq!(worst(&beside).unwrap().amount.0, (900 + 1_024 + 32) * 135_000 + 120_000_000);
        // Without media all of the body may be text, whatever was read of it.
        assert_eq!(worst(&texts).unwrap().amount.0, (10_000 + 1_024 + 32) * 135_000);
        // Images that are tokens: each is no more than the model takes.
        let tokens = Outline { unbounded_input: true, ..beside };
        assert_eq!(worst(&tokens).unwrap().amount.0, (900 + 1_024 + 32 + 2 * 500) * 135_000 + 120_000_000);
    }

    #[test]
    fn a_unit_without_a_price_is_never_free() {
        let rates = Rates { input: 135_000, ..Rates::NONE };
        let usage = Usage { units: Units::of(Unit::AudioSecond, 4), ..Usage::default() };
        let outline = Outline { units: usage.units, ..Outline::default() };
        let none = Err(PriceError::Unit(Unit::AudioSecond));
        assert_eq!(with(rates, None, |prices| cost(&usage, ServiceTier::Standard, prices)), none);
        let worst = |stand_in| with(rates, stand_in, |prices| worst_case(&outline, 100, prices, LIMITS));
        assert_eq!(worst(None).map(|worst| worst.amount), Err(PriceError::Unit(Unit::AudioSecond)));
        // What stands in has none either: then nothing does.
        assert_eq!(worst(Some(rates)).map(|worst| worst.amount), Err(PriceError::Unit(Unit::AudioSecond)));
        let units = UnitRates::NONE.with(Unit::AudioSecond, Some(5));
        let dear = Rates { input: 9, units, ..Rates::NONE };
        let worst = worst(Some(dear)).unwrap();
        assert_eq!((worst.amount.0, worst.unpriced), (500 * 9 + 20, true));
        let priced = with(rates, Some(dear), |prices| cost(&usage, ServiceTier::Standard, prices)).unwrap();
        assert_eq!((priced.low.0, priced.amount.0, priced.unpriced), (0, 20, true));
        let many = Usage { units: Units::of(Unit::AudioSecond, u32::MAX), ..Usage::default() };
        let dear = Rates { units: UnitRates::NONE.with(Unit::AudioSecond, Some(u64::MAX / 2)), ..dear };
        assert_eq!(with(dear, None, |prices| cost(&many, ServiceTier::Standard, prices)), Err(PriceError::Overflow));
    }
}
