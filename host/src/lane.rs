//! A lane: the ordered way of one partition's records through one instance.
//!
//! Owns the instance, knows which handler serves the topic now, and carries out what `deliver` decides.
//! **Invariant:** at most one record or batch is inside; a new revision is taken up only between two of them.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;

use crate::catalog::{CatalogReader, Deployed, GroupKey};
use crate::dead_letter::{self, Reason};
use crate::flight::{Cargo, Flight, Ledger, Purpose, Started};
use crate::guest::{GuestLog, Instance, StartError};
use crate::ids::Revision;
use crate::outbox::Outbox;
use crate::outcome::{Ending, Failure, FailureKind, Settlement, Verdict};
use crate::policy::Isolation;
use crate::record::RecordView;
use crate::settle::settle;
use crate::sink::Sent;
use crate::stats::{OpenLane, Registry};

/// How long to wait when the producer's queue or the pool of instances is full.
const FULL_WAIT: Duration = Duration::from_millis(5);

/// Tells a partition's task to stop.
#[derive(Debug, Clone)]
pub(crate) struct StopSignal(watch::Receiver<bool>);

impl StopSignal {
    /// Makes a signal, and what sets it off by being sent anything or dropped.
    pub(crate) fn new() -> (watch::Sender<bool>, Self) {
        let (sender, receiver) = watch::channel(false);
        (sender, Self(receiver))
    }

    /// Returns whether the signal was set off.
    pub(crate) fn is_set(&self) -> bool {
        self.0.has_changed().unwrap_or(true)
    }

    /// Waits until the signal is set off.
    pub(crate) async fn set(&self) {
        // The clone keeps this receiver's view, which never sees the change, so the signal stays set.
        let mut receiver = self.0.clone();
        let _ = receiver.changed().await;
    }
}

/// The handler that serves a lane now, with its counters.
#[derive(Debug)]
struct Route {
    handler: Arc<Deployed>,
    stats: OpenLane,
}

/// What a lane belongs to.
#[derive(Debug, Clone)]
pub(crate) struct LanePlace {
    pub(crate) group: GroupKey,
    pub(crate) topic: Arc<str>,
    pub(crate) partition: i32,
}

/// The stop signal was set off while the lane waited; the record in it stays unsettled.
#[derive(Debug)]
pub(crate) struct Stopped;

/// See the module.
#[derive(Debug)]
pub(crate) struct Lane {
    place: LanePlace,
    catalog: CatalogReader,
    registry: Arc<Registry>,
    route: Option<Route>,
    instance: Option<(Revision, Instance)>,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) stop: StopSignal,
    /// Swapped with the instance's, so that its memory is used again.
    outbox: Outbox,
    /// Dead letters of the record at hand.
    letters: Outbox,
}

impl Lane {
    pub(crate) fn new(
        place: LanePlace,
        mut catalog: CatalogReader,
        registry: Arc<Registry>,
        ledger: Arc<Ledger>,
        stop: StopSignal,
    ) -> Self {
        catalog.mark_changed();
        Self {
            place,
            catalog,
            registry,
            route: None,
            instance: None,
            ledger,
            stop,
            outbox: Outbox::new(usize::MAX, usize::MAX),
            letters: Outbox::new(usize::MAX, usize::MAX),
        }
    }

    /// Returns the topic.
    pub(crate) fn topic(&self) -> &Arc<str> {
        &self.place.topic
    }

    /// Returns the partition.
    pub(crate) fn partition(&self) -> i32 {
        self.place.partition
    }

    /// Returns the handler that serves the lane as of now.
    pub(crate) fn route(&mut self) -> Option<Arc<Deployed>> {
        if self.catalog.has_changed().unwrap_or(false) {
            self.reroute();
        }
        self.route.as_ref().map(|route| Arc::clone(&route.handler))
    }

