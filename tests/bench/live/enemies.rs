//! What a tenant can do that others might feel.
//!
//! **Invariant:** each does its deed for as long as it is let, with all the partitions that it has.

use harness::kafka::unique;
use harness::{Kafka, TestRecord, clients};

use anyhow::Result;

use crate::inputs::PARTITIONS;

/// What an enemy does.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Deed {
    /// So many records that say so, to the fixture `act`.
    Records(&'static str, u32),
    /// A new component again and again.
    Compile,
}

/// An enemy, by a name for the table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Enemy {
    pub(crate) name: &'static str,
    pub(crate) deed: Deed,
}

/// Fails at once, or is killed at once.
const QUICK: u32 = 50_000;
/// Takes a millisecond or more.
const SLOW: u32 = 5_000;

/// All of them.
pub(crate) const ENEMIES: [Enemy; 11] = [
    enemy("works off a backlog", "ok", 400_000),
    enemy("computes for 50 ms a record", "work 50", SLOW),
    enemy("does not return", "spin", SLOW),
    enemy("sleeps", "sleep 600000", SLOW),
    enemy("calls the host without end", "spam", SLOW),
    enemy("takes memory beyond its limit", "alloc 200", QUICK),
    enemy("recurses without end", "recurse", QUICK),
    enemy("fails, and is retried", "other poison", QUICK),
    enemy("emits until it is refused", "emit-flood", SLOW),
    enemy("floods the log", "log-many 10000 flood", SLOW),
    Enemy {
        name: "has components compiled",
        deed: Deed::Compile,
    },
];

const fn enemy(name: &'static str, value: &'static str, count: u32) -> Enemy {
    Enemy {
        name,
        deed: Deed::Records(value, count),
    }
}

/// Quotas that a host might give to somebody whom it does not trust.
pub(crate) const QUOTAS: &str = "memory-mib = 32\ndeadline-ms = 100\ncpu-percent = 20\n\
    records-per-s = 1000\nemit-records-per-s = 1000\nemit-mib-per-s = 1\nlog-lines-per-s = 100\n";

/// What its manifest says, where its tenant has no quotas and where it has.
pub(crate) fn manifest(has_quotas: bool) -> &'static str {
    if has_quotas {
        "retry.max-attempts = 3\nretry.initial-ms = 10\n"
    } else {
        "retry.max-attempts = 3\nretry.initial-ms = 10\nlimits.memory-mib = 64\n"
    }
}

impl Enemy {
    /// Writes what it is to be handed, in equal parts to all partitions.
    pub(crate) fn write(&self, kafka: &Kafka, topic: &str) -> Result<()> {
        let Deed::Records(value, count) = self.deed else {
            return Ok(());
        };
        let key = unique("deed");
        let records = (0..count).map(|nth| {
            let partition = i32::try_from(nth).unwrap_or_default() % PARTITIONS;
            TestRecord::new(key.as_str(), value).on(partition)
        });
        clients::produce_records(kafka.bootstrap(), topic, records).map(drop)
    }
}
