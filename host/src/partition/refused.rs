//! What a partition's task does about outputs that Kafka refused for good.

use super::PartitionTask;
use crate::deliver::deliver_refused;

impl PartitionTask {
    /// Deals with flights of which Kafka refused an output for good.
    pub(super) async fn settle_refused(&mut self) {
        for flight in self.ledger.take_refused() {
            let (cargo, refusal) = (flight.unload(), flight.as_refusal());
            let delivered = deliver_refused(&mut self.lane, cargo, &refusal).await;
            self.accept(delivered);
        }
    }
}
