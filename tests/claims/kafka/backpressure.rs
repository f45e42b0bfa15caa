//! Handlers that are slower than what waits for them.
//!
//! **Invariant:** whatever waits, the host's memory stays bounded and its membership in the group stays alive.

use std::time::Duration;

use harness::{TestRecord, clients, wait_until};

use super::stage::{PATIENCE, Stage, count_lines, field, json, value_on};
