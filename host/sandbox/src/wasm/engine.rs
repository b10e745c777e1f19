//! The engine that all components share, and the ticker that stops those that do not end.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{self, Thread};
use std::time::Duration;

use wasmtime::{Cache, CacheConfig, Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

use crate::limits::Limits;

/// How often guests are looked at that were found running by a look before.
const TICK: Duration = Duration::from_millis(1);

/// How long nothing is called before nobody looks any more, beyond the longest deadline.
const IDLE: Duration = Duration::from_secs(1);

/// Core instances, memories and tables that one component may be made of. Rust needs an adapter or two
/// around its module; Python is 38 instances, as each library of its interpreter is one. How many there
/// may be is no more than a count.
const CORE_INSTANCES: u32 = 48;
const MEMORIES: u32 = 2;
const TABLES: u32 = 8;
const TABLE_ELEMENTS: usize = 20_000;

/// An engine and its ticker.
#[derive(Clone)]
pub struct WasmEngine {
    engine: Engine,
    limits: Arc<Limits>,
    ticking: Arc<Ticking>,
}

/// Makes running guests look at their deadlines: seldom, as most calls are over long before, and often once one was
/// found running, as it may come to its end. Stands still when nothing was called for a while.
#[derive(Default)]
pub(super) struct Ticker {
    /// Something was called since the last look.
    called: AtomicBool,
    /// A guest was found running.
    found: AtomicBool,
    /// The thread waits until something is called.
    resting: AtomicBool,
    /// The engine is gone.
    ended: AtomicBool,
    thread: OnceLock<Thread>,
}

impl Ticker {
    /// A call begins, or goes on. It is looked at from now on.
    pub(super) fn stir(&self) {
        if !self.called.load(Ordering::Relaxed) {
            self.called.store(true, Ordering::SeqCst);
        }
        if self.resting.load(Ordering::SeqCst) {
            self.wake();
        }
    }

    /// A guest looks at its deadline: the next look comes soon.
    pub(super) fn found(&self) {
        self.called.store(true, Ordering::SeqCst);
        if !self.found.swap(true, Ordering::SeqCst) {
            self.wake();
        }
    }

    fn wake(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }

    /// Ticks until there is nothing to tick for: every `seldom`, unless a guest was found running. Rests after
    /// `idle` ticks without a call.
    fn run(&self, seldom: Duration, idle: u32, tick: impl Fn() -> bool) {
        let mut quiet = 0;
        while !self.ended.load(Ordering::Relaxed) {
            if self.called.swap(false, Ordering::SeqCst) {
                quiet = 0;
            } else if quiet < idle {
                quiet += 1;
            } else {
                self.resting.store(true, Ordering::SeqCst);
                // Whoever calls from here on sees it resting; whoever called just before is seen here.
                while !self.called.load(Ordering::SeqCst) && !self.ended.load(Ordering::Relaxed) {
                    thread::park();
                }
                self.resting.store(false, Ordering::SeqCst);
                continue;
            }
            if self.found.swap(false, Ordering::SeqCst) {
                thread::sleep(TICK);
            } else {
                thread::park_timeout(seldom);
            }
            if !tick() {
                return;
            }
        }
    }
}

/// Ends the thread with the last engine.
struct Ticking(Arc<Ticker>);

impl Drop for Ticking {
    fn drop(&mut self) {
        self.0.ended.store(true, Ordering::SeqCst);
        self.0.wake();
    }
}

/// The engine cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("the WASM engine cannot be made: {0}")]
pub struct EngineError(String);

impl WasmEngine {
    /// Makes the engine. Compiled code is kept in `cache`, which only this host may write to.
    pub fn new(limits: Arc<Limits>, cache: Option<&Path>) -> Result<Self, EngineError> {
        let error = |cause: wasmtime::Error| EngineError(format!("{cause:#}"));
        let mut config = Config::new();
        // A synchronous call costs 0.12 µs this way and 0.45 µs or more with concurrency support.
        config.concurrency_support(false);
        config.epoch_interruption(true);
        config.max_wasm_stack(limits.stack_bytes);
        // The same input must give the same plan on every machine.
        config.cranelift_nan_canonicalization(true);
        config.wasm_relaxed_simd(true);
        config.relaxed_simd_deterministic(true);
        // Compiling runs on one thread of low priority: requests have the others.
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pooling(&limits)));
        if let Some(directory) = cache {
            let mut settings = CacheConfig::new();
            settings.with_directory(directory);
            config.cache(Some(Cache::new(settings).map_err(error)?));
        }
        let engine = Engine::new(&config).map_err(error)?;
        let ticking = start_ticking(&engine, &limits);
        let ticking = ticking.map_err(|cause| EngineError(format!("no thread for deadlines: {cause}")))?;
        Ok(Self { engine, limits, ticking: Arc::new(ticking) })
    }

    /// Places of instances that are taken.
    pub fn instances(&self) -> u64 {
        self.engine.pooling_allocator_metrics().map_or(0, |pool| pool.component_instances())
    }

    /// Makes running guests look at their deadlines.
    pub(super) fn ticker(&self) -> &Arc<Ticker> {
        &self.ticking.0
    }

    /// The engine.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The bounds that it was made with.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }
}

