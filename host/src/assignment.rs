//! The partitions that one consumer group has given this host, and their tasks.
//!
//! Called by the consumer's thread when partitions come and go; the tasks run on the async runtime.
//! **Invariant:** when `revoked` returns, the tasks of the revoked partitions have ended: by themselves within the
//! drain deadline, or aborted. Nothing of theirs moves a watermark, emits or stores afterwards.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use crate::catalog::{CatalogReader, GroupKey};
use crate::catch_up::PartitionStanding;
use crate::flight::Ledger;
use crate::lane::{Lane, LanePlace};
use crate::parking::{ParkedKeys, Parking};
use crate::partition::{PartitionTask, Told};
use crate::source::{Fenced, PartitionQueue, Position, RebalanceListener, Transactions};
use crate::stats::Registry;
use crate::stop::StopSignal;
use crate::suspects::Suspects;
use crate::vitals::Vitals;

/// What every assignment is made with.
#[derive(Debug, Clone)]
pub(crate) struct Flow {
    pub(crate) runtime: Handle,
    pub(crate) catalog: CatalogReader,
    pub(crate) registry: Arc<Registry>,
    /// How long a revoked partition may take to settle what it began.
    pub(crate) drain_timeout: Duration,
}

#[derive(Debug)]
struct Running {
    topic: Arc<str>,
    partition: i32,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
    /// Closed when the task and all its lanes have ended.
    lanes: mpsc::Receiver<Infallible>,
    ledger: Arc<Ledger>,
    told: Told,
    vitals: Arc<Vitals>,
}

/// What is seen of an assigned partition from outside.
#[derive(Debug)]
pub(crate) struct PartitionVitals {
    pub(crate) topic: Arc<str>,
    pub(crate) partition: i32,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) vitals: Arc<Vitals>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Assignment {
    flow: Flow,
    group: GroupKey,
    parking: Arc<Parking>,
    running: Mutex<HashMap<(String, i32), Running>>,
    /// Where outputs and positions are committed together.
    transactions: Option<Arc<Transactions>>,
    /// Of each assigned partition then. They outlive a task that is fenced.
    suspects: Mutex<HashMap<(String, i32), Arc<Suspects>>>,
}

impl Assignment {
    /// `kafka` are the settings of the group's consumer.
    pub(crate) fn new(
        flow: Flow,
        group: GroupKey,
        kafka: BTreeMap<String, String>,
        transactions: Option<Arc<Transactions>>,
    ) -> Self {
        Self {
            parking: Parking::new(group.1.clone(), kafka, flow.runtime.clone()),
            flow,
            group,
            running: Mutex::default(),
            transactions,
            suspects: Mutex::default(),
        }
    }

    fn ledger(&self, topic: &str, partition: i32) -> Ledger {
        let Some(transactions) = &self.transactions else {
            return Ledger::default();
        };
        let mut suspects = self.suspects.lock();
        let suspects = suspects
            .entry((topic.to_owned(), partition))
            .or_insert_with(|| Arc::new(Suspects::new(transactions.gate.tear())));
        Ledger::in_transaction(Arc::clone(suspects))
    }

    /// Lists how the partitions stand.
    pub(crate) fn standings(&self) -> Vec<PartitionStanding> {
        let running = self.running.lock();
        running
            .values()
            .map(|running| PartitionStanding {
                topic: running.topic.to_string(),
                partition: running.partition,
                standing: *running.told.lock(),
            })
            .collect()
    }

    /// Lists what is seen of the partitions.
    pub(crate) fn vitals(&self) -> Vec<PartitionVitals> {
        let running = self.running.lock();
        let vitals = |running: &Running| PartitionVitals {
            topic: Arc::clone(&running.topic),
            partition: running.partition,
            ledger: Arc::clone(&running.ledger),
            vitals: Arc::clone(&running.vitals),
        };
        running.values().map(vitals).collect()
    }

