//! Lets as many lanes run at once as there are threads to run them, and has the others wait for their turn.
//!
//! Wraps the future of a lane: where it is woken it comes to the turnstile, and it is polled when it is let in; who that is,
//! [`crate::fair`] says. So a poll is what is counted, whatever the lane does in it, and a guest that yields at a tick
//! leaves the turnstile. Nothing is held over a wait. It stands open while all tenants weigh the same: lanes pass by.
//! **Invariant:** who is let in is woken, and who ends or is dropped leaves its place to others.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::task::coop::has_budget_remaining;
use tokio::task::yield_now;
use tokio::time::Instant;

use crate::fair::{Fair, Place};
use crate::ids::TenantId;
use crate::settings::Rules;

thread_local! {
    /// Whether what this thread polls has been let in.
    static IS_LET_IN: Cell<bool> = const { Cell::new(false) };
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Turnstile {
    /// Whether lanes pass by.
    is_open: AtomicBool,
    fair: Mutex<Fair<Arc<Pass>>>,
    tenants: Mutex<Tenants>,
}

#[derive(Debug, Default)]
struct Tenants {
    places: BTreeMap<TenantId, Place>,
    rules: Rules,
}

impl Tenants {
    fn weight(&self, tenant: &TenantId) -> u32 {
        self.rules.get(tenant).map_or(1, |rules| rules.weight)
    }
}

/// What a tenant's lanes pass the turnstile with.
#[derive(Debug, Clone)]
pub(crate) struct Ticket {
    turnstile: Arc<Turnstile>,
    place: Place,
}

/// Where a lane stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stand {
    /// It has nothing to do.
    Away,
    /// It waits to be let in.
    Waiting,
    /// It is let in, and woken.
    Inside,
    /// It runs.
    Running,
    /// It runs, and was woken meanwhile.
    Again,
    /// It has ended.
    Gone,
}

/// Why a lane stops running.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// It waits for something.
    Pause,
    /// It has run for as long as the runtime lets a task run.
    Cut,
    /// It has ended, or is dropped.
    Over,
}

/// A lane before the turnstile.
#[derive(Debug)]
struct Pass {
    ticket: Ticket,
    /// Changed only while the turnstile's lock is held.
    stand: Mutex<Stand>,
    /// Who polls the lane.
    poller: Mutex<Option<Waker>>,
}

/// A lane's future that runs when it is let in.
pub(crate) struct Gated<F> {
    lane: Pin<Box<F>>,
    pass: Arc<Pass>,
    waker: Waker,
}

