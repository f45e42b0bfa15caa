//! What the host keeps beside one guest instance: its WASI context, limits, outbox and log.
//!
//! **Invariant:** a guest's memory never grows beyond its limit, and what it may not do is decided here, not in the
//! imports.

use std::collections::BTreeMap;
use std::future::ready;
use std::sync::Arc;

use tokio::time::Instant;
use wasmtime::ResourceLimiter;
use wasmtime::component::{Resource, ResourceTable};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wasi_http::{
    Error as HttpError, RequestOptions, Result as HttpResult, WasiBody, WasiHttpCtx,
    WasiHttpCtxView, WasiHttpHooks, WasiHttpView,
};

use super::allowance::Allowance;
use super::clock::Clock;
use super::component::Handler;
use super::current::Current;
use super::lent::Lent;
use super::log::{GuestLog, GuestStream, StreamKind};
use super::reading::Selected;
use super::receipts::Receipts;
use super::setup::{Conversation, Setup};
use crate::grants::Grants;
use crate::outbox::Outbox;
use crate::prefix::TopicPrefix;
use crate::publish::KeyFrom;
use crate::stats::Meter;

/// Table entries that one instance may have; interpreters have tens of thousands of functions.
const TABLE_ENTRIES_MAX: usize = 100_000;
/// Resources that one instance may hold at once, such as times that it waits for; they lie in the host's memory.
const RESOURCES_MAX: usize = 10_000;
/// Bytes of one list of HTTP fields, for the same reason; it cannot be sent anyway.
const FIELDS_BYTES_MAX: usize = 8 << 10;
/// Bytes of the body of an HTTP request that are held.
const BODY_BYTES_MAX: usize = 4 << 10;

/// The guest asked for more memory than its handler may have.
#[derive(Debug, thiserror::Error)]
#[error(
    "the guest asked for {wanted_mib} MiB of memory, its limit is {limit_mib} MiB ([limits] memory-mib)"
)]
pub(super) struct MemoryExceeded {
    wanted_mib: usize,
    limit_mib: usize,
}

type Sent = (
    http::Response<WasiBody>,
    Box<dyn Future<Output = HttpResult<()>> + Send>,
);

/// Denies every HTTP request.
struct NoHttp;

impl WasiHttpHooks for NoHttp {
    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        BODY_BYTES_MAX
    }

    fn send_request(
        &mut self,
        _request: http::Request<WasiBody>,
        _options: Option<RequestOptions>,
        _processed: Box<dyn Future<Output = HttpResult<()>> + Send>,
    ) -> Box<dyn Future<Output = HttpResult<Sent>> + Send> {
        Box::new(ready(Err(HttpError::HttpRequestDenied)))
    }
}

/// The data of one instance's store.
pub(super) struct GuestState {
    wasi: WasiCtx,
    http: WasiHttpCtx,
    no_http: NoHttp,
    table: ResourceTable,
    memory_max_bytes: usize,
    /// Bytes of linear memory now.
    pub(super) memory_bytes: usize,
    /// When the running hook is stopped.
    pub(super) allowance: Arc<Allowance>,
    pub(super) outbox: Outbox,
    /// Whether the running hook may emit.
    pub(super) may_emit: bool,
    /// How often the record in hand was passed on, of several the largest count.
    pub(super) hops: u32,
    pub(super) message_max_bytes: usize,
    pub(super) key_from: Option<KeyFrom>,
    pub(super) current: Current,
    /// What the guest selected and did not drop yet.
    pub(super) selected: Selected,
    pub(super) config: Arc<BTreeMap<String, String>>,
    pub(super) conversation: Conversation,
    pub(super) receipts: Receipts,
    pub(super) prefix: TopicPrefix,
    pub(super) grants: Arc<Grants>,
    pub(super) meter: Arc<Meter>,
    pub(super) lent: Lent,
    pub(super) log: Arc<GuestLog>,
    pub(super) clock: Arc<Clock>,
}

impl GuestState {
    pub(super) fn new(setup: &Setup, lent: Lent, log: Arc<GuestLog>, handler: &Handler) -> Self {
        let limits = &setup.limits;
        let mut table = ResourceTable::new();
        table.set_max_capacity(RESOURCES_MAX);
        let mut http = WasiHttpCtx::new();
        http.set_field_size_limit(FIELDS_BYTES_MAX);
        // Nothing is granted: no files, no network, no environment, no arguments.
        let wasi = WasiCtxBuilder::new()
            .stdout(GuestStream::new(StreamKind::Stdout, Arc::clone(&log)))
            .stderr(GuestStream::new(StreamKind::Stderr, Arc::clone(&log)))
            .allow_tcp(false)
            .allow_udp(false)
            .allow_ip_name_lookup(false)
            .build();
        Self {
            wasi,
            http,
            no_http: NoHttp,
            table,
            memory_max_bytes: limits.memory_bytes,
            memory_bytes: 0,
            allowance: Allowance::new(Instant::now() + limits.deadline),
            outbox: Outbox::new(limits.outbox_records, limits.outbox_bytes),
            may_emit: false,
            hops: 0,
            message_max_bytes: setup.message_max_bytes,
            key_from: setup.key_from.clone(),
            current: Current::for_imports(handler.imports()),
            selected: Selected::default(),
            config: Arc::clone(&setup.config),
            conversation: setup.conversation.clone(),
            receipts: setup.receipts.clone(),
            prefix: setup.prefix.clone(),
            grants: Arc::clone(&setup.grants),
            meter: Arc::clone(&setup.meter),
            lent,
            log,
            clock: Arc::clone(&handler.clock),
        }
    }

    /// Returns how many bytes one call of an import may give: no more fit into the guest's memory.
    pub(super) fn given_max_bytes(&self) -> usize {
        self.memory_max_bytes
    }

    /// Lends a resource of the guest together with the record in hand.
    pub(super) fn beside_current<T: Send + 'static>(
        &mut self,
        handle: &Resource<T>,
    ) -> wasmtime::Result<(&mut T, &mut Current)> {
        Ok((self.table.get_mut(handle)?, &mut self.current))
    }
}

impl WasiView for GuestState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}

impl WasiHttpView for GuestState {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView {
            hooks: &mut self.no_http,
            table: &mut self.table,
            ctx: &mut self.http,
        }
    }
}

impl ResourceLimiter for GuestState {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let wanted = self.memory_bytes - current.min(self.memory_bytes) + desired;
        if wanted > self.memory_max_bytes {
            // An error says what happened; `Ok(false)` would leave the guest to panic with a bare `unreachable`.
            return Err(MemoryExceeded {
                wanted_mib: wanted.div_ceil(1 << 20),
                limit_mib: self.memory_max_bytes >> 20,
            }
            .into());
        }
        self.memory_bytes = wanted;
        Ok(true)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(desired <= TABLE_ENTRIES_MAX)
    }
}
