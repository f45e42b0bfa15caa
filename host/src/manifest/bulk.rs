//! The table `[bulk]`: what a batch is, and when there are batches.
//!
//! **Invariant:** both bounds of the lag are there or none, and the lower one is the lower.

use std::time::Duration;

use super::{Reader, count, keys};
use crate::policy::{Bulk, LagBounds, OnExhausted};

/// Reads the table; none where the manifest has none.
pub(super) fn bulk(reader: &mut Reader<'_>, on_exhausted: OnExhausted) -> Option<Bulk> {
    let bulk = Bulk {
        max_records: count(reader, &keys::BULK_RECORDS),
        max_bytes: count(reader, &keys::BULK_BYTES),
        max_wait: Duration::from_millis(reader.whole(&keys::BULK_WAIT_MS)),
        compact: reader.flag(&keys::BULK_COMPACT).unwrap_or_default(),
        by_lag: by_lag(reader),
    };
    if reader.has_table("bulk") && reader.offset(&keys::retry::TOPIC_DELAYS_MS).is_some() {
        let what = "records of a batch wait in the host, so [bulk] and waits in topics exclude each other (leave one of \
                    them out)";
        let offset = reader.offset(&keys::retry::TOPIC_DELAYS_MS);
        reader.problem(&keys::retry::TOPIC_DELAYS_MS, offset, what);
    }
    if reader.has_table("bulk") && on_exhausted == OnExhausted::Park {
        let what = "what becomes of a parked key is said record by record, so [bulk] and on-exhausted = \"park\" exclude \
                    each other (leave one of them out)";
        let offset = reader.offset(&keys::ON_EXHAUSTED);
        reader.problem(&keys::ON_EXHAUSTED, offset, what);
    }
    reader.has_table("bulk").then_some(bulk)
}

fn by_lag(reader: &mut Reader<'_>) -> Option<LagBounds> {
    let enter = reader.whole_given(&keys::BULK_ENTER_LAG);
    let exit = reader.whole_given(&keys::BULK_EXIT_LAG);
    let given = [&keys::BULK_ENTER_LAG, &keys::BULK_EXIT_LAG].map(|key| reader.offset(key));
    match given {
        [Some(offset), None] => {
            let what = "batches that begin must end: say by exit-lag when (or leave enter-lag out for batches at all times)";
            reader.problem(&keys::BULK_ENTER_LAG, Some(offset), what);
        }
        [None, Some(offset)] => {
            let what = "batches that end must begin: say by enter-lag when (or leave exit-lag out for batches at all times)";
            reader.problem(&keys::BULK_EXIT_LAG, Some(offset), what);
        }
        _ => {}
    }
    let (enter_records, exit_records) = enter.zip(exit)?;
    if exit_records > enter_records {
        let what = format!(
            "{exit_records} is above the enter-lag of {enter_records}, so batches would end where they begin (expected at \
             most {enter_records})"
        );
        reader.problem(&keys::BULK_EXIT_LAG, given[1], &what);
    }
    Some(LagBounds {
        enter_records,
        exit_records,
    })
}