fn pooling(limits: &Limits) -> PoolingAllocationConfig {
    let workers = thread::available_parallelism().map_or(2, usize::from);
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(limits.instances);
    pool.total_core_instances(limits.instances * CORE_INSTANCES);
    pool.total_memories(limits.instances);
    pool.total_tables(limits.instances * TABLES);
    pool.max_core_instances_per_component(CORE_INSTANCES);
    pool.max_memories_per_component(MEMORIES);
    pool.max_tables_per_component(TABLES);
    pool.table_elements(TABLE_ELEMENTS);
    pool.max_memory_size(limits.memory_bytes.max(limits.interpreter_memory_bytes));
    pool.max_unused_warm_slots(u32::try_from(2 * workers).unwrap_or(u32::MAX));
    // A megabyte of what the last guest used stays mapped for the next; more would add up.
    pool.linear_memory_keep_resident(256 * 1024);
    pool.table_keep_resident(16 * 1024);
    // Where the kernel can say which pages were written, only these are put back, and none is unmapped.
    pool.pagemap_scan(wasmtime::Enabled::Auto);
    pool
}

fn start_ticking(engine: &Engine, limits: &Limits) -> std::io::Result<Ticking> {
    let engine = engine.weak();
    let ticker = Arc::<Ticker>::default();
    let (shortest, longest) = limits.deadlines();
    // The first look at a guest comes before half of its deadline is over.
    let seldom = (shortest / 2).max(TICK);
    // One that waits for the host is not found: the longest deadline is not slept through.
    let idle = (longest + IDLE).as_nanos() / seldom.as_nanos();
    let idle = u32::try_from(idle).unwrap_or(u32::MAX);
    let running = Arc::clone(&ticker);
    let tick = move || {
        engine.upgrade().is_some_and(|engine| {
            engine.increment_epoch();
            true
        })
    };
    let thread =
        thread::Builder::new().name("policy-ticker".to_owned()).spawn(move || running.run(seldom, idle, tick))?;
    let _ = ticker.thread.set(thread.thread().clone());
    Ok(Ticking(ticker))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;
    use std::thread::JoinHandle;

    use super::*;

    /// A ticker at work, and the ticks that it has made.
    fn started(seldom: Duration, idle: u32) -> (Arc<Ticker>, Arc<AtomicU64>, JoinHandle<()>) {
        let (ticker, ticks) = (Arc::<Ticker>::default(), Arc::<AtomicU64>::default());
        let (running, counted) = (Arc::clone(&ticker), Arc::clone(&ticks));
        let tick = move || {
            counted.fetch_add(1, Ordering::SeqCst);
            true
        };
        let thread = thread::spawn(move || running.run(seldom, idle, tick));
        let _ = ticker.thread.set(thread.thread().clone());
        (ticker, ticks, thread)
    }

    #[test]
    fn the_ticker_rests_and_is_woken_by_a_call() {
        let (ticker, ticks, thread) = started(TICK, 2);
        for _ in 0..3 {
            while !ticker.resting.load(Ordering::SeqCst) {
                thread::yield_now();
            }
            let rested = ticks.load(Ordering::SeqCst);
            ticker.stir();
            // One that goes on resting never gets there.
            while ticks.load(Ordering::SeqCst) == rested {
                thread::yield_now();
            }
        }
        drop(Ticking(ticker));
        thread.join().unwrap();
    }

    #[test]
    fn a_guest_that_is_found_running_is_looked_at_again_soon() {
        let (ticker, ticks, thread) = started(Duration::from_secs(3_600), 1);
        for looked in 0..3 {
            // Else it comes after an hour.
            ticker.found();
            while ticks.load(Ordering::SeqCst) <= looked {
                thread::yield_now();
            }
        }
        drop(Ticking(ticker));
        thread.join().unwrap();
    }
}
