//! One run of one variant: from the start of its process until its last output is in Kafka.
//!
//! **Invariant:** a run counts only when it wrote as many records as it read, committed the input's end, and the
//! first record that it wrote is what it should be.

use std::fmt;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use harness::kafka::unique;
use harness::{Kafka, clients, wait_until};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use serde_json::Value;

use crate::inputs::{Input, PARTITIONS, key, value};
use crate::profile::Recording;
use crate::subject::{Cache, Place, Subject};
use crate::usage;
use crate::variant::Variant;

/// How often the outputs are counted.
const POLL: Duration = Duration::from_millis(20);
/// A run without a new output for so long has failed.
const STALLED: Duration = Duration::from_secs(60);
/// What the host logs when a consumer has been told what to read.
pub(crate) const SUBSCRIBED: &str = "subscribed";
const COMPILE_TIMEOUT: Duration = Duration::from_secs(120);
const COMMIT_TIMEOUT: Duration = Duration::from_secs(30);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);

/// What one run came to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run {
    /// CPU time of the process from its start on, in microseconds a record.
    pub(crate) cpu_us: f64,
    /// From the first output to the last.
    pub(crate) records_per_s: f64,
    /// Peak of resident memory.
    pub(crate) peak_bytes: u64,
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (cpu, rate) = (self.cpu_us, self.records_per_s);
        let mib = self.peak_bytes >> 20;
        write!(f, "{cpu:.2} µs, {rate:.0} records/s, {mib} MiB")
    }
}

/// What all runs with one input share.
#[derive(Debug)]
pub(crate) struct Bench<'a> {
    pub(crate) kafka: &'a Kafka,
    pub(crate) cache: &'a Cache,
    pub(crate) input: &'a Input,
    /// Whether the host is recorded.
    pub(crate) profile: bool,
}

