//! A policy that is a component.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kairos_pipeline::learned::SpaceId;
use kairos_pipeline::policy::{Answer, Fault, FaultKind, Identity, MOST_HELD, PolicyError, Question, World};
use wasmtime::component::{Component, InstancePre, Linker};
use wasmtime::{Store, Trap, UpdateDeadline};

use super::adapter::{Description, Exports, Plugin};
use super::engine::WasmEngine;
use super::host::HostState;
use super::minors::Minor;
use crate::capability::Grants;
use crate::deadline::Meter;
use crate::generation::Manner;
use crate::kv::Kv;
use crate::limits::{INTERPRETER_COMPONENT_BYTES, Limits};
use crate::load::Source;
use crate::manifest::is_label;
use crate::reach::{Reach, Unscripted};
use crate::refusal::{Reason, Refusal};
use crate::reports::{Dropped, Reports, Used};

/// A compiled policy, and its instances that wait for work.
pub struct WasmPolicy {
    engine: WasmEngine,
    pre: InstancePre<HostState>,
    exports: Arc<dyn Exports>,
    idle: Mutex<Vec<Instance>>,
    config: String,
    plugin: Arc<str>,
    /// The space of what was learned that it reads.
    space: Option<SpaceId>,
    reports: Arc<Reports>,
    memory_bytes: usize,
}

/// An instance: a store of its own, as a trap spoils all of a store.
struct Instance {
    store: Store<HostState>,
    plugin: Box<dyn Plugin>,
    calls: u32,
    /// Memory that it had once it was ready.
    memory_at_start: usize,
}

/// Deadlines of a call that instantiation may take where a request waits for it.
const INSTANTIATION_DEADLINES: u32 = 5;

/// The deadline of a call is over.
#[derive(Debug, thiserror::Error)]
#[error("over its deadline")]
struct DeadlineOver;

/// Why there is no instance.
enum NotStarted {
    /// A function is of another type than the contract's.
    Misfit(wasmtime::Error),
    /// It failed, or there is no place for it.
    Failed(PolicyError),
}

impl From<PolicyError> for NotStarted {
    fn from(error: PolicyError) -> Self {
        Self::Failed(error)
    }
}

impl From<NotStarted> for PolicyError {
    fn from(error: NotStarted) -> Self {
        match error {
            // Found when it was loaded: types do not change.
            NotStarted::Misfit(error) => Self::Fault(Fault::new(FaultKind::Error, format!("{error:#}"))),
            NotStarted::Failed(error) => error,
        }
    }
}

impl WasmPolicy {
    /// Reads, checks and compiles a component. Gives it with what it says of itself.
    pub fn load(
        engine: &WasmEngine,
        source: &Source<'_>,
        grants: &Grants,
        dropped: &Arc<Dropped>,
    ) -> Result<(Self, Identity), Refusal> {
        let minor = super::component::check(source.bytes, source.world, grants)?;
        let component = Component::from_binary(engine.engine(), source.bytes)
            .map_err(|error| super::component::why_not_compiled(source.bytes, &error))?;
        let mut linker = Linker::new(engine.engine());
        let linked = minor.adapter.link(&mut linker, source.world, grants);
        linked.map_err(|error| Refusal::new(Reason::Internal, format!("{error:#}")))?;
        let misfit = |error: wasmtime::Error| misfit(&error, minor, source.world);
        let pre = linker.instantiate_pre(&component).map_err(misfit)?;
        let exports = minor.adapter.find(&pre, source.world).map_err(misfit)?.into();
        let limits = engine.limits();
        let interprets = source.bytes.len() as u64 > INTERPRETER_COMPONENT_BYTES;
        let mut policy = Self {
            engine: engine.clone(),
            pre,
            exports,
            idle: Mutex::default(),
            config: source.config.to_owned(),
            plugin: source.world.name().into(),
            space: None,
            reports: Arc::new(Reports::new(dropped).of(source.world, grants)),
            memory_bytes: if interprets { limits.interpreter_memory_bytes } else { limits.memory_bytes },
        };
        let mut instance = policy.instantiate(limits.init_deadline).map_err(|error| match error {
            NotStarted::Misfit(error) => misfit(error),
            NotStarted::Failed(error) => {
                Refusal::new(Reason::NotStarted, format!("the component does not start: {error}"))
            }
        })?;
        let description = instance
            .describe(limits.init_deadline)
            .map_err(|error| bad_description(format!("the component's `describe` failed: {error}")))?;
        let identity = identity(description, source)?;
        policy.plugin = identity.name.as_str().into();
        policy.space = identity.space().cloned();
        instance.store.data_mut().plugin = Arc::clone(&policy.plugin);
        policy.put_back(instance);
        Ok((policy, identity))
    }

