//! What policies write to the operator, within bounds that components and scripts share: log lines,
//! metrics.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use kairos_pipeline::policy::{World, one_line};
use tracing::Level;

use crate::capability::{Capability, Grants};

/// Lines that a call may log, that a policy may log in a second, and bytes of a line.
const LOG_LINES: u32 = 16;
const LOG_LINES_A_SECOND: u64 = 256;
const LOG_LINE_BYTES: usize = 1_024;
/// Names that a policy's metrics may have, and bytes of a name.
const METRIC_NAMES: usize = 32;
const METRIC_NAME_BYTES: usize = 64;

/// What was over a bound and dropped, of all policies since the start.
#[derive(Debug, Default)]
pub struct Dropped {
    /// Log lines.
    pub log: AtomicU64,
    /// Reports of metrics.
    pub metrics: AtomicU64,
    /// Values that a space of what was learned had no room for.
    pub kv: AtomicU64,
}

/// What one call has used of its share.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Used {
    /// The call reports nothing: one that is repeated happened once.
    pub(crate) silent: bool,
    lines: u32,
}

impl Used {
    /// A call that begins.
    pub(crate) fn nothing(silent: bool) -> Self {
        Self { silent, ..Self::default() }
    }
}

/// What one generation of a policy reports.
#[derive(Debug)]
pub struct Reports {
    metrics: Metrics,
    lines: Allowance,
    started: Instant,
    dropped: Arc<Dropped>,
    /// What it says in words is dropped.
    is_mute: bool,
}

impl Reports {
    /// Nothing so far. What is over a bound is counted in `dropped`.
    pub(crate) fn new(dropped: &Arc<Dropped>) -> Self {
        Self {
            metrics: Metrics::default(),
            lines: Allowance::default(),
            started: Instant::now(),
            dropped: Arc::clone(dropped),
            is_mute: false,
        }
    }

    /// The same of a policy of a world. A guard sees what callers and models write, and a prompter what
    /// callers do: what they say in words is dropped, unless they may read content anyway.
    pub(crate) fn of(self, world: World, grants: &Grants) -> Self {
        Self { is_mute: matches!(world, World::Guard | World::Prompter) && !grants.has(Capability::Content), ..self }
    }

    /// Whether what the policy says in words is dropped.
    pub(crate) fn is_mute(&self) -> bool {
        self.is_mute
    }

    /// The policy's numbers, by name.
    pub fn metrics(&self) -> Vec<(String, MetricValue)> {
        let values = self.metrics.0.lock().unwrap_or_else(PoisonError::into_inner);
        values.iter().map(|(name, value)| (name.clone(), *value)).collect()
    }

    /// Adds to a counter.
    pub(crate) fn add(&self, used: &Used, name: &str, value: u64) {
        self.report(used, name, MetricValue::Counter(value));
    }

    /// Sets a gauge.
    pub(crate) fn set(&self, used: &Used, name: &str, value: f64) {
        self.report(used, name, MetricValue::Gauge(value));
    }

