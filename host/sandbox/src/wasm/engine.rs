//! The engine that all components share, and the ticker that stops those that do not end.

use std::path::Path;
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use wasmtime::{Cache, CacheConfig, Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

use crate::limits::Limits;

/// How often running guests are looked at.
pub(super) const TICK: Duration = Duration::from_millis(1);

/// Core instances, memories and tables that one component may be made of: an adapter or two around
/// its module.
const CORE_INSTANCES: u32 = 8;
const MEMORIES: u32 = 2;
const TABLES: u32 = 8;
const TABLE_ELEMENTS: usize = 20_000;

/// An engine and its ticker.
#[derive(Clone)]
pub struct WasmEngine {
    engine: Engine,
    limits: Arc<Limits>,
    _ticker: Arc<Ticker>,
}

/// Lives as long as an engine does; the ticking thread ends with it.
struct Ticker;

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
        let ticker = Arc::new(Ticker);
        start_ticking(&engine, &ticker).map_err(|cause| EngineError(format!("no thread for deadlines: {cause}")))?;
        Ok(Self { engine, limits, _ticker: ticker })
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
    pool
}

fn start_ticking(engine: &Engine, ticker: &Arc<Ticker>) -> std::io::Result<()> {
    let engine = engine.weak();
    let alive: Weak<Ticker> = Arc::downgrade(ticker);
    thread::Builder::new().name("policy-ticker".to_owned()).spawn(move || {
        while alive.strong_count() > 0 {
            thread::sleep(TICK);
            match engine.upgrade() {
                Some(engine) => engine.increment_epoch(),
                None => return,
            }
        }
    })?;
    Ok(())
}
