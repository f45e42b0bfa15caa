//! The import `json`: the value of the record in hand, read and changed by JSON pointer.
//!
//! Handed pointers and changes by the guest; reads and edits the record that [`Current`] keeps, by [`crate::json`].
//! **Invariant:** a call takes time in proportion to the value and to what the guest hands over, and gives no more than
//! the guest's memory holds; what a guest has of selections is bounded.

use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource, ResourceType, WasmList, WasmStr};
use wasmtime_wasi::WasiView as _;

use super::bindings::json::{
    ChangeError, ChangeParam, Envelope, Misplaced, ReadError, SelectionError, TextFault, Value,
};
use super::bindings::{EmitError, OutgoingHeader};
use super::current::{Current, NoDocument};
use super::outgoing::{Draft, emit};
use super::state::GuestState;
use crate::json::{
    CHANGES_MAX, Change, JsonError, JsonText, Kind, POINTERS_MAX, Pointer, PointerError, Selection,
    edit_within,
};

/// Selections that an instance may have.
const SELECTIONS_MAX: usize = 64;

/// What a guest has of selections.
#[derive(Debug, Default)]
pub(super) struct Selected {
    selections: usize,
    pointers: usize,
}

type Store<'a> = StoreContextMut<'a, GuestState>;
/// What a call of an import returns: a trap, or a result for the guest.
type Answer<T, E = ReadError> = wasmtime::Result<Result<T, E>>;

/// Defines the import.
pub(super) fn add_to_linker(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    let mut json = linker.instance("kafka:handler/json@0.1.0")?;
    json.resource(
        "selection",
        ResourceType::host::<Selection>(),
        |mut store, handle| drop_selection(store.data_mut(), handle),
    )?;
    json.func_wrap(
        "[static]selection.make",
        |mut store: Store<'_>, (pointers,): (WasmList<WasmStr>,)| {
            Ok((make_selection(&mut store, &pointers)?,))
        },
    )?;
    json.func_wrap(
        "[method]selection.read",
        |mut store: Store<'_>, (handle,): (Resource<Selection>,)| {
            let bytes_max = store.data().given_max_bytes();
            let (selection, current) = store.data_mut().beside_current(&handle)?;
            let found = current.read(selection);
            Ok((found
                .map_err(ReadError::from)
                .and_then(|found| values(found, bytes_max)),))
        },
    )?;
    json.func_wrap("get", |mut store: Store<'_>, (pointer,): (WasmStr,)| {
        Ok((read_one(&mut store, &pointer, |found, _| value(found))?,))
    })?;
    json.func_wrap("raw", |mut store: Store<'_>, (pointer,): (WasmStr,)| {
        let raw = |found: Option<JsonText<'_>>| Ok(found.map(|text| text.raw().to_owned()));
        Ok((read_one(&mut store, &pointer, |found, _| raw(found))?,))
    })?;
    json.func_wrap("exists", |mut store: Store<'_>, (pointer,): (WasmStr,)| {
        Ok((read_one(&mut store, &pointer, |found, _| {
            Ok(found.is_some())
        })?,))
    })?;
    json.func_wrap("length", |mut store: Store<'_>, (pointer,): (WasmStr,)| {
        let length = |found: Option<JsonText<'_>>| found?.len().ok();
        Ok((read_one(&mut store, &pointer, |found, _| {
            Ok(length(found).map(|length| length as u64))
        })?,))
    })?;
    json.func_wrap("items", |mut store: Store<'_>, (pointer,): (WasmStr,)| {
        Ok((read_one(&mut store, &pointer, |found, bytes_max| {
            let items = found.and_then(|text| text.items().ok());
            items
                .map(|items| values(items.map(Some), bytes_max))
                .transpose()
        })?,))
    })?;
    json.func_wrap(
        "emit-with-changes",
        |mut store: Store<'_>, (envelope, changes): (Envelope, WasmList<ChangeParam>)| {
            let draft = Draft::from(&envelope);
            Ok((emit_changed(&mut store, draft, &changes)?,))
        },
    )?;
    json.func_wrap(
        "forward-with-changes",
        |mut store: Store<'_>,
         (topic, headers, changes): (
            WasmStr,
            WasmList<OutgoingHeader>,
            WasmList<ChangeParam>,
        )| {
            let draft = Draft::of_current(&topic, &headers);
            Ok((emit_changed(&mut store, draft, &changes)?,))
        },
    )
}

