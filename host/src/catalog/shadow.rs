//! A revision that sees each record after the one that serves has handled it, off the record's path.
//!
//! Lanes hand over copies of records with what came of them; one task for each shadow handles them and compares.
//! **Invariant:** a lane never waits for a shadow, what waits for it has a bound, and nothing that it makes leaves the host.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use super::Deployed;
use crate::guest::{Conversation, GuestLog, Instance, Lent, Receipts, Setup};
use crate::outbox::Outbox;
use crate::outcome::Outcome;
use crate::policy::Isolation;
use crate::record::{Changed, RecordView};
use crate::route::EventCall;
use crate::shadow::{Comparison, Made, Output};

/// Records that wait for a shadow.
const WAITING_MAX: usize = 256;
/// Their bytes.
const WAITING_BYTES_MAX: usize = 16 << 20;
/// Instances of a shadow, one for a partition each.
const INSTANCES_MAX: usize = 16;

/// Why a shadow's requests fail.
const ASKS_NOBODY: &str = "this revision is only a shadow: what it sends is compared and thrown away, so it asks nobody and gets \
                           no receipts";

/// A record as the shadow sees it, and what came of it.
#[derive(Debug)]
struct Seen {
    topic: Arc<str>,
    partition: i32,
    offset: i64,
    record: Changed,
    event: Option<EventCall>,
    was: Made,
    bytes: usize,
}

/// What lanes and others have of a shadow.
#[derive(Debug)]
pub(crate) struct Shadow {
    queue: mpsc::Sender<Seen>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    waiting_bytes: AtomicUsize,
    comparison: Mutex<Comparison>,
    /// Told when the shadow is to end.
    over: Notify,
}

impl Shadow {
    /// Begins to let a revision see what it is shown.
    pub(crate) fn start(handler: Arc<Deployed>) -> Self {
        let (queue, seen) = mpsc::channel(WAITING_MAX);
        let shared = Arc::new(Shared::default());
        let setup = Setup {
            conversation: Conversation::Denied(ASKS_NOBODY),
            receipts: Receipts::Denied(ASKS_NOBODY),
            ..handler.setup.clone()
        };
        let runner = Runner {
            handler,
            setup,
            shared: Arc::clone(&shared),
            instances: Vec::new(),
            outbox: Outbox::new(usize::MAX, usize::MAX),
        };
        tokio::spawn(runner.run(seen));
        Self { queue, shared }
    }

    /// Shows it a record of which the other revision made this; where enough wait already it is only counted.
    pub(crate) fn show(&self, record: &RecordView<'_>, event: Option<&EventCall>, was: Made) {
        let bytes = record.size_bytes();
        let waiting = &self.shared.waiting_bytes;
        let is_room = waiting.load(Ordering::Relaxed) + bytes <= WAITING_BYTES_MAX;
        let place = self.queue.try_reserve().ok().filter(|_| is_room);
        let Some(place) = place else {
            self.shared.comparison.lock().skipped += 1;
            return;
        };
        waiting.fetch_add(bytes, Ordering::Relaxed);
        place.send(Seen {
            topic: Arc::from(record.topic),
            partition: record.partition,
            offset: record.offset,
            record: copy(record),
            event: event.cloned(),
            was,
            bytes,
        });
    }

    /// Returns what was seen so far.
    pub(crate) fn comparison(&self) -> Comparison {
        self.shared.comparison.lock().clone()
    }

    /// Ends it; what waits is not compared any more.
    pub(crate) fn end(&self) {
        self.shared.over.notify_one();
    }
}

fn copy(record: &RecordView<'_>) -> Changed {
    let headers = record.headers.iter();
    Changed {
        timestamp_ms: record.timestamp_ms,
        key: record.key.map(<[u8]>::to_vec),
        value: record.value.map(<[u8]>::to_vec),
        headers: headers
            .map(|it| (it.key.to_string(), it.value.map(<[u8]>::to_vec)))
            .collect(),
    }
}

/// An instance of a shadow, and the partition whose records it sees.
type Placed = ((Arc<str>, i32), Instance);

