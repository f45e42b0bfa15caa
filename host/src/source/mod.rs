//! Reading from Kafka: consumers, rebalances, partition queues.
//!
//! Owns every consumer and its thread; hands assigned partitions to a [`Rebalance`] listener.

mod committed;
pub(crate) mod consumer;
mod queue;
mod rebalance;
mod record;
mod start;

pub(crate) use consumer::{Consumer, ConsumerSettings, SourceStatus, Topics};
pub(crate) use queue::PartitionQueue;
pub(crate) use rebalance::{Position, RebalanceListener};
pub(crate) use record::Record;
