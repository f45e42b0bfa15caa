//! The parked keys of a group: one reader of their topic, and for each assigned partition the keys that are parked there.
//!
//! The reader's thread begins when a partition first asks, and ends with the group. Partitions are told nothing: they look
//! whether there is news.
//! **Invariant:** a partition whose handler parks keys handles nothing before all is read that its last owner wrote.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Weak;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::ids::{GroupId, TopicName};
use crate::marker::{Markers, PlaceMarkers, Request, Slot, State, parked_topic};
use crate::marker_log::{MarkerLog, create, forgets};
use crate::parked::{KEYS_MAX, Look, News, Parked};

/// How long one poll for markers lasts.
const POLL: Duration = Duration::from_millis(100);
/// How long to wait before what failed is tried again.
const AGAIN: Duration = Duration::from_secs(2);
/// How long reading may take before the log says that partitions wait for it.
const SLOW: Duration = Duration::from_secs(5);
/// How long a key stays held at a new owner of its partition, unless its command asks again.
const RESTORED_HOLD: Duration = Duration::from_secs(15);
/// The longest time for which a command may have a key held without asking again.
const LEASE_MAX: Duration = Duration::from_mins(5);

/// The parked keys of a group.
#[derive(Debug)]
pub(crate) struct Parking {
    group: GroupId,
    settings: BTreeMap<String, String>,
    runtime: Handle,
    markers: Mutex<Markers>,
    /// Rises with each marker that may be news for a partition.
    version: AtomicU64,
    /// How often somebody asked for everything to be read, and which of these are answered.
    wanted: AtomicU64,
    read: watch::Sender<u64>,
    is_running: AtomicBool,
}

impl Parking {
    /// `settings` are those of the group's consumer.
    pub(crate) fn new(
        group: GroupId,
        settings: BTreeMap<String, String>,
        runtime: Handle,
    ) -> Arc<Self> {
        Arc::new(Self {
            group,
            settings,
            runtime,
            markers: Mutex::default(),
            version: AtomicU64::new(0),
            wanted: AtomicU64::new(0),
            read: watch::Sender::new(0),
            is_running: AtomicBool::new(false),
        })
    }

    /// Asks for everything to be read that is there now; returns by which number the answer is known.
    fn ask(self: &Arc<Self>) -> u64 {
        let number = self.wanted.fetch_add(1, Ordering::SeqCst) + 1;
        if !self.is_running.swap(true, Ordering::SeqCst) {
            let (parking, group) = (Arc::downgrade(self), self.group.to_string());
            let thread = std::thread::Builder::new()
                .name(format!("parked {group}"))
                .spawn(move || read(&parking));
            if let Err(error) = thread {
                tracing::error!(group, %error, "the thread for parked keys cannot be started");
                self.is_running.store(false, Ordering::SeqCst);
            }
        }
        number
    }

    async fn answered(&self, number: u64) {
        let mut read = self.read.subscribe();
        if read.wait_for(|read| *read >= number).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    fn apply(&self, (key, value): (Vec<u8>, Option<Vec<u8>>)) {
        let applied = self.markers.lock().apply(&key, value.as_deref());
        match applied {
            Ok(true) => {
                self.version.fetch_add(1, Ordering::SeqCst);
            }
            Ok(false) => {}
            Err(error) => {
                tracing::warn!(group = %self.group, %error, "a record of the topic of parked keys is no marker");
            }
        }
    }
}

/// The life of the reader's thread.
fn read(parking: &Weak<Parking>) {
    let mut told = String::new();
    let mut log = loop {
        let Some(parking) = parking.upgrade() else {
            return;
        };
        match open(&parking) {
            Ok(log) => break log,
            Err(why) => {
                if why != told {
                    tracing::error!(
                        group = %parking.group,
                        why,
                        "the parked keys cannot be read; nothing is handled until they are known"
                    );
                    told = why;
                }
            }
        }
        drop(parking);
        std::thread::sleep(AGAIN);
    };
    let mut question = Question::default();
    loop {
        let marker = log.poll(POLL);
        let Some(parking) = parking.upgrade() else {
            return;
        };
        if let Some(marker) = marker {
            parking.apply(marker);
        }
        question.tend(&parking, &mut log);
    }
}

/// What was asked last of the reader.
#[derive(Default)]
struct Question {
    /// Its number.
    asked: u64,
    answered: u64,
    /// When the reader may say that it takes long.
    slow_at: Option<Instant>,
}

impl Question {
    /// Answers when all was read; then takes up the next one.
    fn tend(&mut self, parking: &Parking, log: &mut MarkerLog) {
        if self.asked > self.answered {
            if log.is_at_end() {
                self.answered = self.asked;
                parking.read.send_replace(self.answered);
            } else if self.slow_at.is_some_and(|at| at < Instant::now()) {
                self.slow_at = None;
                let why = log.trouble().unwrap_or_default();
                tracing::warn!(group = %parking.group, why, "still reading the parked keys; partitions wait for it");
            }
            return;
        }
        let wanted = parking.wanted.load(Ordering::SeqCst);
        if wanted > self.asked {
            match log.go_to_end() {
                // The next look comes after a poll.
                Ok(false) => {
                    let slow_at = *self.slow_at.get_or_insert(Instant::now() + SLOW);
                    if slow_at < Instant::now() {
                        self.slow_at = None;
                        tracing::warn!(
                            group = %parking.group,
                            "an open transaction hides parked keys; partitions wait for its end"
                        );
                    }
                }
                Ok(true) => {
                    self.asked = wanted;
                    self.slow_at = Some(Instant::now() + SLOW);
                }
                Err(why) => {
                    tracing::error!(group = %parking.group, why, "the parked keys cannot be read");
                    std::thread::sleep(AGAIN);
                }
            }
        }
    }
}

/// Finds the topic or makes it, and begins at its beginning.
fn open(parking: &Parking) -> Result<MarkerLog, String> {
    let topic = parked_topic(&parking.group).map_err(|error| error.to_string())?;
    let settings = &parking.settings;
    let mut log = MarkerLog::with(settings, &topic).map_err(|error| error.to_string())?;
    if !log.find()? {
        let created = parking.runtime.block_on(create(settings, &topic));
        created.map_err(|error| {
            format!(
                "topic {topic} cannot be made: {error} (make it with cleanup.policy=compact, or let this user create it)"
            )
        })?;
        let deadline = Instant::now() + AGAIN;
        while !log.find()? {
            if Instant::now() > deadline {
                return Err(format!("topic {topic} was made and does not appear"));
            }
            std::thread::sleep(POLL);
        }
        tracing::info!(%topic, "made the topic of parked keys");
    }
    if let Some(why) = parking.runtime.block_on(forgets(settings, &topic)) {
        return Err(format!(
            "topic {topic} has {why} and may forget what is parked (set cleanup.policy=compact)"
        ));
    }
    Ok(log)
}

/// The parked keys of one assigned partition, shared by its lanes.
#[derive(Debug)]
pub(crate) struct ParkedKeys {
    parking: Arc<Parking>,
    topic: Arc<str>,
    partition: i32,
    /// How many keys are parked: what a record costs that has nothing to do with all this.
    count: AtomicUsize,
    keys: Mutex<Parked<Instant>>,
    /// By which number it is known that all was read; 0 before it was asked for.
    asked: AtomicU64,
    is_restored: AtomicBool,
    /// The markers that were looked at last.
    seen: AtomicU64,
}

impl ParkedKeys {
    pub(crate) fn new(parking: Arc<Parking>, topic: Arc<str>, partition: i32) -> Arc<Self> {
        Arc::new(Self {
            parking,
            topic,
            partition,
            count: AtomicUsize::new(0),
            keys: Mutex::default(),
            asked: AtomicU64::new(0),
            is_restored: AtomicBool::new(false),
            seen: AtomicU64::new(0),
        })
    }

