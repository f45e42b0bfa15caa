//! One handler between two topics, the load that goes through it, and what came out.
//!
//! It is handed a Kafka and owns the names of one test's topics and group, so that tests share the broker.
//! **Invariant:** figures of what came out are read back from Kafka, never taken from the host.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use harness::host::Builder;
use harness::kafka::unique;
use harness::{HandlersDir, Host, Kafka, TestRecord, clients, guest, wait_until};
use tempfile::TempDir;

/// What a load may take on a machine that runs other tests besides.
pub(crate) const LOAD_TIMEOUT: Duration = Duration::from_secs(90);

/// See the module.
#[derive(Debug)]
pub(crate) struct Traffic {
    pub(crate) at: String,
    pub(crate) input: String,
    pub(crate) output: String,
    pub(crate) group: String,
    /// Components are compiled once for all hosts of a test.
    cache: TempDir,
}

impl Traffic {
    /// Makes the topics: `partitions` of input, and one of output, which so shows the order of everything.
    pub(crate) fn new(kafka: &Kafka, name: &str, partitions: i32) -> Self {
        Self::with_input(kafka, name, partitions, &[])
    }

    /// As [`Self::new`], with a configuration of the input topic.
    pub(crate) fn with_input(
        kafka: &Kafka,
        name: &str,
        partitions: i32,
        config: &[(&str, &str)],
    ) -> Self {
        let traffic = Self {
            at: kafka.bootstrap().to_owned(),
            input: unique(&format!("{name}-in")),
            output: unique(&format!("{name}-out")),
            group: unique(name),
            cache: tempfile::tempdir().unwrap(),
        };
        kafka
            .create_topic(&traffic.input, partitions, config)
            .unwrap();
        kafka.create_topic(&traffic.output, 1, &[]).unwrap();
        traffic
    }

    /// A folder with one handler of the group. `label` is what its outputs bear; `more` are keys of `[kafka.consumer]`
    /// and then tables of its manifest.
    pub(crate) fn handlers(&self, krate: &str, label: &str, more: &str) -> HandlersDir {
        let manifest = format!(
            r#"
topics = ["{}"]
group = "{}"
dead-letter-topic = "{}"
config = {{ output = "{}", label = "{label}" }}
[kafka.consumer]
"auto.commit.interval.ms" = 100
{more}
"#,
            self.input,
            self.group,
            self.letters(),
            self.output
        );
        let folder = HandlersDir::new().unwrap();
        folder.handler("handler", guest(krate), &manifest).unwrap();
        folder
    }

    /// The dead-letter topic, which a test makes where it expects any.
    pub(crate) fn letters(&self) -> String {
        format!("{}-letters", self.group)
    }

    /// A host that serves this folder.
    pub(crate) fn host(&self, handlers: &HandlersDir) -> Builder {
        Host::builder(&self.at)
            .handlers(handlers.path())
            .args(["--cache".as_ref(), self.cache.path().as_os_str()])
    }

    /// Writes these records to the input.
    pub(crate) fn produce(&self, records: impl IntoIterator<Item = TestRecord>) {
        clients::produce_records(&self.at, &self.input, records).unwrap();
    }

    /// How many input records the group has committed. Only of a topic whose offsets have no gaps.
    pub(crate) fn committed(&self) -> i64 {
        sum(&self.positions())
    }

    /// The committed position of each partition that has one.
    pub(crate) fn positions(&self) -> Vec<(i32, i64)> {
        clients::committed(&self.at, &self.group, &self.input).unwrap()
    }

    /// The end of the input, of all its partitions together.
    pub(crate) fn input_end(&self) -> i64 {
        sum(&clients::end_offsets(&self.at, &self.input).unwrap())
    }

    /// How many records the output holds. Only of one that nobody wrote to in transactions.
    pub(crate) fn output_count(&self) -> i64 {
        sum(&clients::end_offsets(&self.at, &self.output).unwrap())
    }

    /// The whole output in its order.
    pub(crate) fn outputs(&self) -> Vec<TestRecord> {
        clients::consume_all(&self.at, &self.output, true).unwrap()
    }

