//! How positions are committed where delivery is exactly once: in the transaction of the outputs.
//!
//! Driven by the consumer's thread, between two polls and in revocations. A transaction that cannot be committed is
//! aborted: all work of the group on this host ends, its partitions are read again from what is committed.
//! **Invariant:** between the end of a transaction that was not committed and the next one no lane is at work on records
//! of before.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rdkafka::consumer::BaseConsumer;
use tokio::time::Instant;

use super::commit::offsets;
use super::rebalance::{Callbacks, Fenced, Position, RebalanceListener};
use super::status::SourceStatus;
use super::transactions::{Error, Transactions};
use crate::offset_map::CommitPoint;

/// How long a commit waits for lanes that are sending.
const CLOSE_MAX: Duration = Duration::from_secs(1);
/// How long lanes may be sending: longer, and the producer takes no more because Kafka does not answer.
const SENDING_MAX: Duration = Duration::from_secs(10);
/// How long the consumer's thread waits before it tries again what the brokers cannot do.
const AGAIN_AFTER: Duration = Duration::from_secs(5);
/// How long it waits before another producer takes the place of one that is of no use.
const NEXT_AFTER: Duration = Duration::from_millis(500);

/// Topic and partition.
type Name = (String, i32);

#[derive(Debug)]
enum Phase {
    /// There has been no transaction yet, so nothing is subscribed to.
    Starting,
    /// A transaction is begun.
    Up,
    /// The last one is to be aborted. These partitions are then read again.
    Down(Vec<Fenced>),
}

#[derive(Debug)]
struct State {
    phase: Phase,
    due: Instant,
    /// What was committed last.
    committed: HashMap<Name, CommitPoint>,
    /// Since when commits wait for lanes that are sending.
    waits_since: Option<Instant>,
}

/// See the module.
pub(super) struct ExactlyOnce {
    group: String,
    transactions: Arc<Transactions>,
    listener: Arc<dyn RebalanceListener>,
    status: Arc<SourceStatus>,
    state: Mutex<State>,
}

impl ExactlyOnce {
    pub(super) fn new(
        group: String,
        transactions: Arc<Transactions>,
        listener: Arc<dyn RebalanceListener>,
        status: Arc<SourceStatus>,
    ) -> Self {
        Self {
            group,
            transactions,
            listener,
            status,
            state: Mutex::new(State {
                phase: Phase::Starting,
                due: Instant::now(),
                committed: HashMap::new(),
                waits_since: None,
            }),
        }
    }

    /// Returns whether there has been a transaction.
    pub(super) fn has_started(&self) -> bool {
        !matches!(self.state.lock().phase, Phase::Starting)
    }

    /// Returns the time until [`Self::tend`] has something to do.
    pub(super) fn rest(&self) -> Duration {
        self.state
            .lock()
            .due
            .saturating_duration_since(Instant::now())
    }

    /// Does what is due: begins, commits, or aborts and has the fenced partitions read again, which are returned then.
    pub(super) fn tend(&self, consumer: &BaseConsumer<Callbacks>) -> Vec<Fenced> {
        if self.state.lock().due > Instant::now() {
            return Vec::new();
        }
        let mut state = self.state.lock();
        match &mut state.phase {
            Phase::Starting => {
                let result = self.transactions.start();
                self.has_begun(&mut state, result);
                Vec::new()
            }
            Phase::Up => {
                drop(state);
                self.commit(consumer, Vec::new());
                Vec::new()
            }
            Phase::Down(fenced) => {
                let fenced_now = std::mem::take(fenced);
                let result = self.transactions.abort();
                if self.has_begun(&mut state, result) {
                    return fenced_now;
                }
                if let Phase::Down(fenced) = &mut state.phase {
                    *fenced = fenced_now;
                }
                Vec::new()
            }
        }
    }

