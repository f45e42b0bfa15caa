//! How records leave a lane: the finished hook, their outputs, their dead letters, their tickets.

use std::sync::Arc;

use super::hops::{Hops, Mail, Sender, counted};
use super::{FULL_WAIT, Lane, Stopped, log_hook_failure};
use crate::catalog::Deployed;
use crate::dead_letter::{self, Reason};
use crate::flight::{Cargo, Flight, FlightKind, Mending, Part, Purpose, Repair, Started};
use crate::gate::Pass;
use crate::outbox::Outbox;
use crate::outcome::Ending;
use crate::policy::Isolation;
use crate::record::Fingerprint;
use crate::sink::{Sent, Sink};
use crate::vitals::Doing;

impl Lane {
    /// Ends the life of one record: the finished hook, its outputs, its dead letter, its ticket. It stays open where the
    /// partition goes meanwhile.
    pub(crate) async fn finish(
        &mut self,
        handler: &Deployed,
        started: Started,
        ending: Ending,
        reason: Option<Reason<'_>>,
    ) -> Result<(), Stopped> {
        self.finish_all(handler, Cargo::from_iter([started]), ending, reason)
            .await
    }

    /// As [`Self::finish`], of records that ended alike. Where there are none, what hooks emitted is left to others.
    pub(crate) async fn finish_all(
        &mut self,
        handler: &Deployed,
        cargo: Cargo,
        ending: Ending,
        reason: Option<Reason<'_>>,
    ) -> Result<(), Stopped> {
        if !cargo.is_empty() {
            self.tell_finished(handler, ending, &cargo).await?;
            self.send_off(handler, cargo, ending, reason).await;
        }
        Ok(())
    }

    /// Settles a record that all handlers are done with.
    pub(crate) async fn settle_parts(&mut self, started: Started) {
        let Some(first) = self.first() else { return };
        self.turn_back();
        let cargo = Cargo::from_iter([started]);
        self.settle_cargo(&first, cargo, Ending::Handled).await;
    }

    /// Lets a record wait for its next attempt in a topic. It is not at its end, so no hook is told.
    pub(crate) async fn defer(&mut self, handler: &Deployed, started: Started, reason: Reason<'_>) {
        let cargo = Cargo::from_iter([started]);
        self.send_off(handler, cargo, Ending::Deferred, Some(reason))
            .await;
    }

    /// Tells the finished hook that the lane stops at these records, and sends what the hooks emitted. The records stay
    /// open.
    pub(crate) async fn finish_halted(
        &mut self,
        handler: &Deployed,
        cargo: &[Started],
    ) -> Result<(), Stopped> {
        self.tell_finished(handler, Ending::Halted, cargo).await?;
        self.send_off(handler, Cargo::new(), Ending::Halted, None)
            .await;
        Ok(())
    }

    /// Tells the finished hook, if there is one, about records that ended alike. Where the partition goes before it is done,
    /// what the hooks emitted is gone with the instance, and whoever reads the records next settles them.
    async fn tell_finished(
        &mut self,
        handler: &Deployed,
        ending: Ending,
        cargo: &[Started],
    ) -> Result<(), Stopped> {
        // Most handlers have no such hook; looking at the records would be for nothing.
        if cargo.is_empty() || !handler.component.has_finished_hook() {
            return Ok(());
        }
        let topic = Arc::clone(&self.place.topic);
        let records: Vec<_> = cargo.iter().map(|started| started.view(&topic)).collect();
        // After a trap this is a fresh instance. The old one holds nothing: a failed hook leaves its outbox empty.
        let told = match self.lease_patiently(handler).await? {
            Ok((instance, patience)) => patience.with(instance.finished(&records, ending)).await,
            Err(failure) => Ok(Err(failure)),
        };
        let Ok(told) = told else {
            self.rest();
            return Err(Stopped);
        };
        log_hook_failure(handler, "on-finished", told);
        Ok(())
    }

