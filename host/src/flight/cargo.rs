//! What flights carry, and how the records in them end.

use smallvec::SmallVec;

use super::{Mending, Started};
use crate::outcome::Ending;

/// The records of one invocation: one, or a batch.
pub(crate) type Cargo = SmallVec<[Started; 1]>;

/// What a flight carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// What handlers emitted. A refusal fails the records.
    Outputs,
    /// Dead letters, perhaps beside outputs. A refusal halts the partition.
    DeadLetter,
}

/// What kind of flight it is, and how its records end when it lands well.
#[derive(Debug, Clone)]
pub(crate) struct FlightKind {
    pub(crate) purpose: Purpose,
    pub(crate) ending: Ending,
    /// Attempts that the records have had.
    pub(crate) attempts: u32,
    /// What the outputs have behind them, where a refusal of one need not be the end of the records.
    pub(crate) mending: Option<Mending>,
}
