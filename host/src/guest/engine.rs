//! The wasmtime engine that all guests share, and its ticking clock.
//!
//! **Invariant:** every instance of this engine can be interrupted within one tick.

use std::sync::Arc;
use std::time::Duration;

use wasmtime::component::Linker;
use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

use super::aot::AotCache;
use super::clock::Clock;
use super::places::Places;
use super::slow::Slow;
use super::state::GuestState;
use super::{Error, imports, machine};

/// How often a running guest looks whether its deadline has passed.
const TICK: Duration = Duration::from_millis(10);

/// Instances beyond the bound, for trials of what is deployed: they must not wait for records.
const TRIALS: u32 = 4;

/// Mappings of memory that one instance takes, as measured: its linear memory, its stack, tables, and what guards them.
const MAPPINGS_EACH: u64 = 7;
/// Those of the rest of the host, with room to spare.
const MAPPINGS_BESIDE: u64 = 2000;

/// The engine, the linker and the cache of compiled components.
#[derive(Clone)]
pub(crate) struct Runtime {
    pub(super) engine: Engine,
    pub(super) linker: Arc<Linker<GuestState>>,
    pub(super) cache: Option<Arc<AotCache>>,
    pub(super) clock: Arc<Clock>,
    places: Arc<Places>,
    pub(super) slow: Slow,
}

impl std::fmt::Debug for Runtime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runtime")
            .field("cache", &self.cache)
            .finish_non_exhaustive()
    }
}

impl Runtime {
    /// Makes an engine for at most `instances_max` instances at once and starts its ticker.
    pub(crate) fn new(instances_max: u32, cache: Option<AotCache>) -> Result<Self, Error> {
        if let Some(allowed) = mappings_allowed()
            && let Some(what) = too_few_mappings(instances_max, allowed)
        {
            return Err(Error::Mappings(what));
        }
        let instances = instances_max.saturating_add(TRIALS);
        let engine = Engine::new(&config(instances)).map_err(|error| {
            let why = machine::too_little_space(instances_max, instances);
            why.map_or(Error::Engine(error), Error::Forbidden)
        })?;
        if let Some(why) = machine::forbids_code(&engine) {
            return Err(Error::Forbidden(why));
        }
        start_ticker(&engine)?;
        let mut linker = Linker::new(&engine);
        imports::add_to_linker(&mut linker).map_err(Error::Engine)?;
        Ok(Self {
            engine,
            linker: Arc::new(linker),
            cache: cache.map(Arc::new),
            clock: Arc::default(),
            places: Arc::new(Places::new(instances_max)),
            slow: Slow::default(),
        })
    }

    /// Returns the places that instances of records take.
    pub(crate) fn places(&self) -> &Arc<Places> {
        &self.places
    }
}

/// Returns how many mappings of memory the system allows a process, where it says so.
fn mappings_allowed() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/sys/vm/max_map_count").ok()?;
    text.trim().parse().ok()
}

/// Returns what is to be done where so many instances could not live: each that cannot would fail its record.
fn too_few_mappings(instances_max: u32, allowed: u64) -> Option<String> {
    let needed = u64::from(instances_max) * MAPPINGS_EACH + MAPPINGS_BESIDE;
    let possible = allowed.saturating_sub(MAPPINGS_BESIDE) / MAPPINGS_EACH;
    (needed > allowed).then(|| {
        format!(
            "instances-max is {instances_max}, for which the system has to allow {needed} mappings of memory, and it allows \
             {allowed} (sysctl -w vm.max_map_count={needed}, or at most {possible} instances)"
        )
    })
}

fn config(instances_max: u32) -> Config {
    let mut pool = PoolingAllocationConfig::default();
    // A component consists of several core instances (its own, adapters) and of up to two tables.
    pool.total_component_instances(instances_max)
        .total_core_instances(instances_max.saturating_mul(4))
        .total_memories(instances_max)
        .total_tables(instances_max.saturating_mul(2))
        .total_stacks(instances_max);
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        // No `async func` exports yet: that more than halves the cost of a call.
        .concurrency_support(false)
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    config
}

fn start_ticker(engine: &Engine) -> Result<(), Error> {
    let weak = engine.weak();
    std::thread::Builder::new()
        .name("epoch ticker".to_owned())
        .spawn(move || {
            while let Some(engine) = weak.upgrade() {
                engine.increment_epoch();
                drop(engine);
                std::thread::sleep(TICK);
            }
        })
        .map(drop)
        .map_err(Error::Ticker)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_instances_are_promised_than_the_system_can_map() {
        assert_eq!(too_few_mappings(9075, 65_530), None);
        let what = too_few_mappings(9076, 65_530).unwrap();
        assert!(what.contains("vm.max_map_count=65532"), "{what}");
        assert!(what.contains("at most 9075 instances"), "{what}");
    }
}
