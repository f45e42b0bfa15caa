//! One live guest: a store, its hooks, and the rules by which it is kept or thrown away.
//!
//! **Invariant:** hooks of one instance run one at a time; after a trap, a deadline or a breach of memory the
//! instance is spent and is never called again.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use wasmtime::component::{ComponentExportIndex, ComponentNamedList, Lift, Lower, TypedFunc};
use wasmtime::{PoolConcurrencyLimitError, Store, Trap, UpdateDeadline};

use super::allowance::Allowance;
use super::bindings::json::HeadParam;
use super::bindings::{
    BulkFailure, FailureParam, HandlerError, MessageParam, MessageResult, OutcomeParam,
    PackedBatch, ReceptionResult, VerdictResult,
};
use super::component::{Handler, chain};
use super::engine::TICK;
use super::lent::Lent;
use super::log::GuestLog;
use super::places::Place;
use super::setup::Setup;
use super::state::{GuestState, MemoryExceeded};
use super::step::{CheckArguments, Decide, Transform};
use super::stopwatch::{Bill, Stopwatch};
use crate::outbox::Outbox;
use crate::outcome::{Failure, FailureKind};
use crate::reply::WAIT_MAX;

/// Why an instance cannot be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    /// The host runs as many instances as it may.
    #[error("the host runs as many instances as it may (instances-max)")]
    PoolFull,
    /// The guest failed while it began, or its hooks have other types than wit/ says.
    #[error("the instance cannot start: {0}")]
    Guest(String),
    /// `define-context` refused.
    #[error("define-context failed: {0}")]
    Context(String),
}

/// What became of a batch.
#[derive(Debug)]
pub(crate) enum BulkOutcome {
    /// The hook succeeded. `filtered` and `failed` name records by their place in the batch.
    Handled {
        /// Places of the records that `did-receive-bulk` left out.
        filtered: Vec<usize>,
        /// Places and failures of the records that the hook named.
        failed: Vec<(usize, Failure)>,
    },
    /// The whole batch failed.
    Failed(Failure),
}

