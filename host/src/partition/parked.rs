//! What a partition's task does about parked keys: it reads which there are before the first record is taken, and answers
//! the command that replays one.

use std::sync::Arc;

use super::{PartitionTask, pause};
use crate::catalog::{self, Deployed};
use crate::source::Record;

impl PartitionTask {
    /// Brings the parked keys up to date; returns whether it is known which there are.
    pub(super) async fn tend_parked(&mut self, handler: &Deployed) -> bool {
        if !self.lane.parked().is_restored() {
            let (parked, catalog) = (Arc::clone(self.lane.parked()), self.lane.catalog());
            let event = async {
                tokio::select! {
                    biased;
                    () = parked.restore() => {}
                    () = catalog::changed(catalog) => {}
                }
            };
            pause(&mut self.lane, event).await;
            return self.lane.parked().is_restored();
        }
        self.answer_parked(handler).await;
        true
    }

    /// Brings the parked keys up to date while no record is begun.
    pub(super) async fn tend_parked_meanwhile(&mut self) {
        let Some(handler) = self.lane.route() else {
            return;
        };
        if handler.parks() && self.lane.parked().is_restored() {
            self.answer_parked(&handler).await;
        }
    }

    async fn answer_parked(&mut self, handler: &Deployed) {
        let news = self.lane.parked().tend(|| self.complete_below());
        if !news.is_empty() {
            self.lane.write_news(handler, news).await;
        }
    }

    /// Returns an offset below which every record of the partition is complete, where one is known.
    fn complete_below(&self) -> Option<i64> {
        let (oldest, ..) = self.ledger.front();
        let not_started = self.taken.first().map(Record::offset);
        oldest
            .or(not_started)
            .or(self.taken_until)
            .or(self.queue.begin())
    }
}