    /// Sends what the instance emitted, and the dead letters where there is a `reason`; completes the records when
    /// Kafka has acknowledged all of it.
    pub(crate) async fn send_off(
        &mut self,
        handler: &Deployed,
        mut cargo: Cargo,
        ending: Ending,
        reason: Option<Reason<'_>>,
    ) {
        for started in &mut cargo {
            // There is no attempt after this.
            started.halfway = None;
            self.ledger.hold(started);
        }
        if let Some((_, instance)) = &mut self.instance {
            instance.swap_outbox(&mut self.outbox);
        }
        self.join_piped();
        if let Some(reason) = reason {
            for started in &cargo {
                let view = started.original(&self.place.topic);
                // This outbox has no bounds: a dead letter is never refused here.
                let _ = dead_letter::write(&mut self.letters, handler, &view, reason);
            }
        }
        if let Some(cargo) = self.in_parts(handler, cargo, ending) {
            self.settle_cargo(handler, cargo, ending).await;
        }
        self.recycle(handler);
    }

    /// Sends what is in the outboxes and beside the records, and sees that these are completed.
    async fn settle_cargo(&mut self, handler: &Deployed, cargo: Cargo, ending: Ending) {
        let parts = || cargo.iter().flat_map(|started| &started.parts);
        if self.outbox.is_empty() && self.letters.is_empty() && parts().all(Part::is_empty) {
            self.ledger.complete(&cargo);
            parts().for_each(Part::count);
            if parts().next().is_none()
                && let Some(stats) = self.stats()
            {
                stats.ended(ending, cargo.len());
            }
        } else {
            self.hand.note(Doing::Sending);
            self.send(handler, cargo, ending).await;
            self.hand.note(Doing::Handling);
        }
        self.outbox.clear();
        self.letters.clear();
    }

    /// Sends what is in the outboxes. Within a transaction the records are complete then; where none can be begun and the
    /// partition goes, they stay open.
    async fn send(&mut self, handler: &Deployed, cargo: Cargo, ending: Ending) {
        let Ok(pass) = self.enter().await else {
            return;
        };
        let (own, shared) = (&handler.sink, pass.as_ref().map(Pass::behind));
        if pass.is_some() {
            // The transaction is not committed before the lane has left, and not at all if it never does.
            self.ledger.complete(&cargo);
        }
        let keeps = handler.manifest.publish.has_remedy() && pass.is_none();
        let Some(flight) = self.take_off(cargo, ending, keeps) else {
            return;
        };
        let sink = shared.unwrap_or(own);
        let (catalog, tenant) = (&self.catalog, &handler.id.tenant);
        let sender = |id, handler| Sender {
            catalog,
            tenant,
            id,
            handler,
        };
        let from = sender(&handler.id, Some(handler));
        let hops = &mut self.hops;
        send_all(sink, &self.outbox, &flight, (hops, &from, Mail::Outputs)).await;
        send_all(sink, &self.letters, &flight, (hops, &from, Mail::Letters)).await;
        for part in flight.parts() {
            let routes = self.routes.as_ref();
            let its = routes.and_then(|routes| routes.handler(&part.handler));
            let sink = shared.unwrap_or_else(|| its.map_or(own, |it| &it.sink));
            let from = sender(&part.handler, its.map(|it| &**it));
            send_all(sink, &part.outputs, &flight, (hops, &from, Mail::Outputs)).await;
            send_all(sink, &part.letters, &flight, (hops, &from, Mail::Letters)).await;
        }
        if let Some(pass) = pass {
            pass.leave();
        }
        flight.acknowledge();
    }

