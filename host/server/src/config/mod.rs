//! The configuration: `kairos.toml`, then the environment, then flags; the last wins.
//!
//! `settings` is what there is to set, `values` what a value can be, `file` and `environment` where
//! values come from, `provenance` who set which, `check` what is wrong.

pub(crate) mod check;
pub(crate) mod environment;
pub(crate) mod file;
pub(crate) mod provenance;
mod settings;
mod values;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use kairos_bedrock::client::Timeouts;
use kairos_bedrock::pool::Pool;
use kairos_pipeline::budget::Rule;
use kairos_pipeline::jobs::WatchBounds;
use kairos_pipeline::places::Concurrency;
use kairos_pipeline::policy::MutatorBounds;
use kairos_sandbox::capability::{Capability, Grants};
use kairos_store::jobs::Keeping;
use kairos_store::ledger::Bounds;
use kairos_store::policies::KeptBounds;
use kairos_store::records;

pub(crate) use self::settings::budgets::{AlertSettings, MOST_BUDGETS, window};
pub(crate) use self::settings::{
    Auth, Config, EndedModels, HttpSettings, Limits, ModelSettings, ProfileSettings, RateSettings, RecordedContent,
    Unpriced,
};
#[cfg(test)]
pub(crate) use self::values::SecretText;
pub(crate) use self::values::{Seconds, age};

use self::check::Wrong;
use self::provenance::{Origin, Origins};

/// A complete `kairos.toml` in which every setting has its default.
pub(crate) const EXAMPLE: &str = include_str!("example.toml");

/// Why a configuration is refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("{path}: the file cannot be read: {cause}")]
    Read { path: String, cause: std::io::Error },
    // Not the parser's own text: it shows the line, which may hold a key.
    #[error("{path}{}: {}", at.map_or(String::new(), |(line, column)| format!(":{line}:{column}")), message)]
    Form { path: String, at: Option<(usize, usize)>, message: String },
    #[error("{at}: there is no setting `{key}`{}", near.as_ref().map_or(String::new(), |near| format!("; did you mean `{near}`?")))]
    UnknownKey { at: String, key: String, near: Option<String> },
    #[error("{what}")]
    Value { what: String },
}

/// Flags that `serve`, `demo` and `doctor` share.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Flags {
    /// Address to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: Option<SocketAddr>,
    /// Folder for what is kept
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Configuration file [default: kairos.toml, where there is one]
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Folder of policies to watch: router.rhai or router.wasm
    #[arg(long, value_name = "DIR")]
    pub(crate) policies: Option<PathBuf>,
}

/// A configuration as it was read: what it holds, and where each value came from.
pub(crate) struct Loaded {
    pub(crate) config: Config,
    pub(crate) origins: Origins,
}

impl Loaded {
    /// Reads the file, the environment and the flags, in this order. What it holds is not checked.
    pub(crate) fn read(flags: &Flags, variable: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let (config, origins) = match file::chosen(flags.config.as_deref()) {
            Some(path) => file::read(path)?,
            None => (Config::default(), Origins::default()),
        };
        let mut loaded = Self { config, origins };
        environment::apply(&mut loaded.config, &mut loaded.origins, &variable)?;
        loaded.apply_flags(flags);
        loaded.resolve_timeouts();
        Ok(loaded)
    }

    fn apply_flags(&mut self, flags: &Flags) {
        let Self { config, origins } = self;
        if let Some(listen) = flags.listen {
            config.listen = listen;
            origins.set("listen", Origin::Flag("--listen"));
        }
        if let Some(data) = &flags.data {
            config.data.clone_from(data);
            origins.set("data", Origin::Flag("--data"));
        }
        if flags.policies.is_some() {
            config.policies.folder.clone_from(&flags.policies);
            origins.set("policies.folder", Origin::Flag("--policies"));
        }
    }

