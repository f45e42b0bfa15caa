//! What a group has committed of the partitions that it is given: positions, and what their metadata says besides.

#![expect(
    unsafe_code,
    reason = "rdkafka's metadata() panics where the metadata is no UTF-8, and anybody may have written it"
)]

use std::collections::HashMap;
use std::slice;
use std::time::Duration;

use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::KafkaError;

use crate::offset_map::OffsetMap;

/// How long an assignment may wait for the last commits.
pub(super) const TIMEOUT: Duration = Duration::from_secs(5);

/// The last commits of some partitions.
#[derive(Debug, Default)]
pub(super) struct Committed {
    pub(super) positions: HashMap<(String, i32), i64>,
    /// Partitions of which nothing is committed.
    pub(super) missing: Vec<(String, i32)>,
    /// What earlier owners completed beyond the committed offsets.
    pub(super) completed: HashMap<(String, i32), OffsetMap>,
}

/// Reads the last commits of these partitions.
///
/// Foreign or damaged metadata is left alone, with a warning: its records are handled again.
pub(super) fn committed<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    group: &str,
    partitions: &TopicPartitionList,
    timeout: Duration,
) -> Result<Committed, KafkaError> {
    let mut found = Committed::default();
    if partitions.count() == 0 {
        return Ok(found);
    }
    let committed = consumer.committed_offsets(partitions.clone(), timeout)?;
    for element in committed.elements() {
        element.error()?;
        let (topic, partition) = (element.topic(), element.partition());
        let name = (topic.to_owned(), partition);
        let Some(offset) = element.offset().to_raw().filter(|offset| *offset >= 0) else {
            found.missing.push(name);
            continue;
        };
        found.positions.insert(name.clone(), offset);
        let metadata = metadata(&committed, topic, partition);
        match OffsetMap::decode(&metadata, offset) {
            Ok(None) => {}
            Ok(Some(map)) => {
                found.completed.insert(name, map);
            }
            Err(error) => tracing::warn!(
                group,
                topic,
                partition,
                offset,
                %error,
                "the metadata of the last commit is ignored"
            ),
        }
    }
    Ok(found)
}

fn metadata(list: &TopicPartitionList, topic: &str, partition: i32) -> String {
    let Ok(topic) = std::ffi::CString::new(topic) else {
        return String::new();
    };
    // SAFETY: the list is alive and the name ends with NUL; the element found belongs to the list, and its metadata is
    // null or as long as it says.
    unsafe {
        let element = rdkafka::bindings::rd_kafka_topic_partition_list_find(
            list.ptr(),
            topic.as_ptr(),
            partition,
        );
        match element.as_ref() {
            Some(element) if !element.metadata.is_null() => {
                let bytes =
                    slice::from_raw_parts(element.metadata.cast::<u8>(), element.metadata_size);
                String::from_utf8_lossy(bytes).into_owned()
            }
            _ => String::new(),
        }
    }
}