    fn spawn(&self, queue: PartitionQueue) -> Running {
        let (topic, partition) = (Arc::clone(queue.topic()), queue.partition());
        let (stop, signal) = StopSignal::new();
        let ledger = Arc::new(self.ledger(&topic, partition));
        let told = Told::default();
        let (alive, lanes) = mpsc::channel(1);
        let vitals = Arc::<Vitals>::default();
        let place = LanePlace {
            vitals: Arc::clone(&vitals),
            group: self.group.clone(),
            topic: Arc::clone(&topic),
            partition,
            parked: ParkedKeys::new(Arc::clone(&self.parking), Arc::clone(&topic), partition),
            door: self.transactions.as_ref().map(|it| it.gate.door()),
        };
        let lane = Lane::new(
            place,
            self.flow.catalog.clone(),
            Arc::clone(&self.flow.registry),
            Arc::clone(&ledger),
            signal,
            alive,
        );
        let task = self
            .flow
            .runtime
            .spawn(PartitionTask::new(queue, lane, Arc::clone(&told)).run());
        Running {
            topic,
            partition,
            stop,
            task,
            lanes,
            ledger,
            told,
            vitals,
        }
    }

    fn all(&self) -> Vec<(String, i32)> {
        self.running.lock().keys().cloned().collect()
    }

    /// Ends a task, waiting for it until `deadline`, then aborting it.
    async fn end(running: Running, deadline: Instant) -> Option<Position> {
        let Running {
            topic,
            partition,
            mut task,
            mut lanes,
            ledger,
            ..
        } = running;
        let abort = task.abort_handle();
        if timeout_at(deadline, &mut task).await.is_err() {
            abort.abort();
            // A guest that computes yields at the next tick of the epoch, so this is short.
            let _ = task.await;
            tracing::warn!(
                topic = &*topic,
                partition,
                open = ledger.open(),
                "the drain deadline passed; unsettled records will be handled again"
            );
        }
        // An aborted task leaves its lanes a moment longer.
        let _ = lanes.recv().await;
        let point = ledger.commit_point()?;
        Some(Position {
            topic,
            partition,
            point,
        })
    }
}

impl RebalanceListener for Assignment {
    fn assigned(&self, queues: Vec<PartitionQueue>) {
        for queue in queues {
            let key = (queue.topic().to_string(), queue.partition());
            let running = self.spawn(queue);
            if let Some(old) = self.running.lock().insert(key, running) {
                // Kafka never assigns what it has not revoked.
                tracing::error!(
                    topic = &*old.topic,
                    partition = old.partition,
                    "assigned twice"
                );
                old.task.abort();
            }
        }
    }

    fn revoked(&self, partitions: &[(String, i32)], lost: bool) -> Vec<Position> {
        self.suspects
            .lock()
            .retain(|name, _| !partitions.contains(name));
        self.end_all(partitions, lost)
    }

    fn leaving(&self) -> Vec<Position> {
        self.revoked(&self.all(), false)
    }

    fn positions(&self) -> Vec<Position> {
        let running = self.running.lock();
        let position = |running: &Running| {
            Some(Position {
                topic: Arc::clone(&running.topic),
                partition: running.partition,
                point: running.ledger.commit_point()?,
            })
        };
        running.values().filter_map(position).collect()
    }

    fn committed(&self, positions: &[Position]) {
        let suspects = self.suspects.lock();
        for position in positions {
            let name = (position.topic.to_string(), position.partition);
            if let Some(suspects) = suspects.get(&name) {
                suspects.forget_below(position.point.offset);
            }
        }
    }

    fn fence(&self) -> Vec<Fenced> {
        let fenced: Vec<Fenced> = {
            let running = self.running.lock();
            let fenced = running.iter().map(|(name, running)| Fenced {
                name: name.clone(),
                first_taken: running.ledger.first_taken(),
            });
            fenced.collect()
        };
        self.end_all(&self.all(), true);
        fenced
    }

    fn closed(&self) {
        self.suspects.lock().clear();
        self.end_all(&self.all(), true);
    }
}

impl Assignment {
    /// Ends the tasks of these partitions; at once where their work is `lost`. Returns what is complete of them.
    fn end_all(&self, partitions: &[(String, i32)], lost: bool) -> Vec<Position> {
        let gone: Vec<Running> = {
            let mut running = self.running.lock();
            partitions
                .iter()
                .filter_map(|key| running.remove(key))
                .collect()
        };
        for running in &gone {
            let _ = running.stop.send(true);
            if lost {
                running.task.abort();
            }
        }
        let deadline = Instant::now() + self.flow.drain_timeout;
        self.flow.runtime.block_on(async {
            let mut positions = Vec::with_capacity(gone.len());
            for running in gone {
                positions.extend(Self::end(running, deadline).await);
            }
            positions
        })
    }
}
