//! What the parts share: a Kafka, a cache of compiled components, folders of handlers, hosts, and how fast the host is here.
//!
//! **Invariant:** what the host can do is measured once, so that all parts of a run have the same pace.

use std::cell::OnceCell;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use harness::kafka::unique;
use harness::{HandlersDir, Host, Kafka, guest, wait_until};

use super::load::Load;
use crate::Options;
use crate::inputs::{Input, PARTITIONS, Shape};
use crate::subject::{Cache, manifest};

/// Bytes of a value of a backlog.
const SIZE: usize = 100;
/// What a start or a deployment may take on a loaded machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// See the module.
#[derive(Debug)]
pub(crate) struct Scene<'a> {
    pub(crate) kafka: &'a Kafka,
    pub(crate) cache: &'a Cache,
    pub(crate) options: &'a Options,
    backlog: OnceCell<Input>,
    capacity: OnceCell<f64>,
}

impl<'a> Scene<'a> {
    /// Nothing is measured yet.
    pub(crate) fn new(kafka: &'a Kafka, cache: &'a Cache, options: &'a Options) -> Self {
        Self {
            kafka,
            cache,
            options,
            backlog: OnceCell::new(),
            capacity: OnceCell::new(),
        }
    }

    /// A backlog that anybody may read.
    pub(crate) fn backlog(&self) -> Result<&Input> {
        if self.backlog.get().is_none() {
            let records = self.options.records;
            eprintln!("writing {records} records");
            let values = (SIZE, Shape::Flat);
            let input = Input::write(self.kafka, &unique("backlog"), records, values)?;
            return Ok(self.backlog.get_or_init(|| input));
        }
        Ok(self.backlog.get_or_init(|| unreachable!("looked at above")))
    }

    /// Records a second of a load that takes so great a share of what the host can do here.
    pub(crate) fn rate(&self, share: f64) -> Result<u32> {
        if let Some(rate) = self.options.rate {
            return Ok(rate);
        }
        if self.capacity.get().is_none() {
            let capacity = self.measure_capacity()?;
            eprintln!("{capacity:.0} records a second get through");
            let _ = self.capacity.set(capacity);
        }
        let capacity = self.capacity.get().copied().unwrap_or_default();
        Ok((capacity * share) as u32)
    }

    /// What gets through a pass-through handler while writer, broker and reader have the same machine.
    fn measure_capacity(&self) -> Result<f64> {
        let topics = Topics::new(self.kafka, "capacity")?;
        let folder = HandlersDir::new()?;
        folder.handler("bench", guest("pass"), &topics.manifest(""))?;
        let host = self.start(&folder, "")?;
        wait_assigned(&host, &topics.group)?;
        let ends = (topics.input.as_str(), topics.output.as_str());
        let capacity = Load::capacity(self.kafka, ends, self.options.stretch())?;
        host.stop()?;
        topics.delete(self.kafka)?;
        Ok(capacity)
    }

    /// Starts a host on a folder, with this in its own file.
    pub(crate) fn start(&self, folder: &HandlersDir, settings: &str) -> Result<Host> {
        self.start_with(folder, settings, self.cache.path())
    }

    /// Leaves the component of a folder's only handler in the cache: who compiles keeps memory that others do not need.
    pub(crate) fn warm(&self, folder: &HandlersDir, settings: &str) -> Result<()> {
        let host = self.start(folder, settings)?;
        wait_until("a handler", PATIENCE, || {
            published(&host).is_ok_and(|count| count > 0)
        })?;
        host.stop()
    }

    /// As [`Self::start`], with a cache of compiled components of its own.
    pub(crate) fn start_with(
        &self,
        folder: &HandlersDir,
        settings: &str,
        cache: &Path,
    ) -> Result<Host> {
        let file = cache.join("host.toml");
        fs::write(&file, settings)?;
        Host::builder(self.kafka.bootstrap())
            .handlers(folder.path())
            .args(["--config".as_ref(), file.as_os_str()])
            .args(["--cache".as_ref(), cache.as_os_str()])
            .start()
    }
}

/// The topics of a handler, and its group.
#[derive(Debug)]
pub(crate) struct Topics {
    pub(crate) input: String,
    pub(crate) output: String,
    pub(crate) letters: String,
    pub(crate) group: String,
}

impl Topics {
    /// Creates topics whose names begin so.
    pub(crate) fn new(kafka: &Kafka, name: &str) -> Result<Self> {
        let name = unique(name);
        let topics = Self {
            input: format!("{name}.in"),
            output: format!("{name}.out"),
            letters: format!("{name}.dead"),
            group: name,
        };
        for topic in [&topics.input, &topics.output, &topics.letters] {
            kafka.create_topic(topic, PARTITIONS, &[])?;
        }
        Ok(topics)
    }

    /// A manifest with `more` keys; what is added to its end is of its table `config`.
    pub(crate) fn manifest(&self, more: &str) -> String {
        let more = format!("dead-letter-topic = \"{}\"\n{more}", self.letters);
        manifest(&self.input, &self.group, &self.output, &more)
    }

    /// Deletes them.
    pub(crate) fn delete(&self, kafka: &Kafka) -> Result<()> {
        for topic in [&self.input, &self.output, &self.letters] {
            kafka.delete_topic(topic)?;
        }
        Ok(())
    }
}

/// A `tenant.toml` that grants all of Kafka, with these quotas.
pub(crate) fn tenant(quotas: &str) -> String {
    format!(
        "grants = {{ consume = [\"*\"], produce = [\"*\"], groups = [\"*\"] }}\n[quotas]\n{quotas}"
    )
}

/// How many revisions the host has published.
pub(crate) fn published(host: &Host) -> Result<usize> {
    let labels = [("result", "published")];
    Ok(host.metric("kafka_wasm_deploys_total", &labels)? as usize)
}

/// Waits until a group has all of its partitions.
pub(crate) fn wait_assigned(host: &Host, group: &str) -> Result<()> {
    let labels = [("group", group)];
    wait_until("partitions", PATIENCE, || {
        let assigned = host.metric("kafka_wasm_assigned_partitions", &labels);
        assigned.is_ok_and(|assigned| assigned >= f64::from(PARTITIONS))
    })
}

/// Does something again and again until a moment, each time so long after the last, with a number that rises.
pub(crate) fn each(
    every: Duration,
    until: Instant,
    mut what: impl FnMut() -> Result<()>,
) -> Result<()> {
    let mut next = Instant::now();
    while next < until {
        thread::sleep(next.saturating_duration_since(Instant::now()));
        what()?;
        next += every;
    }
    Ok(())
}
