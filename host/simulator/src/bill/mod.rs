//! The simulator's own bill: what AWS would charge for what was asked of it.
//!
//! It shares no code with any ledger, so that each can find the other out. It must not know requests
//! or answers, only charges.

mod charge;
mod cur;
mod rows;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

pub(crate) use charge::Charge;
use charge::LineKey;
use rows::{Id, Row, Rows};

use crate::catalogue::Catalogue;
use crate::config::Clock;
use crate::money::Usd;

/// Rows given at a time at most.
const PAGE: usize = 10_000;

/// The bill of a running simulator. Clones share it.
#[derive(Clone)]
pub struct Bill {
    catalogue: Arc<Catalogue>,
    clock: Clock,
    inner: Arc<Mutex<Inner>>,
}

struct Inner {
    rows: Rows,
    totals: HashMap<LineKey, (u128, u128)>,
}

/// One billed invocation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BillRow {
    /// Its number, from 1 in the order of booking.
    pub seq: u64,
    /// `amz-sdk-invocation-id`, or the request id where that was not sent.
    pub invocation_id: String,
    /// The model as it was asked for.
    pub model: String,
    /// The model that answered.
    pub base_model: String,
    /// `in-region`, `geo:us` and the like, or `global`.
    pub route: String,
    /// The caller's region.
    pub region: String,
    /// `standard`, `priority` or `flex`.
    pub tier: String,
    /// Input tokens, without those that were cached.
    pub input_tokens: u32,
    /// Output tokens.
    pub output_tokens: u32,
    /// Input tokens read from the prompt cache.
    pub cache_read_tokens: u32,
    /// Input tokens written to the prompt cache for five minutes.
    pub cache_write_5m_tokens: u32,
    /// Input tokens written to the prompt cache for an hour.
    pub cache_write_1h_tokens: u32,
    /// Text units that guardrails assessed.
    pub guardrail_units: GuardrailUnits,
    /// The same as lines of a bill.
    pub usage: Vec<UsageLine>,
    /// The sum of the lines.
    pub cost_usd: Usd,
}

/// Guardrail text units by policy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct GuardrailUnits {
    /// Of the topic policy.
    pub topic: u32,
    /// Of the content policy.
    pub content: u32,
    /// Of the sensitive-information policy.
    pub sensitive_information: u32,
}

/// A usage type with what was used of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UsageLine {
    /// As AWS words it.
    pub usage_type: String,
    /// How much.
    #[serde(serialize_with = "as_number")]
    pub quantity: u128,
    /// Of what: `tokens`, `text-units`, `images`, `queries`, `seconds`.
    pub unit: &'static str,
    /// What that costs.
    pub cost_usd: Usd,
}

/// Everything that was ever billed, also what has no row any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BillTotals {
    /// Invocations billed.
    pub rows: u64,
    /// By usage type, sorted by it.
    pub usage: Vec<UsageLine>,
    /// The sum.
    pub cost_usd: Usd,
}

fn as_number<S: serde::Serializer>(quantity: &u128, serializer: S) -> Result<S::Ok, S::Error> {
    // JSON readers take 64 bits; nobody simulates more tokens than that.
    serializer.serialize_u64(u64::try_from(*quantity).unwrap_or(u64::MAX))
}

impl Bill {
    pub(crate) fn new(catalogue: Arc<Catalogue>, rows: usize, clock: Clock) -> Self {
        let inner = Inner { rows: Rows::new(rows), totals: HashMap::new() };
        Self { catalogue, clock, inner: Arc::new(Mutex::new(inner)) }
    }

    /// Books an invocation, unless there is nothing to charge.
    pub(crate) fn book(&self, invocation_id: &str, asked: Arc<str>, charge: Charge) {
        if charge.is_empty() {
            return;
        }
        let id = Id::new(invocation_id);
        let hour = u32::try_from(self.clock.now().as_second() / 3_600).unwrap_or(0);
        let mut inner = self.lock();
        for line in charge.lines(&self.catalogue) {
            let (quantity, cost) = inner.totals.entry(line.key).or_default();
            *quantity = quantity.saturating_add(u128::from(line.quantity));
            *cost = cost.saturating_add(u128::from(line.cost));
        }
        inner.rows.push(id, asked, charge, hour);
    }

    /// The rows after number `after`, oldest first, at most `limit` (and 10,000).
    #[must_use]
    pub fn rows(&self, after: u64, limit: usize) -> Vec<BillRow> {
        let rows = self.lock().rows.after(after, limit.min(PAGE));
        rows.into_iter().map(|(seq, row)| self.shown(seq, &row)).collect()
    }

    /// The rows of one invocation: several if it was tried and billed several times.
    #[must_use]
    pub fn find(&self, invocation_id: &str) -> Vec<BillRow> {
        let rows = self.lock().rows.of(&Id::new(invocation_id));
        rows.into_iter().map(|(seq, row)| self.shown(seq, &row)).collect()
    }

    /// What was billed in all.
    #[must_use]
    pub fn totals(&self) -> BillTotals {
        let (rows, totals) = {
            let inner = self.lock();
            (inner.rows.count(), inner.totals.clone())
        };
        let mut by_type: BTreeMap<String, UsageLine> = BTreeMap::new();
        let mut sum = 0u128;
        for (key, (quantity, cost)) in totals {
            sum = sum.saturating_add(cost);
            let usage_type = key.usage_type(&self.catalogue);
            let line = by_type.entry(usage_type.clone()).or_insert_with(|| UsageLine {
                usage_type,
                quantity: 0,
                unit: key.unit(),
                cost_usd: Usd::default(),
            });
            line.quantity = line.quantity.saturating_add(quantity);
            let cost = line.cost_usd.picodollars().saturating_add(cost);
            line.cost_usd = Usd::from_picodollars(cost);
        }
        let usage = by_type.into_values().collect();
        BillTotals { rows, usage, cost_usd: Usd::from_picodollars(sum) }
    }

    /// The number of the oldest row that is still kept.
    #[must_use]
    pub fn first_kept(&self) -> u64 {
        self.lock().rows.first_kept()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn shown(&self, seq: u64, row: &Row) -> BillRow {
        let Charge { model, route, region, tier, usage, units, .. } = row.charge;
        let lines = row.charge.lines(&self.catalogue).map(|line| UsageLine {
            usage_type: line.key.usage_type(&self.catalogue),
            quantity: u128::from(line.quantity),
            unit: line.key.unit(),
            cost_usd: Usd::from_picodollars(u128::from(line.cost)),
        });
        BillRow {
            seq,
            invocation_id: row.id.to_string(),
            model: row.asked.to_string(),
            base_model: self.catalogue.model(model).id.to_string(),
            route: route.label().to_owned(),
            region: region.name().to_owned(),
            tier: tier.name().to_owned(),
            input_tokens: usage.input,
            output_tokens: usage.output,
            cache_read_tokens: usage.cache_read,
            cache_write_5m_tokens: usage.cache_write_5m,
            cache_write_1h_tokens: usage.cache_write_1h,
            guardrail_units: GuardrailUnits {
                topic: units.topic,
                content: units.content,
                sensitive_information: units.sensitive,
            },
            usage: lines.collect(),
            cost_usd: row.charge.cost(),
        }
    }
}

#[cfg(test)]
mod tests;
