//! Records whose outputs are on their way to Kafka, and the ledger of one assigned partition.
//!
//! The partition's task starts and settles records; the producer's thread acknowledges outputs. Both meet in the
//! [`Ledger`], which holds the watermark. Where the outputs are part of a transaction, their record is completed when its
//! lane sends them, behind the gate: position and outputs become visible together or not at all.
//! **Invariant:** a position is stored or committed only when the senders of all records before it are done with them, and
//! each of their outputs is acknowledged or part of the transaction; one refused output keeps it open until the flow has
//! dealt with the refusal, or keeps the transaction from being committed.

mod attempt;
mod cargo;
mod mending;
mod part;
mod refused;
mod started;

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use smallvec::SmallVec;
use tokio::sync::Notify;

pub(crate) use self::attempt::Attempt;
pub(crate) use self::cargo::{Cargo, FlightKind, Purpose};
pub(crate) use self::mending::{Fault, Mending, RefusedOutput, Repair};
pub(crate) use self::part::Part;
pub(crate) use self::started::{Halfway, Kept, Passage, Started, Within};
use crate::map_room;
use crate::offset_map::{CommitPoint, OffsetMap};
use crate::outcome::Ending;
use crate::record::Fingerprint;
use crate::source::Record;
use crate::stats::LaneStats;
use crate::suspects::Suspects;
use crate::watermark::Watermark;

/// The outputs of one invocation, under way.
#[derive(Debug)]
pub(crate) struct Flight {
    ledger: Arc<Ledger>,
    cargo: Mutex<Cargo>,
    bytes: usize,
    kind: FlightKind,
    stats: Arc<LaneStats>,
    /// Outputs not acknowledged, plus one while the sender still adds to them.
    waiting: AtomicU32,
    refusal: OnceLock<String>,
    /// The outputs that were refused, and why.
    refused: Mutex<Vec<RefusedOutput>>,
    /// Whether an output was taken back, neither delivered nor refused.
    is_withdrawn: AtomicBool,
    /// Whether no other record may be begun before it has landed.
    is_holding: AtomicBool,
    /// What its record's handlers made of it, where there are several.
    parts: Vec<Part>,
}

impl Flight {
    /// Counts one more output. To be called before it is handed to the producer.
    pub(crate) fn add_output(&self) {
        self.waiting.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes note that an output was refused for good.
    pub(crate) fn refuse(self: &Arc<Self>, output: Fingerprint, reason: String) {
        self.note_refused(RefusedOutput::bare(output, reason));
    }

    fn note_refused(self: &Arc<Self>, refused: RefusedOutput) {
        let (output, reason) = (refused.output, &refused.reason);
        // The first refusal is told of all that is in the flight, unless several have emitted it.
        let is_first = self.refusal.set(reason.clone()).is_ok();
        if self.kind.mending.is_some() {
            self.hold_others();
        }
        if (is_first || !self.parts.is_empty())
            && let Some(suspects) = &self.ledger.suspects
        {
            // Not only when the flight lands: what the producer refuses at once is no error of the transaction, which would
            // be committed while other outputs of the flight are under way.
            for refusal in self.refusals_of(output, reason) {
                suspects.note(&self.offsets(), &refusal);
            }
        }
        self.refused.lock().push(refused);
        self.acknowledge();
    }

    /// Takes note that one output is dealt with, or of the end of sending; the last one lands the flight.
    pub(crate) fn acknowledge(self: &Arc<Self>) {
        if self.waiting.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.ledger.land(self);
        }
    }

    /// Takes note that an output was not written, for a reason that says nothing against its record; it counts as
    /// refused where no transaction takes care of that.
    pub(crate) fn withdraw(self: &Arc<Self>, output: Fingerprint, reason: String) {
        match &self.ledger.suspects {
            None => self.refuse(output, reason),
            Some(suspects) => {
                suspects.tear();
                self.forget_output();
            }
        }
    }

