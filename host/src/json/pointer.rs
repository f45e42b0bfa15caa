//! JSON pointers.
//!
//! Handed a text such as `/items/0/a~1b` (RFC 6901), gives its tokens: `items`, `0`, `a/b`.
//! **Invariant:** a pointer has at most 32 tokens, so that whatever goes along one goes no deeper.

use std::{fmt, str::FromStr};

/// Bytes that a pointer's text may have.
pub const POINTER_BYTES_MAX: usize = 1024;
/// Tokens that a pointer may have.
pub const POINTER_TOKENS_MAX: usize = 32;

/// Why a text is not a pointer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PointerError {
    /// The text has more than [`POINTER_BYTES_MAX`] bytes.
    #[error("the pointer has {bytes} bytes, {POINTER_BYTES_MAX} are allowed")]
    TooLong {
        /// How many it has.
        bytes: usize,
    },
    /// The text has more than [`POINTER_TOKENS_MAX`] tokens.
    #[error("the pointer has {tokens} tokens, {POINTER_TOKENS_MAX} are allowed")]
    TooDeep {
        /// How many it has.
        tokens: usize,
    },
    /// The text is not empty and does not begin with a slash.
    #[error("the pointer begins with {found:?} in place of '/'")]
    NoSlash {
        /// What it begins with.
        found: char,
    },
    /// A tilde without `0` or `1` after it.
    #[error("'~' at byte {at} of the pointer must be written '~0', or '~1' where '/' is meant")]
    Tilde {
        /// Where it is, in bytes from 0.
        at: usize,
    },
    /// There are more pointers than [`POINTERS_MAX`](super::POINTERS_MAX).
    #[error("{pointers} pointers, {} are allowed", super::POINTERS_MAX)]
    TooMany {
        /// How many.
        pointers: usize,
    },
}

/// A place in a JSON document (RFC 6901). The empty pointer names the whole document.
///
/// A token names the member of an object by its name and the item of an array by its index, from 0 and without leading
/// zeros. `-` names no item.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pointer {
    source: Box<str>,
    tokens: Box<[Box<str>]>,
}

impl Pointer {
    /// Reads a pointer.
    pub fn parse(source: &str) -> Result<Self, PointerError> {
        let bytes = source.len();
        if bytes > POINTER_BYTES_MAX {
            return Err(PointerError::TooLong { bytes });
        }
        let mut parts = source.split('/');
        if let Some(found) = parts.next().and_then(|before| before.chars().next()) {
            return Err(PointerError::NoSlash { found });
        }
        let tokens = parts.clone().count();
        if tokens > POINTER_TOKENS_MAX {
            return Err(PointerError::TooDeep { tokens });
        }
        let mut after = source.split('~');
        let mut at = after.next().map_or(0, str::len);
        for rest in after {
            if !rest.starts_with(['0', '1']) {
                return Err(PointerError::Tilde { at });
            }
            at += 1 + rest.len();
        }
        Ok(Self {
            source: source.into(),
            // The tildes come last, so that `~01` is `~1`.
            tokens: parts
                .map(|part| part.replace("~1", "/").replace("~0", "~").into())
                .collect(),
        })
    }

    /// Returns the text it was read from.
    pub fn as_str(&self) -> &str {
        &self.source
    }

    /// Returns its tokens, without escapes, from the outermost on.
    pub fn tokens(&self) -> impl DoubleEndedIterator<Item = &str> + ExactSizeIterator {
        self.tokens.iter().map(AsRef::as_ref)
    }

    /// Returns all tokens but the last, and the last; nothing for the empty pointer.
    pub(super) fn split(&self) -> Option<(&[Box<str>], &str)> {
        let (last, path) = self.tokens.split_last()?;
        Some((path, last))
    }
}

impl FromStr for Pointer {
    type Err = PointerError;

    fn from_str(source: &str) -> Result<Self, PointerError> {
        Self::parse(source)
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)
    }
}

impl fmt::Debug for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pointer({:?})", self.source)
    }
}

/// Reads a token as the index of an item.
pub(super) fn index(token: &str) -> Option<usize> {
    let digits = token.bytes().all(|byte| byte.is_ascii_digit());
    let canonical = token == "0" || !token.starts_with('0');
    // A number that does not fit is beyond the end of every array.
    (digits && canonical).then(|| token.parse().ok()).flatten()
}
