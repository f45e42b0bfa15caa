//! The hooks in the order in which a record or a batch meets them.
//!
//! did-receive, then on-message or on-tombstone; on-error and on-finished are called by the flow, which decides in
//! between. Missing hooks fall back as wit/ says.
//! **Invariant:** a failed hook leaves an empty outbox.

use tokio::time::Instant;

use super::bindings::json::HeadParam;
use super::bindings::{
    FailureParam, HandlerError, HeaderParam, MessageParam, MessageResult, OutcomeParam,
    header_params,
};
use super::instance::{BulkOutcome, Instance, OnView};
use super::packed::Packed;
use crate::outcome::{Ending, Failure, FailureKind, Outcome, Verdict};
use crate::prefix::TopicPrefix;
use crate::record::{Changed, RecordView};
use crate::route::EventCall;

impl Instance {
    /// Handles one record, as an event where the component has a hook for it. `started` is the reading of the clock that
    /// the deadline counts from.
    pub(crate) async fn handle(
        &mut self,
        record: &RecordView<'_>,
        event: Option<&EventCall>,
        started: Instant,
    ) -> Outcome {
        self.begin(record.offset, true);
        let outcome = match self.try_handle(record, event, started).await {
            Ok(outcome) => outcome,
            Err(failure) => Outcome::Failed(failure),
        };
        if matches!(outcome, Outcome::Failed(_)) && !self.outbox().is_empty() {
            self.clear_outbox();
        }
        self.store.data_mut().current.release();
        outcome
    }

    async fn try_handle(
        &mut self,
        record: &RecordView<'_>,
        event: Option<&EventCall>,
        started: Instant,
    ) -> Result<Outcome, Failure> {
        if self.functions.did_receive.is_none() {
            return self.on_record(record, event, started).await;
        }
        match self.did_receive(record, started).await? {
            None => Ok(Outcome::Filtered),
            Some(changed) => {
                let changed = Changed::from(changed);
                self.on_record(&changed.view(record), event, Instant::now())
                    .await
            }
        }
    }

    async fn did_receive(
        &mut self,
        record: &RecordView<'_>,
        started: Instant,
    ) -> Result<Option<MessageResult>, Failure> {
        let Some(function) = self.functions.did_receive else {
            return Ok(None);
        };
        self.store.data_mut().current.keep(record);
        let headers = header_params(&record.headers);
        let message = self.message(record, &headers);
        let (result,) = self
            .call(&function, (message,), started + self.deadline)
            .await?;
        Ok(result?)
    }

    async fn on_record(
        &mut self,
        record: &RecordView<'_>,
        event: Option<&EventCall>,
        started: Instant,
    ) -> Result<Outcome, Failure> {
        if let Some(event) = event {
            return self.on_event(record, event, started).await;
        }
        let functions = &self.functions;
        let tombstone = if record.value.is_none() {
            functions.on_tombstone
        } else {
            None
        };
        if let (None, Some(function)) = (tombstone, functions.on_view) {
            return self.on_view(function, record, started).await;
        }
        let Some(function) = tombstone.or(functions.on_message) else {
            self.store.data_mut().current.release();
            return self.on_single_batch(record, started).await;
        };
        self.store.data_mut().current.keep(record);
        let headers = header_params(&record.headers);
        let message = self.message(record, &headers);
        let (result,) = self
            .call(&function, (message,), started + self.deadline)
            .await?;
        result?;
        Ok(Outcome::Handled)
    }

    async fn on_event(
        &mut self,
        record: &RecordView<'_>,
        event: &EventCall,
        started: Instant,
    ) -> Result<Outcome, Failure> {
        let Some(function) = self.functions.on_event else {
            let what = "the component has no hook for events";
            return Err(Failure::new(FailureKind::Other, what));
        };
        self.store.data_mut().current.keep(record);
        let headers = header_params(&record.headers);
        let message = self.message(record, &headers);
        let params = (&*event.pattern, event.event.as_str(), message);
        let (result,) = self
            .call(&function, params, started + self.deadline)
            .await?;
        result?;
        Ok(Outcome::Handled)
    }

    /// Shows the guest what the record is; it asks for the rest.
    async fn on_view(
        &mut self,
        function: OnView,
        record: &RecordView<'_>,
        started: Instant,
    ) -> Result<Outcome, Failure> {
        self.store.data_mut().current.keep(record);
        let head = HeadParam::new(record, &self.store.data().prefix);
        let (result,) = self
            .call(&function, (head,), started + self.deadline)
            .await?;
        result?;
        Ok(Outcome::Handled)
    }