    /// Makes instances ready, so that the first requests find them; none where each call has one of its own.
    pub fn prepare(&self, world: World, count: usize) {
        if world.is_of_evolution() {
            return;
        }
        let ready: Vec<Instance> =
            (0..count).map_while(|_| self.instantiate(self.engine.limits().init_deadline).ok()).collect();
        ready.into_iter().for_each(|instance| self.put_back(instance));
    }

    /// What the plugin reports.
    pub fn reports(&self) -> &Reports {
        &self.reports
    }

    /// The same component with another configuration, apart from this one: what it reports is nobody's.
    pub(crate) fn configured(&self, config: &str) -> Self {
        Self {
            engine: self.engine.clone(),
            pre: self.pre.clone(),
            exports: Arc::clone(&self.exports),
            idle: Mutex::default(),
            config: config.to_owned(),
            plugin: Arc::clone(&self.plugin),
            space: self.space.clone(),
            reports: Arc::new(Reports::new(&Arc::default())),
            memory_bytes: self.memory_bytes,
        }
    }

    /// Decides: on an instance that is ready, unless it is to be as if for the first time.
    pub(crate) fn ask(&self, question: Question<'_>, manner: Manner) -> Result<Answer, PolicyError> {
        let limits = self.engine.limits();
        let deadline = limits.deadline_of(question.world());
        if let Some(wall) = limits.wall_of(question.world()) {
            let mut instance = self.instantiate(limits.init_deadline)?;
            return instance.ask(question, Meter::start_within(deadline, wall), self.used(&question, manner));
        }
        if manner == Manner::Afresh {
            let mut instance = self.instantiate(limits.init_deadline)?;
            return instance.ask(question, Meter::start(limits.init_deadline), self.used(&question, manner));
        }
        let ready = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut instance = match ready {
            Some(instance) => instance,
            None if manner == Manner::Test => self.instantiate(limits.init_deadline)?,
            // Within what a call may take: a request waits for it.
            None => self.instantiate(deadline * INSTANTIATION_DEADLINES)?,
        };
        let start = if manner == Manner::Served { Meter::start } else { Meter::start_on_trial };
        let decided = instance.ask(question, start(deadline), self.used(&question, manner));
        // A trap spoils the store. Whatever else failed may have left the guest in disorder too.
        if !matches!(decided, Err(PolicyError::Fault(_))) {
            self.put_back(instance);
        }
        decided
    }

    /// What a call begins with: what it may report, and what it sees of what was learned.
    fn used(&self, question: &Question<'_>, manner: Manner) -> (Used, Kv) {
        let kv = Kv::new(question, self.space.as_ref(), manner);
        let writes = question.world() == World::Observer;
        let kv = if writes { kv.writing(self.engine.limits().space) } else { kv };
        (Used::nothing(manner.is_silent()), kv)
    }

    fn put_back(&self, instance: Instance) {
        let limits = self.engine.limits();
        // What it has beyond its start, it has gathered since.
        let gathered = instance.store.data().memory_used.saturating_sub(instance.memory_at_start);
        let worn = instance.calls >= limits.calls_per_instance || gathered > self.memory_bytes / 4;
        if !worn {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(instance);
        }
    }

    /// Drops the instances that wait: a generation that does not serve keeps none.
    pub fn rest(&self) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn instantiate(&self, deadline: Duration) -> Result<Instance, NotStarted> {
        let limits = self.engine.limits();
        let state = HostState {
            plugin: Arc::clone(&self.plugin),
            request: None,
            draft: None,
            event: None,
            evolving: None,
            reach: None,
            rows: Vec::new(),
            kv: Kv::default(),
            reports: Arc::clone(&self.reports),
            used: Used::default(),
            meter: Meter::start(deadline),
            memory_bytes: self.memory_bytes,
            memory_used: 0,
            memory_denied: false,
            last_line: None,
            ticker: Arc::clone(self.engine.ticker()),
            reach_bounds: limits.reach,
        };
        let mut store = new_store(&self.engine, state, limits);
        arm(&mut store, Meter::start(deadline));
        let instance = self.pre.instantiate(&mut store).map_err(|error| {
            if error.is::<wasmtime::PoolConcurrencyLimitError>() {
                PolicyError::NotRun(format!("all {} places for policies are taken", limits.instances))
            } else {
                fault(&store, &error)
            }
        })?;
        let plugin = self.exports.load(&mut store, &instance).map_err(NotStarted::Misfit)?;
        let mut instance = Instance { store, plugin, calls: 0, memory_at_start: 0 };
        instance.init(&self.config, deadline)?;
        instance.memory_at_start = instance.store.data().memory_used;
        Ok(instance)
    }
}

