//! What is proven on a real Apache Kafka. `--fast` skips this module and all that is below it.

mod harness_holds;
mod delivery;
mod rebalance;
mod traffic;
