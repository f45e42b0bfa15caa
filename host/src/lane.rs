//! A lane: the ordered way of one partition's records through one instance.
//!
//! Owns the instance, knows which handler serves the topic now, and carries out what `deliver` decides.
//! **Invariant:** at most one record or batch is inside; a new revision is taken up only between two of them.

mod beside;
mod course;
mod decide;
mod finish;
mod hops;
mod park;
mod patience;
mod pause;
mod shadow;
mod stage;
mod throttle;
mod turn;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use self::hops::Hops;
pub(crate) use self::park::follow_parked;
pub(crate) use self::pause::{note_failed, note_failed_before, note_refused, paused_until};
use self::stage::Working;
pub(crate) use self::turn::{Next, Serving};
use self::turn::{Seat, Turn};
use crate::catalog::{CatalogReader, Deployed, GroupKey};
use crate::flight::Ledger;
use crate::gate::Door;
use crate::guest::{
    Admitted, GuestLog, Handler as Component, Instance, Lent, Place, Places, Setup,
};
use crate::ids::{HandlerId, Revision};
use crate::outbox::Outbox;
use crate::outcome::{Failure, FailureKind};
use crate::parking::ParkedKeys;
use crate::routes::Routes;
use crate::sink::Sink;
use crate::stats::{Meter, OpenLane, Registry};
use crate::stop::StopSignal;
use crate::vitals::{Doing, OpenHand, Vitals};

/// How long to wait when the producer takes no output.
const FULL_WAIT: Duration = Duration::from_millis(5);

/// The handler that serves a lane now, with its counters.
#[derive(Debug)]
struct Route {
    handler: Arc<Deployed>,
    stats: OpenLane,
    /// Whether the topic is one by which records come back.
    is_return: bool,
}

/// What a lane belongs to.
#[derive(Debug, Clone)]
pub(crate) struct LanePlace {
    pub(crate) group: GroupKey,
    pub(crate) topic: Arc<str>,
    pub(crate) partition: i32,
    pub(crate) parked: Arc<ParkedKeys>,
    pub(crate) vitals: Arc<Vitals>,
    /// What outputs are sent through, where they are part of a transaction.
    pub(crate) door: Option<Door<Arc<Sink>>>,
}

/// Held by every lane of a partition; when all are dropped, what waits on the other end knows that none runs any more.
pub(crate) type Alive = mpsc::Sender<Infallible>;

/// The stop signal was set off while the lane waited; the record in it stays unsettled.
#[derive(Debug)]
pub(crate) struct Stopped;

/// See the module.
#[derive(Debug)]
pub(crate) struct Lane {
    place: LanePlace,
    catalog: CatalogReader,
    registry: Arc<Registry>,
    /// What its tenant uses by the second.
    meter: Arc<Meter>,
    routes: Option<Routes>,
    serving: Option<Serving>,
    /// Whether somebody has paused a handler of the topic.
    is_paused: bool,
    /// The handler whose turn it is.
    route: Option<Route>,
    instance: Option<(Revision, Instance)>,
    /// Instances of what works beside handlers; apart from them the one that is at work.
    stages: Vec<Working>,
    at_work: Option<Working>,
    /// Handlers whose turn it is not.
    aside: Vec<Seat>,
    turn: Turn,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) stop: StopSignal,
    /// Swapped with the instance's, so that its memory is used again.
    outbox: Outbox,
    /// Attempts of the record or batch at hand, this one included.
    pub(crate) attempts: u32,
    /// When the last attempt ended.
    pub(crate) clock: Instant,
    /// How long it took.
    pub(crate) took: Duration,
    /// Whether the lane stands for the partition where lanes are counted.
    is_first: bool,
    /// What is in hand, as others see it.
    pub(crate) hand: Arc<OpenHand>,
    lent: Lent,
    /// What a pipeline is to send of the record at hand.
    piped: Outbox,
    /// Dead letters of the record at hand.
    letters: Outbox,
    /// How often it was passed on, and who reads what is sent.
    hops: Hops,
    alive: Alive,
}