type OnRecord = TypedFunc<(MessageParam<'static>,), (Result<(), HandlerError>,)>;
type Events = TypedFunc<(), (Vec<String>,)>;
type OnEvent =
    TypedFunc<(&'static str, &'static str, MessageParam<'static>), (Result<(), HandlerError>,)>;
pub(super) type OnView = TypedFunc<(HeadParam<'static>,), (Result<(), HandlerError>,)>;
type DidReceive =
    TypedFunc<(MessageParam<'static>,), (Result<Option<MessageResult>, HandlerError>,)>;
type Middleware = TypedFunc<(MessageParam<'static>,), (Result<ReceptionResult, HandlerError>,)>;
type OnError = TypedFunc<(FailureParam<'static>, MessageParam<'static>), (VerdictResult,)>;
type Batch = &'static [MessageParam<'static>];
type OnBulk = TypedFunc<(Batch,), (Result<Vec<BulkFailure>, HandlerError>,)>;
type OnPackedBulk = TypedFunc<(PackedBatch<'static>,), (Result<Vec<BulkFailure>, HandlerError>,)>;
type DidReceiveBulk = TypedFunc<(Batch,), (Result<Vec<MessageResult>, HandlerError>,)>;
type OnBulkError = TypedFunc<(FailureParam<'static>, Batch), (VerdictResult,)>;
type OnFinished = TypedFunc<(Batch, OutcomeParam), ()>;
type OnPartition = TypedFunc<(&'static str, u32), ()>;
type DefineContext = TypedFunc<(&'static [(&'static str, &'static str)],), (Result<(), String>,)>;

/// The hooks of one instance, ready to be called.
#[derive(Clone)]
pub(super) struct Functions {
    define_context: Option<DefineContext>,
    pub(super) did_receive: Option<DidReceive>,
    pub(super) middleware: Option<Middleware>,
    pub(super) on_message: Option<OnRecord>,
    events: Option<Events>,
    pub(super) on_event: Option<OnEvent>,
    pub(super) on_view: Option<OnView>,
    pub(super) on_tombstone: Option<OnRecord>,
    pub(super) check_transform: Option<CheckArguments>,
    pub(super) transform: Option<Transform>,
    pub(super) check_decide: Option<CheckArguments>,
    pub(super) decide: Option<Decide>,
    pub(super) on_error: Option<OnError>,
    pub(super) did_receive_bulk: Option<DidReceiveBulk>,
    pub(super) on_bulk: Option<OnBulk>,
    pub(super) on_packed_bulk: Option<OnPackedBulk>,
    pub(super) on_bulk_error: Option<OnBulkError>,
    pub(super) on_finished: Option<OnFinished>,
    pub(super) on_assigned: Option<OnPartition>,
    pub(super) on_revoked: Option<OnPartition>,
}

/// A live guest.
pub(crate) struct Instance {
    pub(super) store: Store<GuestState>,
    pub(super) functions: Functions,
    allowance: Arc<Allowance>,
    pub(super) deadline: Duration,
    pub(super) spent: bool,
    memory_max_bytes: usize,
    /// Bytes of linear memory when the instance had begun.
    memory_first_bytes: usize,
    bill: Bill,
    /// How long a guest that cannot be interrupted ran since its lane stepped back; nothing for others, which do at each tick.
    unbroken: Option<Duration>,
    /// When the last call returned.
    returned: Instant,
    /// Free again when the store is gone.
    _place: Option<Place>,
}

impl std::fmt::Debug for Instance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Instance")
            .field("spent", &self.spent)
            .finish_non_exhaustive()
    }
}

impl Instance {
    /// Makes an instance and lets it define its context. A trial has no place.
    pub(crate) async fn start(
        handler: &Handler,
        setup: &Setup,
        log: GuestLog,
        place: Option<Place>,
        lent: Lent,
    ) -> Result<Self, StartError> {
        let state = GuestState::new(setup, lent, Arc::new(log), handler);
        let allowance = Arc::clone(&state.allowance);
        let mut store = Store::new(handler.code.pre.engine(), state);
        store.limiter(|state| state);
        // What a guest may hand over in one import call; the outbox has its own, smaller bound.
        store.set_hostcall_fuel(setup.limits.outbox_bytes.saturating_add(1 << 20));
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(|store| {
            Ok(if Instant::now() >= store.data().allowance.deadline() {
                UpdateDeadline::Interrupt
            } else {
                UpdateDeadline::Yield(1)
            })
        });
        let began = Instant::now();
        let deadline = began + setup.limits.deadline;
        allowance.begin(deadline, Duration::ZERO);
        let mut bill = Bill::of(&setup.meter);
        let made = {
            let mut watch = Stopwatch::since(began);
            watch.pause();
            let making = pin!(handler.code.pre.instantiate_async(&mut store));
            let made = timeout_at(deadline, watch.time(making)).await;
            bill.add(watch.stop().0);
            made
        };
        let instance = match made {
            Ok(Ok(instance)) => instance,
            Ok(Err(error)) if error.is::<PoolConcurrencyLimitError>() => {
                return Err(StartError::PoolFull);
            }
            Ok(Err(error)) => return Err(StartError::Guest(chain(&error))),
            Err(_) => {
                return Err(StartError::Guest(
                    "it did not start within deadline-ms".to_owned(),
                ));
            }
        };
        let functions = functions(&mut store, &instance, handler).map_err(|error| {
            StartError::Guest(format!(
                "a hook has another type than wit/ says: {}",
                chain(&error)
            ))
        })?;
        let mut instance = Self {
            store,
            functions,
            allowance,
            deadline: setup.limits.deadline,
            spent: false,
            memory_max_bytes: setup.limits.memory_bytes,
            memory_first_bytes: 0,
            bill,
            unbroken: (!handler.is_interruptible).then_some(Duration::ZERO),
            returned: began,
            _place: place,
        };
        instance.define_context(&setup.config).await?;
        instance.memory_first_bytes = instance.memory_bytes();
        Ok(instance)
    }

    async fn define_context(
        &mut self,
        config: &BTreeMap<String, String>,
    ) -> Result<(), StartError> {
        let Some(function) = self.functions.define_context else {
            return Ok(());
        };
        let config: Vec<(&str, &str)> = config
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
            .collect();
        let deadline = Instant::now() + self.deadline;
        match self.call(&function, (config.as_slice(),), deadline).await {
            Ok((Ok(()),)) => Ok(()),
            Ok((Err(reason),)) => Err(StartError::Context(reason)),
            Err(failure) => Err(StartError::Context(failure.message)),
        }
    }

    /// Asks for the patterns of the events that the component handles; none where it has no hook for them.
    pub(crate) async fn events(&mut self) -> Result<Vec<String>, Failure> {
        let Some(function) = self.functions.events else {
            return Ok(Vec::new());
        };
        let deadline = Instant::now() + self.deadline;
        let (events,) = self.call(&function, (), deadline).await?;
        Ok(events)
    }

    /// Takes note of how often the record was passed on that the next hooks are about.
    pub(crate) fn count_from(&mut self, hops: u32) {
        self.store.data_mut().hops = hops;
    }

    /// Returns whether the instance must not be called again.
    pub(crate) fn is_spent(&self) -> bool {
        self.spent
    }

    /// Returns whether the guest has grown so much that the next record should meet a fresh one: linear memory never
    /// shrinks. A guest that begins large is left alone.
    pub(crate) fn is_bloated(&self) -> bool {
        self.memory_bytes() > self.memory_max_bytes / 4 * 3
            && self.memory_first_bytes <= self.memory_max_bytes / 2
    }

    /// Returns the bytes of linear memory that the guest has.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.store.data().memory_bytes
    }

    /// Returns when the last call of a hook returned.
    pub(crate) fn returned(&self) -> Instant {
        self.returned
    }

    /// Lends what the hooks emitted since it was last cleared.
    pub(super) fn outbox(&self) -> &Outbox {
        &self.store.data().outbox
    }

    /// Swaps the outbox: the flow takes what was emitted, and gives an empty one whose memory is used again.
    pub(crate) fn swap_outbox(&mut self, outbox: &mut Outbox) {
        std::mem::swap(&mut self.store.data_mut().outbox, outbox);
    }

    /// Forgets what the hooks emitted.
    pub(crate) fn clear_outbox(&mut self) {
        self.store.data_mut().outbox.clear();
    }

    /// Calls a hook, which has `deadline` as of the moment at which it is called; whatever goes wrong outside its own result is a failure that spends the instance.
    pub(super) async fn call<P, R>(
        &mut self,
        function: &TypedFunc<P, R>,
        params: P,
        deadline: Instant,
    ) -> Result<R, Failure>
    where
        P: ComponentNamedList + Lower + Send + Sync,
        R: ComponentNamedList + Lift + Send + Sync + 'static,
    {
        self.allowance.begin(deadline, WAIT_MAX);
        self.store.set_epoch_deadline(1);
        let mut watch = Stopwatch::since(deadline.checked_sub(self.deadline).unwrap_or(deadline));
        let result = {
            let mut running = pin!(function.call_async(&mut self.store, params));
            // Most calls return without having waited; a timer for them would be for nothing.
            match poll_fn(|context| Poll::Ready(running.as_mut().poll(context))).await {
                Poll::Ready(result) => Ok(result),
                // The epoch stops a guest that computes; this stops one that waits in an import.
                Poll::Pending => {
                    watch.pause();
                    tokio::select! {
                        biased;
                        result = watch.time(running) => Ok(result),
                        () = self.allowance.is_used_up() => Err(()),
                    }
                }
            }
        };
        let ran;
        (ran, self.returned) = watch.stop();
        self.bill.add(ran);
        self.rest_after(ran).await;
        let failure = match result {
            Ok(Ok(result)) => return Ok(result),
            Ok(Err(error)) => self.classify(&error),
            Err(()) => self.late(),
        };
        self.spent = true;
        Err(failure)
    }

    /// Lets others have the thread, where nothing makes the guest do so and it has run for a while.
    async fn rest_after(&mut self, ran: Duration) {
        if let Some(unbroken) = &mut self.unbroken {
            *unbroken += ran;
            if *unbroken >= TICK {
                *unbroken = Duration::ZERO;
                tokio::task::yield_now().await;
            }
        }
    }

    fn late(&self) -> Failure {
        let message = format!(
            "the hook did not return within {} ms",
            self.deadline.as_millis()
        );
        Failure::new(FailureKind::Deadline, message)
    }

    fn classify(&self, error: &wasmtime::Error) -> Failure {
        if let Some(exceeded) = error.downcast_ref::<MemoryExceeded>() {
            return Failure::new(FailureKind::Memory, exceeded.to_string());
        }
        if error.downcast_ref::<Trap>() == Some(&Trap::Interrupt) {
            return self.late();
        }
        // What the guest wrote to stderr says more than the trap: a panic's text and place.
        let tail = self.store.data().log.take_tail();
        let trap = error.root_cause().to_string();
        let message = if tail.is_empty() {
            trap
        } else {
            format!("{tail} ({trap})")
        };
        Failure::new(FailureKind::Trap, message)
    }
}

fn typed<P, R>(
    store: &mut Store<GuestState>,
    instance: &wasmtime::component::Instance,
    hook: Option<&ComponentExportIndex>,
) -> wasmtime::Result<Option<TypedFunc<P, R>>>
where
    P: ComponentNamedList + Lower,
    R: ComponentNamedList + Lift,
{
    hook.map(|index| instance.get_typed_func(store, index))
        .transpose()
}

fn functions(
    store: &mut Store<GuestState>,
    instance: &wasmtime::component::Instance,
    handler: &Handler,
) -> wasmtime::Result<Functions> {
    macro_rules! typed {
        ($field:ident) => {
            typed(store, instance, handler.code.hooks.$field.as_ref())?
        };
    }
    Ok(Functions {
        define_context: typed!(define_context),
        did_receive: typed!(did_receive),
        middleware: typed!(middleware),
        on_message: typed!(on_message),
        events: typed!(events),
        on_event: typed!(on_event),
        on_view: typed!(on_view),
        on_tombstone: typed!(on_tombstone),
        check_transform: typed!(check_transform),
        transform: typed!(transform),
        check_decide: typed!(check_decide),
        decide: typed!(decide),
        on_error: typed!(on_error),
        did_receive_bulk: typed!(did_receive_bulk),
        on_bulk: typed!(on_bulk),
        on_packed_bulk: typed!(on_packed_bulk),
        on_bulk_error: typed!(on_bulk_error),
        on_finished: typed!(on_finished),
        on_assigned: typed!(on_assigned),
        on_revoked: typed!(on_revoked),
    })
}
