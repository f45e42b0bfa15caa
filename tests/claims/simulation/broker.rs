//! The model of Kafka: logs, one group's committed positions, and the outputs on their way.
//!
//! Outputs are answered and reported in any order, each as late as chance has it. What was sent by a host that
//! crashed may still be written, but nobody is told.
//! **Invariant:** only the present owner of a partition moves its committed position.

use harness::dice::Dice;
use kafka_wasm_host::offset_map::CommitPoint;

use super::scenario::Entry;

/// Counts assignments of partitions to hosts, over the whole run.
pub(super) type Epoch = usize;
/// A record: its partition, and its place among the records there, which is not its offset.
pub(super) type Place = (usize, usize);

/// One partition of the topic that is consumed.
#[derive(Debug)]
pub(super) struct Partition {
    pub(super) records: Vec<Entry>,
    /// How many of the records were produced so far.
    pub(super) visible: usize,
    pub(super) committed: CommitPoint,
    pub(super) owner: Option<Epoch>,
}

/// A record that a host sent.
#[derive(Debug)]
struct Output {
    epoch: Epoch,
    flight: usize,
    /// Whether it was written, once the broker has decided.
    answer: Option<bool>,
}

/// What the broker says about one output.
#[derive(Debug, Clone, Copy)]
pub(super) struct Report {
    pub(super) epoch: Epoch,
    pub(super) flight: usize,
    pub(super) is_written: bool,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Broker {
    pub(super) partitions: Vec<Partition>,
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
            outputs: Vec::new(),
            refused_percent,
        }
    }

    pub(super) fn send(&mut self, epoch: Epoch, flight: usize) {
        self.outputs.push(Output {
            epoch,
            flight,
            answer: None,
        });
    }

    /// Writes or refuses one of the outputs that were sent.
    pub(super) fn answer(&mut self, dice: &mut Dice) -> Option<Report> {
        let is_written = !dice.chance(self.refused_percent);
        let at = self.find(dice, |output| output.answer.is_none())?;
        let output = &mut self.outputs[at];
        output.answer = Some(is_written);
        Some(Report {
            epoch: output.epoch,
            flight: output.flight,
            is_written,
        })
    }

    /// Takes one of the answers that nobody was told yet.
    pub(super) fn report(&mut self, dice: &mut Dice) -> Option<Report> {
        let at = self.find(dice, |output| output.answer.is_some())?;
        let output = self.outputs.swap_remove(at);
        Some(Report {
            epoch: output.epoch,
            flight: output.flight,
            is_written: output.answer?,
        })
    }

    /// Finds an output from a random place on.
    fn find(&self, dice: &mut Dice, wanted: impl Fn(&Output) -> bool) -> Option<usize> {
        let (count, first) = (self.outputs.len(), dice.below(self.outputs.len()));
        (0..count)
            .map(|step| (first + step) % count)
            .find(|at| wanted(&self.outputs[*at]))
    }
}
