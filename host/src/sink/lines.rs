//! The producers of a sink: one that sends each output at once and, where there are many outputs, one that gathers them.
//!
//! Owns both with their threads. The second is made when it is first needed. Where settings say how long a producer waits
//! for more, there is one, which does that.
//! **Invariant:** at any time at most one of them has outputs under way, so that none is overtaken by a later one. An output
//! that Kafka does not take holds others up for a moment only: then the gait stays as it is.

use std::ops::Deref;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Mutex, RwLock, RwLockReadGuard};
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, Producer as _};
use tokio::time::Instant;

use super::{Error, Reports};
use crate::gait::{Gait, Seen};

/// How long one poll for delivery reports lasts, and after how long at least the gait is looked at.
const POLL: Duration = Duration::from_millis(100);
/// For how long the gait stays as it is when outputs that were under way kept it from being changed.
const REST: Duration = Duration::from_secs(10);
/// How long a poll lasts while outputs come: after each one it is counted how many are under way.
const GLANCE: Duration = Duration::from_millis(10);

type Producer = BaseProducer<Reports>;

/// See the module.
pub(super) struct Lines {
    first: Arc<Producer>,
    second: OnceLock<Arc<Producer>>,
    /// What the second is made with, where there may be one.
    gathering: Option<ClientConfig>,
    /// Whose turn it is. Held while an output is handed over, so that nobody changes it meanwhile.
    gait: RwLock<Gait>,
    /// Whether outputs should be gathered.
    wants_gathered: AtomicBool,
    is_stopping: Arc<AtomicBool>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// What the first producer's thread has seen since it looked at the gait last.
struct Watch {
    since: Instant,
    /// What was acknowledged by then, and by the last glance.
    before: u64,
    last: u64,
    under_way: usize,
    glances: usize,
    is_idle: bool,
    /// Until when no other gait is looked for.
    rests_until: Option<Instant>,
}

impl Watch {
    fn new() -> Self {
        Self {
            since: Instant::now(),
            before: 0,
            last: 0,
            under_way: 0,
            glances: 0,
            is_idle: true,
            rests_until: None,
        }
    }

    /// Takes note of a glance; returns what was seen if it is time to look.
    fn note(&mut self, acknowledged: u64, under_way: usize) -> Option<Seen> {
        self.is_idle = acknowledged == self.last && under_way == 0;
        self.last = acknowledged;
        self.under_way = self.under_way.saturating_add(under_way);
        self.glances += 1;
        let now = Instant::now();
        let over = now - self.since;
        if over < POLL {
            return None;
        }
        let seen = Seen {
            acknowledged: acknowledged.saturating_sub(self.before),
            under_way: self.under_way.div_ceil(self.glances),
            over,
        };
        (self.since, self.before) = (now, acknowledged);
        (self.under_way, self.glances) = (0, 0);
        Some(seen)
    }
}

/// The producer whose turn it is, as long as this lives.
pub(super) struct Turn<'a> {
    producer: &'a Producer,
    _gait: RwLockReadGuard<'a, Gait>,
}

impl Deref for Turn<'_> {
    type Target = Producer;

    fn deref(&self) -> &Producer {
        self.producer
    }
}

impl Lines {
    /// Makes the one producer of these settings, which never changes its gait.
    pub(super) fn one(config: &ClientConfig, reports: Reports) -> Result<Arc<Self>, Error> {
        Self::start(config, None, reports)
    }

    /// Makes a producer that sends at once, beside which there may be one that gathers.
    pub(super) fn two(at_once: &ClientConfig, gathering: ClientConfig) -> Result<Arc<Self>, Error> {
        Self::start(at_once, Some(gathering), Reports::default())
    }

    fn start(
        config: &ClientConfig,
        gathering: Option<ClientConfig>,
        reports: Reports,
    ) -> Result<Arc<Self>, Error> {
        let first = config.create_with_context(reports);
        let lines = Arc::new(Self {
            first: Arc::new(first.map_err(Error::Settings)?),
            second: OnceLock::new(),
            gathering,
            gait: RwLock::new(Gait::AtOnce),
            wants_gathered: AtomicBool::new(false),
            is_stopping: Arc::default(),
            threads: Mutex::default(),
        });
        let thread = Arc::clone(&lines);
        lines.spawn(move || thread.serve_first())?;
        Ok(lines)
    }