impl Lane {
    pub(crate) fn new(
        place: LanePlace,
        mut catalog: CatalogReader,
        registry: Arc<Registry>,
        ledger: Arc<Ledger>,
        stop: StopSignal,
        alive: Alive,
    ) -> Self {
        catalog.mark_changed();
        let hand = Arc::new(place.vitals.open());
        Self {
            lent: Lent::of(Arc::clone(&hand)),
            hand,
            meter: registry.meter(&place.group.0),
            place,
            catalog,
            registry,
            routes: None,
            serving: None,
            is_paused: false,
            route: None,
            instance: None,
            stages: Vec::new(),
            at_work: None,
            aside: Vec::new(),
            turn: Turn::default(),
            ledger,
            stop,
            outbox: Outbox::new(usize::MAX, usize::MAX),
            piped: Outbox::new(usize::MAX, usize::MAX),
            letters: Outbox::new(usize::MAX, usize::MAX),
            hops: Hops::default(),
            attempts: 1,
            clock: Instant::now(),
            took: Duration::ZERO,
            is_first: true,
            alive,
        }
    }

    /// Makes another lane of the same partition.
    pub(crate) fn sibling(&self) -> Self {
        let mut lane = Self::new(
            self.place.clone(),
            self.catalog.clone(),
            Arc::clone(&self.registry),
            Arc::clone(&self.ledger),
            self.stop.clone(),
            self.alive.clone(),
        );
        lane.is_first = false;
        lane
    }

    /// Returns the topic.
    pub(crate) fn topic(&self) -> &Arc<str> {
        &self.place.topic
    }

    /// Returns the partition.
    pub(crate) fn partition(&self) -> i32 {
        self.place.partition
    }

    /// Returns what others see of the partition.
    pub(crate) fn vitals(&self) -> &Arc<Vitals> {
        &self.place.vitals
    }

    /// Returns the handler that speaks for the partition as of now.
    pub(crate) fn route(&mut self) -> Option<Arc<Deployed>> {
        if self.catalog.has_changed().unwrap_or(false) {
            self.reroute();
        }
        self.first()
    }

    fn reroute(&mut self) {
        let (readers, trials) = {
            let catalog = self.catalog.borrow_and_update();
            let readers = catalog.readers(&self.place.group, &self.place.topic);
            self.is_paused = readers.iter().any(|it| catalog.is_paused(&it.id));
            let trials = readers.iter().filter_map(|it| catalog.trial(&it.id));
            let trials = trials.map(Arc::clone).collect();
            (readers, trials)
        };
        self.routes = Routes::of(&readers, trials);
        self.serving = self.routes.as_ref().map(Routes::revisions);
        self.hops.forget();
        let first = self.first();
        let has_turned = |route: &Route| first.as_ref().is_none_or(|it| it.id != route.handler.id);
        if self.route.as_ref().is_some_and(has_turned) {
            // What is counted of the partition is another one's from now on.
            self.route = None;
            self.instance = None;
        }
        self.clear_seats();
        self.clear_stages();
        if let Some(first) = first {
            self.turn_to(&first);
        }
    }

    /// Returns what is told when something was deployed or removed since [`Self::route`].
    pub(crate) fn catalog(&self) -> CatalogReader {
        self.catalog.clone()
    }

    /// Returns the counters of the handler that serves the lane.
    pub(crate) fn stats(&self) -> Option<&OpenLane> {
        self.route.as_ref().map(|route| &route.stats)
    }

    /// Returns whether records come back to the handler by the lane's topic.
    pub(crate) fn is_return(&self) -> bool {
        self.route.as_ref().is_some_and(|route| route.is_return)
    }

    /// Returns whether somebody has paused a handler of the topic, as of [`Self::route`]: nothing is to be handed over.
    pub(crate) fn is_paused(&self) -> bool {
        self.is_paused
    }

    /// Returns what served the lane last.
    pub(crate) fn serving(&self) -> Option<&Serving> {
        self.serving.as_ref()
    }

    /// Waits until the handler may run one more instance on this host.
    pub(crate) async fn admit(&mut self, handler: &Deployed) -> Result<Admitted, Stopped> {
        let Some(permits) = &handler.permits else {
            return Ok(self.lent.admit(None));
        };
        let permit = self.permit_of(permits).await?;
        Ok(self.lent.admit(Some(permit)))
    }

