//! The claims: what the product promises, each a test whose name is the promise.
//!
//! One binary, so that it is linked once; one module for each kind of claim.
//! **Invariant:** a test that needs a real Kafka is below `kafka`, where `--fast` finds and skips it.

mod answer;
mod cli;
mod control;
mod diff;
mod docs;
mod embedded;
mod kafka;
mod machine;
mod reload;
mod simulation;
mod start;
mod tidy;
mod wit;
