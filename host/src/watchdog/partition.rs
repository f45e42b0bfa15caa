//! What of a partition stands, and what only waits on purpose.
//!
//! **Invariant:** what waits on purpose does not stand: a record before its next attempt, one of a handler that pauses or was
//! paused, a halted partition, and a queue for instances while those who have them get done.

use std::time::Duration;

use super::{Stand, Why};
use crate::vitals::{Doing, InHand};

/// What the client has fetched of a partition, as of its last statistics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fetched {
    /// The next offset to fetch.
    pub(crate) next: i64,
    /// The end of the partition.
    pub(crate) end: i64,
    /// The next offset to take, once one was taken.
    pub(crate) taken: i64,
    /// Records that were fetched and not taken.
    pub(crate) queued: i64,
}

/// Until when a record waits, or waited last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wait {
    /// Any number that is another one for another wait.
    pub(crate) name: u64,
    pub(crate) is_over: bool,
}

/// A partition as it is seen at one look.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct PartitionSight {
    pub(crate) in_hand: Vec<InHand>,
    /// What the lanes of the partition had in hand so far, what those of its handler had, and what all of the host had.
    pub(crate) turns: u64,
    pub(crate) handler_turns: u64,
    pub(crate) host_turns: u64,
    /// The oldest record that was taken and is not complete, and whether it waits.
    pub(crate) oldest: Option<i64>,
    pub(crate) oldest_waits: Option<Wait>,
    /// The next offset to read after a restart, once a record is complete.
    pub(crate) position: Option<i64>,
    /// Whether outputs are under way.
    pub(crate) has_outputs: bool,
    /// Whether it stopped at a record, or a handler is paused.
    pub(crate) is_halted: bool,
    /// Whether Kafka is out of reach, which is told elsewhere.
    pub(crate) is_cut_off: bool,
    pub(crate) fetched: Option<Fetched>,
}

impl PartitionSight {
    /// Lists what stands, each of which may stand for `bound`; what is not fetched, for `fetch_bound`.
    pub(crate) fn stands(&self, bound: Duration, fetch_bound: Duration) -> Vec<Stand> {
        let in_hand = self
            .in_hand
            .iter()
            .filter_map(|hand| self.hand(hand, bound));
        let mut stands: Vec<Stand> = in_hand.collect();
        if self.is_halted || self.is_cut_off {
            return stands;
        }
        stands.extend(match self.oldest {
            Some(oldest) => self.record(oldest, bound),
            None => self.fetch(fetch_bound),
        });
        stands
    }

    /// A record that a lane has in hand.
    fn hand(&self, hand: &InHand, bound: Duration) -> Option<Stand> {
        if self.is_cut_off && hand.doing == Doing::Sending {
            return None;
        }
        let others = match hand.doing {
            Doing::Permit => self.handler_turns,
            Doing::Place => self.host_turns,
            Doing::Handling | Doing::Sending => 0,
            // On purpose, and not for longer than the request says.
            Doing::Response => return None,
        };
        Some(Stand {
            offset: Some(hand.offset),
            mark: (hand.turns, others),
            why: Why::InHand(hand.doing),
            bound,
        })
    }

    /// The record that holds the position, where no lane has it in hand.
    fn record(&self, oldest: i64, bound: Duration) -> Option<Stand> {
        let is_held = self.in_hand.iter().any(|hand| hand.offset == oldest);
        let is_waiting = self.oldest_waits.is_some_and(|wait| !wait.is_over);
        if is_held || is_waiting {
            return None;
        }
        let waited = self.oldest_waits.map_or(0, |wait| wait.name);
        let (why, others) = if self.has_outputs {
            (Why::Unacknowledged, 0)
        } else {
            (Why::Turn, self.turns)
        };
        Some(Stand {
            offset: Some(oldest),
            mark: (waited, others),
            why,
            bound,
        })
    }

    /// Records that are there and were not taken, while nothing else is to be done.
    fn fetch(&self, bound: Duration) -> Option<Stand> {
        let fetched = self.fetched?;
        // Otherwise records were taken since.
        let is_current = self
            .position
            .is_none_or(|position| position <= fetched.taken);
        let why = if !is_current {
            return None;
        } else if fetched.queued > 0 {
            Why::Untaken
        } else if (0..fetched.end).contains(&fetched.next) {
            Why::NotFetched
        } else {
            return None;
        };
        Some(Stand {
            offset: self
                .position
                .or((fetched.queued == 0).then_some(fetched.next)),
            mark: (fetched.next.unsigned_abs(), fetched.taken.unsigned_abs()),
            why,
            bound,
        })
    }
}
