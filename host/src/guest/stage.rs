//! A component that works beside a handler's own: what it is called, and what its instances are made with.
//!
//! Calls of middleware are here as well.
//! **Invariant:** a stage never changes; a new revision of a handler has stages of its own.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::bindings::{ReceptionResult, header_params};
use super::component::Handler;
use super::instance::Instance;
use super::setup::Setup;
use crate::outcome::{Failure, FailureKind};
use crate::record::{Changed, RecordView};
use crate::stats::{Received, StageStats};

/// See the module.
#[derive(Debug)]
pub(crate) struct Stage {
    /// What messages and metrics call it.
    pub(crate) name: String,
    pub(crate) component: Handler,
    pub(crate) setup: Setup,
    pub(crate) stats: Arc<StageStats>,
}

impl Stage {
    /// Counts what it did with a record, and how long that took.
    pub(crate) fn note(&self, reception: &Result<Reception, Failure>, took: Duration) {
        let received = match reception {
            Ok(Reception::Pass) => Received::Passed,
            Ok(Reception::Change(_)) => Received::Changed,
            Ok(Reception::Drop) => Received::Dropped,
            Err(_) => Received::Failed,
        };
        self.stats.note(received, took);
    }
}

/// What middleware makes of a record.
#[derive(Debug)]
pub(crate) enum Reception {
    /// It goes on as it is.
    Pass,
    /// This one goes on in its place.
    Change(Changed),
    /// It ends here.
    Drop,
}

impl Instance {
    /// Lets middleware see a record. `started` is the reading of the clock that the deadline counts from.
    pub(crate) async fn receive(
        &mut self,
        record: &RecordView<'_>,
        started: Instant,
    ) -> Result<Reception, Failure> {
        let Some(function) = self.functions.middleware else {
            let what = "the component is no middleware";
            return Err(Failure::new(FailureKind::Other, what));
        };
        self.begin(record.offset, false);
        self.store.data_mut().current.keep(record);
        let headers = header_params(&record.headers);
        let message = self.message(record, &headers);
        let answer = self
            .call(&function, (message,), started + self.deadline)
            .await;
        self.store.data_mut().current.release();
        let (reception,) = answer?;
        Ok(match reception? {
            ReceptionResult::Pass => Reception::Pass,
            ReceptionResult::Change(message) => Reception::Change(message.into()),
            ReceptionResult::Drop => Reception::Drop,
        })
    }
}
