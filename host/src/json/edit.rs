//! Changes a document by pointer.
//!
//! Handed a document and changes, gives the document with members and items set and removed. It is checked in one pass;
//! then only the arrays and objects that a change goes through are taken apart, each in one pass whatever the number of
//! changes: an object into the members whose names a change has, an array into runs of items. What stays is copied.
//! **Invariant:** what comes out is what each change, applied to the result of the one before, makes of the document,
//! and every byte that no change concerns stands in it as before.

mod array;
mod object;
mod tree;

use self::tree::{Names, Node, Put};
use super::{JsonError, JsonText, Limits, Pointer, fits, utf8};

/// Changes that an edit may have.
pub const CHANGES_MAX: usize = 1024;

/// What to change in a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Sets what the pointer names to a value, which is JSON text; whitespace around it is left out.
    ///
    /// A member that is not there comes last, as does an item at the array's length or at `-`. A member that is there
    /// keeps its place; of several of the same name the first place stays. The array or object around it must be there.
    /// The empty pointer replaces the whole document.
    Set(Pointer, String),
    /// Removes the member, with all of the same name, or the item; those that follow move up.
    ///
    /// It is no error if there is none, or nothing that it could be in.
    Remove(Pointer),
}

/// Applies changes to a document, within the default limits.
pub fn edit(document: &[u8], changes: &[Change]) -> Result<Vec<u8>, JsonError> {
    edit_within(document, changes, Limits::default())
}

/// Applies changes to a document, one after the other; if one fails, none is made.
///
/// The limits are those of the document, of each value that is set with the levels above it, and of the result; how
/// large it is in between does not count.
pub fn edit_within(
    document: &[u8],
    changes: &[Change],
    limits: Limits,
) -> Result<Vec<u8>, JsonError> {
    if changes.len() > CHANGES_MAX {
        let changes = changes.len();
        return Err(JsonError::TooManyChanges { changes });
    }
    let text = utf8(document, limits)?;
    let body = JsonText::read(text, limits.depth_max)?.raw();
    let names = Names::new(changes);
    let mut root = Node::Text(body);
    for change in changes {
        match change {
            Change::Set(pointer, value) => {
                let value = checked(pointer, value, limits)?;
                set(&mut root, pointer, value, &names)?;
            }
            Change::Remove(pointer) => remove(&mut root, pointer, &names)?,
        }
    }
    let mut out = Out {
        text: String::with_capacity(document.len().min(limits.bytes_max)),
        bytes_max: limits.bytes_max,
    };
    let is_space = [' ', '\t', '\n', '\r'];
    let start = text.len() - text.trim_start_matches(is_space).len();
    out.push(text.get(..start))?;
    root.write(&names, &mut out)?;
    out.push(text.get(start + body.len()..))?;
    Ok(out.text.into_bytes())
}

/// Checks a value to set.
fn checked<'a>(
    pointer: &Pointer,
    value: &'a str,
    limits: Limits,
) -> Result<JsonText<'a>, JsonError> {
    let above = pointer.tokens().len();
    let depth_max = limits.depth_max.saturating_sub(above);
    let read = fits(value, limits).and_then(|()| JsonText::read(value, depth_max));
    read.map_err(|source| JsonError::Value {
        pointer: pointer.clone(),
        source: Box::new(source),
    })
}

fn set<'a>(
    root: &mut Node<'a>,
    pointer: &'a Pointer,
    value: JsonText<'a>,
    names: &Names<'a>,
) -> Result<(), JsonError> {
    let Some((path, last)) = pointer.split() else {
        *root = Node::Text(value.raw());
        return Ok(());
    };
    let put = match root.descend(path, names)? {
        Some(parent) => parent.put(last, value.raw(), path.len(), names)?,
        None => Put::NoParent,
    };
    match put {
        Put::Done => Ok(()),
        Put::NoParent => Err(JsonError::NoParent {
            pointer: pointer.clone(),
        }),
        Put::NoIndex => Err(JsonError::NoIndex {
            pointer: pointer.clone(),
        }),
    }
}

fn remove<'a>(
    root: &mut Node<'a>,
    pointer: &'a Pointer,
    names: &Names<'a>,
) -> Result<(), JsonError> {
    let (path, last) = pointer.split().ok_or(JsonError::RemovesAll)?;
    match root.descend(path, names)? {
        Some(parent) => parent.take(last, path.len(), names),
        None => Ok(()),
    }
}

/// The document as it is written anew.
#[derive(Debug)]
struct Out {
    text: String,
    bytes_max: usize,
}

impl Out {
    /// Writes a part of a text; its ends are known to lie within it.
    fn push(&mut self, part: Option<&str>) -> Result<(), JsonError> {
        let part = part.unwrap_or_default();
        let (bytes, bytes_max) = (self.text.len() + part.len(), self.bytes_max);
        if bytes > bytes_max {
            return Err(JsonError::TooLarge { bytes, bytes_max });
        }
        self.text.push_str(part);
        Ok(())
    }
}