    /// Waits until the output holds at least so many records.
    pub(crate) fn wait_for_outputs(&self, count: i64) {
        wait_until(&format!("{count} outputs"), LOAD_TIMEOUT, || {
            self.output_count() >= count
        })
        .unwrap();
    }

    /// Waits until the group has committed at least so many records.
    pub(crate) fn wait_until_committed(&self, count: i64) {
        wait_until(&format!("{count} committed"), LOAD_TIMEOUT, || {
            self.committed() >= count
        })
        .unwrap_or_else(|error| panic!("{error}; they are {:?}", self.positions()));
    }

    /// Waits until every partition is committed to its end.
    pub(crate) fn wait_until_done(&self) {
        let ends = clients::end_offsets(&self.at, &self.input).unwrap();
        // A partition without records has no position.
        let ends: Vec<(i32, i64)> = ends.into_iter().filter(|(_, end)| *end > 0).collect();
        wait_until(&format!("positions {ends:?}"), LOAD_TIMEOUT, || {
            self.positions() == ends
        })
        .unwrap_or_else(|error| panic!("{error}; they are {:?}", self.positions()));
    }
}

/// Sums the offsets of all partitions.
fn sum(offsets: &[(i32, i64)]) -> i64 {
    offsets.iter().map(|(_, offset)| offset).sum()
}

/// The record for one number: its text as the value, and one of 1000 keys.
pub(crate) fn number(n: u64) -> TestRecord {
    TestRecord::new(format!("key-{}", n % 1000), n.to_string())
}

/// How often the numbers that went in came out.
#[derive(Debug)]
pub(crate) struct Tally {
    pub(crate) lost: usize,
    /// Occurrences beyond the first.
    pub(crate) repeated: usize,
}

impl Tally {
    /// Counts the numbers below `count`; what never went in is a failure of its own.
    pub(crate) fn of(outputs: &[TestRecord], count: u64) -> Self {
        let mut seen: BTreeMap<u64, usize> = BTreeMap::new();
        for record in outputs {
            let n: u64 = record.text().parse().unwrap();
            assert!(n < count, "{n} never went in");
            assert_eq!(record.key, number(n).key, "the key of {n}");
            *seen.entry(n).or_default() += 1;
        }
        Self {
            lost: usize::try_from(count).unwrap() - seen.len(),
            repeated: outputs.len() - seen.len(),
        }
    }
}

/// A load that goes on, at a steady pace, until it is stopped.
#[derive(Debug)]
pub(crate) struct Feed {
    stop: Arc<AtomicBool>,
    begun: Arc<AtomicU64>,
    thread: Option<JoinHandle<anyhow::Result<u64>>>,
}

impl Feed {
    /// Writes `record(0)`, `record(1)` and so on to the input.
    pub(crate) fn start(
        traffic: &Traffic,
        per_ms: u64,
        record: impl Fn(u64) -> TestRecord + Send + 'static,
    ) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let begun = Arc::new(AtomicU64::new(0));
        let (at, topic) = (traffic.at.clone(), traffic.input.clone());
        let (stopped, count) = (Arc::clone(&stop), Arc::clone(&begun));
        let paced = std::iter::from_fn(move || {
            let n = count.fetch_add(1, Ordering::Relaxed);
            if n.is_multiple_of(per_ms * 10) {
                thread::sleep(Duration::from_millis(10));
            }
            (!stopped.load(Ordering::Relaxed)).then(|| record(n))
        });
        let thread = thread::spawn(move || clients::produce_records(&at, &topic, paced));
        Self {
            stop,
            begun,
            thread: Some(thread),
        }
    }

    /// Waits until so many more records were written.
    pub(crate) fn wait_for_more(&self, count: u64) {
        let goal = self.begun.load(Ordering::Relaxed) + count;
        wait_until(&format!("{count} more records fed"), LOAD_TIMEOUT, || {
            self.begun.load(Ordering::Relaxed) >= goal
        })
        .unwrap();
    }

    /// Ends the load; returns how many records Kafka has acknowledged, which are all.
    pub(crate) fn stop(mut self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap().unwrap()
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}