    fn spawn(&self, run: impl FnOnce() + Send + 'static) -> Result<(), Error> {
        let thread = std::thread::Builder::new()
            .name("delivery reports".to_owned())
            .spawn(run)
            .map_err(Error::Thread)?;
        self.threads.lock().push(thread);
        Ok(())
    }

    fn serve_first(&self) {
        let Some(gathering) = &self.gathering else {
            return serve(&self.first, &self.is_stopping);
        };
        let mut watch = Watch::new();
        while !self.is_stopping.load(Ordering::Relaxed) {
            self.first.poll(if watch.is_idle { POLL } else { GLANCE });
            if let Some(seen) = watch.note(self.acknowledged(), self.under_way()) {
                watch.rests_until = self.look(seen, gathering, watch.rests_until);
            }
        }
    }

    /// Finds the gait that suits the outputs; whoever sends the next one takes it up. Where it could not be taken up since the
    /// last look, senders wait: it is wanted no more, and no other one before the time that is returned.
    fn look(
        &self,
        seen: Seen,
        gathering: &ClientConfig,
        rests_until: Option<Instant>,
    ) -> Option<Instant> {
        let now = Instant::now();
        let rests_until = rests_until.filter(|until| now < *until);
        if rests_until.is_some() {
            return rests_until;
        }
        let gait = *self.gait.read();
        if self.wanted() != gait && self.of(gait).in_flight_count() > 0 {
            self.want(gait);
            return Some(now + REST);
        }
        let wanted = match self.wanted().next(seen) {
            Gait::Gathered if self.second.get().is_none() => match self.add_second(gathering) {
                Ok(()) => Gait::Gathered,
                Err(error) => {
                    tracing::warn!(%error, "outputs cannot be gathered; each is sent at once");
                    Gait::AtOnce
                }
            },
            wanted => wanted,
        };
        self.want(wanted);
        None
    }

    fn want(&self, gait: Gait) {
        let is_gathered = gait == Gait::Gathered;
        self.wants_gathered.store(is_gathered, Ordering::Release);
    }

    fn add_second(&self, gathering: &ClientConfig) -> Result<(), Error> {
        let second = gathering.create_with_context(Reports::default());
        let second: Arc<Producer> = Arc::new(second.map_err(Error::Settings)?);
        let (producer, is_stopping) = (Arc::clone(&second), Arc::clone(&self.is_stopping));
        self.spawn(move || serve(&producer, &is_stopping))?;
        // Nobody else does.
        let _ = self.second.set(second);
        Ok(())
    }

    fn wanted(&self) -> Gait {
        if self.wants_gathered.load(Ordering::Acquire) {
            Gait::Gathered
        } else {
            Gait::AtOnce
        }
    }

    fn of(&self, gait: Gait) -> &Producer {
        match (gait, self.second.get()) {
            (Gait::Gathered, Some(second)) => second,
            _ => &self.first,
        }
    }