impl Bench<'_> {
    /// Leaves the components of a variant compiled in the cache: an interpreter takes seconds.
    pub(crate) fn compile(&self, variant: Variant) -> Result<()> {
        if !variant.is_host() {
            return Ok(());
        }
        let topic = unique("idle");
        self.kafka.create_topic(&topic, PARTITIONS, &[])?;
        let place = Place {
            brokers: self.kafka.bootstrap(),
            input: &Input {
                topic: topic.clone(),
                records: 0,
                ..*self.input
            },
            output: "nothing",
            group: &unique("group"),
        };
        if let Subject::Host { host, .. } = &mut Subject::start(variant, &place, self.cache)? {
            host.wait_for_line(SUBSCRIBED, COMPILE_TIMEOUT)?;
        }
        self.kafka.delete_topic(&topic)
    }

    /// Runs a variant into a topic of its own, which is deleted afterwards.
    pub(crate) fn run(&self, variant: Variant) -> Result<Run> {
        let output = unique("output");
        self.kafka.create_topic(&output, PARTITIONS, &[])?;
        let run = self.run_into(variant, &output);
        self.kafka.delete_topic(&output)?;
        run
    }

    fn run_into(&self, variant: Variant, output: &str) -> Result<Run> {
        let group = unique("group");
        let progress = match variant {
            // The markers of transactions take offsets, too.
            Variant::ConsumeOnly | Variant::HostCommits | Variant::HostOnce => {
                Progress::committed(self.kafka, &group, self.input)
            }
            _ => Progress::outputs(self.kafka, output),
        }?;
        let place = Place {
            brokers: self.kafka.bootstrap(),
            input: self.input,
            output,
            group: &group,
        };
        let mut subject = Subject::start(variant, &place, self.cache)?;
        let recording = if self.profile && variant.is_host() {
            Some(Recording::start(variant, self.input.size, subject.pid())?)
        } else {
            None
        };
        let run = match self.watch(&progress, &mut subject) {
            Ok(run) => run,
            Err(error) => return Err(error.context(subject.tail())),
        };
        if let Some(recording) = recording {
            recording.print()?;
        }
        if variant != Variant::ProduceOnly {
            self.wait_for_commit(&group)?;
        }
        if !variant.is_floor() {
            self.check_one(variant, output)?;
        }
        if let Subject::Host { host, .. } = &mut subject {
            host.term()?;
            host.wait(COMMIT_TIMEOUT)?;
        }
        Ok(run)
    }

    fn watch(&self, progress: &Progress, subject: &mut Subject) -> Result<Run> {
        let records = self.input.records;
        let mut first = None;
        let mut last = (0, Instant::now());
        loop {
            let count = progress.count()?;
            let now = Instant::now();
            if count > 0 && first.is_none() {
                first = Some((count, now));
            }
            if count >= records {
                let (first_count, first_at) = first.unwrap_or((count, now));
                let seconds = (now - first_at).as_secs_f64().max(1e-3);
                let cpu = usage::cpu(subject.pid())?;
                return Ok(Run {
                    cpu_us: cpu.as_secs_f64() * 1e6 / records as f64,
                    records_per_s: (count - first_count) as f64 / seconds,
                    peak_bytes: usage::memory_bytes(subject.pid(), "VmHWM")?,
                });
            }
            subject.check()?;
            if count > last.0 {
                last = (count, now);
            } else if now - last.1 > STALLED {
                bail!("{count} of {records} records and no more in {STALLED:?}");
            }
            thread::sleep(POLL);
        }
    }

    /// Compares the first output with what the variant should make of its input, which is known by its id.
    fn check_one(&self, variant: Variant, output: &str) -> Result<()> {
        let found = clients::consume_until(self.kafka.bootstrap(), output, 1, REQUEST_TIMEOUT)?;
        let found = found.first().context("no output")?;
        let json: Value = serde_json::from_str(&found.text())?;
        let id = json.get("id").and_then(Value::as_u64).context("no id")?;
        let mut expected = value(id, self.input.size, self.input.shape);
        if matches!(
            variant,
            Variant::NativeJson | Variant::HostJson | Variant::HostJsonTrusted
        ) {
            expected = expected.replace("customer", "CUSTOMER");
        }
        if json != serde_json::from_str::<Value>(&expected)? || found.key_text() != key(id) {
            bail!("an output is {}, expected {expected}", found.text());
        }
        Ok(())
    }

    fn wait_for_commit(&self, group: &str) -> Result<()> {
        let (bootstrap, input) = (self.kafka.bootstrap(), self.input);
        let what = format!("a commit of the input's end by {group}");
        let ends = clients::end_offsets(bootstrap, &input.topic)?;
        wait_until(&what, COMMIT_TIMEOUT, || {
            clients::committed(bootstrap, group, &input.topic).is_ok_and(|found| found == ends)
        })
    }
}

/// How far a run is, asked of Kafka.
pub(crate) struct Progress {
    client: BaseConsumer,
    topic: String,
    by_commits: bool,
}

impl Progress {
    /// By the records of a topic of outputs.
    pub(crate) fn outputs(kafka: &Kafka, topic: &str) -> Result<Self> {
        let client = client(kafka).create()?;
        Ok(Self {
            client,
            topic: topic.to_owned(),
            by_commits: false,
        })
    }

    fn committed(kafka: &Kafka, group: &str, input: &Input) -> Result<Self> {
        let client = client(kafka).set("group.id", group).create()?;
        Ok(Self {
            client,
            topic: input.topic.clone(),
            by_commits: true,
        })
    }

    /// Returns the records so far.
    pub(crate) fn count(&self) -> Result<u64> {
        let mut count = 0;
        if self.by_commits {
            let mut wanted = rdkafka::TopicPartitionList::new();
            wanted.add_partition_range(&self.topic, 0, PARTITIONS - 1);
            let found = self.client.committed_offsets(wanted, REQUEST_TIMEOUT)?;
            for element in found.elements() {
                count += element.offset().to_raw().unwrap_or(0).max(0);
            }
        } else {
            for partition in 0..PARTITIONS {
                let ends = self
                    .client
                    .fetch_watermarks(&self.topic, partition, REQUEST_TIMEOUT)?;
                count += ends.1;
            }
        }
        Ok(u64::try_from(count)?)
    }
}

fn client(kafka: &Kafka) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", kafka.bootstrap())
        .set("group.id", "bench-progress")
        .set("log_level", "2");
    config
}
