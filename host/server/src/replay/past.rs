//! Policies as they were: loaded from what is kept of them, with the configuration of then.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use kairos_pipeline::guards::Pii;
use kairos_pipeline::healers::Backoff;
use kairos_pipeline::policy::{
    Answer, Guard as _, Healer as _, Identity, PolicyError, Question as Asked, RouteInput, Router as _, World,
};
use kairos_pipeline::record::Given;
use kairos_pipeline::routers;
use kairos_sandbox::canary::{Plan, Report};
use kairos_sandbox::capability::{Capability, Grants};
use kairos_sandbox::generation::Generation;
use kairos_sandbox::load::Loader;
use kairos_store::policies::Reader;
use kairos_store::records::Question;
use serde::Deserialize;
use serde_json::Value;

use crate::admin;

/// What decides again.
pub(crate) enum Decider {
    /// The native default.
    Native(routers::Task),
    /// A version of a policy.
    Version(Generation),
}

impl Decider {
    /// Who decides.
    pub(crate) fn identity(&self) -> &Identity {
        match self {
            Self::Native(router) => router.identity(),
            Self::Version(generation) => generation.identity(),
        }
    }

    /// Decides as if for the first time, silently. The plan is one that is valid.
    pub(crate) fn decide(&self, question: &mut Question) -> Result<Given, PolicyError> {
        question.mark_names(&self.identity().model_names);
        let Question { request, features, models, .. } = question;
        let input = RouteInput { request, features, models };
        let decided = match self {
            Self::Native(router) => router.route(input),
            Self::Version(generation) => generation.ask_afresh(Asked::Route(input)).and_then(Answer::plan),
        };
        match decided.and_then(|plan| plan.checked(models.len())) {
            Ok(plan) => Ok(Given::Plan(plan)),
            Err(PolicyError::Refused(reason)) => Ok(Given::Refused(reason)),
            Err(error) => Err(error),
        }
    }
}

/// Who is asked again what others than routers were.
pub(crate) enum Judge {
    /// The native healer.
    Healer(Backoff),
    /// The native guard.
    Guard(Pii),
    /// A version of a policy.
    Version(Generation),
}

impl Judge {
    /// Who judges.
    pub(crate) fn identity(&self) -> &Identity {
        match self {
            Self::Healer(healer) => healer.identity(),
            Self::Guard(guard) => guard.identity(),
            Self::Version(generation) => generation.identity(),
        }
    }

    /// Judges as if for the first time, silently.
    pub(crate) fn ask(&self, question: Asked<'_>) -> Result<Answer, PolicyError> {
        match (self, question) {
            (Self::Healer(healer), Asked::Heal(input)) => healer.heal(input).map(Answer::Remedy),
            (Self::Guard(guard), Asked::Inspect(input)) => guard.inspect(input).map(Answer::Verdict),
            (Self::Version(generation), question) => generation.ask_afresh(question),
            _ => Err(PolicyError::NotRun("it judges something else".to_owned())),
        }
    }
}

/// A policy, `name@digest`, and what it was loaded with.
pub(crate) type Which = (Arc<str>, String);

/// The arms of an experiment.
#[derive(Clone)]
pub(crate) struct Arms {
    /// What was in place.
    pub(crate) baseline: Which,
    /// What was tried.
    pub(crate) canary: Which,
}

/// What a policy was loaded with.
#[derive(Deserialize)]
struct Setting {
    config: Value,
    grants: Vec<String>,
}

/// Loads what decided once, each once.
pub(crate) struct Past {
    versions: Option<Reader>,
    loader: Loader,
    loaded: HashMap<Which, Result<Decider, String>>,
    judges: HashMap<(World, Which), Result<Arc<Judge>, String>>,
    arms: HashMap<i64, Option<Arms>>,
}

/// Policies that are held ready; beyond, all are loaded again.
const HELD: usize = 64;

impl Past {
    /// `versions` is what is kept of policies, where anything is.
    pub(crate) fn new(versions: Option<Reader>, loader: Loader) -> Self {
        Self { versions, loader, loaded: HashMap::new(), judges: HashMap::new(), arms: HashMap::new() }
    }

    /// What is kept of policies, where anything is.
    pub(crate) fn versions(&self) -> Option<&Reader> {
        self.versions.as_ref()
    }

    /// What loads policies, with the configuration and the grants of today.
    pub(crate) fn loader(&self) -> &Loader {
        &self.loader
    }

