//! Whether a run that ends by itself has done its part.
//!
//! Handed now and then how the groups and their partitions stand, and the time; says whether to go on. Reading,
//! settling and stopping happen elsewhere.
//! **Invariant:** a run is done only when no partition that this host was given is behind the end that it had.

use std::collections::BTreeMap;
use std::time::Duration;

/// How long a group with partitions must not have been rebalanced: members hear of a rebalance with their next
/// heartbeat, every 3 s, and more partitions may be on their way until then.
const SETTLED: Duration = Duration::from_secs(3);
/// The same without a partition: a cooperative member gets its partitions only when their owners have given them up.
const SETTLED_EMPTY: Duration = Duration::from_secs(10);
/// How long a topic may be missing.
const MISSING_MAX: Duration = Duration::from_secs(30);
/// How long Kafka may be out of reach.
const OUT_OF_REACH_MAX: Duration = Duration::from_mins(1);
/// How long a group that Kafka answers may go without a first assignment. A member that was killed holds it up for its
/// session timeout, 45 s.
const UNASSIGNED_MAX: Duration = Duration::from_mins(2);

/// How a partition stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Standing {
    /// Records that were there when reading began are not settled, or it is not known yet where they end.
    #[default]
    Behind,
    /// All of them are settled.
    CaughtUp,
    /// The record at this offset holds it.
    Halted(i64),
    /// Somebody has paused a handler of its topic.
    Paused,
    /// No handler reads its topic now.
    Unread,
}

/// A partition and how it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionStanding {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// How it stands.
    pub standing: Standing,
}

/// How a group stands.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GroupStanding {
    /// The group's name.
    pub group: String,
    /// Time since partitions were assigned or revoked, be it none; none before the first assignment.
    pub unchanged_for: Option<Duration>,
    /// The partitions that this host was given.
    pub partitions: Vec<PartitionStanding>,
    /// Subscribed topics that do not exist.
    pub missing_topics: Vec<String>,
    /// Why Kafka is out of reach, if it is.
    pub trouble: Option<String>,
}

/// Whether to go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// There is something to wait for.
    Going,
    /// All partitions are caught up.
    Done,
    /// Nothing is left to wait for, and this is in the way; a line each.
    Stuck(Vec<String>),
}

/// See the module.
#[derive(Debug, Default)]
pub struct CatchUp {
    /// What must not last, and since when it does.
    since: BTreeMap<Trouble, Duration>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Trouble {
    Missing { group: String, topic: String },
    OutOfReach { group: String },
    Unassigned { group: String },
}

impl Trouble {
    fn lasts_at_most(&self) -> Duration {
        match self {
            Self::Missing { .. } => MISSING_MAX,
            Self::OutOfReach { .. } => OUT_OF_REACH_MAX,
            Self::Unassigned { .. } => UNASSIGNED_MAX,
        }
    }
}

impl CatchUp {
    /// Decides, `now` being any time that only grows.
    pub fn look(&mut self, now: Duration, groups: &[GroupStanding]) -> Progress {
        let lasting = self.lasting(now, groups);
        if !lasting.is_empty() {
            return Progress::Stuck(lasting);
        }
        let is_open = |group: &GroupStanding| !group.missing_topics.is_empty() || !is_still(group);
        if groups.iter().any(is_open) {
            return Progress::Going;
        }
        let halted: Vec<String> = groups.iter().flat_map(halted).collect();
        if halted.is_empty() {
            Progress::Done
        } else {
            Progress::Stuck(halted)
        }
    }

    /// Says what has lasted too long.
    fn lasting(&mut self, now: Duration, groups: &[GroupStanding]) -> Vec<String> {
        let troubles: BTreeMap<Trouble, String> = groups.iter().flat_map(troubles).collect();
        self.since
            .retain(|trouble, _| troubles.contains_key(trouble));
        let mut lasting = Vec::new();
        for (trouble, what) in troubles {
            let max = trouble.lasts_at_most();
            let since = *self.since.entry(trouble).or_insert(now);
            if now.saturating_sub(since) >= max {
                lasting.push(format!("{what} (waited {} s)", max.as_secs()));
            }
        }
        lasting
    }
}

/// Whether the group is settled and none of its partitions moves on.
fn is_still(group: &GroupStanding) -> bool {
    let settled = if group.partitions.is_empty() {
        SETTLED_EMPTY
    } else {
        SETTLED
    };
    let is_settled = group.unchanged_for.is_some_and(|since| since >= settled);
    let mut partitions = group.partitions.iter();
    is_settled && partitions.all(|one| one.standing != Standing::Behind)
}

fn halted(group: &GroupStanding) -> impl Iterator<Item = String> {
    group
        .partitions
        .iter()
        .filter_map(|one| match one.standing {
            Standing::Halted(offset) => Some(format!(
                "{}[{}] of group {} halted at offset {offset} (the log says why)",
                one.topic, one.partition, group.group
            )),
            Standing::Paused => Some(format!(
                "{}[{}] of group {} is not caught up, and a handler of it is paused (`kafka-wasm-host resume` lets it go on)",
                one.topic, one.partition, group.group
            )),
            _ => None,
        })
}

fn troubles(group: &GroupStanding) -> Vec<(Trouble, String)> {
    let name = &group.group;
    let mut troubles: Vec<(Trouble, String)> = group
        .missing_topics
        .iter()
        .map(|topic| {
            let what = format!("topic {topic} of group {name} does not exist");
            let (group, topic) = (name.clone(), topic.clone());
            (Trouble::Missing { group, topic }, what)
        })
        .collect();
    if let Some(reason) = &group.trouble {
        let what = format!("group {name} does not reach Kafka: {reason}");
        troubles.push((
            Trouble::OutOfReach {
                group: name.clone(),
            },
            what,
        ));
    } else if group.unchanged_for.is_none() && group.missing_topics.is_empty() {
        let what = format!("group {name} was not given an assignment");
        troubles.push((
            Trouble::Unassigned {
                group: name.clone(),
            },
            what,
        ));
    }
    troubles
}

#[cfg(test)]
mod tests;
