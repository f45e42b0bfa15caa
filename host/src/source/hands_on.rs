//! For tests: a flow that hands its queues on and has nothing to commit.

use std::sync::mpsc;

use super::{Fenced, PartitionQueue, Position, RebalanceListener};

/// Hands the queues on; the flow is the test.
pub(super) struct HandsOn(pub(super) mpsc::SyncSender<PartitionQueue>);

impl RebalanceListener for HandsOn {
    fn assigned(&self, queues: Vec<PartitionQueue>) {
        for queue in queues {
            self.0.send(queue).unwrap();
        }
    }

    fn revoked(&self, _: &[(String, i32)], _: bool) -> Vec<Position> {
        Vec::new()
    }

    fn leaving(&self) -> Vec<Position> {
        Vec::new()
    }

    fn positions(&self) -> Vec<Position> {
        Vec::new()
    }

    fn committed(&self, _: &[Position]) {}

    fn fence(&self) -> Vec<Fenced> {
        Vec::new()
    }

    fn closed(&self) {}
}