    /// Times that have no setting of their own are those of `request_seconds`, or the defaults.
    fn resolve_timeouts(&mut self) {
        let defaults = Timeouts::default();
        let upstream = &mut self.config.upstream;
        let total = upstream.total_seconds;
        for (setting, seconds, default) in [
            ("upstream.connect_seconds", &mut upstream.connect_seconds, Seconds::of(defaults.connect)),
            ("upstream.first_event_seconds", &mut upstream.first_event_seconds, Seconds::of(defaults.first_event)),
            ("upstream.answer_seconds", &mut upstream.answer_seconds, total),
        ] {
            if seconds.is_none() {
                *seconds = Some(upstream.request_seconds.unwrap_or(default));
                if upstream.request_seconds.is_some() {
                    self.origins.set(setting, Origin::Setting("upstream.request_seconds"));
                }
            }
        }
    }

    /// Everything that is wrong, each with its place.
    pub(crate) fn wrong(&self) -> Vec<String> {
        let told = |Wrong { setting, what }: Wrong| match self.origins.of(setting) {
            Origin::Default => format!("{setting}: {what}"),
            origin => format!("{origin}: {setting}: {what}"),
        };
        check::check(&self.config).into_iter().map(told).collect()
    }
}

impl Config {
    /// Reads and checks a configuration.
    pub(crate) fn read(flags: &Flags, variable: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let loaded = Loaded::read(flags, variable)?;
        match loaded.wrong().into_iter().next() {
            None => Ok(loaded.config),
            Some(what) => Err(ConfigError::Value { what }),
        }
    }

    /// Whether callers need a key, whatever keys were made with `kairos key`.
    pub(crate) fn requires_key(&self) -> bool {
        self.auth.require_key || self.auth.bearer_key.is_some() || self.auth.sigv4.is_some()
    }

    /// Bounds of batches.
    pub(crate) fn batch_limits(&self) -> kairos_pipeline::batch::Limits {
        kairos_pipeline::batch::Limits {
            entries: self.limits.batch_entries,
            concurrency: self.limits.batch_concurrency,
            patience: self.limits.write_seconds.duration(),
        }
    }

    /// How long calls to Bedrock may take.
    pub(crate) fn timeouts(&self) -> Timeouts {
        let (set, defaults) = (&self.upstream, Timeouts::default());
        let or = |seconds: Option<Seconds>, default: Duration| seconds.map_or(default, Seconds::duration);
        Timeouts {
            connect: or(set.connect_seconds, defaults.connect),
            first_event: or(set.first_event_seconds, defaults.first_event),
            between_events: set.between_events_seconds.duration(),
            answer: or(set.answer_seconds, defaults.answer),
            total: set.total_seconds.duration(),
        }
    }

    /// Connections that are kept.
    pub(crate) fn pool(&self) -> Pool {
        let set = &self.upstream;
        Pool { idle_connections: set.idle_connections, keep_alive: set.keep_alive_seconds.duration() }
    }

    /// How much each model is given to do at once, where that is limited.
    pub(crate) fn concurrency(&self) -> Option<Concurrency> {
        let set = &self.upstream;
        let (waiting, patience) = (set.waiting_requests, set.waiting_seconds.duration());
        set.concurrent_requests.map(|at_once| Concurrency { at_once, waiting, patience })
    }

    /// Bounds of waiting for what may go through in a minute.
    pub(crate) fn rate_bounds(&self) -> kairos_pipeline::rates::Bounds {
        let set = &self.limits;
        let (waiting, patience) = (set.rate_waiting, set.rate_wait_seconds.duration());
        kairos_pipeline::rates::Bounds { waiting, patience, windows: set.rate_windows }
    }

    /// Budgets. `model` finds the id of a model by any of its names.
    pub(crate) fn budget_rules(
        &self,
        is_known: impl Fn(&str) -> bool,
        model: impl Fn(&str) -> Result<String, String>,
    ) -> Result<Vec<Arc<Rule>>, Vec<String>> {
        settings::budgets::rules(&self.budget, &self.budgets, is_known, model)
    }

    /// Bounds of the ledger.
    pub(crate) fn ledger_bounds(&self) -> Bounds {
        let set = &self.ledger;
        Bounds {
            wait: set.wait_seconds.duration(),
            queued_rows: set.queued_rows,
            pairs: set.pairs,
            jobs: self.jobs.open,
            jobs_each_key: self.jobs.open_each_key,
        }
    }

    /// How long jobs that have ended are kept.
    pub(crate) fn keeping(&self) -> Keeping {
        Keeping { age_ms: self.jobs.kept_days.saturating_mul(86_400_000), each_key: self.jobs.kept }
    }

