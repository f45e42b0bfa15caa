//! The wasmtime engine that all guests share, and its ticking clock; and the one without a clock for those that are trusted.
//!
//! **Invariant:** every instance of the engine can be interrupted within one tick, except those of tenants that whoever runs the
//! host has named.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use wasmtime::component::Linker;
use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

use super::aot::AotCache;
use super::clock::Clock;
use super::library::Library;
use super::places::Places;
use super::slow::Slow;
use super::state::GuestState;
use super::{Error, imports, machine};

/// How often a running guest looks whether its deadline has passed.
pub(super) const TICK: Duration = Duration::from_millis(10);

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
    pub(super) library: Library,
    instances_max: u32,
    /// Whether what it runs can be interrupted.
    pub(super) is_interruptible: bool,
    /// The one for what cannot, made when it is wanted: it takes as much room for addresses as this one.
    trusting: Arc<Mutex<Option<Trusting>>>,
}

/// What is another one for guests that cannot be interrupted.
#[derive(Clone)]
struct Trusting {
    engine: Engine,
    linker: Arc<Linker<GuestState>>,
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
        let (engine, linker) = engine(instances_max, true)?;
        if let Some(why) = machine::forbids_code(&engine) {
            return Err(Error::Forbidden(why));
        }
        start_ticker(&engine)?;
        Ok(Self {
            engine,
            linker,
            cache: cache.map(Arc::new),
            clock: Arc::default(),
            places: Arc::new(Places::new(instances_max)),
            slow: Slow::default(),
            library: Library::default(),
            instances_max,
            is_interruptible: true,
            trusting: Arc::default(),
        })
    }

    /// Returns what runs guests that are trusted, or that are not.
    pub(crate) fn of(&self, is_trusted: bool) -> Result<Self, Error> {
        if !is_trusted {
            return Ok(self.clone());
        }
        let mut made = self.trusting.lock();
        let trusting = if let Some(trusting) = &*made {
            trusting.clone()
        } else {
            let (engine, linker) = engine(self.instances_max, false)?;
            made.insert(Trusting { engine, linker }).clone()
        };
        Ok(Self {
            engine: trusting.engine,
            linker: trusting.linker,
            is_interruptible: false,
            ..self.clone()
        })
    }

    /// Returns the places that instances of records take.
    pub(crate) fn places(&self) -> &Arc<Places> {
        &self.places
    }
}

/// Makes an engine for so many instances at once, and what they import.
fn engine(
    instances_max: u32,
    is_interruptible: bool,
) -> Result<(Engine, Arc<Linker<GuestState>>), Error> {
    let instances = instances_max.saturating_add(TRIALS);
    let engine = Engine::new(&config(instances, is_interruptible)).map_err(|error| {
        let why = machine::too_little_space(instances_max, instances);
        why.map_or(Error::Engine(error), Error::Forbidden)
    })?;
    let mut linker = Linker::new(&engine);
    imports::add_to_linker(&mut linker).map_err(Error::Engine)?;
    Ok((engine, Arc::new(linker)))
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

fn config(instances_max: u32, is_interruptible: bool) -> Config {
    let mut pool = PoolingAllocationConfig::default();
    // A component consists of several core instances (its own, adapters) and of up to two tables.
    pool.total_component_instances(instances_max)
        .total_core_instances(instances_max.saturating_mul(4))
        .total_memories(instances_max)
        .total_tables(instances_max.saturating_mul(2))
        .total_stacks(instances_max);
    let mut config = Config::new();
    config
        .epoch_interruption(is_interruptible)
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
    fn what_is_compiled_for_one_engine_is_not_taken_for_the_other() {
        use std::hash::{DefaultHasher, Hash as _, Hasher as _};
        let hash = |runtime: &Runtime| {
            let mut hasher = DefaultHasher::new();
            let compatible = runtime.engine.precompile_compatibility_hash();
            compatible.hash(&mut hasher);
            hasher.finish()
        };
        let runtime = Runtime::new(1, None).unwrap();
        let trusting = runtime.of(true).unwrap();
        assert_ne!(hash(&runtime), hash(&trusting));
        assert!(Engine::same(
            &trusting.engine,
            &runtime.of(true).unwrap().engine
        ));
    }

    #[test]
    fn no_more_instances_are_promised_than_the_system_can_map() {
        assert_eq!(too_few_mappings(9075, 65_530), None);
        let what = too_few_mappings(9076, 65_530).unwrap();
        assert!(what.contains("vm.max_map_count=65532"), "{what}");
        assert!(what.contains("at most 9075 instances"), "{what}");
    }
}