    /// Returns the producer whose turn it is; none while outputs are under way that the next one would overtake.
    pub(super) fn turn(&self) -> Option<Turn<'_>> {
        let wanted = self.wanted();
        let mut gait = self.gait.read();
        if *gait != wanted {
            drop(gait);
            if !self.turn_to(wanted) {
                return None;
            }
            gait = self.gait.read();
        }
        let producer = self.of(*gait);
        Some(Turn {
            producer,
            _gait: gait,
        })
    }

    /// Changes the gait, if nothing is under way; returns whether it is this one now.
    fn turn_to(&self, wanted: Gait) -> bool {
        // Nobody is handing an output over now.
        let mut gait = self.gait.write();
        if *gait != wanted && self.of(*gait).in_flight_count() == 0 {
            *gait = wanted;
        }
        *gait == wanted
    }

    /// Returns the producer that is always there, the only one of transactions.
    pub(super) fn first(&self) -> &Producer {
        &self.first
    }

    /// Lists the producers.
    pub(super) fn all(&self) -> impl Iterator<Item = &Producer> {
        let second = self.second.get().map(|second| &**second);
        std::iter::once(&*self.first).chain(second)
    }

    /// Returns how many outputs wait for their delivery report.
    pub(super) fn under_way(&self) -> usize {
        let counts = self.all().map(Producer::in_flight_count);
        counts
            .map(|count| usize::try_from(count).unwrap_or(0))
            .sum()
    }

    fn acknowledged(&self) -> u64 {
        let counts = self.all().map(|producer| producer.context().delivered());
        counts.sum()
    }

    /// Returns why a producer failed for good, if one has. Not each reason is told by a callback.
    pub(super) fn fatal(&self) -> Option<String> {
        self.all().find_map(|producer| {
            let told = producer.context().fatal.lock().clone();
            told.or_else(|| producer.client().fatal_error().map(|(_, why)| why))
        })
    }

    /// Ends the threads, within one poll.
    pub(super) fn stop(&self) {
        self.is_stopping.store(true, Ordering::Relaxed);
        // Should the first still add a second one, its thread is among those that are taken next.
        loop {
            let Some(thread) = self.threads.lock().pop() else {
                return;
            };
            // A panic in it was reported already.
            let _ = thread.join();
        }
    }
}

/// Serves the reports of a producer and looks at nothing.
fn serve(producer: &Producer, is_stopping: &AtomicBool) {
    while !is_stopping.load(Ordering::Relaxed) {
        producer.poll(POLL);
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::mocking::MockCluster;
    use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

    use super::*;
    use crate::flight::Ledger;
    use crate::flight::tests::flight;
    use crate::record::Emit;
    use crate::sink::{client_config, record_of};

    #[test]
    fn a_producer_that_kafka_forbids_to_be_idempotent_has_failed_for_good() {
        let broker = MockCluster::new(1).unwrap();
        broker.request_errors(
            RDKafkaApiKey::InitProducerId,
            &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED],
        );
        let bootstrap = ("bootstrap.servers".to_owned(), broker.bootstrap_servers());
        let config = client_config(&[bootstrap].into());
        let lines = Lines::one(&config, Reports::default()).unwrap();
        let deadline = Instant::now() + Duration::from_secs(30);
        while lines.fatal().is_none() {
            assert!(Instant::now() < deadline, "it goes on");
            std::thread::sleep(Duration::from_millis(10));
        }
        lines.stop();
    }

    fn many() -> Seen {
        Seen {
            acknowledged: 100_000,
            under_way: 100,
            over: POLL,
        }
    }

    #[test]
    fn an_output_that_kafka_does_not_take_holds_others_up_for_a_moment_only() {
        // Nobody listens there.
        let nowhere = ("bootstrap.servers".to_owned(), "127.0.0.1:1".to_owned());
        let config = client_config(&[nowhere].into());
        let lines = Lines::two(&config, config.clone()).unwrap();
        // None of its own looks comes in between.
        lines.stop();
        let flight = flight(&Arc::<Ledger>::default());
        flight.add_output();
        let emit = Emit {
            topic: "out",
            key: None,
            value: Some(b"v"),
            headers: Vec::new(),
            partition: Some(0),
            timestamp_ms: None,
        };
        let taken = lines.turn().unwrap().send(record_of(&emit, flight));
        assert!(taken.is_ok());
        assert_eq!(lines.look(many(), &config, None), None);
        assert!(lines.turn().is_none(), "it would overtake the first one");
        let rests_until = lines.look(many(), &config, None);
        assert!(rests_until.is_some());
        assert!(lines.turn().is_some(), "the gait stays as it was");
        assert_eq!(lines.look(many(), &config, rests_until), rests_until);
        assert!(lines.turn().is_some());
        // Later it is tried again.
        let past = Some(Instant::now());
        assert_eq!(lines.look(many(), &config, past), None);
        assert!(lines.turn().is_none());
    }
}
