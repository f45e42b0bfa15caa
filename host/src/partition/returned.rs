//! What a partition's task does about records that come back by a topic of their own.

use tokio::time::Instant;

use super::PartitionTask;
use crate::flight::Started;
use crate::moment::now_ms;
use crate::returned::Returned;
use crate::vitals::Vitals;

impl PartitionTask {
    /// Reads what the records that were taken last were before; `known` is how many waited already.
    pub(super) fn read_returned(&mut self, known: usize) {
        let topic = self.lane.topic();
        for started in self.waiting.iter_mut().skip(known) {
            match Returned::parse(&started.record.view(topic).headers) {
                Ok(returned) => started.returned = Some(Box::new(returned)),
                Err(error) => tracing::warn!(
                    topic = &**topic,
                    partition = self.lane.partition(),
                    offset = started.record.offset(),
                    %error,
                    "the record did not come from here; it is handled as one of this topic"
                ),
            }
        }
    }
}

/// Returns when a record that came back is due, if that is to be waited for, which others can then see.
pub(super) fn due(started: &Started, vitals: &Vitals) -> Option<Instant> {
    let wait = started.returned.as_ref()?.wait(now_ms())?;
    let at = Instant::now().checked_add(wait)?;
    vitals.wait(started.record.offset(), at);
    Some(at)
}
