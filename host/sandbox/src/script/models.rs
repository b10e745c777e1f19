//! What scripts see of the models on offer: one by one, and all at once as columns.

use std::sync::Arc;

use kairos_pipeline::policy::{Needs, Offer, RequestInfo, Strengths};
use rhai::{Array, Dynamic, ImmutableString};

use super::api::{amount, bit, option};
use super::column::Column;
use super::table::{Api, Fallible};

/// The models on offer.
#[derive(Clone)]
pub(super) struct Models {
    pub(super) offers: Arc<[Offer]>,
    pub(super) request: Arc<RequestInfo>,
}

/// One model on offer.
#[derive(Clone)]
struct Model {
    offer: Offer,
    id: Arc<str>,
}

impl Models {
    fn column(&self, value: impl Fn(&Offer) -> f64) -> Column {
        Column(self.offers.iter().map(value).collect())
    }

    /// 1 where it holds, 0 elsewhere.
    fn mask(&self, holds: impl Fn(&Offer) -> bool) -> Column {
        self.column(|offer| f64::from(u8::from(holds(offer))))
    }

    fn at(&self, at: i64) -> Fallible<Model> {
        let found =
            usize::try_from(at).ok().and_then(|at| Some((self.offers.get(at)?, self.request.model_ids.get(at)?)));
        let (offer, id) = found.ok_or_else(|| format!("model {at} of {}", self.offers.len()))?;
        Ok(Model { offer: *offer, id: Arc::clone(id) })
    }
}

pub(super) fn register(api: &mut Api<'_>) {
    register_all(api);
    register_one(api);
    register_numbers(api);
}

fn register_all(api: &mut Api<'_>) {
    api.section(
        "`models`: the models on offer",
        "1 to 16, in the catalogue's order; a healer's are up to 32, as `healer.wit` says. An index is a place in this list; a column of 1 and 0 is a mask.",
    )
    .of::<Models>("Models", "models")
    .property("len: int", "How many there are.", |models: &mut Models| models.offers.len() as i64)
    .index("[i]", "One model.", |models: &mut Models, at| models.at(at))
    .function("find(name: string) -> int?", "The same as `ctx.find`.", |models: &mut Models, name: &str| {
        option(models.request.find(name))
    })
    .function("all() -> array", "All indices.", |models: &mut Models| -> Array {
        (0..models.offers.len() as i64).map(Dynamic::from_int).collect()
    })
    .function("column(value: float) -> column", "The same number for each model.", |models: &mut Models, value: f64| {
        models.column(|_| value)
    })
    .function(
        "success_rate() -> column",
        "`(successes + 1) / (successes + failures + 2)`: a half where nothing is known.",
        |models: &mut Models| {
            models.column(|offer| {
                let (successes, failures) = (f64::from(offer.successes), f64::from(offer.failures));
                (successes + 1.0) / (successes + failures + 2.0)
            })
        },
    )
    .function(
        "has(strength: string) -> column",
        "1 where a model is good at it: `reasoning`, `speed`, … as in types.wit.",
        |models: &mut Models, name: &str| -> Fallible<Column> {
            let bit = bit(&Strengths::NAMES, "strength", name)?;
            Ok(models.mask(|offer| offer.strengths.0 & bit != 0))
        },
    )
    .function(
        "can(capability: string) -> column",
        "1 where a model can do it: `tools`, `images`, …",
        |models: &mut Models, name: &str| -> Fallible<Column> {
            let bit = bit(&Needs::NAMES, "capability", name)?;
            Ok(models.mask(|offer| offer.capabilities.0 & bit != 0))
        },
    )
    .function(
        "of_family(family: string) -> column",
        "1 for models of `claude`, `nova`, …",
        |models: &mut Models, family: &str| models.mask(|offer| offer.family.name() == family),
    );
}

fn register_one(api: &mut Api<'_>) {
    api.section("`models[i]`: one model", "Its words. Its numbers are in the next table.")
        .of::<Model>("Model", "models[i]")
        .property("id: string", "Bedrock's id of it.", |model: &mut Model| model.id.to_string())
        .property("family: string", "Who made it: `claude`, `nova`, …", |model: &mut Model| -> ImmutableString {
            model.offer.family.name().into()
        })
        .property(
            "route: string",
            "Where it is served: `in-region`, `geo`, `global` or `account`.",
            |model: &mut Model| -> ImmutableString { model.offer.route.name().into() },
        )
        .property("legacy: bool", "Whether its end has been announced.", |model: &mut Model| model.offer.legacy)
        .function(
            "has(strength: string) -> bool",
            "Whether it is good at it.",
            |model: &mut Model, name: &str| -> Fallible<bool> {
                Ok(model.offer.strengths.0 & bit(&Strengths::NAMES, "strength", name)? != 0)
            },
        )
        .function(
            "can(capability: string) -> bool",
            "Whether it can do it.",
            |model: &mut Model, name: &str| -> Fallible<bool> {
                Ok(model.offer.capabilities.0 & bit(&Needs::NAMES, "capability", name)? != 0)
            },
        );
}

/// A number of the offers, as a column over all models and as a property of one.
macro_rules! number {
    ($api:expr, $name:ident, $doc:literal) => {
        $api.number(
            stringify!($name),
            $doc,
            |models: &mut Models| models.column(|offer| offer.$name as f64),
            |model: &mut Model| model.offer.$name as i64,
        );
    };
}

/// The same for a number that may not be known: `()` for one model, not a number in a column.
macro_rules! optional_number {
    ($api:expr, $name:ident, $doc:literal) => {
        $api.number(
            stringify!($name),
            $doc,
            |models: &mut Models| models.column(|offer| offer.$name.map_or(f64::NAN, |value| value as f64)),
            |model: &mut Model| option(model.offer.$name.map(amount)),
        );
    };
}

fn register_numbers(api: &mut Api<'_>) {
    api.section(
        "Numbers of models",
        "Each is there twice: `models[i].latency_ms` is an `int`, `models.latency_ms` a `column` of all. What may \
         not be known is `()` for one model, and not a number in a column. Prices are picodollars (10⁻¹² USD) a token.",
    );
    number!(api, input_price, "Price of input.");
    number!(api, output_price, "Price of output.");
    optional_number!(api, cache_read_price, "Price of input from the model's prompt cache. May not be known.");
    optional_number!(api, cache_write_5m_price, "Price of writing to it for five minutes. May not be known.");
    optional_number!(api, cache_write_1h_price, "Price of writing to it for an hour. May not be known.");
    number!(api, worst_case_cost, "The most that this request can cost, in picodollars.");
    number!(api, max_input_tokens, "The most input that it takes.");
    number!(api, max_output_tokens, "The most output that it gives.");
    number!(api, latency_ms, "Typical time to a whole answer, by the catalogue.");
    number!(api, successes, "Of the last 64 attempts for this kind of task: those that went well.");
    number!(api, failures, "Those that failed.");
    number!(api, in_flight, "Attempts under way.");
    number!(api, cooldown_ms, "How long it still rests after failures; 0 when it does not.");
    number!(api, cached_tokens, "Input that its prompt cache is likely to hold; 0 where that is not known.");
    optional_number!(api, quota_left, "Tokens left in this minute of the account's quota. May not be known.");
    number!(api, region, "Index in `ctx.regions`.");
}
