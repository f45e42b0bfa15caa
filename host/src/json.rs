//! Parts of a JSON document, read and changed by JSON pointer without building a tree.
//!
//! Handed the bytes of a document (RFC 8259) and pointers (RFC 6901), gives the text of what they name, or the document
//! with that changed. The whole document is checked: UTF-8, syntax, and nothing after it. Of members with the same name
//! the last counts, however the name is written, as in Python, JavaScript, Go and `serde_json`. Numbers stay text.
//!
//! Accepted is what `serde_json::from_slice::<Value>` accepts and, beyond that, only:
//! - nesting deeper than 128 levels;
//! - numbers out of range, such as `1e400`: an error once they are read as a number that cannot hold them;
//! - lone surrogates such as `"\ud800"`: an error once the string is read. A name with one is equal to no token.
//!
//! Reading takes memory for the pointers, whatever the document, but for one bit for each level of nesting beyond the
//! 63rd while that is open. It takes no stack for levels beyond those that a pointer names. A change takes the result,
//! too, and notes on what the pointers go through.
//! **Invariant:** what is given is a slice of a document that is checked to its end, or of a value in it; a document
//! that is changed is a document again.

mod edit;
mod escape;
mod pick;
mod pointer;
mod reader;
mod scan;
#[cfg(test)]
mod tests;
mod text;

pub use self::{
    edit::{CHANGES_MAX, Change, edit, edit_within},
    pick::{POINTERS_MAX, Picked, PointerSet, pick, pick_within},
    pointer::{POINTER_BYTES_MAX, POINTER_TOKENS_MAX, Pointer, PointerError},
    reader::{Reader, Selection},
    text::{Entries, Items, JsonText, Kind},
};

/// What a document may have. The default is 64 MiB, nested as deeply as these bytes can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a document, also of one that is changed.
    pub bytes_max: usize,
    /// Levels of arrays and objects within each other: 1 for `[]`. Many readers take no more than 128.
    pub depth_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            bytes_max: 64 << 20,
            depth_max: usize::MAX,
        }
    }
}

/// Why a document cannot be read or changed. Holds nothing of the document's text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// The document, or what it would become, has more bytes than allowed.
    #[error("the document has {bytes} bytes or more, {bytes_max} are allowed")]
    TooLarge {
        /// How many it has at least.
        bytes: usize,
        /// See [`Limits::bytes_max`].
        bytes_max: usize,
    },
    /// Arrays and objects are nested more deeply than allowed.
    #[error("more than {depth_max} arrays and objects within each other at byte {at}")]
    TooDeep {
        /// Where the one too many begins, in bytes from 0.
        at: usize,
        /// See [`Limits::depth_max`]; for a value to set, less the levels above it.
        depth_max: usize,
    },
    /// The document is not UTF-8.
    #[error("not UTF-8 at byte {at}")]
    Utf8 {
        /// Where the wrong bytes begin, from 0.
        at: usize,
    },
    /// The document is not JSON.
    #[error("{fault} at byte {at}")]
    Syntax {
        /// Where, in bytes from 0.
        at: usize,
        /// What is wrong there.
        fault: Fault,
    },
    /// The value is not of the kind that is asked for.
    #[error("want {wanted}, found {found}")]
    Kind {
        /// The kinds that would do.
        wanted: &'static str,
        /// The kind it is.
        found: Kind,
    },
    /// The string has half a surrogate pair, which is no character.
    #[error("a lone surrogate at byte {at} of the string")]
    Surrogate {
        /// Where its escape begins, in bytes after the opening quote.
        at: usize,
    },
    /// The number does not fit.
    #[error("the number is out of range of {wanted}")]
    Range {
        /// The type that is asked for.
        wanted: &'static str,
    },
    /// The number is written with a fraction or an exponent.
    #[error("the number is written with a fraction or an exponent, want {wanted}")]
    NotInteger {
        /// The type that is asked for.
        wanted: &'static str,
    },
    /// There are more changes than [`CHANGES_MAX`].
    #[error("{changes} changes, {CHANGES_MAX} are allowed")]
    TooManyChanges {
        /// How many.
        changes: usize,
    },
    /// The value to set is not one JSON value.
    #[error("the value to set at `{pointer}`: {source}")]
    Value {
        /// Where it was to be set.
        pointer: Pointer,
        /// What is wrong with it.
        source: Box<JsonError>,
    },
    /// What the value is to be set in is not there, or is no array or object.
    #[error("nothing can be set at `{pointer}`: there is no array or object to set it in")]
    NoParent {
        /// Where it was to be set.
        pointer: Pointer,
    },
    /// The value is to be set in an array, but not at an item, at the end, or at `-`.
    #[error("nothing can be set at `{pointer}`: the array has no such place")]
    NoIndex {
        /// Where it was to be set.
        pointer: Pointer,
    },
    /// The whole document is to be removed.
    #[error("the whole document cannot be removed")]
    RemovesAll,
}

/// What is wrong with the syntax of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The document ends too early.
    #[error("the document ends too early")]
    Ended,
    /// Something else stands where a value must.
    #[error("no value")]
    NoValue,
    /// Something else stands where a member's name must.
    #[error("no name of a member")]
    NoName,
    /// No colon after a member's name.
    #[error("no colon")]
    NoColon,
    /// Neither a comma nor the end after an item or a member.
    #[error("neither a comma nor the end of the array or object")]
    NoComma,
    /// No digit where a number must have one.
    #[error("a digit is missing")]
    NoDigit,
    /// An escape that JSON does not have.
    #[error("an unknown escape")]
    Escape,
    /// A control character in a string, not escaped.
    #[error("a control character that is not escaped")]
    Control,
    /// Something after the document.
    #[error("something after the document")]
    Trailing,
}

/// Checks the size and the encoding of a document.
fn utf8(document: &[u8], limits: Limits) -> Result<&str, JsonError> {
    fits(document, limits)?;
    str::from_utf8(document).map_err(|error| JsonError::Utf8 {
        at: error.valid_up_to(),
    })
}

/// Checks a size.
fn fits(text: impl AsRef<[u8]>, limits: Limits) -> Result<(), JsonError> {
    let (bytes, bytes_max) = (text.as_ref().len(), limits.bytes_max);
    let fits = bytes <= bytes_max;
    fits.then_some(())
        .ok_or(JsonError::TooLarge { bytes, bytes_max })
}