    /// Returns the topic in which the keys are written down.
    pub(crate) fn marker_topic(&self) -> Option<TopicName> {
        parked_topic(&self.parking.group).ok()
    }

    /// Returns the partition that the keys are of.
    pub(crate) fn place(&self) -> (String, i32) {
        (self.topic.to_string(), self.partition)
    }

    /// Returns whether it is known which keys are parked.
    pub(crate) fn is_restored(&self) -> bool {
        self.is_restored.load(Ordering::Acquire)
    }

    /// Waits until it is known which keys are parked. May be dropped and called again.
    pub(crate) async fn restore(&self) {
        if self.asked.load(Ordering::Acquire) == 0 {
            self.asked.store(self.parking.ask(), Ordering::Release);
        }
        self.parking
            .answered(self.asked.load(Ordering::Acquire))
            .await;
        let markers = self.markers();
        let mut keys = self.keys.lock();
        keys.restore(markers, Instant::now() + RESTORED_HOLD);
        self.count.store(keys.count(), Ordering::Release);
        self.is_restored.store(true, Ordering::Release);
        if keys.count() > 0 {
            tracing::info!(
                topic = &*self.topic,
                partition = self.partition,
                keys = keys.count(),
                "keys are parked"
            );
        }
    }

    fn markers(&self) -> PlaceMarkers {
        self.parking.markers.lock().of(&self.topic, self.partition)
    }

    /// Returns how many keys are parked.
    pub(crate) fn len(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    /// Returns whether one more key may be parked.
    pub(crate) fn has_room(&self) -> bool {
        self.len() < KEYS_MAX
    }

    /// Returns whether the key is among those that are parked.
    pub(crate) fn has(&self, slot: &Slot) -> bool {
        self.keys.lock().has(slot)
    }

    /// Returns what becomes of a record.
    pub(crate) fn look(&self, slot: &Slot, session: Option<&str>, offset: i64) -> Look {
        let keys = self.keys.lock();
        keys.look(slot, session, offset, Instant::now())
    }

    /// Parks a key, or takes one more record of it along; also tells whether the key is new.
    pub(crate) fn park(&self, slot: &Slot, like: &State) -> (State, bool) {
        let mut keys = self.keys.lock();
        let before = keys.count();
        let state = keys.park(slot, like, Instant::now());
        self.count.store(keys.count(), Ordering::Release);
        (state, keys.count() > before)
    }

    /// Lets the later records of a key go; to be called when that was written down.
    pub(crate) fn unparked(&self, slot: &Slot) {
        let mut keys = self.keys.lock();
        keys.unparked(slot);
        self.count.store(keys.count(), Ordering::Release);
    }

    /// Takes note of requests and of the time; returns what is to be written down. `complete_below` is as in
    /// [`Parked::tend`].
    pub(crate) fn tend(&self, complete_below: impl FnOnce() -> Option<i64>) -> Vec<(Slot, News)> {
        if self.len() == 0 {
            return Vec::new();
        }
        let now = Instant::now();
        let version = self.parking.version.load(Ordering::SeqCst);
        let markers =
            (self.seen.swap(version, Ordering::SeqCst) != version).then(|| self.markers());
        let mut keys = self.keys.lock();
        let lease = |request: &Request| Duration::from_millis(request.lease_ms).min(LEASE_MAX);
        let until = |request: &Request| now + lease(request);
        let news = keys.tend(markers.as_ref(), now, until, complete_below);
        self.count.store(keys.count(), Ordering::Release);
        news
    }
}
