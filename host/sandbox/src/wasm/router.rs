//! A router that is a component.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kairos_pipeline::policy::{Fault, FaultKind, Identity, Plan, PolicyError, RouteInput};
use wasmtime::component::{Component, HasSelf, Linker, Resource};
use wasmtime::{Store, Trap, UpdateDeadline};

use super::bindings::kairos::plugin::{content, kv, log, metrics, types as wit_types};
use super::bindings::{self, Description, RouterHost, RouterHostPre};
use super::engine::{TICK, WasmEngine};
use super::host::{HostState, KvSnapshot, PluginMetrics};
use crate::capability::{Capability, Grants};
use crate::deadline::Meter;
use crate::limits::{INTERPRETER_COMPONENT_BYTES, Limits};
use crate::load::{Refusal, Source};

/// A compiled router, and its instances that wait for work.
pub struct WasmRouter {
    engine: WasmEngine,
    pre: RouterHostPre<HostState>,
    idle: Mutex<Vec<Instance>>,
    config: String,
    plugin: Arc<str>,
    kv: KvSnapshot,
    metrics: Arc<PluginMetrics>,
    memory_bytes: usize,
}

/// An instance: a store of its own, as a trap spoils all of a store.
struct Instance {
    store: Store<HostState>,
    bindings: RouterHost,
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

impl WasmRouter {
    /// Reads, checks and compiles a component. Gives it with what it says of itself.
    pub fn load(
        engine: &WasmEngine,
        source: &Source<'_>,
        grants: &Grants,
        kv: KvSnapshot,
    ) -> Result<(Self, Identity), Refusal> {
        super::component::check(source.bytes, grants)?;
        let component = Component::from_binary(engine.engine(), source.bytes)
            .map_err(|error| Refusal::new(format!("the component does not compile: {error:#}")))?;
        let linker = linker(engine, grants).map_err(|error| Refusal::new(format!("{error:#}")))?;
        let pre = linker
            .instantiate_pre(&component)
            .and_then(RouterHostPre::new)
            .map_err(|error| Refusal::new(format!("the component does not fit the world `router`: {error:#}")))?;
        let limits = engine.limits();
        let interprets = source.bytes.len() as u64 > INTERPRETER_COMPONENT_BYTES;
        let mut router = Self {
            engine: engine.clone(),
            pre,
            idle: Mutex::default(),
            config: source.config.to_owned(),
            plugin: source.slot.into(),
            kv,
            metrics: Arc::default(),
            memory_bytes: if interprets { limits.interpreter_memory_bytes } else { limits.memory_bytes },
        };
        let mut instance = router
            .instantiate(limits.init_deadline)
            .map_err(|error| Refusal::new(format!("the component does not start: {error}")))?;
        let description = instance
            .describe(limits.init_deadline)
            .map_err(|error| Refusal::new(format!("the component's `describe` failed: {error}")))?;
        let identity = identity(description, source)?;
        router.plugin = identity.name.as_str().into();
        instance.store.data_mut().plugin = Arc::clone(&router.plugin);
        router.put_back(instance);
        Ok((router, identity))
    }

    /// Makes instances ready, so that the first requests find them.
    pub fn prepare(&self, count: usize) {
        let ready: Vec<Instance> =
            (0..count).map_while(|_| self.instantiate(self.engine.limits().init_deadline).ok()).collect();
        ready.into_iter().for_each(|instance| self.put_back(instance));
    }

    /// What the plugin reports.
    pub fn metrics(&self) -> &Arc<PluginMetrics> {
        &self.metrics
    }

    /// Decides, on an instance that is ready.
    pub fn route(&self, input: RouteInput<'_>) -> Result<Plan, PolicyError> {
        let ready = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut instance = match ready {
            Some(instance) => instance,
            // Within what a call may take: a request waits for it.
            None => self.instantiate(self.engine.limits().deadline * INSTANTIATION_DEADLINES)?,
        };
        let decided = instance.route(input, self.engine.limits().deadline, false);
        // A trap spoils the store. Whatever else failed may have left the guest in disorder too.
        if !matches!(decided, Err(PolicyError::Fault(_))) {
            self.put_back(instance);
        }
        decided
    }

    /// Decides on an instance that nobody used before, without reporting anything.
    pub fn route_afresh(&self, input: RouteInput<'_>) -> Result<Plan, PolicyError> {
        let mut instance = self.instantiate(self.engine.limits().init_deadline)?;
        instance.route(input, self.engine.limits().init_deadline, true)
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

    fn instantiate(&self, deadline: Duration) -> Result<Instance, PolicyError> {
        let limits = self.engine.limits();
        let state = HostState {
            plugin: Arc::clone(&self.plugin),
            request: None,
            kv: Arc::clone(&self.kv),
            metrics: Arc::clone(&self.metrics),
            silent: false,
            meter: Meter::start(deadline),
            memory_bytes: self.memory_bytes,
            memory_used: 0,
            memory_denied: false,
            log_lines: 0,
            last_line: None,
        };
        let mut store = new_store(&self.engine, state, limits);
        arm(&mut store, deadline);
        let bindings = self.pre.instantiate(&mut store).map_err(|error| {
            if error.is::<wasmtime::PoolConcurrencyLimitError>() {
                PolicyError::NotRun(format!("all {} places for policies are taken", limits.instances))
            } else {
                fault(&store, &error)
            }
        })?;
        let mut instance = Instance { store, bindings, calls: 0, memory_at_start: 0 };
        instance.init(&self.config, deadline)?;
        instance.memory_at_start = instance.store.data().memory_used;
        Ok(instance)
    }
}

impl Instance {
    fn init(&mut self, config: &str, deadline: Duration) -> Result<(), PolicyError> {
        arm(&mut self.store, deadline);
        match self.bindings.kairos_plugin_lifecycle().call_init(&mut self.store, config) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(bindings::plugin_error(error)),
            Err(error) => Err(fault(&self.store, &error)),
        }
    }