    /// Takes note that an output was thrown away together with the transaction or the producer.
    pub(crate) fn forget_output(self: &Arc<Self>) {
        self.is_withdrawn.store(true, Ordering::Release);
        self.acknowledge();
    }

    fn offsets(&self) -> SmallVec<[i64; 1]> {
        let cargo = self.cargo.lock();
        cargo.iter().map(|it| it.record.offset()).collect()
    }

    /// Returns what its record's handlers made of it, where there are several.
    pub(crate) fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// Takes which outputs were refused, and why.
    pub(crate) fn take_refused_outputs(&self) -> Vec<(Fingerprint, String)> {
        let refused = std::mem::take(&mut *self.refused.lock()).into_iter();
        refused
            .map(|it| (self.original(it.output), it.reason))
            .collect()
    }

    /// Returns how its records end that are not to blame for a refusal.
    pub(crate) fn ending(&self) -> Ending {
        self.kind.ending
    }

    /// Takes the records of a refused flight.
    pub(crate) fn unload(&self) -> Cargo {
        std::mem::take(&mut *self.cargo.lock())
    }
}

#[derive(Debug, Default)]
struct Entries {
    watermark: Watermark,
    /// Bytes of the records that are not complete, and of what was made of them.
    open_bytes: usize,
    /// The task is told when no more than this is open, as `tell_at_flights` is for flights.
    tell_at_open: Option<(usize, usize)>,
    refused: Vec<Arc<Flight>>,
    /// What earlier owners of the partition completed, while it reaches beyond what was taken.
    earlier: Option<Arc<OffsetMap>>,
    /// The first offset that was taken.
    first_taken: Option<i64>,
}

impl Entries {
    fn is_open_at_most(&self, (records, bytes): (usize, usize)) -> bool {
        self.watermark.open() <= records && self.open_bytes <= bytes
    }
}

/// The books of one assigned partition.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    entries: Mutex<Entries>,
    /// Flights that have not landed, and their bytes. Apart from the entries, because the lane asks after each record.
    flights: AtomicUsize,
    flight_bytes: AtomicUsize,
    /// The task is told when no more than this is left under way: telling it of every landing would wake it for nothing.
    tell_at_flights: AtomicUsize,
    tell_at_bytes: AtomicUsize,
    /// Flights that others may not pass, and whether any landed refused that nobody has dealt with.
    holding: AtomicUsize,
    has_refused: AtomicBool,
    changed: Notify,
    /// Where outputs are part of a transaction.
    suspects: Option<Arc<Suspects>>,
}

impl Ledger {
    /// Makes the books of a partition whose outputs are part of a transaction.
    pub(crate) fn in_transaction(suspects: Arc<Suspects>) -> Self {
        Self {
            suspects: Some(suspects),
            ..Self::default()
        }
    }

    /// Returns the records that had an output refused in an earlier transaction; `None` where there are no transactions.
    pub(crate) fn suspects(&self) -> Option<&Suspects> {
        self.suspects.as_deref()
    }

    /// Notes that records were taken from the queue, in their order.
    pub(crate) fn start(
        &self,
        records: impl IntoIterator<Item = Record>,
    ) -> impl Iterator<Item = Started> {
        let mut entries = self.entries.lock();
        records.into_iter().map(move |record| {
            entries.open_bytes += record.size_bytes();
            entries.first_taken.get_or_insert(record.offset());
            let ticket = entries.watermark.start(record.offset());
            Started::new(ticket, record)
        })
    }

    /// Takes note of what earlier owners of the partition completed beyond the committed offset; `None` once the partition
    /// is read beyond that.
    pub(crate) fn remember(&self, earlier: Option<Arc<OffsetMap>>) {
        self.entries.lock().earlier = earlier;
    }

    /// Completes records that wait for nothing.
    pub(crate) fn complete(&self, cargo: &[Started]) {
        let mut entries = self.entries.lock();
        for started in cargo {
            if entries.watermark.complete(started.ticket) {
                entries.open_bytes = entries.open_bytes.saturating_sub(started.counted_bytes());
            }
        }
        self.tell_of_room(&mut entries);
    }