    /// Sends once more what Kafka refused, or what goes in its place.
    pub(crate) async fn mend(&mut self, handler: &Arc<Deployed>, cargo: Cargo, repair: Repair) {
        self.turn_to(handler);
        self.count_from(&cargo);
        if let Some(route) = &self.route {
            let (stats, outputs) = (route.stats.stats(), &repair.outputs);
            stats.repeated.add(repair.repeated as u64);
            stats
                .redirected
                .add((outputs.len() - repair.repeated) as u64);
            let records: usize = cargo.iter().map(Started::counted_bytes).sum();
            let bytes = records + outputs.size_bytes();
            let flight = self.ledger.take_off(cargo, bytes, repair.kind, stats);
            let from = Sender {
                catalog: &self.catalog,
                tenant: &handler.id.tenant,
                id: &handler.id,
                handler: Some(handler),
            };
            let hops = &mut self.hops;
            send_all(
                &handler.sink,
                outputs,
                &flight,
                (hops, &from, Mail::Outputs),
            )
            .await;
            flight.acknowledge();
        }
        self.turn_back();
    }

    /// Waits until outputs may be sent as part of the transaction, where there are transactions.
    async fn enter(&mut self) -> Result<Option<Pass<Arc<Sink>>>, Stopped> {
        let Some(door) = &mut self.place.door else {
            return Ok(None);
        };
        if let Some(pass) = door.try_enter() {
            return Ok(Some(pass));
        }
        tokio::select! {
            biased;
            pass = door.enter() => Ok(Some(pass)),
            () = self.stop.set() => Err(Stopped),
        }
    }

    /// Forgets what the last hook emitted.
    pub(crate) fn forget_outputs(&mut self) {
        self.piped.clear();
        if let Some((_, instance)) = &mut self.instance {
            instance.clear_outbox();
        }
    }

    /// Tells what the last hook emitted, and forgets it.
    pub(crate) fn drop_outputs(&mut self, handler: &Deployed) -> Vec<Fingerprint> {
        if let Some((_, instance)) = &mut self.instance {
            instance.swap_outbox(&mut self.outbox);
        }
        let outputs = self.outbox.iter().map(|emit| emit.fingerprint()).collect();
        self.outbox.clear();
        self.recycle(handler);
        outputs
    }

    /// Begins a flight; where it `keeps` its outputs, a refusal of one need not be the end of its records.
    fn take_off(&mut self, cargo: Cargo, ending: Ending, keeps: bool) -> Option<Arc<Flight>> {
        let stats = self.route.as_ref()?.stats.stats();
        let records: usize = cargo.iter().map(Started::counted_bytes).sum();
        let is_plain = cargo.iter().all(|started| started.parts.is_empty());
        let bytes = records + self.outbox.size_bytes() + self.letters.size_bytes();
        let purpose = if self.letters.is_empty() {
            Purpose::Outputs
        } else {
            Purpose::DeadLetter
        };
        stats.emitted.add(self.outbox.len() as u64);
        self.note_emitted();
        let is_kept = keeps && is_plain && !cargo.is_empty() && purpose == Purpose::Outputs;
        let kind = FlightKind {
            mending: is_kept.then(Mending::default),
            purpose,
            ending,
            attempts: self.attempts,
        };
        Some(self.ledger.take_off(cargo, bytes, kind, stats))
    }

    /// Takes the empty outbox back, and gives the instance up where it must not see another record.
    fn recycle(&mut self, handler: &Deployed) {
        let Some((_, instance)) = &mut self.instance else {
            return;
        };
        instance.swap_outbox(&mut self.outbox);
        let gone = instance.is_spent()
            || instance.is_bloated()
            || handler.component.places().is_short()
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
}

/// Hands all records of an outbox to the producer, waiting while it takes none.
async fn send_all(
    sink: &Sink,
    outbox: &Outbox,
    flight: &Arc<Flight>,
    (hops, from, mail): (&mut Hops, &Sender<'_>, Mail),
) {
    for emit in outbox.iter() {
        let count = hops.count(from, mail, &emit);
        let emit = counted(emit, mail, count.as_deref());
        while sink.send(&emit, flight) == Sent::NotYet {
            tokio::time::sleep(FULL_WAIT).await;
        }
    }
}
