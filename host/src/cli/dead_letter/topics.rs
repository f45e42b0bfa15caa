//! Topics that are read from their beginning to where they end now, partition after partition.
//!
//! It is handed names and lends records in the order of partitions and offsets.
//! **Invariant:** nothing behind the ends that were found at the start is read, and nothing of an aborted transaction.

use std::ops::ControlFlow;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, bail};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use tokio::time::Instant;

use super::ReachArgs;
use super::filter::Place;
use crate::cli::connect::{ConnectArgs, Lookup, Troubles, explain_config, look_up};
use crate::cli::console::Console;
use crate::cli::consume::{ConsumeArgs, Start, view_of};
use crate::cli::produce::Format;
use crate::cli::reader::{Ended, Event, Reader};
use crate::ids::TopicName;
use crate::record::RecordView;

/// A broker that does not answer is asked again after this time.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
const LOOK_UP_PERIOD: Duration = Duration::from_millis(100);
/// The host depends on it: a letter of an aborted replay was never replayed.
const ISOLATION: (&str, &str) = ("isolation.level", "read_committed");

/// A connection that asks for topics and their ends; it never creates a topic.
pub(super) struct Session<'a> {
    pub(super) connect: &'a ConnectArgs,
    pub(super) timeout: Duration,
    pub(super) console: &'a Console,
    consumer: BaseConsumer<Troubles>,
}

impl<'a> Session<'a> {
    /// Configures the connection; nothing is sent yet.
    pub(super) fn new(reach: &'a ReachArgs, console: &'a Console) -> anyhow::Result<Self> {
        let config = reach.connect.config(&[], &[ISOLATION])?;
        let consumer = config
            .create_with_context(Troubles::default())
            .map_err(explain_config)?;
        Ok(Self {
            connect: &reach.connect,
            timeout: reach.timeout,
            console,
            consumer,
        })
    }

    /// Finds a topic of dead letters, which has to be there.
    pub(super) fn letters(&self, name: &TopicName) -> anyhow::Result<Topic<'_>> {
        match self.find(name)? {
            Some(topic) => Ok(topic),
            None => bail!(
                "topic {name} does not exist: check its name; a handler without dead letters may have none yet"
            ),
        }
    }

    /// Finds a topic and where its partitions begin and end now; none where it does not exist.
    pub(super) fn find(&self, name: &TopicName) -> anyhow::Result<Option<Topic<'_>>> {
        let Some(partitions) = self.partitions(name)? else {
            return Ok(None);
        };
        let mut bounds = Vec::new();
        for partition in 0..partitions {
            let (low, high) = self.ends(name, partition)?;
            bounds.push(Bounds {
                partition,
                low,
                high,
            });
        }
        Ok(Some(Topic {
            session: self,
            name: name.clone(),
            bounds,
        }))
    }

    /// Returns where a partition begins and ends. Asked again for a while: a broker hears of a new topic late.
    fn ends(&self, name: &TopicName, partition: i32) -> anyhow::Result<(i64, i64)> {
        let deadline = Instant::now() + self.timeout;
        loop {
            let answer = self
                .consumer
                .fetch_watermarks(name.as_str(), partition, ANSWER_TIMEOUT);
            if answer.is_ok() || Instant::now() >= deadline {
                return answer.with_context(|| {
                    format!("cannot ask where partition {partition} of {name} ends")
                });
            }
            thread::sleep(LOOK_UP_PERIOD);
        }
    }

    /// Returns the number of partitions of a topic; none where it does not exist.
    pub(super) fn partitions(&self, name: &TopicName) -> anyhow::Result<Option<i32>> {
        let deadline = Instant::now() + self.timeout;
        let mut told = false;
        loop {
            match look_up(self.consumer.client(), name.as_str(), ANSWER_TIMEOUT)? {
                Lookup::Found(partitions) => return Ok(Some(partitions)),
                Lookup::Missing => return Ok(None),
                Lookup::NoAnswer => {}
            }
            // What went wrong with connections waits in a queue.
            while self.consumer.poll(Duration::from_millis(20)).is_some() {}
            let troubles = self.consumer.context();
            if Instant::now() >= deadline {
                return Err(troubles.no_answer(&self.connect.brokers, self.timeout));
            }
            if !told {
                told = true;
                self.console
                    .say(&troubles.no_answer_yet(&self.connect.brokers));
            }
            thread::sleep(LOOK_UP_PERIOD);
        }
    }
}