fn make_selection(
    store: &mut Store<'_>,
    wanted: &WasmList<WasmStr>,
) -> Answer<Resource<Selection>, SelectionError> {
    let Selected {
        selections,
        pointers,
    } = store.data().selected;
    if selections >= SELECTIONS_MAX {
        let limit = format!("an instance has at most {SELECTIONS_MAX} selections");
        return Ok(Err(SelectionError::TooMany(limit)));
    }
    if pointers + wanted.len() > POINTERS_MAX {
        let limit =
            format!("the selections of an instance have at most {POINTERS_MAX} pointers together");
        return Ok(Err(SelectionError::TooMany(limit)));
    }
    let texts = wanted
        .iter(&mut *store)?
        .collect::<wasmtime::Result<Vec<_>>>()?;
    let mut parsed = Vec::with_capacity(texts.len());
    for text in &texts {
        match parse(&text.to_str(&*store)?) {
            Ok(pointer) => parsed.push(pointer),
            Err(misplaced) => return Ok(Err(SelectionError::Pointer(misplaced))),
        }
    }
    let state = store.data_mut();
    state.selected.selections += 1;
    state.selected.pointers += parsed.len();
    Ok(match Selection::new(parsed) {
        Ok(selection) => Ok(state.ctx().table.push(selection)?),
        Err(error) => Err(SelectionError::TooMany(error.to_string())),
    })
}

fn drop_selection(state: &mut GuestState, handle: u32) -> wasmtime::Result<()> {
    let handle = Resource::<Selection>::new_own(handle);
    let selection = state.ctx().table.delete(handle)?;
    let selected = &mut state.selected;
    selected.selections = selected.selections.saturating_sub(1);
    selected.pointers = selected.pointers.saturating_sub(selection.pointers().len());
    Ok(())
}

/// Reads what one pointer names; `give` makes of it what the guest gets, in at most so many bytes.
fn read_one<T>(
    store: &mut Store<'_>,
    pointer: &WasmStr,
    give: impl FnOnce(Option<JsonText<'_>>, usize) -> Result<T, ReadError>,
) -> Answer<T> {
    let pointer = match parse(&pointer.to_str(&*store)?) {
        Ok(pointer) => pointer,
        Err(misplaced) => return Ok(Err(ReadError::Pointer(misplaced))),
    };
    let bytes_max = store.data().given_max_bytes();
    let found = store.data_mut().current.read(&mut Selection::one(pointer));
    Ok(found
        .map_err(ReadError::from)
        .and_then(|found| give(found.into_iter().next().flatten(), bytes_max)))
}

fn emit_changed(
    store: &mut Store<'_>,
    draft: Draft<'_>,
    changes: &WasmList<ChangeParam>,
) -> Answer<(), ChangeError> {
    if !store.data().may_emit {
        return Ok(Err(ChangeError::Emit(EmitError::NotNow)));
    }
    let changes = match read_changes(store, changes)? {
        Ok(changes) => changes,
        Err(misplaced) => return Ok(Err(ChangeError::Change(misplaced))),
    };
    let value = match changed(&store.data().current, &changes) {
        Ok(value) => value,
        Err(error) => return Ok(Err(error)),
    };
    let emitted = emit(store, draft.with_value(&value))?;
    Ok(emitted.map_err(ChangeError::Emit))
}

fn changed(current: &Current, changes: &[Change]) -> Result<Vec<u8>, ChangeError> {
    let (value, limits) = current.document().map_err(ReadError::from)?;
    Ok(edit_within(value, changes, limits)?)
}

fn read_changes(
    store: &mut Store<'_>,
    changes: &WasmList<ChangeParam>,
) -> Answer<Vec<Change>, Misplaced> {
    let count = changes.len();
    if count > CHANGES_MAX {
        let error = JsonError::TooManyChanges { changes: count };
        return Ok(Err(misplaced("", &error)));
    }
    let found = changes
        .iter(&mut *store)?
        .collect::<wasmtime::Result<Vec<_>>>()?;
    let mut read = Vec::with_capacity(found.len());
    for change in &found {
        let (pointer, value) = match change {
            ChangeParam::Set(setting) => (&setting.pointer, Some(&setting.value)),
            ChangeParam::Remove(pointer) => (pointer, None),
        };
        let pointer = match parse(&pointer.to_str(&*store)?) {
            Ok(pointer) => pointer,
            Err(misplaced) => return Ok(Err(misplaced)),
        };
        read.push(match value {
            Some(value) => Change::Set(pointer, value.to_str(&*store)?.into_owned()),
            None => Change::Remove(pointer),
        });
    }
    Ok(Ok(read))
}

fn parse(pointer: &str) -> Result<Pointer, Misplaced> {
    Pointer::parse(pointer).map_err(|error: PointerError| {
        // A text that is too long is told by its beginning.
        let start = pointer.floor_char_boundary(256);
        misplaced(pointer.get(..start).unwrap_or_default(), &error)
    })
}

fn misplaced(pointer: &str, error: &impl ToString) -> Misplaced {
    Misplaced {
        pointer: pointer.to_owned(),
        reason: error.to_string(),
    }
}

/// Makes values of what was found, if they fit.
fn values<'a>(
    found: impl IntoIterator<Item = Option<JsonText<'a>>>,
    bytes_max: usize,
) -> Result<Vec<Value>, ReadError> {
    let mut bytes = 0;
    let made = found.into_iter().map(|text| {
        bytes += size_of::<Value>() + text.map_or(0, |text| text.raw().len());
        if bytes > bytes_max {
            return Err(ReadError::TooLarge(bytes_max as u64));
        }
        value(text)
    });
    made.collect()
}

