//! Many readers of a document, one pass over it.
//!
//! Handed selections of pointers, remembers what was ever asked for, and finds all of that when the first reader of a
//! document comes. A pointer that nobody asked for before costs another pass, once, and none from the next document on.
//! **Invariant:** it knows at most [`POINTERS_MAX`] pointers; one more, and it begins to learn anew.

use std::{collections::HashMap, ops::Range};

use super::{
    JsonError, JsonText, Limits, POINTERS_MAX, Pointer, PointerError,
    pick::{PointerSet, find},
    utf8,
};

/// Where the values of all known pointers are in the document at hand, or why nothing can be read of it.
type Found = Result<Vec<Option<Range<usize>>>, JsonError>;

/// Pointers that are read together.
#[derive(Debug, Clone)]
pub struct Selection {
    pointers: Vec<Pointer>,
    /// What the reader knows them as.
    places: Vec<usize>,
    /// When the reader learned them; 0 is never.
    learned: u64,
}

impl Selection {
    /// Makes a selection; values are given in the order of its pointers.
    pub fn new(pointers: Vec<Pointer>) -> Result<Self, PointerError> {
        if pointers.len() > POINTERS_MAX {
            let pointers = pointers.len();
            return Err(PointerError::TooMany { pointers });
        }
        Ok(Self {
            pointers,
            places: Vec::new(),
            learned: 0,
        })
    }

    /// Makes a selection of one pointer.
    pub fn one(pointer: Pointer) -> Self {
        Self {
            pointers: vec![pointer],
            places: Vec::new(),
            learned: 0,
        }
    }

    /// Returns its pointers.
    pub fn pointers(&self) -> &[Pointer] {
        &self.pointers
    }
}

/// See the module.
#[derive(Debug)]
pub struct Reader {
    limits: Limits,
    known: HashMap<Pointer, usize>,
    set: PointerSet,
    /// How often it began to learn, from 1.
    beginnings: u64,
    found: Option<Found>,
    passes: u64,
}

impl Reader {
    /// Makes a reader that knows no pointers.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            known: HashMap::new(),
            set: PointerSet::empty(),
            beginnings: 1,
            found: None,
            passes: 0,
        }
    }

    /// Returns the limits of its documents.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Forgets what was found: the next document is another one.
    pub fn turn_over(&mut self) {
        self.found = None;
    }

    /// Returns how often it went over a document.
    pub fn passes(&self) -> u64 {
        self.passes
    }

    /// Reads what the pointers of a selection name, in their order. The document is the same until [`Self::turn_over`].
    pub fn read<'d>(
        &mut self,
        document: &'d [u8],
        selection: &mut Selection,
    ) -> Result<Vec<Option<JsonText<'d>>>, JsonError> {
        if selection.learned != self.beginnings {
            self.learn(selection);
        }
        let (limits, set, passes) = (self.limits, &self.set, &mut self.passes);
        let found = self.found.get_or_insert_with(|| {
            *passes += 1;
            find(utf8(document, limits)?, set, limits.depth_max)
        });
        let found = found.as_ref().map_err(Clone::clone)?;
        let value = |place: &usize| {
            let range = found.get(*place)?.clone()?;
            // The document is known to be UTF-8, and values begin and end at the boundaries of characters.
            let raw = str::from_utf8(document.get(range)?).ok()?;
            Some(JsonText::checked(raw))
        };
        Ok(selection.places.iter().map(value).collect())
    }

    /// Takes note of a selection's pointers, and tells it their places.
    fn learn(&mut self, selection: &mut Selection) {
        let is_new = |pointer: &&Pointer| !self.known.contains_key(*pointer);
        let new = selection.pointers.iter().filter(is_new).count();
        if self.known.len() + new > POINTERS_MAX {
            self.known.clear();
            self.set = PointerSet::empty();
            self.beginnings += 1;
            self.found = None;
        }
        selection.places.clear();
        for pointer in &selection.pointers {
            let next = self.known.len();
            let place = *self.known.entry(pointer.clone()).or_insert(next);
            if place == next {
                self.set.add(pointer);
                // An error stays one. What was found does not have the new one.
                self.found = self.found.take().filter(Result::is_err);
            }
            selection.places.push(place);
        }
        selection.learned = self.beginnings;
    }
}