/// Where a partition begins and ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bounds {
    pub(super) partition: i32,
    /// The offset of the oldest record that is kept.
    pub(super) low: i64,
    /// The offset behind the newest.
    pub(super) high: i64,
}

/// A topic as it was when it was found.
pub(super) struct Topic<'a> {
    session: &'a Session<'a>,
    pub(super) name: TopicName,
    pub(super) bounds: Vec<Bounds>,
}

impl Topic<'_> {
    /// Lends all records, until `take` has had enough.
    pub(super) fn read(
        &self,
        mut take: impl FnMut(&RecordView<'_>) -> anyhow::Result<ControlFlow<()>>,
    ) -> anyhow::Result<()> {
        let mut count: u64 = 0;
        for bounds in &self.bounds {
            let flow = self.read_partition(*bounds, Start::Beginning, &mut |record| {
                count += 1;
                self.session.console.progress(|| {
                    format!(
                        "{count} read of {}, now in partition {}",
                        self.name, record.partition
                    )
                });
                take(record)
            })?;
            if flow.is_break() {
                break;
            }
        }
        Ok(())
    }

    /// Lends the record at a place; none where the place holds no record that can be read.
    pub(super) fn read_one(
        &self,
        place: Place,
        mut take: impl FnMut(&RecordView<'_>) -> anyhow::Result<()>,
    ) -> anyhow::Result<bool> {
        let partition = usize::try_from(place.partition)?;
        let Some(bounds) = self.bounds.get(partition) else {
            bail!(
                "{} has no partition {partition}, only 0 to {}",
                self.name,
                self.bounds.len() - 1
            );
        };
        let mut found = false;
        if (bounds.low..bounds.high).contains(&place.offset) {
            let start = Start::Offset(place.offset);
            let _ = self.read_partition(*bounds, start, &mut |record| {
                if record.offset == place.offset {
                    found = true;
                    take(record)?;
                }
                Ok(ControlFlow::Break(()))
            })?;
        }
        Ok(found)
    }

    fn read_partition(
        &self,
        bounds: Bounds,
        from: Start,
        take: &mut dyn FnMut(&RecordView<'_>) -> anyhow::Result<ControlFlow<()>>,
    ) -> anyhow::Result<ControlFlow<()>> {
        if bounds.low >= bounds.high {
            return Ok(ControlFlow::Continue(()));
        }
        let mut connect = self.session.connect.clone();
        connect
            .kafka_settings
            .push((ISOLATION.0.to_owned(), ISOLATION.1.to_owned()));
        let args = ConsumeArgs {
            topic: self.name.clone(),
            connect,
            from,
            count: None,
            timeout: Some(self.session.timeout),
            until_end: true,
            partition: Some(bounds.partition),
            format: Format::Json,
            keys: false,
        };
        let mut flow = ControlFlow::Continue(());
        let ended = Reader::connect(&args, self.session.console)?.run(|event| {
            let Event::Record(message) = event else {
                return Ok(ControlFlow::Continue(()));
            };
            let record = view_of(message);
            if record.offset >= bounds.high {
                // Written since the start.
                return Ok(ControlFlow::Break(()));
            }
            flow = take(&record)?;
            Ok(flow)
        })?;
        match ended {
            Ended::Done => Ok(flow),
            Ended::TimedOut | Ended::NoTopic => bail!(
                "partition {} of {} could not be read to its end: nothing came within {:?} (--timeout)",
                bounds.partition,
                self.name,
                self.session.timeout
            ),
        }
    }
}
