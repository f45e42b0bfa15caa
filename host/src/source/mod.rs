//! Reading from Kafka: consumers, rebalances, partition queues.
//!
//! Owns every consumer and its thread; hands assigned partitions to a [`Rebalance`] listener.

mod committed;
pub(crate) mod consumer;
mod queue;
mod rebalance;
mod record;
mod start;
mod status;

pub(crate) use consumer::{Consumer, ConsumerSettings, Topics};
pub(crate) use queue::PartitionQueue;
pub(crate) use rebalance::{Position, RebalanceListener};
pub(crate) use record::Record;
pub(crate) use status::SourceStatus;
