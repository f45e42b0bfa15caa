//! What is proven on a real Apache Kafka. `--fast` skips this module and all that is below it.

mod backpressure;
mod batches;
mod breaker;
mod delivery;
mod deploy;
mod docs;
mod exactly_once;
mod examples;
mod harness_holds;
mod hooks;
mod isolation;
mod key_batches;
mod letters;
mod limits;
mod once;
mod ordering;
mod packed;
mod parking;
mod positions;
mod rebalance;
mod retries;
mod returns;
mod seek;
mod stage;
mod steps;
mod traffic;
