//! How a partition's task hands its records over: one by one or in batches, be it by how many wait.

use super::PartitionTask;
use crate::bulk::Batch;
use crate::catalog::{Deployed, Handing};
use crate::deliver::{Job, deliver};
use crate::policy::LagBounds;

/// What is to be tried again before anything else.
#[derive(Debug)]
pub(super) enum Again {
    One(Job),
    Together(Batch),
}

impl Again {
    /// Takes it apart into its records, in their order.
    pub(super) fn into_jobs(self) -> Vec<Job> {
        match self {
            Self::One(job) => vec![job],
            Self::Together(batch) => batch.into_jobs(),
        }
    }

    /// Returns how many records it has.
    fn count(&self) -> usize {
        match self {
            Self::One(_) => 1,
            Self::Together(batch) => batch.count(),
        }
    }
}

impl PartitionTask {
    /// Hands over what waits, one by one or as a batch.
    pub(super) async fn hand_over(&mut self, handler: &Deployed) {
        let is_idle = self.retry.is_none() && self.waiting.is_empty() && self.take() == 0;
        let is_bulk = self.hands_batches(handler);
        if is_idle {
            return self.idle().await;
        }
        let manifest = &handler.manifest;
        match self.retry.take() {
            Some((again, _)) => self.try_again(handler, again, is_bulk).await,
            None if is_bulk => self.serve_bulk(manifest.bulk.unwrap_or_default()).await,
            None => self.serve_singles(&manifest.limits).await,
        }
    }

    /// Hands over what has waited for its next attempt. Its attempts are counted, so it goes on as it is, whatever comes
    /// after it, unless the handler is another one now that takes it only otherwise.
    async fn try_again(&mut self, handler: &Deployed, again: Again, is_bulk: bool) {
        let takes = handler.component.takes();
        let job = match again {
            Again::One(job) if takes.singles || handler.is_choosy() => job,
            Again::One(job) => return self.carry(Batch::of(job)).await,
            Again::Together(batch) if is_bulk || !(takes.singles || handler.is_choosy()) => {
                return self.carry(batch).await;
            }
            Again::Together(batch) => {
                let mut jobs = batch.into_jobs().into_iter();
                let Some(first) = jobs.next() else { return };
                for later in jobs.rev() {
                    self.waiting.push_front(later.started);
                }
                first
            }
        };
        let delivered = deliver(&mut self.lane, job).await;
        self.accept(delivered);
    }

    /// Returns whether the handler is handed batches now, after a look at how many records wait.
    pub(super) fn hands_batches(&mut self, handler: &Deployed) -> bool {
        let is_bulk = match handler.handing() {
            Handing::Singles => false,
            Handing::Batches => true,
            Handing::ByLag(bounds) => self.note_lag(handler, bounds),
        };
        if let Some(stats) = self.lane.stats() {
            stats.is_bulk.set(is_bulk.into());
        }
        is_bulk
    }

    fn note_lag(&mut self, handler: &Deployed, bounds: LagBounds) -> bool {
        let Some(lag_records) = self.waiting_records() else {
            return self.lag_switch.is_bulk();
        };
        let has_switched = self.lag_switch.note(bounds, lag_records);
        let is_bulk = self.lag_switch.is_bulk();
        if has_switched {
            tracing::info!(
                tenant = %handler.id.tenant,
                handler = %handler.id.name,
                topic = &**self.lane.topic(),
                partition = self.lane.partition(),
                lag_records,
                "records come {} from now on",
                if is_bulk { "in batches" } else { "one by one" }
            );
        }
        is_bulk
    }

    /// Returns how many records are not handled and could be: those that were not taken, as of the last fetch, and those
    /// that were taken and wait for nothing but others to be done. `None` before the first fetch.
    fn waiting_records(&self) -> Option<u64> {
        let in_kafka = (self.queue.end_offset()? - self.taken_until?).max(0);
        let retried = self.retry.as_ref().map_or(0, |(again, _)| again.count());
        let waiting = self.taken.len() + self.waiting.len() + self.parallel.waiting();
        Some(in_kafka.unsigned_abs() + (waiting + retried) as u64)
    }
}
