//! What a test says of a router's plan.

use kairos_pipeline::models::Catalogue;
use kairos_pipeline::policy::{CacheDirective, Candidate, Plan};

use super::super::expect::{self, Names, Reason, or_none};
use super::super::offers::{self, Chosen, MOST};
use super::super::table::{Read, Table, Value};

/// A plan, in what the test says of it.
#[derive(Default)]
pub(in super::super) struct PlanLike {
    first: Option<u32>,
    order: Option<Vec<u32>>,
    not: Vec<u32>,
    probability: Vec<(u32, f64)>,
    reason: Option<Reason>,
    max_output_tokens: Option<u32>,
    max_cost: Option<u64>,
    cache: Option<CacheDirective>,
}

/// Chances that differ by less are the same.
const SAME_CHANCE: f64 = 1e-9;

/// Reads what is expected of a plan; nothing: it says nothing of one.
pub(super) fn expected(table: &mut Table<'_>, chosen: &[Chosen], catalogue: &Catalogue) -> Read<Option<PlanLike>> {
    let index = |name: Value<'_>| offers::index(&name, chosen, catalogue);
    let indices = |list: Value<'_>| list.list()?.map(index).collect::<Read<Vec<u32>>>();
    let first = table.read("first", index)?;
    let order = table.read("order", indices)?;
    let not = table.read("not", indices)?;
    let probability = table.read("probability", |chances| {
        let chances = chances.table()?.entries();
        let chance = |(name, chance): (String, Value<'_>)| {
            Ok((offers::index_of(&name, &chance, chosen, catalogue)?, chance.fraction()?))
        };
        chances.map(chance).collect::<Read<Vec<_>>>()
    })?;
    let reason = table.read("reason", |value| expect::reason(&value))?;
    let limits = limits(table)?;
    let is_said = first.is_some() || order.is_some() || not.is_some() || probability.is_some() || reason.is_some();
    let is_said = is_said || limits.max_output_tokens.is_some() || limits.max_cost.is_some() || limits.cache.is_some();
    Ok(is_said.then(|| PlanLike {
        first,
        order,
        not: not.unwrap_or_default(),
        probability: probability.unwrap_or_default(),
        reason,
        ..limits
    }))
}

fn limits(table: &mut Table<'_>) -> Read<PlanLike> {
    let cache = table.read("cache", |value| {
        if !value.is_text() {
            return Ok(CacheDirective::TtlSeconds(value.short()?));
        }
        Ok([CacheDirective::Default, CacheDirective::Bypass][value.one_of(&["default", "bypass"])?])
    })?;
    Ok(PlanLike {
        max_output_tokens: table.read("max_output_tokens", |value| value.short())?,
        max_cost: table.read("max_cost", |value| value.whole(MOST))?,
        cache,
        ..PlanLike::default()
    })
}

/// The plan, for people.
pub(super) fn in_words(plan: &Plan, names: &Names<'_>) -> String {
    let candidate = |candidate: &Candidate| format!("{} ({})", names.id(candidate.model), candidate.probability);
    let candidates: Vec<_> = plan.candidates.iter().map(candidate).collect();
    let mut text = format!("the plan: {}; reason {}", candidates.join(", "), names.reason(plan.reason));
    let mut say = |what: &str, value: Option<String>| {
        if let Some(value) = value {
            text.push_str(&format!("; {what} {value}"));
        }
    };
    say("max_output_tokens", plan.max_output_tokens.map(|limit| limit.to_string()));
    say("max_cost", plan.max_cost.map(|limit| limit.to_string()));
    say("cache", (plan.cache != CacheDirective::Default).then(|| cache(plan.cache)));
    text
}

fn cache(directive: CacheDirective) -> String {
    match directive {
        CacheDirective::Default => "\"default\"".to_owned(),
        CacheDirective::Bypass => "\"bypass\"".to_owned(),
        CacheDirective::TtlSeconds(seconds) => seconds.to_string(),
    }
}

impl PlanLike {
    /// What is not as expected.
    pub(super) fn wrong_with(&self, plan: &Plan, names: &Names<'_>) -> Vec<String> {
        let mut wrong = Vec::new();
        let certain = plan.candidates.iter().position(|candidate| candidate.probability >= 1.0 - SAME_CHANCE);
        if let Some(expected) = self.first {
            let first = certain.map(|place| plan.candidates[place].model);
            if first != Some(expected) {
                let is = first.map_or("drawn by chances (see `probability`)", |first| names.id(first));
                wrong.push(format!("first: {is}, expected {}", names.id(expected)));
            }
        }
        // Who is first for certain is tried first, wherever it stands.
        let mut order: Vec<u32> = plan.candidates.iter().map(|candidate| candidate.model).collect();
        order[..=certain.unwrap_or(0)].rotate_right(1);
        if let Some(expected) = self.order.as_ref().filter(|expected| **expected != order) {
            wrong.push(format!("order: {}, expected {}", names.all(&order), names.all(expected)));
        }
        let unwanted: Vec<u32> = self.not.iter().copied().filter(|model| order.contains(model)).collect();
        if !unwanted.is_empty() {
            wrong.push(format!("not: {} is in the plan", names.all(&unwanted)));
        }
        for (model, expected) in &self.probability {
            let found = plan.candidates.iter().find(|candidate| candidate.model == *model);
            let is = found.map_or(0.0, |candidate| candidate.probability);
            if (is - expected).abs() > SAME_CHANCE {
                wrong.push(format!("probability of {}: {is}, expected {expected}", names.id(*model)));
            }
        }
        wrong.extend(self.reason.as_ref().and_then(|reason| reason.wrong_with(plan.reason, names)));
        self.limits_wrong_with(plan, &mut wrong);
        wrong
    }

    fn limits_wrong_with(&self, plan: &Plan, wrong: &mut Vec<String>) {
        let mut compare = |what: &str, is: String, expected: Option<String>| {
            if let Some(expected) = expected.filter(|expected| *expected != is) {
                wrong.push(format!("{what}: {is}, expected {expected}"));
            }
        };
        let text = |limit: Option<u32>| limit.map(|limit| limit.to_string());
        compare("max_output_tokens", or_none(plan.max_output_tokens), text(self.max_output_tokens));
        compare("max_cost", or_none(plan.max_cost), self.max_cost.map(|limit| limit.to_string()));
        compare("cache", cache(plan.cache), self.cache.map(cache));
    }
}
