//! Batches, as a manifest asks for them.

use super::{FULL, parse};
use crate::policy::{Bulk, LagBounds};

#[test]
fn a_table_of_batches_is_read_as_written() {
    let manifest = parse(FULL);
    assert_eq!(
        manifest.bulk,
        Some(Bulk {
            max_records: 7,
            by_lag: Some(LagBounds {
                enter_records: 1000,
                exit_records: 100
            }),
            ..Bulk::default()
        })
    );
}

#[test]
fn an_empty_table_asks_for_bulks_of_the_default_size() {
    assert_eq!(
        parse("topics = [\"a\"]\n[bulk]").bulk,
        Some(Bulk::default())
    );
}