    fn reroute(&mut self) {
        let handler = self
            .catalog
            .borrow_and_update()
            .route(&self.place.group, &self.place.topic);
        self.route = match (handler, self.route.take()) {
            (None, _) => None,
            (Some(handler), Some(route)) if route.handler.id == handler.id => Some(Route {
                handler,
                stats: route.stats,
            }),
            (Some(handler), _) => {
                let stats = self.registry.open(&handler.id, &self.place.topic);
                Some(Route { handler, stats })
            }
        };
    }

    /// Returns the revision that serves the lane, as of the last [`Self::route`].
    pub(crate) fn revision(&self) -> Option<Revision> {
        self.route
            .as_ref()
            .map(|route| route.handler.revision.clone())
    }

    /// Returns what is told when something was deployed or removed since [`Self::route`].
    pub(crate) fn catalog(&self) -> CatalogReader {
        self.catalog.clone()
    }

    /// Returns the counters of the handler that serves the lane.
    pub(crate) fn stats(&self) -> Option<&OpenLane> {
        self.route.as_ref().map(|route| &route.stats)
    }

    /// Returns a live instance of `handler`, made anew where the last one is spent or of another revision.
    pub(crate) async fn lease(
        &mut self,
        handler: &Deployed,
    ) -> Result<Result<&mut Instance, Failure>, Stopped> {
        let usable = self.instance.as_ref().is_some_and(|(revision, instance)| {
            *revision == handler.revision && !instance.is_spent()
        });
        if !usable {
            self.instance = None;
            match self.start_instance(handler).await? {
                Ok(instance) => self.instance = Some((handler.revision.clone(), instance)),
                Err(failure) => return Ok(Err(failure)),
            }
        }
        match &mut self.instance {
            Some((_, instance)) => Ok(Ok(instance)),
            None => Ok(Err(Failure::new(FailureKind::Other, "no instance"))),
        }
    }

    async fn start_instance(
        &mut self,
        handler: &Deployed,
    ) -> Result<Result<Instance, Failure>, Stopped> {
        loop {
            let log = GuestLog::new(
                handler.id.clone(),
                Arc::clone(&self.place.topic),
                self.place.partition,
            );
            match Instance::start(&handler.component, &handler.setup, log).await {
                Ok(mut instance) => {
                    if let Some(stats) = self.stats() {
                        stats.instance_starts.increment();
                    }
                    let hook = instance
                        .assigned(&self.place.topic, self.place.partition)
                        .await;
                    return Ok(hook.map(|()| instance));
                }
                // Not the record's fault: wait for an instance of another lane to end.
                Err(StartError::PoolFull) => self.wait(FULL_WAIT).await?,
                Err(error) => return Ok(Err(Failure::new(FailureKind::Trap, error.to_string()))),
            }
        }
    }

    /// Waits, unless the stop signal is set off.
    pub(crate) async fn wait(&mut self, duration: Duration) -> Result<(), Stopped> {
        tokio::select! {
            biased;
            () = self.stop.set() => Err(Stopped),
            () = tokio::time::sleep(duration) => Ok(()),
        }
    }

    /// Decides about a failed attempt of one record, by its error hook where there is one.
    pub(crate) async fn decide(
        &mut self,
        handler: &Deployed,
        failure: &Failure,
        attempt: u32,
        record: &RecordView<'_>,
    ) -> Result<Settlement, Stopped> {
        self.note_failure(handler, failure, attempt, record.offset);
        let mut verdict = None;
        if handler.component.has_error_hook()
            && let Ok(instance) = self.lease(handler).await?
        {
            let answer = instance
                .on_error(
                    failure,
                    attempt,
                    handler.manifest.retry.max_attempts,
                    record,
                )
                .await;
            verdict = answer.and_then(|answer| log_hook_failure(handler, "on-error", answer));
        }
        Ok(self.settlement(handler, failure, attempt, verdict))
    }

