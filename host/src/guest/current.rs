//! The record in hand, kept where imports reach it, and the import `current`.
//!
//! Handed the record of a hook that has a single one; lends it to the imports. It is a copy, because what guests call
//! borrows from nobody, and it is made only for components that import it.
//! **Invariant:** it is the record of the running hook, or none.

use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, WasmList, WasmStr};

use super::bindings::json::CurrentError;
use super::bindings::{OutgoingHeader, ResponseHeader};
use super::outgoing::{Draft, emit};
use super::state::GuestState;
use crate::json::{JsonError, JsonText, Limits, Reader, Selection};
use crate::outbox::Outbox;
use crate::record::{Emit, RecordView};

/// The interfaces that read it.
const READERS: [&str; 2] = ["kafka:handler/current@0.1.0", "kafka:handler/json@0.1.0"];
/// Levels of arrays and objects in a value. What reads on in a part of it, such as `serde_json`, takes no more.
const DEPTH_MAX: usize = 128;

/// See the module.
#[derive(Debug)]
pub(super) struct Current {
    is_wanted: bool,
    /// One record at most.
    kept: Outbox,
    reader: Reader,
}

/// Why there is no document.
#[derive(Debug)]
pub(super) enum NoDocument {
    NoMessage,
    Tombstone,
    Json(JsonError),
}

impl Current {
    /// Makes room for the record, if a component with these imports reads it.
    pub(super) fn for_imports(imports: &[String]) -> Self {
        let limits = Limits {
            depth_max: DEPTH_MAX,
            ..Limits::default()
        };
        Self {
            is_wanted: imports.iter().any(|it| READERS.contains(&it.as_str())),
            kept: Outbox::new(1, usize::MAX),
            reader: Reader::new(limits),
        }
    }

    /// Keeps the record of the hook that is called next.
    pub(super) fn keep(&mut self, record: &RecordView<'_>) {
        if !self.is_wanted {
            return;
        }
        self.release();
        // One record fits.
        let _ = self.kept.push(&Emit {
            topic: record.topic,
            key: record.key,
            value: record.value,
            headers: record.headers.clone(),
            partition: None,
            timestamp_ms: record.timestamp_ms,
        });
    }

    /// Lets the record go.
    pub(super) fn release(&mut self) {
        if !self.kept.is_empty() {
            self.kept.clear();
            self.reader.turn_over();
        }
    }

    /// Lends the record as it would be written to its topic again.
    pub(super) fn record(&self) -> Option<Emit<'_>> {
        self.kept.iter().next()
    }

    /// Lends the value, and the limits for reading it.
    pub(super) fn document(&self) -> Result<(&[u8], Limits), NoDocument> {
        let record = self.record().ok_or(NoDocument::NoMessage)?;
        let value = record.value.ok_or(NoDocument::Tombstone)?;
        Ok((value, self.reader.limits()))
    }

    /// Reads what a selection names in the value.
    pub(super) fn read(
        &mut self,
        selection: &mut Selection,
    ) -> Result<Vec<Option<JsonText<'_>>>, NoDocument> {
        let record = self.kept.iter().next().ok_or(NoDocument::NoMessage)?;
        let value = record.value.ok_or(NoDocument::Tombstone)?;
        let values = self.reader.read(value, selection);
        values.map_err(NoDocument::Json)
    }
}

/// Defines the import.
pub(super) fn add_to_linker(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    let mut current = linker.instance("kafka:handler/current@0.1.0")?;
    current.func_wrap("key", |store: StoreContextMut<'_, GuestState>, (): ()| {
        Ok((with(&store, |record| record.key.map(Vec::from)),))
    })?;
    current.func_wrap("value", |store: StoreContextMut<'_, GuestState>, (): ()| {
        Ok((with(&store, |record| record.value.map(Vec::from)),))
    })?;
    current.func_wrap(
        "headers",
        |store: StoreContextMut<'_, GuestState>, (): ()| {
            let headers = |record: Emit<'_>| -> Vec<_> {
                record.headers.iter().map(ResponseHeader::from).collect()
            };
            Ok((with(&store, headers),))
        },
    )?;
    current.func_wrap(
        "forward",
        |mut store: StoreContextMut<'_, GuestState>,
         (topic, headers): (WasmStr, WasmList<OutgoingHeader>)| {
            Ok((emit(&mut store, Draft::of_current(&topic, &headers))?,))
        },
    )
}

fn with<T>(
    store: &StoreContextMut<'_, GuestState>,
    read: impl FnOnce(Emit<'_>) -> T,
) -> Result<T, CurrentError> {
    let record = store.data().current.record();
    record.map(read).ok_or(CurrentError::NoMessage)
}
