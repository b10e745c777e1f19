//! The host's side of a policy, within a component.

use std::sync::OnceLock;

use crate::bindings::exports::kairos::plugin::lifecycle::Description;
use crate::bindings::kairos::plugin::types::Request;
use crate::bindings::kairos::plugin::{content, http, kv, kv_write, log, metrics, model};
use crate::{
    Attempt, Case, CaseOutcome, Draft, Edits, Evaluator, Event, Evidence, Failure, Features, Genome, Guard, Healer,
    HttpError, HttpRequest, HttpResponse, Level, Model, ModelError, ModelRequest, ModelResponse, Mutator, Observer,
    Passage, Plan, PluginError, Prompter, Proposal, Refusal, Remedy, Router, Score, Verdict,
};

/// The request at hand, and what else the host can be asked. It costs what is asked for.
pub struct Context<'a> {
    request: &'a Request,
}

impl Context<'_> {
    /// The tags of `x-kairos-tags`.
    pub fn tags(&self) -> Vec<(String, String)> {
        self.request.tags()
    }

    /// The label of `x-kairos-task`, as sent.
    pub fn task_label(&self) -> Option<String> {
        self.request.task_label()
    }

    /// The model as the caller wrote it: an id, an alias, or `auto`.
    pub fn asked_model(&self) -> String {
        self.request.asked_model()
    }

    /// Ids of the models on offer, in their order.
    pub fn model_ids(&self) -> Vec<String> {
        self.request.model_ids()
    }

    /// Names of the regions that models are offered in: `model.region` is an index of them.
    pub fn regions(&self) -> Vec<String> {
        self.request.regions()
    }

    /// For each name the index of the model on offer that answers for it; at most 64 names a call.
    pub fn find(&self, names: &[String]) -> Vec<Option<u32>> {
        self.request.find(names)
    }

    /// The last user message's text, cut to 65,536 bytes. Needs the capability `content`.
    pub fn prompt(&self) -> String {
        content::prompt(self.request)
    }

    /// The system prompt's text, cut likewise. Needs the capability `content`.
    pub fn system(&self) -> String {
        content::system(self.request)
    }

    /// What was learned under a key; at most 64 keys a call. Needs the capability `kv`.
    pub fn learned(&self, key: &str) -> Option<Vec<u8>> {
        kv::get(key)
    }

    /// The same of many keys at once.
    pub fn learned_many(&self, keys: &[String]) -> Vec<Option<Vec<u8>>> {
        kv::get_many(keys)
    }

    /// Writes what was learned: up to 65,536 bytes under a key of 1 to 256, at most 64 changes a call. Of an
    /// observer only. Needs the capability `kv-write`.
    pub fn learn(&self, key: &str, value: &[u8]) -> Result<(), Refusal> {
        kv_write::set(key, value)
    }

    /// Deletes what was learned under a key, likewise.
    pub fn forget(&self, key: &str) {
        kv_write::delete(key);
    }

    /// Writes a line into the operator's log: 1,024 bytes, at most 16 a call. Needs the capability `log`.
    pub fn log(&self, level: Level, line: &str) {
        log::write(level, line);
    }

    /// Adds to a counter of this policy. Needs the capability `metrics`.
    pub fn count(&self, name: &str, by: u64) {
        metrics::add(name, by);
    }

    /// Sets a gauge of this policy. Needs the capability `metrics`.
    pub fn gauge(&self, name: &str, value: f64) {
        metrics::set(name, value);
    }
}

/// What an evaluator or a mutator can ask the host.
pub struct Host;

impl Host {
    /// Sends a request to a service that the operator lists. Needs the capability `http`.
    pub fn send(&self, request: &HttpRequest) -> Result<HttpResponse, HttpError> {
        http::send(request)
    }

    /// Calls a model through the gateway. Needs the capability `model`.
    pub fn call(&self, request: &ModelRequest) -> Result<ModelResponse, ModelError> {
        model::call(request)
    }

    /// Writes a line into the operator's log: 1,024 bytes, at most 16 a call. Needs the capability `log`.
    pub fn log(&self, level: Level, line: &str) {
        log::write(level, line);
    }

    /// Adds to a counter of this policy. Needs the capability `metrics`.
    pub fn count(&self, name: &str, by: u64) {
        metrics::add(name, by);
    }

