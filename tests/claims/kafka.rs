//! What is proven on a real Apache Kafka. `--fast` skips this module and all that is below it.

mod harness_holds;
mod delivery;
mod rebalance;
mod traffic;
mod isolation;
mod hooks;
mod deploy;
mod docs;
mod stage;