    /// A component that only takes batches gets a single record as a batch of one.
    async fn on_single_batch(
        &mut self,
        record: &RecordView<'_>,
        started: Instant,
    ) -> Result<Outcome, Failure> {
        match self
            .on_batch(std::slice::from_ref(record), started)
            .await?
            .pop()
        {
            Some((_, failure)) => Err(failure),
            None => Ok(Outcome::Handled),
        }
    }

    /// Handles a batch.
    pub(crate) async fn handle_bulk(
        &mut self,
        records: &[RecordView<'_>],
        started: Instant,
    ) -> BulkOutcome {
        self.begin(records.first().map_or(-1, |record| record.offset), true);
        let result = self.try_handle_bulk(records, started).await;
        result.unwrap_or_else(|failure| {
            self.clear_outbox();
            BulkOutcome::Failed(failure)
        })
    }

    async fn try_handle_bulk(
        &mut self,
        records: &[RecordView<'_>],
        started: Instant,
    ) -> Result<BulkOutcome, Failure> {
        let Some(function) = self.functions.did_receive_bulk else {
            let failed = self.on_batch(records, started).await?;
            return Ok(BulkOutcome::Handled {
                filtered: Vec::new(),
                failed,
            });
        };
        let received = {
            let headers = batch_headers(records);
            let batch = batch_params(records, &headers, &self.store.data().prefix);
            let (result,) = self
                .call(&function, (batch.as_slice(),), started + self.deadline)
                .await?;
            result?
        };
        let (places, kept) = places(records, received);
        let kept: Vec<_> = kept
            .iter()
            .map(|(changed, original)| changed.view(original))
            .collect();
        let mut kept_places = places.iter().peekable();
        let filtered = (0..records.len())
            .filter(|place| kept_places.next_if_eq(&place).is_none())
            .collect();
        if kept.is_empty() {
            return Ok(BulkOutcome::Handled {
                filtered,
                failed: Vec::new(),
            });
        }
        let failed = self.on_batch(&kept, Instant::now()).await?;
        // The hook counts within what it was given.
        let failed = failed
            .into_iter()
            .filter_map(|(index, failure)| Some((*places.get(index)?, failure)))
            .collect();
        Ok(BulkOutcome::Handled { filtered, failed })
    }

    async fn on_batch(
        &mut self,
        records: &[RecordView<'_>],
        started: Instant,
    ) -> Result<Vec<(usize, Failure)>, Failure> {
        let deadline = started + self.deadline;
        let (result,) = if let Some(function) = self.functions.on_packed_bulk {
            let batch = Packed::new(records, &self.store.data().prefix)?;
            self.call(&function, (batch.param(),), deadline).await?
        } else if let Some(function) = self.functions.on_bulk {
            let headers = batch_headers(records);
            let batch = batch_params(records, &headers, &self.store.data().prefix);
            self.call(&function, (batch.as_slice(),), deadline).await?
        } else {
            let what = "the component has no hook for batches";
            return Err(Failure::new(FailureKind::Other, what));
        };
        let mut failed = Vec::new();
        for failure in result? {
            let index = usize::try_from(failure.index).unwrap_or(usize::MAX);
            if index >= records.len() {
                let message = format!(
                    "the hook named record {index} of a batch of {} as failed",
                    records.len()
                );
                return Err(Failure::new(FailureKind::Other, message));
            }
            failed.push((index, failure.error.into()));
        }
        failed.sort_by_key(|(index, _)| *index);
        failed.dedup_by_key(|(index, _)| *index);
        Ok(failed)
    }

    /// Asks the error hook about a failed attempt; `None` when there is no such hook.
    pub(crate) async fn on_error(
        &mut self,
        failure: &Failure,
        attempt: u32,
        max_attempts: u32,
        record: &RecordView<'_>,
    ) -> Option<Result<Verdict, Failure>> {
        let function = self.functions.on_error?;
        self.begin(record.offset, true);
        self.store.data_mut().current.keep(record);
        let headers = header_params(&record.headers);
        let params = (
            FailureParam::new(failure, attempt, max_attempts),
            self.message(record, &headers),
        );
        let deadline = Instant::now() + self.deadline;
        let answer = self.call(&function, params, deadline).await;
        Some(self.verdict(answer))
    }

    /// Asks the error hook for batches; `None` when there is no such hook.
    pub(crate) async fn on_bulk_error(
        &mut self,
        failure: &Failure,
        attempt: u32,
        max_attempts: u32,
        records: &[RecordView<'_>],
    ) -> Option<Result<Verdict, Failure>> {
        let function = self.functions.on_bulk_error?;
        self.begin(records.first().map_or(-1, |record| record.offset), true);
        let headers = batch_headers(records);
        let batch = batch_params(records, &headers, &self.store.data().prefix);
        let params = (
            FailureParam::new(failure, attempt, max_attempts),
            batch.as_slice(),
        );
        let deadline = Instant::now() + self.deadline;
        let answer = self.call(&function, params, deadline).await;
        Some(self.verdict(answer))
    }

    fn verdict(
        &mut self,
        answer: Result<(super::bindings::VerdictResult,), Failure>,
    ) -> Result<Verdict, Failure> {
        self.store.data_mut().current.release();
        match answer {
            Ok((verdict,)) => Ok(verdict.into()),
            Err(failure) => {
                self.clear_outbox();
                Err(failure)
            }
        }
    }

    /// Tells the finished hook, if there is one, how records ended.
    pub(crate) async fn finished(
        &mut self,
        records: &[RecordView<'_>],
        ending: Ending,
    ) -> Result<(), Failure> {
        let Some(function) = self.functions.on_finished else {
            return Ok(());
        };
        self.begin(records.first().map_or(-1, |record| record.offset), true);
        let headers = batch_headers(records);
        let batch = batch_params(records, &headers, &self.store.data().prefix);
        let mark = self.outbox().mark();
        let deadline = Instant::now() + self.deadline;
        let result = self
            .call(
                &function,
                (batch.as_slice(), OutcomeParam::from(ending)),
                deadline,
            )
            .await;
        if result.is_err() {
            self.store.data_mut().outbox.rewind(mark);
        }
        result
    }

    /// Tells the partition hook that the partition was assigned.
    pub(crate) async fn assigned(&mut self, topic: &str, partition: i32) -> Result<(), Failure> {
        let function = self.functions.on_assigned;
        self.on_partition(function, topic, partition).await
    }

    /// Tells the partition hook that the partition is given up.
    pub(crate) async fn revoked(&mut self, topic: &str, partition: i32) -> Result<(), Failure> {
        let function = self.functions.on_revoked;
        self.on_partition(function, topic, partition).await
    }

    async fn on_partition(
        &mut self,
        function: Option<wasmtime::component::TypedFunc<(&'static str, u32), ()>>,
        topic: &str,
        partition: i32,
    ) -> Result<(), Failure> {
        let Some(function) = function else {
            return Ok(());
        };
        self.begin(-1, false);
        let deadline = Instant::now() + self.deadline;
        let prefix = self.store.data().prefix.clone();
        let topic = prefix.short(topic);
        self.call(&function, (topic, partition.cast_unsigned()), deadline)
            .await
    }

    /// Returns a record as guests see it.
    pub(super) fn message<'a>(
        &self,
        record: &RecordView<'a>,
        headers: &'a [HeaderParam<'a>],
    ) -> MessageParam<'a> {
        MessageParam::new(record, headers, &self.store.data().prefix)
    }

    pub(super) fn begin(&mut self, offset: i64, may_emit: bool) {
        let state = self.store.data_mut();
        state.current.release();
        state.may_emit = may_emit;
        state.log.begin(offset);
    }
}

impl From<HandlerError> for Outcome {
    fn from(error: HandlerError) -> Self {
        Self::Failed(error.into())
    }
}

fn batch_headers<'a>(records: &'a [RecordView<'a>]) -> Vec<Vec<HeaderParam<'a>>> {
    records
        .iter()
        .map(|record| header_params(&record.headers))
        .collect()
}

fn batch_params<'a>(
    records: &'a [RecordView<'a>],
    headers: &'a [Vec<HeaderParam<'a>>],
    prefix: &TopicPrefix,
) -> Vec<MessageParam<'a>> {
    records
        .iter()
        .zip(headers)
        .map(|(record, headers)| MessageParam::new(record, headers, prefix))
        .collect()
}

/// Finds what `did-receive-bulk` kept: each record's place in the batch, and the record as it was returned, with the
/// original. Records of other offsets, or out of order, are not known here and are left out.
fn places<'a>(
    records: &'a [RecordView<'a>],
    received: Vec<MessageResult>,
) -> (Vec<usize>, Vec<(Changed, &'a RecordView<'a>)>) {
    let offsets = records.iter().map(|record| record.offset.cast_unsigned());
    let mut by_offset: Vec<(u64, usize)> = offsets.zip(0..).collect();
    by_offset.sort_unstable();
    let mut places = Vec::new();
    let mut kept = Vec::new();
    let mut from = 0;
    for result in received {
        let next = by_offset.partition_point(|known| *known < (result.offset, from));
        let found = by_offset.get(next).filter(|known| known.0 == result.offset);
        if let Some((place, original)) =
            found.and_then(|(_, place)| Some((*place, records.get(*place)?)))
        {
            places.push(place);
            kept.push((Changed::from(result), original));
            from = place + 1;
        }
    }
    (places, kept)
}