/// Lets others have their turn, and comes again at once. The runtime's own `yield_now` wakes only when there is nothing else to
/// do, which is what is wanted where the turnstile is open.
pub(crate) async fn step_back() {
    if !IS_LET_IN.get() {
        return yield_now().await;
    }
    let mut has_stepped = false;
    poll_fn(|context| {
        if std::mem::replace(&mut has_stepped, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

impl Turnstile {
    /// Makes one for so many threads.
    pub(crate) fn new(threads: usize) -> Arc<Self> {
        Arc::new(Self {
            is_open: AtomicBool::new(true),
            fair: Mutex::new(Fair::new(threads)),
            tenants: Mutex::default(),
        })
    }

    /// Has tenants weigh so much from now on; those that are not named weigh 1.
    pub(crate) fn weigh(&self, rules: &Rules) {
        let is_open = rules.values().all(|it| it.weight == 1);
        self.is_open.store(is_open, Ordering::Relaxed);
        let mut tenants = self.tenants.lock();
        tenants.rules.clone_from(rules);
        for (id, place) in &tenants.places {
            self.fair.lock().weigh(*place, tenants.weight(id));
        }
    }

    /// Returns what lanes of a tenant pass with.
    pub(crate) fn ticket(self: &Arc<Self>, tenant: &TenantId) -> Ticket {
        let mut tenants = self.tenants.lock();
        let weight = tenants.weight(tenant);
        let places = &mut tenants.places;
        let place = places.get(tenant).copied().unwrap_or_else(|| {
            let place = self.fair.lock().add(weight);
            places.insert(tenant.clone(), place);
            place
        });
        Ticket {
            turnstile: Arc::clone(self),
            place,
        }
    }
}

impl Ticket {
    /// Has a lane wait for its turn wherever it goes on.
    pub(crate) fn gate<F: Future>(&self, lane: F) -> Gated<F> {
        let pass = Arc::new(Pass {
            ticket: self.clone(),
            stand: Mutex::new(Stand::Away),
            poller: Mutex::default(),
        });
        Gated {
            lane: Box::pin(lane),
            waker: Waker::from(Arc::clone(&pass)),
            pass,
        }
    }
}

impl Pass {
    /// Comes to the turnstile where it has something to do and is not there yet; returns whether it is let in.
    fn come(self: &Arc<Self>) -> bool {
        let mut fair = self.ticket.turnstile.fair.lock();
        let mut stand = self.stand.lock();
        if *stand == Stand::Running {
            *stand = Stand::Again;
        }
        let is_new = *stand == Stand::Away;
        if is_new {
            *stand = self.stand_of_newcomer(&mut fair);
        }
        is_new && *stand == Stand::Inside
    }

    /// Returns whether it need not be let in: nobody is where the turnstile is open, but for who came before it was.
    fn may_pass_by(&self) -> bool {
        self.ticket.turnstile.is_open.load(Ordering::Relaxed) && *self.stand.lock() == Stand::Away
    }

    /// Begins to run where it is let in; returns whether it is, and whether others wait.
    fn begin(self: &Arc<Self>) -> (bool, bool) {
        let mut fair = self.ticket.turnstile.fair.lock();
        let mut stand = self.stand.lock();
        // Nobody wakes it before it was polled for the first time; later on it has come where it was woken.
        if *stand == Stand::Away {
            *stand = self.stand_of_newcomer(&mut fair);
        }
        let is_inside = *stand == Stand::Inside;
        if is_inside {
            *stand = Stand::Running;
        }
        (is_inside, fair.is_crowded())
    }

    fn stand_of_newcomer(self: &Arc<Self>, fair: &mut Fair<Arc<Self>>) -> Stand {
        match fair.come(self.ticket.place, Arc::clone(self)) {
            Some(_) => Stand::Inside,
            None => Stand::Waiting,
        }
    }

    /// Stops running, and lets in who is next.
    fn leave(self: &Arc<Self>, ran: Duration, end: End) {
        let is_over = end == End::Over;
        let next = {
            let mut fair = self.ticket.turnstile.fair.lock();
            let mut stand = self.stand.lock();
            if end == End::Cut && *stand == Stand::Running {
                *stand = Stand::Again;
            }
            let is_there = matches!(*stand, Stand::Inside | Stand::Running | Stand::Again);
            let again = (*stand == Stand::Again && !is_over).then(|| Arc::clone(self));
            if *stand == Stand::Waiting && is_over {
                fair.forget(self.ticket.place, |it| Arc::ptr_eq(it, self));
            }
            *stand = match &again {
                _ if is_over => Stand::Gone,
                Some(_) => Stand::Waiting,
                None => Stand::Away,
            };
            drop(stand);
            let next = is_there.then(|| fair.leave(self.ticket.place, ran, again));
            let next = next.flatten();
            if let Some(next) = &next {
                *next.stand.lock() = Stand::Inside;
            }
            next
        };
        if let Some(next) = next {
            next.call();
        }
    }

    /// Has the lane polled.
    fn call(&self) {
        let poller = self.poller.lock().clone();
        if let Some(poller) = poller {
            poller.wake();
        }
    }
}

impl Wake for Pass {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.come() {
            self.call();
        }
    }
}

impl<F: Future> Future for Gated<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = &mut *self;
        if this.pass.may_pass_by() {
            return this.lane.as_mut().poll(context);
        }
        {
            let mut poller = this.pass.poller.lock();
            if !poller
                .as_ref()
                .is_some_and(|it| it.will_wake(context.waker()))
            {
                *poller = Some(context.waker().clone());
            }
        }
        let (is_inside, is_crowded) = this.pass.begin();
        if !is_inside {
            return Poll::Pending;
        }
        // What is used while nobody wants it is nobody's.
        let began = is_crowded.then(Instant::now);
        IS_LET_IN.set(true);
        let polled = this
            .lane
            .as_mut()
            .poll(&mut Context::from_waker(&this.waker));
        IS_LET_IN.set(false);
        let ran = began.map_or(Duration::ZERO, |began| began.elapsed());
        let end = match &polled {
            Poll::Ready(_) => End::Over,
            // The runtime wakes who has used up its budget only when it has nothing else to do, which is never here.
            Poll::Pending if !has_budget_remaining() => End::Cut,
            Poll::Pending => End::Pause,
        };
        this.pass.leave(ran, end);
        polled
    }
}

impl<F> Drop for Gated<F> {
    fn drop(&mut self) {
        self.pass.leave(Duration::ZERO, End::Over);
        *self.pass.poller.lock() = None;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

    use tokio::task::JoinSet;

    use super::*;
    use crate::settings::TenantRules;

    fn tenant(name: &str) -> TenantId {
        name.parse().unwrap()
    }

    /// Runs for a while without a pause.
    fn work(time: Duration) {
        let began = Instant::now();
        while began.elapsed() < time {}
    }

    /// Lanes that always want to run; counts their slices.
    fn busy(
        ticket: &Ticket,
        lanes: usize,
        stop: &Arc<AtomicBool>,
    ) -> (JoinSet<()>, Arc<AtomicU64>) {
        let (mut tasks, count) = (JoinSet::new(), Arc::new(AtomicU64::new(0)));
        for _ in 0..lanes {
            let (stop, count) = (Arc::clone(stop), Arc::clone(&count));
            tasks.spawn(ticket.gate(async move {
                while !stop.load(Ordering::Relaxed) {
                    work(Duration::from_millis(1));
                    count.fetch_add(1, Ordering::Relaxed);
                    step_back().await;
                }
            }));
        }
        (tasks, count)
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn tenants_share_what_there_is_by_their_weights_however_many_lanes_they_have() {
        let turnstile = Turnstile::new(2);
        let heavy = TenantRules {
            weight: 3,
            is_trusted: false,
        };
        turnstile.weigh(&Rules::from([(tenant("heavy"), heavy)]));
        let stop = Arc::default();
        let heavy = busy(&turnstile.ticket(&tenant("heavy")), 4, &stop);
        let light = busy(&turnstile.ticket(&tenant("light")), 30, &stop);
        tokio::time::sleep(Duration::from_millis(600)).await;
        stop.store(true, Ordering::Relaxed);
        heavy.0.join_all().await;
        light.0.join_all().await;
        let (heavy, light) = (
            heavy.1.load(Ordering::Relaxed),
            light.1.load(Ordering::Relaxed),
        );
        assert!(heavy > light * 2 && heavy < light * 4, "{heavy} to {light}");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn nobody_is_forgotten_who_wakes_and_waits_and_goes_in_any_order() {
        let turnstile = Turnstile::new(2);
        let mut tasks = JoinSet::new();
        for number in 0..200u64 {
            // It opens and closes meanwhile.
            let a = TenantRules {
                weight: if number % 40 < 20 { 2 } else { 1 },
                is_trusted: false,
            };
            turnstile.weigh(&Rules::from([(tenant("a"), a)]));
            if number % 10 == 0 {
                yield_now().await;
            }
            let ticket = turnstile.ticket(&tenant(
                ["a", "b", "c"][usize::try_from(number % 3).unwrap()],
            ));
            let (send, mut receive) = tokio::sync::mpsc::channel(1);
            tasks.spawn(ticket.gate(async move {
                for turn in 0..50 {
                    if turn % 7 == number % 7 {
                        tokio::time::sleep(Duration::from_micros(number)).await;
                    }
                    send.send(turn).await.unwrap();
                }
                0
            }));
            tasks.spawn(ticket.gate(async move {
                let mut sum = 0;
                while let Some(turn) = receive.recv().await {
                    yield_now().await;
                    sum += turn;
                }
                sum
            }));
            // One that is given up, wherever it stands.
            let given_up = tokio::spawn(ticket.gate(async {
                loop {
                    yield_now().await;
                }
            }));
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_micros(number * 17 % 300)).await;
                given_up.abort();
            });
        }
        let all = tokio::time::timeout(Duration::from_secs(30), tasks.join_all()).await;
        let sum: u64 = all.unwrap().into_iter().sum();
        assert_eq!(sum, 200 * (0..50).sum::<u64>());
        // Nobody is left inside.
        let ticket = turnstile.ticket(&tenant("a"));
        let entered: Vec<_> = (0..3)
            .map(|_| Arc::clone(&ticket.gate(async {}).pass).come())
            .collect();
        assert!(entered[0], "{turnstile:?}");
    }
}
