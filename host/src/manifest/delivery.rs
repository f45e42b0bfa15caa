//! Reads what is promised about the delivery of a record, and finds what contradicts it.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::manifest::{Reader, keys};
use crate::policy::{Delivery, TRANSACTION_INTERVAL_MS};

/// Reads what is promised about a record.
pub(super) fn delivery(reader: &mut Reader<'_>) -> Delivery {
    let given = reader.whole_given(&keys::TRANSACTION_INTERVAL_MS);
    if reader.choice(&keys::DELIVERY) == Some("exactly-once") {
        return Delivery::ExactlyOnce {
            interval: Duration::from_millis(given.unwrap_or(TRANSACTION_INTERVAL_MS)),
        };
    }
    if given.is_some() {
        let what = "there are transactions only with delivery = \"exactly-once\" (write that, or leave the key out)";
        let key = &keys::TRANSACTION_INTERVAL_MS;
        let offset = reader.offset(key);
        reader.problem(key, offset, what);
    }
    Delivery::AtLeastOnce
}

/// Sees that what is said of the clients fits the delivery.
pub(super) fn fits(
    reader: &mut Reader<'_>,
    delivery: Delivery,
    kafka_consumer: &BTreeMap<String, String>,
    kafka_producer: &BTreeMap<String, String>,
) {
    reads_committed(reader, delivery, kafka_consumer);
    lasts_an_interval(reader, delivery, kafka_producer);
}

/// What is read of a transaction that is not committed may never have been: with that nothing is exactly once.
fn reads_committed(
    reader: &mut Reader<'_>,
    delivery: Delivery,
    kafka_consumer: &BTreeMap<String, String>,
) {
    let isolation = kafka_consumer.get("isolation.level");
    if delivery != Delivery::AtLeastOnce && isolation.is_some_and(|level| level != "read_committed")
    {
        let what = "delivery = \"exactly-once\" and isolation.level = \"read_uncommitted\" exclude each other (leave \
                    isolation.level out)";
        let offset = reader.offset(&keys::DELIVERY);
        reader.problem(&keys::DELIVERY, offset, what);
    }
}

/// A transaction that the coordinator ends before its interval is over is never committed.
fn lasts_an_interval(
    reader: &mut Reader<'_>,
    delivery: Delivery,
    kafka_producer: &BTreeMap<String, String>,
) {
    let timeout = kafka_producer.get("transaction.timeout.ms");
    let timeout_ms: Option<u64> = timeout.and_then(|text| text.parse().ok());
    if let Delivery::ExactlyOnce { interval } = delivery
        && timeout_ms.is_some_and(|timeout_ms| Duration::from_millis(timeout_ms) <= interval)
    {
        let key = &keys::TRANSACTION_INTERVAL_MS;
        let what = "kafka.producer.\"transaction.timeout.ms\" is not longer than this, so Kafka would abort each transaction \
                    before it is committed (leave that out: it is 10 s then)";
        let offset = reader
            .offset(key)
            .or_else(|| reader.offset(&keys::DELIVERY));
        reader.problem(key, offset, what);
    }
}
