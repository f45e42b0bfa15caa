//! What a lane does about a failed attempt: count it, ask the error hook, decide.

use std::time::SystemTime;

use super::{Lane, Stopped, log_hook_failure};
use crate::catalog::Deployed;
use crate::flight::{Attempt, Started};
use crate::outcome::{Failure, Settlement, Verdict};
use crate::record::RecordView;
use crate::settle::{BatchSettlement, Tried, settle, settle_batch};
use crate::suspects::{Refusal, Suspicion};

impl Lane {
    /// Returns what was refused of the record when it was part of an earlier transaction, if the handler whose turn it is
    /// emitted it.
    pub(crate) fn refusal_of(&self, handler: &Deployed, started: &Started) -> Option<Refusal> {
        match self.suspicion(started)? {
            Suspicion::Refused(refusals) => refusals
                .into_iter()
                .find(|refusal| refusal.is_of(&handler.id, self.share())),
            Suspicion::Batch => None,
        }
    }

    /// Returns whether an output of the record, or of its batch, was refused in an earlier transaction.
    pub(crate) fn is_suspect(&self, started: &Started) -> bool {
        self.suspicion(started).is_some()
    }

    fn suspicion(&self, started: &Started) -> Option<Suspicion> {
        self.ledger.suspects()?.look(started.record.offset())
    }

    /// Decides about a failed attempt of one record, by its error hook where there is one.
    pub(crate) async fn decide(
        &mut self,
        handler: &Deployed,
        failure: &Failure,
        attempt: Attempt,
        record: &RecordView<'_>,
    ) -> Result<Settlement, Stopped> {
        self.note_failure(handler, failure, attempt.number, Some(record));
        if let Some(settlement) = failure.settlement {
            return Ok(settlement);
        }
        let mut verdict = None;
        if handler.component.has_error_hook() {
            let max_attempts = handler.manifest.retry.on(failure.kind).max_attempts;
            let told = match self.lease_patiently(handler).await? {
                Ok((instance, patience)) => {
                    let call = instance.on_error(failure, attempt.number, max_attempts, record);
                    patience.with(call).await
                }
                Err(_) => Ok(None),
            };
            verdict = self.verdict(handler, "on-error", told)?;
        }
        Ok(self.settlement(handler, failure, attempt, verdict))
    }

    /// Decides about a failed attempt of a batch, by its error hook where there is one.
    pub(crate) async fn decide_bulk(
        &mut self,
        handler: &Deployed,
        failure: &Failure,
        attempt: Attempt,
        records: &[RecordView<'_>],
    ) -> Result<BatchSettlement, Stopped> {
        self.note_failure(handler, failure, attempt.number, records.first());
        let mut verdict = None;
        if handler.component.has_bulk_error_hook() {
            let max_attempts = handler.manifest.retry.on(failure.kind).max_attempts;
            let told = match self.lease_patiently(handler).await? {
                Ok((instance, patience)) => {
                    let call =
                        instance.on_bulk_error(failure, attempt.number, max_attempts, records);
                    patience.with(call).await
                }
                Err(_) => Ok(None),
            };
            verdict = self.verdict(handler, "on-bulk-error", told)?;
        }
        let settlement = self.settlement(handler, failure, attempt, verdict);
        Ok(settle_batch(settlement, verdict, records.len()))
    }

    /// Takes the answer of an error hook, if there is one; an instance that was left at work goes.
    fn verdict(
        &mut self,
        handler: &Deployed,
        hook: &'static str,
        told: Result<Option<Result<Verdict, Failure>>, Stopped>,
    ) -> Result<Option<Verdict>, Stopped> {
        let Ok(answer) = told else {
            self.rest();
            return Err(Stopped);
        };
        Ok(answer.and_then(|answer| log_hook_failure(handler, hook, answer)))
    }

    fn settlement(
        &mut self,
        handler: &Deployed,
        failure: &Failure,
        attempt: Attempt,
        verdict: Option<Verdict>,
    ) -> Settlement {
        let manifest = &handler.manifest;
        let tried = Tried {
            attempts: attempt.number,
            age: attempt.age(),
        };
        let settlement = settle(
            failure,
            tried,
            &manifest.retry,
            manifest.on_exhausted,
            verdict,
            jitter_unit(),
        );
        if let Settlement::Retry { .. } = settlement
            && let Some(stats) = self.stats()
        {
            stats.retries.increment();
        }
        // What an error hook emitted belongs to a final verdict.
        let is_final = verdict.is_some_and(|verdict| verdict != Verdict::Retry);
        if !is_final && let Some((_, instance)) = &mut self.instance {
            instance.clear_outbox();
        }
        settlement
    }

    /// Counts and logs that nobody takes a record.
    pub(crate) fn note_unmatched(&self, first: &Deployed, failure: &Failure, cargo: &[Started]) {
        let view = cargo.first().map(|started| started.view(self.topic()));
        self.note_failure(first, failure, 0, view.as_ref());
    }

    /// Counts and logs a failed attempt. `first` is the record, or the first one of a batch.
    pub(crate) fn note_failure(
        &self,
        handler: &Deployed,
        failure: &Failure,
        attempt: u32,
        first: Option<&RecordView<'_>>,
    ) {
        if let Some(stats) = self.stats() {
            stats.failed(failure.kind);
        }
        tracing::warn!(
            tenant = %handler.id.tenant,
            handler = %handler.id.name,
            revision = %handler.revision,
            topic = first.map_or(&*self.place.topic, |first| first.topic),
            partition = first.map_or(self.place.partition, |first| first.partition),
            offset = first.map_or(-1, |first| first.offset),
            attempt,
            kind = failure.kind.as_str(),
            error = failure.excerpt(),
            "attempt failed"
        );
    }
}

/// A number from 0 to 1 that differs from call to call; enough to spread retries.
fn jitter_unit() -> f64 {
    let nanos = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.subsec_nanos());
    f64::from(nanos % 1_000_003) / 1_000_003.0
}
