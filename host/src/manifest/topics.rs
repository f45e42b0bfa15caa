//! Reads which topics are declared.
//!
//! **Invariant:** no topic is declared twice by one manifest, and none of Kafka's internal ones is.

use crate::ids::TopicName;
use crate::manifest::keys::topic as keys;
use crate::manifest::{Key, Reader};
use crate::policy::{CLEANUP_POLICY, DeclaredTopic, RETENTION_MS, TopicSpec};

/// Settings of a topic that have a key of their own.
const OWN_KEYS: [(&str, &Key); 2] = [
    (CLEANUP_POLICY, &keys::CLEANUP),
    (RETENTION_MS, &keys::RETENTION_MS),
];

/// Reads the tables `[[topic]]`.
pub(super) fn topics(reader: &mut Reader<'_>) -> Vec<DeclaredTopic> {
    let mut topics: Vec<DeclaredTopic> = Vec::new();
    reader.each_row(&keys::TOPIC, |row, start| {
        let (key, names) = names(row, start);
        let spec = spec(row);
        for name in names {
            let offset = row.offset(key);
            if topics.iter().any(|known| known.name == name) {
                let what = format!("{name} is declared twice (one table [[topic]] is enough)");
                row.problem(key, offset, &what);
            }
            if TopicName::is_internal(name.as_str()) {
                let what = format!("{name} has the name of one of Kafka's internal topics");
                row.problem(key, offset, &what);
            }
            topics.push(DeclaredTopic {
                name,
                spec: spec.clone(),
            });
        }
    });
    topics
}

/// Returns the names of a table, and the key that has them.
fn names(row: &mut Reader<'_>, start: usize) -> (&'static Key, Vec<TopicName>) {
    let given = [&keys::NAME, &keys::STREAMS].map(|key| row.offset(key));
    match given {
        [None, None] => {
            let what = "missing (name the topic, or several with streams = [\"a\", \"b\"])";
            row.problem(&keys::NAME, Some(start), what);
        }
        [Some(_), Some(offset)] => {
            let what = "name is given already (one of both is enough: put all names into streams)";
            row.problem(&keys::STREAMS, Some(offset), what);
        }
        _ => {}
    }
    match given {
        [None, Some(_)] => {
            let streams = row.topics(&keys::STREAMS);
            (&keys::STREAMS, streams.unwrap_or_default())
        }
        _ => (&keys::NAME, row.topic(&keys::NAME).into_iter().collect()),
    }
}

fn spec(row: &mut Reader<'_>) -> TopicSpec {
    let count = |count: Option<u64>| count.and_then(|count| i32::try_from(count).ok());
    let (partitions, replication) = (
        count(row.whole_given(&keys::PARTITIONS)),
        count(row.whole_given(&keys::REPLICATION)),
    );
    let cleanup = row.choice(&keys::CLEANUP).unwrap_or("delete");
    let retention_ms = row.whole_given(&keys::RETENTION_MS);
    let mut config = row.table(&keys::CONFIG);
    for (setting, key) in OWN_KEYS {
        // What is kept for ever has no number of milliseconds.
        let is_for_ever = setting == RETENTION_MS && row.offset(key).is_none();
        if config.contains_key(setting) && !is_for_ever {
            let what = format!(
                "{setting:?} has a key of its own (write {} instead)",
                key.path
            );
            let offset = row.offset(&keys::CONFIG);
            row.problem(&keys::CONFIG, offset, &what);
        }
    }
    config.insert(CLEANUP_POLICY.to_owned(), cleanup.to_owned());
    config.extend(retention_ms.map(|kept_ms| (RETENTION_MS.to_owned(), kept_ms.to_string())));
    TopicSpec {
        partitions,
        replication,
        config,
    }
}
