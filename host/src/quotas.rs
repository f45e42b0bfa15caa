//! How much a tenant's handlers may have of the host, each of them and together.
//!
//! Handed the quotas of a `tenant.toml` and what a manifest asks for, lowers what the manifest left at its default and tells
//! what is too much.
//! **Invariant:** limits that come out of [`Quotas::fit`] without a problem are within the quotas.

use std::fmt;
use std::time::Duration;

use crate::duration::millis;
use crate::policy::Limits;
use crate::rate::{Rate, Rates};

const MIB: usize = 1 << 20;

/// See the module; what is left out is not bounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Quotas {
    /// Handlers that the tenant may have on a host.
    pub handlers: Option<usize>,
    /// Bytes that the file of a component may have.
    pub component_bytes: Option<usize>,
    /// Time that a component may take to compile.
    pub compile: Option<Duration>,
    /// Bytes of linear memory that one instance may have.
    pub memory_bytes: Option<usize>,
    /// Time that one call may take.
    pub deadline: Option<Duration>,
    /// Bytes of records and outputs that a partition may have in flight.
    pub in_flight_bytes: Option<usize>,
    /// Requests of a handler that may wait at once.
    pub pending_requests: Option<usize>,
    /// What they may use by the second, all of them together on a host.
    pub rates: Rates,
}

/// A quota, and what is beyond it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beyond {
    /// The key of the tenant's file.
    pub quota: &'static str,
    /// What asks for more: a key of the manifest, a file, the tenant's handlers.
    pub what: String,
    /// How much.
    pub asked: u64,
    /// How much there may be.
    pub max: u64,
    unit: &'static str,
}

impl fmt::Display for Beyond {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            quota,
            what,
            asked,
            max,
            unit,
        } = self;
        write!(
            f,
            "{what} is {asked} {unit}, more than the {max} that {quota} of the tenant allows (ask for less, or raise the quota)"
        )
    }
}

impl Quotas {
    /// Lowers limits that have their default to what the tenant may have; lists those that ask for more.
    pub fn fit(&self, limits: &mut Limits) -> Vec<Beyond> {
        let default = Limits::DEFAULT;
        let mut beyond = Vec::new();
        let mut tell = |quota, what: &str, asked, max, unit| {
            beyond.push(Beyond {
                quota,
                what: what.to_owned(),
                asked,
                max,
                unit,
            });
        };
        if let Some((asked, max)) = lower(
            &mut limits.memory_bytes,
            default.memory_bytes,
            self.memory_bytes,
        ) {
            tell(
                "quotas.memory-mib",
                "limits.memory-mib",
                mib(asked),
                mib(max),
                "MiB",
            );
        }
        if let Some((asked, max)) = lower(&mut limits.deadline, default.deadline, self.deadline) {
            tell(
                "quotas.deadline-ms",
                "limits.deadline-ms",
                millis(asked),
                millis(max),
                "ms",
            );
        }
        let in_flight = &mut limits.in_flight_bytes;
        if let Some((asked, max)) = lower(in_flight, default.in_flight_bytes, self.in_flight_bytes)
        {
            tell(
                "quotas.in-flight-mib",
                "limits.in-flight-mib",
                mib(asked),
                mib(max),
                "MiB",
            );
        }
        let pending = &mut limits.pending_requests;
        if let Some((asked, max)) = lower(pending, default.pending_requests, self.pending_requests)
        {
            let (key, quota) = ("limits.pending-requests", "quotas.pending-requests");
            tell(quota, key, asked as u64, max as u64, "requests");
        }
        beyond
    }

    /// Lists the quotas, as their keys have them.
    pub fn lines(&self) -> Vec<String> {
        let bytes = |it: Option<usize>| it.map(mib);
        let all = [
            ("handlers", self.handlers.map(|it| it as u64)),
            ("component-mib", bytes(self.component_bytes)),
            ("compile-ms", self.compile.map(millis)),
            ("memory-mib", bytes(self.memory_bytes)),
            ("deadline-ms", self.deadline.map(millis)),
            ("in-flight-mib", bytes(self.in_flight_bytes)),
            (
                "pending-requests",
                self.pending_requests.map(|it| it as u64),
            ),
        ];
        let rates = Rate::ALL.map(|rate| (rate.as_str(), self.rates.quota(rate)));
        let all = all.into_iter().chain(rates);
        let given = all.filter_map(|(key, max)| Some((key, max?)));
        given.map(|(key, max)| format!("{key} {max}")).collect()
    }

    /// Returns what is wrong with a component of so many bytes, if it is too large.
    pub fn component(&self, bytes: u64) -> Option<Beyond> {
        let max = self.component_bytes? as u64;
        (bytes > max).then(|| Beyond {
            quota: "quotas.component-mib",
            what: "the file".to_owned(),
            asked: bytes.div_ceil(MIB as u64),
            max: max / MIB as u64,
            unit: "MiB",
        })
    }

