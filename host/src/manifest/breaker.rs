//! The table `[breaker]`: when a handler pauses.
//!
//! **Invariant:** nothing is said of a pause where records come in batches.

use std::time::Duration;

use super::keys::breaker as keys;
use super::{Reader, count};
use crate::policy::BreakerPolicy;

/// Reads the table; none where the manifest has none.
pub(super) fn breaker(reader: &mut Reader<'_>) -> Option<BreakerPolicy> {
    let breaker = BreakerPolicy {
        failure_share: reader
            .real_given(&keys::BREAKER_SHARE)
            .unwrap_or(BreakerPolicy::DEFAULT.failure_share),
        window_records: count(reader, &keys::BREAKER_WINDOW),
        pause: Duration::from_millis(reader.whole(&keys::BREAKER_PAUSE_MS)),
    };
    if reader.has_table("breaker") && reader.has_table("bulk") {
        let what = "a breaker is for records that are handed over one by one, so [breaker] and [bulk] exclude each other \
                    (leave one of them out)";
        let offset = reader.offset(&keys::BREAKER_SHARE);
        reader.problem(&keys::BREAKER_SHARE, offset, what);
    }
    reader.has_table("breaker").then_some(breaker)
}