fn value(found: Option<JsonText<'_>>) -> Result<Value, ReadError> {
    let Some(text) = found else {
        return Ok(Value::Absent);
    };
    let raw = || text.raw().to_owned();
    Ok(match text.kind() {
        Kind::Null => Value::Null,
        Kind::Bool => Value::Boolean(text.as_bool()?),
        Kind::Number => match text.as_i64() {
            // The integer has no sign of zero.
            Ok(integer) if text.raw() != "-0" => Value::Integer(integer),
            _ => Value::Number(raw()),
        },
        // Half a surrogate pair is no text; it stays as it is written.
        Kind::String => text
            .as_str()
            .map_or_else(|_| Value::Raw(raw()), |text| Value::Text(text.into_owned())),
        Kind::Array | Kind::Object => Value::Raw(raw()),
    })
}

impl From<NoDocument> for ReadError {
    fn from(none: NoDocument) -> Self {
        match none {
            NoDocument::NoMessage => Self::NoMessage,
            NoDocument::Tombstone => Self::Tombstone,
            NoDocument::Json(error) => error.into(),
        }
    }
}

impl From<JsonError> for ReadError {
    fn from(error: JsonError) -> Self {
        let at = match error {
            JsonError::TooLarge { bytes_max, .. } => return Self::TooLarge(bytes_max as u64),
            JsonError::TooDeep { at, .. }
            | JsonError::Utf8 { at }
            | JsonError::Syntax { at, .. } => at,
            // The rest is not about the document.
            _ => 0,
        };
        Self::Invalid(TextFault {
            at: at as u64,
            reason: error.to_string(),
        })
    }
}

impl From<ReadError> for ChangeError {
    fn from(error: ReadError) -> Self {
        Self::Read(error)
    }
}

impl From<JsonError> for ChangeError {
    fn from(error: JsonError) -> Self {
        match &error {
            JsonError::Value { pointer, .. }
            | JsonError::NoParent { pointer }
            | JsonError::NoIndex { pointer } => Self::Change(misplaced(pointer.as_str(), &error)),
            JsonError::RemovesAll => Self::Change(misplaced("", &error)),
            _ => Self::Read(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::Limits;

    fn text(raw: &str) -> JsonText<'_> {
        JsonText::parse(raw.as_bytes(), Limits::default()).unwrap()
    }

    #[test]
    fn each_kind_of_value_is_told_apart_and_loses_nothing() {
        let made = |raw| value(Some(text(raw))).unwrap();
        assert_eq!(value(None).unwrap(), Value::Absent);
        assert_eq!(made("null"), Value::Null);
        assert_eq!(made("true"), Value::Boolean(true));
        assert_eq!(made("-7"), Value::Integer(-7));
        for number in ["-0", "1.0", "1e3", "9223372036854775808", "0.1"] {
            assert_eq!(made(number), Value::Number(number.to_owned()));
        }
        assert_eq!(made(r#""a\u00e9""#), Value::Text("a\u{e9}".to_owned()));
        for raw in ["[1, 2]", r#"{"a":[]}"#, r#""\ud800""#] {
            assert_eq!(made(raw), Value::Raw(raw.to_owned()));
        }
    }

    #[test]
    fn no_more_is_given_than_a_guest_can_hold() {
        let raw = format!("[{}]", "1,".repeat(99) + "1");
        let each = size_of::<Value>() + raw.len();
        assert!(values([Some(text(&raw)); 3], 3 * each).is_ok());
        let limit = 3 * each - 1;
        let refused = Err(ReadError::TooLarge(limit as u64));
        assert_eq!(values([Some(text(&raw)); 3], limit), refused);
        // Small items count as what they take in a list.
        let items = || text(&raw).items().unwrap().map(Some);
        let limit = 100 * size_of::<Value>();
        assert_eq!(
            values(items(), limit),
            Err(ReadError::TooLarge(limit as u64))
        );
    }

    #[test]
    fn errors_name_the_byte_or_the_pointer() {
        let error = JsonText::parse(b"[1,]", Limits::default()).unwrap_err();
        let ReadError::Invalid(fault) = ReadError::from(error) else {
            panic!("another error");
        };
        assert_eq!(fault.at, 3);
        assert_eq!(parse("a").unwrap_err().pointer, "a");
        let long = "\u{e9}".repeat(2000);
        assert_eq!(parse(&long).unwrap_err().pointer.len(), 256);
    }
}