    /// Decides about a failed attempt of a batch, by its error hook where there is one.
    pub(crate) async fn decide_bulk(
        &mut self,
        handler: &Deployed,
        failure: &Failure,
        attempt: u32,
        records: &[RecordView<'_>],
    ) -> Result<Settlement, Stopped> {
        self.note_failure(
            handler,
            failure,
            attempt,
            records.first().map_or(-1, |record| record.offset),
        );
        let mut verdict = None;
        if handler.component.has_bulk_error_hook()
            && let Ok(instance) = self.lease(handler).await?
        {
            let max_attempts = handler.manifest.retry.max_attempts;
            let answer = instance
                .on_bulk_error(failure, attempt, max_attempts, records)
                .await;
            verdict = answer.and_then(|answer| log_hook_failure(handler, "on-bulk-error", answer));
        }
        Ok(self.settlement(handler, failure, attempt, verdict))
    }

    fn settlement(
        &mut self,
        handler: &Deployed,
        failure: &Failure,
        attempt: u32,
        verdict: Option<Verdict>,
    ) -> Settlement {
        let manifest = &handler.manifest;
        let settlement = settle(
            failure,
            attempt,
            &manifest.retry,
            manifest.on_exhausted,
            verdict,
            jitter_unit(),
        );
        if let Settlement::Retry { .. } = settlement {
            if let Some(stats) = self.stats() {
                stats.retries.increment();
            }
        }
        // What an error hook emitted belongs to a final verdict.
        let is_final = verdict.is_some_and(|verdict| verdict != Verdict::Retry);
        if !is_final && let Some((_, instance)) = &mut self.instance {
            instance.clear_outbox();
        }
        settlement
    }

    /// Counts and logs a failed attempt.
    pub(crate) fn note_failure(
        &self,
        handler: &Deployed,
        failure: &Failure,
        attempt: u32,
        offset: i64,
    ) {
        if let Some(stats) = self.stats() {
            stats.failed(failure.kind);
        }
        tracing::warn!(
            tenant = %handler.id.tenant,
            handler = %handler.id.name,
            revision = %handler.revision,
            topic = &*self.place.topic,
            partition = self.place.partition,
            offset,
            attempt,
            kind = failure.kind.as_str(),
            error = failure.message,
            "attempt failed"
        );
    }

    /// Ends the life of one record: the finished hook, its outputs, its dead letter, its ticket.
    pub(crate) async fn finish(
        &mut self,
        handler: &Deployed,
        started: Started,
        ending: Ending,
        reason: Option<Reason<'_>>,
    ) {
        self.tell_finished(handler, ending, &started).await;
        let mut cargo = Cargo::new();
        cargo.push(started);
        self.send_off(handler, cargo, ending, reason).await;
    }

    async fn tell_finished(&mut self, handler: &Deployed, ending: Ending, started: &Started) {
        let topic = Arc::clone(&self.place.topic);
        let view = started.record.view(&topic);
        self.tell_finished_bulk(handler, ending, std::slice::from_ref(&view))
            .await;
    }

    /// Tells the finished hook that the lane stops at these records, and sends what the hooks emitted. The records stay
    /// open.
    pub(crate) async fn finish_halted(&mut self, handler: &Deployed, cargo: &[Started]) {
        let topic = Arc::clone(&self.place.topic);
        let records: Vec<_> = cargo
            .iter()
            .map(|started| started.record.view(&topic))
            .collect();
        self.tell_finished_bulk(handler, Ending::Halted, &records)
            .await;
        self.send_off(handler, Cargo::new(), Ending::Halted, None)
            .await;
    }

    /// Tells the finished hook about records of a batch that ended alike.
    pub(crate) async fn tell_finished_bulk(
        &mut self,
        handler: &Deployed,
        ending: Ending,
        records: &[RecordView<'_>],
    ) {
        if let Some((_, instance)) = &mut self.instance
            && instance.wants_finished()
            && !instance.is_spent()
            && !records.is_empty()
        {
            let told = instance.finished(records, ending).await;
            log_hook_failure(handler, "on-finished", told);
        }
    }

    /// Sends what the instance emitted, and the dead letters where there is a `reason`; completes the records when
    /// Kafka has acknowledged all of it.
    pub(crate) async fn send_off(
        &mut self,
        handler: &Deployed,
        cargo: Cargo,
        ending: Ending,
        reason: Option<Reason<'_>>,
    ) {
        if let Some((_, instance)) = &mut self.instance {
            instance.swap_outbox(&mut self.outbox);
        }
        if let Some(reason) = reason {
            for started in &cargo {
                let view = started.record.view(&self.place.topic);
                // This outbox has no bounds: a dead letter is never refused here.
                let _ = dead_letter::write(&mut self.letters, handler, &view, reason);
            }
        }
        if self.outbox.is_empty() && self.letters.is_empty() {
            self.ledger.complete(&cargo);
            if let Some(stats) = self.stats() {
                stats.ended(ending, cargo.len());
            }
        } else if let Some(flight) = self.take_off(cargo, ending) {
            send_all(handler, &self.outbox, &flight).await;
            send_all(handler, &self.letters, &flight).await;
            flight.acknowledge(Ok(()));
        }
        self.outbox.clear();
        self.letters.clear();
        self.recycle(handler);
    }

    fn take_off(&mut self, cargo: Cargo, ending: Ending) -> Option<Arc<Flight>> {
        let stats = self.route.as_ref()?.stats.stats();
        let records: usize = cargo
            .iter()
            .map(|started| started.record.size_bytes())
            .sum();
        let bytes = records + self.outbox.size_bytes() + self.letters.size_bytes();
        let purpose = if self.letters.is_empty() {
            Purpose::Outputs
        } else {
            Purpose::DeadLetter
        };
        stats.emitted.add(self.outbox.len() as u64);
        Some(self.ledger.take_off(cargo, bytes, (purpose, ending), stats))
    }

    /// Takes the empty outbox back, and gives the instance up where it must not see another record.
    fn recycle(&mut self, handler: &Deployed) {
        let Some((_, instance)) = &mut self.instance else {
            return;
        };
        instance.swap_outbox(&mut self.outbox);
        let gone = instance.is_spent()
            || instance.is_bloated()
            || handler.manifest.isolation == Isolation::Record;
        let memory = if gone {
            0
        } else {
            i64::try_from(instance.memory_bytes()).unwrap_or(i64::MAX)
        };
        if gone {
            self.instance = None;
        }
        if let Some(stats) = self.stats() {
            stats.memory_bytes.set(memory);
        }
    }

    /// Tells the guest that its partition goes, and lets the instance go.
    pub(crate) async fn close(&mut self) {
        let handler = self.route.as_ref().map(|route| Arc::clone(&route.handler));
        if let Some((_, mut instance)) = self.instance.take()
            && !instance.is_spent()
            && let Some(handler) = handler
        {
            let told = instance
                .revoked(&self.place.topic, self.place.partition)
                .await;
            log_hook_failure(&handler, "on-revoked", told);
        }
    }
}

/// Hands all records of an outbox to the producer, waiting while its queue is full.
async fn send_all(handler: &Deployed, outbox: &Outbox, flight: &Arc<Flight>) {
    for emit in outbox.iter() {
        while handler.sink.send(&emit, flight) == Sent::QueueFull {
            tokio::time::sleep(FULL_WAIT).await;
        }
    }
}

fn log_hook_failure<T>(
    handler: &Deployed,
    hook: &'static str,
    result: Result<T, Failure>,
) -> Option<T> {
    result
        .inspect_err(|failure| {
            tracing::error!(
                tenant = %handler.id.tenant,
                handler = %handler.id.name,
                hook,
                kind = failure.kind.as_str(),
                error = failure.message,
                "a hook failed; the policy of the manifest decides"
            );
        })
        .ok()
}

/// A number from 0 to 1 that differs from call to call; enough to spread retries.
fn jitter_unit() -> f64 {
    let nanos = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.subsec_nanos());
    f64::from(nanos % 1_000_003) / 1_000_003.0
}