    fn describe(&mut self, deadline: Duration) -> Result<Description, PolicyError> {
        arm(&mut self.store, deadline);
        let described = self.bindings.kairos_plugin_lifecycle().call_describe(&mut self.store);
        described.map_err(|error| fault(&self.store, &error))
    }

    fn route(&mut self, input: RouteInput<'_>, deadline: Duration, silent: bool) -> Result<Plan, PolicyError> {
        self.calls += 1;
        let features = bindings::features(input.features);
        let models: Vec<_> = input.models.iter().map(bindings::model).collect();
        let state = self.store.data_mut();
        state.request = Some(Arc::clone(input.request));
        state.silent = silent;
        state.log_lines = 0;
        arm(&mut self.store, deadline);
        // There is one request in a call: the handle needs no table to be found by.
        let request = Resource::new_borrow(0);
        let routing = self.bindings.kairos_plugin_routing();
        let decided = routing.call_route(&mut self.store, request, features, &models);
        self.store.data_mut().request = None;
        match decided {
            Ok(Ok(plan)) => Ok(bindings::plan(plan)),
            Ok(Err(error)) => Err(bindings::plugin_error(error)),
            Err(error) => Err(fault(&self.store, &error)),
        }
    }
}

fn linker(engine: &WasmEngine, grants: &Grants) -> wasmtime::Result<Linker<HostState>> {
    let mut linker = Linker::new(engine.engine());
    type Own = HasSelf<HostState>;
    wit_types::add_to_linker::<_, Own>(&mut linker, |state| state)?;
    for capability in Capability::ALL.into_iter().filter(|capability| grants.has(*capability)) {
        match capability {
            Capability::Log => log::add_to_linker::<_, Own>(&mut linker, |state| state)?,
            Capability::Metrics => metrics::add_to_linker::<_, Own>(&mut linker, |state| state)?,
            Capability::Kv => kv::add_to_linker::<_, Own>(&mut linker, |state| state)?,
            Capability::Content => content::add_to_linker::<_, Own>(&mut linker, |state| state)?,
        }
    }
    Ok(linker)
}

fn new_store(engine: &WasmEngine, state: HostState, limits: &Limits) -> Store<HostState> {
    let mut store = Store::new(engine.engine(), state);
    store.limiter(|state| state);
    store.set_hostcall_fuel(limits.handover_bytes);
    store.set_max_component_handles(limits.handles);
    store.epoch_deadline_callback(|mut context| {
        if context.data_mut().meter.is_over() { Err(DeadlineOver.into()) } else { Ok(UpdateDeadline::Continue(1)) }
    });
    store
}

/// Starts the clock of a call. The guest is looked at when half of the deadline is over.
fn arm(store: &mut Store<HostState>, deadline: Duration) {
    store.data_mut().meter = Meter::start(deadline);
    let ticks = (deadline / 2).as_nanos().div_ceil(TICK.as_nanos());
    store.set_epoch_deadline(u64::try_from(ticks).unwrap_or(u64::MAX));
}

/// What kind of fault an error is.
fn fault(store: &Store<HostState>, error: &wasmtime::Error) -> PolicyError {
    let state = store.data();
    let (kind, message) = if error.is::<DeadlineOver>() {
        (FaultKind::Deadline, format!("over its deadline of {:?}", state.meter.deadline()))
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
/// Reasons that a plugin may name.
const REASONS: usize = 64;
/// Bytes of a name, version or reason.
const NAME_BYTES: usize = 64;

fn identity(description: Description, source: &Source<'_>) -> Result<Identity, Refusal> {
    let refuse = |message: String| Err(Refusal::new(format!("the component's `describe` says {message}")));
    let label = |text: &str| {
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        (1..=NAME_BYTES).contains(&text.len()) && text.bytes().all(fits)
    };
    let printable = |text: &str| text.len() <= NAME_BYTES && text.bytes().all(|byte| (0x20..0x7f).contains(&byte));
    if !label(&description.name) {
        return refuse("a name that is not 1 to 64 of a–z, 0–9 and -".to_owned());
    }
    if !printable(&description.version) || !description.reasons.iter().all(|(_, name)| printable(name)) {
        return refuse("a version or reason that is longer than 64 bytes or not plain text".to_owned());
    }
    if description.reasons.len() > REASONS || description.names.len() > MODEL_NAMES {
        return refuse(format!("more than {REASONS} reasons or {MODEL_NAMES} model names"));
    }
    if let Some((name, _)) = description.notes.first() {
        return refuse(format!("something of {name:?}, which this version of the gateway does not know"));
    }
    let reasons = description.reasons.into_iter().map(|(code, name)| (code, name.into())).collect();
    Ok(Identity::new(description.name, source.digest, reasons, description.names))
}
