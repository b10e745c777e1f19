//! What scripts see of a request, and what they answer with.

use std::sync::Arc;

use kairos_pipeline::policy::{Complexity, Features, Needs, Priority, RequestInfo, Task, World};
use rhai::{Array, Dynamic, Engine, EvalAltResult, ImmutableString, Map};
use tracing::Level;

use super::policy::{learned, using};
use super::table::{Api, Fallible};
use super::{column, models, outside, worlds};
use crate::capability::{Capability, Grants};
use crate::limits::Limits;
use crate::reports::Reports;

/// The request, as scripts see it.
#[derive(Clone)]
pub(super) struct Ctx {
    pub(super) request: Arc<RequestInfo>,
    pub(super) config: Arc<Dynamic>,
}

/// What the host knows of the request.
#[derive(Clone)]
pub(super) struct FeaturesView(pub(super) Features);

/// What a script throws to say that it gives no answer.
#[derive(Clone, Debug)]
pub(super) enum NoAnswer {
    /// No opinion.
    Declined,
    /// The request is refused for this reason.
    Refused(u32),
}

pub(super) fn option(value: Option<impl Into<i64>>) -> Dynamic {
    value.map_or(Dynamic::UNIT, |value| Dynamic::from_int(value.into()))
}

pub(super) fn amount(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Registers all that scripts of a world may call.
pub(super) fn register(engine: &mut Engine, world: World, grants: &Grants, reports: &Arc<Reports>) {
    fill(&mut Api::new(engine, grants), &[world], reports);
}

/// All that scripts may call, as a page for their authors: `policies/REFERENCE.md`.
pub fn reference() -> String {
    let mut engine = super::engine::bounded(&Limits::default(), |_| false);
    let grants = Grants::of(Capability::ALL);
    let mut api = Api::new(&mut engine, &grants);
    fill(&mut api, &World::ALL, &Arc::new(Reports::new(&Arc::default())));
    api.page()
}

fn fill(api: &mut Api<'_>, of: &[World], reports: &Arc<Reports>) {
    register_ctx(api);
    register_features(api);
    models::register(api);
    column::register(api);
    register_no_answer(api);
    of.iter().for_each(|world| worlds::register(api, *world));
    let name = of.first().map_or("", |world| world.name()).into();
    register_reports(api, reports, &name);
    register_learned(api, reports);
    outside::register(api);
}

fn register_reports(api: &mut Api<'_>, reports: &Arc<Reports>, name: &Arc<str>) {
    api.section("Reports", "In a test nothing is reported.");
    for (signature, doc, level) in [
        ("log(text: string)", "A line in the operator's log.", Level::INFO),
        ("log_debug(text: string)", "The same, of the level `debug`.", Level::DEBUG),
        ("log_info(text: string)", "The same as `log`.", Level::INFO),
        ("log_warn(text: string)", "The same, of the level `warn`.", Level::WARN),
        ("log_error(text: string)", "The same, of the level `error`.", Level::ERROR),
    ] {
        let (reports, plugin) = (Arc::clone(reports), Arc::clone(name));
        let write = move |text: &str| using(|used| reports.write(used, &plugin, level, text));
        api.granted(Capability::Log, signature, doc, write);
    }
    let (counters, gauges) = (Arc::clone(reports), Arc::clone(reports));
    api.granted(
        Capability::Metrics,
        "metric_add(name: string, value: int)",
        "Adds to a counter, `kairos_plugin_counter_total`. Names are of a–z, 0–9 and _.",
        move |name: &str, value: i64| -> Fallible<()> {
            let value = u64::try_from(value).map_err(|_| format!("a counter only grows; {value} was to be added"))?;
            using(|used| counters.add(used, name, value));
            Ok(())
        },
    )
    .granted(
        Capability::Metrics,
        "metric_set(name: string, value: float)",
        "Sets a gauge, `kairos_plugin_gauge`.",
        move |name: &str, value: f64| using(|used| gauges.set(used, name, value)),
    );
}

fn register_learned(api: &mut Api<'_>, reports: &Arc<Reports>) {
    let reports = Arc::clone(reports);
    api.section(
        "What was learned",
        "In the space that `describe` names: `#{ kv: \"a-name\", kv_schema: 1 }`; without a `kv_schema` there is none. \
         In a test it is the test's own `kv`. Only an observer writes.",
    )
    .granted(
        Capability::Kv,
        "kv_get(key: string) -> string?",
        "What was learned under a key. 64 a call.",
        |key: &str| -> Fallible<Dynamic> {
            let value = learned(|kv| kv.get(key)).map_err(|error| error.to_string())?;
            Ok(value.map_or(Dynamic::UNIT, |bytes| String::from_utf8_lossy(&bytes).into_owned().into()))
        },
    )
    .granted(
        Capability::KvWrite,
        "kv_set(key: string, value: string) -> bool",
        "Writes a key. `false`: there is no room, and nothing is written. 64 changes a call.",
        move |key: &str, value: &str| -> Fallible<bool> {
            let is_written = learned(|kv| kv.set(key, value.as_bytes().to_vec())).map_err(|error| error.to_string())?;
            if !is_written {
                using(|used| reports.no_room(used));
            }
            Ok(is_written)
        },
    )
    .granted(Capability::KvWrite, "kv_delete(key: string)", "Deletes a key.", |key: &str| -> Fallible<()> {
        Ok(learned(|kv| kv.delete(key)).map_err(|error| error.to_string())?)
    });
}

fn register_ctx(api: &mut Api<'_>) {
    let find = |ctx: &mut Ctx, name: &str| option(ctx.request.find(name));
    api.section("`ctx`: what of the request is not a number", "Ask for what you need only: text costs time.")
        .of::<Ctx>("Request", "ctx")
        .property(
            "asked_model: string",
            "The model as the caller wrote it: an id, an alias, or `auto`.",
            |ctx: &mut Ctx| ctx.request.asked_model.clone(),
        )
        .property("task_label: string?", "The header `x-kairos-task`, as sent.", |ctx: &mut Ctx| {
            ctx.request.task_label.clone().map_or(Dynamic::UNIT, Dynamic::from)
        })
        .property("tags: map", "The header `x-kairos-tags`: text by name.", |ctx: &mut Ctx| -> Map {
            ctx.request.tags.iter().map(|(name, value)| (name.as_str().into(), value.clone().into())).collect()
        })
        .property("model_ids: array", "Ids of the models on offer, in their order.", |ctx: &mut Ctx| -> Array {
            ctx.request.model_ids.iter().map(|id| Dynamic::from(id.to_string())).collect()
        })
        .property("regions: array", "Names of the regions that models are offered in.", |ctx: &mut Ctx| -> Array {
            ctx.request.regions.iter().map(|region| Dynamic::from(region.to_string())).collect()
        })
        .property(
            "config: map",
            "The slot's table of `kairos.toml`: `[policies.config.router]`, `[policies.config.guard]`, …",
            |ctx: &mut Ctx| Dynamic::clone(&ctx.config),
        )
        .function(
            "find(name: string) -> int?",
            "Index of the model on offer that answers for an id or alias, ended ones included.",
            find,
        )
        .granted_property(
            Capability::Content,
            "prompt: string",
            "The last message of the user that has text, 8,192 bytes at most.",
            |ctx: &mut Ctx| ctx.request.content.prompt().to_owned(),
        )
        .granted_property(Capability::Content, "system: string", "The system prompt, likewise.", |ctx: &mut Ctx| {
            ctx.request.content.system().to_owned()
        });
}

fn register_features(api: &mut Api<'_>) {
    type F = FeaturesView;
    type Word = ImmutableString;
    // Made once: scripts compare them again and again.
    let tasks: Vec<Word> = Task::ALL.map(|task| task.name().into()).into();
    let complexities: Vec<Word> = Complexity::ALL.map(|complexity| complexity.name().into()).into();
    let priorities: Vec<Word> = Priority::ALL.map(|priority| priority.name().into()).into();
    api.section("`features`: what the host knows of the request", "[ROUTING](ROUTING.md) says how each is found.")
        .of::<F>("Features", "features")
        .property(
            "task: string",
            "What it is about: `general`, `code`, `reasoning`, … as in types.wit.",
            move |f: &mut F| tasks[f.0.task as usize].clone(),
        )
        .property("task_hinted: bool", "Whether the caller said so.", |f: &mut F| f.0.task_hinted)
        .property("complexity: string", "`low`, `medium` or `high`.", move |f: &mut F| {
            complexities[f.0.complexity as usize].clone()
        })
        .property("complexity_hinted: bool", "Whether the caller said so.", |f: &mut F| f.0.complexity_hinted)
        .property(
            "estimated_tokens: int",
            "Input tokens: the caller's hint, else the text's bytes divided by four.",
            |f: &mut F| i64::from(f.0.estimated_tokens),
        )
        .property("max_output_tokens: int?", "The output limit that the request sets.", |f: &mut F| {
            option(f.0.max_output_tokens)
        })
        .property("max_latency_ms: int?", "The latency that the caller asks for.", |f: &mut F| {
            option(f.0.max_latency_ms)
        })
        .property("accuracy: float", "How much correctness matters, 0 to 1; 0.5 when not said.", |f: &mut F| {
            f.0.accuracy
        })
        .property("cost_sensitivity: float", "How much price matters, 0 to 1; 0.5 when not said.", |f: &mut F| {
            f.0.cost_sensitivity
        })
        .property("priority: string", "`low`, `normal`, `high` or `critical`.", move |f: &mut F| {
            priorities[f.0.priority as usize].clone()
        })
        .property("streaming: bool", "Whether the answer is streamed.", |f: &mut F| f.0.streaming)
        .property("turns: int", "Messages, the system prompt apart.", |f: &mut F| i64::from(f.0.turns))
        .property("text_bytes: int", "Bytes of all text.", |f: &mut F| i64::from(f.0.text_bytes))
        .property(
            "named: int?",
            "Index of the model that the caller named. It is tried first whatever the plan says.",
            |f: &mut F| option(f.0.named),
        )
        .property("budget_remaining: int?", "The least that is left of any budget, in picodollars.", |f: &mut F| {
            option(f.0.budget_remaining.map(amount))
        })
        .property("budget_used: float", "The greatest part that is used of any budget, 0 to 1.", |f: &mut F| {
            f.0.budget_used
        })
        .property("budget_level: int", "How many alert thresholds the budgets have passed.", |f: &mut F| {
            i64::from(f.0.budget_level)
        })
        .function(
            "needs(capability: string) -> bool",
            "Whether the request needs it: `tools`, `images`, `system-prompt`, … as in types.wit.",
            |f: &mut F, name: &str| -> Fallible<bool> {
                Ok(f.0.needs.contains(Needs(bit(&Needs::NAMES, "capability", name)?)))
            },
        );
}

/// The bit of a name, or an error that lists the names.
pub(super) fn bit(names: &[&str], what: &str, name: &str) -> Fallible<u32> {
    names
        .iter()
        .position(|known| *known == name)
        .map(|at| 1 << at)
        .ok_or_else(|| format!("there is no {what} {name:?}; there are {}", names.join(", ")).into())
}

fn register_no_answer(api: &mut Api<'_>) {
    api.section("No answer", "What ends a call without one, in any function.")
        .function("decline()", "No opinion: the native default decides.", || -> Fallible<Dynamic> {
            Err(no_answer(NoAnswer::Declined))
        })
        .function(
            "refuse(reason: int)",
            "The request is refused; the caller is told the reason's name.",
            |reason: i64| -> Fallible<Dynamic> { Err(no_answer(NoAnswer::Refused(code(reason)?))) },
        );
}

fn no_answer(why: NoAnswer) -> Box<EvalAltResult> {
    Box::new(EvalAltResult::ErrorRuntime(Dynamic::from(why), rhai::Position::NONE))
}

/// A whole number of 32 bits.
pub(super) fn code(value: i64) -> Fallible<u32> {
    u32::try_from(value).map_err(|_| format!("{value} is not between 0 and 4,294,967,295").into())
}
