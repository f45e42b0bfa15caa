//! Reading from Kafka: consumers, rebalances, partition queues.
//!
//! Owns every consumer and its thread; hands assigned partitions to a [`Rebalance`] listener.

mod commit;
mod committed;
pub(crate) mod consumer;
mod exactly_once;
#[cfg(test)]
mod hands_on;
mod lag;
mod protocol;
mod queue;
mod rebalance;
mod record;
mod settings;
mod start;
mod status;
mod transactions;

pub(crate) use consumer::{Consumer, Topics};
pub(crate) use lag::{Error as LagError, GroupLag, Reads};
pub(crate) use queue::PartitionQueue;
pub(crate) use rebalance::{Fenced, Position, RebalanceListener};
pub(crate) use record::Record;
pub(crate) use settings::{ConsumerSettings, TransactionSettings};
pub(crate) use status::{FetchedPartitions, SourceStatus};
pub(crate) use transactions::Transactions;