    /// How often is looked whether jobs have ended.
    pub(crate) fn watch_bounds(&self) -> WatchBounds {
        let first_ms = self.jobs.look_seconds.saturating_mul(1_000);
        let horizon_ms = self.jobs.hours.saturating_mul(3_600_000);
        WatchBounds { first_ms, longest_ms: first_ms.max(300_000), horizon_ms }
    }

    /// What is kept of requests that have ended. The key is for digests of what is not kept.
    pub(crate) fn record_settings(&self, key: [u8; 32]) -> records::Settings {
        let set = &self.records;
        records::Settings {
            content: match set.content {
                RecordedContent::None => records::Content::None,
                RecordedContent::Redacted => records::Content::Redacted,
                RecordedContent::Full => records::Content::Full,
            },
            age: Duration::from_secs(set.days * 86_400),
            bytes: set.bytes,
            queue: set.queue,
            queue_bytes: set.queue_bytes,
            key,
        }
    }

    /// Bounds of policies.
    pub(crate) fn policy_limits(&self) -> kairos_sandbox::limits::Limits {
        let set = &self.policies;
        kairos_sandbox::limits::Limits {
            deadline: Duration::from_millis(set.deadline_ms),
            observer_deadline: Duration::from_millis(self.observer.deadline_ms),
            evaluator: (Duration::from_millis(self.evaluator.deadline_ms), self.evaluator.seconds.duration()),
            mutator: (Duration::from_millis(self.mutator.deadline_ms), self.mutator.seconds.duration()),
            proposals: MutatorBounds { proposals: self.mutator.proposals, text_bytes: self.mutator.text_bytes },
            reach: set.http.reach(&set.model),
            init_deadline: Duration::from_millis(set.init_deadline_ms),
            memory_bytes: set.memory_bytes,
            interpreter_memory_bytes: set.interpreter_memory_bytes,
            stack_bytes: set.stack_bytes,
            handover_bytes: set.handover_bytes,
            handles: set.handles,
            instances: set.instances.unwrap_or_else(|| kairos_sandbox::limits::Limits::default().instances),
            calls_per_instance: set.calls_per_instance,
            component_bytes: set.component_bytes,
            script_bytes: set.script_bytes,
            test_bytes: set.test_bytes,
            tests: set.tests,
            test_time: set.test_seconds.duration(),
            script_operations: set.script_operations,
            faults: set.faults,
            fault_window: set.fault_window_seconds.duration(),
            purity_sample: set.purity_sample,
            space: kairos_sandbox::kv::SpaceBounds { keys: set.kv.keys, bytes: set.kv.bytes },
            events: self.observer.queue,
            remembered: self.observer.remembered,
            previous_generations: set.previous_generations,
        }
    }

    /// What of versions of policies is kept.
    pub(crate) fn kept_bounds(&self) -> KeptBounds {
        let records = if self.records.enabled { self.records.days } else { 0 };
        KeptBounds {
            versions: self.policies.kept_versions,
            bytes: self.policies.kept_bytes,
            records_ms: records.saturating_mul(24 * 3_600 * 1_000),
        }
    }

    /// What policies may use.
    pub(crate) fn grants(&self) -> Grants {
        Grants::of(self.policies.grants.iter().filter_map(|name| Capability::from_name(name)))
    }
}

/// All settings with their values, in the order of the file. Secrets are not shown.
pub(crate) fn settings_of(config: &Config) -> Vec<(String, serde_json::Value)> {
    let mut settings = Vec::new();
    if let Ok(all) = serde_json::to_value(config) {
        collect("", all, &mut settings);
    }
    settings
}

fn collect(prefix: &str, value: serde_json::Value, into: &mut Vec<(String, serde_json::Value)>) {
    match value {
        serde_json::Value::Object(map) if !map.is_empty() => {
            for (name, value) in map {
                let path = if prefix.is_empty() { name } else { format!("{prefix}.{name}") };
                collect(&path, value, into);
            }
        }
        _ => into.push((prefix.to_owned(), value)),
    }
}

/// What may be shown of a value that is wrong.
pub(crate) fn shortened(value: &str) -> &str {
    &value[..value.floor_char_boundary(60)]
}

#[cfg(test)]
mod tests;
