//! What of a document is taken apart.
//!
//! Handed the text of a value, takes it apart once a change goes through it, and writes it down again.
//! **Invariant:** only what a pointer goes through is taken apart, so that the tree is no deeper than a pointer.

use super::{Change, Out, array::Array, object::Object};
use crate::json::{JsonError, escape::compare, scan::Name};

/// A value.
#[derive(Debug)]
pub(super) enum Node<'a> {
    /// One that no change goes through.
    Text(&'a str),
    Object(Object<'a>),
    Array(Array<'a>),
}

/// What became of a value that was to be set.
#[derive(Debug)]
pub(super) enum Put {
    Done,
    /// There is nothing to set it in.
    NoParent,
    /// The array has no such place.
    NoIndex,
}

impl<'a> Node<'a> {
    /// Goes along tokens from the whole document; nothing if one names nothing.
    pub(super) fn descend(
        &mut self,
        path: &[Box<str>],
        names: &Names<'a>,
    ) -> Result<Option<&mut Self>, JsonError> {
        let mut node = self;
        for (level, token) in path.iter().enumerate() {
            node.take_apart(level, names)?;
            let below = match node {
                Self::Text(_) => None,
                Self::Object(object) => object.child(token),
                Self::Array(array) => array.child(token)?,
            };
            match below {
                Some(below) => node = below,
                None => return Ok(None),
            }
        }
        Ok(Some(node))
    }

    /// Sets a member or an item.
    pub(super) fn put(
        &mut self,
        token: &'a str,
        value: &'a str,
        level: usize,
        names: &Names<'a>,
    ) -> Result<Put, JsonError> {
        self.take_apart(level, names)?;
        let value = Self::Text(value);
        match self {
            Self::Text(_) => Ok(Put::NoParent),
            Self::Object(object) => {
                object.set(token, value);
                Ok(Put::Done)
            }
            Self::Array(array) => array.set(token, value),
        }
    }

    /// Removes a member or an item, if there is one.
    pub(super) fn take(
        &mut self,
        token: &str,
        level: usize,
        names: &Names<'a>,
    ) -> Result<(), JsonError> {
        self.take_apart(level, names)?;
        match self {
            Self::Text(_) => Ok(()),
            Self::Object(object) => {
                object.remove(token);
                Ok(())
            }
            Self::Array(array) => array.remove(token),
        }
    }

    fn take_apart(&mut self, level: usize, names: &Names<'a>) -> Result<(), JsonError> {
        if let Self::Text(text) = *self {
            if text.starts_with('{') {
                *self = Self::Object(Object::new(text, level, names)?);
            } else if text.starts_with('[') {
                *self = Self::Array(Array::new(text)?);
            }
        }
        Ok(())
    }

    /// Writes the value. Recurses along the tokens of pointers only.
    pub(super) fn write(&self, names: &Names<'a>, out: &mut Out) -> Result<(), JsonError> {
        match self {
            Self::Text(text) => out.push(Some(text)),
            Self::Object(object) => object.write(names, out),
            Self::Array(array) => array.write(names, out),
        }
    }
}

/// The tokens of all changes, by level: no other name of a member matters there.
#[derive(Debug)]
pub(super) struct Names<'a> {
    /// In order.
    levels: Vec<Vec<&'a str>>,
}

impl<'a> Names<'a> {
    pub(super) fn new(changes: &'a [Change]) -> Self {
        let mut levels: Vec<Vec<&'a str>> = Vec::new();
        for change in changes {
            let (Change::Set(pointer, _) | Change::Remove(pointer)) = change;
            for (level, token) in pointer.tokens().enumerate() {
                match levels.get_mut(level) {
                    Some(tokens) => tokens.push(token),
                    None => levels.push(vec![token]),
                }
            }
        }
        for tokens in &mut levels {
            tokens.sort_unstable();
            tokens.dedup();
        }
        Self { levels }
    }

    /// Finds the token that is equal to a name as it stands in `text`.
    pub(super) fn find(&self, level: usize, text: &str, name: &Name) -> Option<&'a str> {
        let (tokens, raw) = (self.levels.get(level)?, text.get(name.range.clone())?);
        let find = |token: &&str| compare(token, raw, name.escaped);
        tokens.get(tokens.binary_search_by(find).ok()?).copied()
    }
}