    fn tell_of_room(&self, entries: &mut Entries) {
        if let Some(bounds) = entries.tell_at_open
            && entries.is_open_at_most(bounds)
        {
            entries.tell_at_open = None;
            self.changed.notify_one();
        }
    }

    /// Sends records on their way. The sender must call [`Flight::acknowledge`] once when it has added all outputs.
    ///
    /// The records count under the ending of `kind` when the flight lands well.
    pub(crate) fn take_off(
        self: &Arc<Self>,
        mut cargo: Cargo,
        bytes: usize,
        kind: FlightKind,
        stats: &Arc<LaneStats>,
    ) -> Arc<Flight> {
        self.flights.fetch_add(1, Ordering::Relaxed);
        self.flight_bytes.fetch_add(bytes, Ordering::Relaxed);
        let parts = cargo
            .iter_mut()
            .flat_map(|it| std::mem::take(&mut it.parts));
        let parts = parts.collect();
        let flight = Flight {
            ledger: Arc::clone(self),
            cargo: Mutex::new(cargo),
            bytes,
            kind,
            stats: Arc::clone(stats),
            waiting: AtomicU32::new(1),
            refusal: OnceLock::new(),
            refused: Mutex::default(),
            is_withdrawn: AtomicBool::new(false),
            is_holding: AtomicBool::new(false),
            parts,
        };
        if flight.is_repair() {
            flight.begin_repair();
        }
        Arc::new(flight)
    }

    fn land(&self, flight: &Arc<Flight>) {
        let refused = flight.refusal.get().is_some();
        match &self.suspects {
            Some(_) if refused => {}
            None if refused => {
                let mut entries = self.entries.lock();
                entries.refused.push(Arc::clone(flight));
                self.has_refused.store(true, Ordering::Release);
            }
            _ if flight.is_withdrawn.load(Ordering::Acquire) => {}
            booked => {
                let cargo = flight.unload();
                // Of a single record in parts each part counts by itself.
                if flight.parts.is_empty() || cargo.len() > 1 {
                    flight.stats.ended(flight.kind.ending, cargo.len());
                }
                flight.parts.iter().for_each(Part::count);
                if booked.is_none() {
                    self.complete(&cargo);
                }
            }
        }
        let bytes = self.flight_bytes.fetch_sub(flight.bytes, Ordering::SeqCst) - flight.bytes;
        // Who sees that no flight is left also sees what they left in the entries.
        let flights = self.flights.fetch_sub(1, Ordering::SeqCst) - 1;
        let wanted = flight.let_others_go()
            || flights <= self.tell_at_flights.load(Ordering::SeqCst)
                && bytes <= self.tell_at_bytes.load(Ordering::SeqCst);
        if refused || flights == 0 || wanted {
            self.changed.notify_one();
        }
    }

    /// Takes the flights that landed refused, oldest first.
    pub(crate) fn take_refused(&self) -> Vec<Arc<Flight>> {
        let mut entries = self.entries.lock();
        self.has_refused.store(false, Ordering::Release);
        std::mem::take(&mut entries.refused)
    }

    /// Returns how many records are unsettled or settled behind an unsettled one.
    pub(crate) fn span(&self) -> usize {
        self.entries.lock().watermark.span()
    }

    /// Returns how many records are open: taken from the queue and not complete.
    pub(crate) fn open(&self) -> usize {
        self.entries.lock().watermark.open()
    }

    /// Returns whether another record may take off: fewer than `flights` and `bytes` are under way, and no refusal is to be
    /// dealt with first.
    pub(crate) fn has_room(&self, flights: usize, bytes: usize) -> bool {
        !self.is_held()
            && self.flights.load(Ordering::Relaxed) < flights
            && self.flight_bytes.load(Ordering::Relaxed) < bytes
    }

