//! What scripts see of a request, and what they answer with.

use std::sync::Arc;

use kairos_pipeline::policy::{
    CacheDirective, Candidate, Features, MAX_OFFERS, Needs, Offer, Plan, RequestInfo, Strengths,
};
use rhai::{Array, Dynamic, Engine, EvalAltResult, ImmutableString, Map};
use tracing::Level;

use super::column::Column;
use super::router::using;
use crate::capability::{Capability, Grants};
use crate::reports::{KvSnapshot, Reports, learned};

type Fallible<T> = Result<T, Box<EvalAltResult>>;

/// The request, as scripts see it.
#[derive(Clone)]
pub(super) struct Ctx {
    pub(super) request: Arc<RequestInfo>,
    pub(super) config: Dynamic,
}

/// What the host knows of the request.
#[derive(Clone)]
pub(super) struct FeaturesView(pub(super) Features);

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

/// What a script throws to say that it gives no plan.
#[derive(Clone, Debug)]
pub(super) enum NoPlan {
    /// No opinion.
    Declined,
    /// The request is refused for this reason.
    Refused(u32),
}

fn option(value: Option<impl Into<i64>>) -> Dynamic {
    value.map_or(Dynamic::UNIT, |value| Dynamic::from_int(value.into()))
}

fn amount(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn index(value: Option<u32>) -> Dynamic {
    option(value)
}

pub(super) fn register(engine: &mut Engine, grants: &Grants, reports: &Arc<Reports>, kv: &KvSnapshot, name: &Arc<str>) {
    register_ctx(engine, grants);
    register_features(engine);
    register_models(engine);
    register_plan(engine);
    let denied = |what: &str, capability| needs(grants, what, capability);
    let levels = [
        ("log", Level::INFO),
        ("log_debug", Level::DEBUG),
        ("log_info", Level::INFO),
        ("log_warn", Level::WARN),
        ("log_error", Level::ERROR),
    ];
    for (function, level) in levels {
        if grants.has(Capability::Log) {
            let (reports, plugin) = (Arc::clone(reports), Arc::clone(name));
            engine.register_fn(function, move |text: &str| {
                using(|used| reports.write(used, &plugin, level, text));
            });
        } else {
            let denied = denied(function, Capability::Log);
            engine.register_fn(function, move |_: &str| -> Fallible<()> { Err(denied.as_str().into()) });
        }
    }
    if grants.has(Capability::Metrics) {
        let counters = Arc::clone(reports);
        engine.register_fn("metric_add", move |name: &str, value: i64| -> Fallible<()> {
            let value = u64::try_from(value).map_err(|_| format!("a counter only grows; {value} was to be added"))?;
            using(|used| counters.add(used, name, value));
            Ok(())
        });
        let gauges = Arc::clone(reports);
        engine.register_fn("metric_set", move |name: &str, value: f64| using(|used| gauges.set(used, name, value)));
    } else {
        for function in ["metric_add", "metric_set"] {
            let denied = denied(function, Capability::Metrics);
            engine.register_fn(function, move |_: &str, _: Dynamic| -> Fallible<()> { Err(denied.as_str().into()) });
        }
    }
    if grants.has(Capability::Kv) {
        let kv = Arc::clone(kv);
        engine.register_fn("kv_get", move |key: &str| -> Fallible<Dynamic> {
            using(|used| used.read(1)).map_err(|error| error.to_string())?;
            Ok(learned(&kv, key).map_or(Dynamic::UNIT, |bytes| String::from_utf8_lossy(bytes).into_owned().into()))
        });
    } else {
        let denied = denied("kv_get", Capability::Kv);
        engine.register_fn("kv_get", move |_: &str| -> Fallible<Dynamic> { Err(denied.as_str().into()) });
    }
}

/// What a script is told that uses what is not granted.
fn needs(grants: &Grants, what: &str, capability: Capability) -> String {
    format!("{what} needs the capability `{capability}`, which is not granted; {}", grants.hint(capability))
}

fn register_ctx(engine: &mut Engine, grants: &Grants) {
    engine
        .register_type_with_name::<Ctx>("Request")
        .register_get("asked_model", |ctx: &mut Ctx| ctx.request.asked_model.clone())
        .register_get("task_label", |ctx: &mut Ctx| ctx.request.task_label.clone().map_or(Dynamic::UNIT, Dynamic::from))
        .register_get("tags", |ctx: &mut Ctx| -> Map {
            ctx.request.tags.iter().map(|(name, value)| (name.as_str().into(), value.clone().into())).collect()
        })
        .register_get("model_ids", |ctx: &mut Ctx| -> Array {
            ctx.request.model_ids.iter().map(|id| Dynamic::from(id.to_string())).collect()
        })
        .register_get("regions", |ctx: &mut Ctx| -> Array {
            ctx.request.regions.iter().map(|region| Dynamic::from(region.to_string())).collect()
        })
        .register_get("config", |ctx: &mut Ctx| ctx.config.clone())
        .register_fn("find", |ctx: &mut Ctx, name: &str| index(ctx.request.find(name)));
    if grants.has(Capability::Content) {
        engine
            .register_get("prompt", |ctx: &mut Ctx| ctx.request.prompt.clone())
            .register_get("system", |ctx: &mut Ctx| ctx.request.system.clone());
    } else {
        for name in ["prompt", "system"] {
            let denied = needs(grants, &format!("ctx.{name}"), Capability::Content);
            engine.register_get(name, move |_: &mut Ctx| -> Fallible<Dynamic> { Err(denied.as_str().into()) });
        }
    }
}

fn register_features(engine: &mut Engine) {
    type F = FeaturesView;
    engine
        .register_type_with_name::<F>("Features")
        .register_get("task", |f: &mut F| -> ImmutableString { f.0.task.name().into() })
        .register_get("task_hinted", |f: &mut F| f.0.task_hinted)
        .register_get("complexity", |f: &mut F| -> ImmutableString { f.0.complexity.name().into() })
        .register_get("complexity_hinted", |f: &mut F| f.0.complexity_hinted)
        .register_get("estimated_tokens", |f: &mut F| i64::from(f.0.estimated_tokens))
        .register_get("max_output_tokens", |f: &mut F| option(f.0.max_output_tokens))
        .register_get("max_latency_ms", |f: &mut F| option(f.0.max_latency_ms))
        .register_get("accuracy", |f: &mut F| f.0.accuracy)
        .register_get("cost_sensitivity", |f: &mut F| f.0.cost_sensitivity)
        .register_get("priority", |f: &mut F| -> ImmutableString { f.0.priority.name().into() })
        .register_get("streaming", |f: &mut F| f.0.streaming)
        .register_get("turns", |f: &mut F| i64::from(f.0.turns))
        .register_get("text_bytes", |f: &mut F| i64::from(f.0.text_bytes))
        .register_get("named", |f: &mut F| index(f.0.named))
        .register_get("budget_remaining", |f: &mut F| option(f.0.budget_remaining.map(amount)))
        .register_get("budget_used", |f: &mut F| f.0.budget_used)
        .register_get("budget_level", |f: &mut F| i64::from(f.0.budget_level))
        .register_fn("needs", |f: &mut F, name: &str| -> Fallible<bool> {
            Ok(f.0.needs.contains(Needs(bit(&Needs::NAMES, "capability", name)?)))
        });
}

/// The bit of a name, or an error that lists the names.
fn bit(names: &[&str], what: &str, name: &str) -> Fallible<u32> {
    names
        .iter()
        .position(|known| *known == name)
        .map(|at| 1 << at)
        .ok_or_else(|| format!("there is no {what} {name:?}; there are {}", names.join(", ")).into())
}

/// Registers a number of the offers, as a column over all models and as a getter of one.
macro_rules! number {
    ($engine:expr, $name:ident) => {
        $engine
            .register_get(stringify!($name), |models: &mut Models| {
                Column(models.offers.iter().map(|offer| offer.$name as f64).collect())
            })
            .register_get(stringify!($name), |model: &mut Model| model.offer.$name as i64);
    };
}

/// The same for a number that may not be known: `()` for one model, not a number in a column.
macro_rules! optional_number {
    ($engine:expr, $name:ident) => {
        $engine
            .register_get(stringify!($name), |models: &mut Models| {
                Column(models.offers.iter().map(|offer| offer.$name.map_or(f64::NAN, |value| value as f64)).collect())
            })
            .register_get(stringify!($name), |model: &mut Model| option(model.offer.$name.map(amount)));
    };
}

fn register_models(engine: &mut Engine) {
    engine
        .register_type_with_name::<Models>("Models")
        .register_type_with_name::<Model>("Model")
        .register_get("len", |models: &mut Models| models.offers.len() as i64)
        .register_indexer_get(|models: &mut Models, at: i64| -> Fallible<Model> {
            let found = usize::try_from(at)
                .ok()
                .and_then(|at| Some((models.offers.get(at)?, models.request.model_ids.get(at)?)));
            let (offer, id) = found.ok_or_else(|| format!("model {at} of {}", models.offers.len()))?;
            Ok(Model { offer: *offer, id: Arc::clone(id) })
        })
        .register_fn("find", |models: &mut Models, name: &str| index(models.request.find(name)))
        .register_fn("all", |models: &mut Models| -> Array {
            (0..models.offers.len() as i64).map(Dynamic::from_int).collect()
        })
        .register_fn("column", |models: &mut Models, value: f64| Column(vec![value; models.offers.len()]))
        .register_fn("has", |models: &mut Models, strength: &str| -> Fallible<Column> {
            let bit = bit(&Strengths::NAMES, "strength", strength)?;
            Ok(Column(models.offers.iter().map(|offer| f64::from(u8::from(offer.strengths.0 & bit != 0))).collect()))
        })
        .register_fn("can", |models: &mut Models, capability: &str| -> Fallible<Column> {
            let bit = bit(&Needs::NAMES, "capability", capability)?;
            Ok(Column(models.offers.iter().map(|offer| f64::from(u8::from(offer.capabilities.0 & bit != 0))).collect()))
        })
        .register_fn("of_family", |models: &mut Models, family: &str| {
            Column(models.offers.iter().map(|offer| f64::from(u8::from(offer.family.name() == family))).collect())
        })
        .register_get("id", |model: &mut Model| model.id.to_string())
        .register_get("family", |model: &mut Model| -> ImmutableString { model.offer.family.name().into() })
        .register_get("route", |model: &mut Model| -> ImmutableString { model.offer.route.name().into() })
        .register_get("legacy", |model: &mut Model| model.offer.legacy)
        .register_fn("has", |model: &mut Model, strength: &str| -> Fallible<bool> {
            Ok(model.offer.strengths.0 & bit(&Strengths::NAMES, "strength", strength)? != 0)
        })
        .register_fn("can", |model: &mut Model, capability: &str| -> Fallible<bool> {
            Ok(model.offer.capabilities.0 & bit(&Needs::NAMES, "capability", capability)? != 0)
        });
    number!(engine, max_input_tokens);
    number!(engine, max_output_tokens);
    number!(engine, input_price);
    number!(engine, output_price);
    number!(engine, worst_case_cost);
    number!(engine, latency_ms);
    number!(engine, successes);
    number!(engine, failures);
    number!(engine, cached_tokens);
    number!(engine, cooldown_ms);
    number!(engine, in_flight);
    number!(engine, region);
    optional_number!(engine, cache_read_price);
    optional_number!(engine, cache_write_5m_price);
    optional_number!(engine, cache_write_1h_price);
    optional_number!(engine, quota_left);
}

fn register_plan(engine: &mut Engine) {
    engine
        .register_type_with_name::<Plan>("Plan")
        .register_fn("plan", |models: Array, reason: i64| -> Fallible<Plan> {
            // One more than can be right says that it is wrong; thousands would only be kept.
            let mut plan = Plan { reason: code(reason)?, ..Plan::default() };
            for (place, model) in models.into_iter().enumerate().take(MAX_OFFERS + 1) {
                plan.candidates.push(candidate(place, model)?);
            }
            Ok(plan)
        })
        .register_set("max_output_tokens", |plan: &mut Plan, limit: i64| -> Fallible<()> {
            plan.max_output_tokens = Some(code(limit)?);
            Ok(())
        })
        .register_set("max_cost", |plan: &mut Plan, picodollars: i64| -> Fallible<()> {
            let most =
                u64::try_from(picodollars).map_err(|_| format!("max_cost is {picodollars}; it is not negative"))?;
            plan.max_cost = Some(most);
            Ok(())
        })
        .register_fn("bypass_cache", |plan: &mut Plan| plan.cache = CacheDirective::Bypass)
        .register_fn("cache_for", |plan: &mut Plan, seconds: i64| -> Fallible<()> {
            plan.cache = CacheDirective::TtlSeconds(code(seconds)?);
            Ok(())
        })
        .register_fn("decline", || -> Fallible<Plan> { Err(no_plan(NoPlan::Declined)) })
        .register_fn("refuse", |reason: i64| -> Fallible<Plan> { Err(no_plan(NoPlan::Refused(code(reason)?))) });
}

fn no_plan(why: NoPlan) -> Box<EvalAltResult> {
    Box::new(EvalAltResult::ErrorRuntime(Dynamic::from(why), rhai::Position::NONE))
}

fn code(value: i64) -> Fallible<u32> {
    u32::try_from(value).map_err(|_| format!("{value} is not between 0 and 4,294,967,295").into())
}

/// An index, which is tried in its turn, or `#{model: index, probability: chance}`. The first of
/// plain indices is tried first for certain.
fn candidate(place: usize, model: Dynamic) -> Fallible<Candidate> {
    if let Ok(index) = model.as_int() {
        return Ok(Candidate { model: code(index)?, probability: if place == 0 { 1.0 } else { 0.0 } });
    }
    let kind = model.type_name();
    let Some(map) = model.try_cast::<Map>() else {
        return Err(format!(
            "candidate {place} is {kind}; an index, or #{{model: index, probability: chance}}, is needed"
        )
        .into());
    };
    let index = map.get("model").and_then(|value| value.as_int().ok());
    let chance = map
        .get("probability")
        .and_then(|value| value.as_float().ok().or_else(|| value.as_int().ok().map(|whole| whole as f64)));
    match (index, chance, map.len()) {
        (Some(index), Some(probability), 2) => Ok(Candidate { model: code(index)?, probability }),
        _ => {
            Err(format!("candidate {place} needs `model`, an index, and `probability`, a number, and nothing else")
                .into())
        }
    }
}
