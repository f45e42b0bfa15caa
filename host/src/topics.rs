//! The topics that handlers need: which these are, and what has to be done for them to exist as they are declared.
//!
//! Handed manifests and what the brokers say, gives a plan. Who asks the brokers, and who carries it out, is elsewhere.
//! **Invariant:** a plan can only add: it has no word for deleting a topic, for taking partitions away or for changing a
//! setting.

mod plan;
#[cfg(test)]
mod tests;
mod wanted;

pub use self::plan::{Aspect, Cluster, Drift, Found, Item, NewTopic, Raise, Seen, Verdict, plan};
pub use self::wanted::{Need, REPLAY_RETENTION_MS, Wanted, conflict, wanted};
