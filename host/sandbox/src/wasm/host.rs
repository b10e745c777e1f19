//! What a component may ask the host for, within bounds.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use kairos_pipeline::policy::RequestInfo;
use wasmtime::component::Resource;
use wasmtime::{ResourceLimiter, Result};

use super::bindings::kairos::plugin::{content, kv, log, metrics, types};
use crate::deadline::Meter;

/// Lines that a call may log, and bytes of a line.
const LOG_LINES: u32 = 16;
const LOG_LINE_BYTES: usize = 1_024;
/// Keys that a call may read at once, and bytes of a key.
const KV_KEYS: usize = 64;
const KV_KEY_BYTES: usize = 256;
/// Names that a call may look up at once.
const FIND_NAMES: usize = 64;
/// Names that a plugin's metrics may have, and bytes of a name.
const METRIC_NAMES: usize = 32;
const METRIC_NAME_BYTES: usize = 64;

/// What a plugin has learned, as one call sees it.
pub type KvSnapshot = Arc<BTreeMap<String, Vec<u8>>>;

/// The numbers that one plugin reports.
#[derive(Debug, Default)]
pub struct PluginMetrics {
    values: Mutex<BTreeMap<String, MetricValue>>,
    /// Reports that were over a bound.
    pub dropped: std::sync::atomic::AtomicU64,
}

/// A number that a plugin reports.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MetricValue {
    /// Only grows.
    Counter(u64),
    /// Is set.
    Gauge(f64),
}

impl PluginMetrics {
    /// All numbers, by name.
    pub fn values(&self) -> Vec<(String, MetricValue)> {
        let values = self.values.lock().unwrap_or_else(PoisonError::into_inner);
        values.iter().map(|(name, value)| (name.clone(), *value)).collect()
    }

    /// Adds to a counter.
    pub fn add(&self, name: &str, value: u64) {
        self.change(name, MetricValue::Counter(0), |known| {
            if let MetricValue::Counter(count) = known {
                *count = count.saturating_add(value);
            }
        });
    }

    /// Sets a gauge.
    pub fn set(&self, name: &str, value: f64) {
        self.change(name, MetricValue::Gauge(0.0), |known| {
            if let MetricValue::Gauge(gauge) = known {
                *gauge = value;
            }
        });
    }

    fn change(&self, name: &str, fresh: MetricValue, change: impl FnOnce(&mut MetricValue)) {
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        let mut values = self.values.lock().unwrap_or_else(PoisonError::into_inner);
        let known = values.contains_key(name);
        let allowed = (1..=METRIC_NAME_BYTES).contains(&name.len()) && name.bytes().all(fits);
        if known || (allowed && values.len() < METRIC_NAMES) {
            change(values.entry(name.to_owned()).or_insert(fresh));
        } else {
            self.dropped.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
    }
}

/// The host's side of the handle that a call gets. The request itself is in [`HostState`]: a call
/// has one.
#[derive(Debug)]
#[allow(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct RequestHandle;

/// What belongs to one instance.
pub(super) struct HostState {
    /// The plugin's name, for its log lines.
    pub(super) plugin: Arc<str>,
    /// The request at hand.
    pub(super) request: Option<Arc<RequestInfo>>,
    /// What was learned, as this call sees it.
    pub(super) kv: KvSnapshot,
    pub(super) metrics: Arc<PluginMetrics>,
    /// A repeated call reports nothing: it happened once.
    pub(super) silent: bool,
    /// How far the call has come.
    pub(super) meter: Meter,
    /// The most memory it may have.
    pub(super) memory_bytes: usize,
    /// Memory that it has.
    pub(super) memory_used: usize,
    /// It wanted more memory than it may have.
    pub(super) memory_denied: bool,
    pub(super) log_lines: u32,
    pub(super) last_line: Option<String>,
}

impl HostState {
    fn request(&self) -> Result<&Arc<RequestInfo>> {
        self.request.as_ref().ok_or_else(|| wasmtime::Error::msg("a request was asked for outside of a call"))
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
        Ok(self.request()?.tags.clone())
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
        Ok(self.request()?.prompt.clone())
    }

    fn system(&mut self, _: Resource<RequestHandle>) -> Result<String> {
        Ok(self.request()?.system.clone())
    }
}

impl log::Host for HostState {
    fn write(&mut self, level: log::Level, message: String) -> Result<()> {
        let mut message = message;
        message.truncate(message.floor_char_boundary(LOG_LINE_BYTES));
        self.log_lines += 1;
        if self.silent || self.log_lines > LOG_LINES {
            return Ok(());
        }
        let plugin = &*self.plugin;
        match level {
            log::Level::Debug => tracing::debug!(target: "kairos::plugin", plugin, "{message}"),
            log::Level::Info => tracing::info!(target: "kairos::plugin", plugin, "{message}"),
            log::Level::Warn => tracing::warn!(target: "kairos::plugin", plugin, "{message}"),
            log::Level::Error => tracing::error!(target: "kairos::plugin", plugin, "{message}"),
        }
        // A panic's text comes as the last line before the trap.
        if matches!(level, log::Level::Error) {
            self.last_line = Some(message);
        }
        Ok(())
    }
}

impl metrics::Host for HostState {
    fn add(&mut self, name: String, value: u64) -> Result<()> {
        if !self.silent {
            self.metrics.add(&name, value);
        }
        Ok(())
    }

    fn set(&mut self, name: String, value: f64) -> Result<()> {
        if !self.silent {
            self.metrics.set(&name, value);
        }
        Ok(())
    }
}

impl kv::Host for HostState {
    fn get(&mut self, key: String) -> Result<Option<Vec<u8>>> {
        Ok(self.kv_get(&key))
    }

    fn get_many(&mut self, keys: Vec<String>) -> Result<Vec<Option<Vec<u8>>>> {
        if keys.len() > KV_KEYS {
            wasmtime::bail!("{} keys were asked for at once; {KV_KEYS} are allowed", keys.len());
        }
        Ok(keys.iter().map(|key| self.kv_get(key)).collect())
    }
}

impl HostState {
    fn kv_get(&self, key: &str) -> Option<Vec<u8>> {
        if key.len() > KV_KEY_BYTES { None } else { self.kv.get(key).cloned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_bounded() {
        let metrics = PluginMetrics::default();
        for place in 0..100 {
            metrics.add(&format!("name_{place}"), 1);
        }
        for bad in ["", "UPPER", "a b", &"x".repeat(65)] {
            metrics.add(bad, 1);
        }
        metrics.add("name_0", u64::MAX);
        metrics.set("name_0", 5.0);
        let values = metrics.values();
        assert_eq!(values.len(), METRIC_NAMES);
        assert_eq!(values[0].1, MetricValue::Counter(u64::MAX));
        assert_eq!(metrics.dropped.load(std::sync::atomic::Ordering::Relaxed), 100 - 32 + 4);
    }
}
