//! The model of Kafka: logs, one group's committed positions, and the outputs on their way.
//!
//! Outputs are answered and reported in any order, each as late as chance has it; only dead letters, and markers of parked
//! keys, are written in the order in which a host sent them. What a host emitted that crashed may still be written, but
//! nobody is told.
//! **Invariant:** only the present owner of a partition moves its committed position.

use std::collections::BTreeSet;

use harness::dice::Dice;
use kafka_wasm_host::offset_map::CommitPoint;

use super::scenario::Entry;

/// Counts assignments of partitions to hosts, over the whole run.
pub(super) type Epoch = usize;
/// A record: its partition, and its place among the records there, which is not its offset.
pub(super) type Place = (usize, usize);

/// One partition of what is consumed.
#[derive(Debug)]
pub(super) struct Partition {
    pub(super) records: Vec<Entry>,
    /// How many of the records were produced so far.
    pub(super) visible: usize,
    pub(super) committed: CommitPoint,
    pub(super) owner: Option<Epoch>,
}

/// A dead letter.
#[derive(Debug, Clone, Copy)]
pub(super) struct Letter {
    /// Where the record was first.
    pub(super) from: Place,
    pub(super) attempts: u32,
    pub(super) time_ms: i64,
}

/// Key and value of a record of the topic of parked keys.
pub(super) type Marker = (Vec<u8>, Option<Vec<u8>>);

/// What a host writes.
#[derive(Debug, Clone)]
pub(super) enum Sent {
    /// What a handler emitted.
    Emit,
    Letter(Letter),
    Marker(Marker),
}

impl Sent {
    /// What has to be written in the order in which it was sent; `None` where nobody asks.
    fn topic(&self) -> Option<usize> {
        match self {
            Self::Emit => None,
            Self::Letter(_) => Some(0),
            Self::Marker(_) => Some(1),
        }
    }
}

/// A record that a host sent.
#[derive(Debug)]
struct Output {
    host: usize,
    epoch: Epoch,
    flight: usize,
    sent: Sent,
    /// Whether it was written, once the broker has decided.
    answer: Option<bool>,
}

/// What the broker says about one output.
#[derive(Debug, Clone)]
pub(super) struct Report {
    pub(super) epoch: Epoch,
    pub(super) flight: usize,
    pub(super) sent: Sent,
    pub(super) is_written: bool,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Broker {
    pub(super) partitions: Vec<Partition>,
    pub(super) letters: Vec<Letter>,
    /// The topic of parked keys; none where compaction took one away.
    pub(super) markers: Vec<Option<Marker>>,
    outputs: Vec<Output>,
    refused_percent: usize,
}

impl Broker {
    pub(super) fn new(logs: Vec<Vec<Entry>>, refused_percent: usize) -> Self {
        let partitions = logs
            .into_iter()
            .map(|records| Partition {
                visible: records.len() / 2,
                records,
                committed: CommitPoint::from(0),
                owner: None,
            })
            .collect();
        Self {
            partitions,
            letters: Vec::new(),
            markers: Vec::new(),
            outputs: Vec::new(),
            refused_percent,
        }
    }

    pub(super) fn send(&mut self, host: usize, epoch: Epoch, flight: usize, sent: Sent) {
        self.outputs.push(Output {
            host,
            epoch,
            flight,
            sent,
            answer: None,
        });
    }

    /// Writes a record for good.
    pub(super) fn keep(&mut self, sent: &Sent) {
        match sent {
            Sent::Emit => {}
            Sent::Letter(letter) => self.letters.push(*letter),
            Sent::Marker(marker) => self.markers.push(Some(marker.clone())),
        }
    }

    /// Writes or refuses one of the outputs that were sent.
    pub(super) fn answer(&mut self, dice: &mut Dice) -> Option<Report> {
        let is_written = !dice.chance(self.refused_percent);
        let mut at = self.find(dice, |output| output.answer.is_none())?;
        if let Some(topic) = self.outputs[at].sent.topic() {
            let host = self.outputs[at].host;
            at = self.outputs.iter().position(|output| {
                (output.host, output.sent.topic(), output.answer) == (host, Some(topic), None)
            })?;
        }
        // Nothing of a marker is such that Kafka would refuse it.
        let is_written = is_written || matches!(self.outputs[at].sent, Sent::Marker(_));
        self.outputs[at].answer = Some(is_written);
        let report = self.outputs[at].report(is_written);
        if is_written {
            self.keep(&report.sent);
        }
        Some(report)
    }

    /// Takes one of the answers that nobody was told yet.
    pub(super) fn report(&mut self, dice: &mut Dice) -> Option<Report> {
        let at = self.find(dice, |output| output.answer.is_some())?;
        let output = self.outputs.remove(at);
        Some(output.report(output.answer?))
    }

    /// A host is gone. Of its letters and of its markers the last ones are not written; returns those that are.
    pub(super) fn cut(&mut self, host: usize, dice: &mut Dice) -> Vec<Report> {
        let mut is_cut = [false; 2];
        let mut written = Vec::new();
        for output in std::mem::take(&mut self.outputs) {
            match output.sent.topic() {
                Some(topic) if output.host == host && output.answer.is_none() => {
                    is_cut[topic] |= dice.chance(40);
                    if !is_cut[topic] {
                        self.keep(&output.sent);
                        written.push(output.report(true));
                    }
                }
                _ => self.outputs.push(output),
            }
        }
        written
    }

    /// Takes away the markers of which there is a later one with the same key.
    pub(super) fn compact(&mut self) {
        let mut later = BTreeSet::new();
        for marker in self.markers.iter_mut().rev() {
            marker.take_if(|(key, _)| !later.insert(key.clone()));
        }
    }

    /// Finds an output from a random place on.
    fn find(&self, dice: &mut Dice, wanted: impl Fn(&Output) -> bool) -> Option<usize> {
        let (count, first) = (self.outputs.len(), dice.below(self.outputs.len()));
        (0..count)
            .map(|step| (first + step) % count)
            .find(|at| wanted(&self.outputs[*at]))
    }
}

impl Output {
    fn report(&self, is_written: bool) -> Report {
        Report {
            epoch: self.epoch,
            flight: self.flight,
            sent: self.sent.clone(),
            is_written,
        }
    }
}