    /// Takes note of an attempt to begin; returns whether a transaction is begun now.
    fn has_begun(&self, state: &mut State, result: Result<(), Error>) -> bool {
        let now = Instant::now();
        match result {
            Ok(()) => {
                if matches!(state.phase, Phase::Starting) {
                    tracing::info!(
                        group = self.group,
                        id = self.transactions.id(),
                        "transactions begin"
                    );
                }
                self.status.set_standstill(None);
                state.phase = Phase::Up;
                state.due = now + self.transactions.interval;
                return true;
            }
            Err(Error::Unsupported(why)) => self.refuse(state, &why),
            Err(error) => {
                let why = format!("no transaction can be begun: {error}");
                if self.status.set_standstill(Some(why.clone())) {
                    tracing::warn!(group = self.group, why, "trying again");
                }
                // A call that had no answer waited long enough. Another producer is not made as fast as that can be done.
                let has_waited = matches!(error, Error::Again(_));
                state.due = if has_waited { now } else { now + NEXT_AFTER };
            }
        }
        false
    }

    /// Says why the group is not read, and that it is not to be soon.
    fn refuse(&self, state: &mut State, why: &str) {
        let why = format!(
            "delivery = \"exactly-once\" is not possible: {why} (Kafka 2.5 or newer is needed, and the right to the \
             transactional id; or delivery = \"at-least-once\")"
        );
        if self.status.set_standstill(Some(why.clone())) {
            tracing::error!(group = self.group, why, "the group is not read");
        }
        state.due = Instant::now() + AGAIN_AFTER;
    }

    /// Commits what is complete, and the positions of partitions that go. Returns whether that is done.
    pub(super) fn commit(&self, consumer: &BaseConsumer<Callbacks>, going: Vec<Position>) -> bool {
        let mut state = self.state.lock();
        let now = Instant::now();
        state.due = now + self.transactions.interval;
        if !matches!(state.phase, Phase::Up) {
            return false;
        }
        let gate = &self.transactions.gate;
        if gate.close(CLOSE_MAX).is_none() {
            let since = *state.waits_since.get_or_insert(now);
            if since.elapsed() > SENDING_MAX || !going.is_empty() {
                self.fail(&mut state, "kafka takes no more outputs");
            }
            return false;
        }
        state.waits_since = None;
        if gate.is_torn() {
            self.fail(&mut state, "an output was refused or broke off");
            return false;
        }
        let mut positions = self.listener.positions();
        positions.extend(going);
        positions.retain(|position| state.committed.get(&name(position)) != Some(&position.point));
        if positions.is_empty() && !gate.was_passed() {
            if let Some(sink) = self.transactions.sink() {
                gate.open(sink);
            }
            return true;
        }
        match self.transactions.commit(consumer, &offsets(&positions)) {
            Ok(()) => {
                self.listener.committed(&positions);
                let committed = positions
                    .into_iter()
                    .map(|position| (name(&position), position.point));
                state.committed.extend(committed);
                true
            }
            Err(error) => {
                if matches!(error, Error::Rebuild(_) | Error::Unsupported(_)) {
                    self.transactions.discard();
                }
                self.fail(&mut state, &error.to_string());
                if let Error::Unsupported(why) = error {
                    self.refuse(&mut state, &why);
                }
                false
            }
        }
    }

    /// Ends all work on what is not committed; the transaction is aborted when the thread comes by.
    pub(super) fn give_up(&self, why: &str) {
        let mut state = self.state.lock();
        if matches!(state.phase, Phase::Up) {
            self.fail(&mut state, why);
        }
    }

    fn fail(&self, state: &mut State, why: &str) {
        self.transactions.gate.shut();
        let fenced = self.listener.fence();
        tracing::warn!(
            group = self.group,
            partitions = fenced.len(),
            why,
            "the transaction is aborted; its records are handled again"
        );
        state.phase = Phase::Down(fenced);
        state.due = Instant::now();
        state.waits_since = None;
        state.committed.clear();
    }

    /// Forgets all partitions, since the consumer that had them is no member any more.
    pub(super) fn forget_all(&self) {
        let mut state = self.state.lock();
        state.committed.clear();
        if let Phase::Down(fenced) = &mut state.phase {
            fenced.clear();
        }
    }

    /// Forgets partitions that were revoked.
    pub(super) fn forget(&self, partitions: &[Name]) {
        let mut state = self.state.lock();
        for name in partitions {
            state.committed.remove(name);
        }
        if let Phase::Down(fenced) = &mut state.phase {
            fenced.retain(|fenced| !partitions.contains(&fenced.name));
        }
    }
}

fn name(position: &Position) -> Name {
    (position.topic.to_string(), position.partition)
}

#[cfg(test)]
mod tests;