impl Instance {
    fn init(&mut self, config: &str, deadline: Duration) -> Result<(), PolicyError> {
        arm(&mut self.store, Meter::start(deadline));
        let init = self.plugin.init(&mut self.store, config);
        init.unwrap_or_else(|error| Err(fault(&self.store, &error)))
    }

    fn describe(&mut self, deadline: Duration) -> Result<Description, PolicyError> {
        arm(&mut self.store, Meter::start(deadline));
        let described = self.plugin.describe(&mut self.store);
        described.map_err(|error| fault(&self.store, &error))
    }

    fn ask(&mut self, question: Question<'_>, meter: Meter, (used, kv): (Used, Kv)) -> Result<Answer, PolicyError> {
        self.calls += 1;
        let state = self.store.data_mut();
        state.request = Some(Arc::clone(question.request()));
        (state.used, state.kv) = (used, kv);
        state.reach = Reach::of(&question, state.reach_bounds, meter.until());
        state.last_line = None;
        arm(&mut self.store, meter);
        let decided = self.plugin.ask(&mut self.store, question);
        let state = self.store.data_mut();
        (state.request, state.kv) = (None, Kv::default());
        state.reach = None;
        decided.unwrap_or_else(|error| Err(fault(&self.store, &error)))
    }
}

fn new_store(engine: &WasmEngine, state: HostState, limits: &Limits) -> Store<HostState> {
    let mut store = Store::new(engine.engine(), state);
    store.limiter(|state| state);
    store.set_hostcall_fuel(limits.handover_bytes);
    store.set_max_component_handles(limits.handles);
    store.epoch_deadline_callback(|mut context| {
        context.data().ticker.found();
        if context.data_mut().meter.is_over() { Err(DeadlineOver.into()) } else { Ok(UpdateDeadline::Continue(1)) }
    });
    store
}

/// Starts the clock of a call. The guest looks at it with the next tick.
fn arm(store: &mut Store<HostState>, meter: Meter) {
    store.data_mut().meter = meter;
    store.data().ticker.stir();
    store.set_epoch_deadline(1);
}

/// What kind of fault an error is.
fn fault(store: &Store<HostState>, error: &wasmtime::Error) -> PolicyError {
    let state = store.data();
    let (kind, message) = if let Some(Unscripted(said)) = error.downcast_ref() {
        (FaultKind::Error, said.clone())
    } else if error.is::<DeadlineOver>() {
        (FaultKind::Deadline, state.meter.over_what())
    } else if state.memory_denied {
        (FaultKind::Memory, format!("more than {} bytes of memory", state.memory_bytes))
    } else {
        match error.downcast_ref::<Trap>() {
            Some(Trap::StackOverflow) => (FaultKind::StackOverflow, "the stack is full".to_owned()),
            Some(Trap::UnreachableCodeReached) => {
                (FaultKind::Panic, state.last_line.clone().unwrap_or_else(|| where_it_was(error)))
            }
            _ => (FaultKind::Trap, where_it_was(error)),
        }
    };
    PolicyError::Fault(Fault::new(kind, message))
}

/// The trap and the innermost functions: what an author needs to find it.
fn where_it_was(error: &wasmtime::Error) -> String {
    let frames = error.downcast_ref::<wasmtime::WasmBacktrace>().map(|backtrace| {
        let names = backtrace.frames().iter().take(3).filter_map(|frame| frame.func_name());
        names.map(|name| format!("{:#}", rustc_name(name))).collect::<Vec<_>>().join(" < ")
    });
    let cause = error.root_cause();
    match frames.filter(|frames| !frames.is_empty()) {
        Some(frames) => format!("{cause} (in {frames})"),
        None => cause.to_string(),
    }
}

/// A function's name without the hash that the compiler adds.
fn rustc_name(name: &str) -> &str {
    name.rsplit_once("17h").map_or(name, |(plain, _)| plain)
}

/// Names of models that a plugin may ask about.
const MODEL_NAMES: usize = 64;
/// Bytes of such a name: ARNs are long.
const MODEL_NAME_BYTES: usize = 256;
/// Reasons that a plugin may name.
const REASONS: usize = 64;
/// Bytes of a name, version or reason.
const NAME_BYTES: usize = 64;

/// The note of `describe` that says how many bytes of a text a guard may leave undecided.
const HOLD_BACK: &str = "hold-back";
/// That which names the space of what was learned.
const KV: &str = "kv";