    /// A policy as it was, or why it cannot be had any more.
    pub(crate) fn policy(&mut self, label: &Arc<str>, setting: &str) -> Result<&Decider, String> {
        let which = (Arc::clone(label), setting.to_owned());
        if self.loaded.len() >= HELD && !self.loaded.contains_key(&which) {
            self.loaded.clear();
        }
        if !self.loaded.contains_key(&which) {
            let decider = self.load(&which);
            self.loaded.insert(which.clone(), decider);
        }
        self.loaded[&which].as_ref().map_err(Clone::clone)
    }

    fn load(&self, (label, setting): &Which) -> Result<Decider, String> {
        let native = routers::Task::default();
        if native.identity().label() == label {
            return Ok(Decider::Native(native));
        }
        let (name, digest) = label.split_once('@').unwrap_or((label, ""));
        if name == native.identity().name {
            let ours = &native.identity().digest;
            return Err(format!("the native router of Kairos {digest} decided; this is {ours}"));
        }
        self.version(World::Router, digest, setting).map(Decider::Version)
    }

    /// Who judged once in another world than the router's, or why it cannot be had any more.
    pub(crate) fn judge(&mut self, world: World, label: &Arc<str>, setting: &str) -> Result<Arc<Judge>, String> {
        let which = (world, (Arc::clone(label), setting.to_owned()));
        if self.judges.len() >= HELD && !self.judges.contains_key(&which) {
            self.judges.clear();
        }
        if let Some(known) = self.judges.get(&which) {
            return known.clone();
        }
        let judge = self.load_judge(world, label, setting).map(Arc::new);
        self.judges.insert(which, judge.clone());
        judge
    }

    fn load_judge(&self, world: World, label: &str, setting: &str) -> Result<Judge, String> {
        let (name, digest) = label.split_once('@').unwrap_or((label, ""));
        let native = match world {
            World::Healer => Judge::Healer(Backoff::new(serde_json::from_str(setting).unwrap_or_default())),
            World::Guard => Judge::Guard(Pii::default()),
            _ => return self.version(world, digest, setting).map(Judge::Version),
        };
        match native.identity() {
            identity if **identity.label() == *label => Ok(native),
            identity if identity.name == name => {
                let ours = &identity.digest;
                Err(format!("the native {} of Kairos {digest} judged; this is {ours}", world.name()))
            }
            _ => self.version(world, digest, setting).map(Judge::Version),
        }
    }

    /// Loads a version that served, with what it was loaded with then.
    fn version(&self, world: World, digest: &str, setting: &str) -> Result<Generation, String> {
        let slot = world.name();
        let found = self.versions.as_ref().map(|versions| versions.version(slot, digest)).transpose();
        let Some(found) = found.map_err(|error| error.to_string())?.flatten() else {
            return Err("the version that decided is not kept here (kept_versions and kept_bytes under [policies] bound what is)".to_owned());
        };
        let setting: Setting = serde_json::from_str(setting).map_err(|error| format!("its setting: {error}"))?;
        let grants = Grants::of(setting.grants.iter().filter_map(|name| Capability::from_name(name)));
        let configs = Arc::new(BTreeMap::from([(slot.to_owned(), setting.config.to_string())]));
        let loader = Loader { configs, grants, ..self.loader.clone() };
        let cannot = "the version that decided cannot be loaded any more";
        let loaded = loader.load_again(&admin::version(world, found));
        loaded.map_err(|refusal| format!("{cannot}: {}", refusal.message))
    }

    /// The arms of an experiment, each as a policy and what it was loaded with: what was in place, and what
    /// was tried. None where that is not kept.
    pub(crate) fn arms(&mut self, experiment: i64) -> Option<Arms> {
        if self.arms.len() >= HELD {
            self.arms.clear();
        }
        if let Some(known) = self.arms.get(&experiment) {
            return known.clone();
        }
        let arms = self.read_arms(experiment);
        self.arms.insert(experiment, arms.clone());
        arms
    }

    fn read_arms(&self, experiment: i64) -> Option<Arms> {
        let trial = self.versions.as_ref()?.trial(World::Router.name(), experiment).ok()??;
        let plan: Plan = serde_json::from_str(&trial.plan).ok()?;
        let report: Report = serde_json::from_str(&trial.report).ok()?;
        let [canary, baseline] = plan.loaded_with;
        Some(Arms { baseline: (trial.baseline.into(), baseline), canary: (report.canary.into(), canary) })
    }

    /// Whether a policy was taken out of service because it failed.
    pub(crate) fn is_quarantined(&self, label: &str) -> bool {
        let digest = label.split_once('@').map_or("", |(_, digest)| digest);
        let known = self.versions.as_ref().map(|versions| versions.is_quarantined(World::Router.name(), digest));
        known.is_some_and(|known| known.unwrap_or(false))
    }
}
