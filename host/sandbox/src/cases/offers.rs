//! The models that a test offers: facts of the catalogue, and what the test says instead.

use std::sync::Arc;

use kairos_pipeline::models::{Answering, Catalogue};
use kairos_pipeline::policy::{Features, Needs, Offer, Strengths, World};

use super::table::{Read, Table, Value, wrong};
use super::worlds;

/// Integers of the contract are below 2⁵³.
pub(super) const MOST: u64 = (1 << 53) - 1;
const SHORT: u64 = u32::MAX as u64;

/// Sets a number of an offer.
type Set = fn(&mut Offer, u64);

/// The numbers that a test may change: name, greatest value, and where it goes.
const NUMBERS: [(&str, u64, Set); 15] = [
    ("max_input_tokens", SHORT, |offer, value| offer.max_input_tokens = value as u32),
    ("max_output_tokens", SHORT, |offer, value| offer.max_output_tokens = value as u32),
    ("input_price", MOST, |offer, value| offer.input_price = value),
    ("output_price", MOST, |offer, value| offer.output_price = value),
    ("cache_read_price", MOST, |offer, value| offer.cache_read_price = Some(value)),
    ("cache_write_5m_price", MOST, |offer, value| offer.cache_write_5m_price = Some(value)),
    ("cache_write_1h_price", MOST, |offer, value| offer.cache_write_1h_price = Some(value)),
    ("worst_case_cost", MOST, |offer, value| offer.worst_case_cost = value),
    ("latency_ms", SHORT, |offer, value| offer.latency_ms = value as u32),
    ("successes", 64, |offer, value| offer.successes = value as u32),
    ("failures", 64, |offer, value| offer.failures = value as u32),
    ("cached_tokens", SHORT, |offer, value| offer.cached_tokens = value as u32),
    ("cooldown_ms", SHORT, |offer, value| offer.cooldown_ms = value as u32),
    ("in_flight", SHORT, |offer, value| offer.in_flight = value as u32),
    ("quota_left", MOST, |offer, value| offer.quota_left = Some(value)),
];

/// A model that a test offers.
#[derive(Clone)]
pub(super) struct Chosen {
    /// Index of the catalogue's target.
    pub(super) target: usize,
    changes: Vec<(Set, u64)>,
}

/// The target that answers for a name.
fn target_of(name: &str, at: &Value<'_>, catalogue: &Catalogue) -> Read<usize> {
    match catalogue.answering(name) {
        Answering::Target { target, .. } => Ok(target),
        Answering::Ended(_) => at.wrong(format_args!("{name:?} has ended by {} and has no successor", catalogue.as_of)),
        Answering::NotHere(_) => {
            at.wrong(format_args!("{name:?} has no route with a known price from {}", catalogue.region))
        }
        Answering::Unknown(near) => {
            let hint =
                near.map_or("`kairos models` lists the names".to_owned(), |near| format!("did you mean {near:?}?"));
            at.wrong(format_args!("there is no model {name:?}; {hint}"))
        }
    }
}

/// Reads `models`: names, or tables of a name and what is to be different.
pub(super) fn read(list: Value<'_>, world: World, catalogue: &Catalogue) -> Read<Vec<Chosen>> {
    let end = (list.name.clone(), list.at);
    let mut chosen: Vec<Chosen> = Vec::new();
    for item in list.list()? {
        let at = item.at;
        let one = if item.is_table() { changed(item.table()?, catalogue)? } else { plain(&item, catalogue)? };
        let model = catalogue.targets[one.target].model;
        if chosen.iter().any(|other| catalogue.targets[other.target].model == model) {
            let id = &catalogue.models[model].id;
            return wrong(at, format!("{}: {id} is there twice", end.0));
        }
        chosen.push(one);
    }
    let most = worlds::most_models(world);
    if (1..=most).contains(&chosen.len()) {
        return Ok(chosen);
    }
    wrong(end.1, format!("{}: {} models; 1 to {most} can be on offer", end.0, chosen.len()))
}

fn plain(name: &Value<'_>, catalogue: &Catalogue) -> Read<Chosen> {
    Ok(Chosen { target: target_of(name.text()?, name, catalogue)?, changes: Vec::new() })
}

fn changed(mut table: Table<'_>, catalogue: &Catalogue) -> Read<Chosen> {
    let at = table.at;
    let Some(id) = table.take("id") else {
        return wrong(at, "models: a model needs its `id`, a name of the catalogue");
    };
    let mut chosen = plain(&id, catalogue)?;
    let mut change = |value: Option<u64>, set: Set| chosen.changes.extend(value.map(|value| (set, value)));
    for (name, most, set) in NUMBERS {
        change(table.read(name, |value| value.whole(most))?, set);
    }
    let legacy = table.read("legacy", |value| value.flag())?;
    change(legacy.map(u64::from), |offer, value| offer.legacy = value != 0);
    let strengths = table.read("strengths", |value| value.bits(&Strengths::NAMES))?;
    change(strengths.map(u64::from), |offer, bits| offer.strengths = Strengths(bits as u32));
    let capabilities = table.read("capabilities", |value| value.bits(&Needs::NAMES))?;
    change(capabilities.map(u64::from), |offer, bits| offer.capabilities = Needs(bits as u32));
    table.finish()?;
    Ok(chosen)
}

/// The index among the models on offer of the one that answers for a name.
pub(super) fn index(name: &Value<'_>, chosen: &[Chosen], catalogue: &Catalogue) -> Read<u32> {
    index_of(name.text()?, name, chosen, catalogue)
}

/// The same, where the name is a key.
pub(super) fn index_of(name: &str, at: &Value<'_>, chosen: &[Chosen], catalogue: &Catalogue) -> Read<u32> {
    let model = catalogue.targets[target_of(name, at, catalogue)?].model;
    let place = chosen.iter().position(|offered| catalogue.targets[offered.target].model == model);
    match place.and_then(|place| u32::try_from(place).ok()) {
        Some(place) => Ok(place),
        None => at.wrong(format_args!("{name:?} is not among the test's models")),
    }
}

/// The models as a policy sees them.
pub(super) fn offers(chosen: &[Chosen], catalogue: &Catalogue, features: &Features) -> Vec<Offer> {
    let tokens = u64::from(features.estimated_tokens);
    let offer = |model: &Chosen| {
        const NOT_SET: u64 = u64::MAX;
        let fixed = catalogue.fixed_offer(model.target, Default::default(), tokens, catalogue.day);
        let mut offer = Offer { worst_case_cost: NOT_SET, ..fixed };
        for (set, value) in &model.changes {
            set(&mut offer, *value);
        }
        if offer.worst_case_cost == NOT_SET {
            let output = features.max_output_tokens.unwrap_or(u32::MAX).min(offer.max_output_tokens);
            let output = u64::from(output).saturating_mul(offer.output_price);
            offer.worst_case_cost = tokens.saturating_mul(offer.input_price).saturating_add(output).min(MOST);
        }
        offer
    };
    chosen.iter().map(offer).collect()
}

/// Their ids.
pub(super) fn ids(chosen: &[Chosen], catalogue: &Catalogue) -> Arc<[Arc<str>]> {
    chosen.iter().map(|model| Arc::clone(&catalogue.model_of(model.target).id)).collect()
}