/// Handles what the shadow is shown.
#[derive(Debug)]
struct Runner {
    handler: Arc<Deployed>,
    setup: Setup,
    shared: Arc<Shared>,
    instances: Vec<Placed>,
    outbox: Outbox,
}

impl Runner {
    async fn run(mut self, mut queue: mpsc::Receiver<Seen>) {
        let shared = Arc::clone(&self.shared);
        let places = Arc::clone(self.handler.component.places());
        loop {
            let has_places = !self.instances.is_empty();
            let seen = tokio::select! {
                biased;
                () = shared.over.notified() => return,
                seen = queue.recv() => seen,
                // A record waits for what it keeps for the next one.
                () = places.asked(), if has_places => {
                    self.instances.clear();
                    continue;
                }
            };
            let Some(seen) = seen else { return };
            shared
                .waiting_bytes
                .fetch_sub(seen.bytes, Ordering::Relaxed);
            // What it uses is its tenant's, whose lanes must not have to wait for it.
            let is = match self.setup.meter.owes_until() {
                Some(_) => None,
                None => self.handle(&seen).await,
            };
            let mut comparison = shared.comparison.lock();
            match is {
                Some(is) => {
                    let place = (&*seen.topic, seen.partition, seen.offset);
                    comparison.compare(place, &seen.was, &is);
                }
                None => comparison.skipped += 1,
            }
        }
    }

    /// Lets the shadow handle a record once; nothing where there is no place for an instance.
    async fn handle(&mut self, seen: &Seen) -> Option<Made> {
        let mut instance = match self.lease(seen).await? {
            Ok(instance) => instance,
            Err(failed) => return Some(failed),
        };
        let place = RecordView {
            topic: &seen.topic,
            partition: seen.partition,
            offset: seen.offset,
            timestamp_ms: None,
            key: None,
            value: None,
            headers: Vec::new(),
        };
        let view = seen.record.view(&place);
        let outcome = instance
            .handle(&view, seen.event.as_ref(), Instant::now())
            .await;
        instance.swap_outbox(&mut self.outbox);
        let made = match outcome {
            Outcome::Handled => {
                Made::Outputs(self.outbox.iter().map(|it| Output::of(&it)).collect())
            }
            Outcome::Filtered => Made::Filtered,
            Outcome::Failed(failure) => Made::Failed(failure.kind.as_str()),
        };
        self.outbox.clear();
        instance.swap_outbox(&mut self.outbox);
        let is_short = self.handler.component.places().is_short();
        let is_gone = instance.is_spent()
            || instance.is_bloated()
            || self.handler.manifest.isolation == Isolation::Record;
        if is_short {
            self.instances.clear();
        } else if !is_gone {
            let place = (Arc::clone(&seen.topic), seen.partition);
            self.instances.push((place, instance));
        }
        Some(made)
    }

    /// Takes the instance of the record's partition, or makes one; the error says how that failed.
    async fn lease(&mut self, seen: &Seen) -> Option<Result<Instance, Made>> {
        let is_its =
            |((topic, partition), _): &Placed| *topic == seen.topic && *partition == seen.partition;
        if let Some(at) = self.instances.iter().position(is_its) {
            return Some(Ok(self.instances.remove(at).1));
        }
        if self.instances.len() >= INSTANCES_MAX {
            self.instances.remove(0);
        }
        let component = &self.handler.component;
        let place = component.places().try_take()?;
        let id = self.handler.id.clone();
        let topic = Arc::clone(&seen.topic);
        let log = GuestLog::new(id, topic, seen.partition, Arc::clone(&self.setup.meter));
        let log = log.of_shadow();
        let made = Instance::start(component, &self.setup, log, Some(place), Lent::default());
        let Ok(mut instance) = made.await else {
            return Some(Err(Made::Failed("start")));
        };
        let told = instance.assigned(&seen.topic, seen.partition).await;
        Some(match told {
            Ok(()) => Ok(instance),
            Err(failure) => Err(Made::Failed(failure.kind.as_str())),
        })
    }
}
