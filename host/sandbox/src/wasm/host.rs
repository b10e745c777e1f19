//! What a component may ask the host for, within bounds.

use std::sync::Arc;

use kairos_pipeline::policy::{Draft, RequestInfo, bounded};
use wasmtime::component::Resource;
use wasmtime::{ResourceLimiter, Result};

use super::bindings::ModelRow;
use super::bindings::kairos::plugin::{content, kv, kv_write, log, metrics, types};
use super::engine::Ticker;
use super::worlds::{AtHand, Evolving};
use crate::deadline::Meter;
use crate::kv::Kv;
use crate::reach::{Reach, ReachBounds};
use crate::reports::{Reports, Used};

/// Names that a call may look up at once.
const FIND_NAMES: usize = 64;

/// The host's side of the handle that a call gets. The request itself is in [`HostState`]: a call
/// has one.
#[derive(Debug)]
#[allow(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct RequestHandle;

/// Likewise, of the request that a prompter reads.
#[derive(Debug)]
#[allow(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct DraftHandle;

/// The same of the event that an observer is told of.
#[derive(Debug)]
#[allow(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct EventHandle;

/// The same of the case that an evaluator judges.
#[derive(Debug)]
#[allow(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct CaseHandle;

/// The same of what came of it.
#[derive(Debug)]
#[allow(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct OutcomeHandle;

/// The same of what a mutator begins with.
#[derive(Debug)]
#[allow(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct GenomeHandle;

/// The same of what is known of it.
#[derive(Debug)]
#[allow(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct EvidenceHandle;

/// What belongs to one instance.
pub(super) struct HostState {
    /// The plugin's name, for its log lines.
    pub(super) plugin: Arc<str>,
    /// The request at hand.
    pub(super) request: Option<Arc<RequestInfo>>,
    /// The same, as a prompter reads it.
    pub(super) draft: Option<Arc<Draft>>,
    /// The event at hand.
    pub(super) event: Option<AtHand>,
    /// What an evaluator or a mutator is asked about.
    pub(super) evolving: Option<Evolving>,
    /// Whom it may call; none: nobody.
    pub(super) reach: Option<Reach>,
    pub(super) reach_bounds: ReachBounds,
    /// Room for the models that it is asked about.
    pub(super) rows: Vec<ModelRow>,
    /// What was learned, as this call sees and changes it.
    pub(super) kv: Kv,
    pub(super) reports: Arc<Reports>,
    /// What the call has used of its share.
    pub(super) used: Used,
    /// How far the call has come.
    pub(super) meter: Meter,
    /// The most memory it may have.
    pub(super) memory_bytes: usize,
    /// Memory that it has.
    pub(super) memory_used: usize,
    /// It wanted more memory than it may have.
    pub(super) memory_denied: bool,
    /// What the call wrote last as an error.
    pub(super) last_line: Option<String>,
    /// Told of each call.
    pub(super) ticker: Arc<Ticker>,
}

impl HostState {
    pub(super) fn request(&self) -> Result<&Arc<RequestInfo>> {
        self.request.as_ref().ok_or_else(|| wasmtime::Error::msg("a request was asked for outside of a call"))
    }

    pub(super) fn event(&self) -> Result<&AtHand> {
        self.event.as_ref().ok_or_else(|| wasmtime::Error::msg("an event was asked for outside of a call"))
    }
}

impl ResourceLimiter for HostState {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> Result<bool> {
        let used = self.memory_used - current.min(self.memory_used) + desired;
        if used > self.memory_bytes {
            self.memory_denied = true;
            // A guest told "no" aborts as if it had panicked; stopped here, the reason is known.
            wasmtime::bail!("more than {} bytes of memory", self.memory_bytes);
        }
        self.memory_used = used;
        Ok(true)
    }

    fn table_growing(&mut self, _: usize, desired: usize, maximum: Option<usize>) -> Result<bool> {
        Ok(maximum.is_none_or(|most| desired <= most))
    }
}

impl types::Host for HostState {}

impl types::HostRequest for HostState {
    fn tags(&mut self, _: Resource<RequestHandle>) -> Result<Vec<(String, String)>> {
        Ok(self.request()?.tags.to_vec())
    }

    fn task_label(&mut self, _: Resource<RequestHandle>) -> Result<Option<String>> {
        Ok(self.request()?.task_label.clone())
    }

    fn asked_model(&mut self, _: Resource<RequestHandle>) -> Result<String> {
        Ok(self.request()?.asked_model.clone())
    }

    fn model_ids(&mut self, _: Resource<RequestHandle>) -> Result<Vec<String>> {
        Ok(self.request()?.model_ids.iter().map(|id| id.to_string()).collect())
    }

    fn regions(&mut self, _: Resource<RequestHandle>) -> Result<Vec<String>> {
        Ok(self.request()?.regions.iter().map(|region| region.to_string()).collect())
    }

    fn find(&mut self, _: Resource<RequestHandle>, names: Vec<String>) -> Result<Vec<Option<u32>>> {
        if names.len() > FIND_NAMES {
            wasmtime::bail!("find takes at most {FIND_NAMES} names");
        }
        let request = self.request()?;
        Ok(names.iter().map(|name| request.find(name)).collect())
    }

    fn drop(&mut self, _: Resource<RequestHandle>) -> Result<()> {
        Ok(())
    }
}

impl content::Host for HostState {
    fn prompt(&mut self, _: Resource<RequestHandle>) -> Result<String> {
        Ok(self.request()?.content.prompt().to_owned())
    }

    fn system(&mut self, _: Resource<RequestHandle>) -> Result<String> {
        Ok(self.request()?.content.system().to_owned())
    }
}

impl log::Host for HostState {
    fn write(&mut self, level: log::Level, message: String) -> Result<()> {
        let message = bounded(message);
        // A panic's text comes as the last line before the trap.
        if matches!(level, log::Level::Error) {
            self.last_line = Some(message.clone());
        }
        let level = match level {
            log::Level::Debug => tracing::Level::DEBUG,
            log::Level::Info => tracing::Level::INFO,
            log::Level::Warn => tracing::Level::WARN,
            log::Level::Error => tracing::Level::ERROR,
        };
        self.reports.write(&mut self.used, &self.plugin, level, &message);
        Ok(())
    }
}

impl metrics::Host for HostState {
    fn add(&mut self, name: String, value: u64) -> Result<()> {
        self.reports.add(&self.used, &name, value);
        Ok(())
    }

    fn set(&mut self, name: String, value: f64) -> Result<()> {
        self.reports.set(&self.used, &name, value);
        Ok(())
    }
}

impl kv::Host for HostState {
    fn get(&mut self, key: String) -> Result<Option<Vec<u8>>> {
        Ok(self.kv.get(&key)?.map(|value| value.to_vec()))
    }

    fn get_many(&mut self, keys: Vec<String>) -> Result<Vec<Option<Vec<u8>>>> {
        let values = self.kv.get_many(&keys)?;
        Ok(values.into_iter().map(|value| value.map(|value| value.to_vec())).collect())
    }
}

impl kv_write::Host for HostState {
    fn set(&mut self, key: String, value: Vec<u8>) -> Result<std::result::Result<(), kv_write::Refusal>> {
        if self.kv.set(&key, value)? {
            return Ok(Ok(()));
        }
        self.reports.no_room(&self.used);
        Ok(Err(kv_write::Refusal::Full))
    }

    fn delete(&mut self, key: String) -> Result<()> {
        Ok(self.kv.delete(&key)?)
    }
}
