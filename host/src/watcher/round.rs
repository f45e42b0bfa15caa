//! One look at all that is watched.
//!
//! **Invariant:** a lock is held for as long as it takes to copy what it guards, one at a time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::assignment::PartitionVitals;
use crate::catalog::{Catalog, Deployed, GroupKey, Handing};
use crate::ids::HandlerId;
use crate::source::FetchedPartitions;
use crate::subscriptions::GroupVitals;
use crate::vitals::InHand;
use crate::watchdog::{PartitionSight, Stand, Wait, WatchPolicy, Why};

/// The client's statistics are made every five seconds, so what they tell may be as old as two of them.
const STATISTICS_AGE: Duration = Duration::from_secs(10);

/// What is watched.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Subject {
    /// The thread of a group's consumer.
    Consumer(GroupKey),
    /// A partition that a group reads here.
    Partition(GroupKey, Arc<str>, i32),
}

/// What was seen.
#[derive(Debug, Default)]
pub(super) struct Round {
    pub(super) sights: BTreeMap<Subject, Vec<Stand>>,
    /// Who handles the partitions.
    pub(super) handlers: BTreeMap<Subject, HandlerId>,
}

/// A partition with what its lanes have in hand.
struct Looked<'a> {
    group: &'a GroupKey,
    partition: &'a PartitionVitals,
    handler: Arc<Deployed>,
    in_hand: Vec<InHand>,
    turns: u64,
    is_cut_off: bool,
    fetched: Arc<FetchedPartitions>,
}

impl Round {
    /// Looks at the groups; `begun` is any moment of the past that stays the same.
    pub(super) fn new(
        groups: &[GroupVitals],
        catalog: &Catalog,
        policy: &WatchPolicy,
        drain_timeout: Duration,
        begun: Instant,
    ) -> Self {
        let mut round = Self::default();
        if let Some(bound) = policy.poll_late_after {
            for group in groups {
                let is_draining = group.status.is_draining();
                let more = if is_draining {
                    drain_timeout
                } else {
                    Duration::ZERO
                };
                let stand = Stand {
                    offset: None,
                    mark: (group.status.rounds(), 0),
                    why: Why::Poll,
                    bound: bound + more,
                };
                let subject = Subject::Consumer(group.key.clone());
                round.sights.insert(subject, vec![stand]);
            }
        }
        if let Some(bound) = policy.stall_after {
            round.look_at_partitions(groups, catalog, bound, begun);
        }
        round
    }

    fn look_at_partitions(
        &mut self,
        groups: &[GroupVitals],
        catalog: &Catalog,
        bound: Duration,
        begun: Instant,
    ) {
        let looked: Vec<Looked<'_>> = groups
            .iter()
            .flat_map(|group| looked(group, catalog))
            .collect();
        // Who queues for an instance waits for all that have one.
        let mut turns: BTreeMap<&HandlerId, u64> = BTreeMap::new();
        for partition in &looked {
            *turns.entry(&partition.handler.id).or_default() += partition.turns;
        }
        let host_turns = turns.values().sum();
        for one in &looked {
            let handler_turns = turns.get(&one.handler.id).copied().unwrap_or_default();
            let sight = one.sight(handler_turns, host_turns, begun);
            let bound = bound + gathering(&one.handler);
            let PartitionVitals {
                topic, partition, ..
            } = one.partition;
            let subject = Subject::Partition(one.group.clone(), Arc::clone(topic), *partition);
            self.sights
                .insert(subject.clone(), sight.stands(bound, bound + STATISTICS_AGE));
            self.handlers.insert(subject, one.handler.id.clone());
        }
    }
}

/// The partitions of a group for which there is a handler.
fn looked<'a>(
    group: &'a GroupVitals,
    catalog: &'a Catalog,
) -> impl Iterator<Item = Looked<'a>> + 'a {
    let (is_cut_off, fetched) = (group.status.trouble().is_some(), group.status.fetched());
    group.partitions.iter().filter_map(move |partition| {
        let handler = catalog
            .readers(&group.key, &partition.topic)
            .into_iter()
            .next()?;
        let (in_hand, turns) = partition.vitals.hands();
        Some(Looked {
            group: &group.key,
            partition,
            handler,
            in_hand,
            turns,
            is_cut_off,
            fetched: Arc::clone(&fetched),
        })
    })
}

/// How long records wait for others that make up a batch with them.
fn gathering(handler: &Deployed) -> Duration {
    match handler.handing() {
        Handing::Singles => Duration::ZERO,
        Handing::Batches | Handing::ByLag(_) => handler.manifest.bulk.unwrap_or_default().max_wait,
    }
}

impl Looked<'_> {
    fn sight(&self, handler_turns: u64, host_turns: u64, begun: Instant) -> PartitionSight {
        let PartitionVitals {
            topic,
            partition,
            ledger,
            vitals,
        } = self.partition;
        let (oldest, position, has_outputs) = ledger.front();
        let oldest_waits = oldest.and_then(|oldest| vitals.waits_until(oldest));
        let oldest_waits = oldest_waits.map(|until| Wait {
            name: u64::try_from(until.saturating_duration_since(begun).as_nanos())
                .unwrap_or(u64::MAX),
            is_over: until <= Instant::now(),
        });
        PartitionSight {
            in_hand: self.in_hand.clone(),
            turns: self.turns,
            handler_turns,
            host_turns,
            oldest,
            oldest_waits,
            position,
            has_outputs,
            is_halted: vitals.stands() || vitals.is_held_back(),
            is_cut_off: self.is_cut_off,
            fetched: self
                .fetched
                .get(&**topic)
                .and_then(|partitions| partitions.get(partition).copied()),
        }
    }
}