    /// Lets the instance go when another lane needs its place. To be waited for beside something else: who has a permit
    /// may be waiting for a place, and the other way round.
    pub(crate) async fn lend_place(&mut self) -> Infallible {
        let places = self.route.as_ref().map(|it| it.handler.component.places());
        if places.is_some_and(|places| places.is_short()) {
            // Who asked before was not heard.
            self.rest();
        }
        loop {
            self.place_wanted().await;
            self.rest();
        }
    }

    /// Waits until another lane needs the place of this one's instance.
    pub(crate) fn place_wanted(&self) -> impl Future<Output = ()> + use<> {
        let places = self
            .route
            .as_ref()
            .filter(|_| self.has_instances())
            .map(|route| Arc::clone(route.handler.component.places()));
        async move {
            match places {
                Some(places) => places.asked().await,
                None => std::future::pending().await,
            }
        }
    }

    /// Lets the instance go, so that its memory is free while the lane has nothing to do.
    pub(crate) fn rest(&mut self) {
        self.rest_seats();
        self.rest_stages();
        self.instance = None;
        if let Some(stats) = self.stats() {
            stats.memory_bytes.set(0);
        }
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
            let (component, setup) = (&handler.component, &handler.setup);
            match self.start_instance(&handler.id, component, setup).await? {
                Ok(instance) => self.instance = Some((handler.revision.clone(), instance)),
                Err(failure) => return Ok(Err(failure)),
            }
        }
        match &mut self.instance {
            Some((_, instance)) => {
                instance.count_from(self.hops.in_hand());
                Ok(Ok(instance))
            }
            None => Ok(Err(Failure::new(FailureKind::Other, "no instance"))),
        }
    }

    async fn start_instance(
        &mut self,
        handler: &HandlerId,
        component: &Component,
        setup: &Setup,
    ) -> Result<Result<Instance, Failure>, Stopped> {
        let places = component.places();
        let place = match places.try_take() {
            Some(place) => Some(place),
            None => self.place_of(places).await?,
        };
        let log = GuestLog::new(
            handler.clone(),
            Arc::clone(&self.place.topic),
            self.place.partition,
            Arc::clone(&setup.meter),
        );
        let lent = self.lent.clone();
        match Instance::start(component, setup, log, place, lent).await {
            Ok(mut instance) => {
                if let Some(stats) = self.stats() {
                    stats.instance_starts.increment();
                }
                let hook = instance
                    .assigned(&self.place.topic, self.place.partition)
                    .await;
                Ok(hook.map(|()| instance))
            }
            Err(error) => Ok(Err(Failure::new(FailureKind::Trap, error.to_string()))),
        }
    }

    /// Waits for a place. Who does that must hold neither a place nor a permit that others may wait for.
    async fn place_of(&mut self, places: &Places) -> Result<Option<Place>, Stopped> {
        self.rest();
        let permits = self.lent.give_back();
        self.hand.note(Doing::Place);
        let taken = async {
            let place = places.take().await;
            if let Some(permits) = permits {
                self.lent.lend_again(permits).await;
            }
            place
        };
        let place = tokio::select! {
            biased;
            () = self.stop.set() => return Err(Stopped),
            place = taken => place,
        };
        self.hand.note(Doing::Handling);
        Ok(place)
    }

    /// Tells the guest that its partition goes, and lets the instance go.
    pub(crate) async fn close(&mut self) {
        let (route, instance) = (self.route.as_ref(), self.instance.take());
        let own = route
            .zip(instance)
            .map(|(route, instance)| (Arc::clone(&route.handler), instance));
        let seats = self.seats();
        for (handler, (_, instance)) in own.into_iter().chain(seats) {
            self.let_go(&handler, instance).await;
        }
        self.close_stages().await;
    }

    /// Tells one guest that its partition goes, unless it must not be called again.
    async fn let_go(&mut self, handler: &Deployed, mut instance: Instance) {
        if instance.is_spent() {
            return;
        }
        let (topic, partition) = (&self.place.topic, self.place.partition);
        let told = instance.revoked(topic, partition).await;
        log_hook_failure(handler, "on-revoked", told);
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
                error = failure.excerpt(),
                "a hook failed; the policy of the manifest decides"
            );
        })
        .ok()
}