    /// Returns what is wrong with a component that took so long to compile, if that is too long.
    pub fn compiling(&self, took: Duration) -> Option<Beyond> {
        let max = self.compile.filter(|max| took > *max)?;
        Some(Beyond {
            quota: "quotas.compile-ms",
            what: "the time to compile it".to_owned(),
            asked: millis(took).max(millis(max) + 1),
            max: millis(max),
            unit: "ms",
        })
    }

    /// Returns why a tenant that has so many handlers on the host may not have another one, if it may not.
    pub fn another_handler(&self, has: usize) -> Option<Beyond> {
        let max = self.handlers?;
        (has >= max).then(|| Beyond {
            quota: "quotas.handlers",
            what: "with this one the tenant".to_owned(),
            asked: has as u64 + 1,
            max: max as u64,
            unit: "handlers",
        })
    }
}

/// Lowers a limit that has its default; returns it with what it may be where it is more.
fn lower<T: PartialOrd + Copy>(limit: &mut T, default: T, max: Option<T>) -> Option<(T, T)> {
    let max = max.filter(|max| *limit > *max)?;
    if *limit == default {
        *limit = max;
        return None;
    }
    Some((*limit, max))
}

fn mib(bytes: usize) -> u64 {
    (bytes / MIB) as u64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_left_at_its_default_is_lowered_and_what_is_asked_for_is_told() {
        let quotas = Quotas {
            memory_bytes: Some(32 * MIB),
            deadline: Some(Duration::from_millis(500)),
            ..Quotas::default()
        };
        let mut limits = Limits::DEFAULT;
        assert_eq!(quotas.fit(&mut limits), []);
        assert_eq!(limits.memory_bytes, 32 * MIB);
        assert_eq!(limits.deadline, Duration::from_millis(500));
        assert_eq!(limits.pending_requests, Limits::DEFAULT.pending_requests);
        let mut limits = Limits {
            memory_bytes: 128 * MIB,
            ..Limits::DEFAULT
        };
        let told = quotas.fit(&mut limits);
        assert_eq!(
            told[0].to_string(),
            "limits.memory-mib is 128 MiB, more than the 32 that quotas.memory-mib of the tenant allows (ask for less, or raise \
             the quota)"
        );
    }

    #[test]
    fn files_and_handlers_are_counted() {
        let quotas = Quotas {
            handlers: Some(2),
            component_bytes: Some(MIB),
            ..Quotas::default()
        };
        assert_eq!(quotas.component(MIB as u64), None);
        assert_eq!(quotas.component(MIB as u64 + 1).unwrap().asked, 2);
        assert_eq!(quotas.another_handler(1), None);
        assert_eq!(quotas.another_handler(2).unwrap().asked, 3);
        assert_eq!(Quotas::default().another_handler(1_000_000), None);
        assert_eq!(Quotas::default().component(u64::MAX), None);
    }

    #[test]
    fn a_compilation_has_its_time_and_no_more() {
        let quotas = Quotas {
            compile: Some(Duration::from_millis(100)),
            ..Quotas::default()
        };
        assert_eq!(quotas.compiling(Duration::from_millis(100)), None);
        let beyond = quotas.compiling(Duration::from_micros(100_001)).unwrap();
        assert_eq!((beyond.asked, beyond.max), (101, 100));
        assert_eq!(Quotas::default().compiling(Duration::MAX), None);
    }

    proptest! {
        #[test]
        fn limits_without_a_problem_are_within_the_quotas(
            memory in proptest::option::of(1usize..200),
            in_flight in proptest::option::of(1usize..50),
            pending in proptest::option::of(1usize..3000),
            asked in (1usize..200, 1usize..50, 1usize..3000),
            given: [bool; 3],
        ) {
            let quotas = Quotas {
                memory_bytes: memory.map(|it| it * MIB),
                in_flight_bytes: in_flight.map(|it| it * MIB),
                pending_requests: pending,
                ..Quotas::default()
            };
            let default = Limits::DEFAULT;
            let before = Limits {
                memory_bytes: if given[0] { asked.0 * MIB } else { default.memory_bytes },
                in_flight_bytes: if given[1] { asked.1 * MIB } else { default.in_flight_bytes },
                pending_requests: if given[2] { asked.2 } else { default.pending_requests },
                ..default
            };
            let mut limits = before;
            let told = quotas.fit(&mut limits);
            let within = [
                quotas.memory_bytes.is_none_or(|max| limits.memory_bytes <= max),
                quotas.in_flight_bytes.is_none_or(|max| limits.in_flight_bytes <= max),
                quotas.pending_requests.is_none_or(|max| limits.pending_requests <= max),
            ];
            prop_assert_eq!(told.len(), within.iter().filter(|it| !**it).count());
            // Nothing is raised.
            prop_assert!(limits.memory_bytes <= before.memory_bytes);
            prop_assert!(limits.pending_requests <= before.pending_requests);
        }
    }
}