    /// Sets a gauge of this policy. Needs the capability `metrics`.
    pub fn gauge(&self, name: &str, value: f64) {
        metrics::set(name, value);
    }
}

/// What a policy says of itself, whatever its world.
pub struct Facts {
    pub name: &'static str,
    pub reasons: &'static [&'static str],
    pub model_names: &'static [&'static str],
    pub kv_schema: u32,
    /// The space of what was learned, where it is not of the policy's own name.
    pub kv: Option<&'static str>,
    /// Of a guard.
    pub hold_back: Option<u32>,
}

impl Facts {
    /// Nothing is said.
    pub const NONE: Self = Self { name: "", reasons: &[], model_names: &[], kv_schema: 0, kv: None, hold_back: None };
}

/// What the contract wants to know of a policy.
pub fn describe(facts: &Facts, version: &str) -> Description {
    let text = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let note = |name: &str, value: Option<String>| value.map(|value| (name.to_owned(), value));
    Description {
        name: facts.name.to_owned(),
        version: version.to_owned(),
        reasons: (1..).zip(text(facts.reasons)).collect(),
        names: text(facts.model_names),
        kv_schema: facts.kv_schema,
        notes: [
            note("kv", facts.kv.map(str::to_owned)),
            note("hold-back", facts.hold_back.map(|bytes| bytes.to_string())),
        ]
        .into_iter()
        .flatten()
        .collect(),
    }
}

/// Makes the policy. From here on a panic tells its text and place as a line of the log, which is
/// the last thing that the host hears.
pub fn init<P>(policy: &OnceLock<P>, make: impl FnOnce() -> Result<P, PluginError>) -> Result<(), PluginError> {
    std::panic::set_hook(Box::new(|panic| log::write(Level::Error, &panic.to_string())));
    policy.set(make()?).map_err(|_| PluginError::Internal("init was called twice".to_owned()))
}

fn made<P>(policy: &OnceLock<P>) -> Result<&P, PluginError> {
    policy.get().ok_or_else(|| PluginError::Internal("init was not called".to_owned()))
}

/// Asks a router.
pub fn route<R: Router>(
    policy: &OnceLock<R>,
    request: &Request,
    features: &Features,
    models: &[Model],
) -> Result<Plan, PluginError> {
    made(policy)?.route(&Context { request }, features, models)
}

/// Asks a healer.
pub fn heal<H: Healer>(
    policy: &OnceLock<H>,
    request: &Request,
    features: &Features,
    failure: &Failure,
    history: &[Attempt],
    models: &[Model],
) -> Result<Remedy, PluginError> {
    made(policy)?.heal(&Context { request }, features, failure, history, models)
}

/// Asks a guard.
pub fn inspect<G: Guard>(
    policy: &OnceLock<G>,
    request: &Request,
    passage: Passage,
    state: &[u8],
    text: &str,
    last: bool,
) -> Result<Verdict, PluginError> {
    made(policy)?.inspect(&Context { request }, passage, state, text, last)
}

/// Asks a prompter.
pub fn render<P: Prompter>(
    policy: &OnceLock<P>,
    request: &Request,
    features: &Features,
    models: &[Model],
    first: u32,
    draft: &Draft,
) -> Result<Edits, PluginError> {
    made(policy)?.render(&Context { request }, features, models, first, draft)
}

/// Tells an observer.
pub fn observe<O: Observer>(
    policy: &OnceLock<O>,
    request: &Request,
    at: u64,
    missed: u32,
    event: &Event,
) -> Result<(), PluginError> {
    made(policy)?.observe(&Context { request }, at, missed, event)
}

/// Asks an evaluator.
pub fn score<E: Evaluator>(policy: &OnceLock<E>, case: &Case, outcome: &CaseOutcome) -> Result<Score, PluginError> {
    made(policy)?.score(&Host, case, outcome)
}

/// Asks a mutator.
pub fn propose<M: Mutator>(
    policy: &OnceLock<M>,
    genome: &Genome,
    evidence: &Evidence,
    seed: u64,
) -> Result<Vec<Proposal>, PluginError> {
    made(policy)?.propose(&Host, genome, evidence, seed)
}