    fn report(&self, used: &Used, name: &str, value: MetricValue) {
        if !used.silent && !self.metrics.take(name, value) {
            self.dropped.metrics.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts a value that there was no room for.
    pub(crate) fn no_room(&self, used: &Used) {
        if !used.silent {
            self.dropped.kv.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Writes a line to the log.
    pub(crate) fn write(&self, used: &mut Used, plugin: &str, level: Level, text: &str) {
        if used.silent || self.is_mute {
            return;
        }
        used.lines = used.lines.saturating_add(1);
        if used.lines > LOG_LINES || !self.lines.take(self.started.elapsed().as_secs()) {
            self.dropped.log.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let text = one_line(text[..text.floor_char_boundary(LOG_LINE_BYTES)].to_owned(), LOG_LINE_BYTES);
        match level {
            Level::ERROR => tracing::error!(target: "kairos::plugin", plugin, "{text}"),
            Level::WARN => tracing::warn!(target: "kairos::plugin", plugin, "{text}"),
            Level::INFO => tracing::info!(target: "kairos::plugin", plugin, "{text}"),
            _ => tracing::debug!(target: "kairos::plugin", plugin, "{text}"),
        }
    }
}

/// Lines of the current second.
#[derive(Debug, Default)]
struct Allowance {
    second: AtomicU64,
    taken: AtomicU64,
}

impl Allowance {
    /// Whether there is one left in this second.
    fn take(&self, second: u64) -> bool {
        let known = self.second.load(Ordering::Relaxed);
        if known != second && self.second.compare_exchange(known, second, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        {
            self.taken.store(0, Ordering::Relaxed);
        }
        self.taken.fetch_add(1, Ordering::Relaxed) < LOG_LINES_A_SECOND
    }
}

/// A number that a policy reports.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MetricValue {
    /// Only grows.
    Counter(u64),
    /// Is set.
    Gauge(f64),
}

/// The numbers that one policy reports.
#[derive(Debug, Default)]
struct Metrics(Mutex<BTreeMap<String, MetricValue>>);

impl Metrics {
    /// Takes a report: adds to a counter, or sets a gauge. Whether it is within bounds.
    fn take(&self, name: &str, value: MetricValue) -> bool {
        if matches!(value, MetricValue::Gauge(gauge) if !gauge.is_finite()) {
            return false;
        }
        let mut values = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_full = values.len() >= METRIC_NAMES;
        match (values.get_mut(name), value) {
            (Some(MetricValue::Counter(count)), MetricValue::Counter(more)) => *count = count.saturating_add(more),
            (Some(MetricValue::Gauge(known)), MetricValue::Gauge(gauge)) => *known = gauge,
            (Some(_), _) => return false,
            (None, _) if is_full || !is_metric_name(name) => return false,
            (None, _) => {
                values.insert(name.to_owned(), value);
            }
        }
        true
    }
}

fn is_metric_name(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    (1..=METRIC_NAME_BYTES).contains(&name.len()) && name.bytes().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_bounded_and_what_is_over_is_counted() {
        let dropped = Arc::default();
        let reports = Reports::new(&dropped);
        let call = Used::nothing(false);
        for place in 0..100 {
            reports.add(&call, &format!("name_{place}"), 1);
        }
        for bad in ["", "UPPER", "a b", "a\"} 1\nb", &"x".repeat(65)] {
            reports.add(&call, bad, 1);
        }
        reports.add(&call, "name_0", u64::MAX);
        // Of the wrong kind, and not numbers.
        reports.set(&call, "name_0", 5.0);
        reports.set(&call, "name_1", f64::NAN);
        reports.set(&call, "name_1", f64::INFINITY);
        // A repeated call happened once.
        reports.add(&Used::nothing(true), "name_1", 1);
        let metrics = reports.metrics();
        assert_eq!(metrics.len(), METRIC_NAMES);
        assert_eq!(metrics[0].1, MetricValue::Counter(u64::MAX));
        assert_eq!(metrics[1].1, MetricValue::Counter(1));
        assert_eq!(dropped.metrics.load(Ordering::Relaxed), 100 - 32 + 5 + 3);
    }

    #[test]
    fn lines_are_bounded_by_call_and_by_second() {
        let dropped = Arc::default();
        let reports = Reports::new(&dropped);
        let mut call = Used::nothing(false);
        for _ in 0..LOG_LINES + 5 {
            reports.write(&mut call, "x", Level::INFO, "line");
        }
        reports.write(&mut Used::nothing(true), "x", Level::INFO, "line");
        assert_eq!(dropped.log.load(Ordering::Relaxed), 5);
        let allowance = Allowance::default();
        for second in [0, 1, 7] {
            let taken = (0..1_000).filter(|_| allowance.take(second)).count();
            assert_eq!(taken as u64, LOG_LINES_A_SECOND, "{second}");
        }
    }
}