    /// Returns whether fewer than `records` and `bytes` are open: taken from the queue and not complete.
    pub(crate) fn has_open_room(&self, records: usize, bytes: usize) -> bool {
        let entries = self.entries.lock();
        entries.watermark.open() < records && entries.open_bytes < bytes
    }

    /// Waits until well fewer than `records` and `bytes` are open, or a flight was refused.
    pub(crate) async fn open_room(&self, records: usize, bytes: usize) {
        let low = (records / 4 * 3, bytes / 4 * 3);
        {
            let mut entries = self.entries.lock();
            if entries.is_open_at_most(low) {
                return;
            }
            entries.tell_at_open = Some(low);
        }
        self.changed.notified().await;
    }

    /// Waits until one of the records that are open is complete.
    pub(crate) async fn fewer_open(&self) {
        {
            let mut entries = self.entries.lock();
            let Some(fewer) = entries.watermark.open().checked_sub(1) else {
                return;
            };
            entries.tell_at_open = Some((fewer, usize::MAX));
        }
        self.changed.notified().await;
    }

    /// Returns what may be committed, `None` before the first record was taken or settled.
    pub(crate) fn commit_point(&self) -> Option<CommitPoint> {
        let map = {
            let entries = self.entries.lock();
            map_room::map_of(&entries.watermark, entries.earlier.as_deref())
        };
        map.map(CommitPoint::from)
    }

    /// Returns the oldest record that is open, the next offset to read after a restart, and whether outputs are under way.
    pub(crate) fn front(&self) -> (Option<i64>, Option<i64>, bool) {
        let entries = self.entries.lock();
        let (oldest, position) = (entries.watermark.oldest(), entries.watermark.position());
        (oldest, position, self.flights.load(Ordering::Relaxed) > 0)
    }

    /// Returns the first offset that was taken from the queue.
    pub(crate) fn first_taken(&self) -> Option<i64> {
        self.entries.lock().first_taken
    }

    /// Returns how many of these records may be started, so that the map of what is complete fits into a commit; within
    /// a transaction whichever of them are settled first. It is one at least where nothing is open.
    pub(crate) fn fitting(&self, offsets: impl Iterator<Item = i64> + Clone) -> usize {
        let entries = self.entries.lock();
        let (watermark, earlier) = (&entries.watermark, entries.earlier.as_deref());
        match self.suspects {
            Some(_) => map_room::surely(watermark, earlier, offsets),
            None => map_room::likely(watermark, earlier, offsets),
        }
    }

    /// Returns whether no flight is under way and none waits to be dealt with.
    pub(crate) fn is_quiet(&self) -> bool {
        self.flights.load(Ordering::Acquire) == 0 && self.entries.lock().refused.is_empty()
    }

    /// Returns the next offset to read after a restart.
    pub(crate) fn position(&self) -> Option<i64> {
        self.entries.lock().watermark.position()
    }

    /// Waits until there is room well below these bounds, or a flight was refused.
    pub(crate) async fn room(&self, flights: usize, bytes: usize) {
        // A quarter of the bound, so that the lane does not wake for every single landing.
        let (low_flights, low_bytes) = (flights / 4 * 3, bytes / 4 * 3);
        self.tell_at_flights.store(low_flights, Ordering::SeqCst);
        self.tell_at_bytes.store(low_bytes, Ordering::SeqCst);
        let is_full = self.flights.load(Ordering::SeqCst) > low_flights
            || self.flight_bytes.load(Ordering::SeqCst) > low_bytes;
        if is_full {
            self.changed.notified().await;
        }
        self.tell_at_flights.store(0, Ordering::SeqCst);
    }

    /// Waits until no flight is left or one was refused, since the last call.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Waits as [`Self::changed`] does, unless no flight is under way.
    pub(crate) async fn changed_or_quiet(&self) {
        let landed = self.changed.notified();
        if self.flights.load(Ordering::Acquire) > 0 {
            landed.await;
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