fn bad_hold_back() -> String {
    format!("{HOLD_BACK:?} of something that is no whole number from 0 to {MOST_HELD}")
}

fn bad_description(message: String) -> Refusal {
    Refusal::new(Reason::BadDescription, message)
}

/// Its imports and exports have the right names, and something else is wrong with them.
fn misfit(error: &wasmtime::Error, minor: &Minor, world: World) -> Refusal {
    let (world, Minor { number, .. }) = (world.name(), minor);
    let message = format!("the component does not fit the world `{world}` of version {number}: {error:#}");
    Refusal::new(Reason::WrongWorld, message).hint(format!("build the component against wit/v{number} as it is"))
}

fn identity(description: Description, source: &Source<'_>) -> Result<Identity, Refusal> {
    fn refuse<T>(mut message: String) -> Result<T, Refusal> {
        message.insert_str(0, "the component's `describe` says ");
        Err(bad_description(message))
    }
    let plain = |text: &str, most: usize| text.len() <= most && text.bytes().all(|byte| (0x20..0x7f).contains(&byte));
    let printable = |text: &str| plain(text, NAME_BYTES);
    if !is_label(&description.name) {
        return refuse("a name that is not 1 to 64 of a–z, 0–9 and -".to_owned());
    }
    if !printable(&description.version) || !description.reasons.iter().all(|(_, name)| printable(name)) {
        return refuse("a version or reason that is longer than 64 bytes or not plain text".to_owned());
    }
    if description.reasons.len() > REASONS || description.names.len() > MODEL_NAMES {
        return refuse(format!("more than {REASONS} reasons or {MODEL_NAMES} model names"));
    }
    if !description.names.iter().all(|name| plain(name, MODEL_NAME_BYTES)) {
        return refuse(format!("a model name that is longer than {MODEL_NAME_BYTES} bytes or not plain text"));
    }
    let (mut hold_back, mut space) = (None, None);
    for (name, value) in &description.notes {
        let again = match name.as_str() {
            KV if is_label(value) => space.replace(value.as_str()).is_some(),
            KV => return refuse(format!("{KV:?} of something that is not 1 to {NAME_BYTES} of a–z, 0–9 and -")),
            HOLD_BACK if source.world == World::Guard => {
                let most = value.parse().ok().filter(|most| *most <= MOST_HELD);
                let most: usize = most.map_or_else(|| refuse(bad_hold_back()), Ok)?;
                hold_back.replace(most).is_some()
            }
            _ => {
                let (policy, name) = (source.world.policy(), &name[..name.floor_char_boundary(NAME_BYTES)]);
                let what =
                    format!("something of {name:?}, which this version of the gateway does not know of {policy}");
                return refuse(what);
            }
        };
        if again {
            return refuse(format!("{name:?} twice"));
        }
    }
    let space = space.unwrap_or(&description.name);
    let space = (description.kv_schema > 0).then(|| SpaceId { name: space.into(), schema: description.kv_schema });
    let reasons = description.reasons.into_iter().map(|(code, name)| (code, name.into())).collect();
    Ok(Identity::new(description.name, source.digest, reasons, description.names)
        .holding(hold_back.unwrap_or_default())
        .learning(space))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::golden;

    /// Bytes of a page of memory, of which a component says how many it needs.
    const PAGE: u64 = 65_536;

    /// A heap that is asked for is given by the system, and taken back with the instance: a third of what a call on a
    /// new instance takes.
    #[test]
    fn a_small_plugin_of_the_sdk_gets_along_with_the_memory_that_it_starts_with() {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target/guests/score-router.wasm");
        let bytes = std::fs::read(&path)
            .unwrap_or_else(|error| panic!("{}: {error}: run `cargo xtask guests`", path.display()));
        let limits = Arc::new(Limits { deadline: Duration::from_secs(5), ..Limits::default() });
        let engine = WasmEngine::new(limits, None).unwrap();
        let source = Source { file: "score.wasm", world: World::Router, bytes: &bytes, digest: "", config: "{}" };
        let (policy, _) = WasmPolicy::load(&engine, &source, &Grants::default(), &Arc::default()).unwrap();
        let needs = policy.pre.component().resources_required().unwrap().max_initial_memory_size.unwrap() * PAGE;
        let mut instance = policy.instantiate(Duration::from_secs(5)).ok().unwrap();
        let questions = golden::questions(World::Router);
        for question in &questions {
            let used = policy.used(&question.asked(), Manner::Test);
            instance.ask(question.asked(), Meter::start(Duration::from_secs(5)), used).unwrap();
        }
        assert!(!questions.is_empty());
        assert_eq!(instance.store.data().memory_used as u64, needs);
    }
}
